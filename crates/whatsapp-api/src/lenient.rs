//! Reading what Meta writes in more than one form.
//!
//! Codes and timestamps come as a number in one message and as a string in the next; `error_data` is an
//! object in answers and has been seen as a JSON string. One reader for each form, used everywhere.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An integer that may be written as a number or as a string of digits.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A text that may be written as a number.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(crate) fn deserialize_integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    integer(&value).ok_or_else(|| serde::de::Error::custom("expected an integer or a string of digits"))
}

pub(crate) fn deserialize_optional_integer<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    Ok(integer(&Value::deserialize(deserializer)?))
}

pub(crate) fn deserialize_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let value = Value::deserialize(deserializer)?;
    text(&value).ok_or_else(|| serde::de::Error::custom("expected a string or a number"))
}
