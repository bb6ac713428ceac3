//! What a real schema registry refuses, or one that is not there, is a clear error.

use std::process::Command;
use std::sync::Arc;

use lakeward_core::{Column, ColumnType, ErrorKind, Op, TableId, TableSchema, TypeOptions};
use lakeward_kafka::format::{Decoder, Format, FormatOptions, Received};
use lakeward_kafka::registry::RegistryOptions;
use lakeward_test_support::registry::SchemaRegistry;

use super::encoder;

fn options(url: String) -> FormatOptions {
    let registry = RegistryOptions { url, username: None, password: None, ca: None };
    FormatOptions { format: Format::Avro, schema_registry: Some(registry), ..FormatOptions::default() }
}

fn table(version: u32, columns: Vec<Column>) -> Arc<TableSchema> {
    Arc::new(TableSchema::new(TableId::new("d", "r"), version, columns, vec![0], TypeOptions::default()))
}

fn int(name: &str) -> Column {
    Column::new(name, ColumnType::Int { width: 4, unsigned: false, display_one: false }, false)
}

#[test]
fn an_incompatible_schema_is_refused_and_a_column_more_is_not() {
    let url = SchemaRegistry::shared().url();
    let options = options(url.clone());
    let mut encoder = encoder(&options);
    let topic = "shop.d.compatible";
    encoder.schema(&table(1, vec![int("id"), int("n")]), topic).unwrap();
    let set = Command::new("curl")
        .args(["-sf", "-X", "PUT", "-H", "Content-Type: application/json", "-d"])
        .args([r#"{"compatibility":"BACKWARD"}"#, &format!("{url}/config/{topic}-value")])
        .output()
        .unwrap();
    assert!(set.status.success(), "{set:?}");
    // A NOT NULL column that is added has a value for the rows before it.
    let mut added = int("more");
    added.fill = Some("0".to_owned());
    encoder.schema(&table(2, vec![int("id"), int("n"), added]), topic).unwrap();
    let text = Column::new("n", ColumnType::Text { collation: 255 }, false);
    let error = encoder.schema(&table(3, vec![int("id"), text]), topic).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RegistryRefused, "{error}");
    let shown = error.to_string();
    assert!(shown.contains("subject shop.d.compatible-value") && shown.contains("NONE"), "{shown}");
}

#[test]
fn a_registry_that_is_not_there_is_tried_again() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut encoder = encoder(&options(format!("http://127.0.0.1:{port}")));
    let error = encoder.schema(&table(1, vec![int("id")]), "t").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RegistryUnreachable, "{error}");
}

#[test]
fn a_schema_that_the_registry_does_not_know_is_refused_by_its_id() {
    let decoder = Decoder::new(&options(SchemaRegistry::shared().url())).unwrap();
    let mut table = decoder.table(table(1, vec![int("id")])).unwrap();
    let value = [0, 0x7F, 0xFF, 0xFF, 0xF0, 0];
    let error = table.push(&Received { key: None, value: &value, op: Op::Create, seq: 1 }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnreadableRecord, "{error}");
    assert!(error.to_string().contains("schema id 2147483632"), "{error}");
    let other = table.push(&Received { key: None, value: b"{}", op: Op::Create, seq: 1 }).unwrap_err();
    assert_eq!(other.kind(), ErrorKind::UnreadableRecord, "{other}");
}

#[test]
fn avro_without_a_registry_is_refused_with_the_key_to_set() {
    let options = FormatOptions { format: Format::Avro, ..FormatOptions::default() };
    let error = Decoder::new(&options).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("key schema_registry"), "{error}");
    let login_in_address = RegistryOptions {
        url: "http://user:secret@127.0.0.1".into(),
        username: None,
        password: None,
        ca: None,
    };
    let error = lakeward_kafka::registry::Registry::new(&login_in_address).err().unwrap();
    assert!(!error.to_string().contains("secret"), "{error}");
}
