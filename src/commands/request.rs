//! `lakeward snapshot` and `lakeward resume`: what an operator asks of a pipeline, by way of its lake.
//!
//! The pipeline decides: what the lake shows of a table may be a commit interval old. So nothing is
//! refused here but what the config excludes; the answer is waited for, and printed with its reason.

use std::time::Duration;

use clap::{ArgGroup, Args};
use lakeward_core::{
    Answer, Checkpoint, Command, Error, ErrorKind, Result, SnapshotCause, SnapshotState, TableFilter,
    TableId, TableStatus,
};
use serde_json::json;

use crate::cli::{Outcome, Which, answer, runtime};
use crate::config::{self, Pipeline};
use crate::wiring;

/// Read a table's rows anew, or steer a reading that is under way.
///
/// A running pipeline takes the request within seconds; else the next `lakeward run` does. The rows
/// are read in chunks while changes are followed, without locks. Readers of the lake see the table as
/// it was until the reading is done; then all its earlier rows are void, so rows that vanished unseen
/// are gone. With --where only a part is read; then all keys that live in the lake are looked up, and
/// those that the table has no more are deleted.
#[derive(Args)]
#[command(
    group(ArgGroup::new("steer").args(["pause", "go_on", "cancel"]).conflicts_with("condition")),
    after_help = "Examples:\n  lakeward snapshot shop.orders\n  lakeward snapshot shop.orders --where \
                  \"created_at >= '2026-11-01'\"\n  lakeward snapshot shop.orders --pause     # let it wait; \
                  --continue goes on where it was\n  lakeward snapshot shop.orders --cancel    # give it up; \
                  what the lake has stays valid (refused where it lacks changes)\n  lakeward status                           # how far it \
                  is\n\nExit codes: 0 taken (or put, with --no-wait), 4 refused, 5 no answer yet: the \
                  request stands."
)]
pub(crate) struct SnapshotArgs {
    #[command(flatten)]
    asking: Asking,
    /// Only the rows for which this SQL condition holds.
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// Let the reading wait, also over restarts. Changes are captured meanwhile.
    #[arg(long)]
    pause: bool,
    /// Go on with a reading that waits.
    #[arg(long = "continue")]
    go_on: bool,
    /// Give the reading up. Nothing is voided, and rows read so far stay. Refused where the lake lacks changes
    /// of the table until it is read; of a first reading `status` says that it was given up.
    #[arg(long)]
    cancel: bool,
}

/// Bring back a stopped table.
///
/// A table stops when its changes cannot be captured exactly any more; `lakeward status` says why.
/// Once the cause is mended, this captures its changes again and reads its rows anew: all that the
/// lake has of it becomes void when that is done.
#[derive(Args)]
#[command(after_help = "Examples:\n  lakeward status                # which tables are stopped, and why\n  \
                        lakeward resume shop.orders\n\nExit codes: 0 taken (or put, with --no-wait), 4 \
                        refused, 5 no answer yet: the request stands.")]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    asking: Asking,
}

#[derive(Args)]
struct Asking {
    #[command(flatten)]
    which: Which,
    /// The table, as `database.table`; a name with a dot in backticks.
    table: String,
    /// Do not wait for the pipeline's answer.
    #[arg(long)]
    no_wait: bool,
    /// Print JSON, errors too.
    #[arg(long)]
    json: bool,
}

impl SnapshotArgs {
    pub(crate) fn json(&self) -> bool {
        self.asking.json
    }
}

impl ResumeArgs {
    pub(crate) fn json(&self) -> bool {
        self.asking.json
    }
}

/// How long an answer is waited for: a running pipeline looks every 5 s and commits at once.
const PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

pub(crate) fn snapshot(args: &SnapshotArgs) -> Result<Outcome> {
    let condition = match args.condition.as_deref().map(str::trim) {
        Some("") => {
            return Err(Error::new(ErrorKind::Config, "the condition is empty")
                .at("option", "--where")
                .remedy(
                    "write one, as --where \"id > 1000\", or leave --where out to read the whole table",
                ));
        }
        other => other.map(str::to_owned),
    };
    ask("snapshot", &args.asking, |table| match (args.pause, args.go_on, args.cancel) {
        (true, _, _) => Command::Pause { table },
        (_, true, _) => Command::Continue { table },
        (_, _, true) => Command::Cancel { table },
        (false, false, false) => Command::Snapshot { table, condition },
    })
}

pub(crate) fn resume(args: &ResumeArgs) -> Result<Outcome> {
    ask("resume", &args.asking, |table| Command::Resume { table })
}

fn ask(name: &str, asking: &Asking, command: impl FnOnce(TableId) -> Command) -> Result<Outcome> {
    let pipeline = config::load(&asking.which.config)?;
    pipeline.refuse_foreign(name)?;
    let command = command(captured(&asking.table, &pipeline)?);
    let runtime = runtime()?;
    let became = runtime.block_on(asked(&pipeline, &command, !asking.no_wait))?;
    match asking.json {
        true => answer(&format!("{:#}", became.json(&command)))?,
        false => answer(&became.text(&command))?,
    }
    Ok(became.outcome())
}

