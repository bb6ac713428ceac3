//! A second server that replicates the first, as replicas do: by GTID, over TCP.

use crate::mysql::MySql;
use crate::{LIMIT, wait_until};

impl MySql {
    /// Makes this server a replica of the one behind `port` (the server's own, or a proxy's) and starts
    /// receiving its log; with `apply`, also applying it.
    pub fn replicate(&self, port: u16, apply: bool) {
        let threads = if apply { "" } else { "IO_THREAD" };
        self.sql(&format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {port}, SOURCE_USER = 'root', \
             SOURCE_PASSWORD = '', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1;
             START REPLICA {threads}"
        ));
        wait_until("the replica to receive", LIMIT, || {
            let state =
                self.rows("SELECT service_state FROM performance_schema.replication_connection_status");
            (state.first()?.first()?.as_deref() == Some("ON")).then_some(())
        });
    }

    /// Waits until this replica has applied all that `source` has executed by now.
    pub fn wait_for_applied(&self, source: &MySql) {
        let executed = source.value("SELECT REPLACE(@@gtid_executed, '\n', '')");
        let statement = format!("SELECT GTID_SUBSET('{executed}', @@gtid_executed)");
        wait_until("the replica to apply", LIMIT, || (self.value(&statement) == "1").then_some(()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mysql::MySqlOptions;

    #[test]
    fn a_replica_has_what_its_source_has() {
        let source = MySql::start(MySqlOptions::default());
        source.sql("CREATE DATABASE a; CREATE TABLE a.t (id INT PRIMARY KEY); INSERT INTO a.t VALUES (7)");
        let replica = MySql::start(MySqlOptions::default());
        replica.replicate(source.port(), true);
        replica.wait_for_applied(&source);
        assert_eq!(replica.value("SELECT id FROM a.t"), "7");
    }
}
