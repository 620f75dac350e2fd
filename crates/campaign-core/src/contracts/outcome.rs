//! What the message services report on a lane's outcomes stream, for the ledger to record.

use crate::campaign::HoldKind;
use crate::cost::ReportedPricing;
use crate::ids::{CampaignId, InstanceId, MessageKey};
use crate::message::{MessageState, Report, SkipReason, text_enum};
use crate::phone::CanonicalPhone;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One entry of `{pn:<lane>}:outcomes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Outcome {
    /// A message has a new state.
    Message(MessageOutcome),
    /// An instance asks to be a member of the lane on this Redis. On a new Redis it is also the word
    /// that nothing of the instance is in flight any more and all its outcomes lie before this one.
    Join {
        /// Who.
        instance: InstanceId,
        /// The identity of the Redis it joined on.
        identity: String,
        /// The most messages it can have in flight.
        concurrency: u32,
    },
    /// An instance has finished everything and ends.
    Left {
        /// Who.
        instance: InstanceId,
    },
    /// Something larger than one message is wrong.
    Trouble(Trouble),
    /// A person asked not to be messaged, or allows it again.
    OptOut(OptOut),
}

/// A message's new state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageOutcome {
    /// Which message, and from which round.
    #[serde(with = "key_as_text")]
    pub key: MessageKey,
    /// The state.
    pub state: MessageState,
    /// When.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub at: DateTime<Utc>,
    /// Who says so.
    pub source: OutcomeSource,
    /// Attempts made so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i32>,
    /// WhatsApp's id of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wamid: Option<String>,
    /// The recipient's `wa_id`, where it differs from the number sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wa_id: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorNote>,
    /// For `deferred`: not before this time.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "chrono::serde::ts_milliseconds_option"
    )]
    pub due: Option<DateTime<Utc>>,
    /// For `skipped`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip: Option<SkipReason>,
    /// The person stopped marketing: whoever has this message's number is to be suppressed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suppress: bool,
    /// What WhatsApp says of its pricing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing: Option<ReportedPricing>,
}

text_enum! {
    /// Who reports a message's state.
    OutcomeSource {
        /// The answer to the send, or its absence.
        Send = "send",
        /// A status webhook.
        Webhook = "webhook",
    }
}

/// Longest error text that is kept, in characters.
pub const ERROR_TEXT_MAX_CHARS: usize = 500;

/// An error as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorNote {
    /// Meta's code, or one of our own words (`timeout`, `lost`, `expired`).
    pub code: String,
    /// What it said, and what a person can do.
    pub text: String,
}

impl ErrorNote {
    /// Cuts the text to [`ERROR_TEXT_MAX_CHARS`].
    pub fn new(code: impl Into<String>, text: impl AsRef<str>) -> Self {
        Self {
            code: code.into(),
            text: text.as_ref().chars().take(ERROR_TEXT_MAX_CHARS).collect(),
        }
    }
}

impl MessageOutcome {
    /// An outcome with only what every outcome has.
    pub fn new(key: MessageKey, state: MessageState, at: DateTime<Utc>, source: OutcomeSource) -> Self {
        Self {
            key,
            state,
            at,
            source,
            attempts: None,
            wamid: None,
            wa_id: None,
            error: None,
            due: None,
            skip: None,
            suppress: false,
            pricing: None,
        }
    }

    /// The part of it that the ledger's row can take in.
    pub fn report(&self) -> Report {
        let skipped = self
            .skip
            .map(|reason| (reason.as_str().to_owned(), String::new()));
        Report {
            generation: self.key.generation,
            state: self.state,
            at: self.at,
            attempts: self.attempts,
            wamid: self.wamid.clone(),
            wa_id: self.wa_id.clone(),
            error: self
                .error
                .as_ref()
                .map(|note| (note.code.clone(), note.text.clone()))
                .or(skipped),
        }
    }
}

/// Something larger than one message is wrong: the owner holds what it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What it concerns.
    pub scope: TroubleScope,
    /// The hold it calls for.
    pub hold: HoldKind,
    /// What WhatsApp said.
    pub error: ErrorNote,
    /// When.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub at: DateTime<Utc>,
}

/// What a [`Trouble`] concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleScope {
    /// Everything sent from this number.
    Lane,
    /// Everything sent from any number of this number's account.
    Account,
    /// One campaign.
    Campaign(CampaignId),
}

/// A person's wish about being messaged, told by WhatsApp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptOut {
    /// Who.
    pub phone: CanonicalPhone,
    /// `true`: no more messages. `false`: messages are welcome again.
    pub stop: bool,
    /// How it was said: `preference`, `keyword`, `error_131050`.
    pub source: String,
    /// When.
    #[serde(with = "chrono::serde::ts_milliseconds")]
    pub at: DateTime<Utc>,
}

mod key_as_text {
    use crate::ids::MessageKey;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(key: &MessageKey, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(key)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MessageKey, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}
