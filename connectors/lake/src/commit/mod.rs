//! The commit log: numbered records, the only decision there is.

pub mod log;
#[cfg(test)]
mod model;
pub mod record;
mod show;
pub(crate) mod tables;
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
