//! The events and the latest state of a table that changed its structure, by the rules that the lake gives
//! its readers: `_schema` names the version of each event, `_lakeward/…/schemas/` holds the versions, columns
//! of two versions belong together by their numbers, and a column that an event's version lacks has its `fill`.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::expected::{Cell, SourceTable};
use crate::lake::{Events, LakeView, Name, bare};

/// A table's versions, by their numbers.
pub(crate) struct Versions(BTreeMap<u64, Version>);

/// A version of a table: number, name in the lake and fill of each column, and the numbers of its key.
struct Version {
    columns: Vec<Column>,
    key: Vec<u64>,
}

struct Column {
    number: u64,
    /// Its name on the source.
    name: String,
    /// Its name in the lake's files.
    stored_as: String,
    fill: Option<String>,
}

impl Versions {
    /// Those that the lake holds of a table.
    pub(crate) fn of(view: &LakeView, (database, table): &Name) -> Versions {
        let schemas = view.root.join("_lakeward").join(&view.pipeline).join("schemas");
        let folder = schemas.join(database).join(table);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let version = |file: std::io::Result<fs::DirEntry>| {
            let text =
                fs::read(file.expect("the folder can be listed").path()).expect("a version can be read");
            let stored: Value = serde_json::from_slice(&text).expect("a version is JSON");
            let listed = stored["columns"].as_array().expect("columns");
            let columns: Vec<Column> =
                listed.iter().zip(stored["lake_names"].as_array().expect("names")).map(column).collect();
            let key = stored["key"].as_array().expect("a key").iter();
            let key = key.map(|at| columns[at.as_u64().expect("an index") as usize].number).collect();
            (stored["version"].as_u64().expect("a number"), Version { columns, key })
        };
        Versions(files.map(version).collect())
    }

    /// The images of all events, each under the names that the columns of its own version have on the source.
    pub(crate) fn images(&self, events: &Events) -> Vec<Image> {
        let place = |column: &Column| (column.name.clone(), events.column(&column.stored_as));
        // Of versions that have events: the files need not have the columns of any other.
        let mut places: BTreeMap<u64, Vec<(String, usize)>> = BTreeMap::new();
        let mut image = |(row, schema): (&Vec<Cell>, Option<String>)| -> Image {
            let schema: u64 = schema.expect("every event has a version").parse().expect("a number");
            let columns =
                places.entry(schema).or_insert_with(|| self.0[&schema].columns.iter().map(place).collect());
            columns.iter().map(|(name, place)| (name.clone(), plain(row[*place].clone()))).collect()
        };
        events.rows.iter().zip(events.bare("_schema")).map(&mut image).collect()
    }
}

/// A row by the names of its columns, its values in a form that is the same in all versions.
pub(crate) type Image = Vec<(String, Cell)>;

/// A row of the source as an image.
pub(crate) fn image(columns: &[String], row: &[Cell]) -> Image {
    columns.iter().cloned().zip(row.iter().cloned().map(plain)).collect()
}

fn column((stored, stored_as): (&Value, &Value)) -> Column {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Column {
        number: stored["id"].as_u64().expect("a number"),
        name: text(&stored["name"]).expect("a name"),
        stored_as: text(stored_as).expect("a name"),
        fill: text(&stored["fill"]),
    }
}

/// A fill as a cell of the same kind as `like`.
fn filled(fill: &str, like: &str) -> String {
    match like.get(..2) {
        Some("x:") => format!("x:{}", fill.trim_start_matches("0x").to_ascii_lowercase()),
        kind => format!("{}{fill}", kind.expect("a cell has its kind in front")),
    }
}

/// Numbers are the same whatever the scale and width of their column.
fn plain(cell: Cell) -> Cell {
    let cell = cell?;
    Some(match cell.split_at(2) {
        ("i:" | "d:", digits) => {
            let digits = match digits.contains('.') {
                true => digits.trim_end_matches('0').trim_end_matches('.'),
                false => digits,
            };
            format!("n:{digits}")
        }
        ("f:", bits) => {
            let value = f32::from_bits(u32::from_str_radix(bits, 16).expect("bits"));
            format!("g:{:016x}", f64::from(value).to_bits())
        }
        ("b:", bit) => format!("n:{bit}"),
        _ => cell,
    })
}

/// Differences between the latest state of a table and what the source holds. A table without a key has
/// no latest state: each of its rows must be among the images of its events.
pub(crate) fn differences(
    view: &LakeView,
    name: &Name,
    events: &Events,
    source: &SourceTable,
) -> Vec<String> {
    let Versions(versions) = Versions::of(view, name);
    let Some(newest) = versions.values().next_back() else { return vec![format!("{name:?}: no version")] };
    // A kind for the fills: that of any value which the source holds in the column.
    let kinds: Vec<Option<&str>> =
        (0..source.columns.len()).map(|at| source.rows.iter().find_map(|row| row[at].as_deref())).collect();
    let current: Vec<Option<&Column>> =
        source.columns.iter().map(|name| newest.columns.iter().find(|column| column.name == *name)).collect();
    if let Some(at) = current.iter().position(Option::is_none) {
        return vec![format!("{name:?}: the newest version lacks {}", source.columns[at])];
    }
    let mut state: BTreeMap<Vec<Cell>, Vec<Cell>> = BTreeMap::new();
    let schemas = events.bare("_schema");
    for ((row, op), schema) in events.rows.iter().zip(events.ops()).zip(schemas) {
        if op == "t" {
            state.clear();
            continue;
        }
        let schema: u64 = schema.expect("every event has a version").parse().expect("a number");
        let version = &versions[&schema];
        let value = |number: u64, fill: Option<&String>, kind: Option<&str>| {
            let then = version.columns.iter().find(|column| column.number == number);
            plain(match then {
                Some(then) => row[events.column(&then.stored_as)].clone(),
                None => fill.map(|fill| kind.map_or_else(|| fill.clone(), |kind| filled(fill, kind))),
            })
        };
        let image: Vec<Cell> = current
            .iter()
            .flatten()
            .zip(&kinds)
            .map(|(column, kind)| value(column.number, column.fill.as_ref(), *kind))
            .collect();
        let key: Vec<Cell> = newest.key.iter().map(|&number| value(number, None, None)).collect();
        match op.as_str() {
            "d" => drop(state.remove(&key)),
            _ if key.is_empty() => drop(state.insert(image.clone(), image)),
            _ => drop(state.insert(key, image)),
        }
    }
    if newest.key.is_empty() {
        let rows = source.rows.iter().map(|row| row.iter().cloned().map(plain).collect::<Vec<Cell>>());
        let missing = rows.filter(|row| !state.contains_key(row));
        return missing.map(|row| format!("{name:?}: only in the source {}", shown(&row))).collect();
    }
    let mut lake: BTreeMap<Vec<Cell>, u64> = BTreeMap::new();
    for image in state.into_values() {
        *lake.entry(image).or_default() += 1;
    }
    let mut wrong = Vec::new();
    for row in &source.rows {
        let row: Vec<Cell> = row.iter().cloned().map(plain).collect();
        match lake.get_mut(&row) {
            Some(times) if *times > 0 => *times -= 1,
            _ => wrong.push(format!("{name:?}: only in the source {}", shown(&row))),
        }
    }
    let left = lake.into_iter().filter(|(_, times)| *times > 0);
    wrong.extend(left.map(|(row, _)| format!("{name:?}: only in the lake   {}", shown(&row))));
    wrong
}

fn shown(row: &[Cell]) -> String {
    row.iter().map(|cell| cell.as_deref().map_or("NULL", bare)).collect::<Vec<_>>().join(" | ")
}
