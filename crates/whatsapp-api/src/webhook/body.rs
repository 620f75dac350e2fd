//! Writes webhook bodies as Meta does. Used by the mock and by tests; borrows, so that a batch of a
//! thousand statuses is written without copying.

use serde::Serialize;

use crate::errors::GraphError;

/// The whole body.
#[derive(Debug, Serialize)]
pub struct Body<'a> {
    /// Always `whatsapp_business_account`.
    pub object: &'static str,
    /// One for each account.
    pub entry: [Entry<'a>; 1],
}

impl<'a> Body<'a> {
    /// A body about one account.
    pub fn new(account_id: &'a str, changes: Vec<Change<'a>>) -> Self {
        Self {
            object: "whatsapp_business_account",
            entry: [Entry {
                id: account_id,
                changes,
            }],
        }
    }
}

/// What happened to one account.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    /// WhatsApp Business Account id.
    pub id: &'a str,
    /// One for each field and phone number.
    pub changes: Vec<Change<'a>>,
}

/// What happened to one field.
#[derive(Debug, Serialize)]
pub struct Change<'a> {
    /// The field subscribed to.
    pub field: &'static str,
    /// Its value.
    pub value: Value<'a>,
}

impl<'a> Change<'a> {
    /// Statuses of messages sent from one phone number.
    pub fn statuses(phone_number_id: &'a str, statuses: Vec<Status<'a>>) -> Self {
        Self {
            field: "messages",
            value: Value::Messages(Messages {
                statuses,
                ..Messages::of(phone_number_id)
            }),
        }
    }

    /// Messages that people wrote to one phone number.
    pub fn messages(phone_number_id: &'a str, messages: Vec<serde_json::Value>) -> Self {
        Self {
            field: "messages",
            value: Value::Messages(Messages {
                messages,
                ..Messages::of(phone_number_id)
            }),
        }
    }

    /// A person's wish about marketing.
    pub fn preferences(phone_number_id: &'a str, preferences: Vec<Preference<'a>>) -> Self {
        Self {
            field: "user_preferences",
            value: Value::Preferences {
                messaging_product: "whatsapp",
                metadata: Metadata::of(phone_number_id),
                user_preferences: preferences,
            },
        }
    }
}

/// The value of a change.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Value<'a> {
    /// Of field `messages`.
    Messages(Messages<'a>),
    /// Of field `user_preferences`.
    Preferences {
        /// Always `whatsapp`.
        messaging_product: &'static str,
        /// Which phone number.
        metadata: Metadata<'a>,
        /// The wishes.
        user_preferences: Vec<Preference<'a>>,
    },
}

/// Value of the field `messages`.
#[derive(Debug, Serialize)]
pub struct Messages<'a> {
    /// Always `whatsapp`.
    pub messaging_product: &'static str,
    /// Which phone number.
    pub metadata: Metadata<'a>,
    /// Of messages that were sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<Status<'a>>,
    /// From people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<serde_json::Value>,
}

impl<'a> Messages<'a> {
    fn of(phone_number_id: &'a str) -> Self {
        Self {
            messaging_product: "whatsapp",
            metadata: Metadata::of(phone_number_id),
            statuses: Vec::new(),
            messages: Vec::new(),
        }
    }
}

/// Which phone number a change is about.
#[derive(Debug, Serialize)]
pub struct Metadata<'a> {
    /// As people write it.
    pub display_phone_number: &'a str,
    /// Meta's id of it.
    pub phone_number_id: &'a str,
}

impl<'a> Metadata<'a> {
    fn of(phone_number_id: &'a str) -> Self {
        Self {
            display_phone_number: phone_number_id,
            phone_number_id,
        }
    }
}

/// How far one message came.
#[derive(Debug, Serialize)]
pub struct Status<'a> {
    /// The wamid.
    pub id: String,
    /// `sent`, `delivered`, `read`, `failed`.
    pub status: &'static str,
    /// Seconds since 1970, as a string, as Meta writes it.
    pub timestamp: String,
    /// `wa_id` of the person.
    pub recipient_id: String,
    /// As given with the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub biz_opaque_callback_data: Option<std::borrow::Cow<'a, str>>,
    /// Why it failed.
    #[serde(skip_serializing_if = "<[GraphError]>::is_empty")]
    pub errors: &'a [GraphError],
}

/// A person's wish about marketing.
#[derive(Debug, Serialize)]
pub struct Preference<'a> {
    /// The person.
    pub wa_id: &'a str,
    /// `marketing_messages`
    pub category: &'static str,
    /// `stop` or `resume`.
    pub value: &'static str,
    /// Seconds since 1970.
    pub timestamp: i64,
}
