//! Requests that stand in the sink, read beside the loop: a slow or failing store delays them only.

use std::pin::Pin;
use std::time::Duration;

use lakeward_core::{Request, Result, Sink, Source};
use tracing::warn;

/// The next reading, under way.
pub(super) struct Standing {
    reading: Pin<Box<dyn Future<Output = Result<Vec<Request>>> + Send>>,
    pause: Duration,
}

impl Standing {
    /// Reads after `pause`; the source began with those of now.
    pub(super) fn after(pause: Duration, sink: &impl Sink) -> Self {
        let reading = sink.requests();
        let reading = Box::pin(async move {
            tokio::time::sleep(pause).await;
            reading.await
        });
        Standing { reading, pause }
    }

    /// Waits for the reading; may be dropped and called again.
    pub(super) async fn read(&mut self) -> Result<Vec<Request>> {
        self.reading.as_mut().await
    }

    /// Hands over what was read, and reads again. To fail concerns nobody but those who asked.
    pub(super) fn hand_over(
        &mut self,
        read: Result<Vec<Request>>,
        sink: &impl Sink,
        source: &mut impl Source,
    ) {
        match read {
            Ok(standing) => source.requests(standing),
            Err(error) => {
                warn!(kind = error.kind().name(), "requests cannot be read; trying again: {error}");
            }
        }
        *self = Standing::after(self.pause, sink);
    }
}
