//! When to stop: a soft stop inside a hard one.
//!
//! A soft stop means "begin nothing new, finish what is in flight"; a hard stop means "the time is
//! over, let go". The hard one follows a second signal, or the deadline after the soft one. A hard
//! stop always implies a soft one, so code that watches only for the soft one is never left behind.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a soft stop may take before it becomes a hard one, unless configured otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(10);

/// Tells every part of a service when to stop. Clones share one state.
#[derive(Clone, Debug)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
    deadline: Duration,
    /// Fixed at the first stop, so that every part counts the same remaining time.
    stopped_at: Arc<OnceLock<Instant>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new(DEFAULT_DEADLINE)
    }
}

impl Shutdown {
    /// A shutdown that has not begun, with `deadline` between its soft and its hard stop.
    pub fn new(deadline: Duration) -> Self {
        let hard = CancellationToken::new();
        Self {
            soft: hard.child_token(),
            hard,
            deadline,
            stopped_at: Arc::default(),
        }
    }

    /// Begins the soft stop. Calling it again changes nothing.
    pub fn stop(&self) {
        self.stopped_at.get_or_init(Instant::now);
        self.soft.cancel();
    }

    /// Begins the hard stop, and the soft one if it has not begun.
    pub fn stop_now(&self) {
        self.stopped_at.get_or_init(Instant::now);
        self.hard.cancel();
    }

    /// Whether a stop, soft or hard, has begun.
    pub fn is_stopping(&self) -> bool {
        self.soft.is_cancelled()
    }

    /// Completes when a stop, soft or hard, begins.
    pub async fn stopping(&self) {
        self.soft.cancelled().await;
    }

    /// Whether the hard stop has begun.
    pub fn is_stopping_now(&self) -> bool {
        self.hard.is_cancelled()
    }

    /// Completes when the hard stop begins.
    pub async fn stopping_now(&self) {
        self.hard.cancelled().await;
    }

    /// Runs `work` until it is done (`Some`) or a stop begins (`None`, and `work` is dropped).
    ///
    /// Only for work that may be dropped at any await: never a read whose answer would be lost.
    pub async fn run_until_stopping<F: Future>(&self, work: F) -> Option<F::Output> {
        self.soft.run_until_cancelled(work).await
    }

    /// Waits for `duration`; `false` if a stop began meanwhile.
    pub async fn sleep(&self, duration: Duration) -> bool {
        self.run_until_stopping(tokio::time::sleep(duration))
            .await
            .is_some()
    }

    /// The time between the soft and the hard stop.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// What is left of the deadline: all of it before a stop begins.
    pub fn remaining(&self) -> Duration {
        let spent = self.stopped_at.get().map_or(Duration::ZERO, Instant::elapsed);
        self.deadline.saturating_sub(spent)
    }

    /// A token cancelled by the soft stop, for code that takes one. Cancelling it stops nothing else.
    pub fn stopping_token(&self) -> CancellationToken {
        self.soft.child_token()
    }

    /// A token cancelled by the hard stop, for code that takes one. Cancelling it stops nothing else.
    pub fn stopping_now_token(&self) -> CancellationToken {
        self.hard.child_token()
    }

    /// Makes the hard stop follow the soft one after the deadline. Completes at the hard stop.
    pub(crate) async fn enforce_deadline(self) {
        self.stopping().await;
        if tokio::time::timeout(self.remaining(), self.stopping_now())
            .await
            .is_err()
        {
            tracing::warn!(
                deadline_ms = self.deadline.as_millis() as u64,
                "the shutdown deadline passed; cutting off what is still running"
            );
            self.stop_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_hard_stop_follows_the_soft_one_after_the_deadline() {
        let deadline = Duration::from_millis(50);
        let shutdown = Shutdown::new(deadline);
        let enforcer = tokio::spawn(shutdown.clone().enforce_deadline());
        let begun = Instant::now();
        shutdown.stop();
        assert!(shutdown.is_stopping() && !shutdown.is_stopping_now());
        shutdown.stopping_now().await;
        assert!(begun.elapsed() >= deadline);
        assert_eq!(shutdown.remaining(), Duration::ZERO);
        enforcer.await.expect("the enforcer ends at the hard stop");
    }

    #[tokio::test]
    async fn a_hard_stop_implies_a_soft_one_and_a_derived_token_stops_nothing_else() {
        let shutdown = Shutdown::default();
        shutdown.stopping_token().cancel();
        assert!(!shutdown.is_stopping());
        shutdown.stop_now();
        assert!(shutdown.is_stopping());
        assert!(!shutdown.sleep(Duration::from_mins(1)).await);
    }
}
