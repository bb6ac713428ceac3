//! Statements that change structures, followed on a real MySQL 9.7: while lakeward runs and while it does
//! not, with column names in the log and without.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;

use lakeward_core::clock::SystemClock;
use lakeward_core::stats::SourceStats;
use lakeward_core::{
    ByteSize, Checkpoint, Feed, Resume, Secret, Snapshot, SnapshotState, Source, TableFilter, TableId,
    TableSchema, TableState, TableStatus, TypeOptions,
};
use lakeward_mysql::snapshot::{SnapshotMode, SnapshotOptions};
use lakeward_mysql::{
    MysqlConfig, MysqlOptions, MysqlSource, OnError, OnTruncate, Purpose, Start, Until, catalog,
};
use lakeward_test_support::mysql::{MySql, MySqlOptions, PASSWORD, RowMetadata, USER};

const METADATA: [RowMetadata; 2] = [RowMetadata::Full, RowMetadata::Minimal];

/// A pipeline over `shop.*`, with what its sink has.
struct Pipeline {
    server: MySql,
    start: Start,
    /// Each change by its number, as `table op`.
    changes: BTreeMap<i64, String>,
    schemas: Vec<Arc<TableSchema>>,
    checkpoint: Option<Checkpoint>,
}

impl Pipeline {
    fn over(row_metadata: RowMetadata, gtid: bool) -> Pipeline {
        let server = MySql::start(MySqlOptions { gtid, row_metadata, ..MySqlOptions::default() });
        server.create_user();
        server.sql("CREATE DATABASE shop CHARACTER SET latin1");
        let start = Start::Earliest;
        Pipeline { server, start, changes: BTreeMap::new(), schemas: Vec::new(), checkpoint: None }
    }

    /// A new pipeline over the same server, whose database is empty again.
    fn anew(self) -> Pipeline {
        self.server.sql("DROP DATABASE shop; CREATE DATABASE shop CHARACTER SET latin1");
        let start = Start::Gtid(self.server.value("SELECT @@gtid_executed").parse().unwrap());
        Pipeline {
            server: self.server,
            start,
            changes: BTreeMap::new(),
            schemas: Vec::new(),
            checkpoint: None,
        }
    }

    fn config(&self) -> MysqlConfig {
        let mut config: MysqlConfig = serde_json::from_value(serde_json::json!({
            "host": "127.0.0.1", "port": self.server.port(), "user": USER,
        }))
        .unwrap();
        config.password = Some(Secret::new(PASSWORD));
        config
    }

