//! Versions of tables, over logs with and without column names.

use super::*;

const LOGS: [&str; 2] = ["mysql-9.7-ddl-full", "mysql-9.7-ddl-minimal"];

/// A version in few words: `t2 id c=7 b a n key id`.
fn say(schema: &TableSchema) -> String {
    let column = |column: &Column| {
        let fill = column.fill.as_ref().map(|fill| format!("={fill}")).unwrap_or_default();
        format!("{}:{}{fill}", column.name, column.id)
    };
    let columns: Vec<String> = schema.columns.iter().map(column).collect();
    let key: Vec<&str> = schema.key.iter().map(|at| schema.columns[*at].name.as_str()).collect();
    format!("{}{} {} key {}", schema.table.table, schema.version, columns.join(" "), key.join(" "))
}

#[test]
fn every_change_of_a_structure_is_a_version_with_and_without_column_names() {
    for log in LOGS {
        let feed = whole(log, &Resume::default(), 1 << 20);
        let found: Vec<String> = schemas(&feed).iter().map(|schema| say(schema)).collect();
        assert_eq!(
            found,
            [
                "t1 id:1 a:2 b:3 n:4 key id",
                "t2 id:1 c:5=7 a:2 b:3 n:4 key id",
                // The names are swapped.
                "t3 id:1 c:5=7 b:2 a:3 n:4 key id",
                // Another column of the same name.
                "t4 id:1 b:2 a:3 n:4 c:6=new key id",
                // The ghost table took its place, with what was altered there.
                "t5 id:1 b:2 a:3 n:4 c:6=new g:7=3 key id",
                "k1 u:1 v:2 key u",
                "k2 u:1 w:3 key u",
                "c1 id:1 n:2 key ",
            ],
            "{log}"
        );
        let ops = |name: &str| {
            let of_it = |text: &&String| text.starts_with(&format!("shop.{name} "));
            let found = changes(&feed);
            found.values().filter(of_it).filter_map(|text| text.split(' ').nth(1)).collect::<String>()
        };
        // No mark where the ghost table came, and none of its rows. The unique key is a key.
        assert_eq!([ops("t"), ops("k"), ops("c")], ["ccccuuuucuc", "cdcctc", "cctc"], "{log}");
        let end = last_boundary(&feed);
        assert!(end.tables.values().all(|state| state.status == TableStatus::Active), "{:?}", end.tables);
        assert_eq!(end.tables[&TableId::new("shop", "t")].snapshot, SnapshotState::Done, "it began empty");
        assert_eq!(end.tables.len(), 3, "{log}: ghost tables are none of ours");
    }
}

#[test]
fn rows_are_of_the_version_that_they_were_written_under() {
    for log in LOGS {
        let feed = whole(log, &Resume::default(), 1);
        for item in &feed {
            let Feed::Batch(batch) = item else { continue };
            assert_eq!(batch.rows.num_columns(), batch.schema.columns.len());
        }
        let texts: Vec<String> = changes(&feed).into_values().collect();
        // `é` is one byte in this log and is read as latin1.
        assert!(texts[1].contains('é'), "{}", texts[1]);
        assert!(texts.iter().any(|text| text.contains("wide")), "{texts:?}");
    }
}

#[test]
fn a_link_that_breaks_after_any_event_changes_no_version() {
    for log in LOGS {
        let bytes = data(log);
        let unbroken = whole(log, &Resume::default(), 1 << 20);
        for broken_after in 0.. {
            let mut run = run(&Resume::default(), 1);
            let ended = feed_events(&mut run.decoder, &bytes, 0, broken_after).unwrap();
            run.decoder.break_off().unwrap();
            if ended {
                break;
            }
            let (position, _) = run.decoder.resume_from();
            run.decoder.stream_begins(uuid::Uuid::nil(), position.offset);
            assert!(feed_events(&mut run.decoder, &bytes, position.offset, usize::MAX).unwrap());
            run.decoder.boundary().unwrap();
            let feed = drain(run);
            assert_eq!(changes(&feed), changes(&unbroken), "{log}: broken after event {broken_after}");
            assert_eq!(schemas(&feed), schemas(&unbroken), "{log}: broken after event {broken_after}");
        }
    }
}

type Plain = (TableId, u32, Vec<Column>, Vec<usize>);

/// All of the versions but for the collation that later columns would have: the database's is not known
/// after a restart.
fn plain(versions: &[Arc<TableSchema>]) -> Vec<Plain> {
    let plain = |schema: &Arc<TableSchema>| {
        (schema.table.clone(), schema.version, schema.columns.clone(), schema.key.clone())
    };
    let mut plain: Vec<Plain> = versions.iter().map(plain).collect();
    plain.sort_by_key(|(table, version, ..)| (table.clone(), *version));
    plain.dedup();
    plain
}

/// Stops after any event, and goes on in another run from what was committed.
#[test]
fn a_restart_after_any_transaction_gives_the_same_rows_under_the_same_versions() {
    for log in LOGS {
        let bytes = data(log);
        let unbroken = whole(log, &Resume::default(), 1 << 20);
        let (mut same, mut stopped, mut last) = (0, 0, 0);
        // Before, the database's collation is not known either.
        const FIRST_TABLE_MADE: usize = 8;
        for first in FIRST_TABLE_MADE.. {
            let mut one = run(&Resume::default(), 1 << 20);
            let ended = feed_events(&mut one.decoder, &bytes, 0, first).unwrap();
            let (position, _) = one.decoder.resume_from();
            if !ended && std::mem::replace(&mut last, position.offset) == position.offset {
                // Inside a transaction no checkpoint is made.
                continue;
            }
            one.decoder.boundary().unwrap();
            let mut feed = drain(one);
            if ended {
                break;
            }
            let checkpoint = last_boundary(&feed).clone();
            // What is not covered by the checkpoint is dropped.
            let mut all = changes(&feed);
            all.retain(|seq, _| *seq < checkpoint.next_seq);
            let mut versions = schemas(&feed);
            let resume = Resume {
                checkpoint: Some(checkpoint.clone()),
                schemas: versions.clone(),
                ..Resume::default()
            };
            let mut begin = begin(&resume, true);
            (begin.next_seq, begin.position) = (checkpoint.next_seq, position.clone());
            let mut other = run_from(begin, 1 << 20);
            other.decoder.stream_begins(uuid::Uuid::nil(), position.offset);
            assert!(feed_events(&mut other.decoder, &bytes, position.offset, usize::MAX).unwrap());
            other.decoder.boundary().unwrap();
            feed = drain(other);
            if last_boundary(&feed).tables.values().any(|state| state.status != TableStatus::Active) {
                // What the log told of a ghost table is lost with the process; here is no catalog to ask.
                stopped += 1;
                continue;
            }
            all.extend(changes(&feed));
            versions.extend(schemas(&feed));
            assert_eq!(all, changes(&unbroken), "{log}: restart after event {first}");
            assert_eq!(plain(&versions), plain(&schemas(&unbroken)), "{log}: restart after event {first}");
            same += 1;
        }
        println!("{log}: {same} restarts went on, {stopped} met a ghost table");
        assert!(same > 2 * stopped && stopped > 0, "{log}: {same} {stopped}");
    }
}
