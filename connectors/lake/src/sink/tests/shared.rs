//! Workers that share a log, over real stores.
//!
//! Event e of topic partition p has the number 4 e + p + 1; checkpoint k of the capturing side covers three
//! more events of each than the one before.

use std::collections::BTreeSet;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use lakeward_core::{KafkaPosition, TopicPartitionPosition};

use super::*;

const PARTITIONS: i32 = 4;
const EACH: u64 = 3;
/// The last checkpoint of the capturing side.
const LAST: u64 = 8;

/// Checkpoint `at` of the capturing side in some topic partitions.
fn part(own: &[i32], at: u64) -> Checkpoint {
    let mut position = KafkaPosition::default();
    for number in own {
        let (events, commit_us) = (at * EACH, Some(at.cast_signed() * 10 + i64::from(*number)));
        let offset = events.cast_signed() * 2;
        let place =
            TopicPartitionPosition { offset, events, checkpoint: at, commit_us, ..Default::default() };
        position.topics.entry("shop.db.t".into()).or_default().insert(*number, place);
    }
    let next_seq = (at * EACH).cast_signed() * i64::from(PARTITIONS) + 1;
    Checkpoint { position: Position::Kafka(position), ..checkpoint(next_seq) }
}

fn reached(at: Option<&Checkpoint>, number: i32) -> u64 {
    match at.map(|at| &at.position) {
        Some(Position::Kafka(at)) => at.get("shop.db.t", number).map_or(0, |place| place.checkpoint),
        Some(_) | None => 0,
    }
}

/// The rows of some topic partitions between `from` and checkpoint `to`, as a source merges them.
fn rows(own: &[i32], from: Option<&Checkpoint>, to: u64) -> Vec<i64> {
    let of = |number: &i32| {
        let number = *number;
        let events = reached(from, number) * EACH..to * EACH;
        events.map(move |event| event.cast_signed() * i64::from(PARTITIONS) + i64::from(number) + 1)
    };
    let mut rows: Vec<i64> = own.iter().flat_map(of).collect();
    rows.sort_unstable();
    rows
}

fn none_is_gone() -> Gone {
    Arc::new(|_| Box::pin(std::future::ready(BTreeSet::new())))
}

fn everybody_is_gone() -> Gone {
    Arc::new(|workers: Vec<Worker>| {
        Box::pin(std::future::ready(workers.iter().map(|worker| worker.epoch).collect()))
    })
}

fn worker<S: Store>(store: &Arc<S>, lake: &Lake, writer: u128, gone: Gone) -> LakeSink<S> {
    let options = SinkOptions { sharing: Sharing::Shared(gone), ..options(lake.clone(), writer) };
    LakeSink::over(Arc::clone(store), options)
}

/// Brings some topic partitions from `from` to checkpoint `to`.
async fn bring<S: Store>(
    sink: &mut LakeSink<S>,
    own: &[i32],
    from: Option<&Checkpoint>,
    to: u64,
) -> Result<Checkpoint> {
    sink.schema(schema()).await?;
    let rows = rows(own, from, to);
    for rows in rows.chunks(5) {
        sink.write(numbered(rows)).await?;
    }
    let part = part(own, to);
    sink.commit(part.clone()).await?;
    Ok(from.map_or_else(|| part.clone(), |from| from.with(&part)))
}

/// A future that is dropped once it was polled so often: a process that is killed there.
struct Killed<F> {
    inner: F,
    polls: u64,
}

impl<F: Future + Unpin> Future for Killed<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<F::Output>> {
        match self.polls.checked_sub(1) {
            None => Poll::Ready(None),
            Some(left) => {
                self.polls = left;
                Pin::new(&mut self.inner).poll(context).map(Some)
            }
        }
    }
}

/// How often workers had to begin anew.
#[derive(Default)]
struct Anew {
    killed: u32,
    rebalanced: u32,
}

/// A worker from its start until its topic partitions are at the end.
async fn to_the_end<S: Store>(mut sink: LakeSink<S>, own: &[i32]) -> Result<()> {
    let opened = sink.open().await?;
    assert!(opened.lost.is_empty());
    let mut at = opened.resume.checkpoint;
    loop {
        let reached = || own.iter().map(|number| reached(at.as_ref(), *number));
        if reached().min() == Some(LAST) {
            return sink.close().await;
        }
        let to = (reached().max().unwrap_or_default() + 1).min(LAST);
        at = Some(bring(&mut sink, own, at.as_ref(), to).await?);
    }
}

