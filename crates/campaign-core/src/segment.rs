//! Which customers a campaign is for.
//!
//! One type serves everyone who speaks of segments: the API that checks it ([`Segment::problems`]), the
//! query string that an ERP is asked with ([`Segment::to_query`], [`Segment::from_query`]) and whoever has
//! to decide for one customer ([`Segment::matches`]). Criteria are joined by *and*, the values of one list by
//! *or* (except `tags_all`). A criterion about something that is unknown of a customer does not match.

mod query;

use crate::customer::Customer;
use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Most values in one list.
pub const MAX_LIST: usize = 100;
/// Longest city or tag, in characters.
pub const MAX_TEXT_CHARS: usize = 100;
/// Farthest due date that can be asked for, in days before or after today: ten years.
pub const MAX_DAYS_OVERDUE: i32 = 3_650;
/// Largest amount that can be asked for, in centavos: ten billion reais.
pub const MAX_AMOUNT_CENTS: i64 = 1_000_000_000_000;

/// The 27 units of the federation (IBGE), in alphabetic order.
pub const STATES: [&str; 27] = [
    "AC", "AL", "AM", "AP", "BA", "CE", "DF", "ES", "GO", "MA", "MG", "MS", "MT", "PA", "PB", "PE", "PI",
    "PR", "RJ", "RN", "RO", "RR", "RS", "SC", "SE", "SP", "TO",
];

/// Criteria; what is not given does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Segment {
    /// In one of these states (UF, two capital letters).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<String>,
    /// In one of these cities; case and accents do not matter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cities: Vec<String>,
    /// With at least one of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags_any: Vec<String>,
    /// With all of these tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags_all: Vec<String>,
    /// Last purchase on this day or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_purchase_from: Option<NaiveDate>,
    /// Last purchase on this day or earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_purchase_to: Option<NaiveDate>,
    /// Open invoice due at least this many days ago; -3 is "due in three days or less".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_overdue_min: Option<i32>,
    /// Open invoice due at most this many days ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_overdue_max: Option<i32>,
    /// Open invoice of at least this many centavos.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_cents_min: Option<i64>,
    /// Open invoice of at most this many centavos.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount_cents_max: Option<i64>,
    /// Born in this month, 1 to 12.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birthday_month: Option<u8>,
    /// Agreed, or did not agree, to marketing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marketing_consent: Option<bool>,
    /// Is, or is not, active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
}

/// What is wrong with one criterion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: found {found}; expected {expected}")]
pub struct SegmentProblem {
    /// The criterion, by its name in JSON and in the query.
    pub field: String,
    /// What was given.
    pub found: String,
    /// What would be right.
    pub expected: String,
}

impl SegmentProblem {
    fn new(field: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            found: found.into(),
            expected: expected.into(),
        }
    }
}

impl Segment {
    /// Whether it has no criterion at all, so that it means every customer.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Everything that is wrong with it; none means that it can be asked for.
    ///
    /// An empty segment is no problem here: who wants to forbid it asks [`Segment::is_empty`].
    pub fn problems(&self) -> Vec<SegmentProblem> {
        let mut problems = Vec::new();
        check_list(&mut problems, "states", &self.states);
        for state in self.states.iter().take(MAX_LIST) {
            if !STATES.contains(&state.as_str()) {
                let expected = format!("a state's two capital letters, one of {}", STATES.join(", "));
                problems.push(SegmentProblem::new("states", quoted(state), expected));
            }
        }
        for (field, list) in [
            ("cities", &self.cities),
            ("tags_any", &self.tags_any),
            ("tags_all", &self.tags_all),
        ] {
            check_list(&mut problems, field, list);
            check_texts(&mut problems, field, list);
        }
        let days = -MAX_DAYS_OVERDUE..=MAX_DAYS_OVERDUE;
        check_bound(&mut problems, "days_overdue_min", self.days_overdue_min, &days);
        check_bound(&mut problems, "days_overdue_max", self.days_overdue_max, &days);
        let amounts = 0..=MAX_AMOUNT_CENTS;
        check_bound(&mut problems, "amount_cents_min", self.amount_cents_min, &amounts);
        check_bound(&mut problems, "amount_cents_max", self.amount_cents_max, &amounts);
        check_bound(&mut problems, "birthday_month", self.birthday_month, &(1..=12));
        check_order(
            &mut problems,
            "last_purchase",
            ("from", self.last_purchase_from),
            ("to", self.last_purchase_to),
        );
        check_order(
            &mut problems,
            "days_overdue",
            ("min", self.days_overdue_min),
            ("max", self.days_overdue_max),
        );
        check_order(
            &mut problems,
            "amount_cents",
            ("min", self.amount_cents_min),
            ("max", self.amount_cents_max),
        );
        problems
    }

