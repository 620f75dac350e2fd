//! What people write to the business, on a test's behalf.

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use whatsapp_api::webhook::PreferenceValue;
use whatsapp_api::webhook::body::{Change, Preference};

use super::rendering::contact;
use crate::person;

/// A person's message or wish.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InboundRequest {
    /// The business phone number it comes to.
    pub phone_number_id: String,
    /// `wa_id` of the person: digits.
    pub from: String,
    /// What it is.
    pub content: InboundContent,
    /// The message of ours that it answers.
    #[serde(default)]
    pub context_id: Option<String>,
}

/// What a person sends.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum InboundContent {
    /// Free text.
    Text {
        /// The text.
        body: String,
    },
    /// A template's quick reply.
    Button {
        /// What it shows.
        text: String,
        /// What we gave it to send back.
        payload: String,
    },
    /// A reply button.
    Interactive {
        /// Its id.
        id: String,
        /// What it shows.
        title: String,
    },
    /// No more marketing, or again.
    Preference {
        /// `stop` or `resume`.
        #[serde(deserialize_with = "preference")]
        #[schema(value_type = String)]
        value: PreferenceValue,
    },
}

impl InboundRequest {
    /// Every field that is wrong: its name, what was wrong, what would be right.
    pub(crate) fn problems(&self) -> Vec<(String, String, &'static str)> {
        let digits =
            |text: &str| (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        [("/phone_number_id", &self.phone_number_id), ("/from", &self.from)]
            .into_iter()
            .filter(|(_, text)| !digits(text))
            .map(|(field, _)| (field.to_owned(), "something else".to_owned(), "digits, without +"))
            .collect()
    }

    /// The person, as a number; their digits are few enough.
    pub(crate) fn wa_id(&self) -> u64 {
        self.from.parse().unwrap_or(u64::MAX)
    }

    /// Whether it opens the window in which the business may answer freely.
    pub(crate) fn opens_window(&self) -> bool {
        !matches!(self.content, InboundContent::Preference { .. })
    }

    pub(crate) fn change(&self, wamid: &str, now_s: u64) -> Change<'_> {
        let contacts = contact(self.wa_id()).into_iter().collect();
        self.bare_change(wamid, now_s).with_contacts(contacts)
    }

    fn bare_change(&self, wamid: &str, now_s: u64) -> Change<'_> {
        if let InboundContent::Preference { value } = &self.content {
            let (value, detail) = match value {
                PreferenceValue::Stop => ("stop", "User requested to stop marketing messages"),
                PreferenceValue::Resume => ("resume", "User requested to resume marketing messages"),
            };
            let preference = Preference {
                wa_id: &self.from,
                detail,
                category: "marketing_messages",
                value,
                timestamp: now_s.cast_signed(),
            };
            return Change::preferences(&self.phone_number_id, vec![preference]);
        }
        let mut message = json!({"from": self.from, "id": wamid, "timestamp": now_s.to_string()});
        if let Some(user_id) = person::user_id(self.wa_id()) {
            message["from_user_id"] = user_id.into();
        }
        let (kind, content) = self.content.wire();
        message["type"] = kind.into();
        message[kind] = content;
        if let Some(context_id) = &self.context_id {
            message["context"] = json!({"from": self.phone_number_id, "id": context_id});
        }
        Change::messages(&self.phone_number_id, vec![message])
    }
}

impl InboundContent {
    fn wire(&self) -> (&'static str, Value) {
        match self {
            Self::Text { body } => ("text", json!({"body": body})),
            Self::Button { text, payload } => ("button", json!({"text": text, "payload": payload})),
            Self::Interactive { id, title } => (
                "interactive",
                json!({"type": "button_reply", "button_reply": {"id": id, "title": title}}),
            ),
            Self::Preference { .. } => ("unsupported", json!({})),
        }
    }
}

fn preference<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<PreferenceValue, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "stop" => Ok(PreferenceValue::Stop),
        "resume" => Ok(PreferenceValue::Resume),
        other => Err(serde::de::Error::unknown_variant(other, &["stop", "resume"])),
    }
}
