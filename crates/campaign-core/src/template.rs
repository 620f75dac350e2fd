//! Message templates: Meta's model of them, and what it takes to fill one in.
//!
//! A [`Template`] is what people and Meta exchange, in Meta's own JSON. [`Template::compile`] checks it
//! and turns it into a [`CompiledTemplate`], which knows its placeholders in order and is filled once per
//! recipient without reading the text again.
//!
//! Source of the shapes and limits: developers.facebook.com, WhatsApp Business Platform, "Template
//! components" and "Message templates".

mod compiled;
mod news;
mod rules;
mod text;
mod value;

pub use compiled::{
    CompiledTemplate, ComponentParameters, Parameter, ParameterKind, Placeholder, RenderProblem,
    RenderedButton, RenderedMessage, Section,
};
pub use news::{TemplateEvent, is_lifted_by_approval, status_hold_reason};
pub use rules::TemplateError;
pub use text::{TEXT_MAX_PLACEHOLDERS, TemplateText, TextProblem};
pub use value::{
    VALUE_MAX_CHARS, VALUE_MAX_CONSECUTIVE_SPACES, ValueProblem, check_media, check_value, normalise_value,
};

use crate::message::text_enum;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Longest template name.
pub const NAME_MAX_CHARS: usize = 512;
/// Longest text header.
pub const HEADER_MAX_CHARS: usize = 60;
/// Most variables in a text header.
pub const HEADER_MAX_VARIABLES: usize = 1;
/// Longest body, as written and as rendered.
pub const BODY_MAX_CHARS: usize = 1024;
/// Longest footer.
pub const FOOTER_MAX_CHARS: usize = 60;
/// Most buttons.
pub const MAX_BUTTONS: usize = 10;
/// Longest label of a button.
pub const BUTTON_LABEL_MAX_CHARS: usize = 25;
/// Longest address behind a button, as written and as rendered.
pub const BUTTON_URL_MAX_CHARS: usize = 2000;
/// Deepest nesting of lists and objects in the example values. Meta's own are three deep.
pub const EXAMPLE_MAX_DEPTH: usize = 16;
/// Longest payload of a quick reply (Meta: "Button parameter object", 128 characters).
pub const BUTTON_PAYLOAD_MAX_CHARS: usize = 128;
/// Longest phone number behind a button.
pub const BUTTON_PHONE_MAX_CHARS: usize = 20;

text_enum! {
    /// What a template may be used for. Decides its price and whether consent to marketing is needed.
    TemplateCategory {
        /// Offers and news.
        Marketing = "MARKETING",
        /// About something the customer did or owes.
        Utility = "UTILITY",
        /// One-time codes.
        Authentication = "AUTHENTICATION",
    }
}

text_enum! {
    /// How the placeholders of header and body are written.
    ParameterFormat {
        /// `{{1}}`, `{{2}}`, numbered from 1 without gaps in each component.
        Positional = "POSITIONAL",
        /// `{{first_name}}`.
        Named = "NAMED",
    }
}

text_enum! {
    /// Where a template stands with Meta.
    TemplateStatus {
        /// Can be sent.
        Approved = "APPROVED",
        /// Under review.
        Pending = "PENDING",
        /// Refused at review.
        Rejected = "REJECTED",
        /// Stopped by Meta for some hours, because of what recipients did.
        Paused = "PAUSED",
        /// Stopped by Meta for good.
        Disabled = "DISABLED",
        /// Refused, and the refusal is under review.
        InAppeal = "IN_APPEAL",
        /// Being deleted.
        PendingDeletion = "PENDING_DELETION",
        /// Deleted.
        Deleted = "DELETED",
        /// Archived.
        Archived = "ARCHIVED",
        /// Not taken, since the account has too many.
        LimitExceeded = "LIMIT_EXCEEDED",
        /// Somewhere that this engine does not know; Meta's word stands beside it.
        Unknown = "UNKNOWN",
    }
}

impl TemplateStatus {
    /// Whether Meta accepts messages from the template.
    pub const fn can_be_sent(self) -> bool {
        matches!(self, Self::Approved)
    }
}

/// A template in one language, as `GET /{waba}/message_templates` lists it. Fields that do not matter for
/// sending are ignored when read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// `[a-z0-9_]{1,512}`; unique together with the language.
    pub name: String,
    /// Meta's code, as in `pt_BR`.
    pub language: String,
    /// What it may be used for.
    pub category: TemplateCategory,
    /// How placeholders are written. Meta leaves it out for old templates, which are positional.
    #[serde(default = "positional")]
    pub parameter_format: ParameterFormat,
    /// Its parts: one body, and at most one of each other.
    pub components: Vec<Component>,
    /// Where it stands with Meta. Absent in a request to create one.
    #[serde(default = "pending")]
    pub status: TemplateStatus,
}

/// A part of a template, in Meta's shape. Carousels and other kinds that this engine cannot fill are refused
/// when read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Component {
    /// What stands above the body.
    Header {
        /// Text or a kind of media.
        format: HeaderFormat,
        /// The text, for [`HeaderFormat::Text`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// Meta's example values, kept as they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        example: Option<Value>,
    },
    /// The message itself.
    Body {
        /// The text.
        text: String,
        /// Meta's example values, kept as they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        example: Option<Value>,
    },
    /// Small print below the body.
    Footer {
        /// The text; it has no placeholders.
        text: String,
    },
    /// What can be tapped.
    Buttons {
        /// In the order shown.
        buttons: Vec<Button>,
    },
}

text_enum! {
    /// What a header consists of.
    HeaderFormat {
        /// A line of text.
        Text = "TEXT",
        /// A picture.
        Image = "IMAGE",
        /// A film.
        Video = "VIDEO",
        /// A file.
        Document = "DOCUMENT",
    }
}

/// A button, in Meta's shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Button {
    /// Sends its label back.
    QuickReply {
        /// The label.
        text: String,
    },
    /// Opens an address.
    Url {
        /// The label.
        text: String,
        /// The address; it may end with one placeholder.
        url: String,
        /// Meta's example values, kept as they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        example: Option<Value>,
    },
    /// Calls a number.
    PhoneNumber {
        /// The label.
        text: String,
        /// The number.
        phone_number: String,
    },
    /// Copies a coupon code, which is a parameter of each message.
    CopyCode {
        /// The label, which Meta chooses.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// Meta's example code, kept as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        example: Option<Value>,
    },
}

impl Template {
    /// Checks every rule that Meta has for new templates and gives what is needed for sending, or all that is
    /// wrong.
    pub fn compile(&self) -> Result<CompiledTemplate, Vec<TemplateError>> {
        match rules::check(self) {
            (Some(compiled), errors) if errors.is_empty() => Ok(compiled),
            (_, errors) => Err(errors),
        }
    }

    /// Like [`Self::compile`] for a template that Meta has approved: rules that only matter at review are not
    /// held against it, since Meta's own answer is better than our reading of its rules, and older templates
    /// were approved under fewer.
    pub fn compile_for_sending(&self) -> Result<CompiledTemplate, Vec<TemplateError>> {
        let (compiled, mut errors) = rules::check(self);
        errors.retain(TemplateError::prevents_sending);
        match compiled {
            Some(compiled) if errors.is_empty() => Ok(compiled),
            _ => Err(errors),
        }
    }
}

const fn positional() -> ParameterFormat {
    ParameterFormat::Positional
}

const fn pending() -> TemplateStatus {
    TemplateStatus::Pending
}

#[cfg(test)]
mod tests;
