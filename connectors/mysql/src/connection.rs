//! Connections to the server: TLS, login, and what each failure means.
//!
//! Guarantees, and why they hold:
//! - Every connection has gone through [`connect`]: it alone builds the driver's options. The server
//!   is a supported one (asked before anything else) and the session's settings are read back.
//! - `verify-ca` and `verify-identity` verify. The driver's rustls verifier checks the chain in both
//!   and forgives one error only, a name that does not fit, in `verify-ca`; tests with a foreign
//!   authority, a foreign name and a server without TLS show it. Known limit: the driver trusts the
//!   public authorities beside `ca` and has no switch for it, so under `verify-ca`, which compares no
//!   names, a certificate of any public authority is accepted too; `verify-identity` closes that.
//! - No secret is in an error: the driver's messages hold the account's name and the server's text,
//!   never the password; answers that cannot be read are named by their query, not by their content.
//! - A dead link is noticed: reads time out after `read_timeout`, and an idle stream has heartbeats.

mod meaning;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lakeward_core::{Error, ErrorKind, Period, Result, Secret};
use mysql::{ClientIdentity, Conn, DriverError, OptsBuilder, SslOpts};

use crate::config::{MysqlConfig, TlsMode};
use crate::server::Version;
use crate::session;
pub use meaning::failure;
use meaning::io_cause;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Questions about the server and its catalog.
    Questions,
    /// The binlog stream.
    Stream,
    /// Rows that are in the tables.
    Chunks,
}

impl Purpose {
    fn program_name(self) -> &'static str {
        match self {
            Purpose::Questions => "lakeward",
            Purpose::Stream => "lakeward-stream",
            Purpose::Chunks => "lakeward-snapshot",
        }
    }

    /// A question about a large catalog may take longer than the heartbeats of a stream are apart.
    fn read_timeout(self, config: &MysqlConfig) -> Duration {
        match self {
            Purpose::Questions | Purpose::Chunks => config.read_timeout.0.max(Duration::from_secs(60)),
            Purpose::Stream => config.read_timeout.0,
        }
    }
}

/// Connects, logs in, refuses servers that are not supported, and applies the session settings.
pub fn connect(config: &MysqlConfig, purpose: Purpose) -> Result<Conn> {
    config.check("source.mysql")?;
    let password = password(config)?;
    let plain = options(config, purpose, password.as_ref());
    let mut conn = match tls_options(config)? {
        None => Conn::new(plain),
        Some(tls) => match Conn::new(plain.clone().ssl_opts(tls)) {
            Err(mysql::Error::DriverError(DriverError::TlsNotSupported))
                if config.tls.mode == TlsMode::Preferred =>
            {
                Conn::new(plain)
            }
            other => other,
        },
    }
    .map_err(|error| login_failure(error, config))?;
    let version = Version::read(&mut conn)?;
    session::apply(&mut conn, &version)?;
    Ok(conn)
}

fn options(config: &MysqlConfig, purpose: Purpose, password: Option<&Secret>) -> OptsBuilder {
    let packet = usize::try_from(config.max_event.0).unwrap_or(usize::MAX);
    OptsBuilder::new()
        .ip_or_hostname(Some(&config.host))
        .tcp_port(config.port)
        .user(Some(&config.user))
        .pass(password.map(Secret::reveal))
        // The driver would change to a Unix socket on loopback, past TLS.
        .prefer_socket(false)
        .tcp_connect_timeout(Some(config.connect_timeout.0))
        .read_timeout(Some(purpose.read_timeout(config)))
        .write_timeout(Some(purpose.read_timeout(config)))
        .tcp_keepalive_time_ms(Some(30_000))
        // An event's packet is a few bytes longer than the event.
        .max_allowed_packet(Some(packet.saturating_add(64).min(1 << 30)))
        .stmt_cache_size(0)
        .enable_cleartext_plugin(config.password_command.is_some() && config.tls.mode.demands_tls())
        .connect_attrs(Some(std::collections::HashMap::from([("program_name", purpose.program_name())])))
}

fn tls_options(config: &MysqlConfig) -> Result<Option<SslOpts>> {
    let tls = &config.tls;
    let (any_certificate, any_name) = match tls.mode {
        TlsMode::Disabled => return Ok(None),
        TlsMode::Preferred | TlsMode::Required => (true, true),
        TlsMode::VerifyCa => (false, true),
        TlsMode::VerifyIdentity => (false, false),
    };
    // The driver reports a missing file like a broken link; it is named here instead.
    for (key, path) in [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)] {
        if let Some(path) = path {
            std::fs::File::open(path).map_err(|error| {
                Error::new(ErrorKind::Config, format!("source.mysql.tls.{key} cannot be read"))
                    .at("file", path.display())
                    .remedy("name a file that is there, and let this account read it")
                    .caused_by(error)
            })?;
        }
    }
    let identity = tls.cert.clone().zip(tls.key.clone()).map(|(cert, key)| ClientIdentity::new(cert, key));
    Ok(Some(
        SslOpts::default()
            .with_root_cert_path(tls.ca.clone())
            .with_client_identity(identity)
            .with_danger_accept_invalid_certs(any_certificate)
            .with_danger_skip_domain_validation(any_name),
    ))
}

/// The password, fresh from `password_command` where that is set.
fn password(config: &MysqlConfig) -> Result<Option<Secret>> {
    match &config.password_command {
        Some(argv) => command_output(argv, config.connect_timeout).map(Some),
        None => Ok(config.password.clone()),
    }
}

