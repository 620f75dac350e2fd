//! What Meta reports later: the body of `POST /webhooks/whatsapp`.
//!
//! A body holds up to [`MAX_UPDATES`] updates over several `entry[]` and `changes[]`, in any order and
//! more than once. [`parse`] reads all of them into one flat list; an element that cannot be read is
//! counted and skipped, because refusing the body for it would make Meta send the same body again for
//! days, with every good element in it. Only what is not a webhook at all is an error.
//!
//! [`body`] writes the same shapes, for the mock.

pub mod body;
mod parse;

pub use parse::parse;

use crate::errors::GraphError;

/// Largest body (Meta: 3 MB).
pub const MAX_WEBHOOK_BYTES: usize = 3 * 1024 * 1024;
/// Most updates in one body (Meta: 1,000).
pub const MAX_UPDATES: usize = 1_000;

/// Everything one body said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Webhook {
    /// In the order of the body.
    pub updates: Vec<Update>,
    /// Elements that were there but could not be read.
    pub unreadable: usize,
}

/// Why a body is refused.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// Over [`MAX_WEBHOOK_BYTES`].
    #[error("the webhook body has {0} bytes; at most {MAX_WEBHOOK_BYTES} are read")]
    TooLarge(usize),
    /// Over [`MAX_UPDATES`]: taking only some of them would lose the rest without a trace.
    #[error("the webhook body holds more than {MAX_UPDATES} updates")]
    TooManyUpdates,
    /// Not JSON, or cut off.
    #[error("the webhook body is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// JSON, but not a webhook.
    #[error("the webhook body has no list called \"entry\"")]
    NoEntry,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// A message we sent went further, or failed after it was accepted.
    Status(Status),
    /// A person wrote or pressed a button.
    Inbound(Inbound),
    /// A person stopped or resumed marketing.
    Preference(Preference),
    /// A template was approved, paused, disabled, ….
    TemplateStatus(TemplateStatus),
    /// A phone number's quality or limit changed.
    Quality(Quality),
    /// Something happened to the account.
    Account(AccountUpdate),
    /// A field that is not read; the name of the field.
    Unknown(String),
}

/// How far a message came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryStatus {
    /// On its way.
    Sent,
    /// On the person's phone.
    Delivered,
    /// Read; can come without `delivered`.
    Read,
    /// Will not arrive; see the errors.
    Failed,
    /// A voice message was played.
    Played,
    /// A status that is not known here.
    Other(String),
}

impl DeliveryStatus {
    /// As Meta writes it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed => "failed",
            Self::Played => "played",
            Self::Other(other) => other,
        }
    }
}

impl From<&str> for DeliveryStatus {
    fn from(text: &str) -> Self {
        match text {
            "sent" => Self::Sent,
            "delivered" => Self::Delivered,
            "read" => Self::Read,
            "failed" => Self::Failed,
            "played" => Self::Played,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// A message we sent went further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The business phone number it was sent from.
    pub phone_number_id: String,
    /// The message.
    pub wamid: String,
    /// How far it came.
    pub status: DeliveryStatus,
    /// Seconds since 1970, by Meta's clock.
    pub timestamp_s: Option<i64>,
    /// `wa_id` of the person; absent for user ids. Not a key: it may differ from the number sent to.
    pub recipient_id: Option<String>,
    /// `biz_opaque_callback_data` of the send: what to join by.
    pub callback_data: Option<String>,
    /// Why it failed; decided by the same table as answers.
    pub errors: Vec<GraphError>,
    /// What it costs, where Meta says.
    pub pricing: Option<StatusPricing>,
}

/// The `pricing` of a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusPricing {
    /// Whether it is billed; absent in some versions, which bill.
    pub billable: Option<bool>,
    /// `PMP` (per message) or `CBP` (per conversation).
    pub model: Option<String>,
    /// `marketing`, `utility`, `authentication`, `service`, `marketing_lite`, ….
    pub category: Option<String>,
    /// `regular`, `free_customer_service`, `free_entry_point`.
    pub kind: Option<String>,
}

/// A person wrote or pressed a button.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// The business phone number it came to.
    pub phone_number_id: String,
    /// `wa_id` of the person, also where only the body's contacts tell it; absent for people known only by user
    /// id.
    pub from: Option<String>,
    /// Business-scoped user id.
    pub from_user_id: Option<String>,
    /// The person's message.
    pub wamid: String,
    /// What it says.
    pub content: InboundContent,
    /// Our message it answers.
    pub context_id: Option<String>,
    /// Seconds since 1970, by Meta's clock.
    pub timestamp_s: Option<i64>,
}

/// What a person's message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboundContent {
    /// Free text.
    Text(String),
    /// A template's quick reply.
    Button {
        /// What the button shows.
        text: String,
        /// What we gave it to send back.
        payload: Option<String>,
    },
    /// A reply button or list row.
    Interactive {
        /// What was chosen, as shown.
        text: String,
        /// Its id.
        payload: Option<String>,
    },
    /// Anything else: its type.
    Other(String),
}

/// Whether a person wants marketing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreferenceValue {
    /// No more.
    Stop,
    /// Again.
    Resume,
}

/// A person stopped or resumed marketing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preference {
    /// The business phone number, if the webhook names one.
    pub phone_number_id: Option<String>,
    /// The person; absent for people known only by user id.
    pub wa_id: Option<String>,
    /// Business-scoped user id.
    pub user_id: Option<String>,
    /// `marketing_messages`
    pub category: String,
    /// Their wish.
    pub value: PreferenceValue,
    /// Seconds since 1970, by Meta's clock.
    pub timestamp_s: Option<i64>,
}

/// A template was approved, paused, disabled, ….
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateStatus {
    /// WhatsApp Business Account id.
    pub account_id: String,
    /// Meta's id of the template.
    pub template_id: Option<String>,
    /// Name of the template.
    pub name: String,
    /// With an underscore, whichever way Meta wrote it.
    pub language: String,
    /// `APPROVED`, `REJECTED`, `PENDING`, `PAUSED`, `DISABLED`, `FLAGGED`, `REINSTATED`, ….
    pub event: String,
    /// Why, if Meta says.
    pub reason: Option<String>,
}

/// A phone number's quality or limit changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quality {
    /// WhatsApp Business Account id.
    pub account_id: String,
    /// The phone number as people write it; the webhook has no id.
    pub display_phone_number: Option<String>,
    /// `FLAGGED`, `UNFLAGGED`, `UPGRADE`, `DOWNGRADE`, `THROUGHPUT_UPGRADE`, ….
    pub event: String,
    /// Messaging limit, such as `TIER_10K`.
    pub current_limit: Option<String>,
}

/// Something happened to the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountUpdate {
    /// WhatsApp Business Account id.
    pub account_id: String,
    /// `ACCOUNT_VIOLATION`, `ACCOUNT_RESTRICTION`, `DISABLED_UPDATE`, ….
    pub event: String,
    /// What was violated, the state of a ban, or what was restricted, if Meta says.
    pub reason: Option<String>,
}
