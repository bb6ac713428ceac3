//! Where a chunk ends in a table whose key is one integer: by the distance of the keys that were read
//! before it, so that the server need not count rows to find a place.
//!
//! Guarantee: the estimate may be wrong, the ranges are not. Any number between the ends of a range cuts
//! it, whether or not a row has it: integers have one order everywhere. A chunk that turns out smaller
//! than it was meant makes the next one wider; one that outgrows its memory or time is given up, and the
//! server is asked where to cut.

use lakeward_core::{ColumnType, TableSchema};

use super::plan::Range;

/// How much wider the next chunk is where there was no row.
const WIDER: f64 = 8.0;

/// Numbers of the key's range for each row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spacing(f64);

impl Spacing {
    /// As a chunk was found, after what was found before; `None` where the key is no integer, or descends, or the
    /// chunk began with the table, whose least key nobody asked for.
    pub(crate) fn found(
        before: Option<Spacing>,
        schema: &TableSchema,
        range: &Range,
        rows: u64,
    ) -> Option<Spacing> {
        let [key] = schema.key.as_slice() else { return None };
        let ColumnType::Int { .. } = schema.columns.get(*key)?.ty else { return None };
        let (from, to) = ends(range)?;
        let width = to.checked_sub(from).filter(|width| *width > 0)?;
        match rows {
            0 => before.map(|Spacing(before)| Spacing(before * WIDER)),
            _ => Some(Spacing(width as f64 / rows as f64)),
        }
    }

    /// The first part of a range, of about so many rows, or all of it.
    pub(crate) fn cut(self, range: &Range, rows: u64) -> Option<Range> {
        let (from, to) = ends(range)?;
        let width = (self.0 * rows as f64).max(1.0) as i128;
        let cut = from.saturating_add(width).min(to);
        Some(Range { from: range.from.clone(), to: vec![cut.to_string()] })
    }
}

fn ends(range: &Range) -> Option<(i128, i128)> {
    let number = |key: &[String]| match key {
        [literal] => literal.parse::<i128>().ok(),
        _ => None,
    };
    Some((number(range.from.as_ref()?)?, number(&range.to)?))
}

#[cfg(test)]
mod tests {
    use lakeward_core::{Column, TableId, TypeOptions};

    use super::*;

    fn range(from: i128, to: i128) -> Range {
        Range { from: Some(vec![from.to_string()]), to: vec![to.to_string()] }
    }

    fn schema(ty: ColumnType) -> TableSchema {
        let columns = vec![Column::new("k", ty, false)];
        TableSchema::new(TableId::new("shop", "t"), 1, columns, vec![0], TypeOptions::default())
    }

    fn integer() -> TableSchema {
        schema(ColumnType::Int { width: 8, unsigned: true, display_one: false })
    }

    #[test]
    fn the_next_chunk_is_as_wide_as_its_rows_need() {
        let spacing = Spacing::found(None, &integer(), &range(-50, 50), 10).unwrap();
        assert_eq!(spacing, Spacing(10.0));
        assert_eq!(spacing.cut(&range(50, 1000), 20), Some(range(50, 250)));
        assert_eq!(spacing.cut(&range(50, 200), 20), Some(range(50, 200)), "no further than the range");
        let wider = Spacing::found(Some(spacing), &integer(), &range(50, 250), 0).unwrap();
        assert_eq!(wider.cut(&range(250, 9000), 1), Some(range(250, 330)));
        let (least, greatest) = (i128::from(i64::MIN), i128::from(u64::MAX));
        let spacing = Spacing::found(None, &integer(), &range(least, greatest), 1).unwrap();
        assert_eq!(spacing.cut(&range(least, greatest), u64::MAX), Some(range(least, greatest)));
        assert_eq!(Spacing(0.001).cut(&range(5, 9), 1), Some(range(5, 6)), "never nothing");
    }

    #[test]
    fn only_integers_are_counted_with() {
        let whole = Range { from: None, to: vec!["9".into()] };
        assert_eq!(Spacing::found(None, &integer(), &whole, 3), None);
        // 35 is 2035 where the server compares it with a YEAR.
        assert_eq!(Spacing::found(None, &schema(ColumnType::Year), &range(0, 2026), 3), None);
        assert_eq!(Spacing::found(None, &integer(), &range(0, 9), 0), None, "nothing is known");
        assert_eq!(Spacing::found(None, &integer(), &range(9, 0), 3), None, "the key descends");
    }
}
