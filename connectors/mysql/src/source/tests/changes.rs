//! Statements that are told, over recorded logs.

use lakeward_core::{ChangeKind, SchemaChange};

use super::*;

fn telling(name: &str) -> Run {
    let mut run =
        run_as(&["shop.*"], begin(&Resume::default(), true), |settings| settings.schema_changes = true);
    assert!(feed_events(&mut run.decoder, &data(name), 0, usize::MAX).unwrap());
    run.decoder.boundary().unwrap();
    run
}

fn told(feed: &[Feed]) -> Vec<SchemaChange> {
    let change = |item: &Feed| match item {
        Feed::SchemaChange(change) => Some((**change).clone()),
        Feed::Schema(_) | Feed::Batch(_) | Feed::Mark(_) | Feed::Boundary(_) | Feed::Keys(_) => None,
    };
    feed.iter().filter_map(change).collect()
}

/// `Create t`; `shop` for a database.
fn say(change: &SchemaChange) -> String {
    match &change.change {
        Some(done) => format!("{:?} {}", done.kind, done.table.table),
        None => change.database.clone(),
    }
}

#[test]
fn what_a_statement_does_is_told_with_the_version_that_it_made() {
    for log in ["mysql-9.7-ddl-full", "mysql-9.7-ddl-minimal"] {
        let feed = drain(telling(log));
        let told: Vec<String> = told(&feed).iter().map(say).collect();
        assert_eq!(
            told,
            [
                "shop",
                "Create t",
                "Alter t",
                "Alter t",
                "Alter t",
                "Alter t",
                "Alter _t_del",
                "Alter t",
                "Create k",
                "Drop k",
                "Create k",
                "Create c"
            ],
            "{log}"
        );
        let mut versions: BTreeMap<TableId, Vec<String>> = BTreeMap::new();
        let names = |schema: &TableSchema| schema.columns.iter().map(|column| column.name.clone()).collect();
        for item in &feed {
            match item {
                Feed::Schema(schema) => drop(versions.insert(schema.table.clone(), names(schema))),
                Feed::SchemaChange(change) => {
                    let Some(done) = &change.change else { continue };
                    let columns = done.structure.as_ref().map(|structure| {
                        structure.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>()
                    });
                    match (done.kind, versions.get(&done.table)) {
                        (ChangeKind::Drop, _) => assert_eq!(columns, None),
                        (_, Some(version)) => assert_eq!(columns.as_ref(), Some(version), "{change:?}"),
                        // It left with the columns that it had.
                        (_, None) => assert_eq!(*done.table.table, *"_t_del", "{change:?}"),
                    }
                }
                Feed::Batch(_) | Feed::Mark(_) | Feed::Boundary(_) | Feed::Keys(_) => {}
            }
        }
    }
}

#[test]
fn defaults_and_words_follow_the_statements() {
    let told = told(&drain(telling("mysql-9.7-ddl-full")));
    let columns = |at: usize| -> Vec<String> {
        let structure =
            told[at].change.as_ref().and_then(|done| done.structure.as_ref()).expect("a structure");
        assert_eq!(structure.charset.as_deref(), Some("latin1"));
        let column = |column: &lakeward_core::ColumnStructure| {
            let declared = &column.declaration;
            let default = declared.default.as_ref().map(|default| format!("={default}")).unwrap_or_default();
            format!("{} {}{default}", column.name, declared.words)
        };
        structure.columns.iter().map(column).collect()
    };
    assert_eq!(columns(2), ["id INT", "c INT=7", "a VARCHAR", "b VARCHAR", "n BIGINT"]);
    assert_eq!(columns(3), ["id INT", "c INT=7", "b VARCHAR", "a VARCHAR", "n BIGINT"]);
    assert_eq!(columns(5), ["id INT", "b VARCHAR", "a VARCHAR", "n BIGINT", "c VARCHAR=new"]);
}

/// That of a CREATE … SELECT stands in the transaction of its rows.
#[test]
fn a_link_that_breaks_after_any_event_tells_each_statement_once() {
    let bytes = data("mysql-9.7-full");
    let unbroken = told(&drain(telling("mysql-9.7-full")));
    assert_eq!(unbroken.iter().map(say).collect::<Vec<_>>(), ["shop", "Create t", "Create c", "Alter t"]);
    for broken_after in 0.. {
        let mut run = run_as(&["shop.*"], begin(&Resume::default(), true), |settings| {
            (settings.schema_changes, settings.gather_bytes) = (true, 1);
        });
        let ended = feed_events(&mut run.decoder, &bytes, 0, broken_after).unwrap();
        run.decoder.break_off().unwrap();
        if ended {
            break;
        }
        let (position, _) = run.decoder.resume_from();
        run.decoder.stream_begins(uuid::Uuid::nil(), position.offset);
        assert!(feed_events(&mut run.decoder, &bytes, position.offset, usize::MAX).unwrap());
        run.decoder.boundary().unwrap();
        assert_eq!(told(&drain(run)), unbroken, "broken after event {broken_after}");
    }
}

#[test]
fn nothing_is_told_and_no_declaration_kept_where_that_is_not_asked_for() {
    let feed = whole("mysql-9.7-ddl-full", &Resume::default(), 1 << 20);
    assert!(told(&feed).is_empty());
    assert!(schemas(&feed).iter().flat_map(|schema| &schema.columns).all(|column| column.declared.is_none()));
}