/// What the command prints, without the end of its last line. Its error output is not shown: it may
/// hold the secret.
fn command_output(argv: &[String], limit: Period) -> Result<Secret> {
    let refused = |what: String| {
        Error::new(ErrorKind::SourceAuth, format!("source.mysql.password_command {what}"))
            .remedy("run the command by hand, under the account of this process")
    };
    let (program, arguments) = argv.split_first().ok_or_else(|| refused("names no program".into()))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| refused(format!("cannot be started ({error})")))?;
    // A command that prints more than a pipe holds does not end, and runs into the limit.
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| refused(format!("cannot be waited for ({error})")))? {
            Some(status) => break status,
            None if start.elapsed() >= limit.0 => {
                // Both may fail only where it has ended by now.
                let _ended = child.kill().and_then(|()| child.wait());
                return Err(refused(format!("did not end within {limit}")));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    if !status.success() {
        return Err(refused(format!("ended with {status}")));
    }
    let mut output = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        std::io::Read::read_to_string(&mut stdout, &mut output)
            .map_err(|error| refused(format!("printed something unreadable ({})", error.kind())))?;
    }
    let password = output.strip_suffix('\n').unwrap_or(&output);
    let password = password.strip_suffix('\r').unwrap_or(password);
    match password.is_empty() {
        true => Err(refused("printed nothing".into())),
        false => Ok(Secret::new(password)),
    }
}

/// What a failure to connect means.
fn login_failure(error: mysql::Error, config: &MysqlConfig) -> Error {
    let place = format!("{}:{}", config.host, config.port);
    // rustls hands its verdicts on as I/O errors of this kind.
    if let Some(io) = io_cause(&error)
        && io.kind() == std::io::ErrorKind::InvalidData
    {
        return tls_failure(&io.to_string(), config).at("server", place);
    }
    let answered = matches!(error, mysql::Error::MySqlError(_));
    let found = failure(error, "login").at("server", place);
    match found.kind() {
        ErrorKind::SourceAuth => {
            let found = found.at("account", format!("'{}'@<this host>", config.user));
            match &config.password {
                Some(password) if is_like_variable(password.reveal()) => found.remedy(
                    "the password looks like the name of a variable, and is taken as it is: the value of one is \
                     written `${env:NAME}`",
                ),
                Some(_) | None => found.remedy(
                    "check user and password; the account must exist for the host this process comes from: \
                     SELECT user, host, plugin FROM mysql.user",
                ),
            }
        }
        ErrorKind::SourceUnreachable if !answered => found
            .remedy("look at host and port, and whether a firewall or security group lets this machine in"),
        ErrorKind::SourceTls => {
            found.remedy("turn TLS on at the server, or set source.mysql.tls.mode to preferred or disabled")
        }
        _ => found,
    }
}

/// Whether a shell would take the text for a variable, as `$MYSQL_PASSWORD`.
fn is_like_variable(text: &str) -> bool {
    text.strip_prefix('$').is_some_and(|name| {
        name.starts_with(|first: char| first.is_ascii_uppercase() || first == '_')
            && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    })
}

fn tls_failure(text: &str, config: &MysqlConfig) -> Error {
    let error = Error::new(ErrorKind::SourceTls, format!("the TLS connection was refused: {text}"));
    if text.contains("UnknownIssuer") || text.contains("BadSignature") {
        return error.remedy(match &config.tls.ca {
            Some(ca) => format!(
                "set source.mysql.tls.ca to the authority of the server's certificate; {} is another one",
                ca.display()
            ),
            None => "set source.mysql.tls.ca to the authority of the server's certificate".to_owned(),
        });
    }
    if text.contains("not valid for name") || text.contains("NotValidForName") {
        return error.remedy(format!(
            "the certificate does not name {}: use a host name it holds, or tls.mode verify-ca",
            config.host
        ));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn config(password: &str) -> MysqlConfig {
        serde_json::from_value(serde_json::json!({ "host": "db", "user": "u", "password": password }))
            .unwrap()
    }

    #[test]
    fn a_server_that_does_not_answer_has_a_remedy_and_one_that_is_full_has_not_that() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = login_failure(refused.into(), &config("x"));
        assert_eq!(error.kind(), ErrorKind::SourceUnreachable);
        assert!(error.remedy_text().unwrap().contains("host and port"), "{error}");
        let full =
            mysql::MySqlError { state: "08004".into(), message: "Too many connections".into(), code: 1040 };
        assert!(login_failure(full.into(), &config("x")).remedy_text().is_none());
    }

    #[test]
    fn a_password_that_is_a_variables_name_is_told_and_not_shown() {
        let denied =
            || mysql::MySqlError { state: "28000".into(), message: "Access denied".into(), code: 1045 };
        let remedy = |password: &str| {
            let error = login_failure(denied().into(), &config(password));
            assert!(!error.to_string().contains(password), "{error}");
            error.remedy_text().unwrap().to_owned()
        };
        assert!(remedy("$MYSQL_PASSWORD").contains("${env:NAME}"));
        for password in ["$ecret-4711", "hunter2", "$4X"] {
            assert!(remedy(password).contains("mysql.user"), "{password}");
        }
    }

    #[test]
    fn a_password_command_gives_its_last_line_without_the_line_end() {
        let output = command_output(&argv("printf 'tok en\\r\\n'"), Period::secs(5)).unwrap();
        assert_eq!(output.reveal(), "tok en");
    }

    #[test]
    fn a_password_command_that_fails_is_named_without_its_output() {
        for (script, word) in [
            ("echo hunter2; echo hunter2 >&2; exit 3", "exit status: 3"),
            ("true", "nothing"),
            ("sleep 5", "within"),
        ] {
            let error = command_output(&argv(script), Period(Duration::from_millis(200))).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
            assert_eq!(error.kind(), ErrorKind::SourceAuth);
        }
        let error = command_output(&["/nonexistent/program".to_owned()], Period::secs(1)).unwrap_err();
        assert!(error.to_string().contains("cannot be started"), "{error}");
    }
}
