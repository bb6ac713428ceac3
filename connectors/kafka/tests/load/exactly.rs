//! Every event that was committed, once and in order, from wherever it begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use lakeward_core::{Op, TableSchema};
use lakeward_kafka::source::Until;
use lakeward_test_support::Random;
use lakeward_test_support::kafka::Kafka;

use crate::world::{
    Item, boundaries, broker, caught_up, membership, open, options, position, read_until, seqs,
};
use crate::writer::{Writer, table, topic};

fn with_tables(broker: &Kafka) -> Writer {
    broker.create_topic(&topic("orders"), 3, &[]);
    broker.create_topic(&topic("carts"), 2, &[]);
    let mut writer = Writer::start(broker);
    writer.version(&table("orders"));
    writer.version(&table("carts"));
    // An aborted transaction would take them back.
    writer.commit();
    writer
}

/// Transactions of all kinds; answers how many events are committed.
fn traffic(writer: &mut Writer, random: &mut Random, transactions: u32) -> i64 {
    for transaction in 0..transactions {
        for _ in 0..=random.below(3) {
            let (name, partitions) = if random.below(2) == 0 { ("orders", 3) } else { ("carts", 2) };
            let events: Vec<(Op, i64)> = (0..=random.below(40))
                .map(|_| {
                    let op = [Op::Create, Op::Update, Op::Delete, Op::Read]
                        [usize::try_from(random.below(4)).unwrap()];
                    (op, i64::try_from(random.below(50)).unwrap())
                })
                .collect();
            writer.events(name, partitions, &events);
        }
        match random.below(4) {
            0 => writer.abort(),
            1 if transaction + 1 < transactions => writer.commit_without_checkpoint(),
            _ => writer.commit(),
        }
    }
    writer.commit();
    writer.next_seq() - 1
}

fn assert_ascending_by_table(items: &[Item]) {
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for item in items {
        if let Item::Event(table, _, seq) = item {
            let before = last.insert(table, *seq);
            assert!(before.is_none_or(|before| before < *seq), "{table}: {seq} after {before:?}");
        }
    }
}

