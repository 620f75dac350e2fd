//! Every entry that a service reads from Redis, where anyone with its password can write.

use campaign_core::contracts::{
    BODY_FIELD, CustomerEvent, DeadLetter, LaneProfile, MessageEvents, Outcome, QueuedMessage, SendCampaign,
    SnapshotTemplate, TRACE_FIELD, Tick,
};
use campaign_streams::{StreamId, Traced};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Name and value.
type Field = (Vec<u8>, Vec<u8>);

/// Stands between names and values of the fields.
const SEPARATOR: u8 = 0;

/// Reads `name\0value\0name\0value…` as the fields of an entry of every kind. What can be read can be written,
/// and is then read the same.
pub fn stream_entry(input: &[u8]) -> usize {
    let parts: Vec<&[u8]> = input.split(|byte| *byte == SEPARATOR).collect();
    let pairs = parts.chunks_exact(2);
    let fields: Vec<Field> = pairs.map(|pair| (pair[0].to_vec(), pair[1].to_vec())).collect();
    let kinds: [fn(&[Field]) -> bool; 8] = [
        survives::<Tick>,
        survives::<SendCampaign>,
        survives::<MessageEvents>,
        survives::<CustomerEvent>,
        survives::<DeadLetter>,
        survives::<Outcome>,
        survives::<SnapshotTemplate>,
        survives::<LaneProfile>,
    ];
    let bodies = kinds.iter().filter(|survives| survives(&fields)).count();
    let ids = fields.iter().filter(|(_, value)| id_survives(value)).count();
    bodies + ids + usize::from(message_survives(&fields))
}

fn survives<T>(fields: &[Field]) -> bool
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let Ok(Traced { body, trace }) = Traced::<T>::from_fields(fields) else {
        return false;
    };
    let json = serde_json::to_vec(&body).expect("contracts are always JSON");
    let written = [
        (BODY_FIELD.into(), json.clone()),
        (TRACE_FIELD.into(), trace.clone().into_bytes()),
    ];
    let again = Traced::<T>::from_fields(&written);
    assert_eq!(
        again,
        Ok(Traced { body, trace }),
        "{}",
        String::from_utf8_lossy(&json)
    );
    true
}

fn message_survives(fields: &[Field]) -> bool {
    let slices = fields
        .iter()
        .map(|(name, value)| (name.as_slice(), value.as_slice()));
    let Ok(message) = QueuedMessage::from_fields(slices) else {
        return false;
    };
    let values = message.to_values();
    let written = QueuedMessage::FIELDS.iter().zip(&values);
    let again = QueuedMessage::from_fields(written.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    assert_eq!(again, Ok(message), "{values:?}");
    true
}

fn id_survives(value: &[u8]) -> bool {
    let text = std::str::from_utf8(value).unwrap_or_default();
    let Ok(id) = text.parse::<StreamId>() else {
        return false;
    };
    assert_eq!(id.to_string().parse(), Ok(id), "{text}");
    if let Some((generation, seq)) = id.message() {
        assert_eq!(StreamId::of_message(generation, seq), id, "{text}");
    }
    true
}
