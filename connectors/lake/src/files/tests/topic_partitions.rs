//! Numbers that ascend in each topic partition alone: every row is in one file, and each file can be made again alone,
//! in whatever order the topic partitions are read then.

use std::collections::BTreeSet;

use lakeward_test_support::Random;
use proptest::prelude::*;

use super::*;

const TOPIC_PARTITIONS: usize = 3;

/// Rows of one topic partition, in one version.
#[derive(Clone, Debug)]
struct Step {
    topic_partition: usize,
    rows: Vec<(usize, i64)>,
    version: u32,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rows = proptest::collection::vec((1_usize..400, 0_i64..3), 1..4);
    let step = (0..TOPIC_PARTITIONS, rows, 1_u32..3).prop_map(|(topic_partition, rows, version)| Step {
        topic_partition,
        rows,
        version,
    });
    proptest::collection::vec(step, 1..30)
}

/// The batches of the steps.
fn batches(steps: &[Step]) -> Vec<ChangeBatch> {
    let mut next = [0_i64; TOPIC_PARTITIONS];
    let batch = |step: &Step| {
        let rows: usize = step.rows.iter().map(|run| run.0).sum();
        let from = next[step.topic_partition];
        next[step.topic_partition] += i64::try_from(rows).unwrap();
        let offsets = from..next[step.topic_partition];
        let mut batch = batch(&table("t", step.version), offsets.clone(), 0);
        let number = i32::try_from(step.topic_partition).unwrap();
        batch.meta.seq = offsets.map(|offset| (offset + 1) * 4096 + i64::from(number)).collect();
        batch.meta.topic_partition = Some(number);
        let run =
            |&(rows, hour): &(usize, i64)| OriginRun { rows, first_row: 0, origin: origin(hour * HOUR) };
        batch.meta.origins = step.rows.iter().map(run).collect();
        batch
    };
    steps.iter().map(batch).collect()
}

/// The same in another order, but for that of each topic partition.
fn reordered(batches: &[ChangeBatch], random: &mut Random) -> Vec<ChangeBatch> {
    let mut of_each: Vec<Vec<ChangeBatch>> = vec![Vec::new(); TOPIC_PARTITIONS];
    for batch in batches.iter().rev() {
        of_each[usize::try_from(batch.meta.topic_partition.unwrap()).unwrap()].push(batch.clone());
    }
    let mut all = Vec::new();
    while all.len() < batches.len() {
        let number = usize::try_from(random.below(TOPIC_PARTITIONS as u64)).unwrap();
        all.extend(of_each[number].pop());
    }
    all
}

async fn written(files: &mut Files<MemoryStore>, batches: Vec<ChangeBatch>) -> Vec<FileEntry> {
    for batch in batches {
        files.write(batch).await.unwrap();
    }
    files.seal().await.unwrap()
}

fn seqs(store: &MemoryStore, entry: &FileEntry) -> BTreeSet<i64> {
    let found = numbers(&read(&store.sealed(&entry.upload.key)), "_seq");
    let all: BTreeSet<i64> = found.iter().copied().collect();
    assert_eq!(all.len(), found.len(), "a row is twice in a file");
    for (number, (first, last)) in &entry.topic_partitions {
        let own: Vec<i64> = found.iter().copied().filter(|seq| seq % 4096 == i64::from(*number)).collect();
        assert!(own.is_sorted_by(|one, other| one < other));
        assert_eq!((own.first(), own.last()), (Some(first), Some(last)));
    }
    all
}

async fn run(steps: Vec<Step>, seed: u64) {
    let (store, mut random) = (Arc::new(MemoryStore::default()), Random::new(seed));
    // So little that files end in the middle.
    let options = FileOptions { file_size: 8 << 10, row_group_size: 4 << 10, ..small_options() };
    let (mut files, _) = files(&store, options, ByteSize::mib(8));
    for version in 1..3 {
        files.version(own(&table("t", version)));
    }
    let batches = batches(&steps);
    let expected: BTreeSet<i64> = batches.iter().flat_map(|batch| batch.meta.seq.clone()).collect();
    let entries = written(&mut files, batches.clone()).await;
    let rows: usize = entries.iter().map(|entry| seqs(&store, entry).len()).sum();
    let all: BTreeSet<i64> = entries.iter().flat_map(|entry| seqs(&store, entry)).collect();
    assert_eq!((rows, &all), (expected.len(), &expected));

    let lost: Vec<&FileEntry> = entries.iter().filter(|_| random.below(2) == 0).collect();
    let named: Vec<LostFile> = lost
        .iter()
        .map(|entry| LostFile {
            key: entry.upload.key.clone(),
            table: entry.table.clone(),
            seq: entry.seq,
            topic_partitions: entry.topic_partitions.clone(),
            commit_us: entry.commit_us,
        })
        .collect();
    files.keep_only(Some(&named));
    let again = written(&mut files, reordered(&batches, &mut random)).await;
    let wanted: BTreeSet<i64> = lost.iter().flat_map(|entry| seqs(&store, entry)).collect();
    let rows: usize = again.iter().map(|entry| seqs(&store, entry).len()).sum();
    let found: BTreeSet<i64> = again.iter().flat_map(|entry| seqs(&store, entry)).collect();
    assert_eq!((rows, found), (wanted.len(), wanted));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_row_is_in_one_file_and_lost_ones_are_made_again(steps in steps(), seed: u64) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(run(steps, seed));
    }
}

#[tokio::test]
async fn numbers_of_one_topic_partition_that_do_not_ascend_are_refused() {
    let store = Arc::new(MemoryStore::default());
    let (mut files, _) = files(&store, small_options(), ByteSize::mib(8));
    files.version(own(&table("t", 1)));
    let of = |seq: std::ops::Range<i64>, topic_partition| {
        let mut batch = batch(&table("t", 1), seq, 0);
        batch.meta.topic_partition = Some(topic_partition);
        batch
    };
    files.write(of(10..20, 0)).await.unwrap();
    files.write(of(1..5, 1)).await.unwrap();
    assert_eq!(files.write(of(15..30, 0)).await.unwrap_err().kind(), ErrorKind::Bug);
}
