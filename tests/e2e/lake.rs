//! A lake as its readers see it: the files that its commit log names, read by DuckDB and by pyarrow.
//!
//! Works on a folder; the objects of the S3 server are files in one, too. Nothing of lakeward is
//! used to read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::expected::{Cell, SourceTable};

/// Database and table.
pub(crate) type Name = (String, String);

/// An independent reader of Parquet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// DuckDB.
    Duckdb,
    /// pyarrow.
    Pyarrow,
}

/// The change events of one table, by `_seq`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events {
    /// Names of the columns.
    pub(crate) columns: Vec<String>,
    /// A value per column.
    pub(crate) rows: Vec<Vec<Cell>>,
}

impl Events {
    /// Place of a column.
    pub(crate) fn column(&self, name: &str) -> usize {
        let place = self.columns.iter().position(|column| column == name);
        place.unwrap_or_else(|| panic!("no column {name} among {:?}", self.columns))
    }

    /// A column's values without the kind in front.
    pub(crate) fn bare(&self, name: &str) -> Vec<Option<String>> {
        let place = self.column(name);
        self.rows.iter().map(|row| row[place].as_deref().map(|cell| bare(cell).to_owned())).collect()
    }

    /// The letters of `_op`.
    pub(crate) fn ops(&self) -> Vec<String> {
        self.bare("_op").into_iter().map(|op| op.expect("every event has an op")).collect()
    }

    /// The numbers.
    pub(crate) fn seqs(&self) -> Vec<i64> {
        self.bare("_seq")
            .into_iter()
            .map(|seq| seq.expect("every event has a number").parse().unwrap())
            .collect()
    }

    /// `columns` of every row.
    pub(crate) fn select(&self, columns: &[String]) -> Vec<Vec<Cell>> {
        let places: Vec<usize> = columns.iter().map(|name| self.column(name)).collect();
        self.rows.iter().map(|row| places.iter().map(|&place| row[place].clone()).collect()).collect()
    }

    /// The latest state: of each key the event with the greatest `_seq` since the last `t`, unless
    /// that is a `d`.
    pub(crate) fn latest(&self, columns: &[String], key: &[&str]) -> BTreeMap<Vec<Cell>, Vec<Cell>> {
        let key: Vec<usize> = key.iter().map(|name| self.column(name)).collect();
        let mut state = BTreeMap::new();
        for ((row, image), op) in self.rows.iter().zip(self.select(columns)).zip(self.ops()) {
            let key = key.iter().map(|&place| row[place].clone()).collect();
            match op.as_str() {
                "t" => state.clear(),
                "d" => drop(state.remove(&key)),
                "c" | "u" | "r" => drop(state.insert(key, image)),
                other => panic!("unknown op {other}"),
            }
        }
        state
    }
}

/// A cell without the kind in front.
pub(crate) fn bare(cell: &str) -> &str {
    cell.get(2..).expect("a cell has its kind in front")
}

/// Why a table is stopped.
#[derive(Clone, Debug)]
pub(crate) struct Stopped {
    /// The kind of error.
    pub(crate) kind: String,
    /// What happened.
    pub(crate) message: String,
    /// How to mend it.
    pub(crate) remedy: Option<String>,
}

/// A pipeline's part of a lake.
#[derive(Clone, Debug)]
pub(crate) struct LakeView {
    /// The folder that the lake's url stands for.
    pub(crate) root: PathBuf,
    /// The pipeline.
    pub(crate) pipeline: String,
}

impl LakeView {
    /// Paths of the commit log's records, in order.
    fn log(&self) -> Vec<PathBuf> {
        let mut paths = files_below(&self.root.join("_lakeward").join(&self.pipeline).join("log"));
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        paths
    }

    /// How many records there are.
    pub(crate) fn record_count(&self) -> usize {
        self.log().len()
    }

    /// The commit log, in order.
    pub(crate) fn records(&self) -> Vec<Value> {
        self.log().iter().map(|path| read_record(path)).collect()
    }

    /// The last checkpoint in the log.
    pub(crate) fn checkpoint(&self) -> Option<Value> {
        let checkpoint = |record: Value| {
            [&record["to"], &record["checkpoint"]].into_iter().find(|c| c.is_object()).cloned()
        };
        self.log().iter().rev().find_map(|path| checkpoint(read_record(path)))
    }