    /// Whether the customer belongs to it on the day `today`.
    pub fn matches(&self, customer: &Customer, today: NaiveDate) -> bool {
        self.active.is_none_or(|wanted| customer.active == wanted)
            && self
                .marketing_consent
                .is_none_or(|wanted| customer.marketing_consent == wanted)
            && self.matches_place(customer)
            && self.matches_tags(customer)
            && self.matches_dates(customer)
            && self.matches_invoice(customer, today)
    }

    fn matches_place(&self, customer: &Customer) -> bool {
        let state = customer.state.as_deref().unwrap_or_default();
        let city = customer.city.as_deref().unwrap_or_default();
        (self.states.is_empty()
            || self
                .states
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(state)))
            && (self.cities.is_empty() || self.cities.iter().any(|wanted| same_place(wanted, city)))
    }

    fn matches_tags(&self, customer: &Customer) -> bool {
        (self.tags_any.is_empty() || self.tags_any.iter().any(|tag| customer.tags.contains(tag)))
            && self.tags_all.iter().all(|tag| customer.tags.contains(tag))
    }

    fn matches_dates(&self, customer: &Customer) -> bool {
        within(
            customer.last_purchase_on,
            self.last_purchase_from,
            self.last_purchase_to,
        ) && self.birthday_month.is_none_or(|month| {
            customer
                .birth_date
                .is_some_and(|date| date.month() == u32::from(month))
        })
    }

    fn matches_invoice(&self, customer: &Customer, today: NaiveDate) -> bool {
        let invoice = customer.open_invoice.as_ref();
        within(
            invoice.map(|invoice| invoice.days_overdue(today)),
            self.days_overdue_min.map(i64::from),
            self.days_overdue_max.map(i64::from),
        ) && within(
            invoice.map(|invoice| invoice.amount_cents),
            self.amount_cents_min,
            self.amount_cents_max,
        )
    }
}

/// Whether two names of cities are the same to a reader: case, accents and outer blanks do not matter.
pub fn same_place(one: &str, other: &str) -> bool {
    fn folded(name: &str) -> impl Iterator<Item = char> {
        name.trim()
            .nfd()
            .filter(|&c| !is_combining_mark(c))
            .flat_map(char::to_lowercase)
    }
    folded(one).eq(folded(other))
}

fn within<T: PartialOrd>(value: Option<T>, min: Option<T>, max: Option<T>) -> bool {
    if min.is_none() && max.is_none() {
        return true;
    }
    value.is_some_and(|value| min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max))
}

fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_TEXT_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

fn check_list(problems: &mut Vec<SegmentProblem>, field: &str, list: &[String]) {
    if list.len() > MAX_LIST {
        let expected = format!("at most {MAX_LIST} values");
        problems.push(SegmentProblem::new(
            field,
            format!("{} values", list.len()),
            expected,
        ));
    }
}

fn check_texts(problems: &mut Vec<SegmentProblem>, field: &str, list: &[String]) {
    for text in list.iter().take(MAX_LIST) {
        if text.trim().is_empty() || text.chars().count() > MAX_TEXT_CHARS || text.contains(char::is_control)
        {
            let expected =
                format!("1 to {MAX_TEXT_CHARS} characters, not only blanks, no control characters");
            problems.push(SegmentProblem::new(field, quoted(text), expected));
        }
    }
}

fn check_bound<T: PartialOrd + std::fmt::Display>(
    problems: &mut Vec<SegmentProblem>,
    field: &str,
    value: Option<T>,
    range: &std::ops::RangeInclusive<T>,
) {
    if let Some(value) = value.filter(|value| !range.contains(value)) {
        let expected = format!("{} to {}", range.start(), range.end());
        problems.push(SegmentProblem::new(field, value.to_string(), expected));
    }
}

fn check_order<T: PartialOrd + std::fmt::Display>(
    problems: &mut Vec<SegmentProblem>,
    field: &str,
    (low_name, low): (&str, Option<T>),
    (high_name, high): (&str, Option<T>),
) {
    if let (Some(low), Some(high)) = (low, high)
        && low > high
    {
        let expected = format!("at most {field}_{high_name}, which is {high}");
        problems.push(SegmentProblem::new(
            format!("{field}_{low_name}"),
            low.to_string(),
            expected,
        ));
    }
}

#[cfg(test)]
mod tests;
