//! A template that was checked: its placeholders in order, and how values become a message.
//!
//! Values travel as one list in the order of [`CompiledTemplate::placeholders`], from the audience through the
//! ledger and the lane to the send, so that their names are neither stored nor sent a million times.

use super::{
    BODY_MAX_CHARS, BUTTON_PAYLOAD_MAX_CHARS, BUTTON_URL_MAX_CHARS, HEADER_MAX_CHARS, ParameterFormat,
    TemplateCategory, TemplateText, ValueProblem, check_media, check_value,
};
use serde::Serialize;
use std::fmt;

/// A part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Section {
    /// The header.
    Header,
    /// The body.
    Body,
    /// The footer.
    Footer,
    /// A button, counted from 0 as Meta does.
    Button(usize),
}

impl fmt::Display for Section {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => formatter.write_str("header"),
            Self::Body => formatter.write_str("body"),
            Self::Footer => formatter.write_str("footer"),
            Self::Button(index) => write!(formatter, "button.{index}"),
        }
    }
}

/// What a value is, and so in which shape it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParameterKind {
    /// A piece of text.
    Text,
    /// A picture: its https address, or the id of an upload.
    Image,
    /// A film, likewise.
    Video,
    /// A file, likewise.
    Document,
    /// The end of a button's address (Meta: `sub_type` "url", a text).
    UrlSuffix,
    /// A coupon code (Meta: `sub_type` "copy_code", a `coupon_code`).
    CouponCode,
    /// What a quick reply sends back (Meta: `sub_type` "quick_reply", a `payload`); its label if none is given.
    Payload,
}

impl ParameterKind {
    /// Whether the value is an address or the id of an upload.
    pub const fn is_media(self) -> bool {
        matches!(self, Self::Image | Self::Video | Self::Document)
    }
}

/// A value that the template asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Placeholder {
    /// Where it is.
    pub section: Section,
    /// Its number or name; `image`, `video`, `document`, `code` or `payload` where Meta gives it none.
    pub name: String,
    /// What it is.
    pub kind: ParameterKind,
}

impl Placeholder {
    /// What a variable mapping calls it: in the body its bare name, elsewhere the section comes first, as in
    /// `header.1`, `header.image`, `button.0.1`. Meta numbers each component from 1, so the header's `{{1}}`
    /// is not the body's.
    pub fn key(&self) -> String {
        match self.section {
            Section::Body => self.name.clone(),
            section => format!("{section}.{}", self.name),
        }
    }
}

/// The name of the placeholder of a quick reply.
pub(crate) const PAYLOAD: &str = "payload";

/// A template ready to be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledTemplate {
    pub(super) name: String,
    pub(super) language: String,
    pub(super) category: TemplateCategory,
    pub(super) parameter_format: ParameterFormat,
    pub(super) header: Option<CompiledHeader>,
    pub(super) body: TemplateText,
    pub(super) footer: Option<String>,
    pub(super) buttons: Vec<CompiledButton>,
    /// Header, body, then buttons.
    pub(super) placeholders: Vec<Placeholder>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CompiledHeader {
    Text(TemplateText),
    Media(ParameterKind),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CompiledButton {
    QuickReply { label: String },
    Url { label: String, url: TemplateText },
    PhoneNumber { label: String, phone_number: String },
    CopyCode { label: String },
}

/// The values of one component, in the order in which they are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentParameters<'a> {
    /// Header, body or a button.
    pub section: Section,
    /// At least one.
    pub parameters: Vec<Parameter<'a>>,
}

/// One value as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// What it is.
    pub kind: ParameterKind,
    /// Meta's `parameter_name`: for texts of header and body in a template with named placeholders.
    pub name: Option<&'a str>,
    /// The value.
    pub value: &'a str,
}

/// A message as its recipient sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RenderedMessage {
    /// The header's text, or the address of its media.
    pub header: Option<String>,
    /// The body.
    pub body: String,
    /// The footer.
    pub footer: Option<String>,
    /// The buttons in order.
    pub buttons: Vec<RenderedButton>,
}

