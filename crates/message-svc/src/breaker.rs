//! Keeps a lane from throwing its messages at a WhatsApp that does not answer, or refuses everything for now.
//!
//! A message that was certainly not sent comes back unharmed, but each one that times out becomes uncertain
//! and may need a person, and each refusal spends one of a message's attempts. So after the first refused
//! connection, a few lost answers in a row, or many refusals in a row, the lane sends single probes, each later
//! than the last, until one is answered. What is refused meanwhile keeps its attempts.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The wait before the first probe; it doubles with each one that fails.
const PROBE_AFTER: Duration = Duration::from_millis(100);
/// The longest wait between probes.
const PROBE_AFTER_MAX: Duration = Duration::from_secs(5);
/// Lost answers in a row that open the breaker: a single one is everyday life.
const LOST_IN_A_ROW: u32 = 5;
/// Transient refusals in a row that open it. Were every third message refused by itself, that would happen once
/// in ten thousand million.
const REFUSED_IN_A_ROW: u32 = 20;

/// One lane's breaker.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// None while closed.
    open: Option<Open>,
    lost_in_a_row: u32,
    refused_in_a_row: u32,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    /// Probes that failed in a row.
    failures: u32,
    next_probe: Instant,
    /// A probe is out. What fails while none is was under way before, and says nothing new.
    probing: bool,
}

/// How many messages may be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowance {
    /// As many as there are hands free.
    All,
    /// One.
    Probe,
    /// None for this long.
    Wait(Duration),
}

impl Breaker {
    pub(crate) fn allowance(&self, now: Instant) -> Allowance {
        match self.lock().open {
            None => Allowance::All,
            Some(open) if open.next_probe <= now => Allowance::Probe,
            Some(open) => Allowance::Wait(open.next_probe - now),
        }
    }

    /// A probe goes out: the next one waits, however this one ends.
    pub(crate) fn probing(&self, now: Instant) {
        if let Some(open) = &mut self.lock().open {
            open.next_probe = now + probe_after(open.failures.saturating_add(1));
            open.probing = true;
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().open.is_some()
    }

    /// WhatsApp answered, and not that it cannot now.
    pub(crate) fn answered(&self) {
        let mut state = self.lock();
        if state.open.is_some() || state.lost_in_a_row > 0 || state.refused_in_a_row > 0 {
            *state = State::default();
        }
    }

    /// WhatsApp answered that it cannot now.
    pub(crate) fn refused(&self, now: Instant) {
        let mut state = self.lock();
        state.lost_in_a_row = 0;
        state.refused_in_a_row = state.refused_in_a_row.saturating_add(1);
        if state.refused_in_a_row >= REFUSED_IN_A_ROW {
            state.fail(now);
        }
    }

    /// A message was certainly not sent.
    pub(crate) fn not_sent(&self, now: Instant) {
        self.lock().fail(now);
    }

    /// An answer was lost.
    pub(crate) fn lost(&self, now: Instant) {
        let mut state = self.lock();
        state.lost_in_a_row += 1;
        if state.lost_in_a_row >= LOST_IN_A_ROW {
            state.fail(now);
        }
    }

    /// Each change leaves the state whole, so a panic elsewhere leaves it right.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn fail(&mut self, now: Instant) {
        let failures = match self.open {
            None => 0,
            Some(open) if !open.probing => return,
            Some(open) => open.failures.saturating_add(1),
        };
        self.open = Some(Open {
            failures,
            next_probe: now + probe_after(failures),
            probing: false,
        });
    }
}

fn probe_after(failures: u32) -> Duration {
    PROBE_AFTER
        .saturating_mul(1 << failures.min(16))
        .min(PROBE_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refused_connection_leaves_only_probes_later_and_later() {
        let breaker = Breaker::default();
        let mut now = Instant::now();
        assert_eq!(breaker.allowance(now), Allowance::All);
        for _ in 0..256 {
            breaker.not_sent(now);
        }
        assert_eq!(
            breaker.allowance(now),
            Allowance::Wait(PROBE_AFTER),
            "a burst counts once"
        );
        let mut waits = Vec::new();
        for _ in 0..8 {
            let Allowance::Wait(wait) = breaker.allowance(now) else {
                panic!("a probe failed just now");
            };
            waits.push(wait.as_millis());
            now += wait;
            assert_eq!(breaker.allowance(now), Allowance::Probe);
            breaker.probing(now);
            assert!(
                matches!(breaker.allowance(now), Allowance::Wait(_)),
                "one at a time"
            );
            breaker.not_sent(now);
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        breaker.answered();
        assert_eq!(breaker.allowance(now), Allowance::All);
    }

    #[test]
    fn only_lost_answers_in_a_row_count() {
        let breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..3 {
            for _ in 1..LOST_IN_A_ROW {
                breaker.lost(now);
            }
            assert!(!breaker.is_open());
            breaker.answered();
        }
        for _ in 0..LOST_IN_A_ROW {
            breaker.lost(now);
        }
        assert!(breaker.is_open());
    }

    #[test]
    fn only_refusals_in_a_row_count_and_a_refused_probe_waits_longer() {
        let breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..3 {
            for _ in 1..REFUSED_IN_A_ROW {
                breaker.refused(now);
            }
            assert!(!breaker.is_open());
            breaker.answered();
        }
        for _ in 0..256 {
            breaker.refused(now);
        }
        assert_eq!(breaker.allowance(now), Allowance::Wait(PROBE_AFTER));
        breaker.probing(now + PROBE_AFTER);
        breaker.refused(now + PROBE_AFTER);
        assert_eq!(
            breaker.allowance(now + PROBE_AFTER),
            Allowance::Wait(2 * PROBE_AFTER)
        );
    }
}
