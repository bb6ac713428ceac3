//! Good and bad config files.

use std::collections::BTreeMap;

use super::*;

const SMALLEST: &str = "\
name: shop
source:
  mysql: { host: 127.0.0.1, user: lakeward, password: '${env:PW}' }
tables: { include: ['shop.*'] }
snapshot: { mode: no_data }
lake: { url: 'file:///var/lib/lake' }
";

fn read(text: &str) -> Result<Pipeline> {
    let variable = |name: &str| (name == "PW").then(|| "hunter2 # : \"\n".to_owned());
    let file = |path: &Path| match path.to_str() {
        Some("/secret") => Ok("sesame\r\n".to_owned()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    parse(text, &Outside { variable: &variable, file: &file })
}

#[test]
fn the_smallest_file_has_the_documented_defaults() {
    let pipeline = read(SMALLEST).unwrap();
    assert_eq!(pipeline.start, StartAt::Latest);
    assert_eq!(pipeline.memory, ByteSize::mib(256));
    assert_eq!(pipeline.on_error, OnError::StopTable);
    assert_eq!(pipeline.mysql.password.unwrap().reveal(), "hunter2 # : \"\n");
    assert_eq!((pipeline.metrics, pipeline.log, pipeline.before_images), (None, LogConfig::default(), false));
}

#[test]
fn references_are_replaced_in_any_string() {
    let text = SMALLEST.replace("${env:PW}", "a${file:/secret}b$${x}").replace("shop.*", "${env:PW}.x");
    let pipeline = read(&text).unwrap();
    assert_eq!(pipeline.mysql.password.unwrap().reveal(), "asesameb${x}");
    assert!(pipeline.tables.include[0].starts_with("hunter2"));
}

/// A change to the smallest file, and what its error must name.
fn refused(from: &str, to: &str, words: &[&str]) {
    assert!(SMALLEST.contains(from), "{from}");
    let error = read(&SMALLEST.replace(from, to)).expect_err(to);
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Config, "{text}");
    assert!(error.remedy_text().is_some() || text.contains("must"), "no remedy: {text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
    assert!(!text.contains("hunter2"), "a secret is shown: {text}");
}

#[test]
fn what_is_not_known_is_named_with_its_line_and_the_nearest_word() {
    refused("user:", "usr:", &["usr", "`user`", "line 3", "source.mysql.usr"]);
    refused("tables:", "table:", &["`table`", "`tables`", "line 4"]);
    refused("lake:", "memry: 1GiB\nlake:", &["`memory`", "line 6"]);
    refused(
        "'file:///var/lib/lake' }",
        "'file:///x', commit: { intervall: 60s } }",
        &["lake.commit.intervall"],
    );
    refused("snapshot:", "flurb: 1\nsnapshot:", &["flurb", "indent it below", "use one of", "line 5"]);
}

#[test]
fn what_is_missing_or_of_a_wrong_type_is_named() {
    refused("name: shop\n", "", &["`name`"]);
    refused("user: lakeward,", "", &["`user`", "indented below `source.mysql:`", "line 3"]);
    refused("  mysql:", "mysql:", &["`mysql`", "indented below `source:`", "line 2"]);
    refused("host: 127.0.0.1", "host: h, port: x", &["source.mysql.port", "line 3", "whole number"]);
    refused("host: 127.0.0.1", "host: h, port: 70000", &["source.mysql.port", "whole number"]);
    refused("['shop.*']", "shop.*", &["tables.include", "sequence", "line 4"]);
    refused("'file:///var/lib/lake' }", "'file:///x', commit: { interval: 60 } }", &["interval"]);
    refused("'file:///var/lib/lake' }", "'file:///x', commit: { interval: 60x } }", &["60x"]);
    refused("lake:", "memory: 12parsecs\nlake:", &["parsecs", "memory", "line 6"]);
    refused("lake:", "memory: 1MiB\nlake:", &["memory", "64MiB", "line 6"]);
    refused("lake:", "log: { level: loud }\nlake:", &["loud", "debug", "log.level"]);
    refused("lake:", "metrics: { listen: nowhere }\nlake:", &["metrics.listen"]);
    refused("'shop.*'", "'shop.*', 7", &["tables.include[1]", "line 4"]);
    refused("lake:", "types: { zero_dates: null }\nlake:", &["types.zero_dates", "words", "`\"null\"`"]);
}

#[test]
fn a_secret_in_a_wrong_place_is_not_shown() {
    refused("host: 127.0.0.1", "host: h, port: '${env:PW}'", &["source.mysql.port"]);
    refused("lake:", "memory: '${env:PW}'\nlake:", &["memory"]);
    refused("lake:", "on_error: '${env:PW}'\nlake:", &["on_error"]);
    refused("'${env:PW}'", "[hunter2]", &["source.mysql.password"]);
    refused(
        "mysql: { host: 127.0.0.1, user: lakeward, password: '${env:PW}' }",
        "mysql: hunter2",
        &["mysql"],
    );
}

#[test]
fn the_transport_is_direct_or_kafka_with_settings_that_go_together() {
    let over = |text: &str| format!("transport: {text}\nsnapshot:");
    refused("snapshot:", &over("pigeon"), &["transport", "line 5"]);
    refused("snapshot:", &over("kafka"), &["transport", "kafka: { brokers: … }", "line 5"]);
    let misspelt = over("{ kafka: { brokers: 'b:9092', topics: { partition: 3 } } }");
    refused("snapshot:", &misspelt, &["transport.kafka.topics.partition", "`partitions`", "line 5"]);
    refused("snapshot:", &over("{ kafka: { brokers: '' } }"), &["transport.kafka.brokers", "line 5"]);
    let deletes = format!("truncate: deletes\n{}", over("{ kafka: { brokers: 'b:9092' } }"));
    refused("snapshot:", &deletes, &["truncate", "Kafka", "line 5"]);
    let kafka =
        read(&SMALLEST.replace("snapshot:", &over("{ kafka: { brokers: 'b:9092' } }"))).unwrap().kafka;
    assert_eq!(kafka.unwrap().prefix, "shop");
}

#[test]
fn values_that_cannot_be_meant_are_refused() {
    refused("name: shop", "name: Shop", &["`Shop`", "a-z", "line 1"]);
    refused("name: shop", "name: ''", &["name"]);
    refused("'shop.*'", "'orders'", &["orders", "database.table", "line 4"]);
    refused("'shop.*'", "", &["tables.include"]);
    refused("'shop.*'", "'shop.a', 'shop.a'", &["shop.a", "twice"]);
    refused("lake:", "start: yesterday\nlake:", &["yesterday", "earliest", "line 6"]);
    refused("file:///var/lib/lake", "ftp://x", &["lake.url", "line 6"]);
    refused("host: 127.0.0.1", "host: h, heartbeat: 10s", &["twice", "line 3"]);
}

#[test]
fn snapshots_are_asked_for_by_mode_and_the_default_is_to_read_what_is_there() {
    let mode = |text: &str| read(&SMALLEST.replace("no_data", text)).unwrap().snapshot.mode;
    let begins = |text: &str| read(&SMALLEST.replace("no_data", text)).unwrap().beginning();
    assert!(begins("no_data").contains("`start`") && begins("initial").contains("rows"));
    assert_eq!(mode("initial"), SnapshotMode::Initial);
    assert_eq!(mode("initial_only"), SnapshotMode::InitialOnly);
    assert_eq!(mode("when_needed"), SnapshotMode::WhenNeeded);
    assert_eq!(mode("always"), SnapshotMode::Always);
    let unsaid = read(&SMALLEST.replace("snapshot: { mode: no_data }\n", "")).unwrap();
    assert_eq!((unsaid.snapshot.mode, unsaid.start), (SnapshotMode::Initial, StartAt::Latest));
}

#[test]
fn what_cannot_be_meant_of_a_snapshot_is_refused() {
    let snapshot = |rest: &str| format!("mode: initial, {rest}");
    refused("no_data", "sometimes", &["sometimes", "initial_only", "snapshot.mode", "line 5"]);
    for (rest, words) in [
        ("paralelism: 2", &["`parallelism`", "line 5"][..]),
        ("parallelism: 0", &["snapshot.parallelism", "1 to 16", "line 5"]),
        ("parallelism: 17", &["snapshot.parallelism", "1 to 16"]),
        ("max_threads_running: 0", &["snapshot.max_threads_running", "line 5"]),
        ("lock: all", &["snapshot.lock", "tables"]),
        ("replica: { user: x }", &["`host`", "snapshot.replica"]),
        ("replica: { host: '', user: x }", &["snapshot.replica.host", "must", "line 5"]),
        ("replica: { host: h, user: x, heartbeat: 10s }", &["snapshot.replica.read_timeout", "twice"]),
        ("replica: { host: h, user: x, password: ['${env:PW}'] }", &["snapshot.replica.password"]),
    ] {
        refused("mode: no_data", &snapshot(rest), words);
    }
}

#[test]
fn a_start_and_a_snapshot_exclude_each_other() {
    for mode in ["initial", "initial_only", "when_needed", "always"] {
        refused(
            "snapshot: { mode: no_data }",
            &format!("snapshot: {{ mode: {mode} }}\nstart: earliest"),
            &["start", "no_data", "line 6"],
        );
    }
    let text = SMALLEST.replace("lake:", "start: earliest\nlake:");
    assert_eq!(read(&text).unwrap().start, StartAt::Earliest);
}

#[test]
fn references_that_lead_nowhere_are_named() {
    refused("${env:PW}", "${env:NOT_SET}", &["NOT_SET", "source.mysql.password", "line 3"]);
    refused("${env:PW}", "${file:/none}", &["/none", "source.mysql.password"]);
    refused("${env:PW}", "${vault:x}", &["vault", "${env:NAME}"]);
    refused("${env:PW}", "${env:PW", &["no end"]);
}

#[test]
fn text_that_is_not_yaml_is_told_with_its_line() {
    refused("tables:", "  tables: ]", &["YAML", "line"]);
    refused("name: shop", "name: shop\nname: shop", &["YAML", "name"]);
    let twice = read(&format!("# Shop.\n{SMALLEST}name: shop\n")).unwrap_err().to_string();
    assert!(twice.contains("\"name\"") && !twice.contains("line 2"), "{twice}");
    refused("name: shop", "- name", &["YAML"]);
    assert_eq!(read("").unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let error = load(Path::new("/nowhere/lakeward.yaml")).unwrap_err().to_string();
    assert!(error.contains("/nowhere/lakeward.yaml") && error.contains("lakeward init"), "{error}");
}

#[test]
fn damaged_text_never_panics() {
    let seed = 20_261_121_u64;
    println!("seed {seed}");
    let mut state = seed;
    let mut roll = |sides: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % sides
    };
    let pieces: Vec<char> = "${}[]:,'\"-#&*!|>\n \t0aé\u{0}".chars().collect();
    for _ in 0..5_000 {
        let mut text: Vec<char> = SMALLEST.chars().collect();
        for _ in 0..=roll(4) {
            let at = roll(text.len());
            match roll(3) {
                0 => text[at] = pieces[roll(pieces.len())],
                1 => text.insert(at, pieces[roll(pieces.len())]),
                _ => drop(text.remove(at)),
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = read(&text) {
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
        }
    }
}

/// Parts that a config file is cut into: words, and each other character by itself.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut in_word = false;
    for letter in text.chars() {
        let continues = letter.is_alphanumeric() || letter == '_';
        match words.last_mut() {
            Some(word) if continues && in_word => word.push(letter),
            _ => words.push(letter.into()),
        }
        in_word = continues;
    }
    words
}

#[test]
fn every_key_damaged_at_random_is_a_checked_pipeline_or_an_error_that_names_something() {
    let seed = 97_531_u64;
    println!("seed {seed}");
    let mut state = seed;
    let mut roll = |sides: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % sides
    };
    let whole = words(include_str!("../../examples/all.yaml"));
    let outside = Outside { variable: &|_| Some("x".into()), file: &|_| Ok("x".into()) };
    let odd =
        ["~", "0", "-1", "1e400", "true", "[]", "{}", "''", "!x", "&a", "*a", "${", "é", "\u{0}", "|\n"];
    let (mut good, mut bad) = (0, 0);
    for _ in 0..4_000 {
        let mut text = whole.clone();
        for _ in 0..=roll(3) {
            let at = roll(text.len());
            match roll(4) {
                0 => text[at] = odd[roll(odd.len())].into(),
                1 => text[at] = whole[roll(whole.len())].clone(),
                2 => text.insert(at, whole[roll(whole.len())].clone()),
                _ => drop(text.remove(at)),
            }
        }
        let text = text.concat();
        match parse(&text, &outside) {
            Ok(pipeline) => {
                assert!(!pipeline.name.is_empty() && !pipeline.tables.include.is_empty(), "{text}");
                good += 1;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Config, "{text}");
                let said = error.message();
                let places = ["YAML", "`", "source.mysql"];
                let named = !error.context().is_empty() || places.iter().any(|place| said.contains(place));
                assert!(named, "{error}: {text}");
                bad += 1;
            }
        }
    }
    // Both happen: comments and values bear some changes, most others none.
    assert!(good > 100 && bad > 1_000, "{good} good, {bad} bad");
}

#[test]
fn topics_that_debezium_writes_are_only_loaded() {
    let over = |more: &str| {
        let transport = format!("transport: {{ kafka: {{ brokers: 'b:9092'{more} }} }}\n");
        read(&format!("{SMALLEST}{transport}")).unwrap()
    };
    let own = over("");
    assert!(own.foreign().is_none() && own.captured_to().is_some());
    own.refuse_foreign("capture").unwrap();
    let foreign = over(", written_by: debezium");
    assert!(foreign.foreign().is_some() && foreign.captured_to().is_none());
    let error = foreign.refuse_foreign("capture").unwrap_err().to_string();
    assert!(error.contains("transport.kafka.written_by") && error.contains("lakeward load"), "{error}");
}

#[test]
fn the_schema_in_the_repository_is_the_one_of_the_code() {
    crate::schema_file("config.schema.json", &json_schema().to_value());
}

#[test]
fn the_examples_are_valid_by_parser_and_schema() {
    let validator = jsonschema::validator_for(&json_schema().to_value()).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let outside = Outside { variable: &|_| Some("x".into()), file: &|_| Ok("x".into()) };
        parse(&text, &outside).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let json: serde_json::Value = yaml_serde::from_str(&text).unwrap();
        let faults: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(faults.is_empty(), "{}: {faults:?}", path.display());
        seen += 1;
    }
    assert!(seen >= 3, "the examples are gone");
}

