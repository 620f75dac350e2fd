//! One entry: a body as JSON, and the trace context of whoever wrote it.

use crate::{Result, StreamsError};
use campaign_core::contracts::{BODY_FIELD, TRACE_FIELD};
use redis::Value;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A body with the trace context it travels with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced<T> {
    /// What is said.
    pub body: T,
    /// The W3C `traceparent` of whoever said it; empty when not sampled.
    pub trace: String,
}

impl<T> Traced<T> {
    /// With the trace context, where there is one.
    pub fn new(body: T, trace: Option<String>) -> Self {
        Self {
            body,
            trace: trace.unwrap_or_default(),
        }
    }
}

impl<T: DeserializeOwned> Traced<T> {
    /// Reads an entry's fields, or says why they cannot be read. A trace that is missing or not text is an
    /// empty one.
    pub fn from_fields(fields: &[(Vec<u8>, Vec<u8>)]) -> std::result::Result<Self, String> {
        let body = field(fields, BODY_FIELD).ok_or_else(|| format!("it has no field {BODY_FIELD:?}"))?;
        let body = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let trace = field(fields, TRACE_FIELD)
            .and_then(|trace| std::str::from_utf8(trace).ok())
            .unwrap_or_default();
        Ok(Self {
            body,
            trace: trace.to_owned(),
        })
    }
}

fn field<'a>(fields: &'a [(Vec<u8>, Vec<u8>)], name: &str) -> Option<&'a [u8]> {
    let found = fields.iter().find(|(key, _)| key == name.as_bytes());
    found.map(|(_, value)| value.as_slice())
}

/// An entry as it was read.
#[derive(Debug, Clone)]
pub(crate) struct RawEntry {
    pub(crate) id: String,
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl RawEntry {
    /// From Redis's `[id, [field, value, ...]]`. The fields of an entry that was deleted while pending
    /// are nil; it becomes an entry without fields.
    pub(crate) fn from_value(value: Value) -> Result<Self> {
        let parts = array(value, "entry")?;
        let mut parts = parts.into_iter();
        let id = text(parts.next().unwrap_or(Value::Nil), "entry id")?;
        let mut fields = Vec::new();
        if let Some(values) = parts.next().filter(|value| *value != Value::Nil) {
            let mut values = array(values, "entry fields")?.into_iter();
            while let (Some(name), Some(value)) = (values.next(), values.next()) {
                fields.push((bytes(name, "field name")?, bytes(value, "field value")?));
            }
        }
        Ok(Self { id, fields })
    }

    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        field(&self.fields, name)
    }

    pub(crate) fn decode<T: DeserializeOwned>(&self) -> std::result::Result<Traced<T>, String> {
        Traced::from_fields(&self.fields)
    }

    /// The fields as text, for a dead letter.
    pub(crate) fn fields_as_text(&self) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.fields
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }
}

pub(crate) fn encode<T: Serialize>(body: &T) -> String {
    serde_json::to_string(body).expect("contracts are always JSON")
}

/// The entries of an `XREAD` or `XREADGROUP` of one stream.
pub(crate) fn entries_of_read(reply: Value) -> Result<Vec<RawEntry>> {
    let value = match reply {
        Value::Nil => return Ok(Vec::new()),
        Value::Array(streams) => {
            let Some(stream) = streams.into_iter().next() else {
                return Ok(Vec::new());
            };
            array(stream, "stream")?.into_iter().nth(1).unwrap_or(Value::Nil)
        }
        Value::Map(streams) => streams
            .into_iter()
            .next()
            .map_or(Value::Nil, |(_, entries)| entries),
        other => return Err(StreamsError::undecodable("read reply", format!("{other:?}"))),
    };
    entries(value)
}

/// A list of entries, as `XRANGE` returns it.
pub(crate) fn entries(value: Value) -> Result<Vec<RawEntry>> {
    if value == Value::Nil {
        return Ok(Vec::new());
    }
    array(value, "entries")?
        .into_iter()
        .map(RawEntry::from_value)
        .collect()
}

pub(crate) fn array(value: Value, what: &'static str) -> Result<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(StreamsError::undecodable(
            what,
            format!("expected a list, found {other:?}"),
        )),
    }
}

pub(crate) fn bytes(value: Value, what: &'static str) -> Result<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        other => Err(StreamsError::undecodable(
            what,
            format!("expected a string, found {other:?}"),
        )),
    }
}

pub(crate) fn text(value: Value, what: &'static str) -> Result<String> {
    String::from_utf8(bytes(value, what)?).map_err(|error| StreamsError::undecodable(what, error))
}

pub(crate) fn number(value: Value, what: &'static str) -> Result<i64> {
    match value {
        Value::Int(number) => Ok(number),
        other => text(other, what)?
            .parse()
            .map_err(|error| StreamsError::undecodable(what, error)),
    }
}
