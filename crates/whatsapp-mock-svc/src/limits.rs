//! Meta's limits beside the throughput: how often one person, and how many people.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const DAY_US: u64 = 24 * 3_600 * 1_000_000;
/// Pairs that are remembered before those that count no more are looked for.
const FIRST_SWEEP: usize = 1_024;

/// How often one number may write to one person: a message each interval, and a burst borrowed from the
/// intervals to come.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PairLimit {
    /// Time of one message; 0 for no limit. Meta's is 6000.
    pub interval_ms: u64,
    /// Messages that may go at once. Meta's is 45.
    pub burst: u32,
}

/// Longest interval.
pub const MAX_PAIR_INTERVAL_MS: u64 = 3_600_000;
/// Largest burst.
pub const MAX_PAIR_BURST: u32 = 10_000;

impl PairLimit {
    /// No limit.
    pub const OFF: Self = Self {
        interval_ms: 0,
        burst: 45,
    };
    /// One message each 6 s, 45 at once. Source: Cloud API overview, "Pair rate limits".
    pub const META: Self = Self {
        interval_ms: 6_000,
        burst: 45,
    };
}

/// When each person can be written to again. The debt of a pair is kept as the time at which it is paid,
/// so a pair is one number, and one that has paid is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    paid_at_us: HashMap<u64, u64>,
    sweep_at: usize,
}

impl Pairs {
    pub(crate) fn allows(&self, limit: PairLimit, person: u64, now_us: u64) -> bool {
        // What was owed to a limit is owed to nobody once there is none.
        if limit.interval_ms == 0 {
            return true;
        }
        let paid_at_us = self.paid_at_us.get(&person).copied().unwrap_or(0);
        let debt_us = paid_at_us.saturating_sub(now_us);
        debt_us + limit.interval_ms * 1_000 <= u64::from(limit.burst) * limit.interval_ms * 1_000
    }

    pub(crate) fn count(&mut self, limit: PairLimit, person: u64, now_us: u64) {
        if limit.interval_ms == 0 {
            return;
        }
        if self.paid_at_us.len() >= self.sweep_at.max(FIRST_SWEEP) {
            self.paid_at_us.retain(|_, paid_at_us| *paid_at_us > now_us);
            self.sweep_at = self.paid_at_us.len() * 2;
        }
        let paid_at_us = self.paid_at_us.entry(person).or_default();
        *paid_at_us = (*paid_at_us).max(now_us) + limit.interval_ms * 1_000;
    }
}

/// How many people a portfolio may write to in 24 hours.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, ToSchema)]
pub enum MessagingLimit {
    /// 50.
    #[serde(rename = "TIER_50")]
    Tier50,
    /// 250.
    #[serde(rename = "TIER_250")]
    Tier250,
    /// 2,000.
    #[serde(rename = "TIER_2K")]
    Tier2K,
    /// 10,000.
    #[serde(rename = "TIER_10K")]
    Tier10K,
    /// 100,000.
    #[serde(rename = "TIER_100K")]
    Tier100K,
    /// Everybody.
    #[serde(rename = "TIER_UNLIMITED")]
    Unlimited,
}

impl MessagingLimit {
    fn people(self) -> Option<usize> {
        match self {
            Self::Tier50 => Some(50),
            Self::Tier250 => Some(250),
            Self::Tier2K => Some(2_000),
            Self::Tier10K => Some(10_000),
            Self::Tier100K => Some(100_000),
            Self::Unlimited => None,
        }
    }
}

/// Whom a portfolio wrote to in the last 24 hours. Nobody is remembered while there is no limit, so the
/// highest limit bounds the memory.
#[derive(Debug, Default)]
pub(crate) struct RecentPeople {
    last_at_us: HashMap<u64, u64>,
    /// Each person once, by when they may have to be forgotten.
    oldest: VecDeque<(u64, u64)>,
}

impl RecentPeople {
    /// Whether one more message, to this person, stays within the limit.
    pub(crate) fn allows(&mut self, limit: MessagingLimit, person: u64, now_us: u64) -> bool {
        self.forget_old(now_us);
        limit
            .people()
            .is_none_or(|most| self.last_at_us.contains_key(&person) || self.last_at_us.len() < most)
    }

    pub(crate) fn count(&mut self, limit: MessagingLimit, person: u64, now_us: u64) {
        if limit == MessagingLimit::Unlimited {
            return;
        }
        if self.last_at_us.insert(person, now_us).is_none() {
            self.oldest.push_back((now_us, person));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.last_at_us.len()
    }

    fn forget_old(&mut self, now_us: u64) {
        while let Some(&(at_us, person)) = self.oldest.front()
            && at_us + DAY_US <= now_us
        {
            self.oldest.pop_front();
            match self.last_at_us.get(&person) {
                Some(&last_at_us) if last_at_us + DAY_US > now_us => {
                    self.oldest.push_back((last_at_us, person));
                }
                _ => drop(self.last_at_us.remove(&person)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: u64 = 1_000_000;

    #[test]
    fn a_burst_is_borrowed_and_paid_back_at_six_seconds_a_message() {
        let mut pairs = Pairs::default();
        let mut sent = |now_us: u64, times: usize| {
            (0..times)
                .filter(|_| {
                    let allowed = pairs.allows(PairLimit::META, 1, now_us);
                    if allowed {
                        pairs.count(PairLimit::META, 1, now_us);
                    }
                    allowed
                })
                .count()
        };
        assert_eq!(sent(0, 60), 45);
        assert_eq!(sent(6 * SECOND_US - 1, 1), 0, "nothing is paid back yet");
        assert_eq!(sent(6 * SECOND_US, 2), 1);
        assert_eq!(sent(36 * SECOND_US, 10), 5, "five intervals, five messages");
        assert_eq!(sent(1_000 * SECOND_US, 60), 45, "all is paid back");
        assert!(
            pairs.allows(PairLimit::META, 2, 1_000 * SECOND_US),
            "another person"
        );
        assert!(pairs.allows(PairLimit::OFF, 1, 1_000 * SECOND_US), "no limit");
    }

    #[test]
    fn pairs_that_have_paid_are_forgotten() {
        let mut pairs = Pairs::default();
        for person in 0..100_000 {
            pairs.count(PairLimit::META, person, person * 10_000);
        }
        assert!(
            pairs.paid_at_us.len() < 4 * FIRST_SWEEP,
            "{}",
            pairs.paid_at_us.len()
        );
    }

    #[test]
    fn people_are_counted_once_in_a_moving_day() {
        let mut people = RecentPeople::default();
        let mut send = |person: u64, now_us: u64| {
            let allowed = people.allows(MessagingLimit::Tier50, person, now_us);
            if allowed {
                people.count(MessagingLimit::Tier50, person, now_us);
            }
            allowed
        };
        assert!((0..50).all(|person| send(person, person * SECOND_US)));
        assert!(!send(50, 60 * SECOND_US), "the 51st");
        assert!(send(0, 3_600 * SECOND_US), "one of the fifty, once more");
        assert!(!send(50, DAY_US), "the first was written to again since");
        assert!(send(50, DAY_US + SECOND_US), "the second was not");
        assert!(!send(51, DAY_US + SECOND_US));
        assert_eq!(people.len(), 50);
    }
}
