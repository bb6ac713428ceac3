//! The history: what each transaction did to a table's rows, as SELECT says it before and after, and whether
//! the lake's events of that transaction say just that, under whatever names and types the table's columns had
//! then and have in the lake's files.
//!
//! Events and transactions are brought together by the GTID that the server told the writer. Rows have no names
//! (a table may have no key), so they are counted: the rows that went, and the images of `c` and `u`, less the
//! images of `d` and the rows that came, leave what updates took away: one row for each `u`, and none that did not go.

use std::collections::{BTreeMap, BTreeSet};

use crate::expected::{Cell, SourceTable};
use crate::lake::{Events, LakeView, Name};
use crate::versions::{Image, Versions, image};

/// What a transaction did to a table's rows.
pub(super) struct Written {
    table: Name,
    gtid: String,
    statement: String,
    columns: Vec<String>,
    /// Rows that are not there any more.
    went: Vec<Vec<Cell>>,
    /// Rows that were not there before.
    came: Vec<Vec<Cell>>,
}

impl Written {
    /// From the rows before and after.
    pub(super) fn of(
        database: &str,
        table: &str,
        gtid: String,
        statement: &str,
        before: Option<&SourceTable>,
        after: &SourceTable,
    ) -> Written {
        let before = before.map_or(&[][..], |before| &before.rows);
        Written {
            table: (database.to_owned(), table.to_owned()),
            gtid,
            statement: statement.to_owned(),
            columns: after.columns.clone(),
            went: without(before, &after.rows),
            came: without(&after.rows, before),
        }
    }

    fn images<'a>(&'a self, rows: &'a [Vec<Cell>]) -> impl Iterator<Item = Image> + 'a {
        rows.iter().map(|row| image(&self.columns, row))
    }

    /// Whether the lake's events of the transaction say what it did.
    fn is_told_by(&self, events: &[Event]) -> bool {
        let mut left: BTreeMap<Image, i64> = BTreeMap::new();
        let mut went: BTreeMap<Image, i64> = BTreeMap::new();
        for row in self.images(&self.went) {
            *went.entry(row).or_default() += 1;
        }
        left.clone_from(&went);
        for row in self.images(&self.came) {
            *left.entry(row).or_default() -= 1;
        }
        let mut updates = 0;
        for event in events {
            updates += i64::from(event.op == "u");
            *left.entry(event.image.clone()).or_default() += if event.op == "d" { -1 } else { 1 };
        }
        let taken_away =
            left.iter().all(|(row, times)| (0..=went.get(row).copied().unwrap_or(0)).contains(times));
        taken_away && left.values().sum::<i64>() == updates
    }

    /// For a report.
    fn told(&self, events: &[Event]) -> String {
        let rows =
            |rows: &[Vec<Cell>]| self.images(rows).map(|row| format!("\n    {row:?}")).collect::<String>();
        let events =
            events.iter().map(|event| format!("\n    {} {:?}", event.op, event.image)).collect::<String>();
        let Written { table, gtid, statement, went, came, .. } = self;
        format!(
            "{table:?} {gtid} {statement}\n  went{}\n  came{}\n  in the lake{events}",
            rows(went),
            rows(came)
        )
    }
}

/// The rows of `all` without as many of each as `others` has.
fn without(all: &[Vec<Cell>], others: &[Vec<Cell>]) -> Vec<Vec<Cell>> {
    let mut others: Vec<&Vec<Cell>> = others.iter().collect();
    let mut is_other = |row: &Vec<Cell>| match others.iter().position(|other| *other == row) {
        Some(at) => {
            others.swap_remove(at);
            true
        }
        None => false,
    };
    all.iter().filter(|row| !is_other(row)).cloned().collect()
}

/// An event of a row change.
#[derive(Clone)]
struct Event {
    op: String,
    image: Image,
}

/// A check that cannot fail is worth nothing: an event that is lost, has another value or comes twice is noticed.
/// (Where a table has no key, an update that comes twice may be another row's.)
fn assert_faults_are_noticed(written: &Written, event: &Event) {
    let mut other = event.clone();
    other.image[0].1 = Some("another".to_owned());
    assert!(!written.is_told_by(&[]), "lost: {}", written.told(&[]));
    let other = std::slice::from_ref(&other);
    assert!(!written.is_told_by(other), "altered: {}", written.told(other));
    let twice = [event.clone(), event.clone()];
    assert!(event.op == "u" || !written.is_told_by(&twice), "twice: {}", written.told(&twice));
}

