//! The commit log: numbered records, the only decision there is.

pub mod record;
