//! Malformed input is an error, never a panic: bounded, seeded runs of the fuzz entries over mutations
//! of real events.

use std::path::{Path, PathBuf};

use lakeward_mysql::binlog;
use lakeward_mysql::binlog::event::{HEADER_LEN, Header};
use lakeward_mysql::binlog::stream::{EventStream, FileStream};
use lakeward_mysql::rows::fuzz;
use lakeward_test_support::mysql::MySql;

use crate::decode::events;
use crate::json::Random;

const SEED: u64 = 4_711;

/// One small change; some byte stays.
fn damage(data: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(data.len() as u64) as usize;
    match random.below(5) {
        0 => data.truncate(at.max(1)),
        1 => data[at] = random.next().to_le_bytes()[0],
        2 => data[at] ^= 1 << random.below(8),
        3 => data.insert(at, [0, 1, 0x7F, 0x80, 0xFF][random.below(5) as usize]),
        _ => {
            data.remove(at);
            data.push(0);
        }
    }
}

#[test]
fn mutated_events_never_panic() {
    println!("seed {SEED}");
    let server = MySql::shared();
    let database = server.database("fuzzed");
    server.script(&format!(
        "USE {database}; CREATE TABLE t (a INT, b JSON, c VARCHAR(300), d DECIMAL(20,3), e DATETIME(3), f TIME(2));
         INSERT INTO t VALUES (1, JSON_OBJECT('k', JSON_ARRAY(1, 2.5, 'x')), 'text', 1.5, '2026-11-21', '-1:2:3.4');
         UPDATE t SET a = 2, c = NULL; SET binlog_row_value_options = PARTIAL_JSON;
         UPDATE t SET b = JSON_SET(b, '$.k[1]', 'y', '$.new', 1); DELETE FROM t;"
    ));
    // Type codes and metadata of the table above, as its table map has them.
    let types = [3, 245, 15, 246, 18, 19];
    let metadata = [4, 0xB0, 0x04, 20, 3, 3, 2, 0, 0, 0, 0, 0];
    let seeds: Vec<Vec<u8>> = events(server, &format!("{database}.t"))
        .iter()
        .map(|event| [&[event.event_type, 6, 0x50], &types[..], &metadata, &event.body].concat())
        .collect();
    assert_eq!(seeds.len(), 4);
    let random = &mut Random(SEED);
    for round in 0..200_000 {
        let mut data = seeds[round % seeds.len()].clone();
        for _ in 0..=random.below(4) {
            damage(&mut data, random);
        }
        fuzz(&data);
    }
}

#[test]
fn arbitrary_bytes_never_panic() {
    println!("seed {SEED}");
    let random = &mut Random(SEED + 1);
    for _ in 0..100_000 {
        let len = random.below(120);
        let data: Vec<u8> = (0..len).map(|_| random.next().to_le_bytes()[0]).collect();
        fuzz(&data);
        binlog::fuzz(&data);
    }
}

/// An event with its size and without a checksum, as it stands in a compressed transaction.
fn bare(header: Header, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(HEADER_LEN + body.len()).unwrap();
    [&Header { size, ..header }.to_bytes()[..], body].concat()
}

/// The events of the kept binlog files, file by file.
fn kept_files() -> Vec<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let mut paths: Vec<_> = [folder.clone(), folder.join("public")]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "binlog"))
        .collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let mut stream = FileStream::open(path, 1 << 20).unwrap();
        let mut events = Vec::new();
        while let Some(event) = stream.next().unwrap() {
            events.push(bare(event.header, event.body));
        }
        events
    };
    paths.iter().map(read).collect()
}

#[test]
fn mutated_binlog_files_never_panic() {
    println!("seed {SEED}");
    let files = kept_files();
    assert!(files.len() >= 8);
    for events in &files {
        assert_eq!(binlog::fuzz(&events.concat()), events.len(), "an undamaged event is not understood");
    }
    let random = &mut Random(SEED + 2);
    for round in 0..20_000 {
        let mut events = files[round % files.len()].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(events.len() as u64) as usize;
            match random.below(8) {
                0 => drop(events.remove(at)),
                1 => events.insert(at, events[at].clone()),
                kind => {
                    damage(&mut events[at], random);
                    // Mostly the size is right again, so that the damage reaches the event's own parser.
                    if kind > 2
                        && let Ok(header) = Header::parse(&events[at])
                    {
                        events[at] = bare(header, &events[at][HEADER_LEN..]);
                    }
                }
            }
            if events.is_empty() {
                break;
            }
        }
        binlog::fuzz(&events.concat());
    }
}
