//! What Meta asks of a template, each rule with its own error that says what would be right.
//!
//! Source: developers.facebook.com, WhatsApp Business Platform, "Template components" and the reasons for
//! refusal at creation. Lengths are counted in Unicode characters. Meta also refuses texts with too many
//! variables for their length, but publishes no figure, so that is left to its review.

use super::compiled::{
    CompiledButton, CompiledHeader, CompiledTemplate, ParameterKind, Placeholder, Section,
};
use super::text::Segment;
use super::{
    BODY_MAX_CHARS, BUTTON_LABEL_MAX_CHARS, BUTTON_PHONE_MAX_CHARS, BUTTON_URL_MAX_CHARS, Button, Component,
    EXAMPLE_MAX_DEPTH, FOOTER_MAX_CHARS, HEADER_MAX_CHARS, HEADER_MAX_VARIABLES, HeaderFormat, MAX_BUTTONS,
    NAME_MAX_CHARS, ParameterFormat, Template, TemplateCategory, TemplateText, TextProblem,
};

use serde_json::Value;

/// A rule that a template breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the messages show")]
pub enum TemplateError {
    /// The name has other characters, or too few or many.
    #[error(
        "a template's name has 1 to {NAME_MAX_CHARS} lower-case letters, digits and _, as in order_update"
    )]
    Name,
    /// Not a language code.
    #[error("a template's language reads like pt_BR or en")]
    Language,
    /// There is nothing to say.
    #[error("a template needs a BODY")]
    MissingBody,
    /// A component comes twice.
    #[error("the {component} comes more than once; a template has at most one")]
    Repeated { component: &'static str },
    /// A header of format TEXT has none.
    #[error("a header of format TEXT needs a text")]
    HeaderWithoutText,
    /// A text is empty or blank.
    #[error("the {section} is empty")]
    Empty { section: Section },
    /// The placeholders cannot be read.
    #[error("{section}: {problem}")]
    Text { section: Section, problem: TextProblem },
    /// A text is longer than Meta takes.
    #[error("the {section} has {chars} characters; at most {max} are allowed")]
    TooLong {
        section: Section,
        chars: usize,
        max: usize,
    },
    /// The header has several variables.
    #[error("the header has {count} variables; at most {HEADER_MAX_VARIABLES} is allowed")]
    HeaderVariables { count: usize },
    /// A variable where the text is fixed.
    #[error("the {section} holds a variable; its text is the same for everybody")]
    VariableNotAllowed { section: Section },
    /// The body starts with a variable.
    #[error("the body starts with {{{{{name}}}}}; put some text before it")]
    VariableAtStart { name: String },
    /// The body ends with a variable.
    #[error("the body ends with {{{{{name}}}}}; put some text, or a full stop, after it")]
    VariableAtEnd { name: String },
    /// Nothing stands between two variables.
    #[error("in the {section}, {{{{{first}}}}} and {{{{{second}}}}} touch; put some text between them")]
    AdjacentVariables {
        section: Section,
        first: String,
        second: String,
    },
    /// A number is left out.
    #[error("the {section} has no {{{{{missing}}}}}; variables are numbered from 1 without gaps")]
    NumberingGap { section: Section, missing: usize },
    /// More buttons than fit.
    #[error("there are {count} buttons; at most {MAX_BUTTONS} are allowed")]
    TooManyButtons { count: usize },
    /// Example values that nobody could read back: they are kept as they are.
    #[error("the example values are nested deeper than {EXAMPLE_MAX_DEPTH}")]
    ExampleTooDeep,
    /// An address that is none.
    #[error("{section}: an address starts with https:// or http://")]
    UrlWithoutScheme { section: Section },
    /// A variable inside an address, or several.
    #[error("{section}: an address has at most one variable, {{{{1}}}}, at its end")]
    UrlVariable { section: Section },
}

