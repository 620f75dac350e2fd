//! Business phone numbers: their throughput, their state, and the rate they accepted at.
//!
//! A number exists as soon as something is sent from it, as tests want it, unless the mock is strict: then
//! it must be set up first. Its limit is a sliding one-second window, 5% above its throughput: the promise of the engine (no second above 105%) is the
//! very thing refused with 130429 here.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::Method;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::accounts::DEFAULT_ACCOUNT_ID;
use crate::answer::Refusal;
use crate::limits::{PairLimit, Pairs};
use crate::window::{BUCKET_MS, Histogram, SlidingWindow};

/// Most phone numbers.
pub const MAX_NUMBERS: usize = 1_024;
/// Highest throughput that can be set, messages per second.
pub const MAX_THROUGHPUT: u32 = 100_000;
/// The name of a number that nothing was said about.
const VERIFIED_NAME: &str = "Mock Business";
/// What a one-second window may hold, in percent of the throughput.
pub const WINDOW_PERCENT: u32 = 105;

/// Whether a number can send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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

/// How people take what a number sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum QualityRating {
    /// Well.
    #[default]
    Green,
    /// So so.
    Yellow,
    /// Badly.
    Red,
    /// Nobody knows yet.
    Unknown,
}

/// What can be set about a number; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NumberSettings {
    /// Messages per second.
    pub throughput: Option<u32>,
    /// Whether it can send.
    pub state: Option<NumberState>,
    /// The account that it belongs to; digits.
    pub account_id: Option<String>,
    /// As people write it, in digits.
    pub display_phone_number: Option<String>,
    /// The name that people see.
    pub verified_name: Option<String>,
    /// How people take what it sends.
    pub quality_rating: Option<QualityRating>,
    /// Whether marketing must go through `/marketing_messages`: 131063 otherwise.
    pub marketing_messages_only: Option<bool>,
    /// How often it may write to one person: 131056 beyond.
    pub pair_limit: Option<PairLimit>,
}

/// A number as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct NumberReport {
    /// Meta's id of it.
    pub phone_number_id: String,
    /// Messages per second.
    pub throughput: u32,
    /// Whether it can send.
    pub state: NumberState,
    /// The account that it belongs to.
    pub account_id: String,
    /// As people write it, in digits.
    pub display_phone_number: String,
    /// The name that people see.
    pub verified_name: String,
    /// How people take what it sends.
    pub quality_rating: QualityRating,
    /// Whether marketing must go through `/marketing_messages`.
    pub marketing_messages_only: bool,
    /// How often it may write to one person.
    pub pair_limit: PairLimit,
    /// Requests refused because of the throughput.
    pub rate_limited: u64,
}

/// How fast a number accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
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
pub(crate) struct Number {
    pub(crate) throughput: u32,
    pub(crate) state: NumberState,
    pub(crate) account_id: Arc<str>,
    pub(crate) display: Arc<str>,
    pub(crate) verified_name: String,
    pub(crate) quality_rating: QualityRating,
    pub(crate) marketing_messages_only: bool,
    pair_limit: PairLimit,
    pairs: Pairs,
    rate_limited: u64,
    accepted: u64,
    window: SlidingWindow,
    histogram: Histogram,
}

/// All phone numbers.
#[derive(Debug)]
pub(crate) struct Numbers {
    default_throughput: u32,
    is_strict: bool,
    by_id: HashMap<Box<str>, Number>,
}

impl Numbers {
    pub(crate) fn new(default_throughput: u32, is_strict: bool) -> Self {
        Self {
            default_throughput,
            is_strict,
            by_id: HashMap::new(),
        }
    }

    /// A number, for whoever asks with this method; one that nobody heard of before comes into being,
    /// unless the mock is strict.
    pub(crate) fn known(&mut self, id: &str, method: &Method) -> Result<&mut Number, Refusal> {
        if self.is_strict && !self.by_id.contains_key(id) {
            return Err(Refusal::no_such_object(method, id));
        }
        self.number(id).ok_or_else(too_many)
    }

