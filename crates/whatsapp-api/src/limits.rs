//! What a business phone number may do now, as Meta tells it:
//! `GET /{version}/{phone_number_id}?fields=throughput,whatsapp_business_manager_messaging_limit`.
//!
//! Meta documents words (`STANDARD`, `HIGH`, `TIER_2K`) and numbers, and has renamed both before. So this reads every
//! form that says something, and takes any other for "not said".

use crate::CloudApi;
use crate::client::{MAX_ANSWER_BYTES, MAX_PHONE_NUMBER_ID_DIGITS, describe, read_answer};
use crate::errors::{ErrorBody, GraphError};
use crate::lenient;
use serde_json::Value;

/// Messages a second of the level `STANDARD` (Meta, Cloud API throughput).
pub const STANDARD_PER_SECOND: u32 = 80;
/// Messages a second of the level `HIGH`.
pub const HIGH_PER_SECOND: u32 = 1_000;

const FIELDS: &str = "throughput,whatsapp_business_manager_messaging_limit";

/// What a number may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NumberLimits {
    /// Messages a second; none: not said.
    pub throughput_per_second: Option<u32>,
    /// Unique people within 24 hours, of the whole portfolio; none: not said.
    pub messaging_limit: Option<MessagingLimit>,
}

/// Unique people within 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessagingLimit {
    /// At most so many.
    People(u64),
    /// As many as there are.
    Unlimited,
}

/// Why the limits are not known.
#[derive(Debug, thiserror::Error)]
pub enum LimitsError {
    /// Meta refused to say: the token may lack the permission.
    #[error("{} (code {})", .0.message, .0.code)]
    Refused(GraphError),
    /// There was no answer that says anything.
    #[error("{0}")]
    Unreadable(String),
}

impl NumberLimits {
    /// Reads Meta's answer.
    pub fn from_answer(answer: &Value) -> Self {
        Self {
            throughput_per_second: said(&answer["throughput"], "level").and_then(|word| throughput(&word)),
            messaging_limit: said(&answer["whatsapp_business_manager_messaging_limit"], "limit")
                .and_then(|word| messaging_limit(&word)),
        }
    }
}

/// The word or number itself, or that of a field of an object.
fn said(value: &Value, field: &str) -> Option<String> {
    let word = match value {
        Value::Object(fields) => fields.get(field).or_else(|| fields.get("value"))?,
        word => word,
    };
    lenient::text(word).map(|word| word.trim().to_ascii_uppercase())
}

fn throughput(word: &str) -> Option<u32> {
    match word {
        "STANDARD" => Some(STANDARD_PER_SECOND),
        "HIGH" => Some(HIGH_PER_SECOND),
        number => number.parse().ok().filter(|rate| *rate > 0),
    }
}

fn messaging_limit(word: &str) -> Option<MessagingLimit> {
    let word = word.strip_prefix("TIER_").unwrap_or(word);
    if word == "UNLIMITED" {
        return Some(MessagingLimit::Unlimited);
    }
    let (digits, factor) = match word.as_bytes().last()? {
        b'K' => (&word[..word.len() - 1], 1_000),
        b'M' => (&word[..word.len() - 1], 1_000_000),
        _ => (word, 1),
    };
    let people = digits.parse::<u64>().ok()?.checked_mul(factor)?;
    (people > 0).then_some(MessagingLimit::People(people))
}

impl CloudApi {
    /// Asks what a number may do now.
    pub async fn limits(&self, phone_number_id: &str) -> Result<NumberLimits, LimitsError> {
        let digits = phone_number_id.bytes().all(|byte| byte.is_ascii_digit());
        if !digits || phone_number_id.is_empty() || phone_number_id.len() > MAX_PHONE_NUMBER_ID_DIGITS {
            let problem = "the phone number id is not a number of up to 32 digits";
            return Err(LimitsError::Unreadable(problem.to_owned()));
        }
        let unreadable = LimitsError::Unreadable;
        let request = self.get(Some(phone_number_id), phone_number_id, &[("fields", FIELDS)]);
        let answered = request.send().await;
        let mut response = answered.map_err(|error| unreadable(describe(error)))?;
        let status = response.status();
        let body = read_answer(&mut response, MAX_ANSWER_BYTES).await;
        let body = body.map_err(unreadable)?;
        if let Ok(ErrorBody { error }) = serde_json::from_slice(&body) {
            return Err(LimitsError::Refused(error));
        }
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if !status.is_success() || !answer.is_object() {
            let problem = format!("HTTP {} without a JSON object", status.as_u16());
            return Err(LimitsError::Unreadable(problem));
        }
        Ok(NumberLimits::from_answer(&answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_form_of_a_throughput_is_read() {
        let read = |throughput: Value| {
            NumberLimits::from_answer(&json!({ "throughput": throughput })).throughput_per_second
        };
        assert_eq!(read(json!({"level": "STANDARD"})), Some(80));
        assert_eq!(read(json!({"level": "high"})), Some(1_000));
        assert_eq!(read(json!({"level": 250})), Some(250));
        assert_eq!(read(json!("STANDARD")), Some(80));
        assert_eq!(read(json!(500)), Some(500));
        assert_eq!(read(json!("120")), Some(120));
        for nothing in [
            json!(null),
            json!({}),
            json!({"level": "NOT_APPLICABLE"}),
            json!(0),
            json!([1]),
            json!(-3),
        ] {
            assert_eq!(read(nothing.clone()), None, "{nothing}");
        }
    }

    #[test]
    fn every_form_of_a_messaging_limit_is_read() {
        let read = |limit: Value| {
            let answer = json!({ "whatsapp_business_manager_messaging_limit": limit });
            NumberLimits::from_answer(&answer).messaging_limit
        };
        for (form, people) in [
            (json!("TIER_250"), 250),
            (json!("TIER_2K"), 2_000),
            (json!("tier_10k"), 10_000),
            (json!("100K"), 100_000),
            (json!("TIER_1M"), 1_000_000),
            (json!(2_000), 2_000),
            (json!({"limit": 250}), 250),
            (json!({"value": "TIER_2K"}), 2_000),
        ] {
            assert_eq!(read(form.clone()), Some(MessagingLimit::People(people)), "{form}");
        }
        assert_eq!(read(json!("TIER_UNLIMITED")), Some(MessagingLimit::Unlimited));
        for nothing in [
            json!(null),
            json!(""),
            json!("TIER_NOT_SET"),
            json!("K"),
            json!(0),
            json!("99999999999999999K"),
        ] {
            assert_eq!(read(nothing.clone()), None, "{nothing}");
        }
    }
}