impl TemplateError {
    /// Whether the template cannot be filled in at all, as opposed to one that Meta's review would not
    /// have let through.
    pub fn prevents_sending(&self) -> bool {
        match self {
            Self::Name
            | Self::Language
            | Self::MissingBody
            | Self::Repeated { .. }
            | Self::HeaderWithoutText
            | Self::Text { .. }
            | Self::VariableNotAllowed { .. }
            | Self::NumberingGap { .. }
            | Self::UrlVariable { .. } => true,
            Self::Empty { .. }
            | Self::TooLong { .. }
            | Self::HeaderVariables { .. }
            | Self::VariableAtStart { .. }
            | Self::VariableAtEnd { .. }
            | Self::AdjacentVariables { .. }
            | Self::TooManyButtons { .. }
            | Self::ExampleTooDeep
            | Self::UrlWithoutScheme { .. } => false,
        }
    }
}

/// Reads a template once and notes every rule that it breaks. What could be read comes back too.
pub(super) fn check(template: &Template) -> (Option<CompiledTemplate>, Vec<TemplateError>) {
    let mut check = Check {
        template,
        errors: Vec::new(),
        header: None,
        body: None,
        footer: None,
        buttons: None,
    };
    check.names();
    for component in &template.components {
        check.component(component);
    }
    if !template
        .components
        .iter()
        .any(|component| matches!(component, Component::Body { .. }))
    {
        check.errors.push(TemplateError::MissingBody);
    }
    check.finish()
}

struct Check<'a> {
    template: &'a Template,
    errors: Vec<TemplateError>,
    header: Option<CompiledHeader>,
    body: Option<TemplateText>,
    footer: Option<String>,
    buttons: Option<Vec<CompiledButton>>,
}

