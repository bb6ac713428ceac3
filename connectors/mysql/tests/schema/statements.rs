//! Random statements, and hard ones.

use lakeward_core::{Capacity, Column, ColumnType};
use lakeward_mysql::schema::Definition;
use lakeward_test_support::Random;

const NAMES: &[&str] = &["a", "b", "c", "d", "E", "f", "`g h`", "`key`", "\u{e9}t\u{e9}", "h"];

const TYPES: &[&str] = &[
    "TINYINT",
    "TINYINT UNSIGNED",
    "BOOL",
    "SMALLINT",
    "MEDIUMINT UNSIGNED",
    "INT",
    "INTEGER UNSIGNED",
    "BIGINT",
    "INT8 UNSIGNED",
    "DECIMAL(5,1)",
    "NUMERIC(12,3)",
    "DECIMAL(40,2)",
    "FLOAT",
    "DOUBLE PRECISION",
    "REAL(7,2)",
    "BIT",
    "BIT(12)",
    "YEAR",
    "DATE",
    "TIME",
    "TIME(3)",
    "DATETIME",
    "DATETIME(6)",
    "TIMESTAMP NULL",
    "TIMESTAMP(3) NULL",
    "CHAR(4)",
    "CHAR(9) CHARACTER SET latin1",
    "VARCHAR(5)",
    "VARCHAR(40)",
    "VARCHAR(300) CHARACTER SET utf8mb4",
    "CHARACTER VARYING(20) COLLATE utf8mb4_bin",
    "NCHAR(6)",
    "VARCHAR(12) BINARY",
    "TINYTEXT",
    "TEXT",
    "TEXT CHARACTER SET latin1",
    "LONG VARCHAR",
    "LONGTEXT",
    "BINARY(6)",
    "VARBINARY(9)",
    "BLOB",
    "MEDIUMBLOB",
    "ENUM('a','b','c')",
    "ENUM('a','b','c','d')",
    "ENUM('c','b','a')",
    "SET('x','y')",
    "SET('x','w','y')",
    "JSON",
    "POINT",
    "VECTOR(3)",
];

/// Attributes that suit a type which begins with one of these.
const ATTRIBUTES: &[(&[&str], &[&str])] = &[
    (
        &["TIN", "SMA", "MED", "INT", "BIG"],
        &[
            "DEFAULT 0",
            "DEFAULT 7",
            "DEFAULT '5'",
            "NOT NULL DEFAULT 1",
            "DEFAULT (7)",
            "DEFAULT x'41'",
            "DEFAULT +12",
        ],
    ),
    (&["BOOL", "BIT"], &["DEFAULT b'1'", "NOT NULL DEFAULT b'0'", "DEFAULT TRUE", "DEFAULT 1"]),
    (
        &["DEC", "NUM", "FLO", "DOU", "REAL"],
        &["DEFAULT 1.5", "DEFAULT -3", "NOT NULL DEFAULT 2.25 COMMENT 'x, y'", "DEFAULT '0.5'"],
    ),
    (&["YEAR"], &["DEFAULT 2020", "DEFAULT '1999'"]),
    (&["DATETIME", "TIMESTAMP"], &["DEFAULT '2026-01-02 03:04:05'", "DEFAULT '2026-01-02 03:04:05.1'"]),
    (&["DATE"], &["DEFAULT '2026-01-02'", "DEFAULT (CURRENT_DATE)"]),
    (&["TIME"], &["DEFAULT '12:30:00'", "DEFAULT '-01:00:00'"]),
    (
        &["CHAR", "VARCH", "NCHAR"],
        &[
            "DEFAULT 'a'",
            "NOT NULL DEFAULT 'b '",
            "DEFAULT ''",
            "DEFAULT 7",
            "DEFAULT 'A\\n'",
            r"DEFAULT '\%\f'",
            r"DEFAULT '\_\a'",
            "DEFAULT _utf8mb4'z'",
        ],
    ),
    (&["BINARY", "VARBIN"], &["DEFAULT x'4142'", "DEFAULT 'a'", "NOT NULL DEFAULT ''"]),
    (&["ENUM"], &["DEFAULT 'a'", "NOT NULL DEFAULT 'b'", "DEFAULT 'C'"]),
    (&["SET"], &["DEFAULT ''", "NOT NULL DEFAULT 'x,y'", "DEFAULT 'y'"]),
    (&["TEXT", "JSON", "BLOB"], &["DEFAULT ('[]')"]),
];

fn one<'a>(random: &mut Random, list: &[&'a str]) -> &'a str {
    random.pick::<&str>(list)
}

