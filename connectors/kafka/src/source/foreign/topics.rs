//! Which topics of the cluster are read: those named `<prefix>.<database>.<table>` whose table is included.
//!
//! Debezium writes `_` for what a topic cannot be named, so a topic's name may stand for several tables; which one it
//! is of, its records tell. Names with a dot in them may be split in several ways: any that is included counts.

use std::collections::BTreeMap;

use lakeward_core::{Error, ErrorKind, Result, TableFilter, TableId};

use super::numbers::TOPIC_PARTITIONS;
use crate::topics::{checkpoint_topic, data_topic, sanitized};

/// Topics by name, with the number of their topic partitions.
pub type Found = BTreeMap<String, i32>;

/// The topics that are read, of those that the cluster has; never `dead_letter`, which we write ourselves.
///
/// # Errors
/// `Config` where capture wrote them, or one has too many topic partitions.
pub fn find(
    all: &BTreeMap<String, usize>,
    prefix: &str,
    tables: &TableFilter,
    dead_letter: Option<&str>,
) -> Result<Found> {
    let own = checkpoint_topic(prefix);
    if all.contains_key(&own) {
        return Err(Error::new(ErrorKind::Config, "the topics with this prefix were written by `lakeward capture`")
            .at("topic", own)
            .remedy("remove `transport.kafka.written_by`, or set the `topic_prefix` that Debezium has (its topic.prefix)"));
    }
    let wanted = plain(tables);
    let mut found = Found::new();
    for (topic, count) in all.iter().filter(|(topic, _)| is_read(topic, prefix, &wanted, dead_letter)) {
        let count = i32::try_from(*count).ok().filter(|count| *count <= TOPIC_PARTITIONS);
        let count = count.ok_or_else(|| {
            Error::new(
                ErrorKind::Config,
                format!("the topic has more than {TOPIC_PARTITIONS} topic partitions"),
            )
            .at("topic", topic)
            .remedy("exclude its table in `tables.exclude`")
        })?;
        found.insert(topic.clone(), count);
    }
    Ok(found)
}

/// The filter as it is of names in which topics are written.
pub(super) fn plain(tables: &TableFilter) -> TableFilter {
    let plain = |patterns: &[String]| patterns.iter().map(|pattern| sanitized(pattern, "*?`")).collect();
    TableFilter { include: plain(&tables.include), exclude: plain(&tables.exclude) }
}

/// Whether the topic may be of an included table, and is not the one that we write ourselves.
pub(super) fn is_read(topic: &str, prefix: &str, wanted: &TableFilter, dead_letter: Option<&str>) -> bool {
    dead_letter != Some(topic) && is_included(topic, prefix, wanted)
}

fn is_included(topic: &str, prefix: &str, wanted: &TableFilter) -> bool {
    let Some(rest) = topic.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')) else { return false };
    let mut splits = rest.match_indices('.').map(|(dot, _)| (&rest[..dot], &rest[dot + 1..]));
    splits.any(|(database, table)| wanted.captures(&TableId::new(database, table)))
}

/// Whether records of `table` belong into `topic`.
pub(super) fn belongs(topic: &str, prefix: &str, tables: &TableFilter, table: &TableId) -> bool {
    data_topic(prefix, table) == topic && tables.captures(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str]) -> TableFilter {
        let text = |patterns: &[&str]| patterns.iter().map(|one| (*one).to_owned()).collect();
        TableFilter { include: text(include), exclude: text(&["shop.secret"]) }
    }

    fn found(topics: &[(&str, usize)], include: &[&str]) -> Vec<String> {
        let all = topics.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect();
        find(&all, "p.x", &filter(include), Some("p.x.shop.dead")).unwrap().into_keys().collect()
    }

    #[test]
    fn topics_of_included_tables_are_found_and_no_others() {
        let all = [
            "p.x",
            "p.x.transaction",
            "p.x.shop.orders",
            "p.x.shop.secret",
            "p.x.shop.dead",
            "p.x.other.orders",
            "p.xshop.orders",
            "p.shop.orders",
            "p.x.my_db.t__",
            "__debezium-heartbeat.p.x",
        ];
        let all: Vec<_> = all.into_iter().map(|topic| (topic, 3)).collect();
        assert_eq!(found(&all, &["shop.*"]), ["p.x.shop.orders"]);
        assert_eq!(found(&all, &["`my db`.t$*"]), ["p.x.my_db.t__"]);
        assert_eq!(found(&[("p.x.a.b.c", 1)], &["`a.b`.c"]), ["p.x.a.b.c"]);
    }

    #[test]
    fn what_cannot_be_numbered_and_what_capture_wrote_is_refused() {
        let refused = |topic: &str, count| {
            let all = [(topic.to_owned(), count)].into();
            find(&all, "p", &filter(&["shop.*"]), None).unwrap_err().to_string()
        };
        assert!(refused("p.shop.orders", 4097).contains("4096"));
        assert!(refused("p.__lakeward.checkpoints", 1).contains("written_by"));
    }

    #[test]
    fn a_record_of_another_table_does_not_belong_into_a_topic() {
        let tables = filter(&["`my db`.*", "my_db.*"]);
        let belongs = |database: &str| belongs("p.my_db.t", "p", &tables, &TableId::new(database, "t"));
        assert!(belongs("my db") && belongs("my_db") && !belongs("other"));
    }
}
