//! The commit log: numbered records, the only decision there is.

mod decide;
pub mod log;
mod lost;
#[cfg(test)]
mod model;
mod places;
pub mod record;
pub mod shared;
mod show;
mod shown;
pub(crate) mod tables;
mod versions;
pub mod writer;

/// Failpoints of the commit protocol, in the order in which a run reaches them. `lake.show.each` is
/// reached once for each file.
pub const FAILPOINTS: &[&str] = &[
    "lake.claim.before",
    "lake.claim.after",
    "lake.abort.each",
    "lake.hint.put",
    "lake.owner.put",
    "lake.decide.before",
    "lake.decide.after",
    "lake.show.before",
    "lake.schema.put",
    "lake.show.each",
    "lake.show.after",
];
