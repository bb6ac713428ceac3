//! What an event means where it stands: the state machine of transactions in the log.
//!
//! ```text
//! Between --GTID--> Announced --BEGIN | XA START | CREATE … START TRANSACTION--> Open
//! Announced --other statement (DDL), XA COMMIT, XA ROLLBACK--> Between
//! Open --XID | COMMIT | ROLLBACK | XA PREPARE | XA COMMIT … ONE PHASE--> Between
//! ```
//! (Servers without GTID events go from Between as from Announced.) Guarantee: `Between` is reached
//! only by an event that ends a transaction, so a boundary made there never cuts one. Every pair of
//! state and event that the log cannot hold is `CorruptEvent`, not ignored. Rows that the log itself
//! takes back (ROLLBACK, ROLLBACK TO, which the server writes only for mixed engines) are told to the
//! caller, who has handed them on already.

use lakeward_core::error::ANEW;
use lakeward_core::{Error, ErrorKind, Gtid, GtidSet, Result};

use super::event::{Event, EventType, Role, Rotate};
use super::gtid_event::{GtidEvent, previous_gtids};
use super::query::Query;
use crate::ddl::{Statement, Transaction as Control, Xa, XaVerb};

/// The transaction that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// Its GTID, where the server has them.
    pub gtid: Option<Gtid>,
    /// Commit time, µs UTC.
    pub commit_us: i64,
    /// The xid of an XA transaction, as the log writes it; its outcome is not known yet.
    pub xa: Option<String>,
    /// `server_id` of the server where it began.
    pub server_id: u32,
    /// The thread of its first statement; `None` before that is seen.
    pub thread: Option<u32>,
}

