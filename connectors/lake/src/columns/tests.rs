//! Names of columns over the versions of a table.

use lakeward_core::{Column, TableId};
use proptest::prelude::*;

use super::*;

fn int(width: u8) -> ColumnType {
    ColumnType::Int { width, unsigned: false, display_one: false }
}

fn text() -> ColumnType {
    ColumnType::Text { collation: 255 }
}

fn decimal(precision: u8, scale: u8) -> ColumnType {
    ColumnType::Decimal { precision, scale }
}

fn schema(version: u32, columns: &[(&str, ColumnType)]) -> TableSchema {
    let column = |(name, ty): &(&str, ColumnType)| Column::new(*name, ty.clone(), true);
    let columns = columns.iter().map(column).collect();
    TableSchema::new(TableId::new("shop", "t"), version, columns, vec![], TypeOptions::default())
}

fn after(before: &LakeVersion, columns: &[(&str, ColumnType)]) -> LakeVersion {
    let table = schema(before.table.version + 1, columns);
    LakeVersion::after(before, table, &["_op", "dt"], IncompatibleChange::NewColumn).unwrap()
}

fn first(columns: &[(&str, ColumnType)]) -> LakeVersion {
    LakeVersion::of_own_names(schema(1, columns))
}

fn columns(version: &LakeVersion) -> Vec<String> {
    version.lake_columns.iter().map(|column| format!("{} {}", column.name, column.ty)).collect()
}

#[test]
fn a_column_that_widens_stays_one() {
    let unsigned = ColumnType::Int { width: 4, unsigned: true, display_one: false };
    let narrow = [("a", int(1)), ("b", decimal(10, 2)), ("c", ColumnType::Float), ("d", text())];
    let labels = vec!["x".to_owned()];
    let wide = [
        ("a", unsigned),
        ("b", decimal(20, 2)),
        ("c", ColumnType::Double),
        ("d", ColumnType::Enum { labels }),
    ];
    let second = after(&first(&narrow), &wide);
    assert_eq!(second.lake_names, ["a", "b", "c", "d"]);
    assert_eq!(columns(&second), ["a int64", "b decimal(20,2)", "c float64", "d text"]);
    // Narrower again: the older files stay wide, and so does the column.
    let third = after(&second, &narrow);
    assert_eq!(third.lake_names, ["a", "b", "c", "d"]);
    assert_eq!(columns(&third), columns(&second));
}

#[test]
fn an_incompatible_change_goes_on_under_a_new_name_and_back_under_the_old_one() {
    let second = after(&first(&[("id", int(8)), ("x", int(4))]), &[("id", int(8)), ("x", text())]);
    assert_eq!(second.lake_names, ["id", "x_v2"]);
    assert_eq!(columns(&second), ["id int64", "x int32", "x_v2 text"]);
    let third = after(&second, &[("x", text()), ("id", int(8)), ("y", int(1))]);
    assert_eq!(third.lake_names, ["x_v2", "id", "y"]);
    let fourth = after(&third, &[("x", int(8))]);
    assert_eq!(fourth.lake_names, ["x"]);
    let fifth = after(&fourth, &[("x", ColumnType::Date)]);
    assert_eq!(fifth.lake_names, ["x_v5"]);
    let all = ["id int64", "x int64", "x_v2 text", "y int8", "x_v5 date"];
    assert_eq!(columns(&fifth), all);
}

#[test]
fn what_looks_alike_and_means_another_thing_is_not_one_column() {
    let unsigned = ColumnType::Int { width: 8, unsigned: true, display_one: false };
    let pairs = [
        (int(8), unsigned),
        (decimal(10, 2), decimal(12, 4)),
        (ColumnType::Time { fsp: 0 }, int(8)),
        (ColumnType::Datetime { fsp: 0 }, ColumnType::Timestamp { fsp: 0 }),
        (ColumnType::Date, ColumnType::Datetime { fsp: 0 }),
        (ColumnType::Binary { fixed: None }, ColumnType::Geometry),
        (ColumnType::Binary { fixed: None }, ColumnType::Bit { bits: 8 }),
        (ColumnType::Bit { bits: 1 }, ColumnType::Bit { bits: 2 }),
        (ColumnType::Binary { fixed: None }, text()),
        (decimal(38, 0), decimal(39, 0)),
        (int(4), ColumnType::Double),
    ];
    for (one, other) in pairs {
        for (from, to) in [(one.clone(), other.clone()), (other, one)] {
            let second = after(&first(&[("x", from.clone())]), &[("x", to.clone())]);
            assert_eq!(second.lake_names, ["x_v2"], "{from:?} to {to:?}");
        }
    }
}