    /// Tables that are stopped, as of the last checkpoint.
    pub(crate) fn stopped(&self) -> BTreeMap<Name, Stopped> {
        let checkpoint = self.checkpoint().unwrap_or_default();
        let tables = checkpoint["tables"].as_array().into_iter().flatten();
        let stopped = tables.filter(|table| table["status"]["state"] == "stopped");
        stopped
            .map(|table| {
                let status = &table["status"];
                let remedy = status["remedy"].as_str().map(str::to_owned);
                let stopped =
                    Stopped { kind: text(&status["kind"]), message: text(&status["message"]), remedy };
                ((text(&table["table"][0]), text(&table["table"][1])), stopped)
            })
            .collect()
    }

    /// Every file of the lake, the log included, and its size.
    pub(crate) fn contents(&self) -> BTreeMap<PathBuf, u64> {
        let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        files_below(&self.root).into_iter().map(|path| (path.clone(), size(&path))).collect()
    }

    /// Whether every file that the log names is visible. Files that were repaired never are again.
    pub(crate) fn is_shown(&self) -> bool {
        let records = self.records();
        let lost = lost(&records);
        named(&records)
            .map(|file| text(&file["key"]))
            .all(|key| lost.contains(&key) || self.root.join(key).exists())
    }

    /// Visible data files by table: those that the log names and no repair replaces.
    pub(crate) fn files(&self) -> BTreeMap<Name, Vec<PathBuf>> {
        let records = self.records();
        let lost = lost(&records);
        let mut files: BTreeMap<Name, Vec<PathBuf>> = BTreeMap::new();
        for file in named(&records) {
            let (table, key) = ((text(&file["table"][0]), text(&file["table"][1])), text(&file["key"]));
            let path = self.root.join(&key);
            if lost.contains(&key) {
                assert!(!path.exists(), "{key} was repaired, and is there");
                continue;
            }
            let size = fs::metadata(&path).unwrap_or_else(|error| panic!("{key} is named: {error}")).len();
            assert_eq!(Some(size), file["bytes"].as_u64(), "size of {key}");
            files.entry(table).or_default().push(path);
        }
        files
    }

    /// Every object outside of `_lakeward`, and not of the S3 server's own.
    pub(crate) fn objects(&self) -> BTreeSet<PathBuf> {
        let own = |path: &Path| {
            let first = path.strip_prefix(&self.root).ok().and_then(|rest| rest.components().next());
            first.is_some_and(|first| first.as_os_str() == "_lakeward" || first.as_os_str() == ".sgwtmp")
        };
        files_below(&self.root).into_iter().filter(|path| !own(path)).collect()
    }

    /// Fails if an object is visible that the log does not name (this pipeline alone uses the lake).
    pub(crate) fn assert_all_named(&self) {
        let named: BTreeSet<PathBuf> = self.files().into_values().flatten().collect();
        let unnamed: Vec<_> = self.objects().difference(&named).cloned().collect();
        assert!(unnamed.is_empty(), "no record names {unnamed:?}");
    }

    /// Change events of every table, all its files read as one table.
    pub(crate) fn events(&self, reader: Reader) -> BTreeMap<Name, Events> {
        read(reader, &self.files())
    }

    /// The same by DuckDB, which opens each table's folder with all that lies in it.
    pub(crate) fn events_of_folders(&self) -> BTreeMap<Name, Events> {
        let folder = |name: Name| {
            let files = self.root.join(&name.0).join(&name.1).join("**").join("*.parquet");
            (name, vec![files])
        };
        read(Reader::Duckdb, &self.files().into_keys().map(folder).collect())
    }

    /// Fails unless all numbers of all tables together are unique and dense, and the last checkpoint
    /// goes on right behind them.
    pub(crate) fn assert_dense(&self, events: &BTreeMap<Name, Events>) {
        let mut seqs: Vec<i64> = events.values().flat_map(Events::seqs).collect();
        seqs.sort_unstable();
        for pair in seqs.windows(2) {
            assert!(pair[1] > pair[0], "{} is given twice", pair[0]);
        }
        self.assert_count(seqs.len() as i64, seqs.first().copied(), seqs.last().copied());
    }

