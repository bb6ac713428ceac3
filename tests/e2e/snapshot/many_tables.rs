//! Twenty tables at once, of every kind of key, in chunks side by side.

use lakeward_test_support::mysql::MySqlOptions;

use super::fire::Target;
use super::keys::kinds;
use super::pipeline::{initial, server_with_numbers};
use super::under_fire::{read_under_fire, rows};
use crate::world::with;

#[test]
fn twenty_tables_at_once() {
    let rows = rows(20_000);
    let server = server_with_numbers(rows, MySqlOptions::default());
    let targets: Vec<Target> = kinds()
        .iter()
        .cycle()
        .take(20)
        .enumerate()
        .map(|(at, kind)| Target::create(&server, *kind, &format!("t{at}_{}", kind.name), rows))
        .collect();
    read_under_fire(&server, &with(initial(&server), "snapshot/parallelism", 4), &targets, 4);
}
