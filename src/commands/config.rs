//! `lakeward config schema`.

use lakeward_core::Result;

use crate::cli::{Outcome, answer};

pub(crate) fn schema() -> Result<Outcome> {
    answer(&format!("{:#}", crate::config::json_schema().to_value()))?;
    Ok(Outcome::Done)
}