/// A type with its attributes.
fn definition(random: &mut Random) -> String {
    let ty = one(random, TYPES);
    let suited = ATTRIBUTES.iter().find(|(begins, _)| begins.iter().any(|begin| ty.starts_with(begin)));
    let attribute = match (random.below(5), suited) {
        (0 | 1, Some((_, list))) => one(random, list),
        (2, _) => "NOT NULL",
        (3, _) if !ty.ends_with("NULL") => "NULL",
        _ => "",
    };
    let mut text = format!("{ty} {attribute}");
    if random.below(12) == 0 {
        text.push_str(" COMMENT 'FIRST, \\'AFTER\\' (b'");
    }
    if random.below(15) == 0 {
        text.push_str(" UNIQUE");
    }
    if random.below(25) == 0 {
        text.push_str(" INVISIBLE");
    }
    text
}

fn name_of(random: &mut Random, known: &Definition) -> String {
    let names: Vec<&Column> = known.columns.iter().filter(|column| column.name != "rid").collect();
    if names.is_empty() { "a".into() } else { format!("`{}`", random.pick(&names).name) }
}

fn parts(random: &mut Random, names: &[String]) -> String {
    let mut parts = Vec::new();
    for _ in 0..=random.below(2) {
        let mut part = random.pick(names).clone();
        match random.below(8) {
            0 => part.push_str("(3)"),
            1 => part.push_str("(2) DESC"),
            2 => part = format!("(({part}))"),
            _ => {}
        }
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts.join(", ")
}

fn key(random: &mut Random, names: &[String]) -> String {
    let parts = parts(random, names);
    match random.below(8) {
        0 => format!("PRIMARY KEY ({parts})"),
        1 => format!("CONSTRAINT p PRIMARY KEY USING BTREE ({parts})"),
        2 => format!("UNIQUE ({parts})"),
        3 => format!("UNIQUE INDEX u{} ({parts})", random.below(4)),
        4 => format!("CONSTRAINT s{} UNIQUE KEY ({parts})", random.below(3)),
        5 => format!("KEY ({parts}) COMMENT 'x'"),
        6 => format!("INDEX i{} ({parts}) INVISIBLE", random.below(4)),
        _ => format!("UNIQUE KEY u{} USING HASH ({parts})", random.below(4)),
    }
}

pub(crate) fn create(random: &mut Random, table: &str) -> String {
    let mut names: Vec<String> = Vec::new();
    let mut items = vec!["rid INT NOT NULL".to_owned()];
    for name in NAMES.iter().take(2 + random.below(5) as usize) {
        items.push(format!("{name} {}", definition(random)));
        names.push((*name).to_owned());
    }
    if random.below(2) == 0 {
        let expression = one(random, &["CONCAT(a, '!')", "HEX(a)", "a = 'A'", "CONCAT(b, '!')", "b + 1"]);
        items.push(format!("gen VARCHAR(700) AS ({expression}) {}", one(random, &["STORED", "VIRTUAL"])));
    }
    for _ in 0..random.below(3) {
        items.push(key(random, &names));
    }
    let option = one(
        random,
        &[
            "",
            "",
            " ENGINE=InnoDB CHARSET=latin1",
            " DEFAULT CHARACTER SET utf8mb4 COLLATE = utf8mb4_bin",
            " COLLATE latin1_bin COMMENT 'x'",
        ],
    );
    format!("CREATE TABLE {table} ({}){option}", items.join(",\n "))
}

pub(crate) fn alter(random: &mut Random, table: &str, known: &Definition) -> String {
    match random.below(14) {
        0 => {
            let names: Vec<String> = (0..3).map(|_| name_of(random, known)).collect();
            let unique = one(random, &["", "UNIQUE "]);
            return format!(
                "CREATE {unique}INDEX x{} ON {table} ({})",
                random.below(3),
                parts(random, &names)
            );
        }
        1 => return format!("DROP INDEX {} ON {table}", index_of(random, known)),
        _ => {}
    }
    let more = random.below(3).saturating_sub(1) * random.below(4);
    let clauses: Vec<String> = (0..=more).map(|_| clause(random, known)).collect();
    format!("ALTER TABLE {table} {}", clauses.join(", "))
}

fn index_of(random: &mut Random, known: &Definition) -> String {
    let indexes = known.groundwork.indexes.clone().unwrap_or_default();
    if indexes.is_empty() { "none".into() } else { format!("`{}`", random.pick(&indexes).name) }
}

fn place(random: &mut Random, known: &Definition) -> String {
    match random.below(6) {
        0 => " FIRST".into(),
        1 => " AFTER rid".into(),
        2 => format!(" AFTER {}", name_of(random, known)),
        _ => String::new(),
    }
}

/// A definition that is near the column's own.
fn near(random: &mut Random, column: &Column) -> String {
    let ty = match &column.ty {
        ColumnType::Int { width, unsigned, .. } => {
            let list = ["TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT"];
            let at = match width {
                8 => 4,
                width => usize::from(*width) - 1,
            };
            let at = (at + random.below(2) as usize).min(4);
            format!("{}{}", list[at], if *unsigned { " UNSIGNED" } else { "" })
        }
        ColumnType::Decimal { precision, scale } => {
            let more = random.below(3) as u8;
            format!(
                "DECIMAL({},{})",
                (precision + more).min(65),
                (scale + random.below(2) as u8).min(*scale + more)
            )
        }
        ColumnType::Float => "DOUBLE".into(),
        ColumnType::Time { fsp } => format!("TIME({})", (fsp + 1).min(6)),
        ColumnType::Datetime { fsp } => format!("DATETIME({})", (fsp + 1).min(6)),
        ColumnType::Timestamp { fsp } => format!("TIMESTAMP({}) NULL", (fsp + 1).min(6)),
        ColumnType::Enum { labels } => format!("ENUM({}, 'new')", quoted(labels)),
        ColumnType::Set { labels } => format!("SET({}, 'new')", quoted(labels)),
        ColumnType::Text { .. } => match column.capacity {
            Some(Capacity::Char(n)) => format!("VARCHAR({})", n + 1),
            Some(Capacity::Varchar(n)) => {
                format!("VARCHAR({}) CHARACTER SET utf8mb4", n + random.below(2) as u32)
            }
            _ => one(random, &["TEXT", "MEDIUMTEXT", "LONGTEXT CHARACTER SET utf8mb4"]).into(),
        },
        ColumnType::Binary { fixed: None } => match column.capacity {
            Some(Capacity::Varchar(n)) => format!("VARBINARY({})", n + random.below(3) as u32),
            _ => "LONGBLOB".into(),
        },
        _ => one(random, TYPES).into(),
    };
    format!("{ty} {}", if column.nullable { "" } else { one(random, &["NOT NULL", ""]) })
}

fn quoted(labels: &[String]) -> String {
    labels.iter().map(|label| format!("'{}'", label.replace('\'', "''"))).collect::<Vec<_>>().join(",")
}

fn clause(random: &mut Random, known: &Definition) -> String {
    let column = name_of(random, known);
    let fresh = one(random, NAMES);
    let names: Vec<String> = (0..3).map(|_| name_of(random, known)).collect();
    let chosen = random.pick(&known.columns).clone();
    let near_chosen = near(random, &chosen);
    match random.below(24) {
        0..=4 => format!("ADD COLUMN {fresh} {}{}", definition(random), place(random, known)),
        5 => format!("ADD ({fresh} {}, {})", definition(random), key(random, &names)),
        6 => format!("DROP COLUMN {column}"),
        7 => format!("DROP {column}"),
        8..=10 if chosen.name != "rid" => {
            format!("MODIFY `{}` {near_chosen}{}", chosen.name, place(random, known))
        }
        11 => format!("MODIFY COLUMN {column} {}{}", definition(random), place(random, known)),
        12 if chosen.name != "rid" => {
            format!("CHANGE `{}` {fresh} {near_chosen}{}", chosen.name, place(random, known))
        }
        13 => format!("CHANGE COLUMN {column} {fresh} {}{}", definition(random), place(random, known)),
        14 | 15 => format!("RENAME COLUMN {column} TO {fresh}"),
        16 | 17 => format!("ADD {}", key(random, &names)),
        18 => one(random, &["DROP PRIMARY KEY", "DROP CONSTRAINT s1", "DROP KEY u1", "DROP INDEX u2"]).into(),
        19 => format!("RENAME INDEX {} TO u{}", index_of(random, known), random.below(5)),
        20 => one(
            random,
            &[
                "CHARSET latin1",
                "DEFAULT CHARACTER SET = utf8mb4",
                "COLLATE utf8mb4_bin",
                "COMMENT 'a, b' CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci",
            ],
        )
        .into(),
        21 => {
            one(random, &["CONVERT TO CHARACTER SET utf8mb4", "CONVERT TO CHARSET latin1 COLLATE latin1_bin"])
                .into()
        }
        22 => format!("ALTER COLUMN {column} SET DEFAULT 1"),
        _ => {
            one(random, &["ALGORITHM=COPY", "FORCE", "ROW_FORMAT=DYNAMIC", "MODIFY rid INT NOT NULL AFTER a"])
                .into()
        }
    }
}

/// A value for a column, as a literal; `None`: leave it out.
pub(crate) fn value(random: &mut Random, column: &Column) -> Option<String> {
    if column.nullable && random.below(4) == 0 {
        return Some("NULL".into());
    }
    let n = random.below(100);
    Some(match &column.ty {
        ColumnType::Int { .. } | ColumnType::Decimal { .. } | ColumnType::Bit { bits: 12.. } => n.to_string(),
        ColumnType::Bit { .. } => (n % 2).to_string(),
        // What binary fractions hold.
        ColumnType::Float | ColumnType::Double => format!("{n}.5"),
        ColumnType::Year => (1980 + n).to_string(),
        ColumnType::Date => format!("'2026-03-{:02}'", 1 + n % 28),
        ColumnType::Time { .. } => format!("'{n}:{:02}:07.123456'", n % 60),
        ColumnType::Datetime { .. } | ColumnType::Timestamp { .. } => {
            format!("'2026-03-04 05:06:{:02}.654321'", n % 60)
        }
        ColumnType::Text { .. } => {
            one(random, &["''", "'a'", "'A '", "'\u{e9}'", "'abc'", "'7'", "'\u{20ac}uro'"]).into()
        }
        ColumnType::Binary { .. } => one(random, &["''", "'a'", "x'00FF'", "'b '"]).into(),
        ColumnType::Enum { labels } | ColumnType::Set { labels } => {
            format!("'{}'", random.pick(labels).replace('\'', "''"))
        }
        ColumnType::Json => format!("'{{\"n\": {n}}}'"),
        ColumnType::Geometry => format!("ST_GeomFromText('POINT({n} 2)')"),
        ColumnType::Vector => return None,
    })
}

/// A table, and statements that alter it one after the other.
pub(crate) const HARD: &[(&str, &[&str])] = &[
    (
        "CREATE TABLE {t} (a INT NOT NULL, b INT NOT NULL, c VARCHAR(300) NOT NULL, d INT, UNIQUE uac (a, c), UNIQUE ub (b), \
         UNIQUE ua (a), UNIQUE ud (d), UNIQUE up (c(3)))",
        &[
            "ALTER TABLE {t} DROP INDEX uac, ADD UNIQUE uac (a, c)",
            "ALTER TABLE {t} DROP INDEX uac",
            "ALTER TABLE {t} ADD UNIQUE uac (a, c)",
            "ALTER TABLE {t} DROP INDEX ub, ADD UNIQUE ub2 (b)",
            "ALTER TABLE {t} RENAME INDEX ub2 TO zz, MODIFY d INT NOT NULL",
            "ALTER TABLE {t} MODIFY a INT",
            "ALTER TABLE {t} MODIFY a INT NOT NULL",
            "ALTER TABLE {t} MODIFY c VARCHAR(3) NOT NULL",
            "DROP INDEX zz ON {t}",
            "DROP INDEX ud ON {t}",
        ],
    ),
    (
        "CREATE TABLE {t} (a INT, b INT, c INT, PRIMARY KEY (a, b), UNIQUE u (b, c))",
        &[
            "ALTER TABLE {t} RENAME COLUMN a TO b, RENAME COLUMN b TO a",
            "ALTER TABLE {t} DROP COLUMN b",
            "ALTER TABLE {t} DROP PRIMARY KEY, ADD COLUMN id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT FIRST, ADD UNIQUE id (id)",
            "ALTER TABLE {t} ADD PRIMARY KEY (id), DROP INDEX id",
            "ALTER TABLE {t} CHANGE id `ID` BIGINT UNSIGNED NOT NULL AFTER c",
            "ALTER TABLE {t} DROP PRIMARY KEY",
        ],
    ),
    (
        "CREATE TABLE {t} (a INT, b INT, c INT)",
        &[
            "ALTER TABLE {t} CHANGE a x INT AFTER c, ADD d INT FIRST, MODIFY b BIGINT AFTER d, ADD e INT AFTER x",
            "ALTER TABLE {t} RENAME COLUMN b TO q, ADD COLUMN b INT AFTER q",
            "ALTER TABLE {t} DROP COLUMN b, ADD COLUMN b VARCHAR(3) FIRST",
            "ALTER TABLE {t} ADD (`column` INT, `first` INT, UNIQUE (`first`, `column`)), ADD UNIQUE (`first`)",
            "ALTER TABLE {t} MODIFY COLUMN `column` INT FIRST, MODIFY `first` INT AFTER `column`",
            "ALTER TABLE {t} DROP `column`, DROP COLUMN `first`",
            "ALTER TABLE {t} ADD y INT AFTER d, MODIFY d INT AFTER e",
            "ALTER TABLE {t} MODIFY y INT AFTER d, MODIFY d INT FIRST, MODIFY e INT AFTER y",
        ],
    ),
    (
        "CREATE TABLE {t} (a VARCHAR(10), b CHAR(4) CHARACTER SET latin1, c TEXT, d TEXT CHARACTER SET latin1, e ENUM('x') CHARSET latin1, \
         f VARCHAR(2000) CHARACTER SET latin1, g VARBINARY(9), h CHAR(5) COLLATE utf8mb4_bin) CHARSET utf8mb4",
        &[
            "ALTER TABLE {t} DEFAULT CHARACTER SET latin1, ADD i VARCHAR(3), ADD j VARCHAR(3) CHARSET utf8mb4",
            "ALTER TABLE {t} CONVERT TO CHARACTER SET utf8mb4, ADD k VARCHAR(3) CHARSET latin1",
            "ALTER TABLE {t} COLLATE utf8mb4_bin",
            "ALTER TABLE {t} ADD l TINYTEXT, MODIFY a VARCHAR(11)",
            "ALTER TABLE {t} CONVERT TO CHARACTER SET latin1 COLLATE latin1_bin",
            "ALTER TABLE {t} CHARSET latin1",
            "ALTER TABLE {t} CONVERT TO CHARACTER SET DEFAULT",
            "ALTER TABLE {t} CONVERT TO CHARACTER SET binary",
        ],
    ),
    (
        "CREATE TABLE {t} (id INT NOT NULL, v INT NOT NULL, UNIQUE (v), UNIQUE uid (id), FOREIGN KEY (v) REFERENCES {t} (id))",
        &[
            "ALTER TABLE {t} ADD w INT NOT NULL, ADD UNIQUE (w, id)",
            "ALTER TABLE {t} ADD PRIMARY KEY (id), COMMENT 'x'",
            "ALTER TABLE {t} ADD INDEX (id), ADD FULLTEXT KEY f (z), ADD z TEXT, ADD CHECK (id > 0), ADD CONSTRAINT k CHECK (v > 0)",
            "ALTER TABLE {t} DROP CHECK k, DROP INDEX f, ALTER v SET DEFAULT 4, ALTER INDEX v INVISIBLE, RENAME INDEX w TO ww",
        ],
    ),
    (
        "CREATE TABLE {t} (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))",
        &[
            "ALTER TABLE {t} ADD PARTITION (PARTITION p2 VALUES LESS THAN (30), PARTITION p3 VALUES LESS THAN MAXVALUE)",
            "ALTER TABLE {t} DROP PARTITION p0, p1",
            "ALTER TABLE {t} REORGANIZE PARTITION p2, p3 INTO (PARTITION p3 VALUES LESS THAN MAXVALUE)",
            "ALTER TABLE {t} ADD n INT AFTER id PARTITION BY KEY (id) PARTITIONS 2",
            "ALTER TABLE {t} ADD m INT REMOVE PARTITIONING",
        ],
    ),
    (
        "CREATE TABLE {t} (id INT AUTO_INCREMENT KEY, a INT, g INT AS (a + 1) STORED, KEY (a))",
        &[
            "ALTER TABLE {t} MODIFY id BIGINT AUTO_INCREMENT",
            "ALTER TABLE {t} CHANGE id nr BIGINT",
            "ALTER TABLE {t} MODIFY g INT AS (a + 2) STORED, ADD INDEX fx ((a * 2)), ADD UNIQUE ((a + nr))",
            "ALTER TABLE {t} MODIFY g BIGINT FIRST",
            "CREATE UNIQUE INDEX one USING BTREE ON {t} (a, nr DESC) COMMENT 'x' ALGORITHM=INPLACE LOCK=NONE",
        ],
    ),
    (
        "CREATE TABLE {t} (a INT NOT NULL, v INT AS (a + 1) VIRTUAL NOT NULL, b INT NOT NULL, c VARCHAR(9), e INT, \
         s INT AS (a + 2) STORED NOT NULL, UNIQUE (v), UNIQUE (b), UNIQUE (c(3)), UNIQUE ((e + 1)), UNIQUE (s))",
        &[
            "ALTER TABLE {t} ADD d INT UNIQUE",
            "ALTER TABLE {t} RENAME COLUMN v TO w, ADD x INT AS (b + 1) UNIQUE",
            // With an ADD UNIQUE over `w` in it this one ends the server (9.7.4).
            "ALTER TABLE {t} DROP INDEX b, DROP INDEX s",
            "ALTER TABLE {t} ADD UNIQUE y (b)",
        ],
    ),
];