    /// Fails unless so many unique numbers, these being the first and the last one, are all that the
    /// last checkpoint says were given: from 1, without a gap but for those that no event bears.
    pub(crate) fn assert_count(&self, count: i64, first: Option<i64>, last: Option<i64>) {
        let Some(checkpoint) = self.checkpoint() else {
            return assert_eq!(count, 0, "events without a commit");
        };
        let next = checkpoint["next_seq"].as_i64().expect("a checkpoint has a next number");
        let open = snapshots(&checkpoint).filter(|(_, snapshot)| snapshot["state"] == "open");
        let reserved = open.filter(|(_, snapshot)| snapshot["mark"].is_i64()).count() as i64;
        let without_event = reserved + checkpoint["retired"].as_i64().unwrap_or(0);
        assert_eq!(count, next - 1 - without_event, "{first:?} to {last:?} are not dense below {next}");
        assert!(first.is_none_or(|first| first >= 1) && last.is_none_or(|last| last < next));
    }

    /// What the last checkpoint says of each table's snapshot: `not_asked`, `done`, `open`.
    pub(crate) fn snapshot_states(&self) -> BTreeMap<Name, String> {
        let checkpoint = self.checkpoint().unwrap_or_default();
        snapshots(&checkpoint)
            .map(|(table, snapshot)| (table, snapshot["state"].as_str().unwrap_or("not_asked").to_owned()))
            .collect()
    }
}

/// Change events of tables in files, which may be patterns where the reader knows such.
fn read(reader: Reader, files: &BTreeMap<Name, Vec<PathBuf>>) -> BTreeMap<Name, Events> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/python/events.py");
    let asked: Vec<Value> = files
        .iter()
        .map(|((database, table), files)| json!({ "table": [database, table], "files": files }))
        .collect();
    let lines =
        lakeward_test_support::python(&script, &[reader_name(reader)], &Value::from(asked).to_string());
    let mut events = BTreeMap::new();
    for line in lines.lines() {
        let mut table: Value = serde_json::from_str(line).expect("the reader prints JSON");
        let name = (text(&table["table"][0]), text(&table["table"][1]));
        let columns = serde_json::from_value(table["columns"].take()).expect("names of columns");
        let rows = serde_json::from_value(table["rows"].take()).expect("rows of strings and nulls");
        events.insert(name, Events { columns, rows });
    }
    events
}

/// Each table's snapshot in a checkpoint.
fn snapshots(checkpoint: &Value) -> impl Iterator<Item = (Name, &Value)> {
    let tables = checkpoint["tables"].as_array().into_iter().flatten();
    tables.map(|table| ((text(&table["table"][0]), text(&table["table"][1])), &table["snapshot"]))
}

/// Fails unless the latest state of a table with a key is what the source holds.
pub(crate) fn assert_latest_is(name: &Name, events: &Events, key: &[&str], source: SourceTable) {
    let columns = source.columns.clone();
    let places: Vec<usize> = key
        .iter()
        .map(|name| columns.iter().position(|column| column == name).expect("a key column"))
        .collect();
    let mut lake = events.latest(&columns, key);
    let mut wrong = Vec::new();
    for row in source.rows {
        let key: Vec<Cell> = places.iter().map(|&place| row[place].clone()).collect();
        match lake.remove(&key) {
            Some(found) if found == row => {}
            found => wrong.push(format!("source {row:?}\n  lake {found:?}")),
        }
    }
    wrong.extend(lake.into_values().map(|row| format!("only in the lake {row:?}")));
    let shown = wrong.len().min(5);
    assert!(wrong.is_empty(), "{name:?}: {} rows differ, as\n{}", wrong.len(), wrong[..shown].join("\n"));
}

fn read_record(path: &Path) -> Value {
    let text = fs::read(path).expect("a record can be read");
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn reader_name(reader: Reader) -> &'static str {
    match reader {
        Reader::Duckdb => "duckdb",
        Reader::Pyarrow => "pyarrow",
    }
}

/// Every file that some record names.
fn named(records: &[Value]) -> impl Iterator<Item = &Value> {
    records.iter().flat_map(|record| record["files"].as_array().into_iter().flatten())
}

/// Keys of files that a repair replaced.
fn lost(records: &[Value]) -> BTreeSet<String> {
    let lists = records.iter().filter_map(|record| record["repairs"]["lost"].as_array());
    lists.flatten().map(text).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Every file below a folder; a file that vanishes while we look was not there.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files.extend(files_below(&entry.path())),
            Ok(_) => files.push(entry.path()),
            Err(_) => {}
        }
    }
    files
}
