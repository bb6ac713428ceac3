//! The topic of schema changes: each statement once, with the structure that the table then has, whatever is killed.

use lakeward_test_support::kafka::Kafka;
use lakeward_test_support::mysql::MySql;
use lakeward_test_support::{Pipeline, Random, seed};
use serde_json::{Value, json};

use super::{LIMIT, captures, over, stops, topics};
use crate::load::over_kafka;
use crate::traffic::{Traffic, assert_lake_is_source, burst, server_with_tables};
use crate::world::{ended, finish, folder, set, view};

const TOPIC: &str = "shop";

/// A pipeline that begins with the rows that are there.
fn telling(server: &MySql, kafka: &Kafka) -> Pipeline {
    let mut pipeline = over(server, kafka);
    set(&mut pipeline, "transport/kafka/include_schema_changes", true);
    pipeline.config.as_object_mut().unwrap().remove("start");
    set(&mut pipeline, "snapshot", json!({ "mode": "initial", "lock": "none" }));
    pipeline
}

fn told(kafka: &Kafka) -> Vec<Value> {
    let record = |record: &lakeward_test_support::kafka::Record| {
        let value = record.json();
        let key: Value = serde_json::from_slice(record.key.as_deref().expect("a key")).expect("JSON");
        assert_eq!(key, json!({ "databaseName": value["databaseName"] }));
        value
    };
    kafka.read(TOPIC).iter().map(record).collect()
}

fn statements(told: &[Value]) -> Vec<&str> {
    told.iter().map(|value| value["ddl"].as_str().expect("a text")).collect()
}

/// Of the one change of a record: its type, its table, and what `field` says of each column.
fn change<'a>(value: &'a Value, field: &str) -> (&'a str, &'a str, Vec<(String, Value)>) {
    let [change] = value["tableChanges"].as_array().expect("a list").as_slice() else { panic!("{value}") };
    let column =
        |column: &Value| (column["name"].as_str().expect("a name").to_owned(), column[field].clone());
    let columns = change["table"]["columns"].as_array().into_iter().flatten().map(column).collect();
    (change["type"].as_str().expect("a type"), change["id"].as_str().expect("an id"), columns)
}

#[test]
fn a_table_that_was_there_is_told_as_it_is_declared() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    server.sql(
        "CREATE TABLE shop.old (id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20) DEFAULT 'none', \
         kind ENUM('a','b') CHARACTER SET latin1 DEFAULT 'b', made TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP, n INT)",
    );
    server.sql("INSERT INTO shop.old (name) VALUES ('x'), (NULL)");
    let pipeline = telling(&server, &kafka);
    captures(&pipeline);
    assert!(told(&kafka).is_empty(), "what is there is no change");
    server.sql("ALTER TABLE shop.old ADD COLUMN more DECIMAL(5,1) NOT NULL DEFAULT 1.5");
    server.sql("RENAME TABLE shop.old TO shop.new, shop.carts TO shop.baskets");
    server.sql("CREATE TABLE shop.texts (id INT PRIMARY KEY, t TEXT)");
    captures(&pipeline);
    let told = told(&kafka);
    assert_eq!(
        statements(&told),
        [
            "ALTER TABLE shop.old ADD COLUMN more DECIMAL(5,1) NOT NULL DEFAULT 1.5",
            "RENAME TABLE `shop`.`old` TO `shop`.`new`",
            "RENAME TABLE `shop`.`carts` TO `shop`.`baskets`",
            "CREATE TABLE shop.texts (id INT PRIMARY KEY, t TEXT)",
        ]
    );
    let columns = |values: [Value; 6]| -> Vec<(String, Value)> {
        let names = ["id", "name", "kind", "made", "n", "more"].map(str::to_owned);
        names.into_iter().zip(values).collect()
    };
    for (value, kind, id) in
        [(&told[0], "ALTER", "\"shop\".\"old\""), (&told[1], "ALTER", "\"shop\".\"new\"")]
    {
        for (field, values) in [
            ("typeName", json!(["INT UNSIGNED", "VARCHAR", "ENUM", "TIMESTAMP", "INT", "DECIMAL"])),
            ("jdbcType", json!([4, 12, 1, 2014, 4, 3])),
            ("length", json!([null, 20, 1, null, null, 5])),
            ("scale", json!([null, null, null, null, null, 1])),
            ("charsetName", json!([null, "utf8mb4", "latin1", null, null, null])),
            ("defaultValueExpression", json!([null, "none", "b", "CURRENT_TIMESTAMP", null, "1.5"])),
            ("optional", json!([false, true, true, true, true, false])),
            ("autoIncremented", json!([true, false, false, false, false, false])),
            ("position", json!([1, 2, 3, 4, 5, 6])),
        ] {
            let expected: Vec<Value> = values.as_array().unwrap().clone();
            let expected = columns(expected.try_into().unwrap());
            assert_eq!(change(value, field), (kind, id, expected), "{field}");
        }
    }
    assert_eq!(told[0]["source"]["table"], "old");
    assert_eq!(told[1]["source"]["table"], "new,baskets");
    assert_eq!(change(&told[2], "typeName").1, "\"shop\".\"baskets\"");
    // The database was there before; the catalog told its character set.
    let texts = change(&told[3], "charsetName");
    assert_eq!(texts.2, [("id".to_owned(), Value::Null), ("t".to_owned(), "utf8mb4".into())]);
}

