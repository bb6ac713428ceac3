//! `lakeward position show`.

use lakeward_core::{Position, Result};
use serde_json::json;

use crate::cli::{Outcome, Report, answer, runtime};
use crate::{config, wiring};

pub(crate) fn show(report: &Report) -> Result<Outcome> {
    let pipeline = config::load(&report.which.config)?;
    let status = runtime()?.block_on(wiring::status(&pipeline))?;
    let checkpoint = status.and_then(|status| status.checkpoint);
    let text = match (&checkpoint, report.json) {
        (Some(checkpoint), true) => {
            let position = &checkpoint.position;
            format!("{:#}", json!({ "position": position, "next_seq": checkpoint.next_seq }))
        }
        (None, true) => format!("{:#}", json!({ "position": null, "next_seq": null })),
        (Some(checkpoint), false) => lines(&checkpoint.position),
        (None, false) => format!("none: {} has not committed yet; it begins at `start`", pipeline.name),
    };
    answer(&text)?;
    Ok(Outcome::Done)
}

/// A position that can be copied into `start`.
fn lines(position: &Position) -> String {
    match position {
        Position::Binlog(at) => {
            let gtids = at.gtid_set.as_ref().map(|set| format!("\ngtids:  {set}")).unwrap_or_default();
            format!("binlog: {}:{}\nserver: {}{gtids}", at.file, at.offset, at.server_uuid)
        }
        other => other.to_string(),
    }
}
