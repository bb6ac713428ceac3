//! Names of topics.

use lakeward_core::TableId;

/// The topic of a table's change events: `<prefix>.<database>.<table>`, with `_` for what a topic cannot be named.
pub fn data_topic(prefix: &str, table: &TableId) -> String {
    let name = format!("{prefix}.{}.{}", table.database, table.table);
    name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' }).collect()
}
