//! What the outside is told of messages.

use crate::ids::{CampaignId, Seq};
use crate::message::MessageState;
use chrono::{DateTime, Utc};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// About how many events [`MESSAGE_EVENTS_STREAM`](super::MESSAGE_EVENTS_STREAM) keeps for a reader that is behind.
pub const MESSAGE_EVENTS_MAX: usize = 100_000;

/// The ledger recorded a new state of a message. Told at least once for each (campaign, seq, state).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageEvent {
    /// The campaign.
    pub campaign: CampaignId,
    /// The message's position in it.
    pub seq: Seq,
    /// The ERP's id of the customer.
    pub customer_id: String,
    /// The state.
    pub state: MessageState,
    /// When it was recorded.
    pub at: DateTime<Utc>,
    /// The error code, where the state has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
}

/// The body of an entry of [`MESSAGE_EVENTS_STREAM`](super::MESSAGE_EVENTS_STREAM): some events, as a JSON array. What
/// an entry costs Redis and its readers is shared by them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageEvents(pub Vec<MessageEvent>);

impl MessageEvents {
    /// Most events of one entry.
    pub const MAX: usize = 16;

    /// The entries that tell these events, in their order.
    pub fn in_entries(events: Vec<MessageEvent>) -> Vec<Self> {
        let mut entries = Vec::with_capacity(events.len().div_ceil(Self::MAX));
        let mut events = events.into_iter().peekable();
        while events.peek().is_some() {
            entries.push(Self(events.by_ref().take(Self::MAX).collect()));
        }
        entries
    }
}

/// Before events shared entries, a body was one event without an array around it.
impl<'de> Deserialize<'de> for MessageEvents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SomeOrOne;

        impl<'de> Visitor<'de> for SomeOrOne {
            type Value = MessageEvents;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list of message events, or one")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut some: A) -> Result<MessageEvents, A::Error> {
                let mut events = Vec::with_capacity(MessageEvents::MAX);
                while let Some(event) = some.next_element()? {
                    events.push(event);
                }
                Ok(MessageEvents(events))
            }

            fn visit_map<A: MapAccess<'de>>(self, one: A) -> Result<MessageEvents, A::Error> {
                MessageEvent::deserialize(MapAccessDeserializer::new(one))
                    .map(|event| MessageEvents(vec![event]))
            }
        }

        deserializer.deserialize_any(SomeOrOne)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_filled_in_order() {
        let event = |seq| MessageEvent {
            campaign: CampaignId(uuid::Uuid::nil()),
            seq: Seq(seq),
            customer_id: "C1".to_owned(),
            state: MessageState::Accepted,
            at: DateTime::UNIX_EPOCH,
            error_code: None,
        };
        for (count, sizes) in [(0, vec![]), (16, vec![16]), (17, vec![16, 1])] {
            let events: Vec<MessageEvent> = (0..count).map(event).collect();
            let entries = MessageEvents::in_entries(events.clone());
            let found: Vec<usize> = entries.iter().map(|entry| entry.0.len()).collect();
            assert_eq!(found, sizes);
            assert_eq!(
                entries.into_iter().flat_map(|entry| entry.0).collect::<Vec<_>>(),
                events
            );
        }
    }
}