/// The table that was named, if the pipeline captures it.
fn captured(name: &str, pipeline: &Pipeline) -> Result<TableId> {
    let filter = TableFilter { include: vec![name.to_owned()], exclude: Vec::new() };
    let table = filter.named().next().ok_or_else(|| {
        Error::new(ErrorKind::Config, format!("`{name}` does not name one table"))
            .remedy("write `shop.orders`; quote a name with a dot: `` `a.b`.c ``")
    })?;
    match pipeline.tables.captures(&table) {
        true => Ok(table),
        false => Err(Error::new(ErrorKind::Config, "the pipeline does not capture the table")
            .at("table", &table)
            .at("pipeline", &pipeline.name)
            .remedy(
                "correct the name, or add the table to `tables.include` and start the pipeline again: it \
                 then reads the table by itself",
            )),
    }
}

async fn asked(pipeline: &Pipeline, command: &Command, wait: bool) -> Result<Became> {
    let Some(before) = wiring::committed(pipeline).await? else {
        return Err(Error::new(ErrorKind::Config, "the pipeline has not committed anything yet")
            .at("pipeline", &pipeline.name)
            .remedy("start it: lakeward run. It reads the rows that are there by itself (snapshot.mode)"));
    };
    if let Some(why) = wiring::refused(pipeline, command) {
        return Ok(Became::Refused(format!("it {why}; without --where the whole table is read anew")));
    }
    let mut asked = wiring::ask(pipeline, command.clone()).await?;
    if !wait {
        return Ok(Became::Standing { doubt: doubt(command, &before), waited: false });
    }
    let answered = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(answered) = asked.answer().await? {
                return Ok::<_, Error>(answered);
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    });
    match answered.await {
        Ok(answered) => answered.map(|(answer, after)| Became::answered(answer, &after, command.table())),
        Err(_elapsed) => Ok(Became::Standing { doubt: doubt(command, &before), waited: true }),
    }
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Became {
    /// It was carried out, and left the table's snapshot so.
    Taken(SnapshotState),
    Refused(String),
    /// It stands in the lake.
    Standing {
        /// Why it may be refused, by what the lake shows.
        doubt: Option<&'static str>,
        /// Whether an answer was waited for.
        waited: bool,
    },
}

impl Became {
    fn answered(answer: Answer, after: &Checkpoint, table: &TableId) -> Self {
        let state = after.tables.get(table).map(|state| state.snapshot.clone());
        match answer.refused {
            Some(why) => Became::Refused(why),
            None => Became::Taken(state.unwrap_or_default()),
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Became::Taken(_) | Became::Standing { waited: false, .. } => Outcome::Done,
            Became::Refused(_) => Outcome::Refused,
            Became::Standing { waited: true, .. } => Outcome::Unanswered,
        }
    }

    fn text(&self, command: &Command) -> String {
        let table = command.table();
        match self {
            Became::Refused(why) => format!("{command}: refused: {why}"),
            Became::Taken(_) => match command {
                Command::Snapshot { condition: None, .. } | Command::Resume { .. } => {
                    format!("{table}: its rows are being read anew; `lakeward status` shows how far it is")
                }
                Command::Snapshot { condition: Some(_), .. } => {
                    format!("{table}: a part of its rows is being read anew; see `lakeward status`")
                }
                Command::Pause { .. } => {
                    format!("{table}: the reading waits; `lakeward snapshot {table} --continue` goes on")
                }
                Command::Continue { .. } => format!("{table}: the reading goes on"),
                Command::Cancel { .. } => format!("{table}: the reading is given up"),
            },
            Became::Standing { doubt, waited } => {
                let mut text = match waited {
                    true => format!(
                        "{command}: no answer within {} s; is the pipeline running? The request stands in \
                         the lake and is taken when it runs",
                        PATIENCE.as_secs()
                    ),
                    false => format!("{command}: put; the pipeline takes it within seconds while it runs"),
                };
                if let Some(doubt) = doubt {
                    text.push_str(&format!(".\nIt may be refused: {doubt}, as of the lake's last commit"));
                }
                text
            }
        }
    }

    fn json(&self, command: &Command) -> serde_json::Value {
        let (state, why, snapshot) = match self {
            Became::Taken(snapshot) => ("taken", None, Some(snapshot)),
            Became::Refused(why) => ("refused", Some(why.as_str()), None),
            Became::Standing { doubt, .. } => ("standing", *doubt, None),
        };
        json!({ "request": command, "state": state, "why": why, "snapshot": snapshot })
    }
}