fn assert_versions_first(items: &[Item]) {
    let mut known: Vec<(&str, u32)> = Vec::new();
    for item in items {
        match item {
            Item::Version(table, version) => known.push((table, *version)),
            Item::Event(table, ..) => {
                assert!(known.iter().any(|(name, _)| name == table), "{table} has no version")
            }
            Item::Boundary(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_committed_event_comes_once_and_in_order_from_every_boundary() {
    let broker = broker();
    let mut writer = with_tables(&broker);
    let mut random = Random::new(7);
    let events = traffic(&mut writer, &mut random, 60);
    let items = caught_up(&broker, None).await.unwrap();
    let mut all = seqs(&items);
    assert_ascending_by_table(&items);
    assert_versions_first(&items);
    all.sort_unstable();
    assert_eq!(all, (1..=events).collect::<Vec<_>>());

    let more = events + traffic(&mut writer, &mut random, 20) - events;
    for from in boundaries(&items) {
        let rest = caught_up(&broker, Some(&from)).await.unwrap();
        assert_ascending_by_table(&rest);
        let mut rest = seqs(&rest);
        rest.sort_unstable();
        let first =
            if position(&from).iter().all(|(_, _, place)| place.events == 0) { 1 } else { from.next_seq };
        assert_eq!(rest, (first..=more).collect::<Vec<_>>(), "from {}", from.position);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn boundaries_count_what_came_before_them_and_new_events_follow() {
    let broker = broker();
    let mut writer = with_tables(&broker);
    writer.events("orders", 3, &[(Op::Create, 0), (Op::Create, 1), (Op::Create, 2), (Op::Delete, 2)]);
    writer.commit();
    let membership = membership(&broker, "one");
    let mut source = open(options(&broker, &membership, None, Until::Forever)).await.unwrap();
    let items =
        read_until(&mut source, |all| seqs(all).len() == 4 && matches!(all.last(), Some(Item::Boundary(_))))
            .await
            .unwrap();
    let at = boundaries(&items).pop().unwrap();
    let counts: Vec<u64> = position(&at).iter().map(|(_, _, place)| place.events).collect();
    assert_eq!(counts, [1, 1, 2], "{at:?}: tombstones are no events");
    assert!(position(&at).iter().all(|(_, _, place)| place.checkpoint == 2));
    let ops = items.iter().filter_map(|item| if let Item::Event(_, op, _) = item { Some(*op) } else { None });
    assert_eq!(ops.collect::<Vec<_>>(), ["c", "c", "c", "d"]);
}

/// Topics that come while others are read, one after the other and several at once, before and after the first event.
#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_new_are_taken_up_without_opening_anew() {
    let broker = broker();
    let mut writer = Writer::start(&broker);
    writer.commit();
    let membership = membership(&broker, "one");
    let mut source = open(options(&broker, &membership, None, Until::Forever)).await.unwrap();
    let mut all = Vec::new();
    for round in 0..4 {
        for table_name in (0..=round).map(|number| format!("new_{round}_{number}")) {
            broker.create_topic(&topic(&table_name), 2, &[]);
            writer.version(&table(&table_name));
            writer.events(&table_name, 2, &[(Op::Create, 1), (Op::Create, 2), (Op::Update, 1)]);
        }
        writer.commit();
        let due = usize::try_from(writer.next_seq() - 1).unwrap();
        let before = seqs(&all).len();
        all.extend(read_until(&mut source, |more| before + seqs(more).len() == due).await.unwrap());
        assert_versions_first(&all);
        assert_ascending_by_table(&all);
    }
    all.extend(read_until(&mut source, |more| matches!(more.last(), Some(Item::Boundary(_)))).await.unwrap());
    let mut numbers = seqs(&all);
    numbers.sort_unstable();
    assert_eq!(numbers, (1..writer.next_seq()).collect::<Vec<_>>());
    let events: u64 =
        position(&boundaries(&all).pop().unwrap()).iter().map(|(_, _, place)| place.events).sum();
    assert_eq!(events, numbers.len() as u64, "the last boundary covers all of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_read_again_exactly() {
    let broker = broker();
    let mut writer = with_tables(&broker);
    traffic(&mut writer, &mut Random::new(8), 10);
    let first = caught_up(&broker, None).await.unwrap();
    let from = boundaries(&first).pop().unwrap();
    traffic(&mut writer, &mut Random::new(9), 10);
    let second = caught_up(&broker, Some(&from)).await.unwrap();
    let to = boundaries(&second).pop().unwrap();
    traffic(&mut writer, &mut Random::new(10), 10);
    let membership = membership(&broker, "two");
    let until = Until::Again(position(&to).clone());
    let mut source = open(options(&broker, &membership, Some(&from), until)).await.unwrap();
    let again = read_until(&mut source, |_| false).await.unwrap();
    assert_eq!(seqs(&again), seqs(&second));
    assert_eq!(position(&boundaries(&again).pop().unwrap()), position(&to));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_versions_come_in_order_and_each_before_its_rows() {
    let broker = broker();
    let mut writer = with_tables(&broker);
    let first = table("orders");
    for version in 2..5 {
        writer.events("orders", 3, &[(Op::Create, i64::from(version))]);
        writer.version(&Arc::new(TableSchema { version, ..TableSchema::clone(&first) }));
    }
    writer.commit();
    let items = caught_up(&broker, None).await.unwrap();
    let of_orders = |item: &Item| match item {
        Item::Version(table, version) if table == "orders" => Some(i64::from(*version)),
        Item::Event(table, _, seq) if table == "orders" => Some(-seq),
        _ => None,
    };
    // Versions are positive, numbers of events negative.
    assert_eq!(items.iter().filter_map(of_orders).collect::<Vec<_>>(), [1, -1, 2, -2, 3, -3, 4]);
}
