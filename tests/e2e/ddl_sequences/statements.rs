//! Random statements over the tables of a database. Each is chosen by what the server holds right now;
//! some are refused by it, which is no harm: what fails is not logged.

use lakeward_test_support::Random;

use super::structure::{Column, Table};
use super::values::{any_type, default_value, other_type, value};

/// Greatest number of tables of a database.
const TABLES: usize = 5;

/// Two partitions.
const RANGES: &str =
    "PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (50), PARTITION p1 VALUES LESS THAN MAXVALUE)";

/// One statement.
pub(super) struct Statement {
    pub(super) sql: String,
    /// The table whose rows it writes by row events.
    pub(super) writes: Option<String>,
    /// Whether it changes tables.
    pub(super) is_ddl: bool,
    /// What is done with a table's files before it.
    pub(super) files: Option<Files>,
}

/// What is done with the files of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// They are remembered.
    Export,
    /// Those that were remembered are put back where there are none.
    PutBack,
}

impl Statement {
    fn dml(table: &str, sql: String) -> Statement {
        Statement { sql, writes: Some(table.to_owned()), is_ddl: false, files: None }
    }

    fn ddl(sql: String) -> Statement {
        Statement { sql, writes: None, is_ddl: true, files: None }
    }

    /// One that makes a table with rows in it.
    fn ddl_with_rows(table: &str, sql: String) -> Statement {
        Statement { sql, writes: Some(table.to_owned()), is_ddl: true, files: None }
    }
}

/// Names are few, so that they come back with another meaning.
fn column_name(random: &mut Random) -> String {
    format!("c{}", random.below(6))
}

fn table_name(random: &mut Random) -> String {
    format!("t{}", random.below(6))
}

/// One DML statement.
pub(super) fn dml(random: &mut Random, tables: &[Table]) -> Statement {
    if tables.is_empty() {
        return create(random);
    }
    let table = random.pick(tables);
    let written: Vec<&Column> = table.columns.iter().filter(|column| !column.generated).collect();
    let name = &table.name;
    let row = |random: &mut Random| {
        let values: Vec<String> = written
            .iter()
            .map(|column| match column.nullable && random.below(5) == 0 {
                true => "NULL".to_owned(),
                false => value(random, &column.data_type),
            })
            .collect();
        format!("({})", values.join(", "))
    };
    let names: Vec<String> = written.iter().map(|column| format!("`{}`", column.name)).collect();
    let one = table.pick(random, |_| true).map_or("1", |column| &column.name).to_owned();
    let changed = table.pick(random, |column| !column.generated);
    let sql = match (random.below(8), changed) {
        (0..=3, _) => {
            let rows: Vec<String> = (0..=random.below(6)).map(|_| row(random)).collect();
            format!("INSERT IGNORE INTO {name} ({}) VALUES {}", names.join(", "), rows.join(", "))
        }
        (4, _) => format!("REPLACE INTO {name} ({}) VALUES {}", names.join(", "), row(random)),
        (5 | 6, Some(column)) => {
            let value = value(random, &column.data_type);
            format!(
                "UPDATE IGNORE {name} SET `{}` = {value} ORDER BY `{one}` LIMIT {}",
                column.name,
                1 + random.below(9)
            )
        }
        _ => format!("DELETE FROM {name} ORDER BY `{one}` LIMIT {}", 1 + random.below(3)),
    };
    Statement::dml(name, sql)
}

/// A new table.
pub(super) fn create(random: &mut Random) -> Statement {
    let columns: Vec<String> =
        (0..2 + random.below(4)).map(|place| format!("c{place} {}", any_type(random))).collect();
    let charset = random.pick(&["", " CHARACTER SET latin1", " CHARACTER SET utf8mb4"]);
    let key = random.pick(&[
        "id INT NOT NULL PRIMARY KEY",
        "id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY",
        "id VARCHAR(20) NOT NULL, UNIQUE KEY (id)",
    ]);
    let partitions = match random.below(5) {
        0 if key.starts_with("id INT") => format!(" {RANGES}"),
        _ => String::new(),
    };
    let (name, columns) = (table_name(random), columns.join(", "));
    Statement::ddl(format!("CREATE TABLE {name} ({key}, {columns}){charset}{partitions}"))
}

