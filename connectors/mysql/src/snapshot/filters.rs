//! What a replica's filters leave out.
//!
//! Guarantee: a table that filters of the replica may concern is not read there. Why: a replica counts what its
//! filters leave out as executed, so its GTIDs tell nothing of such a table. Any filter may concern any table, as
//! those of databases are compared with the default database of a statement, too; but for the one that names tables
//! to leave out one by one. Unknown: filters that were taken away, or set while a connection stands; and all of them,
//! where the account lacks `REPLICATION CLIENT` there.

use lakeward_core::{ErrorKind, Result, TableId};
use mysql::Conn;

use crate::session::{TextRow, named_rows};
use crate::version::Version;

/// Columns of the replica's status that are filters begin so.
const PREFIX: &str = "Replicate_";
/// The one that names tables to leave out.
const IGNORED_TABLES: &str = "Replicate_Ignore_Table";

/// Filters that are set, each with its value.
#[derive(Debug, Default)]
pub(crate) struct Filters(Vec<(String, String)>);

impl Filters {
    pub(crate) fn read(conn: &mut Conn, version: &Version) -> Result<Filters> {
        match named_rows(conn, version.replica_status_statement()) {
            Err(error) if error.kind() == ErrorKind::SourceGrant => Ok(Filters::default()),
            answer => answer.map(|(names, rows)| Filters::of(&names, &rows)),
        }
    }

    /// From the columns and rows of the replica's status: one row for each channel.
    fn of(names: &[String], rows: &[TextRow]) -> Filters {
        let set = |row: &TextRow| -> Vec<(String, String)> {
            let fields =
                names.iter().zip(row).filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
            fields.filter(|(name, value)| name.starts_with(PREFIX) && !value.is_empty()).collect()
        };
        Filters(rows.iter().flat_map(set).collect())
    }

    /// A filter that may concern the table, as the replica tells it.
    pub(crate) fn concerning(&self, table: &TableId) -> Option<String> {
        let name = table.to_string().to_lowercase();
        let concerns = |(filter, value): &&(String, String)| {
            filter != IGNORED_TABLES || value.to_lowercase().split(',').any(|ignored| ignored == name)
        };
        self.0.iter().find(concerns).map(|(filter, value)| format!("{filter}: {value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_concern_all_tables_but_those_that_name_others() {
        let names = ["Source_Host", "Replicate_Do_DB", "Replicate_Ignore_Table", "Replicate_Rewrite_DB"];
        let names = names.map(str::to_owned);
        let concerning = |databases: &str, tables: &str| {
            let row = ["h", databases, tables, ""].map(|value| Some(value.to_owned())).to_vec();
            Filters::of(&names, &[row]).concerning(&TableId::new("shop", "T"))
        };
        assert_eq!(concerning("", ""), None);
        assert_eq!(concerning("", "mysql.plugin,shop.t2"), None);
        assert_eq!(
            concerning("", "mysql.plugin,shop.t").unwrap(),
            "Replicate_Ignore_Table: mysql.plugin,shop.t"
        );
        assert_eq!(concerning("shop", "").unwrap(), "Replicate_Do_DB: shop");
    }
}
