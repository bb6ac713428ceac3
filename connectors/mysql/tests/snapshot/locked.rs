//! Requests about a table that another session holds.

use lakeward_core::Command;
use lakeward_test_support::mysql::MySqlOptions;
use mysql::prelude::Queryable;

use crate::lake::{Lake, Setup, is_settled, server, server_pairs, table};
use crate::requests::{answer, request};

#[test]
fn a_request_about_a_locked_table_waits_for_it_and_holds_up_no_other_table() {
    let server = server(MySqlOptions::default());
    server.sql("CREATE TABLE shop.t (n INT PRIMARY KEY, v INT); INSERT INTO shop.t VALUES (1, 1), (2, 2)");
    server.sql("CREATE TABLE shop.u (n INT PRIMARY KEY, v INT)");
    let mut lake = Lake::default();
    let mut run = Setup::default().open(&server).unwrap();
    run.until_equal(&server, &mut lake);
    let mut holder = server.conn();
    holder.query_drop("LOCK TABLES shop.t WRITE").unwrap();
    run.ask(vec![
        request("1", Command::Snapshot { table: table("t"), condition: None }),
        request("2", Command::Pause { table: table("t") }),
        request("3", Command::Snapshot { table: table("u"), condition: None }),
    ]);
    run.until(&mut lake, |lake| answer(lake, "3").is_some());
    server.sql("INSERT INTO shop.u VALUES (1, 1)");
    run.until(&mut lake, |lake| lake.pairs("u", "n", "v") == [(1, 1)]);
    assert_eq!((answer(&lake, "1"), answer(&lake, "2")), (None, None), "in their order");
    holder.query_drop("UNLOCK TABLES").unwrap();
    run.until(&mut lake, |lake| answer(lake, "2").is_some());
    assert_eq!((answer(&lake, "1"), answer(&lake, "2")), (Some(None), Some(None)));
    run.ask(vec![request("4", Command::Continue { table: table("t") })]);
    run.until(&mut lake, |lake| answer(lake, "4").is_some() && is_settled(lake));
    assert_eq!(lake.pairs("t", "n", "v"), server_pairs(&server, "t", "n", "v"));
}