    /// Counts one acceptance, or refuses it with 130429 or 131056.
    pub(crate) fn admit(&mut self, id: &str, person: u64, now_us: u64) -> Result<(), Refusal> {
        let number = self.number(id).ok_or_else(too_many)?;
        if !number.pairs.allows(number.pair_limit, person, now_us) {
            return Err(Refusal::because(
                131_056,
                "Too many messages sent from the sender phone number to the same recipient phone number in a \
                 short period of time.",
            ));
        }
        let limit = (number.throughput * WINDOW_PERCENT).div_ceil(100) as usize;
        if number.window.count(now_us) >= limit {
            number.rate_limited += 1;
            return Err(Refusal::of(130_429));
        }
        number.pairs.count(number.pair_limit, person, now_us);
        number.window.push(now_us);
        number.histogram.push(now_us);
        number.accepted += 1;
        Ok(())
    }

    /// The account of a number, and how people write the number.
    pub(crate) fn identity(&self, id: &str) -> (Arc<str>, Arc<str>) {
        match self.by_id.get(id) {
            Some(number) => (Arc::clone(&number.account_id), Arc::clone(&number.display)),
            None => (DEFAULT_ACCOUNT_ID.into(), display_phone_number(id).into()),
        }
    }

    /// Numbers of one account, by id.
    pub(crate) fn of_account(&self, account_id: &str) -> Vec<(&str, &Number)> {
        let all = self.by_id.iter().map(|(id, number)| (&**id, number));
        let mut numbers: Vec<_> = all
            .filter(|(_, number)| *number.account_id == *account_id)
            .collect();
        numbers.sort_by_key(|(id, _)| *id);
        numbers
    }

    pub(crate) fn is_known(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    /// Changes a number; `None` if there are too many.
    pub(crate) fn set(&mut self, id: &str, settings: NumberSettings) -> Option<NumberReport> {
        let number = self.number(id)?;
        number.throughput = settings.throughput.unwrap_or(number.throughput);
        number.state = settings.state.unwrap_or(number.state);
        if let Some(account_id) = settings.account_id {
            number.account_id = account_id.into();
        }
        if let Some(display_phone_number) = settings.display_phone_number {
            number.display = display_phone_number.into();
        }
        number.verified_name = settings
            .verified_name
            .unwrap_or(std::mem::take(&mut number.verified_name));
        number.quality_rating = settings.quality_rating.unwrap_or(number.quality_rating);
        number.marketing_messages_only = settings
            .marketing_messages_only
            .unwrap_or(number.marketing_messages_only);
        number.pair_limit = settings.pair_limit.unwrap_or(number.pair_limit);
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
            number.pairs = Pairs::default();
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
                account_id: DEFAULT_ACCOUNT_ID.into(),
                display: display_phone_number(id).into(),
                verified_name: VERIFIED_NAME.to_owned(),
                quality_rating: QualityRating::default(),
                marketing_messages_only: false,
                pair_limit: if self.is_strict {
                    PairLimit::META
                } else {
                    PairLimit::OFF
                },
                pairs: Pairs::default(),
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
    /// Refuses what the number's state forbids.
    pub(crate) fn check_state(&self) -> Result<(), Refusal> {
        self.state.refusal().map_or(Ok(()), |code| Err(Refusal::of(code)))
    }

    fn report(&self, id: &str) -> NumberReport {
        NumberReport {
            phone_number_id: id.to_owned(),
            throughput: self.throughput,
            state: self.state,
            account_id: self.account_id.to_string(),
            display_phone_number: self.display.to_string(),
            verified_name: self.verified_name.clone(),
            quality_rating: self.quality_rating,
            marketing_messages_only: self.marketing_messages_only,
            pair_limit: self.pair_limit,
            rate_limited: self.rate_limited,
        }
    }
}

/// How people write a number that nothing was said about: a made-up American one, from its id.
fn display_phone_number(id: &str) -> String {
    const LAST_DIGITS: usize = 7;
    let last = &id[id.len().saturating_sub(LAST_DIGITS)..];
    format!("1555{last:0>LAST_DIGITS$}")
}

fn too_many() -> Refusal {
    Refusal::because(33, "this mock knows no more than 1024 phone numbers")
}

#[cfg(test)]
#[path = "numbers_tests.rs"]
mod tests;