/// What an event means.
#[derive(Debug)]
pub enum Step<'a> {
    /// Nothing for the caller.
    Nothing,
    /// A benign event of this name was passed over.
    PassedOver(&'static str),
    /// The stream goes on there.
    Rotate {
        /// Where.
        to: Rotate,
        /// The server says where it stands, at the beginning of a dump or a file; otherwise the log
        /// itself says where it goes on.
        artificial: bool,
    },
    /// All transactions before this file.
    PreviousGtids(GtidSet),
    /// The server has nothing more at the moment.
    Heartbeat,
    /// A table map.
    TableMap(Event<'a>),
    /// Row changes.
    Rows(Event<'a>),
    /// A statement.
    Statement {
        /// Its text and session.
        query: Query<'a>,
        /// What it does.
        statement: Statement,
        /// It is a transaction of its own, which ends here.
        whole: bool,
    },
    /// A compressed transaction: its events go through [`Assembler::accept_inner`], then
    /// [`Assembler::payload_ended`].
    Payload(&'a [u8]),
    /// The rows since a savepoint (all of the transaction's at most) are void.
    RolledBackTo,
    /// The transaction ends; its rows are void.
    RolledBack,
    /// The transaction ends here.
    Ended,
    /// The XA transaction ends here, and waits for a later one that decides it.
    Prepared,
    /// The transaction ends here; it decides the prepared one of this xid.
    Decided {
        /// As in [`Transaction::xa`].
        xid: String,
        /// Its rows are visible from here on; otherwise they never are.
        committed: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Between,
    Announced,
    Open,
}

/// The state machine.
#[derive(Debug)]
pub struct Assembler {
    state: State,
    transaction: Transaction,
    /// Partition by the commit time on the server where a transaction began.
    original_commit_time: bool,
    /// The server stores names in lower case.
    lower_case_names: bool,
}

impl Assembler {
    /// Begins between two transactions.
    pub fn new(original_commit_time: bool, lower_case_names: bool) -> Self {
        let transaction = Transaction::default();
        Assembler { state: State::Between, transaction, original_commit_time, lower_case_names }
    }

    /// Whether no transaction is open.
    pub fn is_between(&self) -> bool {
        self.state == State::Between
    }

    /// Whether a transaction is open, beyond a statement that is one by itself.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// The open transaction, or the one that just ended.
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// Forgets an open transaction: the stream was opened anew at its beginning.
    pub fn reset(&mut self) {
        self.state = State::Between;
    }

    /// Takes an event of the stream.
    pub fn accept<'a>(&mut self, event: Event<'a>) -> Result<Step<'a>> {
        self.step(event, false)
    }

    /// Takes an event of a compressed transaction.
    pub fn accept_inner<'a>(&mut self, event: Event<'a>) -> Result<Step<'a>> {
        self.step(event, true)
    }

    /// A compressed transaction has no more events.
    pub fn payload_ended(&self) -> Result<()> {
        match self.state {
            State::Between => Ok(()),
            State::Announced | State::Open => Err(corrupt("a compressed transaction without an end")),
        }
    }

    fn step<'a>(&mut self, event: Event<'a>, inner: bool) -> Result<Step<'a>> {
        use EventType as T;
        let header = event.header;
        match header.role() {
            Role::Refused => return Err(refused(&event)),
            Role::Benign => return Ok(Step::PassedOver(header.name())),
            Role::Acted => {}
        }
        let Some(ty) = header.event_type() else { return Err(refused(&event)) };
        if inner && !may_be_inner(ty) {
            return Err(corrupt(format!("a {} event inside a compressed transaction", ty.name())));
        }
        match ty {
            T::Rotate | T::FormatDescription => {
                // On a reconnect the server says again where it is: artificial, between transactions.
                if self.state != State::Between {
                    return Err(corrupt(format!("a transaction is cut off by a {} event", ty.name())));
                }
                match ty {
                    T::Rotate => Ok(Step::Rotate {
                        to: Rotate::parse(event.body)?,
                        artificial: header.is_artificial(),
                    }),
                    _ => Ok(Step::Nothing),
                }
            }
            T::PreviousGtids => Ok(Step::PreviousGtids(previous_gtids(event.body)?)),
            T::Heartbeat | T::HeartbeatV2 => Ok(Step::Heartbeat),
            T::Gtid => self.announce(&event, GtidEvent::parse(event.body, false)?),
            T::AnonymousGtid => self.announce(&event, GtidEvent::parse(event.body, true)?),
            T::GtidTagged => self.announce(&event, GtidEvent::parse_tagged(event.body)?),
            T::Query => self.query(&event, Query::parse(event.body)?),
            T::ExecuteLoadQuery => {
                self.must_be_open(ty)?;
                let query = Query::parse_load(event.body)?;
                let statement = query.statement(self.lower_case_names);
                Ok(Step::Statement { query, statement, whole: false })
            }
            T::TableMap => {
                self.must_be_open(ty)?;
                Ok(Step::TableMap(event))
            }
            T::WriteRowsV1
            | T::UpdateRowsV1
            | T::DeleteRowsV1
            | T::WriteRows
            | T::UpdateRows
            | T::DeleteRows
            | T::PartialUpdateRows => {
                self.must_be_open(ty)?;
                Ok(Step::Rows(event))
            }
            T::Xid => {
                self.must_be_open(ty)?;
                Ok(self.end(Step::Ended))
            }
            T::XaPrepare => {
                self.must_be_open(ty)?;
                // Its first byte says that the commit is in the same step (`XA COMMIT … ONE PHASE`).
                match event.body.first() {
                    Some(0) => Ok(self.end(Step::Prepared)),
                    Some(_) => Ok(self.end(Step::Ended)),
                    None => Err(corrupt("an empty XA_PREPARE event")),
                }
            }
            T::TransactionPayload => match self.state {
                State::Open => Err(corrupt("a compressed transaction inside a transaction")),
                State::Between | State::Announced => Ok(Step::Payload(event.body)),
            },
            T::Unknown
            | T::StartV3
            | T::Stop
            | T::IntVar
            | T::Load
            | T::Slave
            | T::CreateFile
            | T::AppendBlock
            | T::ExecLoad
            | T::DeleteFile
            | T::NewLoad
            | T::Rand
            | T::UserVar
            | T::BeginLoadQuery
            | T::PreGaWriteRows
            | T::PreGaUpdateRows
            | T::PreGaDeleteRows
            | T::Incident
            | T::Ignorable
            | T::RowsQuery
            | T::TransactionContext
            | T::ViewChange => Err(refused(&event)),
        }
    }

    fn announce<'a>(&mut self, event: &Event<'a>, gtid: GtidEvent) -> Result<Step<'a>> {
        if self.state != State::Between {
            return Err(corrupt("a transaction begins inside another"));
        }
        let chosen = match self.original_commit_time {
            true => gtid.original_commit_us,
            false => gtid.immediate_commit_us,
        };
        let commit_us = chosen.unwrap_or_else(|| seconds(event));
        let server_id = event.header.server_id;
        self.transaction = Transaction { gtid: gtid.gtid, commit_us, xa: None, server_id, thread: None };
        self.state = State::Announced;
        Ok(Step::Nothing)
    }

    fn query<'a>(&mut self, event: &Event<'a>, query: Query<'a>) -> Result<Step<'a>> {
        let statement = query.statement(self.lower_case_names);
        if self.state == State::Between {
            // A server without GTID events (5.5, or a file of one).
            let (commit_us, server_id) = (seconds(event), event.header.server_id);
            self.transaction = Transaction { gtid: None, commit_us, xa: None, server_id, thread: None };
            self.state = State::Announced;
        }
        self.transaction.thread = Some(query.thread);
        let open = self.state == State::Open;
        let misplaced = || Err(corrupt(format!("`{}` is out of place", query.sql)));
        match statement {
            Statement::Transaction(Control::Begin) | Statement::Xa(Xa { verb: XaVerb::Start, .. })
                if open =>
            {
                Err(corrupt("a transaction begins inside another"))
            }
            Statement::Transaction(Control::Begin) => Ok(self.opened(Step::Nothing)),
            Statement::Transaction(_) if !open => misplaced(),
            Statement::Transaction(Control::Commit) => Ok(self.end(Step::Ended)),
            Statement::Transaction(Control::Rollback) => Ok(self.end(Step::RolledBack)),
            Statement::Transaction(Control::RollbackToSavepoint) => Ok(Step::RolledBackTo),
            Statement::Transaction(Control::Savepoint | Control::ReleaseSavepoint) => Ok(Step::Nothing),
            Statement::Xa(xa) => match xa.verb {
                XaVerb::Start => {
                    self.transaction.xa = Some(xa.xid);
                    Ok(self.opened(Step::Nothing))
                }
                XaVerb::End if open => Ok(Step::Nothing),
                XaVerb::End => misplaced(),
                XaVerb::Prepare => Ok(self.end(Step::Prepared)),
                XaVerb::Commit | XaVerb::Rollback if open => Ok(self.end(Step::Ended)),
                XaVerb::Commit => Ok(self.end(Step::Decided { xid: xa.xid, committed: true })),
                XaVerb::Rollback => Ok(self.end(Step::Decided { xid: xa.xid, committed: false })),
            },
            Statement::Tables { opens_transaction: true, .. } if !open => {
                Ok(self.opened(Step::Statement { query, statement, whole: false }))
            }
            Statement::Rows { .. }
            | Statement::Tables { .. }
            | Statement::DropDatabase(_)
            | Statement::Database
            | Statement::Harmless(_)
            | Statement::Unparsed { .. } => {
                if !open {
                    self.state = State::Between;
                }
                Ok(Step::Statement { query, statement, whole: !open })
            }
        }
    }

    fn opened<'a>(&mut self, step: Step<'a>) -> Step<'a> {
        self.state = State::Open;
        step
    }

    fn end<'a>(&mut self, step: Step<'a>) -> Step<'a> {
        self.state = State::Between;
        step
    }

    fn must_be_open(&self, ty: EventType) -> Result<()> {
        match self.state {
            State::Open => Ok(()),
            State::Between | State::Announced => {
                Err(corrupt(format!("a {} event outside of a transaction", ty.name())))
            }
        }
    }
}

