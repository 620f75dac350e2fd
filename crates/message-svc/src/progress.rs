//! Whether a lane makes progress, for the readiness check: written where the progress is made.

use campaign_core::ids::LaneId;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Redis may fail for so long.
const FAILING_MAX: Duration = Duration::from_secs(5);
/// A lane's owner has so long to admit this instance.
const OUTSIDE_MAX: Duration = Duration::from_secs(30);
/// Messages may be in hand for so long without a single answer from WhatsApp.
const UNANSWERED_MAX: Duration = Duration::from_secs(30);

/// One lane's progress.
#[derive(Debug)]
pub(crate) struct Progress(Mutex<Since>);

/// Since when something is not as it should be.
#[derive(Debug)]
struct Since {
    takes_failing: Option<Instant>,
    settles_failing: Option<Instant>,
    outside: Option<Instant>,
    unanswered: Option<Instant>,
    /// Why the last message could not be sent at all.
    unsent_because: String,
}

impl Progress {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(Since {
            takes_failing: None,
            settles_failing: None,
            outside: Some(now),
            unanswered: None,
            unsent_because: String::new(),
        }))
    }

    pub(crate) fn take_answered(&self, member: bool, now: Instant) {
        let mut since = self.lock();
        since.takes_failing = None;
        if member {
            since.outside = None;
        } else {
            since.outside.get_or_insert(now);
        }
    }

    pub(crate) fn take_failed(&self, now: Instant) {
        self.lock().takes_failing.get_or_insert(now);
    }

    pub(crate) fn settle_answered(&self) {
        self.lock().settles_failing = None;
    }

    pub(crate) fn settle_failed(&self, now: Instant) {
        self.lock().settles_failing.get_or_insert(now);
    }

    /// There is something to send.
    pub(crate) fn has_work(&self, now: Instant) {
        self.lock().unanswered.get_or_insert(now);
    }

    /// A message could not be sent at all: no connection, a certificate that nobody trusts.
    pub(crate) fn not_sent(&self, reason: &str) {
        let mut since = self.lock();
        since.unsent_because.clear();
        since.unsent_because.push_str(reason);
    }

    /// WhatsApp answered, or there is nothing to send.
    pub(crate) fn is_answered(&self) {
        let mut since = self.lock();
        since.unanswered = None;
        since.unsent_because.clear();
    }

    /// Why this lane is not making progress; nothing if it is.
    pub(crate) fn problem(&self, lane: &LaneId, now: Instant) -> Option<String> {
        let since = self.lock();
        let longer_than = |begun: Option<Instant>, most: Duration| {
            begun
                .map(|begun| now.saturating_duration_since(begun))
                .filter(|elapsed| *elapsed > most)
                .map(|elapsed| elapsed.as_secs())
        };
        if let Some(seconds) = longer_than(since.takes_failing, FAILING_MAX) {
            return Some(format!("lane {lane}: nothing could be taken for {seconds} s"));
        }
        if let Some(seconds) = longer_than(since.settles_failing, FAILING_MAX) {
            return Some(format!(
                "lane {lane}: outcomes could not be written for {seconds} s"
            ));
        }
        if let Some(seconds) = longer_than(since.outside, OUTSIDE_MAX) {
            return Some(format!("lane {lane}: not admitted by its owner for {seconds} s"));
        }
        let seconds = longer_than(since.unanswered, UNANSWERED_MAX)?;
        let mut problem = format!("lane {lane}: WhatsApp has answered nothing for {seconds} s");
        if !since.unsent_because.is_empty() {
            problem.push_str("; last: ");
            problem.push_str(&since.unsent_because);
        }
        Some(problem)
    }

    /// Each change is one assignment, so a panic elsewhere leaves it right.
    fn lock(&self) -> MutexGuard<'_, Since> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_stall_is_told_after_its_time_and_no_longer_than_it_lasts() {
        let lane: LaneId = "5511".parse().expect("a lane");
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let progress = Progress::new(start);
        let says = |seconds, words: &str| {
            let problem = progress.problem(&lane, at(seconds)).unwrap_or_default();
            let as_expected = if words.is_empty() {
                problem.is_empty()
            } else {
                problem.contains(words)
            };
            assert!(as_expected, "{seconds} s: {problem:?}");
        };
        says(30, "");
        says(31, "not admitted");
        progress.take_answered(true, at(31));
        says(31, "");
        progress.take_failed(at(40));
        progress.take_failed(at(44));
        says(45, "");
        says(46, "nothing could be taken");
        progress.take_answered(true, at(46));
        progress.settle_failed(at(50));
        says(56, "outcomes could not be written");
        progress.settle_answered();
        progress.has_work(at(60));
        progress.has_work(at(80));
        says(90, "");
        says(91, "WhatsApp has answered nothing for 31 s");
        progress.not_sent("no connection");
        progress.not_sent("invalid peer certificate");
        says(91, "for 31 s; last: invalid peer certificate");
        progress.is_answered();
        says(200, "");
    }
}