/// Keys of the schema, by the part they belong to, and where each stands. A part that stands in two places, as a server
/// does, has its keys once.
type Keys = BTreeMap<(String, String), String>;

/// Adds the keys of `node`, which is of `part` and stands at `place`: all of them, or those that `shown` has.
fn add_keys(
    schema: &serde_json::Value,
    (part, node): (&str, &serde_json::Value),
    place: &str,
    shown: Option<&serde_json::Value>,
    keys: &mut Keys,
) {
    if let Some(name) = node.get("$ref").and_then(|path| path.as_str()?.strip_prefix("#/$defs/")) {
        let inner = schema.pointer(&format!("/$defs/{name}")).expect(name);
        return add_keys(schema, (name, inner), place, shown, keys);
    }
    let choices = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|kind| node.get(kind)?.as_array());
    for choice in choices.flatten() {
        add_keys(schema, (part, choice), place, shown, keys);
    }
    for (key, inner) in node.get("properties").and_then(|all| all.as_object()).into_iter().flatten() {
        let value = shown.map(|shown| shown.get(key));
        // Not shown here.
        if value == Some(None) {
            continue;
        }
        let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
        keys.entry((part.to_owned(), key.clone())).or_insert_with(|| place.clone());
        add_keys(schema, (part, inner), &place, value.flatten(), keys);
    }
    for kind in ["items", "additionalProperties"] {
        let Some(inner) = node.get(kind) else { continue };
        let mut of_elements = Keys::new();
        add_keys(schema, (part, inner), place, None, &mut of_elements);
        assert!(of_elements.is_empty(), "{place}: keys of elements are not looked for in the examples");
    }
}