/// Events that the server puts into a compressed transaction (all that a transaction may hold, but
/// for what frames it).
fn may_be_inner(ty: EventType) -> bool {
    use EventType as T;
    !matches!(
        ty,
        T::Rotate
            | T::FormatDescription
            | T::PreviousGtids
            | T::Heartbeat
            | T::HeartbeatV2
            | T::Gtid
            | T::AnonymousGtid
            | T::GtidTagged
            | T::TransactionPayload
    )
}

fn seconds(event: &Event<'_>) -> i64 {
    i64::from(event.header.timestamp) * 1_000_000
}

fn corrupt(how: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::CorruptEvent, format!("the log is out of order: {how}"))
}

fn refused(event: &Event<'_>) -> Error {
    let code = event.header.code;
    match event.header.event_type() {
        Some(EventType::Incident) => {
            let text = event.body.get(3..).map(|text| String::from_utf8_lossy(text).into_owned());
            Error::new(
                ErrorKind::UnsupportedEvent,
                format!(
                    "the server reports that changes are missing from its log: {}",
                    text.unwrap_or_default()
                ),
            )
            .remedy(format!("begin anew, after this position: {ANEW}"))
        }
        Some(ty) => {
            Error::new(ErrorKind::UnsupportedEvent, format!("an event of type {} ({code})", ty.name()))
        }
        None => Error::new(ErrorKind::UnsupportedEvent, format!("an event of the unknown type {code}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binlog::sample;

    fn run(assembler: &mut Assembler, code: u8, body: &[u8]) -> Result<String> {
        let bytes = sample::event(code, body);
        let event = Event::inner(&bytes)?;
        Ok(match assembler.accept(event)? {
            Step::Nothing => "nothing".into(),
            Step::TableMap(_) => "map".into(),
            Step::Rows(_) => "rows".into(),
            Step::Statement { query, whole: false, .. } => format!("statement {}", query.sql),
            Step::Statement { query, whole: true, .. } => format!("whole {}", query.sql),
            step => format!("{step:?}"),
        })
    }

    fn sql(assembler: &mut Assembler, text: &str) -> Result<String> {
        run(assembler, 2, &sample::query("d", text, 0))
    }

    fn gtid(assembler: &mut Assembler) -> Result<String> {
        let mut body = vec![0; 17];
        body.extend(1u64.to_le_bytes());
        run(assembler, 33, &body)
    }

    #[test]
    fn transactions_open_and_end() {
        let mut a = Assembler::new(false, false);
        for end in ["xid", "COMMIT"] {
            gtid(&mut a).unwrap();
            assert!(!a.is_between());
            sql(&mut a, "BEGIN").unwrap();
            assert_eq!(run(&mut a, 19, &[]).unwrap(), "map");
            assert_eq!(run(&mut a, 30, &[]).unwrap(), "rows");
            assert_eq!(sql(&mut a, "SAVEPOINT `a`").unwrap(), "nothing");
            assert_eq!(sql(&mut a, "ROLLBACK TO `a`").unwrap(), "RolledBackTo");
            let ended = if end == "xid" { run(&mut a, 16, &[0; 8]) } else { sql(&mut a, end) };
            assert_eq!(ended.unwrap(), "Ended");
            assert!(a.is_between());
        }
    }

    #[test]
    fn ddl_is_a_transaction_of_its_own_and_a_filled_create_is_not() {
        let mut a = Assembler::new(false, false);
        gtid(&mut a).unwrap();
        assert_eq!(sql(&mut a, "ALTER TABLE t ADD c INT").unwrap(), "whole ALTER TABLE t ADD c INT");
        assert!(a.is_between());
        gtid(&mut a).unwrap();
        let create = "CREATE TABLE `t` (\n `a` int\n) START TRANSACTION";
        assert_eq!(sql(&mut a, create).unwrap(), format!("statement {create}"));
        assert!(!a.is_between());
        assert_eq!(run(&mut a, 16, &[0; 8]).unwrap(), "Ended");
        let comment = "CREATE TABLE t (a int) COMMENT 'START TRANSACTION'";
        assert_eq!(sql(&mut a, comment).unwrap(), format!("whole {comment}"));
    }

    #[test]
    fn xa_transactions_are_known_as_such_and_decided_by_their_xid() {
        let mut a = Assembler::new(false, false);
        let xid = "X'31' , X'' , 1";
        for (one_phase, ended) in [(0, "Prepared"), (1, "Ended")] {
            gtid(&mut a).unwrap();
            sql(&mut a, "XA START X'31',X'',1").unwrap();
            assert_eq!(a.transaction().xa.as_deref(), Some(xid));
            sql(&mut a, "XA END X'31',X'',1").unwrap();
            assert_eq!(run(&mut a, 38, &[one_phase]).unwrap(), ended);
        }
        for (verb, committed) in [("COMMIT", true), ("ROLLBACK", false)] {
            gtid(&mut a).unwrap();
            let decided = format!("Decided {{ xid: {xid:?}, committed: {committed} }}");
            assert_eq!(sql(&mut a, &format!("XA {verb} X'31',X'',1")).unwrap(), decided);
            assert_eq!(a.transaction().xa, None);
            assert!(a.is_between());
        }
    }

    #[test]
    fn what_cannot_stand_there_is_corrupt() {
        let mut a = Assembler::new(false, false);
        for (code, body) in [(19, vec![]), (30, vec![]), (16, vec![0; 8]), (38, vec![])] {
            assert_eq!(run(&mut a, code, &body).unwrap_err().kind(), ErrorKind::CorruptEvent, "{code}");
        }
        gtid(&mut a).unwrap();
        assert_eq!(gtid(&mut a).unwrap_err().kind(), ErrorKind::CorruptEvent);
        sql(&mut a, "BEGIN").unwrap();
        assert!(sql(&mut a, "BEGIN").is_err());
        assert!(run(&mut a, 4, &[4, 0, 0, 0, 0, 0, 0, 0, b'f']).is_err(), "a rotation inside a transaction");
        assert!(run(&mut a, 40, &[]).is_err());
    }

    #[test]
    fn an_incident_stops_with_its_text() {
        let mut a = Assembler::new(false, false);
        let error = run(&mut a, 26, b"\x01\x00\x0clost events").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedEvent);
        assert!(error.to_string().contains("lost events"), "{error}");
    }
}
