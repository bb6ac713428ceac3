//! Tokens for OAUTHBEARER, from a command.
//!
//! What the command prints is never shown, nor what it prints as errors: either may hold the token.

mod handed;

use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lakeward_core::{Clock, Error, ErrorKind, Result};
use rdkafka::client::OAuthToken;
use tracing::warn;

pub(crate) use handed::Handed;

/// How long the command may take.
const LIMIT: Duration = Duration::from_secs(15);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A program that prints a token and the time of its end.
struct TokenCommand(Vec<String>);

/// The tokens of a client: the last one is good until its end, also where the command fails meanwhile.
pub(super) struct Tokens {
    command: TokenCommand,
    last: Mutex<Option<OAuthToken>>,
}

/// A token that ends within this time is as good as none.
const REST: Duration = Duration::from_secs(5);

impl Tokens {
    pub(super) fn of(argv: Vec<String>) -> Self {
        Tokens { command: TokenCommand(argv), last: Mutex::new(None) }
    }

    /// A fresh token; where there is none, the last one for as long as it is good: the client asks again before its end.
    pub(super) fn current(&self, clock: &dyn Clock) -> Result<OAuthToken> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let error = match self.command.run(clock) {
            Ok(token) => {
                *last = Some(copy(&token));
                return Ok(token);
            }
            Err(error) => error,
        };
        match last.as_ref().filter(|token| ends_us(token) - REST.as_micros() as i64 > clock.unix_micros()) {
            Some(token) => {
                warn!(
                    "{error}; the token at hand is used until its end, and the command run again before that"
                );
                Ok(copy(token))
            }
            None => Err(error),
        }
    }
}

/// When it ends, in microseconds since 1970.
fn ends_us(token: &OAuthToken) -> i64 {
    token.lifetime_ms.saturating_mul(1000)
}

fn copy(token: &OAuthToken) -> OAuthToken {
    OAuthToken {
        token: token.token.clone(),
        principal_name: token.principal_name.clone(),
        lifetime_ms: token.lifetime_ms,
    }
}

impl TokenCommand {
    /// A fresh token.
    fn run(&self, clock: &dyn Clock) -> Result<OAuthToken> {
        let output = self.output(clock)?;
        let mut words = output.split_ascii_whitespace();
        let (token, end) = (words.next(), words.next().map(str::parse::<i64>));
        let (Some(token), Some(Ok(lifetime_ms)), None) = (token, end, words.next()) else {
            return Err(refused("does not print a token, a blank, and its end in milliseconds since 1970"));
        };
        if lifetime_ms.saturating_mul(1000) <= clock.unix_micros() {
            return Err(refused("prints a token that has ended"));
        }
        Ok(OAuthToken { token: token.to_owned(), principal_name: "lakeward".to_owned(), lifetime_ms })
    }

    fn output(&self, clock: &dyn Clock) -> Result<String> {
        let (program, arguments) = self.0.split_first().ok_or_else(|| refused("names no program"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| refused("cannot be started").caused_by(error))?;
        let begun = clock.elapsed();
        // A command that prints more than a pipe holds does not end, and runs into the limit.
        let status = loop {
            match child.try_wait().map_err(|error| refused("cannot be waited for").caused_by(error))? {
                Some(status) => break status,
                None if clock.elapsed().saturating_sub(begun) >= LIMIT => {
                    // Both may fail only where it has ended by now.
                    let _ended = child.kill().and_then(|()| child.wait());
                    return Err(refused("does not end in time"));
                }
                None => std::thread::sleep(LOOK),
            }
        };
        if !status.success() {
            return Err(refused("failed").at("status", status));
        }
        let mut output = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            std::io::Read::read_to_string(&mut stdout, &mut output)
                .map_err(|error| refused("prints something unreadable").at("error", error.kind()))?;
        }
        Ok(output)
    }
}

fn refused(what: &str) -> Error {
    Error::new(ErrorKind::KafkaAuth, format!("transport.kafka.sasl.token_command {what}"))
        .remedy("run the command by hand, under the account of this process")
}

#[cfg(test)]
mod tests {
    use lakeward_core::clock::{ManualClock, SystemClock};

    use super::*;

    fn shell(script: &str) -> TokenCommand {
        TokenCommand(["sh", "-c", script].map(str::to_owned).to_vec())
    }

    #[test]
    fn a_token_is_good_until_its_end_also_where_the_command_fails_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let fails = folder.path().join("fails");
        let script = format!("test ! -e {} && echo tok 60000", fails.display());
        let tokens = Tokens::of(["sh", "-c", &script].map(str::to_owned).to_vec());
        let clock = ManualClock::at(1_000_000);
        assert_eq!(tokens.current(&clock).unwrap().lifetime_ms, 60_000);
        std::fs::write(&fails, "").unwrap();
        clock.advance(Duration::from_secs(50));
        assert_eq!(tokens.current(&clock).unwrap().token, "tok");
        clock.advance(Duration::from_secs(7));
        assert!(tokens.current(&clock).is_err(), "it ends within seconds");
    }

    #[test]
    fn a_command_gives_a_token_and_its_end() {
        let token = shell("echo tok.en 5000").run(&ManualClock::at(1_000_000)).unwrap();
        assert_eq!((token.token.as_str(), token.lifetime_ms), ("tok.en", 5000));
    }

    #[test]
    fn a_command_that_fails_is_named_without_its_output() {
        for script in
            ["echo hunter2; exit 3", "echo hunter2", "echo hunter2 1 2", "echo hunter2 1", "nothing-like-it"]
        {
            let error = shell(script).run(&SystemClock::start()).map(|_| ()).unwrap_err();
            let text = error.to_string();
            assert_eq!(error.kind(), ErrorKind::KafkaAuth, "{text}");
            assert!(text.contains("token_command") && !text.contains("hunter2"), "{text}");
        }
    }
}