/// A button as its recipient sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RenderedButton {
    /// What it says.
    pub label: String,
    /// The address it opens, the number it calls, the code it copies or the payload it sends back, where it has
    /// one.
    pub target: Option<String>,
}

/// Why values do not make a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderProblem {
    /// Values for another template, or for another version of it.
    #[error("the template takes {expected} values, not {given}")]
    WrongCount {
        /// How many placeholders there are.
        expected: usize,
        /// How many values came.
        given: usize,
    },
    /// A value that Meta refuses.
    #[error("the value of {variable} {problem}")]
    Value {
        /// [`Placeholder::key`].
        variable: String,
        /// What is wrong with it.
        problem: ValueProblem,
    },
    /// A part that is too long once it is filled in.
    #[error("the {section} would have {chars} characters; WhatsApp takes {max}")]
    TooLong {
        /// The part.
        section: Section,
        /// Its length with these values.
        chars: usize,
        /// What WhatsApp takes.
        max: usize,
    },
}

impl CompiledTemplate {
    /// The template's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The template's language, as Meta codes it.
    pub fn language(&self) -> &str {
        &self.language
    }

    /// What the template may be used for.
    pub fn category(&self) -> TemplateCategory {
        self.category
    }

    /// The template whose quick replies at these positions (from 0) take a payload with each message. Buttons of
    /// another kind are passed over.
    #[must_use]
    pub fn with_payloads(mut self, buttons: &[usize]) -> Self {
        for &index in buttons {
            let section = Section::Button(index);
            let is_quick_reply = matches!(self.buttons.get(index), Some(CompiledButton::QuickReply { .. }));
            let at = self
                .placeholders
                .partition_point(|before| before.section < section);
            let is_there = self
                .placeholders
                .get(at)
                .is_some_and(|next| next.section == section);
            if is_quick_reply && !is_there {
                let placeholder = Placeholder {
                    section,
                    name: PAYLOAD.to_owned(),
                    kind: ParameterKind::Payload,
                };
                self.placeholders.insert(at, placeholder);
            }
        }
        self
    }

    /// What a variable mapping may name besides the placeholders: the payloads of quick replies.
    pub fn optional_keys(&self) -> Vec<String> {
        let buttons = self.buttons.iter().enumerate();
        let quick = buttons.filter(|(_, button)| matches!(button, CompiledButton::QuickReply { .. }));
        quick
            .map(|(index, _)| format!("{}.{PAYLOAD}", Section::Button(index)))
            .collect()
    }

    /// The values that a message needs, in the order in which every list of values is kept.
    pub fn placeholders(&self) -> &[Placeholder] {
        &self.placeholders
    }

    /// Checks all that Meta would refuse a message for: number, content and resulting length of the values.
    pub fn check_values<V: AsRef<str>>(&self, values: &[V]) -> Result<(), RenderProblem> {
        self.check_count(values)?;
        for (placeholder, value) in self.placeholders.iter().zip(values) {
            let value = value.as_ref();
            let checked = match placeholder.kind {
                kind if kind.is_media() => check_value(value).and_then(|()| check_media(value)),
                _ => check_value(value),
            };
            checked.map_err(|problem| RenderProblem::Value {
                variable: placeholder.key(),
                problem,
            })?;
        }
        self.check_lengths(values)
    }

    /// Checks how long each part becomes with values that are otherwise known to be good.
    pub fn check_lengths<V: AsRef<str>>(&self, values: &[V]) -> Result<(), RenderProblem> {
        self.check_count(values)?;
        if let Some(CompiledHeader::Text(text)) = &self.header {
            let values = self.values_of(Section::Header, values);
            within(Section::Header, text.rendered_chars(values), HEADER_MAX_CHARS)?;
        }
        let body_values = self.values_of(Section::Body, values);
        within(
            Section::Body,
            self.body.rendered_chars(body_values),
            BODY_MAX_CHARS,
        )?;
        for (index, button) in self.buttons.iter().enumerate() {
            let section = Section::Button(index);
            let values = self.values_of(section, values);
            let (chars, max) = match button {
                CompiledButton::Url { url, .. } => (url.rendered_chars(values), BUTTON_URL_MAX_CHARS),
                CompiledButton::QuickReply { .. } => {
                    (first(values).chars().count(), BUTTON_PAYLOAD_MAX_CHARS)
                }
                CompiledButton::PhoneNumber { .. } | CompiledButton::CopyCode { .. } => continue,
            };
            within(section, chars, max)?;
        }
        Ok(())
    }

