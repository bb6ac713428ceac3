//! Row images: from the bytes of a rows event straight into Arrow arrays.
//!
//! Decoders are chosen once per table map and table schema ([`RowLayout`]); a [`BatchBuilder`] walks
//! each row's bytes once and appends to plain column buffers, which become Arrow arrays without a
//! copy. There is no value type in between.

mod builder;
pub mod charset;
mod charset_tables;
mod column;
mod cursor;
mod decimal;
mod event;
mod fuzz;
mod geometry;
mod json;
mod json_diff;
mod json_tree;
mod layout;
mod selected;
mod strings;
mod temporal;
pub mod wire;

pub use builder::BatchBuilder;
pub use event::{RowsEvent, RowsKind};
pub use fuzz::fuzz;
pub use json::append_text as append_json_text;
pub use layout::RowLayout;
pub use selected::RowBuilder;
pub use wire::{WireColumn, WireType};
