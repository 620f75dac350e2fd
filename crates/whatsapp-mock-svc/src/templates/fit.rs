//! Whether a message fits its template.

use whatsapp_api::send::{ButtonKind, Component, Parameter, TemplateMessage};

use super::text::Text;
use super::{Button, Header, ParameterFormat, Registry, Template};
use crate::answer::Refusal;

/// Longest header and body, filled.
const MAX_HEADER_CHARS: usize = 60;
const MAX_BODY_CHARS: usize = 1_024;

/// The template that a message names, if it can be sent and the message fits it.
pub(crate) fn check<'a>(registry: &'a Registry, message: &TemplateMessage) -> Result<&'a Template, Refusal> {
    let (name, language) = (&message.name, &message.language.code);
    let template = registry.find(name, language).ok_or_else(|| {
        Refusal::because(
            132_001,
            format!("template name ({name}) does not exist in {language}"),
        )
    })?;
    if let Some(refusal) = template.status.refusal() {
        return Err(refusal);
    }
    let (mut header, mut body, mut buttons) = (&[][..], &[][..], Vec::new());
    for component in &message.components {
        match component {
            Component::Header { parameters } => header = parameters,
            Component::Body { parameters } => body = parameters,
            Component::Button {
                sub_type,
                index,
                parameters,
            } => buttons.push((*sub_type, index.parse().unwrap_or(usize::MAX), parameters.len())),
        }
    }
    let format = template.parameter_format;
    check_header(&template.shape.header, header, format)?;
    check_text("body", &template.shape.body, body, format, MAX_BODY_CHARS)?;
    check_buttons(&template.shape.buttons, &buttons)?;
    Ok(template)
}

fn check_header(header: &Header, given: &[Parameter], format: ParameterFormat) -> Result<(), Refusal> {
    match header {
        Header::Text(text) => match given {
            [] | [Parameter::Text { .. }] => check_text("header", text, given, format, MAX_HEADER_CHARS),
            _ => Err(mismatch("TEXT", given)),
        },
        Header::None if given.is_empty() => Ok(()),
        Header::None => Err(wrong_count("header", given.len(), 0)),
        Header::Medium(expected) if medium_of(given) == *expected => Ok(()),
        Header::Medium(expected) => Err(mismatch(expected, given)),
        Header::Location => Err(mismatch("LOCATION", given)),
    }
}

/// What a header brings, in the words of Meta's details.
fn medium_of(given: &[Parameter]) -> &'static str {
    match given {
        [Parameter::Image { .. }] => "IMAGE",
        [Parameter::Video { .. }] => "VIDEO",
        [Parameter::Document { .. }] => "DOCUMENT",
        [Parameter::Text { .. }] => "TEXT",
        _ => "UNKNOWN",
    }
}

fn mismatch(expected: &str, given: &[Parameter]) -> Refusal {
    let received = medium_of(given);
    Refusal::because(
        132_012,
        format!("header: Format mismatch, expected {expected}, received {received}"),
    )
}

fn check_text(
    section: &str,
    text: &Text,
    given: &[Parameter],
    format: ParameterFormat,
    most: usize,
) -> Result<(), Refusal> {
    if given.len() != text.variables.len() {
        return Err(wrong_count(section, given.len(), text.variables.len()));
    }
    let mut chars = vec![0; given.len()];
    for (place, parameter) in given.iter().enumerate() {
        let Parameter::Text {
            text: value,
            parameter_name,
        } = parameter
        else {
            return Err(Refusal::because(
                132_012,
                format!("{section}: parameter {place} is not a text"),
            ));
        };
        chars[place_of(section, text, format, place, parameter_name.as_deref())?] = value.chars().count();
    }
    let filled = text.filled_chars(|index| chars[index]);
    if filled > most {
        let details =
            format!("{section}: the filled text has {filled} characters; at most {most} are allowed");
        return Err(Refusal::because(132_005, details));
    }
    Ok(())
}

/// Which of the template's variables a parameter fills.
fn place_of(
    section: &str,
    text: &Text,
    format: ParameterFormat,
    place: usize,
    name: Option<&str>,
) -> Result<usize, Refusal> {
    match (format, name) {
        (ParameterFormat::Positional, None) => Ok(place),
        (ParameterFormat::Positional, Some(_)) => Err(Refusal::because(
            100,
            format!("{section}: the template's parameters have no names"),
        )),
        (ParameterFormat::Named, None) => Err(Refusal::because(100, "Parameter name is missing or empty")),
        (ParameterFormat::Named, Some(name)) => {
            let known = text.variables.iter().position(|variable| variable == name);
            known.ok_or_else(|| {
                Refusal::because(
                    100,
                    format!("{section}: the template has no parameter named {name}"),
                )
            })
        }
    }
}

fn wrong_count(section: &str, given: usize, expected: usize) -> Refusal {
    Refusal::because(
        132_000,
        format!(
            "{section}: number of localizable_params ({given}) does not match the expected number of params \
             ({expected})"
        ),
    )
}

fn check_buttons(buttons: &[Button], given: &[(ButtonKind, usize, usize)]) -> Result<(), Refusal> {
    for (kind, index, _) in given {
        let fits = match (buttons.get(*index), kind) {
            (Some(Button::Url { has_variable }), ButtonKind::Url) => *has_variable,
            (Some(Button::QuickReply), ButtonKind::QuickReply)
            | (Some(Button::CopyCode), ButtonKind::CopyCode) => true,
            _ => false,
        };
        if !fits {
            let details = format!("buttons: the template's button at index {index} takes no such parameter");
            return Err(Refusal::because(132_012, details));
        }
    }
    for (index, button) in buttons.iter().enumerate() {
        let is_given = given.iter().any(|(_, at, count)| *at == index && *count > 0);
        let needed = match button {
            Button::Url { has_variable: true } => Some("Url"),
            Button::CopyCode => Some("CopyCode"),
            Button::Url { has_variable: false } | Button::QuickReply | Button::Plain => None,
        };
        if let (Some(kind), false) = (needed, is_given) {
            return Err(Refusal::because(
                131_008,
                format!("buttons: Button at index {index} of type {kind} requires a parameter"),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "fit_tests.rs"]
mod tests;
