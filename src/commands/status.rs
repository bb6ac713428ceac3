//! `lakeward status`: how far the lake is, from its own log; how far the server is beyond that, where
//! it answers; snapshots, requests, and the stopped tables with what mends them. Reads only.

use lakeward_core::clock::SystemClock;
use lakeward_core::{
    Checkpoint, Clock, Position, Request, Result, Snapshot, SnapshotState, TableId, TableState, TableStatus,
};
use serde::Serialize;

use super::position;
use crate::cli::{Outcome, Report, answer, runtime};
use crate::config::Pipeline;
use crate::telemetry::Pace;
use crate::wiring::{LakeStatus, ServerFacts};
use crate::{config, wiring};

/// The whole answer.
#[derive(Serialize)]
struct Status {
    pipeline: String,
    lake: Option<LakeStatus>,
    /// The topics, where the pipeline goes over Kafka: tables, snapshots and the server's lag are by them.
    #[serde(skip_serializing_if = "Option::is_none")]
    kafka: Option<Topics>,
    /// Not asked where others capture.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Server>,
    tables: Tables,
    snapshots: Snapshots,
    /// Requests that stand in the lake.
    requests: Vec<Request>,
}

/// How far the topics are.
#[derive(Serialize)]
struct Topics {
    /// Number of the last checkpoint; 0 before the first.
    number: u64,
    /// The last checkpoint.
    checkpoint: Option<Checkpoint>,
    /// Change events written.
    events: u64,
}

/// The server beside the checkpoint.
#[derive(Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
enum Server {
    /// It answers.
    Reachable {
        /// Where its binlog ends.
        end: Option<String>,
        /// Transactions it has that the lake has not; `None` without GTIDs or a checkpoint.
        transactions_behind: Option<u64>,
        /// Age of the last transaction in the lake, where the server has more of them; else 0.
        lag_seconds: Option<u64>,
    },
    /// It does not.
    Unreachable {
        /// Why.
        error: String,
    },
}

/// How many tables are captured, and which are not any more.
#[derive(Default, Serialize)]
struct Tables {
    active: usize,
    stopped: Vec<Stopped>,
    /// Once captured, and not any more.
    left_out: Vec<String>,
}

#[derive(Serialize)]
struct Stopped {
    table: String,
    kind: String,
    message: String,
    remedy: Option<String>,
    at: String,
}

/// Whether the rows that were in the tables are in the lake.
#[derive(Default, Serialize)]
struct Snapshots {
    not_asked: usize,
    /// Given up, or read in part.
    partial: Vec<String>,
    done: usize,
    open: Vec<Open>,
}

/// A snapshot that is not at its end.
#[derive(Serialize)]
struct Open {
    table: String,
    state: OpenState,
    condition: Option<String>,
    #[serde(flatten)]
    pace: Pace,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum OpenState {
    Waiting,
    Reading,
    Paused,
}

impl OpenState {
    fn words(self) -> &'static str {
        match self {
            OpenState::Waiting => "to come",
            OpenState::Reading => "being read",
            OpenState::Paused => "paused",
        }
    }
}

pub(crate) fn status(report: &Report) -> Result<Outcome> {
    let pipeline = config::load(&report.which.config)?;
    let (lake, kafka, requests, server) = runtime()?.block_on(async {
        let lake = wiring::status(&pipeline).await?;
        let kafka = topics(&pipeline).await?;
        let requests = wiring::standing(&pipeline).await?;
        let server = match pipeline.foreign() {
            Some(_) => None,
            None => Some(wiring::server(&pipeline).await),
        };
        Ok((lake, kafka, requests, server))
    })?;
    let checkpoint = match &kafka {
        Some(topics) => topics.checkpoint.as_ref(),
        None => lake.as_ref().and_then(|lake| lake.checkpoint.as_ref()),
    };
    let status = Status {
        pipeline: pipeline.name.clone(),
        server: server.map(|server| beside(checkpoint, server, SystemClock::start().unix_micros())),
        tables: checkpoint.map(tables).unwrap_or_default(),
        snapshots: checkpoint.map(snapshots).unwrap_or_default(),
        requests,
        kafka,
        lake,
    };
    match report.json {
        true => answer(&format!("{:#}", serde_json::json!(status)))?,
        false => answer(&text(&status))?,
    }
    Ok(Outcome::Done)
}

