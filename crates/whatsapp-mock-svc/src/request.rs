//! What a message looks like on its way in.
//!
//! Wider than what the engine sends: other clients send every type of message, and write the kinds of
//! components in capitals. Still strict: an unknown field is refused with 100, as Meta does.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use whatsapp_api::send::{MessagingProduct, TemplateMessage, TextMessage};

use crate::answer::Refusal;

/// The body of `/messages` and of `/marketing_messages`. Without `Debug`: it holds what is said, and to whom.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendRequest {
    /// Always `whatsapp`.
    #[schema(value_type = String)]
    #[expect(dead_code, reason = "its one value is checked by reading it")]
    messaging_product: MessagingProduct,
    /// Always `individual`.
    #[serde(default)]
    recipient_type: RecipientType,
    /// E.164 with the leading `+`.
    pub(crate) to: Option<String>,
    /// A business-scoped user id, as in `BR.1234`; instead of `to`, or beside it.
    pub(crate) recipient: Option<String>,
    /// Which of the objects below there is; `text` if nothing is said.
    #[serde(rename = "type", default)]
    pub(crate) kind: Kind,
    /// An approved template with what fills it.
    #[schema(value_type = Option<Object>)]
    pub(crate) template: Option<TemplateMessage>,
    /// Free text.
    #[schema(value_type = Option<Object>)]
    pub(crate) text: Option<TextMessage>,
    image: Option<Map<String, Value>>,
    audio: Option<Map<String, Value>>,
    video: Option<Map<String, Value>>,
    document: Option<Map<String, Value>>,
    sticker: Option<Map<String, Value>>,
    location: Option<Map<String, Value>>,
    #[schema(value_type = Option<Vec<Object>>)]
    pub(crate) contacts: Option<Vec<Map<String, Value>>>,
    reaction: Option<Map<String, Value>>,
    interactive: Option<Map<String, Value>>,
    /// The message that this one answers.
    context: Option<Context>,
    /// Comes back in every status webhook.
    pub(crate) biz_opaque_callback_data: Option<String>,
    /// The message is delivered only if the person's identity is still this one; not checked here.
    #[expect(dead_code, reason = "allowed, without effect here")]
    recipient_identity_key_hash: Option<String>,
    /// Of marketing messages: whether they may go as ordinary ones instead.
    pub(crate) product_policy: Option<ProductPolicy>,
    /// Of marketing messages: whether Meta may learn from how people react.
    pub(crate) message_activity_sharing: Option<bool>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum RecipientType {
    #[default]
    Individual,
}

/// Whether a marketing message may go as an ordinary one.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ProductPolicy {
    CloudApiFallback,
    Strict,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Context {
    message_id: String,
}

/// The `type` of a message.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Template,
    #[default]
    Text,
    Image,
    Audio,
    Video,
    Document,
    Sticker,
    Location,
    Contacts,
    Reaction,
    Interactive,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Template => "template",
            Self::Text => "text",
            Self::Image => "image",
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Document => "document",
            Self::Sticker => "sticker",
            Self::Location => "location",
            Self::Contacts => "contacts",
            Self::Reaction => "reaction",
            Self::Interactive => "interactive",
        }
    }
}

impl SendRequest {
    pub(crate) fn read(body: &[u8]) -> Result<Self, Refusal> {
        let problem = match serde_json::from_slice(body) {
            Ok(request) => return Ok(request),
            Err(problem) => problem,
        };
        // Only then, since it costs a copy: some clients write `HEADER` and `URL`.
        let folded = serde_json::from_slice(body).ok().and_then(fold_case);
        match folded.map(serde_json::from_value) {
            Some(Ok(request)) => Ok(request),
            _ => Err(unreadable(&problem)),
        }
    }

    /// The object of a type that is one of loose fields.
    pub(crate) fn object(&self, kind: Kind) -> Option<&Map<String, Value>> {
        match kind {
            Kind::Image => self.image.as_ref(),
            Kind::Audio => self.audio.as_ref(),
            Kind::Video => self.video.as_ref(),
            Kind::Document => self.document.as_ref(),
            Kind::Sticker => self.sticker.as_ref(),
            Kind::Location => self.location.as_ref(),
            Kind::Reaction => self.reaction.as_ref(),
            Kind::Interactive => self.interactive.as_ref(),
            Kind::Template | Kind::Text | Kind::Contacts => None,
        }
    }

    /// The types whose object is there.
    pub(crate) fn objects(&self) -> impl Iterator<Item = Kind> {
        const LOOSE: [Kind; 8] = [
            Kind::Image,
            Kind::Audio,
            Kind::Video,
            Kind::Document,
            Kind::Sticker,
            Kind::Location,
            Kind::Reaction,
            Kind::Interactive,
        ];
        let typed = [
            (Kind::Template, self.template.is_some()),
            (Kind::Text, self.text.is_some()),
            (Kind::Contacts, self.contacts.is_some()),
        ];
        let loose = LOOSE.map(|kind| (kind, self.object(kind).is_some()));
        typed
            .into_iter()
            .chain(loose)
            .filter_map(|(kind, is_there)| is_there.then_some(kind))
    }

    /// Whether what is given beside the message makes sense.
    pub(crate) fn check_frame(&self) -> Result<(), Refusal> {
        let RecipientType::Individual = self.recipient_type;
        match &self.context {
            Some(context) if !context.message_id.starts_with("wamid.") => {
                Err(Refusal::because(131_009, "context.message_id is not a wamid"))
            }
            _ => Ok(()),
        }
    }
}

/// `POST /messages` with a status: the business has read a person's message.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadReceipt {
    #[schema(value_type = String)]
    #[expect(dead_code, reason = "its one value is checked by reading it")]
    messaging_product: MessagingProduct,
    /// Always `read`.
    pub(crate) status: String,
    /// What was read.
    pub(crate) message_id: String,
    /// Whether the business is seen to write.
    #[schema(value_type = Option<Object>)]
    #[expect(dead_code, reason = "allowed, without effect here")]
    typing_indicator: Option<Map<String, Value>>,
}

impl ReadReceipt {
    /// A receipt, if the body is one: no message has a `status`.
    pub(crate) fn read(body: &[u8]) -> Option<Result<Self, Refusal>> {
        #[derive(Deserialize)]
        struct Peek {
            status: Option<Value>,
        }
        serde_json::from_slice::<Peek>(body).ok()?.status?;
        let receipt = serde_json::from_slice(body).map_err(|problem| unreadable(&problem));
        Some(receipt.and_then(Self::checked))
    }

    fn checked(self) -> Result<Self, Refusal> {
        if self.status != "read" || !self.message_id.starts_with("wamid.") {
            return Err(Refusal::because(
                131_009,
                "status is not read, or message_id is not a wamid",
            ));
        }
        Ok(self)
    }
}

fn unreadable(problem: &serde_json::Error) -> Refusal {
    let details = problem.to_string();
    let code = if details.starts_with("missing field") {
        131_008
    } else {
        100
    };
    Refusal::because(code, details)
}

/// The same body with the kinds of a template's components and parameters in small letters.
fn fold_case(mut body: Value) -> Option<Value> {
    for component in body.pointer_mut("/template/components")?.as_array_mut()? {
        fold(component, "type");
        fold(component, "sub_type");
        let parameters = component.get_mut("parameters").and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            fold(parameter, "type");
        }
    }
    Some(body)
}

fn fold(object: &mut Value, field: &str) {
    if let Some(Value::String(text)) = object.get_mut(field) {
        text.make_ascii_lowercase();
    }
}
