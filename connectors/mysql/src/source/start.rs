//! Where a run begins and ends, settled before anything is read.
//!
//! Guarantee: a run never begins behind a gap. Resumed or given positions are compared with what the
//! server executed and purged ([`ServerFacts::refuse_lost`], [`ServerFacts::refuse_lost_file`]), and
//! again at every reconnect. With GTIDs the set decides and the server sends what it lacks, but for
//! transactions without GTIDs, of which no set tells: each file behind the position is asked whether it has
//! such. A file and offset given by hand are turned into a set by reading that file from its beginning.
//! Unknown: transactions without GTIDs in files that were purged since.

use lakeward_core::error::ANEW;
use lakeward_core::{BinlogPosition, Error, ErrorKind, GtidSet, Position, Result};
use mysql::Conn;

use super::decoder::{Begin, End};
use super::tables::Tables;
use super::{MysqlOptions, Start, Until};
use crate::server::{GtidMode, ServerFacts, binary_logs, current_end};
use crate::session::{quoted, rows};
use crate::snapshot::SnapshotMode;

/// Offset of the first event of a file.
pub(super) const FIRST_OFFSET: u64 = 4;

/// Where the run begins.
pub(super) fn begin(conn: &mut Conn, facts: &ServerFacts, options: &MysqlOptions) -> Result<Begin> {
    let tables = Tables::resume(&options.resume)?;
    let Some(checkpoint) = &options.resume.checkpoint else {
        // What was before the snapshot is in the snapshot.
        let start = match options.snapshot.mode {
            SnapshotMode::NoData => &options.start,
            SnapshotMode::Initial
            | SnapshotMode::InitialOnly
            | SnapshotMode::WhenNeeded
            | SnapshotMode::Always => &Start::Latest,
        };
        let (position, pass_until) = first_position(conn, facts, start)?;
        return Ok(Begin {
            position,
            next_seq: 1,
            commit_us: None,
            retired: 0,
            requests: Vec::new(),
            prepared: Vec::new(),
            tables,
            pass_until,
        });
    };
    let Position::Binlog(position) = &checkpoint.position else {
        return Err(Error::new(ErrorKind::Config, "the pipeline was fed by another kind of source before")
            .at("position", &checkpoint.position)
            .remedy(format!("set `transport` back to what it was, or begin anew: {ANEW}")));
    };
    let position = with_or_without_gtids(facts, position.clone())?;
    Ok(Begin {
        position,
        next_seq: checkpoint.next_seq,
        commit_us: checkpoint.commit_us,
        retired: checkpoint.retired,
        requests: checkpoint.requests.clone(),
        prepared: checkpoint.prepared.clone(),
        tables,
        pass_until: None,
    })
}

/// `gtid_mode` may have been changed since the checkpoint.
fn with_or_without_gtids(facts: &ServerFacts, position: BinlogPosition) -> Result<BinlogPosition> {
    match (facts.gtid_mode, &position.gtid_set) {
        (GtidMode::On, None) => Err(Error::new(
            ErrorKind::SourceSetting,
            "gtid_mode is ON now, and the pipeline's position has no GTIDs",
        )
        .at("position", &position)
        .remedy(format!(
            "SET GLOBAL gtid_mode = ON_PERMISSIVE, with which it goes on; with GTIDs begin anew: {ANEW}"
        ))),
        (GtidMode::On, Some(_)) => Ok(position),
        (GtidMode::Off | GtidMode::Mixed, _) => Ok(BinlogPosition { gtid_set: None, ..position }),
    }
}

/// Whether the stream can go on from `position`.
pub(super) fn refuse_lost(conn: &mut Conn, facts: &ServerFacts, position: &BinlogPosition) -> Result<()> {
    let Some(ours) = &position.gtid_set else {
        return facts.refuse_lost_file(position, &binary_logs(conn)?);
    };
    let known = match ours.is_subset_of(&facts.executed) {
        true => facts.refuse_lost(ours),
        false => {
            // The log is ahead of what is executed for a moment (and for seconds with semi-synchronous
            // replication): what was read from it is waited for.
            let sql = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET({}, 10)", quoted(&ours.to_string()));
            rows(conn, &sql)?;
            ServerFacts::read(conn)?.refuse_lost(ours)
        }
    };
    known
        .and_then(|()| refuse_without_gtids(conn, facts, position))
        .map_err(|error| error.at("position", position))
}