async fn topics(pipeline: &Pipeline) -> Result<Option<Topics>> {
    let Some(kafka) = pipeline.captured_to() else { return Ok(None) };
    let captured = wiring::capture::captured(pipeline, kafka).await?;
    Ok(Some(match captured {
        Some(captured) => {
            Topics { number: captured.number, checkpoint: Some(captured.checkpoint), events: captured.events }
        }
        None => Topics { number: 0, checkpoint: None, events: 0 },
    }))
}

fn beside(checkpoint: Option<&Checkpoint>, server: Result<ServerFacts>, now_us: i64) -> Server {
    let facts = match server {
        Ok(facts) => facts,
        Err(error) => return Server::Unreachable { error: error.to_string() },
    };
    let end = facts.end.as_ref().map(|end| format!("{}:{}", end.file, end.offset));
    let position = checkpoint.map(|checkpoint| &checkpoint.position);
    let transactions_behind = match position {
        Some(Position::Binlog(at)) => at.gtid_set.as_ref().map(|ours| facts.executed.minus(ours).count()),
        Some(_) | None => None,
    };
    let at_end = match (position, &facts.end) {
        (_, _) if transactions_behind == Some(0) => true,
        (Some(Position::Binlog(at)), Some(end)) => at.file == end.file && at.offset >= end.offset,
        (_, _) => false,
    };
    let complete_to_us = checkpoint.and_then(Checkpoint::complete_to_us);
    let age_us = complete_to_us.map(|us| now_us.saturating_sub(us));
    let lag_seconds = match at_end {
        true => Some(0),
        false => age_us.and_then(|us| u64::try_from(us / 1_000_000).ok()),
    };
    Server::Reachable { end, transactions_behind, lag_seconds }
}

fn tables(checkpoint: &Checkpoint) -> Tables {
    let mut tables = Tables::default();
    for (table, state) in checkpoint.tables.iter() {
        match &state.status {
            TableStatus::Active => tables.active += 1,
            TableStatus::LeftOut => tables.left_out.push(table.to_string()),
            TableStatus::Stopped { kind, message, remedy, at } => tables.stopped.push(Stopped {
                table: table.to_string(),
                kind: kind.clone(),
                message: message.clone(),
                remedy: remedy.clone(),
                at: at.to_string(),
            }),
        }
    }
    tables
}

fn snapshots(checkpoint: &Checkpoint) -> Snapshots {
    let mut snapshots = Snapshots::default();
    let captured = |state: &TableState| state.status != TableStatus::LeftOut;
    for (table, state) in checkpoint.tables.iter().filter(|(_, state)| captured(state)) {
        match &state.snapshot {
            SnapshotState::NotAsked => snapshots.not_asked += 1,
            SnapshotState::Partial => snapshots.partial.push(table.to_string()),
            SnapshotState::Done => snapshots.done += 1,
            SnapshotState::Open(snapshot) => snapshots.open.push(open(table, snapshot)),
        }
    }
    snapshots
}

fn open(table: &TableId, snapshot: &Snapshot) -> Open {
    let state = match (&snapshot.plan, snapshot.paused) {
        (_, true) => OpenState::Paused,
        (None, false) => OpenState::Waiting,
        (Some(_), false) => OpenState::Reading,
    };
    let mut pace = snapshot.plan.as_ref().map(Pace::planned).unwrap_or_default();
    if state == OpenState::Paused {
        pace.seconds_left = None;
    }
    Open { table: table.to_string(), state, condition: snapshot.condition.clone(), pace }
}