impl Check<'_> {
    fn names(&mut self) {
        let name = &self.template.name;
        let plain = name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !plain || !(1..=NAME_MAX_CHARS).contains(&name.len()) {
            self.errors.push(TemplateError::Name);
        }
        let (language, country) = self
            .template
            .language
            .split_once('_')
            .unwrap_or((&self.template.language, "XX"));
        let language_fits =
            (2..=3).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_lowercase());
        let country_fits =
            (2..=4).contains(&country.len()) && country.bytes().all(|b| b.is_ascii_alphanumeric());
        if !language_fits || !country_fits {
            self.errors.push(TemplateError::Language);
        }
    }

    fn component(&mut self, component: &Component) {
        let (seen, kind) = match component {
            Component::Header { .. } => (self.header.is_some(), "HEADER"),
            Component::Body { .. } => (self.body.is_some(), "BODY"),
            Component::Footer { .. } => (self.footer.is_some(), "FOOTER"),
            Component::Buttons { .. } => (self.buttons.is_some(), "BUTTONS"),
        };
        if seen {
            return self.errors.push(TemplateError::Repeated { component: kind });
        }
        self.examples(component);
        match component {
            Component::Header { format, text, .. } => self.header = self.header(*format, text.as_deref()),
            Component::Body { text, .. } => self.body = self.body(text),
            Component::Footer { text } => {
                self.footer = Some(self.fixed(Section::Footer, text, FOOTER_MAX_CHARS));
            }
            Component::Buttons { buttons } => self.buttons = Some(self.buttons(buttons)),
        }
    }

    fn examples(&mut self, component: &Component) {
        let example = match component {
            Component::Header { example, .. } | Component::Body { example, .. } => example.as_slice(),
            Component::Footer { .. } | Component::Buttons { .. } => &[],
        };
        let buttons = match component {
            Component::Buttons { buttons } => buttons.as_slice(),
            _ => &[],
        };
        let of_buttons = buttons.iter().filter_map(|button| match button {
            Button::Url { example, .. } | Button::CopyCode { example, .. } => example.as_ref(),
            Button::QuickReply { .. } | Button::PhoneNumber { .. } => None,
        });
        if example
            .iter()
            .chain(of_buttons)
            .any(|example| !is_within(example, EXAMPLE_MAX_DEPTH))
        {
            self.errors.push(TemplateError::ExampleTooDeep);
        }
    }

    fn header(&mut self, format: HeaderFormat, text: Option<&str>) -> Option<CompiledHeader> {
        match format {
            HeaderFormat::Image => return Some(CompiledHeader::Media(ParameterKind::Image)),
            HeaderFormat::Video => return Some(CompiledHeader::Media(ParameterKind::Video)),
            HeaderFormat::Document => return Some(CompiledHeader::Media(ParameterKind::Document)),
            HeaderFormat::Text => {}
        }
        let Some(text) = text else {
            self.errors.push(TemplateError::HeaderWithoutText);
            return None;
        };
        let parsed = self.text(Section::Header, text, HEADER_MAX_CHARS)?;
        let count = parsed.names().len();
        if count > HEADER_MAX_VARIABLES {
            self.errors.push(TemplateError::HeaderVariables { count });
        }
        Some(CompiledHeader::Text(parsed))
    }

    fn body(&mut self, text: &str) -> Option<TemplateText> {
        let parsed = self.text(Section::Body, text, BODY_MAX_CHARS)?;
        // The body of an authentication template is Meta's own and starts with the code.
        if self.template.category != TemplateCategory::Authentication {
            let mut edges = parsed.segments().iter().filter(|segment| !is_blank(segment));
            let start = edges.next();
            if let Some(Segment::Placeholder(index)) = start {
                let name = parsed.names()[*index].clone();
                self.errors.push(TemplateError::VariableAtStart { name });
            }
            if let Some(Segment::Placeholder(index)) = edges.next_back().or(start) {
                let name = parsed.names()[*index].clone();
                self.errors.push(TemplateError::VariableAtEnd { name });
            }
        }
        Some(parsed)
    }

    /// A text of header or body.
    fn text(&mut self, section: Section, text: &str, max_chars: usize) -> Option<TemplateText> {
        self.length(section, text, max_chars);
        let format = self.template.parameter_format;
        let parsed = TemplateText::parse(text, format);
        let parsed = parsed
            .map_err(|problem| self.errors.push(TemplateError::Text { section, problem }))
            .ok()?;
        for pair in parsed.segments().windows(2) {
            if let [Segment::Placeholder(first), Segment::Placeholder(second)] = pair {
                let (first, second) = (parsed.names()[*first].clone(), parsed.names()[*second].clone());
                self.errors.push(TemplateError::AdjacentVariables {
                    section,
                    first,
                    second,
                });
            }
        }
        if format == ParameterFormat::Positional {
            let gap = (1..)
                .zip(parsed.names())
                .find(|(number, name)| **name != number.to_string());
            if let Some((missing, _)) = gap {
                self.errors.push(TemplateError::NumberingGap { section, missing });
            }
        }
        Some(parsed)
    }

    /// A text that is the same for everybody.
    fn fixed(&mut self, section: Section, text: &str, max_chars: usize) -> String {
        self.length(section, text, max_chars);
        if text.contains("{{") || text.contains("}}") {
            self.errors.push(TemplateError::VariableNotAllowed { section });
        }
        text.to_owned()
    }

    fn length(&mut self, section: Section, text: &str, max: usize) {
        let chars = text.chars().count();
        if text.trim().is_empty() {
            self.errors.push(TemplateError::Empty { section });
        } else if chars > max {
            self.errors.push(TemplateError::TooLong { section, chars, max });
        }
    }

    fn buttons(&mut self, buttons: &[Button]) -> Vec<CompiledButton> {
        if buttons.len() > MAX_BUTTONS {
            self.errors
                .push(TemplateError::TooManyButtons { count: buttons.len() });
        }
        buttons
            .iter()
            .enumerate()
            .filter_map(|(index, button)| self.button(Section::Button(index), button))
            .collect()
    }

    fn button(&mut self, section: Section, button: &Button) -> Option<CompiledButton> {
        Some(match button {
            Button::QuickReply { text } => CompiledButton::QuickReply {
                label: self.fixed(section, text, BUTTON_LABEL_MAX_CHARS),
            },
            Button::PhoneNumber { text, phone_number } => CompiledButton::PhoneNumber {
                label: self.fixed(section, text, BUTTON_LABEL_MAX_CHARS),
                phone_number: self.fixed(section, phone_number, BUTTON_PHONE_MAX_CHARS),
            },
            Button::CopyCode { text, .. } => CompiledButton::CopyCode {
                // Meta's own label; what somebody else wrote in its place is checked.
                label: text
                    .as_deref()
                    .map(|text| self.fixed(section, text, BUTTON_LABEL_MAX_CHARS))
                    .unwrap_or_default(),
            },
            Button::Url { text, url, .. } => CompiledButton::Url {
                label: self.fixed(section, text, BUTTON_LABEL_MAX_CHARS),
                url: self.url(section, url)?,
            },
        })
    }

    /// Meta writes the variable of an address `{{1}}` whatever the template's parameter format is.
    fn url(&mut self, section: Section, url: &str) -> Option<TemplateText> {
        self.length(section, url, BUTTON_URL_MAX_CHARS);
        if !url.starts_with("https://") && !url.starts_with("http://") {
            self.errors.push(TemplateError::UrlWithoutScheme { section });
        }
        let parsed = TemplateText::parse(url, ParameterFormat::Positional);
        let parsed = parsed
            .map_err(|problem| self.errors.push(TemplateError::Text { section, problem }))
            .ok()?;
        let variables = |segments: &[Segment]| {
            segments
                .iter()
                .any(|part| matches!(part, Segment::Placeholder(_)))
        };
        let (inner_variable, name_fits) = match parsed.segments().split_last() {
            Some((_, inner)) => (variables(inner), parsed.names().iter().all(|name| name == "1")),
            None => (false, true),
        };
        if inner_variable || !name_fits {
            self.errors.push(TemplateError::UrlVariable { section });
        }
        Some(parsed)
    }

    fn finish(self) -> (Option<CompiledTemplate>, Vec<TemplateError>) {
        let Self {
            template,
            errors,
            header,
            body,
            footer,
            buttons,
        } = self;
        let compiled = body.map(|body| {
            let buttons = buttons.unwrap_or_default();
            CompiledTemplate {
                name: template.name.clone(),
                language: template.language.clone(),
                category: template.category,
                parameter_format: template.parameter_format,
                placeholders: placeholders(header.as_ref(), &body, &buttons),
                header,
                body,
                footer,
                buttons,
            }
        });
        (compiled, errors)
    }
}

