//! Cuts a change batch where one file of its table must end and the next begin.

use std::ops::Range;

use lakeward_core::{ChangeBatch, ChangeMeta, Error, ErrorKind, LostFile, OriginRun, Result};

use crate::layout::{Layout, Partition};

/// Rows of a batch that belong into one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Which rows.
    pub(super) rows: Range<usize>,
    /// Their partition.
    pub(super) partition: Partition,
    /// On a repair, which of the lost files they belong to.
    pub(super) lost: Option<usize>,
}

/// The cuts of a batch, in order. With `lost`, rows of none of these files are in none.
pub(super) fn cuts(meta: &ChangeMeta, layout: Layout, lost: Option<&[LostFile]>) -> Vec<Cut> {
    let mut found: Vec<Cut> = Vec::new();
    let mut row = 0;
    for run in &meta.origins {
        let partition = layout.partition(run.origin.commit_us);
        let rows = row..row + run.rows;
        row = rows.end;
        let Some(lost) = lost else {
            match found.last_mut() {
                Some(last) if last.partition == partition => last.rows.end = rows.end,
                _ => found.push(Cut { rows, partition, lost: None }),
            }
            continue;
        };
        for (at, file) in lost.iter().enumerate() {
            let Some((first, last)) = file.seq_of(meta.topic_partition) else { continue };
            if (file.commit_us.0..=file.commit_us.1).contains(&run.origin.commit_us) {
                let start = meta.seq.partition_point(|seq| *seq < first).max(rows.start);
                let end = meta.seq.partition_point(|seq| *seq <= last).min(rows.end);
                if start < end {
                    found.push(Cut { rows: start..end, partition, lost: Some(at) });
                }
            }
        }
    }
    found
}

/// Whether every part of the batch has as many rows as the others, and its numbers ascend from
/// above `last`.
pub(super) fn checked(batch: &ChangeBatch, last: Option<i64>) -> Result<()> {
    let rows = batch.rows.num_rows();
    let meta = &batch.meta;
    let runs: usize = meta.origins.iter().map(|run| run.rows).sum();
    let before = batch.before.as_ref().map_or(rows, |before| before.num_rows());
    let wrong = if [meta.op.len(), meta.seq.len(), runs, before] != [rows; 4] {
        "the parts of a change batch differ in length"
    } else if !meta.seq.is_sorted_by(|a, b| a < b) || last.zip(meta.seq.first()).is_some_and(|(l, f)| l >= *f)
    {
        "sequence numbers of a table do not ascend"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Bug, wrong).at("table", &batch.schema.table))
}

/// The rows of a batch in `range`, sharing its memory.
pub(super) fn slice(batch: &ChangeBatch, range: &Range<usize>) -> ChangeBatch {
    let length = range.end - range.start;
    let origins = origins(&batch.meta.origins, range);
    let of = |values: &[i64]| values.get(range.clone()).unwrap_or_default().to_vec();
    ChangeBatch {
        schema: batch.schema.clone(),
        rows: batch.rows.slice(range.start, length),
        before: batch.before.as_ref().map(|before| before.slice(range.start, length)),
        meta: ChangeMeta {
            op: batch.meta.op.get(range.clone()).unwrap_or_default().to_vec(),
            seq: of(&batch.meta.seq),
            topic_partition: batch.meta.topic_partition,
            origins,
        },
    }
}

fn origins(runs: &[OriginRun], range: &Range<usize>) -> Vec<OriginRun> {
    let mut row = 0;
    let mut kept = Vec::new();
    for run in runs {
        let (start, end) = (row.max(range.start), (row + run.rows).min(range.end));
        if start < end {
            kept.push(run.part(start - row, end - start));
        }
        row += run.rows;
    }
    kept
}

#[cfg(test)]
mod tests {
    use lakeward_core::{Op, Origin, TableId};
    use proptest::prelude::*;

    use super::*;
    use crate::layout::{Partitioning, Preset};

    const LAYOUT: Layout = Layout { preset: Preset::DtHr, partitioning: Partitioning::Hour };

    fn meta(runs: &[(usize, i64)], first_seq: i64) -> ChangeMeta {
        let rows: usize = runs.iter().map(|run| run.0).sum();
        let origin =
            |hour: i64| Origin { commit_us: hour * 3_600_000_000, file: "f".into(), ..Origin::default() };
        ChangeMeta {
            op: vec![Op::Create; rows],
            seq: (first_seq..).take(rows).collect(),
            topic_partition: None,
            origins: runs
                .iter()
                .map(|&(rows, hour)| OriginRun { rows, first_row: 0, origin: origin(hour) })
                .collect(),
        }
    }

    #[test]
    fn rows_of_lost_files_are_kept_apart_and_others_dropped() {
        const HOUR: i64 = 3_600_000_000;
        let meta = meta(&[(10, 1), (10, 2), (4, 1)], 100);
        let lost = |hour: i64, seq| LostFile {
            key: String::new(),
            table: TableId::new("d", "t"),
            seq,
            topic_partitions: std::collections::BTreeMap::new(),
            commit_us: (hour * HOUR, hour * HOUR + 5),
        };
        // The second interleaves with the last, which is of another hour.
        let files = [lost(1, (0, 101)), lost(1, (105, 121)), lost(2, (119, 500)), lost(2, (103, 113))];
        let cuts = cuts(&meta, LAYOUT, Some(&files));
        let found: Vec<_> = cuts.iter().map(|cut| (cut.rows.clone(), cut.lost.unwrap())).collect();
        assert_eq!(found, [(0..2, 0), (5..10, 1), (19..20, 2), (10..14, 3), (20..22, 1)]);
    }

    #[test]
    fn rows_of_a_topic_partition_belong_to_a_lost_file_by_its_numbers_there() {
        let lost = LostFile {
            key: String::new(),
            table: TableId::new("d", "t"),
            seq: (3, 120),
            topic_partitions: [(0, (100, 120)), (2, (3, 104))].into(),
            commit_us: (0, i64::MAX),
        };
        let found = |topic_partition| {
            let meta = ChangeMeta { topic_partition, ..meta(&[(10, 1)], 100) };
            cuts(&meta, LAYOUT, Some(std::slice::from_ref(&lost))).into_iter().map(|cut| cut.rows).collect()
        };
        for (topic_partition, rows) in
            [(Some(0), Some(0..10)), (Some(2), Some(0..5)), (Some(1), None), (None, None)]
        {
            let rows: Vec<Range<usize>> = rows.into_iter().collect();
            let own: Vec<Range<usize>> = found(topic_partition);
            assert_eq!(own, rows, "{topic_partition:?}");
        }
    }

    proptest! {
        #[test]
        fn cuts_cover_every_row_once_and_never_mix_partitions(
            runs in proptest::collection::vec((1_usize..20, 0_i64..3), 1..20),
        ) {
            let meta = meta(&runs, 1);
            let cuts = cuts(&meta, LAYOUT, None);
            let mut row = 0;
            for cut in &cuts {
                prop_assert_eq!(cut.rows.start, row);
                row = cut.rows.end;
                for run in origins(&meta.origins, &cut.rows) {
                    prop_assert_eq!(LAYOUT.partition(run.origin.commit_us), cut.partition);
                }
            }
            prop_assert_eq!(row, meta.op.len());
            prop_assert!(cuts.windows(2).all(|pair| pair[0].partition != pair[1].partition));
        }
    }
}