    /// The values in the structure in which they are sent: one entry for each component that has any.
    pub fn parameters<'a, V: AsRef<str>>(
        &'a self,
        values: &'a [V],
    ) -> Result<Vec<ComponentParameters<'a>>, RenderProblem> {
        self.check_count(values)?;
        let mut values = values.iter();
        let components = self
            .placeholders
            .chunk_by(|one, next| one.section == next.section);
        let filled = components.map(|placeholders| ComponentParameters {
            section: placeholders[0].section,
            parameters: placeholders
                .iter()
                .zip(values.by_ref())
                .map(|(placeholder, value)| Parameter {
                    kind: placeholder.kind,
                    name: self.parameter_name(placeholder),
                    value: value.as_ref(),
                })
                .collect(),
        });
        Ok(filled.collect())
    }

    /// The message that these values make, or why WhatsApp would not take it.
    pub fn preview<V: AsRef<str>>(&self, values: &[V]) -> Result<RenderedMessage, RenderProblem> {
        self.check_values(values)?;
        let header_values = self.values_of(Section::Header, values);
        let button = |(index, button): (usize, &CompiledButton)| {
            button.render(self.values_of(Section::Button(index), values))
        };
        Ok(RenderedMessage {
            header: self.header.as_ref().map(|header| match header {
                CompiledHeader::Text(text) => text.render(header_values),
                CompiledHeader::Media(_) => first(header_values),
            }),
            body: self.body.render(self.values_of(Section::Body, values)),
            footer: self.footer.clone(),
            buttons: self.buttons.iter().enumerate().map(button).collect(),
        })
    }

    fn check_count<V>(&self, values: &[V]) -> Result<(), RenderProblem> {
        let (expected, given) = (self.placeholders.len(), values.len());
        if expected == given {
            Ok(())
        } else {
            Err(RenderProblem::WrongCount { expected, given })
        }
    }

    /// The values of one section. Placeholders are ordered by section, so they are one slice.
    fn values_of<'a, V>(&self, section: Section, values: &'a [V]) -> &'a [V] {
        let start = self
            .placeholders
            .partition_point(|placeholder| placeholder.section < section);
        let end = self
            .placeholders
            .partition_point(|placeholder| placeholder.section <= section);
        values.get(start..end).unwrap_or_default()
    }

    fn parameter_name<'a>(&self, placeholder: &'a Placeholder) -> Option<&'a str> {
        let named =
            self.parameter_format == ParameterFormat::Named && placeholder.kind == ParameterKind::Text;
        named.then_some(placeholder.name.as_str())
    }
}

impl CompiledButton {
    fn render<V: AsRef<str>>(&self, values: &[V]) -> RenderedButton {
        let (label, target) = match self {
            Self::QuickReply { label } => (label, values.first().map(|value| value.as_ref().to_owned())),
            Self::Url { label, url } => (label, Some(url.render(values))),
            Self::PhoneNumber { label, phone_number } => (label, Some(phone_number.clone())),
            Self::CopyCode { label } => (label, Some(first(values))),
        };
        RenderedButton {
            label: label.clone(),
            target,
        }
    }
}

fn first<V: AsRef<str>>(values: &[V]) -> String {
    values
        .first()
        .map_or_else(String::new, |value| value.as_ref().to_owned())
}

fn within(section: Section, chars: usize, max: usize) -> Result<(), RenderProblem> {
    if chars <= max {
        Ok(())
    } else {
        Err(RenderProblem::TooLong { section, chars, max })
    }
}
