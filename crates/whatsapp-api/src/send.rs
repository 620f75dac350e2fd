//! The body of `POST /{version}/{phone_number_id}/messages`, and the answer to it.
//!
//! Source: WhatsApp Business Platform, Cloud API, "Messages" reference, read 2026-09. The shapes are
//! strict (`deny_unknown_fields`), because the mock reads them too and must refuse what is misspelt.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::lenient;

/// Longest `biz_opaque_callback_data`, in characters.
pub const MAX_CALLBACK_DATA_CHARS: usize = 512;
/// Longest body of a text message, in characters.
pub const MAX_TEXT_CHARS: usize = 4096;
/// Most spaces in a row inside a template parameter (five are refused with 132018).
pub const MAX_PARAMETER_SPACES_IN_A_ROW: usize = 4;

/// One message to one person.
///
/// Built with [`MessageRequest::template`] or [`MessageRequest::text`], which keep `type` and the object
/// that belongs to it together. `Debug` shows neither the recipient nor the content.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MessageRequest {
    /// Always `whatsapp`.
    pub messaging_product: MessagingProduct,
    /// Always `individual`: campaigns do not write to groups.
    #[serde(default)]
    pub recipient_type: RecipientType,
    /// E.164 with the leading `+`: without it Meta puts the business's own country code in front.
    pub to: String,
    /// Which of `template` and `text` is there.
    #[serde(rename = "type")]
    pub kind: MessageKind,
    /// Present for [`MessageKind::Template`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateMessage>,
    /// Present for [`MessageKind::Text`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextMessage>,
    /// Comes back in every status webhook of this message; up to [`MAX_CALLBACK_DATA_CHARS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub biz_opaque_callback_data: Option<String>,
    /// With it the message goes to `/marketing_messages`, the only endpoint that knows the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product_policy: Option<ProductPolicy>,
}

/// What the Marketing Messages API does with a message that it cannot take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ProductPolicy {
    /// Sends it as the Cloud API would.
    CloudApiFallback,
    /// Refuses it.
    Strict,
}

impl MessageRequest {
    /// A template message; `to` is E.164 with or without its `+`.
    pub fn template(to: &str, template: TemplateMessage) -> Self {
        Self {
            template: Some(template),
            text: None,
            ..Self::empty(to, MessageKind::Template)
        }
    }

    /// A free text, allowed only within 24 hours of the person's last message.
    pub fn text(to: &str, body: impl Into<String>, preview_url: bool) -> Self {
        let text = TextMessage {
            preview_url,
            body: body.into(),
        };
        Self {
            text: Some(text),
            template: None,
            ..Self::empty(to, MessageKind::Text)
        }
    }

    /// Adds the data that every later status of this message carries.
    #[must_use]
    pub fn with_callback_data(mut self, data: impl Into<String>) -> Self {
        self.biz_opaque_callback_data = Some(data.into());
        self
    }

    /// Sends it by the Marketing Messages API; for templates of the category MARKETING only.
    #[must_use]
    pub fn with_product_policy(mut self, policy: ProductPolicy) -> Self {
        self.product_policy = Some(policy);
        self
    }

    fn empty(to: &str, kind: MessageKind) -> Self {
        let to = if to.starts_with('+') {
            to.to_owned()
        } else {
            format!("+{to}")
        };
        Self {
            messaging_product: MessagingProduct::Whatsapp,
            recipient_type: RecipientType::Individual,
            to,
            kind,
            template: None,
            text: None,
            biz_opaque_callback_data: None,
            product_policy: None,
        }
    }
}

impl fmt::Debug for MessageRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MessageRequest")
            .field("kind", &self.kind)
            .field("template", &self.template.as_ref().map(|template| &template.name))
            .field("biz_opaque_callback_data", &self.biz_opaque_callback_data)
            .finish_non_exhaustive()
    }
}

/// The product; the API requires the literal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessagingProduct {
    /// `whatsapp`
    #[default]
    Whatsapp,
}

/// Who is addressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecipientType {
    /// One person.
    #[default]
    Individual,
}

