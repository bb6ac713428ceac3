//! Keys that the source asks for, read from the sink beside the loop: one question at a time.

use std::pin::Pin;
use std::time::Duration;

use lakeward_core::error::Policy;
use lakeward_core::{KeysAsked, LivingKeys, Result, Sink, Source};

/// How often a reading that is under way is told to be alive. Its requests give up by themselves.
pub(super) const LOOK: Duration = Duration::from_secs(1);

type Reading = Pin<Box<dyn Future<Output = Result<LivingKeys>> + Send>>;

/// The reading that is under way, if one is.
#[derive(Default)]
pub(super) struct KeyReading(Option<(u64, Reading)>);

impl KeyReading {
    /// Begins to read; a question from before is answered no more.
    pub(super) fn ask(&mut self, asked: KeysAsked, sink: &impl Sink) {
        self.0 = Some((asked.id, Box::pin(sink.keys(asked))));
    }

    /// Whether one is under way.
    pub(super) fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Waits for the answer; may be dropped and called again. Never ready where nothing is asked.
    pub(super) async fn read(&mut self) -> (u64, Result<LivingKeys>) {
        let Some((asked, reading)) = &mut self.0 else { return std::future::pending().await };
        let (asked, answer) = (*asked, reading.as_mut().await);
        self.0 = None;
        (asked, answer)
    }
}

/// Hands over an answer. What concerns the one table is the source's to settle; any other error is the
/// run's.
pub(super) fn hand_over(asked: u64, answer: Result<LivingKeys>, source: &mut impl Source) -> Result<()> {
    match answer {
        Err(error) if error.policy() != Policy::StopTable => Err(error),
        answer => {
            source.keys(asked, answer);
            Ok(())
        }
    }
}