    /// Runs to the server's end from what was taken before.
    fn catch_up(&mut self) {
        let options = MysqlOptions {
            config: self.config(),
            tables: TableFilter { include: vec!["shop.*".into()], exclude: Vec::new() },
            types: TypeOptions::default(),
            reserved: Vec::new(),
            before_images: false,
            schema_changes: false,
            start: self.start.clone(),
            until: Until::CaughtUp,
            resume: Resume {
                checkpoint: self.checkpoint.clone(),
                schemas: self.schemas.clone(),
                requests: Vec::new(),
            },
            memory: ByteSize::mib(64),
            clock: Arc::new(SystemClock::start()),
            seed: 42,
            stats: Arc::new(SourceStats::default()),
            on_error: OnError::StopTable,
            truncate: OnTruncate::Mark,
            snapshot: SnapshotOptions { mode: SnapshotMode::NoData, ..SnapshotOptions::default() },
        };
        let mut source = MysqlSource::open(options).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            while let Some(item) = source.next().await.unwrap() {
                self.take(item);
            }
        });
    }

    fn take(&mut self, item: Feed) {
        match item {
            Feed::Schema(schema) => {
                let known =
                    |known: &Arc<TableSchema>| known.table == schema.table && known.version == schema.version;
                match self.schemas.iter().find(|schema| known(schema)) {
                    Some(before) => assert!(before.same_structure(&schema), "{before:#?}\n{schema:#?}"),
                    None => self.schemas.push(schema),
                }
            }
            Feed::Boundary(checkpoint) => {
                for (table, state) in checkpoint.tables.iter().filter(|(_, state)| state.schema_version > 0) {
                    let stored = |schema: &&Arc<TableSchema>| {
                        schema.table == *table && schema.version == state.schema_version
                    };
                    assert!(self.schemas.iter().any(|schema| stored(&schema)), "{table} {state:?}");
                }
                self.checkpoint = Some(checkpoint);
            }
            Feed::SchemaChange(change) => unreachable!("statements are not told here: {change:?}"),
            Feed::Keys(asked) => unreachable!("a TRUNCATE is a mark here: {asked:?}"),
            Feed::Mark(mark) => self.note(mark.seq, format!("{} t", mark.table().table)),
            Feed::Batch(batch) => {
                assert_eq!(batch.rows.num_columns(), batch.schema.columns.len());
                for (seq, op) in batch.meta.seq.iter().zip(&batch.meta.op) {
                    self.note(*seq, format!("{} {}", batch.schema.table.table, op.letter()));
                }
            }
        }
    }

    fn note(&mut self, seq: i64, text: String) {
        assert_eq!(self.changes.insert(seq, text), None, "number {seq} was given twice");
    }

    fn state(&self, table: &str) -> &TableState {
        &self.checkpoint.as_ref().unwrap().tables[&TableId::new("shop", table)]
    }

    /// The changes of a table as a word.
    fn ops(&self, table: &str) -> String {
        let of_it = |text: &&String| text.starts_with(&format!("{table} "));
        self.changes.values().filter(of_it).filter_map(|text| text.split(' ').nth(1)).collect()
    }

    fn version(&self, table: &str) -> Arc<TableSchema> {
        let number = self.state(table).schema_version;
        let is_it = |schema: &&Arc<TableSchema>| *schema.table.table == *table && schema.version == number;
        self.schemas.iter().find(is_it).unwrap().clone()
    }

    /// The version in force is what the server has now.
    fn assert_is_the_servers(&self, table: &str) {
        let mut conn = lakeward_mysql::connect(&self.config(), Purpose::Questions).unwrap();
        let filter = TableFilter { include: vec![format!("shop.{table}")], exclude: Vec::new() };
        let found = catalog::read(&mut conn, &filter).unwrap();
        let found = &found.tables[&TableId::new("shop", table)];
        let ours = self.version(table);
        let bare = |columns: &[lakeward_core::Column]| {
            columns.iter().map(|c| (c.name.clone(), c.ty.clone(), c.nullable, c.capacity)).collect::<Vec<_>>()
        };
        assert_eq!(bare(&ours.columns), bare(&found.columns), "{table}");
        assert_eq!(ours.key, found.key, "{table}");
    }

    fn stopped(&self, table: &str) -> (String, String, String) {
        match &self.state(table).status {
            TableStatus::Stopped { kind, message, remedy, .. } => {
                (kind.clone(), message.clone(), remedy.clone().unwrap())
            }
            TableStatus::Active | TableStatus::LeftOut => panic!("{table} must stop"),
        }
    }
}

#[test]
fn many_statements_behind_a_restart_are_followed_one_by_one() {
    for metadata in METADATA {
        for gtid in [true, false] {
            let mut pipeline = Pipeline::over(metadata, gtid);
            pipeline.server.sql(
                "CREATE TABLE shop.t (id INT PRIMARY KEY, a VARCHAR(20), b VARCHAR(20)); \
                 INSERT INTO shop.t VALUES (1, 'a', 'b')",
            );
            pipeline.catch_up();
            pipeline.server.sql(
                "INSERT INTO shop.t VALUES (2, 'a', 'b'); ALTER TABLE shop.t RENAME COLUMN a TO b, RENAME COLUMN b TO a; \
                 INSERT INTO shop.t VALUES (3, 'b', 'a'); ALTER TABLE shop.t ADD n DECIMAL(5,2) NOT NULL DEFAULT 1.5 FIRST, \
                 MODIFY id BIGINT; UPDATE shop.t SET n = 2 WHERE id = 1; ALTER TABLE shop.t DROP b, ADD c TEXT; \
                 INSERT INTO shop.t VALUES (0, 4, 'x', 'y'); USE shop; ALTER TABLE t CHANGE c d MEDIUMTEXT AFTER id; \
                 INSERT INTO t VALUES (0, 5, 'd', 'a'); CREATE TABLE IF NOT EXISTS t (nothing INT); DELETE FROM t WHERE id = 5",
            );
            pipeline.catch_up();
            assert_eq!(pipeline.ops("t"), "cccuccd");
            assert_eq!(pipeline.version("t").version, 5);
            let fill = pipeline.version("t").columns[0].fill.clone();
            assert_eq!(fill.as_deref(), Some("1.50"));
            pipeline.assert_is_the_servers("t");
            // And nothing comes again.
            pipeline.catch_up();
            assert_eq!((pipeline.ops("t").len(), pipeline.version("t").version), (7, 5));
        }
    }
}

