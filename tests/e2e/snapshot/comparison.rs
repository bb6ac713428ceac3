//! The comparison of whole tables is no test that cannot fail: it takes what is equal, for every kind of
//! key and for a bag of rows, and tells one row that is not.

use std::time::Duration;

use lakeward_test_support::mysql::MySqlOptions;
use lakeward_test_support::{LIMIT, seed, wait_until};

use super::fire::{Fire, Target};
use super::keys::{KEYLESS, kinds};
use super::pipeline::server_with_numbers;
use crate::whole::{assert_equal, compare};
use crate::world::{folder, set, view};

#[test]
fn one_row_that_differs_is_told() {
    let server = server_with_numbers(500, MySqlOptions::default());
    let targets: Vec<Target> = kinds()
        .iter()
        .chain([&KEYLESS])
        .map(|kind| Target::create_logged(&server, *kind, kind.name, 500))
        .collect();
    let fire = Fire::start(&server, &targets, seed(), 3, Duration::ZERO);
    wait_until("traffic", LIMIT, || (fire.transactions() > 1000).then_some(()));
    fire.finish();
    let mut pipeline = folder(&server);
    set(&mut pipeline, "before_images", true);
    pipeline.catch_up();
    let keyed: Vec<_> = targets.iter().map(|target| target.kind.keyed(&target.table)).collect();
    let ops = assert_equal(&server, &view(&pipeline), &keyed);
    assert!(
        ops.iter().all(|ops| ops.contains_key("c") && ops.contains_key("u") && ops.contains_key("d")),
        "{ops:?}"
    );
    for (target, keyed) in targets.iter().zip(&keyed) {
        let table = &target.table;
        for change in
            [format!("UPDATE shop.{table} SET n = -1 LIMIT 1"), format!("DELETE FROM shop.{table} LIMIT 1")]
        {
            server.sql(&format!("SET SESSION sql_log_bin = 0; {change}"));
            let compared = compare(&server, &view(&pipeline), std::slice::from_ref(keyed));
            assert_eq!(compared.wrong.len(), 1, "{table}: {change} was not told");
        }
    }
}
