//! Malformed input is an error, never a panic: a bounded, seeded run of the fuzz entry over mutations
//! of real events.

use lakeward_mysql::rows::fuzz;
use lakeward_test_support::mysql::MySql;

use crate::decode::events;
use crate::json::Random;

const SEED: u64 = 4_711;

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
    }
}