/// Every value a message needs: header, body, then buttons, each in the order in which Meta wants them.
fn placeholders(
    header: Option<&CompiledHeader>,
    body: &TemplateText,
    buttons: &[CompiledButton],
) -> Vec<Placeholder> {
    let mut all = Vec::new();
    let mut add = |section, kind, name: &str| {
        all.push(Placeholder {
            section,
            name: name.to_owned(),
            kind,
        });
    };
    match header {
        Some(CompiledHeader::Text(text)) => {
            text.names()
                .iter()
                .for_each(|name| add(Section::Header, ParameterKind::Text, name));
        }
        Some(CompiledHeader::Media(kind)) => add(Section::Header, *kind, media_name(*kind)),
        None => {}
    }
    body.names()
        .iter()
        .for_each(|name| add(Section::Body, ParameterKind::Text, name));
    for (index, button) in buttons.iter().enumerate() {
        let section = Section::Button(index);
        match button {
            CompiledButton::Url { url, .. } => {
                url.names()
                    .iter()
                    .for_each(|name| add(section, ParameterKind::UrlSuffix, name));
            }
            CompiledButton::CopyCode { .. } => add(section, ParameterKind::CouponCode, "code"),
            CompiledButton::QuickReply { .. } | CompiledButton::PhoneNumber { .. } => {}
        }
    }
    all
}

fn media_name(kind: ParameterKind) -> &'static str {
    match kind {
        ParameterKind::Video => "video",
        ParameterKind::Document => "document",
        _ => "image",
    }
}

fn is_within(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| is_within(item, depth - 1)),
        Value::Object(members) => depth > 0 && members.values().all(|member| is_within(member, depth - 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn is_blank(segment: &Segment) -> bool {
    matches!(segment, Segment::Literal(literal) if literal.trim().is_empty())
}

#[cfg(test)]
mod tests;
