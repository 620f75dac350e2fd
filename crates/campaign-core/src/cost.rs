//! What messages cost: a price list by country and category, and what one message is counted with.
//!
//! A message is counted once. When it is accepted it counts with the price of the list; what WhatsApp reports of its
//! pricing afterwards corrects that, and what was never delivered costs nothing (WhatsApp charges on delivery).
//! Source: WhatsApp Business Platform, "Pricing" (per-message pricing; `pricing` object of status webhooks).

use crate::message::text_enum;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Most prices of a list.
pub const PRICES_MAX: usize = 2_000;
/// Longest country prefix, with its `+`: some islands share a code and are told apart by the next digits.
pub const COUNTRY_MAX_CHARS: usize = 8;
/// The country of whoever has no price of their own.
pub const ELSEWHERE: &str = "*";
/// Longest name of a category: the list may know more than this engine sends.
pub const CATEGORY_MAX_CHARS: usize = 64;

const MICROS: i64 = 1_000_000;
const DECIMALS_MAX: usize = 6;

/// An amount in millionths of the price list's currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(pub i64);

/// Not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no amount; expected one such as \"0.0625\": up to 9 digits and 6 decimals")]
pub struct NoMoney(String);

impl FromStr for Money {
    type Err = NoMoney;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || NoMoney(text.chars().take(32).collect());
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let fits = (1..=9).contains(&whole.len()) && decimals.len() <= DECIMALS_MAX;
        if !fits || !digits(whole) || !digits(decimals) || text.ends_with('.') {
            return Err(refuse());
        }
        let whole: i64 = whole.parse().map_err(|_| refuse())?;
        let decimals: i64 = format!("{decimals:0<DECIMALS_MAX$}")
            .parse()
            .map_err(|_| refuse())?;
        Ok(Self(whole * MICROS + decimals))
    }
}

impl fmt::Display for Money {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, micros) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let decimals = format!("{:06}", micros % MICROS.unsigned_abs());
        let shown = decimals.trim_end_matches('0');
        let shown = if shown.len() < 2 { &decimals[..2] } else { shown };
        write!(formatter, "{sign}{}.{shown}", micros / MICROS.unsigned_abs())
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What messages cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PriceList {
    /// ISO 4217, as in `USD`: of every price, and of the budgets of campaigns.
    pub currency: String,
    /// In any order.
    pub prices: Vec<Price>,
}

/// What one message costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// How the canonical phone begins, as in `+55`; `*` for whoever has no price of their own.
    pub country: String,
    /// `MARKETING`, `UTILITY`, `AUTHENTICATION`, or another of Meta's.
    pub category: String,
    /// As in `"0.0625"`.
    pub price: Money,
}

impl PriceList {
    /// Everything that is wrong with it: where (a JSON pointer), and what would be right.
    pub fn problems(&self) -> Vec<(String, &'static str)> {
        let mut problems = Vec::new();
        if self.currency.len() != 3 || !self.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            problems.push(("/currency".to_owned(), "a code of ISO 4217, as in USD"));
        }
        if self.prices.is_empty() || self.prices.len() > PRICES_MAX {
            problems.push(("/prices".to_owned(), "1 to 2,000 prices"));
            return problems;
        }
        let mut seen = std::collections::HashSet::new();
        for (index, price) in self.prices.iter().enumerate() {
            let digits = price.country.strip_prefix('+').unwrap_or_default();
            let is_prefix = !digits.is_empty()
                && price.country.len() <= COUNTRY_MAX_CHARS
                && digits.bytes().all(|byte| byte.is_ascii_digit());
            if !is_prefix && price.country != ELSEWHERE {
                problems.push((
                    format!("/prices/{index}/country"),
                    "a country code, as in +55, or *",
                ));
            }
            let word = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
            if !(1..=CATEGORY_MAX_CHARS).contains(&price.category.len()) || !price.category.bytes().all(word)
            {
                problems.push((format!("/prices/{index}/category"), "a category, as in MARKETING"));
            }
            if !seen.insert((&price.country, &price.category)) {
                problems.push((format!("/prices/{index}"), "each country and category once"));
            }
        }
        problems
    }

    /// The price of one message to a canonical phone: that of the longest country prefix that fits.
    pub fn price(&self, phone: &str, category: &str) -> Option<Money> {
        let length = |price: &Price| {
            if price.country == ELSEWHERE {
                0
            } else {
                price.country.len()
            }
        };
        self.prices
            .iter()
            .filter(|price| price.category == category)
            .filter(|price| price.country == ELSEWHERE || phone.starts_with(&price.country))
            .max_by_key(|price| length(price))
            .map(|price| price.price)
    }

    /// The most that one message of a category costs anywhere.
    pub fn highest(&self, category: &str) -> Option<Money> {
        let of_category = self.prices.iter().filter(|price| price.category == category);
        of_category.map(|price| price.price).max()
    }
}

