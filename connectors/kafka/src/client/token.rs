//! Tokens for OAUTHBEARER, from a command.
//!
//! What the command prints is never shown, nor what it prints as errors: either may hold the token.

use std::process::{Command, Stdio};
use std::time::Duration;

use lakeward_core::{Clock, Error, ErrorKind, Result};
use rdkafka::client::OAuthToken;

/// How long the command may take.
const LIMIT: Duration = Duration::from_secs(15);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// A program that prints a token and the time of its end.
#[derive(Clone, Debug)]
pub(super) struct TokenCommand(Vec<String>);

impl TokenCommand {
    pub(super) fn new(argv: Vec<String>) -> Self {
        TokenCommand(argv)
    }

    /// A fresh token.
    pub(super) fn run(&self, clock: &dyn Clock) -> Result<OAuthToken> {
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
        TokenCommand::new(["sh", "-c", script].map(str::to_owned).to_vec())
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