#[test]
fn a_name_that_is_made_up_meets_no_other() {
    let before = first(&[("x", int(4)), ("X_V2", text())]);
    assert_eq!(after(&before, &[("x", text()), ("X_V2", text())]).lake_names, ["x_v2_2", "X_V2"]);
    // The new column's own name is kept for it, whichever comes first.
    let before = first(&[("x", int(4))]);
    assert_eq!(after(&before, &[("x", text()), ("x_v2", text())]).lake_names, ["x_v2_2", "x_v2"]);
    // A column that is added later under a made-up name gets one itself.
    let second = after(&before, &[("x", text())]);
    assert_eq!(after(&second, &[("x", text()), ("x_v2", text())]).lake_names, ["x_v2", "x_v2_v3"]);
    let taken = LakeVersion::after(
        &before,
        schema(2, &[("x", text())]),
        &["X_v2", "x_v2_2"],
        IncompatibleChange::NewColumn,
    );
    assert_eq!(taken.unwrap().lake_names, ["x_v2_3"]);
}

#[test]
fn names_that_differ_in_case_alone_are_one_column() {
    let second = after(&first(&[("Total", int(4))]), &[("TOTAL", int(8))]);
    assert_eq!(second.lake_names, ["Total"]);
    assert_eq!(columns(&second), ["Total int64"]);
}

#[test]
fn an_incompatible_change_is_refused_where_that_is_asked() {
    let before = first(&[("x", int(4))]);
    let table = schema(2, &[("x", text())]);
    let error = LakeVersion::after(&before, table, &[], IncompatibleChange::Stop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TableChanged);
    let told = error.to_string();
    assert!(["int32", "text", "x", "shop.t"].iter().all(|word| told.contains(word)), "{told}");
    assert!(error.remedy_text().unwrap().contains("lake.incompatible_change"));
    let table = schema(2, &[("x", int(8)), ("y", text())]);
    LakeVersion::after(&before, table, &[], IncompatibleChange::Stop).unwrap();
}

#[test]
fn a_version_comes_back_as_it_was_stored_and_from_before_there_were_lake_names() {
    let second = after(&first(&[("x", int(4)), ("y", decimal(65, 30))]), &[("x", text()), ("y", int(1))]);
    let stored = serde_json::to_string(&second).unwrap();
    assert_eq!(serde_json::from_str::<LakeVersion>(&stored).unwrap(), second);
    let old = serde_json::to_string(&schema(1, &[("x", int(4))])).unwrap();
    assert_eq!(serde_json::from_str::<LakeVersion>(&old).unwrap(), first(&[("x", int(4))]));
}

fn types() -> impl Strategy<Value = ColumnType> {
    prop_oneof![
        (1_u8..5, any::<bool>()).prop_map(|(width, unsigned)| ColumnType::Int {
            width,
            unsigned,
            display_one: false
        }),
        (1_u8..66, 0_u8..3).prop_map(|(precision, scale)| decimal(precision.max(scale), scale)),
        Just(ColumnType::Float),
        Just(ColumnType::Double),
        Just(text()),
        Just(ColumnType::Json),
        Just(ColumnType::Date),
        Just(ColumnType::Time { fsp: 3 }),
        Just(ColumnType::Vector),
    ]
}

proptest! {
    /// Whatever the changes: a version's names differ, each name stands for one kind of values for ever,
    /// and the type of a column in the lake holds that of every version.
    #[test]
    fn a_name_stands_for_one_kind_of_values_for_ever(
        versions in proptest::collection::vec(
            proptest::collection::btree_map("[abAB](_v[23])?", types(), 1..5),
            1..8,
        ),
    ) {
        let mut last: Option<LakeVersion> = None;
        let mut written: Vec<(String, LakeType)> = Vec::new();
        for columns in versions {
            let mut columns: Vec<(&str, ColumnType)> =
                columns.iter().map(|(name, ty)| (name.as_str(), ty.clone())).collect();
            let mut seen = BTreeSet::new();
            columns.retain(|(name, _)| seen.insert(fold(name)));
            let version = match &last {
                None => first(&columns),
                Some(last) => after(last, &columns),
            };
            let names: BTreeSet<String> = version.lake_names.iter().map(|name| fold(name)).collect();
            prop_assert_eq!(names.len(), columns.len());
            let all: BTreeSet<String> = version.lake_columns.iter().map(|column| fold(&column.name)).collect();
            prop_assert_eq!(all.len(), version.lake_columns.len());
            for (name, (_, ty)) in version.lake_names.iter().zip(&columns) {
                written.push((name.clone(), LakeType::of(ty, &TypeOptions::default())));
            }
            for (name, ty) in &written {
                let column = version.lake_columns.iter().find(|column| column.name == *name).unwrap();
                prop_assert_eq!(column.ty.join(*ty), Some(column.ty), "{} {}", name, ty);
            }
            for column in version.lake_columns.iter().map(|column| column.ty) {
                prop_assert_eq!(column.to_string().parse::<LakeType>(), Ok(column));
            }
            last = Some(version);
        }
    }
}