text_enum! {
    /// What a message is counted with.
    CostBasis {
        /// Nothing: the list has no price for it.
        Unpriced = "unpriced",
        /// The list's price.
        Listed = "listed",
        /// The list's price, after WhatsApp said that it is billed.
        Billed = "billed",
        /// Nothing: WhatsApp said that it is not billed.
        Free = "free",
        /// Nothing: it was accepted and never delivered.
        Undelivered = "undelivered",
    }
}

/// What WhatsApp reported of a message's pricing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedPricing {
    /// Whether it is billed.
    pub billable: bool,
    /// In capitals, as in `MARKETING`; absent if WhatsApp names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
}

/// What one message is counted with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Charge {
    /// In capitals, as in `MARKETING`.
    pub category: String,
    /// How the amount came about.
    pub basis: CostBasis,
    /// The amount.
    pub amount: Money,
}

impl Charge {
    /// When a message is accepted.
    pub fn accepted(list: &PriceList, phone: &str, category: &str) -> Self {
        let price = list.price(phone, category);
        Self {
            category: category.to_owned(),
            basis: if price.is_some() {
                CostBasis::Listed
            } else {
                CostBasis::Unpriced
            },
            amount: price.unwrap_or_default(),
        }
    }

    /// When WhatsApp reports its pricing, and the list's price of that category, or else of the one that it was counted
    /// with, holds. The first report counts, unless a later one says that it is billed after
    /// all: statuses come in any order, and more than once.
    #[must_use]
    pub fn reported(&self, list: &PriceList, phone: &str, pricing: &ReportedPricing) -> Self {
        let category = pricing.category.as_deref().unwrap_or(&self.category);
        match self.basis {
            CostBasis::Billed => return self.clone(),
            CostBasis::Free if !pricing.billable => return self.clone(),
            CostBasis::Unpriced | CostBasis::Listed | CostBasis::Free | CostBasis::Undelivered => {}
        }
        let reported = Self::accepted(list, phone, category);
        // Meta bills under categories that lists often leave out (MARKETING_LITE, of the Marketing Messages API): what
        // it was counted with is nearer the truth than nothing, and a budget must hold.
        let counted = Self::accepted(list, phone, &self.category);
        match (pricing.billable, reported.basis, counted.basis) {
            (false, _, _) => Self {
                basis: CostBasis::Free,
                amount: Money(0),
                ..reported
            },
            (true, CostBasis::Listed, _) => Self {
                basis: CostBasis::Billed,
                ..reported
            },
            (true, _, CostBasis::Listed) => Self {
                basis: CostBasis::Billed,
                ..counted
            },
            (true, _, _) => reported,
        }
    }

