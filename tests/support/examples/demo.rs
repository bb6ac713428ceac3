//! `make demo`: a shop in a real MySQL, a writer, lakeward killed in the middle and started again;
//! then the lake beside its source. Fails unless both are equal, row for row.
#![expect(clippy::expect_used, clippy::panic, reason = "development only: what cannot be shown ends it")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use lakeward_test_support::mysql::{MySql, MySqlOptions};
use lakeward_test_support::{Lakeward, Pipeline, Place, Random, Signal, python, wait_until};
use mysql::Conn;
use mysql::prelude::Queryable;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    println!("\nlakeward demo: a shop in MySQL, its changes in a lake\n");
    let server = MySql::start(MySqlOptions::default());
    server.create_user();
    server.script(include_str!("../demo/shop.sql"));
    println!(
        "1  MySQL {} runs on port {}, with an empty shop",
        server.value("SELECT VERSION()"),
        server.port()
    );

    let mut pipeline = Pipeline::new("shop", &server, &["shop.*"], &Place::Folder);
    let lake = empty_folder();
    pipeline.config["lake"]["url"] = format!("file://{}", lake.display()).into();

    let writer = Writer::start(server.conn());
    println!("2  a writer inserts, updates and deletes");

    let mut lakeward = pipeline.start(&["run"]);
    println!("3  `lakeward run` follows the binlog, into {}", lake.display());
    wait_for_commits(&mut lakeward, &lake, 2);
    lakeward.kill();
    println!(
        "   … killed with SIGKILL after {} transactions and {} commits",
        writer.count(),
        commits(&lake).len()
    );
    let before = writer.count();
    wait_until("the writer", PATIENCE, || (writer.count() > before + 200).then_some(()));
    let seen = commits(&lake).len();
    let mut lakeward = pipeline.start(&["run"]);
    println!("   … and started again, {} transactions later", writer.count() - before);
    wait_for_commits(&mut lakeward, &lake, seen + 2);
    println!("4  the writer stops after {} transactions", writer.stop());
    lakeward.signal(Signal::Term);
    lakeward.succeed(PATIENCE);
    println!("   SIGTERM: lakeward committed and left");
    pipeline.catch_up();
    println!("   `lakeward run --until-caught-up`: {} commits in all", commits(&lake).len());

    println!("\n5  the lake\n");
    show_tree(&lake, 1);
    println!("\n6  the newest changes of shop.orders, read by DuckDB\n");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/lake.py");
    let folder = lake.display().to_string();
    print!("{}", python(&script, &["newest", &folder, "orders", "id", "status", "total", "changed"], ""));
    println!("\n7  the lake's latest state (DuckDB) against the source, row for row\n");
    let tables = ["customers", "products", "orders", "order_lines"].map(|table| source(&server, table));
    print!("{}", python(&script, &["compare", &folder], &json!(tables).to_string()));
    println!("\nThe lake stays in {folder} for you to look at.");
}

/// `demo/lake` in the build's folder, empty.
fn empty_folder() -> PathBuf {
    let demo = env::current_exe().expect("a process knows its executable");
    let build = demo.ancestors().nth(3).expect("cargo puts examples into folders");
    let folder = build.join("demo/lake");
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).expect("the build's folder is writable");
    folder
}

/// Commit records of the lake, in order.
fn commits(lake: &Path) -> Vec<PathBuf> {
    let log = fs::read_dir(lake.join("_lakeward/shop/log"));
    let records = log.into_iter().flatten().flatten().map(|entry| entry.path());
    let is_commit = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains("\"files\""));
    let mut commits: Vec<PathBuf> = records.filter(is_commit).collect();
    commits.sort();
    commits
}

fn wait_for_commits(lakeward: &mut Lakeward, lake: &Path, count: usize) {
    wait_until("lakeward's commits", PATIENCE, || {
        assert!(lakeward.ended().is_none(), "lakeward ended:\n{}", lakeward.printed());
        (commits(lake).len() >= count).then_some(())
    });
}

/// Prints a folder; of many files in one, the first and the number of the others.
fn show_tree(folder: &Path, depth: usize) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (folders, files): (Vec<_>, Vec<_>) = entries.into_iter().partition(|path| path.is_dir());
    let indent = "   ".repeat(depth);
    for (place, file) in files.iter().enumerate().take(2) {
        match files.len() {
            more if place == 1 && more > 2 => println!("{indent}… and {} more", more - 1),
            _ => println!("{indent}{}", name(file)),
        }
    }
    for folder in folders {
        println!("{indent}{}/", name(&folder));
        show_tree(&folder, depth + 1);
    }
}