/// The lake's events of row changes.
pub(super) struct History {
    /// By table and transaction.
    events: BTreeMap<(Name, String), Vec<Event>>,
    /// The first transaction: what was before it, the pipeline has not seen.
    first: u64,
    /// Of each table the numbers of all events, with their transactions where they are row changes.
    places: BTreeMap<Name, Vec<(i64, Option<u64>)>>,
}

/// How much was compared.
#[derive(Debug, Default)]
pub(super) struct Compared {
    transactions: usize,
    events: usize,
    passed_over: usize,
}

impl Compared {
    /// Fails where the exception is no exception.
    pub(super) fn assert_enough(&self) {
        assert!(self.transactions > 50 * self.passed_over, "{self:?}");
    }
}

impl History {
    /// From all events of all tables.
    pub(super) fn of(view: &LakeView, tables: &BTreeMap<Name, Events>) -> History {
        let mut history: BTreeMap<(Name, String), Vec<Event>> = BTreeMap::new();
        let mut places: BTreeMap<Name, Vec<(i64, Option<u64>)>> = BTreeMap::new();
        for (name, events) in tables {
            let images = Versions::of(view, name).images(events).into_iter();
            let told = events.ops().into_iter().zip(images).map(|(op, image)| Event { op, image });
            for ((event, gtid), seq) in told.zip(events.bare("_gtid")).zip(events.seqs()) {
                let gtid = gtid.filter(|_| matches!(event.op.as_str(), "c" | "u" | "d"));
                places.entry(name.clone()).or_default().push((seq, gtid.as_deref().map(number)));
                if let Some(gtid) = gtid {
                    history.entry((name.clone(), gtid)).or_default().push(event);
                }
            }
        }
        History { events: history, first: begins_after(view) + 1, places }
    }

    /// Whether what the lake has of the table before a transaction was voided, or its rows were read, after that.
    fn is_read_since(&self, written: &Written) -> bool {
        let Some(places) = self.places.get(&written.table) else { return true };
        let is_before = |number: &Option<u64>| number.is_some_and(|before| before < number_of(written));
        let last = places.iter().filter(|(_, number)| is_before(number)).map(|(seq, _)| *seq).max();
        last.is_none() || places.iter().any(|(seq, number)| number.is_none() && Some(*seq) > last)
    }

    /// Takes out the events of what was written, and answers what of it the lake does not tell as it was.
    /// Of tables in `passed_over` transactions may be missing before a reading of all their rows.
    pub(super) fn take(
        &mut self,
        written: &[Written],
        passed_over: &BTreeSet<Name>,
        compared: &mut Compared,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        for written in written.iter().filter(|written| number_of(written) >= self.first) {
            let place = (written.table.clone(), written.gtid.clone());
            let events = self.events.remove(&place).unwrap_or_default();
            if events.is_empty() && passed_over.contains(&written.table) && self.is_read_since(written) {
                compared.passed_over += 1;
                continue;
            }
            compared.transactions += 1;
            compared.events += events.len();
            match &events[..] {
                events if !written.is_told_by(events) => wrong.push(written.told(events)),
                [event] => assert_faults_are_noticed(written, event),
                _ => {}
            }
        }
        wrong
    }

    /// Tables and transactions of events that nobody took out: nobody wrote them.
    pub(super) fn left(&self) -> impl Iterator<Item = &(Name, String)> {
        self.events.keys()
    }
}

fn number_of(written: &Written) -> u64 {
    number(&written.gtid)
}

/// The last transaction before those that the pipeline sees: its first commit tells where it begins, and brings nothing.
fn begins_after(view: &LakeView) -> u64 {
    let records = view.records();
    let beginning = records.iter().find(|record| record["kind"] == "commit").expect("a commit");
    assert_eq!(beginning["files"].as_array().map(Vec::len), Some(0), "{beginning}");
    let gtids = beginning["to"]["position"]["binlog"]["gtid_set"].as_str().expect("the set of one server");
    let last = gtids.rsplit([':', '-']).next().and_then(|last| last.parse().ok());
    last.unwrap_or_else(|| panic!("{gtids} has no end"))
}

/// The number of a transaction in its server's log.
fn number(gtid: &str) -> u64 {
    let number = gtid.rsplit(':').next().and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("{gtid} is no GTID"))
}