    /// When it turned out that it will not arrive.
    #[must_use]
    pub fn undelivered(&self) -> Self {
        match self.basis {
            CostBasis::Listed | CostBasis::Unpriced => Self {
                basis: CostBasis::Undelivered,
                amount: Money(0),
                ..self.clone()
            },
            CostBasis::Billed | CostBasis::Free | CostBasis::Undelivered => self.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> PriceList {
        let price = |country: &str, category: &str, price: &str| Price {
            country: country.to_owned(),
            category: category.to_owned(),
            price: price.parse().expect("an amount"),
        };
        PriceList {
            currency: "USD".to_owned(),
            prices: vec![
                price("*", "MARKETING", "0.1"),
                price("+1", "MARKETING", "0.025"),
                price("+1876", "MARKETING", "0.074"),
                price("+55", "MARKETING", "0.0625"),
                price("+55", "UTILITY", "0.0068"),
            ],
        }
    }

    #[test]
    fn amounts_are_read_exactly_and_shown_short() {
        for (text, micros, shown) in [
            ("0.0625", 62_500, "0.0625"),
            ("12", 12_000_000, "12.00"),
            ("999999999.999999", 999_999_999_999_999, "999999999.999999"),
            ("0.5", 500_000, "0.50"),
        ] {
            let money: Money = text.parse().expect("an amount");
            assert_eq!((money, money.to_string().as_str()), (Money(micros), shown));
        }
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1,5",
            "1e3",
            "0.0000001",
            "1234567890",
            "1.2.3",
        ] {
            assert!(text.parse::<Money>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_longest_country_prefix_has_the_price() {
        for (phone, category, price) in [
            ("+5511987654321", "MARKETING", Some("0.0625")),
            ("+5511987654321", "UTILITY", Some("0.0068")),
            ("+18765551234", "MARKETING", Some("0.074")),
            ("+12025551234", "MARKETING", Some("0.025")),
            ("+351912345678", "MARKETING", Some("0.1")),
            ("+351912345678", "UTILITY", None),
        ] {
            let price = price.map(|price| price.parse().expect("an amount"));
            assert_eq!(list().price(phone, category), price, "{phone} {category}");
        }
    }

    #[test]
    fn a_list_says_all_that_is_wrong_with_it() {
        assert_eq!(list().problems(), []);
        let mut wrong = list();
        wrong.currency = "usd".to_owned();
        wrong.prices[0].country = "BR".to_owned();
        wrong.prices[1].category = "marketing".to_owned();
        wrong.prices.push(wrong.prices[3].clone());
        let fields: Vec<_> = wrong.problems().into_iter().map(|(field, _)| field).collect();
        assert_eq!(
            fields,
            [
                "/currency",
                "/prices/0/country",
                "/prices/1/category",
                "/prices/5"
            ]
        );
    }

    #[test]
    fn pricing_corrects_once_whatever_comes_again() {
        let (list, phone) = (list(), "+5511987654321");
        let pricing = |billable, category: Option<&str>| ReportedPricing {
            billable,
            category: category.map(str::to_owned),
        };
        let accepted = Charge::accepted(&list, phone, "MARKETING");
        assert_eq!(
            (accepted.basis, accepted.amount),
            (CostBasis::Listed, Money(62_500))
        );
        let billed = accepted.reported(&list, phone, &pricing(true, None));
        assert_eq!((billed.basis, billed.amount), (CostBasis::Billed, Money(62_500)));
        assert_eq!(billed.reported(&list, phone, &pricing(false, None)), billed);
        assert_eq!(billed.undelivered(), billed);
        let other = accepted.reported(&list, phone, &pricing(true, Some("UTILITY")));
        assert_eq!((other.category.as_str(), other.amount), ("UTILITY", Money(6_800)));
        let free = accepted.reported(&list, phone, &pricing(false, Some("UTILITY")));
        assert_eq!((free.basis, free.amount), (CostBasis::Free, Money(0)));
        assert_eq!(free.reported(&list, phone, &pricing(false, None)), free);
        let lite = accepted.reported(&list, phone, &pricing(true, Some("MARKETING_LITE")));
        assert_eq!(
            lite, billed,
            "as it was counted: the list does not know that category"
        );
        let unpriced = Charge::accepted(&list, "+351912345678", "UTILITY");
        let unknown = unpriced.reported(&list, "+351912345678", &pricing(true, Some("UTILITY_LITE")));
        assert_eq!((unknown.basis, unknown.amount), (CostBasis::Unpriced, Money(0)));
        let undelivered = accepted.undelivered();
        assert_eq!(
            (undelivered.basis, undelivered.amount),
            (CostBasis::Undelivered, Money(0))
        );
    }
}