/// The statements of gh-ost 1.1 and pt-online-schema-change 3.7, as their logs show them.
const ONLINE: [(&str, &[&str]); 2] = [
    (
        "gh-ost",
        &[
            "create /* gh-ost */ table `shop`.`_t_ghc` (id bigint unsigned auto_increment primary key, last_update timestamp not null DEFAULT CURRENT_TIMESTAMP, hint varchar(64) charset ascii not null, value varchar(4096) charset ascii not null, unique key hint_uidx(hint)) auto_increment=256 comment='gh-ost changelog'",
            "create /* gh-ost */ table `shop`.`_t_gho` like `shop`.`t`",
            "alter /* gh-ost */ table `shop`.`_t_gho` add column c varchar(9) not null default 'new', modify n bigint",
            "insert /* gh-ost `shop`.`t` */ ignore into `shop`.`_t_gho` (`id`, `n`) (select `id`, `n` from `shop`.`t`)",
            "create /* gh-ost */ table `shop`.`_t_del` (id int auto_increment primary key) engine=InnoDB comment='ghost-cut-over-sentry'",
            "drop /* gh-ost */ table if exists `shop`.`_t_del`",
            "rename /* gh-ost */ table `shop`.`t` to `shop`.`_t_del`, `shop`.`_t_gho` to `shop`.`t`",
            "drop /* gh-ost */ table if exists `shop`.`_t_ghc`",
            "drop /* gh-ost */ table if exists `shop`.`_t_del`",
        ],
    ),
    (
        "pt-online-schema-change",
        &[
            "CREATE TABLE `shop`.`_t_new` (\n  `id` int NOT NULL,\n  `b` int DEFAULT NULL,\n  `n` int DEFAULT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=latin1",
            "ALTER TABLE `shop`.`_t_new` add column c varchar(9) not null default 'new', modify n bigint",
            "CREATE TRIGGER `shop`.`pt_osc_shop_t_ins` AFTER INSERT ON `shop`.`t` FOR EACH ROW REPLACE INTO `shop`.`_t_new` (`id`, `n`) VALUES (NEW.`id`, NEW.`n`)",
            "INSERT LOW_PRIORITY IGNORE INTO `shop`.`_t_new` (`id`, `n`) SELECT `id`, `n` FROM `shop`.`t` LOCK IN SHARE MODE /*pt-online-schema-change 1 copy table*/",
            "ANALYZE TABLE `shop`.`_t_new` /* pt-online-schema-change */",
            "RENAME TABLE `shop`.`t` TO `shop`.`_t_old`, `shop`.`_t_new` TO `shop`.`t`",
            "DROP TABLE IF EXISTS `shop`.`_t_old`",
            "DROP TRIGGER IF EXISTS `shop`.`pt_osc_shop_t_ins`",
        ],
    ),
];

#[test]
fn an_online_schema_change_is_one_schema_change_of_the_real_table() {
    for metadata in METADATA {
        let mut pipeline = Pipeline::over(metadata, true);
        for (tool, statements) in ONLINE {
            // Without a restart, and with one after each of its statements.
            for restart_after in [usize::MAX].into_iter().chain(0..statements.len()) {
                pipeline = pipeline.anew();
                pipeline.server.sql(
                    "CREATE TABLE shop.t (id INT PRIMARY KEY, b INT, n INT); INSERT INTO shop.t VALUES (1, 1, 1), (2, 2, 2)",
                );
                for (at, statement) in statements.iter().enumerate() {
                    pipeline.server.sql(statement);
                    if at == restart_after {
                        pipeline.catch_up();
                    }
                }
                pipeline.server.sql("INSERT INTO shop.t (id, n, c) VALUES (3, 3000000000, 'row')");
                pipeline.catch_up();
                let context = format!("{tool}, {metadata:?}, restart after {restart_after}");
                assert_eq!(pipeline.state("t").status, TableStatus::Active, "{context}");
                // No mark, nothing read anew, no row of the ghost tables.
                assert_eq!(pipeline.changes.len(), 3, "{context}: {:?}", pipeline.changes);
                assert_eq!(pipeline.ops("t"), "ccc", "{context}");
                assert_eq!(pipeline.checkpoint.as_ref().unwrap().tables.len(), 1, "{context}");
                let version = pipeline.version("t");
                assert_eq!(version.version, 2, "{context}");
                let added = version.columns.iter().find(|column| column.name == "c").unwrap();
                assert_eq!(added.fill.as_deref(), Some("new"), "{context}");
                assert_eq!(
                    version.columns.iter().find(|column| column.name == "n").unwrap().id,
                    3,
                    "{context}"
                );
                pipeline.assert_is_the_servers("t");
            }
        }
    }
}

