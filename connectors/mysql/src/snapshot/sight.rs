//! What a SELECT sees, and how that is known: by GTID sets, or under a lock for an instant. The
//! argument is told in [`super::window`].

use std::sync::Arc;
use std::time::Duration;

use lakeward_core::{Error, ErrorKind, GtidSet, Result, TableId};
use uuid::Uuid;

use super::SnapshotLock;
use super::chunks::Common;
use super::filters::Filters;
use super::link::{Described, Lag, Link, Seen, named};
use super::read::{Trouble, needs_lock, trouble};
use crate::session::run;
use crate::source::decoder::Halt;
use crate::source::decoder::reading::Ticket;

/// How long a replica may take to have the first of what the source's log had when it was first asked.
const LINEAGE_LIMIT: Duration = Duration::from_secs(60);

/// Time between two words about a server that does not come to have what its log, or its source's, has.
const WORD: Duration = Duration::from_secs(60);

/// Time after which a server that does not come to have it is connected to anew: behind a name or a proxy may
/// be another one by now, and the link is still to the one before.
const RELINK: Duration = Duration::from_secs(10);

/// A SELECT may see everything that the stream had yielded.
pub(crate) enum Opened {
    /// Sets tell: what was seen is known when it is over.
    BySets,
    /// A consistent view is open, of a known place.
    View(Seen),
}

/// The connections of a thread.
pub(crate) struct Sight {
    common: Arc<Common>,
    link: Option<Link>,
    /// To the source, beside a replica, or to hold a lock.
    source: Option<Link>,
    /// The server whose log the stream read when the links were opened.
    server: Option<Uuid>,
    /// The replica was seen to have the source's transactions.
    lineage_proved: bool,
    /// Of the replica.
    filters: Filters,
}

impl Sight {
    pub(crate) fn new(common: Arc<Common>) -> Sight {
        Sight {
            common,
            link: None,
            source: None,
            server: None,
            lineage_proved: false,
            filters: Filters::default(),
        }
    }

    /// The connection on which rows are read, if there is one.
    pub(crate) fn reading_link(&mut self) -> Option<&mut Link> {
        self.link.as_mut()
    }

    /// The connections are of no use any more.
    pub(crate) fn drop_links(&mut self) {
        self.link = None;
        self.source = None;
    }

    /// Another server's log is read now: what links there are may be to the one before.
    pub(crate) fn follow(&mut self, ticket: &Ticket) {
        if self.server.replace(ticket.server).is_some_and(|server| server != ticket.server) {
            self.drop_links();
        }
    }

    /// The connection on which rows are read, after [`Sight::open`] or [`Sight::lock`].
    pub(crate) fn link(&mut self) -> Result<&mut Link> {
        self.link.as_mut().ok_or_else(|| Error::new(ErrorKind::Bug, "no connection to read on"))
    }

    /// Sees to it that what follows sees all that the stream had yielded.
    pub(crate) fn open(&mut self, ticket: &Ticket) -> Result<Opened, Trouble> {
        let Some(yielded) = &ticket.yielded else {
            self.may_lock(ticket, "the server has no GTIDs")?;
            return self.lock(ticket).map(Opened::View);
        };
        if self.link.is_none() {
            self.relink()?;
        }
        self.wait_for(yielded, self.common.options.replica.is_some())?;
        Ok(Opened::BySets)
    }

    fn relink(&mut self) -> Result<()> {
        let Common { options, source, .. } = &*self.common;
        let mut link = Link::open(options.replica.as_ref().unwrap_or(source))?;
        if options.replica.is_some() {
            self.filters = link.filters()?;
        }
        self.link = Some(link);
        Ok(())
    }

