//! The request to stop, as every part of the loop sees it.

use std::time::Duration;

use tokio::sync::watch;

/// Asks a run to stop.
#[derive(Clone)]
pub struct Stopper(watch::Sender<bool>);

/// Sees the request.
#[derive(Clone)]
pub struct Stop(watch::Receiver<bool>);

/// A request that was not made yet. Without its [`Stopper`] it never is.
pub fn stop_signal() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Makes the request; once is enough.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// Whether it was made.
    pub fn requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for it.
    pub async fn wait(&mut self) {
        if self.0.wait_for(|requested| *requested).await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits for it, and `grace` longer.
    pub async fn overdue(&mut self, grace: Duration) {
        self.wait().await;
        tokio::time::sleep(grace).await;
    }
}