/// A table of the source as the demo's reader compares it.
fn source(server: &MySql, table: &str) -> serde_json::Value {
    let described = server.rows(&format!(
        "SELECT column_name, data_type, column_key FROM information_schema.columns \
         WHERE table_schema = 'shop' AND table_name = '{table}' ORDER BY ordinal_position"
    ));
    let described: Vec<[String; 3]> = described
        .into_iter()
        .map(|row| row.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>())
        .map(|row| row.try_into().expect("three columns were asked for"))
        .collect();
    let shown = |[name, kind, _]: &[String; 3]| match kind.as_str() {
        "bit" => format!("{name} + 0"),
        "binary" | "blob" => format!("HEX({name})"),
        _ => name.clone(),
    };
    let list: Vec<String> = described.iter().map(shown).collect();
    let rows = server.rows(&format!("SELECT {} FROM shop.{table}", list.join(", ")));
    let key: Vec<&String> =
        described.iter().filter(|[_, _, key]| key == "PRI").map(|[name, ..]| name).collect();
    let columns: Vec<&String> = described.iter().map(|[name, ..]| name).collect();
    json!({ "table": table, "key": key, "columns": columns, "rows": rows })
}

/// The shop's customers, in a thread of their own.
struct Writer {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Writer {
    fn start(mut conn: Conn) -> Writer {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&count));
        let thread = thread::spawn(move || {
            let mut random = Random::new(7);
            while !stopped.load(Ordering::Acquire) {
                let statements = transaction(&mut random, counted.load(Ordering::Relaxed));
                conn.query_drop("START TRANSACTION").expect("the server answers");
                for statement in statements {
                    conn.query_drop(&statement).unwrap_or_else(|error| panic!("{error}: {statement}"));
                }
                conn.query_drop("COMMIT").expect("the server answers");
                counted.fetch_add(1, Ordering::Release);
                // A shop has customers who think: keeps the writer from taking a whole core.
                thread::sleep(Duration::from_millis(1));
            }
        });
        Writer { stop, count, thread }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        self.thread.join().expect("the writer does not fail");
        self.count.load(Ordering::Acquire)
    }
}

/// The statements of one transaction.
fn transaction(random: &mut Random, number: u64) -> Vec<String> {
    let (dice, id) = (random.below(1000), random.below(number.max(1)) + 1);
    let sku = format!("SKU-{:04}", dice);
    match number % 8 {
        0 => vec![format!(
            "INSERT INTO shop.customers (name, city, born, newsletter, interests, fingerprint) VALUES \
             ('Zoë {number}', 'Köln', '{}-02-28', {}, 'books,games', UNHEX(LPAD(HEX({number}), 16, '0'))), \
             ('李 {number}', NULL, NULL, b'1', '', UNHEX('00FF0000000000{:02X}'))",
            1940 + dice % 60,
            dice % 2,
            dice % 256,
        )],
        1 => vec![format!(
            "INSERT INTO shop.products (sku, title, price, stock, weight, since, opens, photo, details) VALUES \
             ('{sku}', 'Thing “{dice}”', {dice}.99, {dice} - 500, {dice} / 7, {}, '-{}:30:00', REPEAT(x'FFD8', {}), \
             JSON_OBJECT('size', JSON_ARRAY({dice}, 2.50, NULL), 'new', true, 'ä', 'ö')) \
             ON DUPLICATE KEY UPDATE price = price * 1.01, details = JSON_SET(details, '$.again', {number})",
            1990 + dice % 30,
            dice % 800,
            dice % 200,
        )],
        2..=4 => {
            let mut statements = vec![format!(
                "INSERT INTO shop.orders (customer, total, note, placed) VALUES ({id}, {dice}.50, {}, NOW(6))",
                if dice % 3 == 0 { "NULL".to_owned() } else { format!("'please, {}'", "soon ".repeat(3)) },
            )];
            statements.push("SET @order = LAST_INSERT_ID()".to_owned());
            for line in 1..=dice % 4 + 1 {
                statements.push(format!(
                    "INSERT INTO shop.order_lines VALUES (@order, {line}, 'SKU-{:04}', {}, {dice}.25)",
                    (dice + line) % 1000,
                    line * 2,
                ));
            }
            statements.push(format!("UPDATE shop.products SET stock = stock - 1 WHERE sku = '{sku}'"));
            statements
        }
        5 => vec![format!(
            "UPDATE shop.orders SET status = 'paid', changed = NOW() WHERE id BETWEEN {id} AND {id} + 9"
        )],
        6 => vec![
            format!("DELETE FROM shop.order_lines WHERE order_id = {id}"),
            format!("DELETE FROM shop.orders WHERE id = {id}"),
        ],
        _ => vec![
            // A change of the key: a deletion and an insertion in the lake.
            format!("UPDATE IGNORE shop.customers SET id = id + 1000000 WHERE id = {id}"),
            format!(
                "UPDATE shop.customers SET newsletter = b'0', city = 'Malmö' WHERE id BETWEEN {id} AND {id} + 3"
            ),
        ],
    }
}