/// Statements that change tables: mostly one.
pub(super) fn ddl(random: &mut Random, tables: &[Table]) -> Vec<Statement> {
    let ranged = tables.iter().find(|table| table.is_ranged());
    match (random.below(10), ranged) {
        (0, Some(table)) if tables.len() < TABLES => exchange(random, table),
        (1, _) if !tables.is_empty() && random.below(4) == 0 => import(random, tables),
        _ => vec![one_ddl(random, tables)],
    }
}

/// The rows of a partition and those of a table change places; no row event tells of it.
fn exchange(random: &mut Random, table: &Table) -> Vec<Statement> {
    let (name, other) = (&table.name, table_name(random));
    vec![
        Statement::ddl(format!("CREATE TABLE {other} LIKE {name}")),
        Statement::ddl(format!("ALTER TABLE {other} REMOVE PARTITIONING")),
        Statement::dml(&other, format!("INSERT INTO {other} SELECT * FROM {name} PARTITION (p0) LIMIT 1")),
        Statement::ddl(format!("ALTER TABLE {name} EXCHANGE PARTITION p0 WITH TABLE {other}")),
    ]
}

/// The rows of a table become those that it had before its last change; no row event tells of it.
fn import(random: &mut Random, tables: &[Table]) -> Vec<Statement> {
    let name = &random.pick(tables).name;
    let statement = |action: &str| Statement::ddl(format!("ALTER TABLE {name} {action} TABLESPACE"));
    let delete = format!("DELETE FROM {name} ORDER BY 1 LIMIT {}", 1 + random.below(9));
    vec![
        Statement { files: Some(Files::Export), ..Statement::dml(name, delete) },
        statement("DISCARD"),
        Statement { files: Some(Files::PutBack), ..statement("IMPORT") },
    ]
}

fn one_ddl(random: &mut Random, tables: &[Table]) -> Statement {
    if tables.is_empty() {
        return create(random);
    }
    let table = random.pick(tables);
    Statement::ddl(match random.below(25) {
        0..=11 => alter_columns(random, table),
        12 | 13 => rename(random, tables),
        14 | 15 if tables.len() < TABLES => return copy(random, table),
        16 if tables.len() < TABLES => return create(random),
        16 => format!("DROP TABLE {}", table.name),
        17 => format!("TRUNCATE TABLE {}", table.name),
        18 | 19 => key(random, table),
        20 => charset(random, table),
        21..=23 => {
            let partitioned = tables.iter().find(|table| table.partitioned.is_some());
            partitions(random, partitioned.unwrap_or(table))
        }
        _ => harmless(random, table),
    })
}

fn rename(random: &mut Random, tables: &[Table]) -> String {
    let (one, other) = (&random.pick(tables).name, &random.pick(tables).name);
    match random.below(3) {
        0 if one != other => format!("RENAME TABLE {one} TO swapped, {other} TO {one}, swapped TO {other}"),
        1 => format!("ALTER TABLE {one} RENAME TO {}", table_name(random)),
        _ => format!("RENAME TABLE {one} TO {}", table_name(random)),
    }
}

fn copy(random: &mut Random, table: &Table) -> Statement {
    let (new, old) = (table_name(random), &table.name);
    let sql = match random.below(3) {
        0 => format!("CREATE TABLE {new} (id INT NOT NULL PRIMARY KEY) IGNORE SELECT * FROM {old}"),
        1 => format!("CREATE TABLE {new} SELECT * FROM {old}"),
        _ => return Statement::ddl(format!("CREATE TABLE {new} LIKE {old}")),
    };
    Statement::ddl_with_rows(&new, sql)
}

fn place(random: &mut Random, table: &Table) -> String {
    match (random.below(4), table.pick(random, |_| true)) {
        (0, _) => " FIRST".to_owned(),
        (1, Some(column)) => format!(" AFTER `{}`", column.name),
        _ => String::new(),
    }
}

/// One or two changes of columns.
fn alter_columns(random: &mut Random, table: &Table) -> String {
    let changes: Vec<String> = (0..=random.below(2)).filter_map(|_| alter_column(random, table)).collect();
    match changes.is_empty() {
        true => format!("ALTER TABLE {} COMMENT = 'nothing'", table.name),
        false => format!("ALTER TABLE {} {}", table.name, changes.join(", ")),
    }
}