#[test]
fn switched_on_later_it_tells_types_and_no_defaults_that_it_did_not_see() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    server.sql("CREATE TABLE shop.old (id INT PRIMARY KEY, a INTEGER UNSIGNED DEFAULT 5, t TEXT)");
    let mut pipeline = telling(&server, &kafka);
    set(&mut pipeline, "transport/kafka/include_schema_changes", false);
    captures(&pipeline);
    assert!(!kafka.topics().iter().any(|topic| topic == TOPIC));
    set(&mut pipeline, "transport/kafka/include_schema_changes", true);
    server.sql("ALTER TABLE shop.old ADD COLUMN b INTEGER DEFAULT 6");
    server.sql("ALTER TABLE shop.old ALTER COLUMN a SET DEFAULT 7");
    captures(&pipeline);
    let told = told(&kafka);
    let of = |at: usize, field: &str| -> Vec<Value> {
        change(&told[at], field).2.into_iter().map(|(_, value)| value).collect()
    };
    assert_eq!(of(0, "typeName"), ["INT", "INT UNSIGNED", "TEXT", "INTEGER"]);
    assert_eq!(of(0, "defaultValueExpression"), [Value::Null, Value::Null, Value::Null, "6".into()]);
    assert_eq!(of(1, "defaultValueExpression"), [Value::Null, "7".into(), Value::Null, "6".into()]);
}

/// Statements beside the writer's rows, each of its own.
fn alter(server: &MySql, random: &mut Random, rounds: u64, done: &mut Vec<String>) {
    let mut run = |statement: String, told: Option<String>| {
        server.sql(&statement);
        done.push(told.unwrap_or(statement));
    };
    for round in 0..rounds {
        let at = random.below(1_000_000);
        run(format!("CREATE TABLE shop.made_{at}_{round} (id INT PRIMARY KEY, t TEXT)"), None);
        run(format!("ALTER TABLE shop.carts ADD COLUMN c_{at}_{round} INT DEFAULT {round}"), None);
        run(
            format!("DROP TABLE shop.made_{at}_{round}"),
            Some(format!("DROP TABLE `shop`.`made_{at}_{round}`")),
        );
        run(format!("ALTER TABLE shop.carts DROP COLUMN c_{at}_{round}"), None);
        run(format!("ALTER TABLE shop.orders COMMENT '{at} {round}'"), None);
    }
}

#[test]
fn each_statement_is_told_once_whenever_capture_is_killed() {
    let (server, kafka) = (server_with_tables(), Kafka::start());
    let pipeline = telling(&server, &kafka);
    captures(&pipeline);
    let seed = seed();
    let traffic = Traffic::start(&server, seed, std::time::Duration::from_millis(5));
    let (mut random, mut done) = (Random::new(seed ^ 1), Vec::new());
    for name in
        ["mysql.boundary", "kafka.write", "kafka.commit.send", "kafka.commit.before", "kafka.commit.after"]
    {
        let failpoint = format!("{name}=kill@{}", 1 + random.below(20));
        let mut run = pipeline.start_with_failpoints(&["capture"], &failpoint);
        alter(&server, &mut random, 4, &mut done);
        assert_eq!(ended(&mut run, LIMIT).signal, Some(9), "{failpoint}");
    }
    alter(&server, &mut random, 2, &mut done);
    traffic.finish();
    captures(&pipeline);
    let told = told(&kafka);
    assert_eq!(statements(&told), done);
    let places: Vec<(&Value, i64)> = told
        .iter()
        .map(|value| (&value["source"]["file"], value["source"]["pos"].as_i64().expect("an offset")))
        .collect();
    assert!(places.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].1 < pair[1].1), "{places:?}");
    for value in &told {
        let (kind, _, columns) = change(value, "typeName");
        assert_eq!(columns.is_empty(), kind == "DROP", "{value}");
    }
    topics(&kafka).assert_source(&server);
}

#[test]
fn its_topic_is_required_made_and_passed_over_by_load() {
    let (server, kafka) = (server_with_tables(), crate::load::broker());
    let mut pipeline = folder(&server);
    over_kafka(&mut pipeline, &kafka);
    set(&mut pipeline, "transport/kafka/include_schema_changes", true);
    set(&mut pipeline, "transport/kafka/topics/create", false);
    for own in ["shop.__lakeward.checkpoints", "shop.__lakeward.requests"] {
        kafka.create_topic(own, 1, &[("cleanup.policy", "compact")]);
    }
    let check = finish(&pipeline, &["check"]).printed();
    assert!(check.contains("(topic shop)"), "{check}");
    stops(&pipeline, 32, &["topics.create"]);
    set(&mut pipeline, "transport/kafka/topics/create", true);
    burst(&server, &mut Random::new(seed()), 30);
    captures(&pipeline);
    assert_eq!(kafka.partitions(TOPIC), 1);
    server.sql("ALTER TABLE shop.customers ADD COLUMN more INT DEFAULT 3");
    burst(&server, &mut Random::new(seed()), 30);
    captures(&pipeline);
    let loaded = ended(&mut pipeline.start(&["load", "--until-caught-up"]), LIMIT);
    assert_eq!(loaded.code, Some(0), "{}", loaded.printed());
    assert_lake_is_source(&server, &view(&pipeline));
    assert!(statements(&told(&kafka)).contains(&"ALTER TABLE shop.customers ADD COLUMN more INT DEFAULT 3"));
}
