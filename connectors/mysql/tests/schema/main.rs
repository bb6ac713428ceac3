//! Statements carried out on structures, compared with what a real MySQL 9.7 makes of its tables.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod statements;
mod table;
mod types;

use lakeward_core::TypeOptions;
use lakeward_mysql::binlog::query::Surroundings;
use lakeward_mysql::ddl::SqlSession;
use lakeward_mysql::schema::{self, Context, Definition, Made};
use lakeward_test_support::mysql::MySql;
use lakeward_test_support::{Random, seed};
use table::{Table, in_order, same};

/// `STRICT_TRANS_TABLES`.
const STRICT: u64 = 1 << 21;

/// What a plain session of the test's servers is.
fn surroundings() -> Surroundings {
    Surroundings { sql_mode: STRICT, server_collation: Some(255), ..Surroundings::default() }
}

fn context<'a>(database: &'a str, surroundings: &'a Surroundings, collation: u16) -> Context<'a> {
    Context {
        session: SqlSession { default_database: database, ..SqlSession::default() },
        surroundings,
        database_collation: Some(collation),
        likely_collation: None,
        options: TypeOptions::default(),
        declares: true,
    }
}

/// Each statement that the server takes, the reader carries out to the same end; and where it says that
/// no row was rewritten, the server's rows say so too.
#[test]
fn a_long_random_list_of_statements_ends_at_the_servers_structure() {
    let mut random = Random::new(seed());
    let server = MySql::shared();
    let (mut taken, mut refused, mut kept, mut unsure) = (0, 0, 0, 0);
    for (charset, collation) in [("utf8mb4", 255), ("latin1", 8), ("binary", 63), ("utf8mb3", 33)] {
        let database = server.database("carried");
        server.sql(&format!("ALTER DATABASE `{database}` CHARACTER SET {charset}"));
        let surroundings = surroundings();
        let context = context(&database, &surroundings, collation);
        for round in 0..6 {
            let mut table = Table::new(server, &database, &format!("t{round}"));
            let mut create = statements::create(&mut random, &table.name);
            while table.run(&create).is_err() {
                create = statements::create(&mut random, &table.name);
            }
            let made = schema::create(&create, &context).unwrap_or_else(|why| panic!("{create}: {why}"));
            let Made::Defined(mut known) = made else { panic!("{create}") };
            same(&table.catalog(), &known, &create);
            in_order(&table.order(), &known, &create);
            for _ in 0..40 {
                table.insert(&mut random, &known);
                let statement = statements::alter(&mut random, &table.name, &known);
                let before = table.rows(&known);
                if table.run(&statement).is_err() {
                    refused += 1;
                    continue;
                }
                taken += 1;
                let change = schema::alter(&known, &statement, &context)
                    .unwrap_or_else(|why| panic!("{statement}: {why}\n{known:#?}"));
                if change.definition.groundwork.unsure {
                    // The source asks the catalog then.
                    known = table.catalog();
                    unsure += 1;
                    continue;
                }
                same(&table.catalog(), &change.definition, &statement);
                in_order(&table.order(), &change.definition, &statement);
                if change.rewritten.is_none() {
                    kept += 1;
                    table.assert_kept(&before, &known, &change.definition, &statement);
                }
                known = change.definition;
            }
        }
    }
    println!(
        "{taken} statements taken, {kept} without rewriting, {unsure} unsure; {refused} refused by the server"
    );
    assert!(taken > 300 && kept > 100 && unsure * 20 < taken, "{taken} taken, {kept} kept, {unsure} unsure");
}

/// What a statement in this list must make of an empty database's table is what the server makes of it.
#[test]
fn every_spelling_of_a_type_is_the_servers_type() {
    let server = MySql::shared();
    let database = server.database("spelled");
    let surroundings = surroundings();
    let context = context(&database, &surroundings, 255);
    for (at, spelling) in types::SPELLINGS.iter().enumerate() {
        let mut table = Table::new(server, &database, &format!("s{at}"));
        let create = format!("CREATE TABLE {} (rid INT NOT NULL, c {spelling})", table.name);
        table.run(&create).unwrap_or_else(|error| panic!("{create}: {error}"));
        let made = schema::create(&create, &context).unwrap_or_else(|why| panic!("{create}: {why}"));
        let Made::Defined(known) = made else { panic!("{create}") };
        same(&table.catalog(), &known, &create);
    }
}

/// Statements that the random list may miss.
#[test]
fn hard_statements_end_at_the_servers_structure() {
    let server = MySql::shared();
    let database = server.database("hard");
    let surroundings = surroundings();
    let context = context(&database, &surroundings, 255);
    for (at, (create, alters)) in statements::HARD.iter().enumerate() {
        let mut table = Table::new(server, &database, &format!("h{at}"));
        let create = create.replace("{t}", &table.name);
        table.run(&create).unwrap_or_else(|error| panic!("{create}: {error}"));
        let made = schema::create(&create, &context).unwrap_or_else(|why| panic!("{create}: {why}"));
        let Made::Defined(mut known) = made else { panic!("{create}") };
        same(&table.catalog(), &known, &create);
        in_order(&table.order(), &known, &create);
        for alter in *alters {
            let alter = alter.replace("{t}", &table.name);
            table.run(&alter).unwrap_or_else(|error| panic!("{alter}: {error}"));
            let change =
                schema::alter(&known, &alter, &context).unwrap_or_else(|why| panic!("{alter}: {why}"));
            same(&table.catalog(), &change.definition, &alter);
            in_order(&table.order(), &change.definition, &alter);
            known = change.definition;
        }
    }
}

/// The text that the server itself writes is read to the same structure.
#[test]
fn the_servers_own_text_is_read() {
    let server = MySql::shared();
    let database = server.database("shown");
    let surroundings = surroundings();
    let context = context(&database, &surroundings, 255);
    let mut random = Random::new(seed());
    for round in 0..40 {
        let mut table = Table::new(server, &database, &format!("w{round}"));
        if table.run(&statements::create(&mut random, &table.name.clone())).is_err() {
            continue;
        }
        let shown = table.shown();
        let made = schema::create(&shown, &context).unwrap_or_else(|why| panic!("{shown}: {why}"));
        let Made::Defined(known) = made else { panic!("{shown}") };
        same(&table.catalog(), &known, &shown);
    }
}

#[test]
fn the_collations_are_the_servers() {
    let server = MySql::shared();
    let database = server.database("collations");
    let surroundings = surroundings();
    let context = context(&database, &surroundings, 255);
    let collations = server.rows("SELECT COLLATION_NAME, ID FROM information_schema.COLLATIONS");
    for row in collations {
        let (name, id) = (row[0].clone().unwrap(), row[1].as_deref().unwrap().parse().unwrap());
        let sql = format!("CREATE TABLE t (a INT) COLLATE {name}");
        let Made::Defined(Definition { groundwork, .. }) = schema::create(&sql, &context).unwrap() else {
            panic!("{sql}")
        };
        assert_eq!(groundwork.collation, Some(id), "{name}");
    }
    for row in server
        .rows("SELECT CHARACTER_SET_NAME, ID FROM information_schema.COLLATIONS WHERE IS_DEFAULT = 'Yes'")
    {
        let (name, id) = (row[0].clone().unwrap(), row[1].as_deref().unwrap().parse().unwrap());
        let sql = format!("CREATE TABLE t (a INT) CHARSET {name}");
        let Made::Defined(Definition { groundwork, .. }) = schema::create(&sql, &context).unwrap() else {
            panic!("{sql}")
        };
        assert_eq!(groundwork.collation, Some(id), "{name}");
    }
}
