//! Who was contacted: the newest message events, in one ring of fixed size.
//!
//! One ring for all customers bounds memory whatever the events are. A look-up walks it, which takes well
//! under a millisecond.

use campaign_core::contracts::MessageEvent;
use campaign_core::ids::{CampaignId, Seq};
use campaign_core::message::MessageState;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Most events kept, of all customers together.
pub const MAX_CONTACTS: usize = 200_000;
/// Most events that one answer lists.
pub const MAX_CONTACTS_LISTED: usize = 100;

/// Something that happened to a message for a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The campaign.
    pub campaign: CampaignId,
    /// The message's position in it.
    pub seq: Seq,
    /// What became of it.
    pub state: MessageState,
    /// When that was recorded.
    pub at: DateTime<Utc>,
    /// The error code, where the state has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<Box<str>>,
}

/// The newest contacts.
#[derive(Debug, Default)]
pub struct Contacts {
    newest_last: VecDeque<(u64, Contact)>,
}

impl Contacts {
    /// Keeps what the event says of the customer at `index`; the oldest gives way.
    pub fn record(&mut self, index: u64, event: MessageEvent) {
        if self.newest_last.len() == MAX_CONTACTS {
            self.newest_last.pop_front();
        }
        let MessageEvent {
            campaign,
            seq,
            state,
            at,
            error_code,
            ..
        } = event;
        let error_code = error_code.map(String::into_boxed_str);
        self.newest_last.push_back((
            index,
            Contact {
                campaign,
                seq,
                state,
                at,
                error_code,
            },
        ));
    }

    /// The contacts of the customer at `index`, newest first, at most [`MAX_CONTACTS_LISTED`]. An event that
    /// arrived more than once is listed once.
    pub fn of(&self, index: u64) -> Vec<Contact> {
        let mut listed: Vec<Contact> = Vec::new();
        for (_, contact) in self.newest_last.iter().rev().filter(|(of, _)| *of == index) {
            let same = |other: &Contact| {
                (other.campaign, other.seq, other.state) == (contact.campaign, contact.seq, contact.state)
            };
            if !listed.iter().any(same) {
                listed.push(contact.clone());
            }
            if listed.len() == MAX_CONTACTS_LISTED {
                break;
            }
        }
        listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, state: &str) -> MessageEvent {
        serde_json::from_value(serde_json::json!({
            "campaign": "01900000-0000-7000-8000-000000000001",
            "seq": seq,
            "customer_id": "C00000001",
            "state": state,
            "at": "2026-03-01T12:00:00Z",
        }))
        .expect("a message event")
    }

    #[test]
    fn lists_newest_first_and_each_event_once() {
        let mut contacts = Contacts::default();
        contacts.record(1, event(5, "accepted"));
        contacts.record(2, event(6, "accepted"));
        contacts.record(1, event(5, "read"));
        contacts.record(1, event(5, "read"));
        let states: Vec<_> = contacts.of(1).into_iter().map(|contact| contact.state).collect();
        assert_eq!(states, [MessageState::Read, MessageState::Accepted]);
    }

    #[test]
    fn both_bounds_bind() {
        let mut contacts = Contacts::default();
        contacts.record(7, event(1, "accepted"));
        for seq in 0..MAX_CONTACTS as u64 {
            contacts.record(8, event(seq, "accepted"));
        }
        assert_eq!(contacts.of(7), [], "the oldest gave way");
        assert_eq!(contacts.newest_last.len(), MAX_CONTACTS);
        assert_eq!(contacts.of(8).len(), MAX_CONTACTS_LISTED);
    }
}
