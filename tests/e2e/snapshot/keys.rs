//! The kinds of keys by which tables are read, as data: each gives the number of a row a key that
//! the server compares in a way of its own.

use crate::whole::Keyed;

/// A kind of key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyKind {
    /// Its name, and that of its table.
    pub(crate) name: &'static str,
    /// Columns of the table, as CREATE TABLE takes them.
    columns: &'static str,
    /// Its keys.
    keys: &'static str,
    /// Columns of the key.
    key: &'static [&'static str],
    /// The columns by which the writer finds a row, and the SQL that gives row `#` its values of them.
    values: &'static [(&'static str, &'static str)],
}

const KINDS: &[KeyKind] = &[
    KeyKind {
        name: "counted",
        columns: "k BIGINT NOT NULL AUTO_INCREMENT",
        keys: "PRIMARY KEY (k)",
        key: &["k"],
        values: &[("k", "#")],
    },
    KeyKind {
        name: "unsigned_extremes",
        columns: "k BIGINT UNSIGNED NOT NULL",
        keys: "PRIMARY KEY (k)",
        key: &["k"],
        values: &[("k", "CAST(IF(# MOD 2, #, 18446744073709551615 - #) AS UNSIGNED)")],
    },
    KeyKind {
        name: "composite",
        columns: "a SMALLINT NOT NULL, b VARCHAR(12) NOT NULL, c DATE NOT NULL",
        keys: "PRIMARY KEY (c, a, b)",
        key: &["c", "a", "b"],
        values: &[
            ("a", "# MOD 1009 - 500"),
            ("b", r"CONCAT('k''\\\\', # DIV 1009 MOD 31)"),
            ("c", "DATE '2000-01-01' + INTERVAL (# DIV 31279) DAY"),
        ],
    },
    KeyKind {
        name: "labels_and_instants",
        columns: "e ENUM('z','a','m') NOT NULL, t TIMESTAMP(3) NOT NULL, y YEAR NOT NULL, x BIT(20) NOT NULL",
        keys: "PRIMARY KEY (e, y, t, x)",
        key: &["e", "y", "t", "x"],
        values: &[
            ("e", "ELT(# MOD 3 + 1, 'z', 'a', 'm')"),
            ("t", "FROM_UNIXTIME(1700000000 + # DIV 7)"),
            ("y", "1990 + # MOD 50"),
            ("x", "# MOD 1048576"),
        ],
    },
    KeyKind {
        name: "case_insensitive",
        columns: "k VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci NOT NULL",
        keys: "PRIMARY KEY (k)",
        key: &["k"],
        values: &[(
            "k",
            r"CONCAT(ELT(# MOD 5 + 1, 'Ä', 'a', 'ß''\\', 'Z', '😀'), IF(# MOD 2, LPAD(CONV(#, 10, 36), 6, '0'), LOWER(LPAD(CONV(#, 10, 36), 6, '0'))))",
        )],
    },
    KeyKind {
        name: "padded_latin1",
        columns: "k VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_german1_ci NOT NULL",
        keys: "PRIMARY KEY (k)",
        key: &["k"],
        values: &[(
            "k",
            "CONVERT(CONCAT(ELT(# MOD 3 + 1, 'é', 'Z ', 'ß'), LPAD(CONV(#, 10, 36), 6, '0')) USING latin1) COLLATE latin1_german1_ci",
        )],
    },
    KeyKind {
        name: "gbk",
        columns: "k CHAR(16) CHARACTER SET gbk NOT NULL",
        keys: "PRIMARY KEY (k)",
        key: &["k"],
        values: &[(
            "k",
            "CONVERT(CONCAT(ELT(# MOD 3 + 1, '你', '龍', 'a'), LPAD(CONV(#, 10, 36), 6, '0')) USING gbk) COLLATE gbk_chinese_ci",
        )],
    },
    KeyKind {
        name: "binary_16",
        columns: "k BINARY(16) NOT NULL",
        keys: "PRIMARY KEY (k)",
        key: &["k"],
        values: &[("k", "LEFT(UNHEX(SHA2(#, 256)), 16)")],
    },
    KeyKind {
        name: "decimals",
        columns: "k DECIMAL(30,10) NOT NULL",
        keys: "PRIMARY KEY (k)",
        key: &["k"],
        values: &[("k", "CAST((# - 500000) * 1.0000000001 AS DECIMAL(30,10))")],
    },
    KeyKind {
        name: "datetimes",
        columns: "k DATETIME(6) NOT NULL",
        keys: "PRIMARY KEY (k)",
        key: &["k"],
        values: &[("k", "TIMESTAMP('1000-01-01 00:00:00') + INTERVAL (# * 200000000001) MICROSECOND")],
    },
    KeyKind {
        name: "unique_only",
        columns: "k INT NOT NULL, other INT",
        keys: "UNIQUE KEY other (other), UNIQUE KEY k (k)",
        key: &["k"],
        values: &[("k", "#")],
    },
];

/// Without a key: rows come in threes that are the same.
pub(crate) const KEYLESS: KeyKind = KeyKind {
    name: "keyless",
    columns: "a INT NOT NULL, b VARCHAR(20)",
    keys: "KEY (a)",
    key: &[],
    values: &[("a", "# DIV 3"), ("b", "CONCAT('b', # DIV 3 MOD 7)")],
};

/// Every kind with a key.
pub(crate) fn kinds() -> &'static [KeyKind] {
    KINDS
}

/// The kind with this name.
pub(crate) fn kind(name: &str) -> KeyKind {
    *KINDS.iter().find(|kind| kind.name == name).unwrap_or_else(|| panic!("no kind of key {name}"))
}

impl KeyKind {
    /// The statement that makes a table of it.
    pub(crate) fn create(&self, table: &str) -> String {
        let KeyKind { columns, keys, .. } = self;
        format!("CREATE TABLE shop.{table} ({columns}, n INT NOT NULL, note VARCHAR(60), {keys})")
    }

    /// The statement that fills it with rows 1 to `rows`.
    pub(crate) fn fill(&self, table: &str, rows: u64) -> String {
        format!(
            "INSERT INTO shop.{table} ({}, n, note) SELECT {}, 1, CONCAT('filled ', i) FROM numbers.all_numbers WHERE i <= {rows}",
            self.columns_written(),
            self.row("i")
        )
    }

    /// Names of the columns that [`row`](Self::row) gives values.
    pub(crate) fn columns_written(&self) -> String {
        self.values.iter().map(|(column, _)| *column).collect::<Vec<_>>().join(", ")
    }

    /// The columns by which its rows can be ordered fast.
    pub(crate) fn order(&self) -> &'static str {
        self.key.first().unwrap_or(&self.values[0].0)
    }

    /// The values of row `number`, a number or SQL that gives one.
    pub(crate) fn row(&self, number: &str) -> String {
        self.values.iter().map(|(_, value)| value.replace('#', number)).collect::<Vec<_>>().join(", ")
    }

    /// The condition that finds row `number`.
    pub(crate) fn finds(&self, number: u64) -> String {
        let number = number.to_string();
        let equal = |(column, value): &(&str, &str)| format!("{column} = {}", value.replace('#', &number));
        self.values.iter().map(equal).collect::<Vec<_>>().join(" AND ")
    }

    /// Assignments that make a row the row `number`.
    pub(crate) fn becomes(&self, number: u64) -> String {
        self.finds(number).replace(" AND ", ", ")
    }

    /// A table of this kind, to be compared.
    pub(crate) fn keyed(&self, table: &str) -> Keyed {
        Keyed::shop(table, self.key)
    }
}