    fn wait_for(&mut self, yielded: &GtidSet, is_replica: bool) -> Result<(), Trouble> {
        let begun = self.common.clock.elapsed();
        let (mut told, mut linked) = (Duration::ZERO, Duration::ZERO);
        while !self.link()?.wait_for(yielded, 1)? {
            if self.common.turns.has_ended() {
                return Err(Halt::Closed.into());
            }
            let waited = self.common.clock.elapsed().saturating_sub(begun);
            if waited.saturating_sub(linked) >= RELINK {
                linked = waited;
                self.relink()?;
            }
            if waited.saturating_sub(told) >= WORD {
                told = waited;
                self.tell_of_wait(yielded, is_replica)?;
            }
            if is_replica && !self.lineage_proved && waited > LINEAGE_LIMIT {
                self.prove_lineage(yielded)?;
            }
        }
        self.lineage_proved = true;
        Ok(())
    }

    /// Numbers of transactions are unique: a server that executed one of the source's has its rows from there, however
    /// late it is. One that has none of them may never have any.
    fn prove_lineage(&mut self, yielded: &GtidSet) -> Result<()> {
        let (has, _) = self.link()?.executed()?;
        self.lineage_proved = has.intersects(yielded);
        if self.lineage_proved {
            return Ok(());
        }
        let lacks = yielded.count();
        let message =
            format!("snapshot.replica has none of the source's transactions: it lacks {lacks}, {yielded}");
        Err(Error::new(ErrorKind::SourceLineage, message)
            .remedy("name a replica of this source, let it catch up, or take snapshot.replica out"))
    }

    /// The table as the catalog has it where its rows are read; `None` if it is not there.
    pub(crate) fn describe(&mut self, table: &TableId) -> Result<Option<Described>, Trouble> {
        let Some(described) = self.link()?.describe(table)? else { return Ok(None) };
        if self.common.options.replica.is_some() {
            self.refuse_filtered(table)?;
            self.refuse_another_structure(table, &described)?;
        }
        Ok(Some(described))
    }

    fn refuse_filtered(&self, table: &TableId) -> Result<()> {
        let Some(filter) = self.filters.concerning(table) else { return Ok(()) };
        let message = "snapshot.replica has filters that may leave changes of the table out";
        Err(Error::new(ErrorKind::SourceSetting, message).of_table(table).at("filter", filter).remedy(format!(
            "take snapshot.replica out, or name one that was made without filters (SHOW REPLICA STATUS has them); \
             then lakeward resume {table}"
        )))
    }

    /// What rows are read with becomes the structure of the table ([`crate::source::decoder`]), whatever the stream
    /// says later: so it must be the source's.
    fn refuse_another_structure(&mut self, table: &TableId, described: &Described) -> Result<(), Trouble> {
        if self.is_of_source(table, described)? {
            return Ok(());
        }
        // It may have been altered at the source since the replica was asked.
        let (has, _) = self.source()?.logged()?;
        self.wait_for(&has, true)?;
        let now = self.link()?.describe(table)?;
        if now.is_none_or(|now| now.structure != described.structure) {
            return Err(Trouble::Moved("its structure is another one now".to_owned()));
        }
        if self.is_of_source(table, described)? {
            return Ok(());
        }
        let message = "snapshot.replica has another structure of the table than the source";
        Err(Trouble::NotYet(Error::new(ErrorKind::SourceSetting, message).of_table(table).remedy(format!(
            "take snapshot.replica out, or give it the source's structure (it was altered there alone, or its channel \
             has REQUIRE_TABLE_PRIMARY_KEY_CHECK = GENERATE); then lakeward resume {table}"
        ))))
    }

    fn is_of_source(&mut self, table: &TableId, described: &Described) -> Result<bool, Trouble> {
        let there = self.source()?.describe(table)?;
        Ok(there.is_some_and(|there| there.structure.is_alike(&described.structure)))
    }

    /// A replica without a table of the source knows the names of its transactions all the same, where its
    /// filters leave the table out: that the table is not there says nothing then.
    pub(crate) fn refuse_replica_without(&mut self, table: &TableId) -> Result<(), Trouble> {
        if self.common.options.replica.is_none() || self.source()?.describe(table)?.is_none() {
            return Ok(());
        }
        // It may have been made at the source since the replica was asked.
        let (has, _) = self.source()?.logged()?;
        self.wait_for(&has, true)?;
        let error = Error::new(ErrorKind::SourceSetting, "snapshot.replica lacks the table");
        Err(Trouble::NotYet(error.of_table(table).remedy(format!(
            "let it replicate the table (its filters are in SHOW REPLICA STATUS), or take snapshot.replica out; \
             then lakeward resume {table}"
        ))))
    }