/// Several workers, each sometimes with the topic partitions of another, are killed again and again while
/// they race; over any store.
pub(crate) async fn workers_that_are_killed_put_every_row_once<S: Store>(store: Arc<S>, lake: Lake) {
    let workers = (0..3_u64).map(|place| {
        let (store, lake) = (Arc::clone(&store), lake.clone());
        tokio::spawn(async move {
            let mut anew = Anew::default();
            for attempt in 0_u64.. {
                // At first all have all; at the end each has its own.
                let shares = if attempt < 3 { 1 } else { 2 };
                let own: Vec<i32> = (0..PARTITIONS)
                    .filter(|number| u64::from(number.cast_unsigned()) % shares == place % shares)
                    .collect();
                let sink = worker(&store, &lake, u128::from(place) + 1, none_is_gone());
                // The first one ends before it has opened.
                let polls = if attempt < 12 { 5 + (attempt * 7 + place * 5) % 23 * 12 } else { u64::MAX };
                let run = Killed { inner: pin!(to_the_end(sink, &own)), polls };
                match run.await {
                    None => anew.killed += 1,
                    Some(Ok(())) => break,
                    Some(Err(error)) => {
                        assert_eq!(error.kind(), ErrorKind::Rebalanced, "{error}");
                        anew.rebalanced += 1;
                    }
                }
            }
            anew
        })
    });
    let mut anew = Anew::default();
    for worker in workers.collect::<Vec<_>>() {
        let one = worker.await.unwrap();
        anew.killed += one.killed;
        anew.rebalanced += one.rebalanced;
    }
    assert!(anew.killed > 0, "nobody was killed");
    let all: Vec<i32> = (0..PARTITIONS).collect();
    to_the_end(worker(&store, &lake, 9, everybody_is_gone()), &all).await.unwrap();
    assert_eq!(visible(&*store).await, rows(&all, None, LAST));
    // A request of the killed may have been on its way.
    for _ in 0..20 {
        if store.open_uploads("shop").await.unwrap().is_empty() {
            break;
        }
        to_the_end(worker(&store, &lake, 9, everybody_is_gone()), &all).await.unwrap();
    }
    assert_eq!(store.open_uploads("shop").await.unwrap(), [], "what the killed have left is gone");
    let status = status::read_from(store, "shop").await.unwrap().unwrap();
    assert_eq!(status.checkpoint.unwrap().position, part(&all, LAST).position);
    assert_eq!(status.workers.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_killed_put_every_row_in_a_folder_once() {
    let place = place();
    workers_that_are_killed_put_every_row_once(Arc::new(place.store()), place.lake.clone()).await;
}

#[tokio::test]
async fn two_workers_bring_their_parts_to_one_checkpoint() {
    let place = place();
    let store = Arc::new(place.store());
    let mut one = worker(&store, &place.lake, 1, none_is_gone());
    let mut other = worker(&store, &place.lake, 2, none_is_gone());
    let epochs = (one.open().await.unwrap().epoch, other.open().await.unwrap().epoch);
    assert_eq!(epochs, (1, 2));
    bring(&mut one, &[0, 1], None, 2).await.unwrap();
    bring(&mut other, &[2, 3], None, 1).await.unwrap();
    bring(&mut one, &[0, 1], Some(&part(&[0, 1], 2)), 3).await.unwrap();
    let at = status::read_from(Arc::clone(&store), "shop").await.unwrap().unwrap().checkpoint.unwrap();
    assert_eq!(at, part(&[0, 1], 3).with(&part(&[2, 3], 1)));
    assert_eq!(at.next_seq, part(&[], 3).next_seq);
    assert_eq!(at.complete_to_us(), Some(12), "the lake is complete as far as the last of them");
    assert_eq!(one.options.stats.complete_to_us.get(), 12);
    let expected: Vec<i64> = rows(&[0, 1], None, 3).into_iter().chain(rows(&[2, 3], None, 1)).collect();
    let expected: BTreeSet<i64> = expected.into_iter().collect();
    assert_eq!(visible(&*store).await, Vec::from_iter(expected));
}

#[tokio::test]
async fn who_is_late_with_a_topic_partition_begins_anew_and_doubles_nothing() {
    let place = place();
    let store = Arc::new(place.store());
    let mut late = worker(&store, &place.lake, 1, none_is_gone());
    late.open().await.unwrap();
    let mut early = worker(&store, &place.lake, 2, none_is_gone());
    early.open().await.unwrap();
    bring(&mut early, &[1], None, 2).await.unwrap();
    let error = bring(&mut late, &[0, 1], None, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rebalanced, "{error}");
    assert!(error.to_string().contains("shop.db.t/1"), "{error}");
    late.close().await.unwrap();
    assert_eq!(store.open_uploads("shop").await.unwrap(), []);
    assert_eq!(visible(&*store).await, rows(&[1], None, 2));
}

#[tokio::test]
async fn who_is_taken_for_gone_begins_anew_and_who_is_not_goes_on() {
    let place = place();
    let store = Arc::new(place.store());
    let mut gone = worker(&store, &place.lake, 1, none_is_gone());
    let first = gone.open().await.unwrap().epoch;
    let mut stays = worker(&store, &place.lake, 2, none_is_gone());
    stays.open().await.unwrap();
    gone.schema(schema()).await.unwrap();
    gone.write(numbered(&rows(&[0], None, 1))).await.unwrap();
    let only_the_first: Gone = Arc::new(move |_| Box::pin(std::future::ready(BTreeSet::from([first]))));
    let mut third = worker(&store, &place.lake, 3, only_the_first);
    third.open().await.unwrap();
    bring(&mut stays, &[1], None, 1).await.unwrap();
    let error = gone.commit(part(&[0], 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rebalanced, "{error}");
    gone.close().await.unwrap();
    bring(&mut third, &[0], None, 1).await.unwrap();
    assert_eq!(visible(&*store).await, rows(&[0, 1], None, 1));
}

#[tokio::test]
async fn an_exclusive_writer_fences_all_workers_and_a_worker_fences_it() {
    let place = place();
    let store = Arc::new(place.store());
    let mut sharing = worker(&store, &place.lake, 1, none_is_gone());
    sharing.open().await.unwrap();
    bring(&mut sharing, &[0], None, 1).await.unwrap();
    let mut alone = place.sink(2).await;
    let at = alone.open().await.unwrap().resume.checkpoint;
    assert_eq!(at, Some(part(&[0], 1)));
    let error = bring(&mut sharing, &[0], at.as_ref(), 2).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    sharing.close().await.unwrap();
    bring(&mut alone, &[0, 1], at.as_ref(), 2).await.unwrap();
    let mut after = worker(&store, &place.lake, 3, none_is_gone());
    let at = after.open().await.unwrap().resume.checkpoint;
    let error = bring(&mut alone, &[0, 1], at.as_ref(), 3).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    assert_eq!(visible(&*store).await, rows(&[0, 1], None, 2));
}

#[tokio::test]
async fn a_lake_that_a_binlog_filled_is_not_gone_on_with_over_kafka() {
    let place = place();
    let mut direct = place.sink(1).await;
    direct.open().await.unwrap();
    commit(&mut direct, 1, 1).await.unwrap();
    let mut over_kafka = worker(&Arc::new(place.store()), &place.lake, 2, none_is_gone());
    let error = over_kafka.open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    // It has claimed nothing.
    commit(&mut direct, 1, 4).await.unwrap();
}

#[tokio::test]
async fn what_others_have_shown_is_told_after_a_while() {
    let place = place();
    let store = Arc::new(place.store());
    let mut idle = worker(&store, &place.lake, 1, none_is_gone());
    idle.open().await.unwrap();
    bring(&mut idle, &[0], None, 1).await.unwrap();
    let mut busy = worker(&store, &place.lake, 2, none_is_gone());
    busy.open().await.unwrap();
    bring(&mut idle, &[0], Some(&part(&[0], 1)), 2).await.unwrap();
    for at in 1..80 {
        let from = (at > 1).then(|| part(&[1], at - 1));
        bring(&mut busy, &[1], from.as_ref(), at).await.unwrap();
    }
    let status = status::read_from(store, "shop").await.unwrap().unwrap();
    assert!(status.record - status.shown_through < 70, "{status:?}");
}