/// Transactions without GTIDs are in no set: the server begins to send in the newest file that has nothing new
/// before it, and leaves out the files of such transactions that lie before that one.
fn refuse_without_gtids(conn: &mut Conn, facts: &ServerFacts, position: &BinlogPosition) -> Result<()> {
    if position.server_uuid != facts.uuid || position.file.is_empty() {
        return Ok(());
    }
    let logs = binary_logs(conn)?;
    // Where its file is gone, all that are left come later.
    let first = logs.iter().position(|log| log.name == position.file).unwrap_or(0);
    for log in logs.iter().skip(first) {
        let from = if log.name == position.file { position.offset } else { FIRST_OFFSET };
        let Some(offset) = first_without_gtid(conn, &log.name, from)? else { continue };
        return Err(Error::new(
            ErrorKind::PositionLost,
            "gtid_mode was not ON for a while: behind the position stand transactions without GTIDs, which a stream by \
             GTIDs does not bring",
        )
        .at("transaction", format!("{}:{offset}", log.name))
        .remedy("keep gtid_mode ON, and read all tables anew (snapshot.mode: when_needed)"));
    }
    Ok(())
}

/// Where the first transaction of a file from a place on stands, if it has no GTID. A change of `gtid_mode` begins a new
/// file, so the first one tells of all.
fn first_without_gtid(conn: &mut Conn, file: &str, from: u64) -> Result<Option<u64>> {
    /// Before the first transaction stand the file's description and its GTIDs.
    const EVENTS: u32 = 4;
    let sql = format!("SHOW BINLOG EVENTS IN {} FROM {from} LIMIT {EVENTS}", quoted(file));
    let answer = match rows(conn, &sql) {
        // It was purged meanwhile, or is damaged: whoever reads it on is told.
        Err(error) if error.kind() == ErrorKind::SourceUnsupported => {
            tracing::warn!(file, "whether it has transactions without GTIDs cannot be told: {error}");
            return Ok(None);
        }
        answer => answer?,
    };
    let offset = |row: &[Option<String>]| match row {
        [_, Some(offset), Some(kind), ..] if kind == "Anonymous_Gtid" => offset.parse().ok(),
        _ => None,
    };
    Ok(answer.iter().find_map(|row| offset(row)))
}

fn first_position(
    conn: &mut Conn,
    facts: &ServerFacts,
    start: &Start,
) -> Result<(BinlogPosition, Option<u64>)> {
    let with_gtids = facts.gtid_mode == GtidMode::On;
    let at = |file: String, offset: u64, set: GtidSet| BinlogPosition {
        server_uuid: facts.uuid,
        file,
        offset,
        gtid_set: with_gtids.then_some(set),
    };
    match start {
        Start::Earliest => {
            let file = binary_logs(conn)?.into_iter().next().map(|log| log.name).ok_or_else(no_binlog)?;
            // What is not in the binlogs any more is exactly what was purged.
            Ok((at(file, FIRST_OFFSET, facts.purged.clone()), None))
        }
        Start::Latest => {
            let (end, executed) = current_end(conn, &facts.version)?;
            Ok((at(end.file, end.offset, executed), None))
        }
        Start::Gtid(set) if with_gtids => {
            let (end, _) = current_end(conn, &facts.version)?;
            Ok((at(end.file, FIRST_OFFSET, set.clone()), None))
        }
        Start::Gtid(_) => {
            Err(Error::new(ErrorKind::Config, "start names a GTID set, but the server's gtid_mode is not ON")
                .remedy("start: earliest, latest or file:offset"))
        }
        Start::FileOffset { file, offset } => {
            if *offset < FIRST_OFFSET {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("start offset {offset} lies before the first event, at 4"),
                ));
            }
            let position = at(file.clone(), *offset, GtidSet::new());
            facts.refuse_lost_file(&position, &binary_logs(conn)?)?;
            Ok((position, with_gtids.then_some(*offset)))
        }
    }
}

/// Where a bounded run ends.
pub(super) fn end(conn: &mut Conn, facts: &ServerFacts, until: &Until) -> Result<End> {
    match until {
        Until::Forever => Ok(End::default()),
        Until::Position(position) => Ok(End { position: Some(position.clone()), waits_for_snapshots: false }),
        Until::CaughtUp => {
            let (position, _) = first_position(conn, facts, &Start::Latest)?;
            Ok(End { position: Some(position), waits_for_snapshots: true })
        }
    }
}

/// The place to go on where the server has purged what comes next, and all tables are read anew.
pub(super) fn newest(conn: &mut Conn, facts: &ServerFacts) -> Result<BinlogPosition> {
    first_position(conn, facts, &Start::Latest).map(|(position, _)| position)
}

fn no_binlog() -> Error {
    Error::new(ErrorKind::SourceSetting, "the server has no binlog").remedy("start the server with log_bin")
}