/// The `type` of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// An approved template with its parameters.
    Template,
    /// Free text.
    Text,
}

/// Free text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextMessage {
    /// Whether the first link is shown with a preview.
    #[serde(default)]
    pub preview_url: bool,
    /// Up to [`MAX_TEXT_CHARS`] characters.
    pub body: String,
}

/// An approved template, by name and language, with what fills it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateMessage {
    /// `[a-z0-9_]{1,512}`.
    pub name: String,
    /// The language it was approved in.
    pub language: Language,
    /// Only the components that have parameters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Component>,
}

/// A template's language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Language {
    /// With an underscore, as Meta writes it: `pt_BR`.
    pub code: String,
}

/// The parameters of one part of a template.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Component {
    /// At most one parameter: a text, or the medium.
    Header {
        /// What fills it.
        parameters: Vec<Parameter>,
    },
    /// The values of `{{1}}…` in order, or by name.
    Body {
        /// What fills it.
        parameters: Vec<Parameter>,
    },
    /// One component for each button that has a parameter.
    Button {
        /// What pressing it does.
        sub_type: ButtonKind,
        /// Position among the template's buttons, from 0. Meta writes it as a string and reads both.
        #[serde(deserialize_with = "lenient::deserialize_text")]
        index: String,
        /// What fills it.
        parameters: Vec<Parameter>,
    },
}

impl Component {
    /// The parameters, whichever part they fill.
    pub fn parameters(&self) -> &[Parameter] {
        match self {
            Self::Header { parameters } | Self::Body { parameters } | Self::Button { parameters, .. } => {
                parameters
            }
        }
    }
}

/// What a button with a parameter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ButtonKind {
    /// Opens a link; the parameter is its variable end.
    Url,
    /// Answers; the parameter is the payload that comes back.
    QuickReply,
    /// Copies a coupon code.
    CopyCode,
}

/// One value of a template.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Parameter {
    /// A text: not empty, no newline, no tab, at most [`MAX_PARAMETER_SPACES_IN_A_ROW`] spaces in a row.
    Text {
        /// The value.
        text: String,
        /// Required by templates with NAMED parameters, absent for POSITIONAL ones.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parameter_name: Option<String>,
    },
    /// Header medium.
    Image {
        /// Where it is.
        image: Media,
    },
    /// Header medium.
    Video {
        /// Where it is.
        video: Media,
    },
    /// Header medium.
    Document {
        /// Where it is.
        document: Media,
    },
    /// What a quick reply sends back.
    Payload {
        /// The payload.
        payload: String,
    },
    /// What a copy-code button copies.
    CouponCode {
        /// The code.
        coupon_code: String,
    },
}

impl Parameter {
    /// A positional text.
    pub fn positional(text: impl Into<String>) -> Self {
        Self::Text {
            text: text.into(),
            parameter_name: None,
        }
    }

    /// A named text.
    pub fn named(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Text {
            text: text.into(),
            parameter_name: Some(name.into()),
        }
    }
}

/// A medium: exactly one of `id` (uploaded before) and `link` (fetched by Meta).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Media {
    /// Id of an upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Public HTTPS address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Shown name of a document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
}

/// The answer to an accepted message. Accepted is not delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendResponse {
    /// Always `whatsapp`.
    #[serde(default)]
    pub messaging_product: String,
    /// One entry: who Meta understood is meant.
    #[serde(default)]
    pub contacts: Vec<Contact>,
    /// One entry: the message.
    #[serde(default)]
    pub messages: Vec<AcceptedMessage>,
}

/// Who Meta understood is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// `to`, as it was given.
    #[serde(default)]
    pub input: String,
    /// May differ from the input (Brazil's ninth digit, Mexico); absent when a user id was addressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wa_id: Option<String>,
    /// The business-scoped user id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
}

