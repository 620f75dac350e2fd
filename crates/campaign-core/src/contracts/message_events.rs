//! What the outside is told of messages.

use crate::ids::{CampaignId, Seq};
use crate::message::MessageState;
use chrono::{DateTime, Utc};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// About how many entries of [`MESSAGE_EVENTS_STREAM`](super::MESSAGE_EVENTS_STREAM) are kept for a reader that is
/// behind: 20 MB when all are full, and the events of some minutes of a number at 80 messages a second.
pub const MESSAGE_EVENTS_MAX: usize = 8_000;

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
