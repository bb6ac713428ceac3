//! Several workers: each topic partition has one reader, and whoever dies is replaced.

use std::collections::BTreeSet;
use std::time::Duration;

use lakeward_core::{ErrorKind, Op};
use lakeward_kafka::source::Until;
use lakeward_test_support::wait_until;

use crate::world::{boundaries, broker, failed, membership, open, options, read_until, seqs};
use crate::writer::{Writer, table, topic};

#[tokio::test(flavor = "multi_thread")]
async fn workers_share_the_topic_partitions_and_take_over_from_those_that_leave() {
    let broker = broker();
    broker.create_topic(&topic("orders"), 4, &[]);
    let mut writer = Writer::start(&broker);
    writer.version(&table("orders"));
    let events: Vec<(Op, i64)> = (0..40).map(|id| (Op::Create, id)).collect();
    writer.events("orders", 4, &events);
    writer.commit();
    let first = membership(&broker, "first");
    let mut alone = open(options(&broker, &first, None, Until::Forever)).await.unwrap();
    let all = read_until(&mut alone, |all| boundaries(all).len() == 2).await.unwrap();
    assert_eq!(seqs(&all).len(), 40);
    let at = boundaries(&all).pop().unwrap();

    let second = membership(&broker, "second");
    let other = options(&broker, &second, None, Until::CaughtUp);
    let mut other = open(other).await.unwrap();
    // The first one is told that it has fewer now.
    assert_eq!(failed(read_until(&mut alone, |_| false).await).kind(), ErrorKind::Rebalanced);
    drop(alone);
    wait_until("each to have its share", Duration::from_secs(60), || {
        let one = first.assigned(Duration::from_secs(5)).ok()?.ours;
        let two = second.assigned(Duration::from_secs(5)).ok()?.ours;
        (one.len() == 2 && two.len() == 2 && one.is_disjoint(&two)).then_some(())
    });
    // It may have been opened with fewer than it has in the end.
    let read = read_until(&mut other, |_| false).await;
    let theirs = match read {
        Ok(items) if seqs(&items).len() == 20 => items,
        Ok(_) | Err(_) => {
            drop(other);
            let mut other = open(options(&broker, &second, None, Until::CaughtUp)).await.unwrap();
            read_until(&mut other, |_| false).await.unwrap()
        }
    };
    let mut ours = open(options(&broker, &first, None, Until::CaughtUp)).await.unwrap();
    let ours = read_until(&mut ours, |_| false).await.unwrap();
    let both: BTreeSet<i64> = seqs(&ours).into_iter().chain(seqs(&theirs)).collect();
    assert_eq!((both.len(), seqs(&ours).len() + seqs(&theirs).len()), (40, 40));
    assert_eq!(first.members().unwrap(), BTreeSet::from(["first".to_owned(), "second".to_owned()]));

    let generation = first.generation();
    drop(second);
    wait_until("the rest to be taken over", Duration::from_secs(60), || {
        let ours = first.assigned(Duration::from_secs(5)).ok()?.ours;
        (first.generation() != generation && ours.len() == 4).then_some(())
    });
    writer.events("orders", 4, &events);
    writer.commit();
    let mut rest = open(options(&broker, &first, Some(&at), Until::CaughtUp)).await.unwrap();
    let rest = read_until(&mut rest, |_| false).await.unwrap();
    assert_eq!(seqs(&rest), (41..=80).collect::<Vec<_>>());
}

/// Another worker has read a topic since this one was opened, and retention has removed what that one read: nothing is
/// lost, and this one does not know where the lake is by now.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_others_read_meanwhile_is_taken_over_by_opening_anew() {
    let broker = broker();
    let mut writer = Writer::start(&broker);
    let member = membership(&broker, "one");
    let mut source = open(options(&broker, &member, None, Until::Forever)).await.unwrap();
    broker.create_topic(&topic("orders"), 1, &[]);
    writer.version(&table("orders"));
    writer.events("orders", 1, &[(Op::Create, 1), (Op::Create, 2), (Op::Create, 3)]);
    writer.commit_without_checkpoint();
    broker.delete_records(&topic("orders"));
    writer.commit();
    let error = failed(read_until(&mut source, |_| false).await);
    assert_eq!(error.kind(), ErrorKind::Rebalanced, "{error}");
}