/// The message, as Meta knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedMessage {
    /// The `wamid.…`, joined with later statuses.
    pub id: String,
    /// `accepted`, `held_for_quality_assessment` or `paused`; may be absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_status: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template() -> TemplateMessage {
        TemplateMessage {
            name: "order_ready".into(),
            language: Language { code: "pt_BR".into() },
            components: vec![
                Component::Header {
                    parameters: vec![Parameter::Image {
                        image: Media {
                            id: None,
                            link: Some("https://example.com/a.png".into()),
                            filename: None,
                        },
                    }],
                },
                Component::Body {
                    parameters: vec![Parameter::named("first_name", "Ana")],
                },
                Component::Button {
                    sub_type: ButtonKind::QuickReply,
                    index: "0".into(),
                    parameters: vec![Parameter::Payload {
                        payload: "yes".into(),
                    }],
                },
            ],
        }
    }

    #[test]
    fn a_template_message_has_the_documented_shape() {
        let request = MessageRequest::template("5511987654321", template()).with_callback_data("c:1:7");
        let expected = json!({
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": "+5511987654321",
            "type": "template",
            "template": {
                "name": "order_ready",
                "language": {"code": "pt_BR"},
                "components": [
                    {"type": "header", "parameters": [
                        {"type": "image", "image": {"link": "https://example.com/a.png"}}]},
                    {"type": "body", "parameters": [
                        {"type": "text", "text": "Ana", "parameter_name": "first_name"}]},
                    {"type": "button", "sub_type": "quick_reply", "index": "0", "parameters": [
                        {"type": "payload", "payload": "yes"}]}
                ]
            },
            "biz_opaque_callback_data": "c:1:7"
        });
        assert_eq!(serde_json::to_value(&request).expect("serializes"), expected);
        let back: MessageRequest = serde_json::from_value(expected).expect("reads back");
        assert_eq!(back, request);
    }

    #[test]
    fn a_text_message_has_the_documented_shape() {
        let request = MessageRequest::text("5511987654321", "Olá", true);
        let expected = json!({
            "messaging_product": "whatsapp", "recipient_type": "individual", "to": "+5511987654321",
            "type": "text", "text": {"preview_url": true, "body": "Olá"}
        });
        assert_eq!(serde_json::to_value(&request).expect("serializes"), expected);
    }

    #[test]
    fn the_product_policy_is_written_as_meta_spells_it_and_only_if_there_is_one() {
        let request = MessageRequest::template("+1", template());
        let written = serde_json::to_value(&request).expect("serializes");
        assert_eq!(written.get("product_policy"), None);
        for (policy, word) in [
            (ProductPolicy::CloudApiFallback, "CLOUD_API_FALLBACK"),
            (ProductPolicy::Strict, "STRICT"),
        ] {
            let request = request.clone().with_product_policy(policy);
            let written = serde_json::to_value(&request).expect("serializes");
            assert_eq!(written["product_policy"], word);
            assert_eq!(
                serde_json::from_value::<MessageRequest>(written).expect("reads back"),
                request
            );
        }
    }

    #[test]
    fn a_misspelt_field_is_refused_at_every_depth() {
        let base = serde_json::to_value(MessageRequest::template("+1", template())).expect("serializes");
        for pointer in [
            "",
            "/template",
            "/template/components/1",
            "/template/components/1/parameters/0",
        ] {
            let mut wrong = base.clone();
            wrong
                .pointer_mut(pointer)
                .and_then(serde_json::Value::as_object_mut)
                .expect("an object")
                .insert("prameter".into(), json!("x"));
            assert!(
                serde_json::from_value::<MessageRequest>(wrong).is_err(),
                "at {pointer:?}"
            );
        }
    }

    #[test]
    fn a_button_index_is_read_as_a_number_too() {
        let component: Component = serde_json::from_value(json!({
            "type": "button", "sub_type": "url", "index": 1,
            "parameters": [{"type": "text", "text": "x"}]
        }))
        .expect("reads");
        assert!(matches!(component, Component::Button { index, .. } if index == "1"));
    }

    #[test]
    fn debug_shows_neither_the_recipient_nor_the_content() {
        let request = MessageRequest::text("+5511987654321", "secret words", false);
        let shown = format!("{request:?}");
        assert!(!shown.contains("98765") && !shown.contains("secret"), "{shown}");
    }
}