#[test]
fn the_examples_have_every_key_of_the_schema() {
    let schema = json_schema().to_value();
    let shown_by = |names: &[&str]| {
        let mut keys = Keys::new();
        for name in names {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
            let json: serde_json::Value =
                yaml_serde::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            add_keys(&schema, ("", &schema), "", Some(&json), &mut keys);
        }
        keys
    };
    // As their first lines say.
    let all = shown_by(&["all.yaml"]);
    let over_kafka = shown_by(&["kafka.yaml", "kafka-avro.yaml"]);
    let mut every = Keys::new();
    add_keys(&schema, ("", &schema), "", None, &mut every);
    let is_shown = |key: &(String, String), place: &str| {
        let examples = if place.starts_with("transport.kafka") { &over_kafka } else { &all };
        examples.contains_key(key)
    };
    let lacking: Vec<&str> =
        every.iter().filter(|(key, place)| !is_shown(key, place)).map(|(_, place)| place.as_str()).collect();
    assert!(lacking.is_empty(), "no example shows {}", lacking.join(", "));
    for place in ["lake.s3.profile", "transport.kafka.load.group"] {
        assert!(every.values().any(|one| one == place), "{place} was not looked for");
    }
}

#[test]
fn the_schema_refuses_what_the_parser_refuses() {
    let validator = jsonschema::validator_for(&json_schema().to_value()).unwrap();
    for (from, to) in
        [("user:", "usr:"), ("no_data", "sometimes"), ("name: shop", "name: Shop"), ("lake:", "x: 1\nlake:")]
    {
        let json: serde_json::Value = yaml_serde::from_str(&SMALLEST.replace(from, to)).unwrap();
        assert!(!validator.is_valid(&json), "{to}");
    }
}
