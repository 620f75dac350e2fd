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
    pub entry: Vec<Entry<'a>>,
}

impl<'a> Body<'a> {
    /// A body about one account.
    pub fn new(account_id: &'a str, changes: Vec<Change<'a>>) -> Self {
        Self::of(vec![Entry {
            id: account_id,
            time: None,
            changes,
        }])
    }

    /// A body about several accounts.
    pub fn of(entry: Vec<Entry<'a>>) -> Self {
        Self {
            object: "whatsapp_business_account",
            entry,
        }
    }
}

/// What happened to one account.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    /// WhatsApp Business Account id.
    pub id: &'a str,
    /// Seconds since 1970; changes of the account have it, those of messages do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
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

    /// A change of any field, with a value that is written as it is.
    pub fn raw(field: &'static str, value: serde_json::Value) -> Self {
        Self {
            field,
            value: Value::Raw(value),
        }
    }

    /// Adds who the statuses, messages or wishes are about.
    #[must_use]
    pub fn with_contacts(mut self, given: Vec<Contact>) -> Self {
        match &mut self.value {
            Value::Messages(Messages { contacts, .. }) | Value::Preferences { contacts, .. } => {
                *contacts = given;
            }
            Value::Raw(_) => {}
        }
        self
    }

    /// Adds the phone number as people write it, without which its id stands in for it.
    #[must_use]
    pub fn with_display_phone_number(mut self, number: &'a str) -> Self {
        match &mut self.value {
            Value::Messages(Messages { metadata, .. }) | Value::Preferences { metadata, .. } => {
                metadata.display_phone_number = number;
            }
            Value::Raw(_) => {}
        }
        self
    }

    /// A person's wish about marketing.
    pub fn preferences(phone_number_id: &'a str, preferences: Vec<Preference<'a>>) -> Self {
        Self {
            field: "user_preferences",
            value: Value::Preferences {
                messaging_product: "whatsapp",
                metadata: Metadata::of(phone_number_id),
                contacts: Vec::new(),
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
        /// Whose they are.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        contacts: Vec<Contact>,
        /// The wishes.
        user_preferences: Vec<Preference<'a>>,
    },
    /// Of any other field.
    Raw(serde_json::Value),
}

/// Value of the field `messages`.
#[derive(Debug, Serialize)]
pub struct Messages<'a> {
    /// Always `whatsapp`.
    pub messaging_product: &'static str,
    /// Which phone number.
    pub metadata: Metadata<'a>,
    /// Who they went to or came from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<Contact>,
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
            contacts: Vec::new(),
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
    /// `wa_id` of the person; absent when a user id was addressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_id: Option<String>,
    /// The business-scoped user id of the person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_user_id: Option<String>,
    /// As given with the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub biz_opaque_callback_data: Option<std::borrow::Cow<'a, str>>,
    /// Up to v23.0: the thread that the message belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<Conversation>,
    /// What the message costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pricing: Option<Pricing>,
    /// Why it failed.
    #[serde(skip_serializing_if = "<[GraphError]>::is_empty")]
    pub errors: &'a [GraphError],
}

/// A person, as the business knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Contact {
    /// What they call themselves.
    pub profile: Profile,
    /// Absent when only the user id is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wa_id: Option<String>,
    /// The business-scoped user id.
    pub user_id: String,
}

/// What a person calls themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// Their name.
    pub name: String,
}

/// A thread of messages, as webhooks up to v23.0 have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conversation {
    /// Its id.
    pub id: String,
    /// When it ends, in seconds since 1970, as a string; only `sent` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_timestamp: Option<String>,
    /// How it began.
    pub origin: Origin,
}

/// How a thread began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// As in `marketing`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// What a message costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pricing {
    /// Whether it costs anything.
    pub billable: bool,
    /// `PMP`: by the message.
    pub pricing_model: &'static str,
    /// As in `marketing`.
    pub category: &'static str,
    /// `regular` or `free_customer_service`.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// A person's wish about marketing.
#[derive(Debug, Serialize)]
pub struct Preference<'a> {
    /// The person.
    pub wa_id: &'a str,
    /// What they wish, in words.
    pub detail: &'static str,
    /// `marketing_messages`
    pub category: &'static str,
    /// `stop` or `resume`.
    pub value: &'static str,
    /// Seconds since 1970.
    pub timestamp: i64,
}