    /// Rows wait for a server that may stand still.
    fn tell_of_wait(&mut self, yielded: &GtidSet, is_replica: bool) -> Result<()> {
        let link = self.link()?;
        let (has, _) = link.executed()?;
        let lag = if is_replica { link.replica_lag()? } else { Lag::Untold };
        let lacks = yielded.minus(&has).count();
        let who = if is_replica { "snapshot.replica" } else { "the server" };
        tracing::warn!(
            lacks,
            ?lag,
            "rows wait for {who} to execute transactions that were read from the log"
        );
        Ok(())
    }

    /// What was seen since [`Sight::open`].
    pub(crate) fn close(&mut self, opened: Opened) -> Result<Seen, Trouble> {
        match opened {
            Opened::View(seen) => {
                run(&mut self.link()?.conn, "COMMIT")?;
                // The structure was described after the view was opened: what altered it since is covered, too.
                Ok(Seen { at_us: seen.at_us, ..self.source()?.end_of_log()? })
            }
            Opened::BySets => {
                let (seen, at_us) = match self.common.options.replica {
                    None => self.link()?.logged()?,
                    Some(_) => {
                        let (seen, at_us) = self.link()?.executed()?;
                        // The stream yields what the source has; a replica may have more.
                        let (has, _) = self.source()?.logged()?;
                        (seen.minus(&seen.minus(&has)), at_us)
                    }
                };
                Ok(Seen { covered: super::link::Covered::Gtids(seen), at_us })
            }
        }
    }

    /// Refuses a table that cannot be read without a lock, where none may be taken.
    pub(crate) fn may_lock(&self, ticket: &Ticket, why: &str) -> Result<()> {
        match self.common.options.lock {
            SnapshotLock::Tables => Ok(()),
            SnapshotLock::None => Err(needs_lock(why, &ticket.table)),
        }
    }

    /// Opens a consistent view of the source, of a known place in the log as far as the table goes. The
    /// table is locked against writers for that instant.
    pub(crate) fn lock(&mut self, ticket: &Ticket) -> Result<Seen, Trouble> {
        /// `ER_NO_SUCH_TABLE`, `ER_BAD_DB_ERROR`: there is nothing to lock.
        const MISSING: [u16; 2] = [1146, 1049];
        /// `ER_LOCK_WAIT_TIMEOUT`.
        const WAITED: u16 = 1205;
        // A view is of the server whose log is read, whatever replica there is.
        self.link = Some(Link::open(&self.common.source)?);
        let lock = format!("LOCK TABLES {} READ", named(&ticket.table));
        let locked = mysql::prelude::Queryable::query_drop(&mut self.source()?.conn, &lock);
        match locked {
            Err(mysql::Error::MySqlError(error)) if MISSING.contains(&error.code) => {}
            Err(mysql::Error::MySqlError(error)) if error.code == WAITED => {
                return Err(Trouble::Later("a transaction holds the table, so it cannot be locked"));
            }
            Err(error) => {
                return Err(match trouble(error, &lock) {
                    Trouble::Failed(error) if error.kind() == ErrorKind::SourceGrant => error
                        .of_table(&ticket.table)
                        .remedy(format!("GRANT LOCK TABLES ON {}.* TO the account", ticket.table.database))
                        .into(),
                    other => other,
                });
            }
            Ok(()) => {}
        }
        // Should anything fail, the connection is dropped, and the lock with it.
        let seen = self.source()?.end_of_log()?;
        run(&mut self.link()?.conn, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")?;
        run(&mut self.source()?.conn, "UNLOCK TABLES")?;
        Ok(seen)
    }

    /// The connection to the source itself.
    pub(crate) fn source(&mut self) -> Result<&mut Link> {
        if self.source.is_none() {
            self.source = Some(Link::open(&self.common.source)?);
        }
        self.source.as_mut().ok_or_else(|| Error::new(ErrorKind::Bug, "no connection to the source"))
    }
}