#[test]
fn a_table_that_comes_under_a_captured_name_is_read_anew_and_one_that_leaves_is_emptied() {
    for metadata in METADATA {
        let mut pipeline = Pipeline::over(metadata, true);
        pipeline.server.sql(
            "CREATE DATABASE away; CREATE TABLE shop.a (id INT PRIMARY KEY); CREATE TABLE shop.b (id INT PRIMARY KEY, v INT); \
             CREATE TABLE shop.c (id INT PRIMARY KEY); CREATE TABLE shop.d (id INT PRIMARY KEY); \
             INSERT INTO shop.a VALUES (1); INSERT INTO shop.b VALUES (1, 1); INSERT INTO shop.c VALUES (1); INSERT INTO shop.d VALUES (1)",
        );
        pipeline.catch_up();
        pipeline.server.sql(
            "RENAME TABLE shop.a TO shop.x, shop.b TO shop.a, shop.x TO shop.b; RENAME TABLE shop.c TO away.c; \
             RENAME TABLE shop.d TO shop.e, shop.e TO shop.d; INSERT INTO shop.d VALUES (2)",
        );
        pipeline.catch_up();
        // Nothing can be read anew in a pipeline without snapshots.
        for (table, was) in [("a", "shop.b"), ("b", "shop.a")] {
            let (kind, message, remedy) = pipeline.stopped(table);
            assert_eq!((kind.as_str(), remedy), ("TableChanged", format!("lakeward resume shop.{table}")));
            assert!(message.contains(was) && message.contains("RENAME TABLE"), "{message}");
        }
        assert_eq!([pipeline.ops("c"), pipeline.ops("d")], ["ct", "cc"]);
        assert_eq!(pipeline.state("d").status, TableStatus::Active);
        // Its name is free again.
        pipeline.server.sql("CREATE TABLE shop.c LIKE shop.d; INSERT INTO shop.c VALUES (5)");
        pipeline.catch_up();
        assert_eq!(pipeline.ops("c"), "ctc");
        pipeline.assert_is_the_servers("c");
    }
}

#[test]
fn statements_that_rewrite_rows_stop_a_table_that_cannot_be_read_anew() {
    for metadata in METADATA {
        let mut pipeline = Pipeline::over(metadata, true);
        for (statement, kind) in [
            ("ALTER TABLE shop.t MODIFY v INT", "TableChanged"),
            ("ALTER TABLE shop.t ADD u CHAR(36) NOT NULL DEFAULT (CONCAT('a', id))", "TableChanged"),
            ("ALTER TABLE shop.t ADD g INT AS (id + 1) STORED", "TableChanged"),
            ("ALTER TABLE shop.t DROP PRIMARY KEY, ADD PRIMARY KEY (id, v)", "TableChanged"),
            ("ALTER TABLE shop.t MODIFY v VARCHAR(3)", "TableChanged"),
            ("ALTER TABLE shop.p DROP PARTITION p0, p1", "UnloggedChange"),
            ("ALTER TABLE shop.p TRUNCATE PARTITION ALL", "UnloggedChange"),
        ] {
            pipeline = pipeline.anew();
            pipeline.server.sql(
                "CREATE TABLE shop.t (id INT PRIMARY KEY, v VARCHAR(20) NOT NULL); \
                 CREATE TABLE shop.p (id INT PRIMARY KEY) PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (9), \
                 PARTITION p1 VALUES LESS THAN (99), PARTITION p2 VALUES LESS THAN MAXVALUE); INSERT INTO shop.p VALUES (1)",
            );
            pipeline.catch_up();
            pipeline.server.sql(statement);
            pipeline.catch_up();
            let table = if statement.contains("shop.p") { "p" } else { "t" };
            let (found, message, remedy) = pipeline.stopped(table);
            assert_eq!(
                (found.as_str(), remedy),
                (kind, format!("lakeward resume shop.{table}")),
                "{statement}"
            );
            assert!(message.contains("ALTER TABLE") && message.contains("binlog."), "{statement}: {message}");
            let other = if table == "t" { "p" } else { "t" };
            assert_eq!(pipeline.state(other).status, TableStatus::Active, "{statement}");
        }
    }
}

#[test]
fn a_truncated_table_is_emptied_and_a_dropped_one_may_come_again_in_any_form() {
    for metadata in METADATA {
        let mut pipeline = Pipeline::over(metadata, true);
        pipeline
            .server
            .sql("CREATE TABLE shop.t (id INT, v INT, UNIQUE KEY (id)); INSERT INTO shop.t VALUES (1, 1)");
        pipeline.catch_up();
        assert!(pipeline.version("t").key.is_empty(), "a key that may be NULL is none");
        pipeline.server.sql("TRUNCATE shop.t; INSERT INTO shop.t VALUES (2, 2); DROP TABLE shop.t");
        pipeline.catch_up();
        pipeline.server.sql(
            "CREATE TABLE IF NOT EXISTS shop.t (v VARCHAR(5), w INT NOT NULL, id INT NOT NULL, UNIQUE KEY a (w), UNIQUE KEY b (id)); \
             INSERT INTO shop.t VALUES ('x', 1, 1); UPDATE shop.t SET id = 9; UPDATE shop.t SET w = 9",
        );
        pipeline.catch_up();
        // The first unique key identifies rows: a change of it is a row that goes and one that comes.
        assert_eq!(pipeline.ops("t"), "ctctcudc");
        pipeline.assert_is_the_servers("t");
        assert_eq!(pipeline.state("t").snapshot, SnapshotState::Done);
        let open = |state: &TableState| matches!(state.snapshot, SnapshotState::Open(Snapshot { .. }));
        assert!(!pipeline.checkpoint.as_ref().unwrap().tables.values().any(open));
    }
}