fn alter_column(random: &mut Random, table: &Table) -> Option<String> {
    let free = |column: &Column| !column.in_key && !column.generated;
    let column = table.pick(random, free)?;
    let name = &column.name;
    Some(match random.below(12) {
        0..=3 => added(random, table),
        4 => format!("DROP COLUMN `{name}`"),
        5 | 6 => {
            format!(
                "MODIFY COLUMN `{name}` {}{}",
                other_type(random, &column.data_type),
                place(random, table)
            )
        }
        7 => {
            let (new, ty) = (column_name(random), other_type(random, &column.data_type));
            format!("CHANGE COLUMN `{name}` {new} {ty}{}", place(random, table))
        }
        8 | 9 => format!("RENAME COLUMN `{name}` TO {}", column_name(random)),
        10 => {
            let other = &table.pick(random, free)?.name;
            format!("RENAME COLUMN `{name}` TO `{other}`, RENAME COLUMN `{other}` TO `{name}`")
        }
        _ => format!("DROP COLUMN `{name}`, ADD COLUMN `{name}` {}", any_type(random)),
    })
}

fn added(random: &mut Random, table: &Table) -> String {
    let (name, ty) = (column_name(random), any_type(random));
    let attributes = match (random.below(5), default_value(random, ty)) {
        (0, Some(value)) => format!("{ty} NOT NULL DEFAULT {value}"),
        (1, Some(value)) => format!("{ty} DEFAULT {value}"),
        (2, _) => format!("{ty} INVISIBLE"),
        (3, _) if table.columns.iter().any(|column| column.name == "id" && column.data_type != "varchar") => {
            let kept = random.pick(&["STORED", "VIRTUAL"]);
            format!("BIGINT GENERATED ALWAYS AS (id * 3) {kept}")
        }
        _ => ty.to_owned(),
    };
    format!("ADD COLUMN {name} {attributes}{}", place(random, table))
}

fn key(random: &mut Random, table: &Table) -> String {
    let name = &table.name;
    let old = if table.key().is_empty() { "" } else { "DROP PRIMARY KEY, " };
    let column = table.pick(random, |column| !column.generated && !column.in_key);
    match (random.below(5), column) {
        (4, _) => format!("ALTER TABLE {name} DROP INDEX id"),
        (0 | 1, Some(column)) => format!("ALTER TABLE {name} {old}ADD PRIMARY KEY (id, `{}`)", column.name),
        (2, _) => format!("ALTER TABLE {name} ADD UNIQUE KEY (id)"),
        _ => format!("ALTER TABLE {name} {old}ADD PRIMARY KEY (id)"),
    }
}

fn charset(random: &mut Random, table: &Table) -> String {
    let charset = random.pick(&["latin1", "utf8mb4", "gbk"]);
    match random.below(3) {
        0 => format!("ALTER TABLE {} DEFAULT CHARACTER SET {charset}", table.name),
        _ => format!("ALTER TABLE {} CONVERT TO CHARACTER SET {charset}", table.name),
    }
}

fn partitions(random: &mut Random, table: &Table) -> String {
    let operation = match table.partitioned.as_deref() {
        None => *random.pick(&["PARTITION BY KEY () PARTITIONS 3", RANGES]),
        Some(_) if table.is_ranged() => *random.pick(&[
            "REORGANIZE PARTITION p1 INTO (PARTITION p1 VALUES LESS THAN (90), PARTITION p2 VALUES LESS THAN MAXVALUE)",
            "TRUNCATE PARTITION p0",
            "DROP PARTITION p0",
            "DROP PARTITION p0",
            "REMOVE PARTITIONING",
            "REBUILD PARTITION p1",
        ]),
        Some(_) => {
            *random.pick(&["ADD PARTITION PARTITIONS 1", "COALESCE PARTITION 1", "REMOVE PARTITIONING"])
        }
    };
    format!("ALTER TABLE {} {operation}", table.name)
}

fn harmless(random: &mut Random, table: &Table) -> String {
    let name = &table.name;
    let column = table.pick(random, |_| true).map_or("id", |column| &column.name);
    match random.below(5) {
        0 => format!("ALTER TABLE {name} ADD INDEX (`{column}`)"),
        1 => format!("ALTER TABLE {name} ENGINE = InnoDB"),
        2 => format!("/* a comment; DROP TABLE {name} */ ALTER TABLE {name} COMMENT = 'DROP COLUMN c1'"),
        3 => format!("OPTIMIZE TABLE {name}"),
        _ => format!("ALTER TABLE {name} ALTER COLUMN `{column}` DROP DEFAULT"),
    }
}