fn text(status: &Status) -> String {
    let mut text = format!("pipeline {}\n", status.pipeline);
    match &status.lake {
        None => text.push_str("lake      it never ran: there is no commit log\n"),
        Some(lake) => text.push_str(&lake_lines(lake)),
    }
    if let Some(topics) = &status.kafka {
        text.push_str(&topic_lines(topics));
    }
    match &status.server {
        None => {}
        Some(Server::Unreachable { error }) => text.push_str(&format!("server    not reached: {error}\n")),
        Some(Server::Reachable { end, transactions_behind, lag_seconds }) => {
            text.push_str(&format!(
                "server    binlog ends at {}\n",
                end.as_deref().unwrap_or("no place: it is off")
            ));
            if let Some(behind) = transactions_behind {
                text.push_str(&format!("behind    {behind} transactions\n"));
            }
            if let Some(lag) = lag_seconds {
                text.push_str(&format!("lag       {lag} s\n"));
            }
        }
    }
    let Tables { active, stopped, left_out } = &status.tables;
    text.push_str(&format!("tables    {active} captured, {} stopped\n", stopped.len()));
    if !left_out.is_empty() {
        text.push_str(&format!("  left out since: {}\n", left_out.join(", ")));
    }
    for table in stopped {
        text.push_str(&format!(
            "  {} stopped at {}: {} ({})\n",
            table.table, table.at, table.message, table.kind
        ));
        if let Some(remedy) = &table.remedy {
            text.push_str(&format!("    to mend it: {remedy}\n"));
        }
    }
    text.push_str(&snapshot_lines(&status.snapshots));
    if !status.requests.is_empty() {
        text.push_str("requests  not taken yet; the pipeline takes them while it runs\n");
        for request in &status.requests {
            text.push_str(&format!("  {}\n", request.command));
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// Nothing where no snapshot was ever asked for.
fn snapshot_lines(snapshots: &Snapshots) -> String {
    let Snapshots { not_asked, partial, done, open } = snapshots;
    if *done == 0 && open.is_empty() && partial.is_empty() {
        return String::new();
    }
    let in_state = |state| open.iter().filter(|open| open.state == state).count();
    let mut parts = vec![format!("{done} done")];
    for state in [OpenState::Reading, OpenState::Paused, OpenState::Waiting] {
        parts.push(format!("{} {}", in_state(state), state.words()));
    }
    parts.push(format!("{not_asked} not asked for"));
    let mut text = format!("snapshots {}\n", parts.join(", "));
    if !partial.is_empty() {
        text.push_str(&format!("  given up, or read in part: {}\n", partial.join(", ")));
    }
    for Open { table, state, condition, pace } in open {
        text.push_str(&format!("  {table} {}", state.words()));
        if let Some(condition) = condition {
            text.push_str(&format!(", where {condition}"));
        }
        match state {
            OpenState::Waiting => text.push('\n'),
            OpenState::Reading | OpenState::Paused => text.push_str(&format!(": {pace}\n")),
        }
    }
    text
}

fn lake_lines(lake: &LakeStatus) -> String {
    let LakeStatus { record, epoch, workers, checkpoint, .. } = lake;
    let mut text = format!("lake      record {record}, epoch {epoch}");
    if !workers.is_empty() {
        text.push_str(&format!(", shared by {} workers", workers.len()));
    }
    match checkpoint.as_ref().map(|checkpoint| (checkpoint, &checkpoint.position)) {
        None => text.push_str("\nposition  none: nothing is committed yet\n"),
        // It counts the events itself.
        Some((_, Position::Kafka(at))) => {
            text.push_str(&format!("\nposition  {at}\n"));
            for line in position::telling(at) {
                text.push_str(&format!("          {line}\n"));
            }
            for (topic, number, place, reason) in at.stopped() {
                text.push_str(&format!(
                    "          {topic}/{number} is stopped at offset {}: {reason}\n",
                    place.offset
                ));
                text.push_str("            to mend it: if the record cannot be read, remove what wrote it; or set `transport.kafka.load.dead_letter`\n");
            }
        }
        Some((checkpoint, at)) => text.push_str(&format!(
            "\nposition  {at}\n          {} change events so far\n",
            checkpoint.next_seq.saturating_sub(FIRST_SEQ)
        )),
    }
    text.push_str(&complete_line(lake));
    text
}

/// Up to when the lake has everything, and of how many tables it has not.
fn complete_line(lake: &LakeStatus) -> String {
    let Some((until, checkpoint)) = lake.complete_to().zip(lake.checkpoint.as_ref()) else {
        return String::new();
    };
    let (Tables { stopped, .. }, Snapshots { partial, open, .. }) =
        (tables(checkpoint), snapshots(checkpoint));
    match (stopped.len(), partial.len() + open.len()) {
        (0, 0) => format!("complete  up to {until}\n"),
        (stopped, in_part) => {
            format!("complete  up to {until}; not: {stopped} stopped, {in_part} read in part\n")
        }
    }
}

fn topic_lines(topics: &Topics) -> String {
    match &topics.checkpoint {
        None => "kafka     nothing was captured yet\n".to_owned(),
        Some(checkpoint) => format!(
            "kafka     checkpoint {}, {} change events so far\ncaptured  {}\n",
            topics.number, topics.events, checkpoint.position
        ),
    }
}

/// The number of a pipeline's first change event.
const FIRST_SEQ: i64 = 1;

#[cfg(test)]
pub(crate) mod tests;
