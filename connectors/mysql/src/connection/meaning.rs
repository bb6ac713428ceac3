//! What each failure of the driver, and each answer of the server, means for the run.
//!
//! Guarantee: what speaks of the moment is tried again, and under the words of a server that cannot be reached; what
//! asking again would not change stops what it is about.

use lakeward_core::error::ANEW;
use lakeward_core::{Error, ErrorKind};
use mysql::DriverError;

/// What the driver's error means. `doing` is the statement or step, and holds no secret.
pub fn failure(error: mysql::Error, doing: &str) -> Error {
    let (kind, message) = match &error {
        mysql::Error::MySqlError(answer) => {
            let text = format!("the server answered: {} (error {})", answer.message, answer.code);
            return match answer.code {
                1236 => dump_refusal(&answer.message, text),
                code => Error::new(kind_of_code(code), text),
            }
            .at("doing", doing);
        }
        mysql::Error::IoError(_) | mysql::Error::CodecError(_) => link_failure(&error),
        mysql::Error::DriverError(driver) => driver_failure(driver),
        mysql::Error::UrlError(url) => (ErrorKind::Config, format!("the server's address is wrong: {url}")),
        mysql::Error::TlsError(tls) => (ErrorKind::SourceTls, format!("TLS cannot be set up: {tls}")),
        mysql::Error::FromValueError(_) | mysql::Error::FromRowError(_) => {
            (ErrorKind::SourceUnsupported, "the server's answer has an unexpected form".to_owned())
        }
    };
    Error::new(kind, message).at("doing", doing)
}

/// The I/O error inside, which the driver also wraps as a failure of its packet codec.
pub(super) fn io_cause(error: &mysql::Error) -> Option<&std::io::Error> {
    match error {
        mysql::Error::IoError(io) => Some(io),
        mysql::Error::CodecError(codec) => std::error::Error::source(codec)?.downcast_ref(),
        _ => None,
    }
}

fn link_failure(error: &mysql::Error) -> (ErrorKind, String) {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    let text = error.to_string();
    match io_cause(error) {
        // Which of the two a read timeout gives depends on the platform.
        Some(io) if matches!(io.kind(), WouldBlock | TimedOut) => {
            (ErrorKind::SourceUnreachable, "the server said nothing within the read timeout".to_owned())
        }
        Some(io) => (ErrorKind::SourceUnreachable, format!("the connection failed: {io}")),
        None if text.contains("larger than max_allowed_packet") => {
            (ErrorKind::EventTooLarge, "a packet is larger than source.mysql.max_event".to_owned())
        }
        None => (ErrorKind::SourceUnreachable, format!("the connection is out of step: {text}")),
    }
}

fn driver_failure(error: &DriverError) -> (ErrorKind, String) {
    let kind = match error {
        DriverError::TlsNotSupported => {
            return (ErrorKind::SourceTls, "the server offers no TLS".to_owned());
        }
        DriverError::PacketTooLarge => {
            return (ErrorKind::EventTooLarge, "a packet is larger than source.mysql.max_event".to_owned());
        }
        DriverError::UnknownAuthPlugin(_)
        | DriverError::OldMysqlPasswordDisabled
        | DriverError::CleartextPluginDisabled
        | DriverError::InvalidParsecSalt => ErrorKind::SourceAuth,
        DriverError::UnsupportedProtocol(_)
        | DriverError::Protocol41NotSet
        | DriverError::CouldNotParseVersion => ErrorKind::SourceUnsupported,
        DriverError::ConnectTimeout
        | DriverError::CouldNotConnect(_)
        | DriverError::PacketOutOfSync
        | DriverError::UnexpectedPacket
        | DriverError::SetupError
        | DriverError::Timeout => ErrorKind::SourceUnreachable,
        DriverError::MismatchedStmtParams(..)
        | DriverError::InvalidPoolConstraints
        | DriverError::ReadOnlyTransNotSupported
        | DriverError::PoisonedPoolMutex
        | DriverError::Params(_)
        | DriverError::MixedParams
        | DriverError::BulkExecute(_) => ErrorKind::Bug,
    };
    (kind, error.to_string())
}