/// `mysqlcheck --repair` asks so for every table of a server, and all of it is logged.
#[test]
fn a_repair_concerns_tables_whose_engine_repairs() {
    for metadata in METADATA {
        let mut pipeline = Pipeline::over(metadata, true);
        for (table, options) in [
            ("t", ""),
            ("since", ""),
            ("m", "ENGINE = MyISAM"),
            ("was", "ENGINE = MyISAM"),
            ("p", "PARTITION BY HASH (id) PARTITIONS 2"),
        ] {
            pipeline.server.sql(&format!(
                "CREATE TABLE shop.{table} (id INT PRIMARY KEY) {options}; INSERT INTO shop.{table} VALUES (1)"
            ));
        }
        pipeline.catch_up();
        // What the engine was then is not known where it may be another one since.
        pipeline.server.sql(
            "REPAIR TABLE shop.t; REPAIR TABLE shop.t, shop.m, shop.was; ALTER TABLE shop.was ENGINE = InnoDB; \
             ALTER TABLE shop.since COMMENT = 'x'; REPAIR TABLE shop.since, shop.p; \
             INSERT INTO shop.t VALUES (2); INSERT INTO shop.since VALUES (2)",
        );
        pipeline.catch_up();
        for table in ["t", "since"] {
            assert_eq!(pipeline.state(table).status, TableStatus::Active, "{metadata:?}: {table}");
            assert_eq!(pipeline.ops(table), "cc", "{metadata:?}: {table}");
        }
        for table in ["m", "was", "p"] {
            let (kind, message, _) = pipeline.stopped(table);
            assert_eq!(kind, "UnloggedChange", "{metadata:?}: {table}");
            assert!(message.contains("REPAIR TABLE"), "{message}");
        }
    }
}

/// Of a table without transactions the log does not tell whether IF NOT EXISTS made it.
#[test]
fn that_a_table_was_dropped_is_known_behind_a_restart() {
    for metadata in METADATA {
        let mut pipeline = Pipeline::over(metadata, true);
        pipeline
            .server
            .sql("CREATE TABLE shop.t (id INT PRIMARY KEY) ENGINE = MyISAM; INSERT INTO shop.t VALUES (1)");
        pipeline.catch_up();
        assert!(!pipeline.state("t").dropped);
        pipeline.server.sql("DROP TABLE shop.t");
        pipeline.catch_up();
        assert!(pipeline.state("t").dropped);
        // Nothing happens, and it is known still.
        pipeline
            .server
            .sql("CREATE TABLE shop.other (id INT PRIMARY KEY); INSERT INTO shop.other VALUES (1)");
        pipeline.catch_up();
        assert!(pipeline.state("t").dropped);
        pipeline.server.sql(
            "CREATE TABLE IF NOT EXISTS shop.t (id INT PRIMARY KEY, v INT) ENGINE = MyISAM; INSERT INTO shop.t VALUES (2, 2)",
        );
        pipeline.catch_up();
        assert_eq!(pipeline.state("t").status, TableStatus::Active, "{metadata:?}");
        assert!(!pipeline.state("t").dropped);
        assert_eq!(pipeline.ops("t"), "ctc");
        pipeline.assert_is_the_servers("t");
    }
}

