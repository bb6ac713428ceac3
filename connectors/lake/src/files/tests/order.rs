//! Order and completeness over random batches, partitions and versions.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Step {
    table: usize,
    rows: Vec<(usize, i64)>,
    new_version: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rows = proptest::collection::vec((1_usize..400, 0_i64..3), 1..6);
    let step = (0_usize..3, rows, proptest::bool::weighted(0.1))
        .prop_map(|(table, rows, new_version)| Step { table, rows, new_version });
    proptest::collection::vec(step, 1..40)
}

async fn run(steps: Vec<Step>) {
    let store = Arc::new(MemoryStore::default());
    let (mut files, stats) = files(&store, small_options(), ByteSize::mib(8));
    let mut versions = [1_u32; 3];
    let mut expected: Vec<Vec<i64>> = vec![Vec::new(); 3];
    let mut seq = 0;
    let mut entries = Vec::new();
    for step in steps {
        versions[step.table] += u32::from(step.new_version);
        let schema = table(&format!("t{}", step.table), versions[step.table]);
        files.version(own(&schema));
        let rows: usize = step.rows.iter().map(|run| run.0).sum();
        let end = seq + i64::try_from(rows).unwrap();
        let mut batch = batch(&schema, seq..end, 0);
        batch.meta.origins = step
            .rows
            .iter()
            .map(|&(rows, hour)| OriginRun { rows, first_row: 0, origin: origin(hour * HOUR) })
            .collect();
        expected[step.table].extend(seq..end);
        files.write(batch).await.unwrap();
        seq = end;
        if seq % 7 == 0 {
            entries.extend(files.seal().await.unwrap());
        }
    }
    entries.extend(files.seal().await.unwrap());
    for (place, expected) in expected.iter().enumerate() {
        let table = TableId::new("shop", format!("t{place}"));
        let mut seqs = Vec::new();
        let mut last = BTreeMap::new();
        for entry in entries.iter().filter(|entry| entry.table == table) {
            let last = last.insert(&entry.partition, entry.seq.1).unwrap_or(-1);
            assert!(entry.seq.0 > last, "ranges of seq overlap in one partition");
            let rows = read(&store.sealed(&entry.upload.key));
            let found = numbers(&rows, "_seq");
            assert_eq!(found, numbers(&rows, "id"));
            assert_eq!(
                (found[0], found[found.len() - 1], found.len() as u64),
                (entry.seq.0, entry.seq.1, entry.rows)
            );
            assert_eq!(entry.commit_us.0, entry.commit_us.1, "partitions are mixed");
            assert!(entry.partition.ends_with(&format!("hr=0{}", entry.commit_us.0 / HOUR)));
            seqs.extend(found);
        }
        seqs.sort_unstable();
        assert_eq!(&seqs, expected);
    }
    assert_eq!(stats.memory_bytes.get(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_row_is_in_one_file_in_order(steps in steps()) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap().block_on(run(steps));
    }
}
