//! What cannot be read exactly is told, and never passed over.

use std::sync::Arc;

use lakeward_core::{ErrorKind, Op};
use lakeward_kafka::format::{BinaryMode, Format, FormatOptions};
use lakeward_kafka::source::{KafkaOptions, Until};
use lakeward_test_support::kafka::Kafka;

use crate::world::{
    boundaries, broker, caught_up, failed, membership, open, options, position, read_until, seqs,
};
use crate::writer::{Writer, table, topic};

#[tokio::test(flavor = "multi_thread")]
async fn counts_that_do_not_fit_the_records_are_told() {
    for counted in [1, -1] {
        let (broker, table_name) = (broker(), "orders");
        broker.create_topic(&topic(table_name), 1, &[]);
        let membership = membership(&broker, "two");
        let mut writer = Writer::start(&broker);
        writer.version(&table(table_name));
        writer.events(table_name, 1, &[(Op::Create, 1), (Op::Create, 2)]);
        writer.commit();
        let first = caught_up(&broker, None).await.unwrap();
        let from = boundaries(&first).pop().unwrap();
        writer.events(table_name, 1, &[(Op::Create, 3)]);
        writer.count(&topic(table_name), 0, counted);
        writer.commit();
        let mut source = open(options(&broker, &membership, Some(&from), Until::Forever)).await.unwrap();
        if counted < 0 {
            read_until(&mut source, |all| boundaries(all).len() == 1).await.unwrap();
        }
        writer.events(table_name, 1, &[(Op::Create, 4)]);
        writer.commit();
        let error = failed(read_until(&mut source, |_| false).await);
        assert_eq!(error.kind(), ErrorKind::TopicLost, "{error}");
        assert!(error.to_string().contains(&topic(table_name)), "{error}");
    }
}