/// What the server takes for the key, the log tells where it names columns, and the catalog elsewhere.
#[test]
fn a_unique_index_over_a_virtual_column_is_no_key() {
    for metadata in METADATA {
        let mut pipeline = Pipeline::over(metadata, true);
        pipeline.server.sql(
            "CREATE TABLE shop.t (a INT NOT NULL, v INT AS (a + 1) VIRTUAL NOT NULL, b INT NOT NULL, UNIQUE (v), UNIQUE (b)); \
             CREATE TABLE shop.u (a INT NOT NULL, v INT AS (a + 1) VIRTUAL NOT NULL, UNIQUE (v)); \
             INSERT INTO shop.t (a, b) VALUES (1, 1); INSERT INTO shop.u (a) VALUES (1); \
             ALTER TABLE shop.t ADD UNIQUE (a); INSERT INTO shop.t (a, b) VALUES (2, 2); UPDATE shop.t SET b = 3 WHERE a = 2",
        );
        pipeline.catch_up();
        for (table, ops, key) in [("t", "ccdc", &["b"][..]), ("u", "c", &[])] {
            assert_eq!(pipeline.state(table).status, TableStatus::Active, "{metadata:?}, {table}");
            assert_eq!(pipeline.ops(table), ops, "{metadata:?}, {table}");
            let version = pipeline.version(table);
            let names: Vec<&str> = version.key.iter().map(|at| version.columns[*at].name.as_str()).collect();
            assert_eq!(names, key, "{metadata:?}, {table}");
            pipeline.assert_is_the_servers(table);
        }
    }
}

#[test]
fn a_statement_that_is_not_understood_is_settled_by_the_catalog_or_stops_its_table_alone() {
    let mut pipeline = Pipeline::over(RowMetadata::Minimal, true);
    pipeline.server.sql(
        "CREATE TABLE shop.t (id INT PRIMARY KEY); CREATE TABLE shop.u (id INT PRIMARY KEY); \
         INSERT INTO shop.t VALUES (1); INSERT INTO shop.u VALUES (1)",
    );
    pipeline.catch_up();
    pipeline.server.sql("SET SESSION binlog_format = 'STATEMENT'; CREATE TABLE shop.q SELECT 1 AS one; INSERT INTO shop.u VALUES (2)");
    pipeline.catch_up();
    let (kind, message, remedy) = pipeline.stopped("q");
    assert_eq!((kind.as_str(), remedy.as_str()), ("UnloggedChange", "lakeward resume shop.q"));
    assert!(message.contains("CREATE TABLE"), "{message}");
    assert_eq!(
        [pipeline.state("t").status.clone(), pipeline.state("u").status.clone()][0],
        TableStatus::Active
    );
}

#[test]
fn columns_keep_their_numbers_where_the_indexes_were_not_known() {
    let mut pipeline = Pipeline::over(RowMetadata::Minimal, true);
    pipeline.server.sql("CREATE TABLE shop.t (id INT PRIMARY KEY, a VARCHAR(9), b INT, INDEX (b))");
    pipeline.start = Start::Gtid(pipeline.server.value("SELECT @@gtid_executed").parse().unwrap());
    // Between the rows and the reading of the catalog: the indexes may have been others then.
    pipeline.server.sql("INSERT INTO shop.t VALUES (1, 'a', 1); ALTER TABLE shop.t COMMENT = 'x'");
    pipeline.catch_up();
    assert_eq!(pipeline.version("t").groundwork.indexes, None);
    pipeline.server.sql(
        "ALTER TABLE shop.t RENAME COLUMN b TO c, DROP COLUMN a, ADD COLUMN b DATE; INSERT INTO shop.t VALUES (2, 2, NULL)",
    );
    pipeline.catch_up();
    assert_eq!(pipeline.ops("t"), "cc");
    let version = pipeline.version("t");
    let columns: Vec<(&str, u32)> = version.columns.iter().map(|c| (c.name.as_str(), c.id)).collect();
    assert_eq!(columns, [("id", 1), ("c", 3), ("b", 4)]);
    pipeline.assert_is_the_servers("t");
}

/// Nothing was ever written to the table, and the catalog does not have the columns that its rows have: only what
/// was proved when the first run began, and is in its checkpoint, tells them.
#[test]
fn a_quiet_table_is_followed_from_the_beginning_of_the_first_run() {
    let mut pipeline = Pipeline::over(RowMetadata::Minimal, true);
    pipeline.server.sql("CREATE TABLE shop.t (id INT PRIMARY KEY, a INT, b INT)");
    pipeline.start = Start::Gtid(pipeline.server.value("SELECT @@gtid_executed").parse().unwrap());
    pipeline.catch_up();
    pipeline.server.sql(
        "ALTER TABLE shop.t RENAME COLUMN a TO b, RENAME COLUMN b TO a; INSERT INTO shop.t VALUES (1, 1, 2); \
         CREATE TABLE shop.v LIKE shop.t; CREATE TABLE shop.w (id INT PRIMARY KEY, name CHAR(3)); \
         INSERT INTO shop.v VALUES (1, 1, 2); INSERT INTO shop.w VALUES (1, 'x'); \
         ALTER TABLE shop.t DROP COLUMN a; ALTER TABLE shop.v DROP COLUMN a; ALTER TABLE shop.w DROP COLUMN name",
    );
    pipeline.catch_up();
    for (table, names) in [("t", ["id", "b", "a"]), ("v", ["id", "b", "a"])] {
        assert_eq!(pipeline.ops(table), "c");
        assert_eq!(pipeline.state(table).status, TableStatus::Active);
        let schemas = pipeline.schemas.iter().filter(|schema| *schema.table.table == *table);
        let wide: Vec<_> = schemas.filter(|schema| schema.columns.len() == 3).collect();
        let columns: Vec<&str> = wide.last().unwrap().columns.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(columns, names, "{table}");
        pipeline.assert_is_the_servers(table);
    }
    assert_eq!(pipeline.ops("w"), "c");
    pipeline.assert_is_the_servers("w");
}

