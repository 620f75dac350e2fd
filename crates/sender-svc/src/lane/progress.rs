//! Whether a lane moves, for the readiness check: written where the progress is made.

use campaign_core::ids::LaneId;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A keeper walks at least every second, and a ledger looks more often; what is busy for longer says so.
const STILL_MAX: Duration = Duration::from_secs(15);

/// One lane's progress.
#[derive(Debug)]
pub(crate) struct Progress(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The keeper's last whole walk.
    walked: Instant,
    /// The ledger's last whole step.
    recorded: Instant,
    /// What stopped the keeper, the ledger or both last.
    trouble: Option<String>,
}

impl Progress {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(State {
            walked: now,
            recorded: now,
            trouble: None,
        }))
    }

    /// The keeper has done for every campaign what could be done.
    pub(crate) fn walked(&self, now: Instant) {
        self.lock().walked = now;
    }

    /// The ledger has applied what there was.
    pub(crate) fn recorded(&self, now: Instant) {
        self.lock().recorded = now;
    }

    /// Why the keeper or the ledger begins anew.
    pub(crate) fn failed(&self, why: &dyn std::fmt::Display) {
        self.lock().trouble = Some(why.to_string());
    }

    /// Why this lane does not move; nothing if it does.
    pub(crate) fn problem(&self, lane: &LaneId, now: Instant) -> Option<String> {
        let state = self.lock();
        let (part, since) = if state.walked <= state.recorded {
            ("nothing was fed", state.walked)
        } else {
            ("no outcome was recorded", state.recorded)
        };
        let still = now.saturating_duration_since(since);
        (still > STILL_MAX).then(|| {
            let why = state.trouble.as_deref().unwrap_or("the lane is being built");
            format!("lane {lane}: {part} for {} s; last: {why}", still.as_secs())
        })
    }

    /// Each change leaves the state whole, so a panic elsewhere leaves it right.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_stands_still_says_which_part_and_why() {
        let (lane, begun): (LaneId, _) = ("1".parse().expect("a lane"), Instant::now());
        let progress = Progress::new(begun);
        let later = begun + STILL_MAX + Duration::from_secs(1);
        assert_eq!(progress.problem(&lane, begun + STILL_MAX), None);
        progress.recorded(later);
        progress.failed(&"postgres: no answer");
        let problem = progress.problem(&lane, later).expect("the keeper stands still");
        assert_eq!(
            problem,
            "lane 1: nothing was fed for 16 s; last: postgres: no answer"
        );
        progress.walked(later);
        assert_eq!(progress.problem(&lane, later), None);
        let problem = progress.problem(&lane, later + STILL_MAX * 2);
        assert!(problem.is_some_and(|problem| problem.contains("30 s")));
    }
}