/// Why the pipeline may refuse `command`, by what the lake shows.
fn doubt(command: &Command, shown: &Checkpoint) -> Option<&'static str> {
    let state = shown.tables.get(command.table());
    let stopped = state.is_some_and(|state| match state.status {
        TableStatus::Active | TableStatus::LeftOut => false,
        TableStatus::Stopped { .. } => true,
    });
    let open = match state.map(|state| &state.snapshot) {
        Some(SnapshotState::Open(snapshot)) => Some(snapshot),
        Some(SnapshotState::NotAsked | SnapshotState::Partial | SnapshotState::Done) | None => None,
    };
    let paused = open.map(|snapshot| snapshot.paused);
    match command {
        Command::Resume { .. } => (!stopped).then_some("the table is not stopped"),
        Command::Snapshot { .. } if stopped => Some("the table is stopped (`lakeward resume` reads it anew)"),
        Command::Snapshot { .. } => paused.map(|_| "its rows are being read already"),
        Command::Pause { .. } if paused == Some(true) => Some("the reading waits already"),
        Command::Continue { .. } if paused == Some(false) => Some("the reading does not wait"),
        Command::Cancel { .. } if open.is_some_and(|open| open.cause == SnapshotCause::Needed) => {
            Some("the lake lacks changes of the table until it is read")
        }
        Command::Pause { .. } | Command::Continue { .. } | Command::Cancel { .. } => {
            paused.is_none().then_some("no reading of its rows is under way")
        }
    }
}

#[cfg(test)]
mod tests {
    use lakeward_core::{Snapshot, TableState};

    use super::*;
    use crate::config::{Outside, parse};

    fn table() -> TableId {
        TableId::new("shop", "orders")
    }

    fn shown(status: TableStatus, snapshot: SnapshotState) -> Checkpoint {
        let mut shown = crate::commands::status::tests::checkpoint();
        let state = TableState { schema_version: 1, status, snapshot, deleted_by_key: false, dropped: false };
        shown.tables = std::sync::Arc::new([(table(), state)].into());
        shown
    }

    fn stopped() -> TableStatus {
        let at = crate::commands::status::tests::checkpoint().position;
        TableStatus::Stopped { kind: "TableChanged".into(), message: "m".into(), remedy: None, at }
    }

    fn open(paused: bool) -> SnapshotState {
        SnapshotState::Open(Snapshot { paused, ..Snapshot::default() })
    }

    #[test]
    fn a_table_that_is_not_captured_or_not_one_is_told() {
        let text = "{ name: shop, source: { mysql: { host: h, user: u } }, tables: { include: ['shop.*'] }, \
                    lake: { url: 'file:///x' } }";
        let outside = Outside { variable: &|_| None, file: &|_| panic!() };
        let pipeline = parse(text, &outside).unwrap();
        assert_eq!(captured("shop.orders", &pipeline).unwrap(), table());
        for (name, words) in
            [("orders", "does not name one"), ("shop.*", "does not name one"), ("crm.x", "tables.include")]
        {
            let error = captured(name, &pipeline).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn a_request_that_the_pipeline_may_refuse_is_put_with_the_reason() {
        let table = table();
        let condition = None;
        let (resume, pause) =
            (Command::Resume { table: table.clone() }, Command::Pause { table: table.clone() });
        let go_on = Command::Continue { table: table.clone() };
        let cancel = Command::Cancel { table: table.clone() };
        let snapshot = Command::Snapshot { table, condition };
        let active = |snapshot| shown(TableStatus::Active, snapshot);
        for (command, state, expected) in [
            (&resume, active(SnapshotState::Done), Some("the table is not stopped")),
            (&resume, shown(stopped(), SnapshotState::Done), None),
            (&snapshot, active(SnapshotState::Done), None),
            (&snapshot, active(open(false)), Some("its rows are being read already")),
            (&pause, active(open(false)), None),
            (&pause, active(open(true)), Some("the reading waits already")),
            (&go_on, active(open(true)), None),
            (&go_on, active(open(false)), Some("the reading does not wait")),
            (&cancel, active(open(true)), None),
            (
                &cancel,
                active(SnapshotState::Open(Snapshot { cause: SnapshotCause::Needed, ..Snapshot::default() })),
                Some("the lake lacks changes of the table until it is read"),
            ),
            (&cancel, active(SnapshotState::NotAsked), Some("no reading of its rows is under way")),
        ] {
            assert_eq!(doubt(command, &state), expected, "{command}");
        }
        assert!(doubt(&snapshot, &shown(stopped(), SnapshotState::Done)).unwrap().contains("resume"));
    }

    #[test]
    fn what_became_of_a_request_is_told_with_its_exit_code() {
        let pause = Command::Pause { table: table() };
        let after = shown(TableStatus::Active, open(true));
        let taken = Became::answered(Answer::done("1"), &after, &table());
        assert_eq!((taken.outcome(), &taken), (Outcome::Done, &Became::Taken(open(true))));
        assert!(taken.text(&pause).contains("--continue"));
        assert_eq!(taken.json(&pause)["snapshot"]["paused"], true);
        let refused = Became::answered(Answer::refused("1", "no such table"), &after, &table());
        assert_eq!(refused.outcome(), Outcome::Refused);
        assert!(refused.text(&pause).contains("refused: no such table"));
        assert_eq!(refused.json(&pause)["why"], "no such table");
        let waits = Became::Standing { doubt: None, waited: true };
        assert_eq!(
            (waits.outcome(), waits.json(&pause)["state"].as_str()),
            (Outcome::Unanswered, Some("standing"))
        );
    }
}