/// Runs a statement of raw bytes in a session with this character set.
fn raw(server: &MySql, charset: &str, statement: &[u8]) {
    let hex: String = statement.iter().map(|byte| format!("{byte:02x}")).collect();
    server.sql(&format!("SET NAMES {charset}; SET @s = 0x{hex}; PREPARE s FROM @s; EXECUTE s"));
}

#[test]
fn statements_that_are_not_all_text_concern_the_tables_that_they_are_about_alone() {
    for metadata in METADATA {
        // Met by the stream, and before it by who looks for statements since the beginning.
        for met_first in [true, false] {
            let mut pipeline = Pipeline::over(metadata, true);
            pipeline.server.sql(
                "CREATE DATABASE away; CREATE TABLE shop.t (id INT PRIMARY KEY); CREATE TABLE shop.u (id INT PRIMARY KEY); \
                 CREATE TABLE shop.v (id INT PRIMARY KEY); CREATE TABLE shop.w (id INT PRIMARY KEY); \
                 INSERT INTO shop.t VALUES (1); INSERT INTO shop.u VALUES (1); INSERT INTO shop.v VALUES (1); INSERT INTO shop.w VALUES (1)",
            );
            if met_first {
                pipeline.catch_up();
            } else {
                pipeline.start =
                    Start::Gtid(pipeline.server.value("SELECT @@gtid_executed").parse().unwrap());
            }
            for (charset, statement) in [
                ("utf8mb4", &b"CREATE TABLE away.t (a INT) /* caf\xE9 */"[..]),
                ("utf8mb4", b"CREATE TABLE away.u (a INT) COMMENT 'caf\xE9'"),
                ("binary", b"CREATE TABLE away.v (a VARBINARY(5) DEFAULT '\xFF\xFE')"),
                ("utf8mb4", b"CREATE TABLE away.`w1\xE9` (a INT)"),
                ("utf8mb4", b"CREATE DATABASE `gone\xE9`"),
                ("utf8mb4", b"DROP DATABASE `gone\xE9`"),
            ] {
                raw(&pipeline.server, charset, statement);
            }
            pipeline.server.sql("INSERT INTO shop.t VALUES (2); INSERT INTO shop.u VALUES (2); INSERT INTO shop.v VALUES (2); INSERT INTO shop.w VALUES (2)");
            pipeline.catch_up();
            let context = format!("{metadata:?}, met first: {met_first}");
            for table in ["t", "u", "v", "w"] {
                assert_eq!(pipeline.state(table).status, TableStatus::Active, "{context}: {table}");
                assert_eq!(pipeline.ops(table), if met_first { "cc" } else { "c" }, "{context}: {table}");
            }
            // Of captured ones: a comment is nothing; a string, or a name that is cut off, is not understood.
            raw(&pipeline.server, "utf8mb4", b"ALTER TABLE shop.t ADD c INT DEFAULT 5 /* caf\xE9 */");
            raw(&pipeline.server, "binary", b"ALTER TABLE shop.u ADD c VARBINARY(5) DEFAULT '\xFF\xFE'");
            raw(&pipeline.server, "utf8mb4", b"ALTER TABLE shop.`v\xE9` ADD c INT");
            pipeline.server.sql("INSERT INTO shop.t VALUES (3, 3); INSERT INTO shop.w VALUES (3)");
            pipeline.catch_up();
            for table in ["t", "w"] {
                assert_eq!(pipeline.state(table).status, TableStatus::Active, "{context}: {table}");
                assert_eq!(pipeline.ops(table), if met_first { "ccc" } else { "cc" }, "{context}: {table}");
                pipeline.assert_is_the_servers(table);
            }
            assert_eq!(pipeline.version("t").columns[1].fill.as_deref(), Some("5"), "{context}");
            for table in ["u", "v"] {
                let (kind, message, remedy) = pipeline.stopped(table);
                assert_eq!((kind.as_str(), remedy), ("UnparsedDdl", format!("lakeward resume shop.{table}")));
                assert!(message.contains("ALTER TABLE") && message.contains("binlog."), "{message}");
            }
        }
    }
}