/// The marker of the last transaction lies between the place and the end: the client's word counts, not the offsets.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_counted_and_never_comes_is_lost() {
    let broker = broker();
    broker.create_topic(&topic("orders"), 1, &[]);
    let mut writer = Writer::start(&broker);
    writer.version(&table("orders"));
    writer.events("orders", 1, &[(Op::Create, 1)]);
    writer.count(&topic("orders"), 0, 1);
    writer.commit();
    let error = failed(caught_up(&broker, None).await);
    assert_eq!(error.kind(), ErrorKind::TopicLost, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_deleted_or_made_anew_is_told() {
    let broker = broker();
    broker.create_topic(&topic("orders"), 1, &[]);
    let mut writer = Writer::start(&broker);
    writer.version(&table("orders"));
    writer.events("orders", 1, &[(Op::Create, 1), (Op::Create, 2)]);
    writer.commit();
    let from = boundaries(&caught_up(&broker, None).await.unwrap()).pop().unwrap();
    writer.events("orders", 1, &[(Op::Create, 3)]);
    writer.commit();
    broker.delete_topic(&topic("orders"));
    let gone = failed(caught_up(&broker, Some(&from)).await);
    assert_eq!(gone.kind(), ErrorKind::TopicLost, "{gone}");
    broker.create_topic(&topic("orders"), 1, &[]);
    let anew = failed(caught_up(&broker, Some(&from)).await);
    assert_eq!(anew.kind(), ErrorKind::TopicLost, "{anew}");
}

/// More than the client fetches before it is asked, so that most of it is unread when the topic goes.
const UNREAD: i64 = 60_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_deleted_under_a_running_source_is_told() {
    let broker = broker();
    broker.create_topic(&topic("orders"), 1, &[]);
    let mut writer = Writer::start(&broker);
    writer.version(&table("orders"));
    writer.events("orders", 1, &[(Op::Create, 1)]);
    writer.commit();
    let membership = membership(&broker, "one");
    let mut source = open(options(&broker, &membership, None, Until::Forever)).await.unwrap();
    let read = read_until(&mut source, |all| boundaries(all).len() == 2).await.unwrap();
    let at = boundaries(&read).pop().unwrap();
    let unread: Vec<(Op, i64)> = (0..UNREAD).map(|id| (Op::Create, id)).collect();
    writer.events("orders", 1, &unread);
    writer.commit();
    broker.delete_topic(&topic("orders"));
    let mut error = failed(read_until(&mut source, |_| false).await);
    // The group may notice first: then it is opened anew, and told there or after it.
    while error.kind() == ErrorKind::Rebalanced {
        drop(source);
        source = match open(options(&broker, &membership, Some(&at), Until::Forever)).await {
            Ok(source) => source,
            Err(refused) => {
                error = refused;
                break;
            }
        };
        error = failed(read_until(&mut source, |_| false).await);
    }
    assert_eq!(error.kind(), ErrorKind::TopicLost, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_stops_its_topic_partition_alone() {
    let broker = broker();
    broker.create_topic(&topic("orders"), 3, &[]);
    let mut writer = Writer::start(&broker);
    writer.version(&table("orders"));
    writer.events("orders", 3, &[(Op::Create, 0), (Op::Create, 1), (Op::Create, 2)]);
    let headers =
        [("op", "c".to_owned()), ("seq", writer.next_seq().to_string()), ("version", "1".to_owned())];
    writer.send(&topic("orders"), 1, Some(b"k"), Some(b"no envelope"), &headers);
    writer.skip_number();
    writer.count(&topic("orders"), 1, 1);
    writer.events("orders", 3, &[(Op::Create, 3), (Op::Create, 4), (Op::Create, 5)]);
    writer.commit();
    let items = caught_up(&broker, None).await.unwrap();
    assert_eq!(seqs(&items), [1, 2, 3, 5, 7]);
    let at = boundaries(&items).pop().unwrap();
    let stopped: Vec<_> =
        position(&at).stopped().map(|(topic, number, place, _)| (topic, number, place.offset)).collect();
    assert_eq!(stopped, [(topic("orders").as_str(), 1, 1)]);
    // It is tried again, and nothing is doubled.
    let again = caught_up(&broker, Some(&at)).await.unwrap();
    assert_eq!(seqs(&again), [] as [i64; 0]);
    writer.send(&topic("orders"), 2, Some(b"k"), Some(b"a stranger's"), &[]);
    writer.events("orders", 3, &[(Op::Create, 5), (Op::Create, 6)]);
    writer.commit();
    let more = caught_up(&broker, Some(&at)).await.unwrap();
    assert_eq!(seqs(&more), [9]);
    assert_eq!(position(&boundaries(&more).pop().unwrap()).stopped().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_goes_to_the_dead_letter_topic_where_there_is_one() {
    let broker = broker();
    broker.create_topic(&topic("orders"), 2, &[]);
    broker.create_topic("dead", 1, &[]);
    let mut writer = Writer::start(&broker);
    writer.version(&table("orders"));
    writer.events("orders", 2, &[(Op::Create, 0), (Op::Create, 1)]);
    let headers =
        [("op", "c".to_owned()), ("seq", writer.next_seq().to_string()), ("version", "1".to_owned())];
    writer.send(&topic("orders"), 1, Some(b"k"), Some(b"no envelope"), &headers);
    writer.skip_number();
    writer.count(&topic("orders"), 1, 1);
    writer.events("orders", 2, &[(Op::Create, 2), (Op::Create, 3)]);
    writer.commit();
    let membership = membership(&broker, "one");
    let mut options = options(&broker, &membership, None, Until::CaughtUp);
    options.kafka.load.dead_letter = Some("dead".to_owned());
    let mut source = open(options).await.unwrap();
    let items = read_until(&mut source, |_| false).await.unwrap();
    assert_eq!(seqs(&items), [1, 2, 4, 5]);
    let at = boundaries(&items).pop().unwrap();
    let place = position(&at).get(&topic("orders"), 1).unwrap();
    assert_eq!((place.events, place.dead_letters, place.checkpoint, &place.stopped), (3, 1, 1, &None));
    let begun = boundaries(&items).remove(0);
    assert_eq!(at.events_since(&begun), Some(4), "the sink gets four");
    let dead = broker.read("dead");
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].value.as_deref(), dead[0].header("seq")), (Some(&b"no envelope"[..]), Some("3")));
    assert_eq!(
        (dead[0].header("lakeward.offset"), dead[0].header("lakeward.partition")),
        (Some("1"), Some("1"))
    );
}

/// Capture wrote no such record, so it is none of those that capture counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_record_is_put_aside_and_counts_as_no_event() {
    let broker = broker();
    broker.create_topic(&topic("orders"), 1, &[]);
    broker.create_topic("dead", 1, &[]);
    let mut writer = Writer::start(&broker);
    writer.version(&table("orders"));
    let mut from = None;
    for round in 0..3 {
        writer.send(&topic("orders"), 0, Some(b"k"), Some(b"a stranger's"), &[]);
        writer.events("orders", 1, &[(Op::Create, 2 * round), (Op::Create, 2 * round + 1)]);
        writer.commit();
        let mut options = options(&broker, &membership(&broker, "one"), from.as_ref(), Until::CaughtUp);
        options.kafka.load.dead_letter = Some("dead".to_owned());
        let stats = Arc::clone(&options.kafka_stats);
        let mut source = open(options).await.unwrap();
        let items = read_until(&mut source, |_| false).await.unwrap();
        assert_eq!(seqs(&items), [2 * round + 1, 2 * round + 2]);
        let at = boundaries(&items).pop().unwrap();
        let place = position(&at).get(&topic("orders"), 0).unwrap();
        assert_eq!((place.events as i64, place.dead_letters, &place.stopped), (2 * round + 2, 0, &None));
        assert_eq!(stats.strangers.get(), 1);
        from = Some(at);
    }
    assert_eq!(broker.read("dead").len(), 3);
}

/// Somebody who asks for what there is now gets nothing, and it is an end like any other.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_captured_is_caught_up_with_at_once() {
    let items = caught_up(&broker(), None).await.unwrap();
    assert_eq!((seqs(&items).len(), boundaries(&items).len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_were_written_in_another_way_are_refused() {
    let broker = broker();
    broker.create_topic(&topic("orders"), 1, &[]);
    let mut writer = Writer::start(&broker);
    writer.version(&table("orders"));
    writer.events("orders", 1, &[(Op::Create, 1)]);
    let default = FormatOptions::default();
    for (options, told) in [
        (
            FormatOptions { binary_handling_mode: BinaryMode::Hex, ..default.clone() },
            "binary_handling_mode: hex",
        ),
        (FormatOptions { format: Format::Avro, ..default }, "format: avro"),
    ] {
        writer.modes = Some(options.modes());
        writer.commit();
        let error = failed(caught_up(&broker, None).await);
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.to_string().contains(told), "{error}");
    }
}

/// Puts so many records with this value, which is no envelope, for a source that puts them aside.
fn unreadable(broker: &Kafka, times: usize, value: &[u8]) -> KafkaOptions {
    broker.create_topic(&topic("orders"), 1, &[]);
    let mut writer = Writer::start(broker);
    writer.version(&table("orders"));
    for _ in 0..times {
        let headers =
            [("op", "c".to_owned()), ("seq", writer.next_seq().to_string()), ("version", "1".to_owned())];
        writer.send(&topic("orders"), 0, Some(b"k"), Some(value), &headers);
        writer.skip_number();
        writer.count(&topic("orders"), 0, 1);
    }
    writer.commit();
    let mut options = options(broker, &membership(broker, "one"), None, Until::CaughtUp);
    options.kafka.load.dead_letter = Some("dead".to_owned());
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn more_dead_letters_than_the_client_holds_at_once_all_get_there() {
    const HELD: usize = 10_000;
    let broker = broker();
    broker.create_topic("dead", 1, &[]);
    let mut options = unreadable(&broker, HELD + 100, b"no envelope");
    let held = serde_json::from_value(serde_json::json!(HELD)).unwrap();
    options.kafka.properties.insert("queue.buffering.max.messages".to_owned(), held);
    let mut source = open(options).await.unwrap();
    let items = read_until(&mut source, |_| false).await.unwrap();
    assert_eq!(seqs(&items), [] as [i64; 0]);
    let at = boundaries(&items).pop().unwrap();
    assert_eq!(position(&at).get(&topic("orders"), 0).unwrap().dead_letters, HELD as u64 + 100);
    assert_eq!(broker.read("dead").len(), HELD + 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_its_topic_does_not_take_is_told() {
    let broker = broker();
    broker.create_topic("dead", 1, &[("max.message.bytes", "2000")]);
    let mut source = open(unreadable(&broker, 1, &[b'x'; 1990])).await.unwrap();
    let error = failed(read_until(&mut source, |_| false).await);
    assert_eq!(error.kind(), ErrorKind::MessageTooLarge, "{error}");
}
