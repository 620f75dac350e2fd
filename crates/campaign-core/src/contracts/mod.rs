//! Every entry that travels through Redis, and the names of the streams it travels on.
//!
//! An entry has a field [`BODY_FIELD`] with one of these types as JSON, and a field [`TRACE_FIELD`] with
//! the W3C `traceparent` of whoever wrote it (empty when not sampled). Only the lane's own messages, the
//! hottest of all, spread over several fields ([`QueuedMessage`]).
//!
//! Contracts only grow: a new field has a default, an old one keeps its meaning. The tests hold the JSON
//! of every version ever written; each must still decode.

mod account;
mod lane;
mod message_events;
mod outcome;

pub use account::{AccountChange, AccountEvent, Meaning, meaning_of_account, meaning_of_quality};
pub use lane::{LaneProfile, QueuedMessage, SnapshotTemplate, UndecodableMessage};
pub use message_events::{MESSAGE_EVENTS_MAX, MessageEvent, MessageEvents};
pub use outcome::{
    ERROR_TEXT_MAX_CHARS, ErrorNote, MessageOutcome, OptOut, Outcome, OutcomeSource, Trouble, TroubleScope,
};

use crate::ids::{CampaignId, LaneId};
use crate::message::text_enum;
use crate::phone::CanonicalPhone;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The field that holds an entry's JSON.
pub const BODY_FIELD: &str = "body";
/// The field that holds the producer's trace context.
pub const TRACE_FIELD: &str = "trace";

/// Ticks: the specification's `campaignSchedulerQueue`.
pub const SCHEDULER_STREAM: &str = "campaign.scheduler";
/// Campaigns to send: the specification's `campaignSenderQueue`.
pub const SENDER_STREAM: &str = "campaign.sender";
/// What the ledger recorded, for the outside.
pub const MESSAGE_EVENTS_STREAM: &str = "message.events";
/// What changed at the ERP.
pub const CUSTOMER_EVENTS_STREAM: &str = "customer.events";
/// What was said about messaging people, by themselves over WhatsApp or by a user of this engine; for the ERP.
pub const SUPPRESSION_EVENTS_STREAM: &str = "suppression.events";
/// About how many of them are kept for an ERP that is away; what is older it finds in `/v1/suppressions`.
pub const SUPPRESSION_EVENTS_MAX: usize = 100_000;
/// What WhatsApp reports about accounts, templates and numbers.
pub const ACCOUNT_EVENTS_STREAM: &str = "account.events";
/// Entries that nobody could handle, with their origin.
pub const DEAD_LETTER_STREAM: &str = "dead-letter";
/// What WhatsApp reported of messages that are not known here. Apart from the dead letters, which a flood of
/// these must not push out.
pub const STRAYS_STREAM: &str = "webhook.strays";
/// Where a [`DeadLetter`] came from that was no entry of a stream: a webhook.
pub const WEBHOOK_ORIGIN: &str = "webhook";

/// Group of the schedulers on [`SCHEDULER_STREAM`] and [`ACCOUNT_EVENTS_STREAM`].
pub const SCHEDULER_GROUP: &str = "scheduler-svc";
/// Group of the senders on [`SENDER_STREAM`] and [`CUSTOMER_EVENTS_STREAM`].
pub const SENDER_GROUP: &str = "sender-svc";
/// Group of the message services on each campaign's stream in a lane.
pub const MESSAGE_GROUP: &str = "message-svc";
/// Group of the ERP on [`MESSAGE_EVENTS_STREAM`] and [`SUPPRESSION_EVENTS_STREAM`].
pub const ERP_GROUP: &str = "erp";

text_enum! {
    /// What made a tick.
    TickKind {
        /// The full minute.
        Minute = "minute",
        /// The moment that a campaign is due.
        Due = "due",
        /// A person asked for it, by scheduling a campaign for now.
        Asked = "asked",
    }
}

/// On [`SCHEDULER_STREAM`]: look for campaigns that are due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// What made it.
    pub kind: TickKind,
}

/// On [`SENDER_STREAM`]: a campaign became `SENDING`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendCampaign {
    /// Which.
    pub campaign: CampaignId,
    /// The number it is sent from.
    pub lane: LaneId,
}

text_enum! {
    /// What happened to a customer.
    CustomerEventKind {
        /// The customer asked not to be messaged.
        OptedOut = "opted_out",
        /// The customer allows messages again.
        OptedIn = "opted_in",
        /// Something else changed.
        Changed = "changed",
    }
}

/// On [`CUSTOMER_EVENTS_STREAM`]: a customer changed at the ERP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerEvent {
    /// What happened.
    pub kind: CustomerEventKind,
    /// The ERP's id of the customer.
    pub customer_id: String,
    /// The customer's phone as the ERP has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// On [`SUPPRESSION_EVENTS_STREAM`]: a person said by WhatsApp whether to be messaged, and the ledger recorded
/// it; or a user of this engine decided so. At least once; of two about one person the later `at` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuppressionEvent {
    /// Who.
    pub phone: CanonicalPhone,
    /// The ERP's ids of customers with this number to whom recent campaigns were addressed; may be none.
    #[serde(default)]
    pub customer_ids: Vec<String>,
    /// `true`: no more messages. `false`: messages are welcome again.
    pub stop: bool,
    /// How it was said: `preference`, `keyword`, `error_131050`; or `api`, by a user of this engine.
    pub source: String,
    /// When it was said.
    pub at: DateTime<Utc>,
}

/// On [`DEAD_LETTER_STREAM`] and [`STRAYS_STREAM`]: what could not be handled, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The stream it came from.
    pub stream: String,
    /// Its id there.
    pub id: String,
    /// Why it was rejected.
    pub reason: String,
    /// Its fields; bytes that are not UTF-8 are replaced.
    pub fields: Vec<(String, String)>,
}

#[cfg(test)]
mod tests;