#[test]
fn a_ghost_table_of_which_a_statement_is_not_all_text_brings_no_structure_that_it_has_not() {
    for metadata in METADATA {
        let mut pipeline = Pipeline::over(metadata, true);
        pipeline
            .server
            .sql("CREATE TABLE shop.t (id INT PRIMARY KEY, n INT); INSERT INTO shop.t VALUES (1, 1)");
        pipeline.catch_up();
        pipeline
            .server
            .sql("CREATE TABLE shop._t_gho LIKE shop.t; INSERT INTO shop._t_gho SELECT * FROM shop.t");
        raw(&pipeline.server, "utf8mb4", b"ALTER TABLE shop._t_gho CHANGE n m INT COMMENT 'caf\xE9'");
        pipeline.server.sql(
            "RENAME TABLE shop.t TO shop._t_del, shop._t_gho TO shop.t; INSERT INTO shop.t VALUES (2, 2)",
        );
        pipeline.catch_up();
        if pipeline.state("t").status == TableStatus::Active {
            pipeline.assert_is_the_servers("t");
        }
    }
}

/// The statements of pt-table-checksum 3.7, for one chunk.
const CHECKSUM: &str = "SET SESSION binlog_format = 'STATEMENT'; \
    REPLACE INTO `percona`.`checksums` (db, tbl, chunk, chunk_index, lower_boundary, upper_boundary, this_cnt, this_crc) \
    SELECT 'shop', 'orders', '1', NULL, NULL, NULL, COUNT(*) AS cnt, COALESCE(LOWER(CONV(BIT_XOR(CAST(CRC32(CONCAT_WS('#', `id`)) AS UNSIGNED)), 10, 16)), 0) AS crc \
    FROM `shop`.`orders` /*checksum table*/; \
    UPDATE `percona`.`checksums` SET chunk_time = '0.001', master_crc = 'a', master_cnt = '1' WHERE db = 'shop' AND tbl = 'orders' AND chunk = '1'";

#[test]
fn a_statement_in_statement_format_stops_the_table_that_it_writes_to_and_none_that_it_reads() {
    for metadata in METADATA {
        let mut pipeline = Pipeline::over(metadata, true);
        pipeline.server.sql(
            "CREATE DATABASE percona; CREATE TABLE percona.checksums (db CHAR(64), tbl CHAR(64), chunk INT, chunk_time FLOAT, \
             chunk_index VARCHAR(200), lower_boundary TEXT, upper_boundary TEXT, this_crc CHAR(40), this_cnt INT, \
             master_crc CHAR(40), master_cnt INT, PRIMARY KEY (db, tbl, chunk)); \
             CREATE TABLE shop.orders (id INT PRIMARY KEY); INSERT INTO shop.orders VALUES (1)",
        );
        pipeline.catch_up();
        pipeline.server.sql(CHECKSUM);
        // Nor a temporary table in the captured database.
        pipeline.server.sql(
            "SET SESSION binlog_format = 'STATEMENT'; CREATE TEMPORARY TABLE shop.own (id INT); INSERT INTO shop.own SELECT id FROM shop.orders",
        );
        pipeline.server.sql("INSERT INTO shop.orders VALUES (2)");
        pipeline.catch_up();
        assert_eq!(pipeline.state("orders").status, TableStatus::Active);
        assert_eq!(pipeline.ops("orders"), "cc");
        assert_eq!(pipeline.checkpoint.as_ref().unwrap().tables.len(), 1);
        pipeline.server.sql("SET SESSION binlog_format = 'STATEMENT'; INSERT INTO shop.orders VALUES (3)");
        pipeline.catch_up();
        let (kind, message, remedy) = pipeline.stopped("orders");
        assert_eq!(kind, "UnloggedChange");
        assert!(message.contains("INSERT INTO shop.orders"), "{message}");
        assert!(remedy.contains("SESSION binlog_format") && !remedy.contains("GLOBAL"), "{remedy}");
    }
}

#[test]
fn a_table_with_options_that_is_made_by_a_query_comes_with_its_rows() {
    for metadata in METADATA {
        let mut pipeline = Pipeline::over(metadata, true);
        pipeline.server.sql(
            "CREATE TABLE shop.q (a INT) COMMENT = 'x' ENGINE = InnoDB PARTITION BY HASH (a) PARTITIONS 2 SELECT 1 AS a, 2 AS b; \
             INSERT INTO shop.q VALUES (2, 3)",
        );
        pipeline.catch_up();
        assert_eq!(pipeline.ops("q"), "cc");
        assert_eq!(pipeline.state("q").status, TableStatus::Active);
        pipeline.assert_is_the_servers("q");
    }
}
