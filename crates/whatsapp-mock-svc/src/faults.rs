//! What goes wrong, how often, and how slowly everything goes.
//!
//! One draw decides the fate of one request: the shares are laid side by side on `0.0..1.0`. A request
//! that met a fault draws anew when it comes again, so that retries can succeed.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::randomness::Lot;

/// Most error codes in one profile.
pub const MAX_ERROR_FAULTS: usize = 64;
/// Longest latency, jitter or slowness.
pub const MAX_DELAY_MS: u64 = 120_000;
/// Most messages whose faults are remembered; beyond it a repeated request may meet the same fault again.
const MAX_REMEMBERED: usize = 1_000_000;

/// Latency and faults; every share is in `0.0..=1.0` and together they are at most 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FaultProfile {
    /// Every answer waits this long.
    pub latency_ms: u64,
    /// And up to this much longer.
    pub jitter_ms: u64,
    /// Error codes as answers; the message is not accepted.
    pub errors: Vec<ErrorFault>,
    /// Share that is accepted and never answered.
    pub hang: f64,
    /// Share whose connection is reset without accepting.
    pub reset_before: f64,
    /// Share that is accepted, then the connection is reset without an answer.
    pub reset_after: f64,
    /// Share that is not accepted and answered with garbage.
    pub garbage_before: f64,
    /// Share that is accepted and answered with garbage.
    pub garbage_after: f64,
    /// Share that is accepted and answered after `slow_ms` more.
    pub slow: f64,
    /// How slow.
    pub slow_ms: u64,
    /// Share that is accepted and held for a quality assessment.
    pub held: f64,
}

/// One error code and how often it is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorFault {
    /// A code of Meta's table, or any other.
    pub code: i64,
    /// How often.
    pub share: f64,
    /// Sent as `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
    /// Sent in the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_transient: Option<bool>,
}

/// The fate of one request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    Error(ErrorFault),
    Hang,
    ResetBefore,
    ResetAfter,
    GarbageBefore,
    GarbageAfter,
    Slow(Duration),
    Held,
}

impl FaultProfile {
    /// Every field that is wrong: its name, what was wrong, what would be right.
    pub fn problems(&self) -> Vec<(String, String, &'static str)> {
        let mut problems = Vec::new();
        let mut sum = 0.0;
        let plain = self
            .plain_shares()
            .map(|(name, share, _)| (format!("/{name}"), share));
        let errors = self.errors.iter().enumerate();
        let errors = errors.map(|(index, error)| (format!("/errors/{index}/share"), error.share));
        for (field, share) in plain.into_iter().chain(errors) {
            if !(0.0..=1.0).contains(&share) {
                problems.push((field, share.to_string(), "a share from 0 to 1"));
            }
            sum += share;
        }
        // Sums of shares such as 0.1 are not exact.
        if sum > 1.0 + 1e-9 {
            problems.push((String::new(), format!("shares that sum up to {sum}"), "at most 1"));
        }
        if self.errors.len() > MAX_ERROR_FAULTS {
            let found = format!("{} error codes", self.errors.len());
            problems.push(("/errors".into(), found, "at most 64"));
        }
        for (name, delay_ms) in [
            ("latency_ms", self.latency_ms),
            ("jitter_ms", self.jitter_ms),
            ("slow_ms", self.slow_ms),
        ] {
            if delay_ms > MAX_DELAY_MS {
                problems.push((format!("/{name}"), delay_ms.to_string(), "at most 120000"));
            }
        }
        problems
    }

    /// How long this request's answer waits, whatever its fate.
    pub(crate) fn latency(&self, lot: Lot) -> Duration {
        const PURPOSE: u64 = 1;
        let jitter_us = lot.again(PURPOSE).below(self.jitter_ms * 1_000 + 1);
        Duration::from_micros(self.latency_ms * 1_000 + jitter_us)
    }

    fn draw(&self, lot: Lot) -> Fault {
        const PURPOSE: u64 = 2;
        let mut left = lot.again(PURPOSE).unit();
        for (_, share, fault) in self.plain_shares() {
            if left < share {
                return fault;
            }
            left -= share;
        }
        for error in &self.errors {
            if left < error.share {
                return Fault::Error(error.clone());
            }
            left -= error.share;
        }
        Fault::None
    }

    fn plain_shares(&self) -> [(&'static str, f64, Fault); 7] {
        [
            ("hang", self.hang, Fault::Hang),
            ("reset_before", self.reset_before, Fault::ResetBefore),
            ("reset_after", self.reset_after, Fault::ResetAfter),
            ("garbage_before", self.garbage_before, Fault::GarbageBefore),
            ("garbage_after", self.garbage_after, Fault::GarbageAfter),
            (
                "slow",
                self.slow,
                Fault::Slow(Duration::from_millis(self.slow_ms)),
            ),
            ("held", self.held, Fault::Held),
        ]
    }
}

/// Which requests met a fault before, so that they draw anew.
#[derive(Debug, Default)]
pub(crate) struct FaultMemory {
    attempts: HashMap<u64, u32>,
}

impl FaultMemory {
    /// Draws the fate of a request, anew each time the same request comes.
    pub(crate) fn draw(&mut self, profile: &FaultProfile, lot: Lot) -> Fault {
        let attempt = self.attempts.get(&lot.bits()).copied().unwrap_or(0);
        let fault = profile.draw(lot.again(u64::from(attempt)));
        if fault == Fault::None {
            self.attempts.remove(&lot.bits());
        } else if self.attempts.len() < MAX_REMEMBERED || attempt > 0 {
            self.attempts.insert(lot.bits(), attempt + 1);
        }
        fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_and_a_retry_can_succeed() {
        let profile = FaultProfile {
            hang: 0.1,
            errors: vec![ErrorFault {
                code: 131_000,
                share: 0.2,
                retry_after_s: None,
                is_transient: None,
            }],
            ..FaultProfile::default()
        };
        assert_eq!(profile.problems(), []);
        let mut memory = FaultMemory::default();
        let (mut hangs, mut errors, mut longest) = (0, 0, 0);
        for message in 0..10_000_u32 {
            let lot = Lot::of(1, &[&message.to_le_bytes()]);
            match memory.draw(&profile, lot) {
                Fault::Hang => hangs += 1,
                Fault::Error(_) => errors += 1,
                _ => {}
            }
            let tries = (1..100).find(|_| memory.draw(&profile, lot) == Fault::None);
            longest = longest.max(tries.expect("a retry succeeds at last"));
        }
        assert!((900..1_100).contains(&hangs), "{hangs}");
        assert!((1_850..2_150).contains(&errors), "{errors}");
        assert!(longest > 2 && memory.attempts.is_empty());
    }

    #[test]
    fn wrong_shares_are_all_named() {
        let profile = FaultProfile {
            hang: -0.1,
            slow: 0.9,
            held: 0.9,
            latency_ms: MAX_DELAY_MS + 1,
            ..FaultProfile::default()
        };
        let fields: Vec<_> = profile.problems().into_iter().map(|problem| problem.0).collect();
        assert_eq!(fields, ["/hang", "", "/latency_ms"]);
    }
}
