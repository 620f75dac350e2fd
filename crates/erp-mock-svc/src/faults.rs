//! Faults on demand: how `GET /v1/customers` misbehaves, repeatable by seed.

use crate::population::fault_dice;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Longest delay, in milliseconds.
pub const MAX_SLOW_MS: u64 = 60_000;

/// Which share of the requests meets which fault. Shares are from 0 to 1; those of the exclusive faults
/// (all but `slow`) add up to at most 1.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultPlan {
    /// Decides which requests are hit: the same seed hits the same ones, counted from when the plan was set.
    pub seed: u64,
    /// After so many requests everything is well again; not given: never.
    pub next_n: Option<u64>,
    /// Answered 429 without `Retry-After`.
    pub rate_limited_share: f64,
    /// Answered 429 with `Retry-After`.
    pub rate_limited_with_retry_after_share: f64,
    /// What that `Retry-After` says, in seconds.
    pub retry_after_s: u16,
    /// Answered 500.
    pub server_error_share: f64,
    /// Answered with a page whose JSON breaks off in the middle.
    pub truncated_share: f64,
    /// Answered with the page before, which leads back to the same cursor. First pages are spared.
    pub repeated_page_share: f64,
    /// Answered as if the cursor had expired. First pages are spared.
    pub expired_cursor_share: f64,
    /// Answered late, and then as the other shares decide.
    pub slow_share: f64,
    /// How late, in milliseconds.
    pub slow_ms: u64,
}

/// What happens to a request instead of a good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 429, with this `Retry-After` in seconds or without.
    RateLimited(Option<u16>),
    /// 500.
    ServerError,
    /// JSON that breaks off.
    Truncated,
    /// The page before once more.
    RepeatedPage,
    /// 410.
    ExpiredCursor,
}

/// How one request fares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fate {
    /// How long it waits first.
    pub delay: Duration,
    /// What happens instead of a good answer.
    pub fault: Option<Fault>,
}

impl FaultPlan {
    fn exclusive(&self) -> [(&'static str, f64, Fault); 6] {
        [
            (
                "rate_limited_share",
                self.rate_limited_share,
                Fault::RateLimited(None),
            ),
            (
                "rate_limited_with_retry_after_share",
                self.rate_limited_with_retry_after_share,
                Fault::RateLimited(Some(self.retry_after_s)),
            ),
            ("server_error_share", self.server_error_share, Fault::ServerError),
            ("truncated_share", self.truncated_share, Fault::Truncated),
            (
                "repeated_page_share",
                self.repeated_page_share,
                Fault::RepeatedPage,
            ),
            (
                "expired_cursor_share",
                self.expired_cursor_share,
                Fault::ExpiredCursor,
            ),
        ]
    }

    /// Everything that is wrong with it: field, what was found, what would be right.
    pub fn problems(&self) -> Vec<(&'static str, String, String)> {
        let exclusive = self.exclusive().map(|(field, share, _)| (field, share));
        let mut problems: Vec<_> = exclusive
            .into_iter()
            .chain([("slow_share", self.slow_share)])
            .filter(|(_, share)| !(0.0..=1.0).contains(share))
            .map(|(field, share)| (field, share.to_string(), "a share from 0 to 1".to_owned()))
            .collect();
        let sum: f64 = exclusive.iter().map(|(_, share)| share).sum();
        // Sums of decimal fractions may be a little above 1.
        if problems.is_empty() && sum > 1.0 + 1e-9 {
            let expected = "shares (without slow_share) that add up to at most 1".to_owned();
            problems.push(("", format!("a sum of {sum}"), expected));
        }
        if self.slow_ms > MAX_SLOW_MS {
            problems.push((
                "slow_ms",
                self.slow_ms.to_string(),
                format!("at most {MAX_SLOW_MS}"),
            ));
        }
        problems
    }

    /// How the request number `n` since the plan was set fares.
    pub fn fate(&self, n: u64) -> Fate {
        if self.next_n.is_some_and(|next_n| n >= next_n) {
            return Fate::default();
        }
        let mut dice = fault_dice(self.seed, n);
        let delay = if dice.fraction() < self.slow_share {
            self.slow_ms
        } else {
            0
        };
        let mut left = dice.fraction();
        let fault = self.exclusive().into_iter().find_map(|(_, share, fault)| {
            left -= share;
            (left < 0.0).then_some(fault)
        });
        Fate {
            delay: Duration::from_millis(delay),
            fault,
        }
    }
}

/// The plan in force.
#[derive(Debug, Default)]
pub struct Faults(Mutex<(FaultPlan, u64)>);

impl Faults {
    /// Puts a plan in force; its count of requests starts at 0.
    pub fn set(&self, plan: FaultPlan) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (plan, 0);
    }

    /// The plan in force, and how many requests it has seen.
    pub fn get(&self) -> (FaultPlan, u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How the next request fares.
    pub fn next(&self) -> Fate {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (plan, seen) = &mut *guard;
        *seen += 1;
        plan.fate(*seen - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_out_and_are_repeatable() {
        let plan = FaultPlan {
            truncated_share: 0.2,
            server_error_share: 0.1,
            slow_share: 0.5,
            slow_ms: 3,
            ..FaultPlan::default()
        };
        let fates: Vec<_> = (0..10_000).map(|n| plan.fate(n)).collect();
        let count = |fault| fates.iter().filter(|fate| fate.fault == Some(fault)).count();
        assert!((1_800..2_200).contains(&count(Fault::Truncated)));
        assert!((900..1_100).contains(&count(Fault::ServerError)));
        assert_eq!(count(Fault::RateLimited(None)), 0);
        let slow = fates
            .iter()
            .filter(|fate| fate.delay == Duration::from_millis(3))
            .count();
        assert!((4_800..5_200).contains(&slow));
        assert_eq!(fates, (0..10_000).map(|n| plan.fate(n)).collect::<Vec<_>>());
    }

    #[test]
    fn a_plan_ends_after_next_n() {
        let faults = Faults::default();
        faults.set(FaultPlan {
            server_error_share: 1.0,
            next_n: Some(2),
            ..FaultPlan::default()
        });
        let seen = [faults.next().fault, faults.next().fault, faults.next().fault];
        assert_eq!(seen, [Some(Fault::ServerError), Some(Fault::ServerError), None]);
        assert_eq!(faults.get().1, 3);
    }

    #[test]
    fn impossible_plans_have_problems() {
        let fields = |plan: FaultPlan| {
            plan.problems()
                .into_iter()
                .map(|(field, ..)| field)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            fields(FaultPlan {
                truncated_share: 1.1,
                slow_share: -0.1,
                ..FaultPlan::default()
            }),
            ["truncated_share", "slow_share"]
        );
        assert_eq!(
            fields(FaultPlan {
                truncated_share: 0.6,
                server_error_share: 0.6,
                ..FaultPlan::default()
            }),
            [""]
        );
        assert_eq!(
            fields(FaultPlan {
                slow_ms: MAX_SLOW_MS + 1,
                ..FaultPlan::default()
            }),
            ["slow_ms"]
        );
        assert_eq!(
            fields(FaultPlan {
                rate_limited_share: 0.7,
                truncated_share: 0.2,
                server_error_share: 0.1,
                ..FaultPlan::default()
            }),
            [""; 0]
        );
    }
}
