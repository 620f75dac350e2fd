//! Business phone numbers: their throughput, their state, and the rate they accepted at.
//!
//! A number exists as soon as something is sent from it, as tests want it. Its limit is a sliding
//! one-second window, 5% above its throughput: the promise of the engine (no second above 105%) is the
//! very thing refused with 130429 here.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::answer::Refusal;
use crate::window::{BUCKET_MS, Histogram, SlidingWindow};

/// Most phone numbers.
pub const MAX_NUMBERS: usize = 1_024;
/// Highest throughput that can be set, messages per second.
pub const MAX_THROUGHPUT: u32 = 100_000;
/// What a one-second window may hold, in percent of the throughput.
pub const WINDOW_PERCENT: u32 = 105;

/// Whether a number can send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberState {
    /// It can.
    #[default]
    Connected,
    /// Its account is locked: 131031.
    Locked,
    /// It is not registered: 133010.
    Unregistered,
    /// It was deleted: 33.
    Deleted,
    /// Its quality is low: 131048.
    SpamLimited,
}

impl NumberState {
    fn refusal(self) -> Option<i64> {
        match self {
            Self::Connected => None,
            Self::Locked => Some(131_031),
            Self::Unregistered => Some(133_010),
            Self::Deleted => Some(33),
            Self::SpamLimited => Some(131_048),
        }
    }
}

/// What can be set about a number; what is absent stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberSettings {
    /// Messages per second.
    pub throughput: Option<u32>,
    /// Whether it can send.
    pub state: Option<NumberState>,
}

/// A number as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NumberReport {
    /// Meta's id of it.
    pub phone_number_id: String,
    /// Messages per second.
    pub throughput: u32,
    /// Whether it can send.
    pub state: NumberState,
    /// Requests refused because of the throughput.
    pub rate_limited: u64,
}

/// How fast a number accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RateReport {
    /// Meta's id of the number.
    pub phone_number_id: String,
    /// Messages accepted.
    pub accepted: u64,
    /// The most accepted in any one-second window, wherever it begins.
    pub max_in_one_second: usize,
    /// Width of a bucket.
    pub bucket_ms: u64,
    /// Acceptances by time.
    #[serde(flatten)]
    pub histogram: Histogram,
}

#[derive(Debug)]
struct Number {
    throughput: u32,
    state: NumberState,
    rate_limited: u64,
    accepted: u64,
    window: SlidingWindow,
    histogram: Histogram,
}

/// All phone numbers.
#[derive(Debug)]
pub(crate) struct Numbers {
    default_throughput: u32,
    by_id: HashMap<Box<str>, Number>,
}

impl Numbers {
    pub(crate) fn new(default_throughput: u32) -> Self {
        Self {
            default_throughput,
            by_id: HashMap::new(),
        }
    }

    /// Refuses what the number's state forbids.
    pub(crate) fn check_state(&mut self, id: &str) -> Result<(), Refusal> {
        let state = self.number(id).ok_or_else(too_many)?.state;
        state.refusal().map_or(Ok(()), |code| Err(Refusal::of(code)))
    }

    /// Counts one acceptance, or refuses it with 130429.
    pub(crate) fn admit(&mut self, id: &str, now_us: u64) -> Result<(), Refusal> {
        let number = self.number(id).ok_or_else(too_many)?;
        let limit = (number.throughput * WINDOW_PERCENT).div_ceil(100) as usize;
        if number.window.count(now_us) >= limit {
            number.rate_limited += 1;
            return Err(Refusal::of(130_429));
        }
        number.window.push(now_us);
        number.histogram.push(now_us);
        number.accepted += 1;
        Ok(())
    }

    /// Changes a number; `None` if there are too many.
    pub(crate) fn set(&mut self, id: &str, settings: NumberSettings) -> Option<NumberReport> {
        let number = self.number(id)?;
        number.throughput = settings.throughput.unwrap_or(number.throughput);
        number.state = settings.state.unwrap_or(number.state);
        Some(number.report(id))
    }

    pub(crate) fn reports(&self) -> Vec<NumberReport> {
        let mut reports: Vec<_> = self.by_id.iter().map(|(id, number)| number.report(id)).collect();
        reports.sort_by(|left, right| left.phone_number_id.cmp(&right.phone_number_id));
        reports
    }

    pub(crate) fn rate(&self, id: &str) -> Option<RateReport> {
        let number = self.by_id.get(id)?;
        Some(RateReport {
            phone_number_id: id.to_owned(),
            accepted: number.accepted,
            max_in_one_second: number.window.max(),
            bucket_ms: BUCKET_MS,
            histogram: number.histogram.clone(),
        })
    }

    /// Forgets what was accepted; settings stay.
    pub(crate) fn forget(&mut self) {
        for number in self.by_id.values_mut() {
            number.accepted = 0;
            number.rate_limited = 0;
            number.window = SlidingWindow::default();
            number.histogram = Histogram::default();
        }
    }

    fn number(&mut self, id: &str) -> Option<&mut Number> {
        if !self.by_id.contains_key(id) {
            if self.by_id.len() >= MAX_NUMBERS {
                return None;
            }
            let number = Number {
                throughput: self.default_throughput,
                state: NumberState::default(),
                rate_limited: 0,
                accepted: 0,
                window: SlidingWindow::default(),
                histogram: Histogram::default(),
            };
            self.by_id.insert(id.into(), number);
        }
        self.by_id.get_mut(id)
    }
}

impl Number {
    fn report(&self, id: &str) -> NumberReport {
        NumberReport {
            phone_number_id: id.to_owned(),
            throughput: self.throughput,
            state: self.state,
            rate_limited: self.rate_limited,
        }
    }
}

fn too_many() -> Refusal {
    Refusal::because(33, "this mock knows no more than 1024 phone numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_105_percent_of_the_throughput_and_no_more() {
        let mut numbers = Numbers::new(100);
        let admitted = |numbers: &mut Numbers, from_us: u64| {
            (0..200)
                .filter(|&offset| numbers.admit("1", from_us + offset).is_ok())
                .count()
        };
        assert_eq!(admitted(&mut numbers, 1_000_000), 105);
        assert_eq!(admitted(&mut numbers, 1_900_000), 0);
        assert_eq!(admitted(&mut numbers, 2_001_000), 105);
        let rate = numbers.rate("1").expect("it sent");
        assert_eq!((rate.accepted, rate.max_in_one_second), (210, 105));
        assert_eq!(numbers.reports()[0].rate_limited, 390);
    }

    #[test]
    fn settings_last_and_states_refuse() {
        let mut numbers = Numbers::new(100);
        let locked = NumberSettings {
            throughput: Some(2),
            state: Some(NumberState::Locked),
        };
        assert_eq!(numbers.set("1", locked).expect("room").throughput, 2);
        assert_eq!(numbers.check_state("1").expect_err("locked").code, 131_031);
        assert!(numbers.check_state("2").is_ok());
        numbers.forget();
        assert_eq!(numbers.reports()[0].throughput, 2);
    }

    #[test]
    fn numbers_are_bounded() {
        let mut numbers = Numbers::new(1);
        for id in 0..MAX_NUMBERS {
            assert!(numbers.check_state(&id.to_string()).is_ok());
        }
        assert!(numbers.check_state("one more").is_err());
        assert!(numbers.check_state("0").is_ok());
    }
}