/// Server error codes (MySQL manual, "Server Error Message Reference"). Codes that speak of the
/// moment are retried; the others stop, as asking again gives the same answer.
fn kind_of_code(code: u16) -> ErrorKind {
    match code {
        // Access denied (three forms), host not allowed, plugins, expired, locked, TLS demanded; plugins, as a client
        // knows them.
        1045 | 1698 | 1130 | 1251 | 1524 | 1820 | 1862 | 2049 | 2058..=2061 | 3118 | 3159 | 3878 | 3955 => {
            ErrorKind::SourceAuth
        }
        // Access denied to database, table, column, routine, operation; SHOW DATABASES.
        1044 | 1142 | 1143 | 1227 | 1370 => ErrorKind::SourceGrant,
        // More data than the packet limit.
        1153 => ErrorKind::EventTooLarge,
        // Disks, memory, threads, prepared statements: used up, and free again when others end, or when more is allowed.
        1021 | 1037 | 1038 | 1114 | 1135 | 1461 => ErrorKind::SourceUnreachable,
        // A client's codes: a proxy's, about its own link to the server.
        2000..=2999 => ErrorKind::SourceUnreachable,
        // Too many connections, shutdown, killed, timeouts, deadlock, network, blocked host, offline.
        1040
        | 1041
        | 1043
        | 1053
        | 1077
        | 1079
        | 1080
        | 1129
        | 1152..=1161
        | 1184
        | 1203
        | 1205
        | 1213
        | 1226
        | 1317
        | 1927
        | 3024
        | 3032
        | 3168
        | 3169
        | 4031 => ErrorKind::SourceUnreachable,
        _ => ErrorKind::SourceUnsupported,
    }
}

/// Error 1236 is everything the server's dump thread can say; its text alone tells the cases apart
/// (texts of MySQL 8.0 to 9.7, `sql/rpl_binlog_sender.cc`).
fn dump_refusal(message: &str, text: String) -> Error {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&["max_allowed_packet"]) {
        return Error::new(ErrorKind::EventTooLarge, text);
    }
    if says(&["purged", "Could not find first log file", "could not find next log", "position > file size"]) {
        return Error::new(ErrorKind::PositionLost, text).remedy(
            "restore the binlogs at the server, or read all tables anew (snapshot.mode: when_needed)",
        );
    }
    if says(&["more GTIDs", "rolled back"]) {
        return Error::new(ErrorKind::SourceLineage, text)
            .remedy(format!("connect to the server that was read before, or begin anew: {ANEW}"));
    }
    if says(&["anonymous transaction", "GTID_MODE"]) {
        return Error::new(ErrorKind::SourceSetting, text).remedy(
            "while gtid_mode is not ON, start again: the stream goes on by file and offset. Where it is ON again, \
             transactions without GTIDs lie behind the position: read all tables anew (snapshot.mode: when_needed)",
        );
    }
    if says(&["same server_uuid", "same server_id", "has connected to the"]) {
        return Error::new(ErrorKind::SourceUnreachable, text)
            .remedy("another reader uses this server_id: set source.mysql.server_id to a free one");
    }
    if says(&["Binary log is not open"]) {
        return Error::new(ErrorKind::SourceSetting, text).remedy("start the server with log_bin");
    }
    Error::new(ErrorKind::CorruptEvent, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_an_operator_must_mend() {
        for (kind, codes) in [
            (ErrorKind::SourceUnreachable, &[1021, 1037, 1038, 1040, 1114, 1135, 1205, 1461, 3032, 4031][..]),
            (ErrorKind::SourceUnreachable, &[2002, 2003, 2006, 2013, 2026, 2055][..]),
            (ErrorKind::SourceAuth, &[1045, 1130, 2049, 2059, 2061, 3118][..]),
            (ErrorKind::SourceGrant, &[1044, 1142, 1227][..]),
            (ErrorKind::EventTooLarge, &[1153][..]),
            (ErrorKind::SourceUnsupported, &[1064, 1193, 3000][..]),
        ] {
            for code in codes {
                assert_eq!(kind_of_code(*code), kind, "{code}");
            }
        }
    }

    #[test]
    fn the_dump_threads_words_are_told_apart() {
        for (message, kind) in [
            ("Cannot replicate because the source purged required binary logs.", ErrorKind::PositionLost),
            ("Could not find first log file name in binary log index file", ErrorKind::PositionLost),
            (
                "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on source",
                ErrorKind::EventTooLarge,
            ),
            (
                "Replica has more GTIDs than the source has, using the source's SERVER_UUID.",
                ErrorKind::SourceLineage,
            ),
            (
                "A replica with the same server_uuid/server_id as this replica has connected to the source",
                ErrorKind::SourceUnreachable,
            ),
            (
                "Cannot replicate anonymous transaction when AUTO_POSITION = 1, at file ./binlog.000003, position 198.",
                ErrorKind::SourceSetting,
            ),
            (
                "The replication sender thread cannot start in AUTO_POSITION mode: this server has \
                 GTID_MODE = OFF_PERMISSIVE instead of ON.",
                ErrorKind::SourceSetting,
            ),
            (
                "binlog truncated in the middle of event; consider out of disk space on source",
                ErrorKind::CorruptEvent,
            ),
        ] {
            assert_eq!(dump_refusal(message, message.to_owned()).kind(), kind, "{message}");
        }
    }
}
