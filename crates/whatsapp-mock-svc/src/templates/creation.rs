//! Reads a template that is to be registered, and refuses what Meta refuses.
//!
//! Meta says code 100 to all of it; what is wrong stands in `error_subcode` and, for people, in
//! `error_user_msg`. Source: "Error codes", section "Template creation", read 2026-09; where it names no
//! subcode, the one that clients have met.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::text::{Text, TextProblem};
use super::{Button, Category, Header, ParameterFormat, Shape, Template, TemplateStatus};
use crate::answer::Refusal;

const MAX_NAME_CHARS: usize = 512;
const MAX_HEADER_CHARS: usize = 60;
const MAX_BODY_CHARS: usize = 1_024;
const MAX_FOOTER_CHARS: usize = 60;
const MAX_BUTTON_CHARS: usize = 25;
const MAX_BUTTONS: usize = 10;

const TOO_LONG: (i64, &str) = (2_388_040, "Character limit exceeded");
const MISSING: (i64, &str) = (
    2_388_043,
    "Message template \"components\" param is missing expected field(s)",
);
const HEADER: (i64, &str) = (2_388_047, "Message header format is incorrect");
const BODY: (i64, &str) = (2_388_072, "Message body format is incorrect");
const FOOTER: (i64, &str) = (2_388_073, "Message footer format is incorrect");
const TOO_MANY_VARIABLES: (i64, &str) = (2_388_293, "Parameters words ratio exceeds limit");
const AT_EDGE: (i64, &str) = (2_388_299, "Leading or trailing parameters are not allowed");

/// A template that is to be registered.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct NewTemplate {
    /// `[a-z0-9_]{1,512}`.
    pub(crate) name: String,
    /// As in `pt_BR`.
    pub(crate) language: String,
    pub(crate) category: Category,
    #[serde(default)]
    parameter_format: Format,
    #[schema(value_type = Vec<Object>)]
    components: Vec<Value>,
}

/// Clients write it in capitals or not.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
enum Format {
    #[default]
    #[serde(rename = "POSITIONAL", alias = "positional")]
    Positional,
    #[serde(rename = "NAMED", alias = "named")]
    Named,
}

/// The template, if Meta would take it.
pub(crate) fn checked(new: NewTemplate, id: String, status: TemplateStatus) -> Result<Template, Refusal> {
    let name_char = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if new.name.is_empty() || new.name.len() > MAX_NAME_CHARS || !new.name.bytes().all(name_char) {
        return Err(wrong(
            None,
            "the name has 1 to 512 lower-case letters, digits and _",
        ));
    }
    let language_char = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    if !(2..=10).contains(&new.language.len()) || !new.language.bytes().all(language_char) {
        return Err(wrong(None, "the language reads like pt_BR or en"));
    }
    let format = match new.parameter_format {
        Format::Positional => ParameterFormat::Positional,
        Format::Named => ParameterFormat::Named,
    };
    let shape = shape(&new.components, format, new.category)?;
    Ok(Template {
        id,
        name: new.name,
        language: new.language,
        status,
        category: new.category,
        parameter_format: format,
        components: new.components,
        rejected_reason: "NONE".to_owned(),
        shape,
    })
}

fn shape(components: &[Value], format: ParameterFormat, category: Category) -> Result<Shape, Refusal> {
    let (mut header, mut body, mut footers, mut buttons) = (None, None, 0, None);
    for component in components {
        let kind = component["type"]
            .as_str()
            .unwrap_or_default()
            .to_ascii_uppercase();
        let is_again = match kind.as_str() {
            "HEADER" => header.replace(read_header(component, format)?).is_some(),
            "BODY" => body.replace(read_body(component, format, category)?).is_some(),
            "FOOTER" => {
                check_footer(component)?;
                footers += 1;
                footers > 1
            }
            "BUTTONS" => buttons.replace(read_buttons(component)?).is_some(),
            "LIMITED_TIME_OFFER" | "CAROUSEL" | "CALL_PERMISSION_REQUEST" => false,
            _ => return Err(wrong(None, format!("there is no component of type {kind:?}"))),
        };
        if is_again {
            return Err(wrong(None, format!("there is more than one {kind}")));
        }
    }
    Ok(Shape {
        header: header.unwrap_or(Header::None),
        body: body.ok_or_else(|| wrong(Some(MISSING), "component of type BODY is missing"))?,
        buttons: buttons.unwrap_or_default(),
    })
}

fn read_header(component: &Value, format: ParameterFormat) -> Result<Header, Refusal> {
    let medium = match component["format"]
        .as_str()
        .unwrap_or("TEXT")
        .to_ascii_uppercase()
        .as_str()
    {
        "TEXT" => return read_header_text(component, format).map(Header::Text),
        "LOCATION" => return Ok(Header::Location),
        "IMAGE" => "IMAGE",
        "VIDEO" => "VIDEO",
        "DOCUMENT" => "DOCUMENT",
        _ => {
            return Err(wrong(
                Some(HEADER),
                "a header is a text, an image, a video, a document or a location",
            ));
        }
    };
    require_example(component, &["header_handle"], "HEADER")?;
    Ok(Header::Medium(medium))
}

fn read_header_text(component: &Value, format: ParameterFormat) -> Result<Text, Refusal> {
    let written = component["text"].as_str().unwrap_or_default();
    if written.trim().is_empty() || written.contains('\n') {
        return Err(wrong(
            Some(HEADER),
            "a header of format TEXT needs a text, on one line",
        ));
    }
    let text = Text::parse(written, format).map_err(|problem| about(problem, HEADER))?;
    check_length("header", &text, MAX_HEADER_CHARS)?;
    match text.variables.len() {
        0 => Ok(text),
        1 => {
            require_example(component, &["header_text", "header_text_named_params"], "HEADER")?;
            Ok(text)
        }
        _ => Err(wrong(Some(HEADER), "a header has at most one variable")),
    }
}

fn read_body(component: &Value, format: ParameterFormat, category: Category) -> Result<Text, Refusal> {
    let Some(written) = component["text"].as_str() else {
        // Meta writes the bodies of codes itself, and they have one variable: the code.
        return match category {
            Category::Authentication => Text::parse("{{1}} is your code.", ParameterFormat::Positional)
                .map_err(|problem| about(problem, BODY)),
            Category::Marketing | Category::Utility => Err(wrong(
                Some(MISSING),
                "component of type BODY is missing expected field(s) (text)",
            )),
        };
    };
    if written.trim().is_empty() {
        return Err(wrong(Some(BODY), "the body is empty"));
    }
    let text = Text::parse(written, format).map_err(|problem| about(problem, BODY))?;
    check_length("body", &text, MAX_BODY_CHARS)?;
    text.check_placement().map_err(|problem| about(problem, BODY))?;
    if !text.variables.is_empty() {
        require_example(component, &["body_text", "body_text_named_params"], "BODY")?;
    }
    Ok(text)
}

fn check_footer(component: &Value) -> Result<(), Refusal> {
    let Some(written) = component["text"].as_str() else {
        // The footer of a code says how long it is good for.
        return Ok(());
    };
    if written.contains("{{") || written.contains('\n') || written.trim().is_empty() {
        return Err(wrong(Some(FOOTER), "a footer is one line without variables"));
    }
    check_chars("footer", written, MAX_FOOTER_CHARS)
}

fn read_buttons(component: &Value) -> Result<Vec<Button>, Refusal> {
    let buttons = component["buttons"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if buttons.is_empty() || buttons.len() > MAX_BUTTONS {
        return Err(wrong(None, "there are 1 to 10 buttons"));
    }
    buttons.iter().map(read_button).collect()
}

fn read_button(button: &Value) -> Result<Button, Refusal> {
    let kind = button["type"].as_str().unwrap_or_default().to_ascii_uppercase();
    let label = button["text"].as_str();
    check_chars("button's label", label.unwrap_or_default(), MAX_BUTTON_CHARS)?;
    let labelled = |button: Button| match label.map(str::trim) {
        Some(label) if !label.is_empty() => Ok(button),
        _ => Err(wrong(
            Some(MISSING),
            format!("a button of type {kind} needs a text"),
        )),
    };
    match kind.as_str() {
        "URL" => labelled(Button::Url {
            has_variable: url_has_variable(button)?,
        }),
        "QUICK_REPLY" => labelled(Button::QuickReply),
        "PHONE_NUMBER" if button["phone_number"].is_string() => labelled(Button::Plain),
        "COPY_CODE" => Ok(Button::CopyCode),
        // The button of a code is filled like an address with a variable.
        "OTP" => Ok(Button::Url { has_variable: true }),
        "FLOW" | "CATALOG" | "MPM" | "SPM" | "VOICE_CALL" => Ok(Button::Plain),
        _ => Err(wrong(
            Some(MISSING),
            format!("there is no such button: {kind:?}, or a field of it is missing"),
        )),
    }
}

fn url_has_variable(button: &Value) -> Result<bool, Refusal> {
    let url = button["url"].as_str().unwrap_or_default();
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(wrong(
            Some(MISSING),
            "a URL button needs a url that starts with https:// or http://",
        ));
    }
    match url.matches("{{").count() {
        0 => Ok(false),
        1 if url.ends_with("{{1}}") => {
            require(
                !is_empty(&button["example"]),
                "component of type BUTTONS is missing expected field(s) (example)",
            )?;
            Ok(true)
        }
        _ => Err(wrong(None, "a url has at most one variable, {{1}}, at its end")),
    }
}

fn require_example(component: &Value, fields: &[&str], kind: &str) -> Result<(), Refusal> {
    let is_there = fields
        .iter()
        .any(|field| !is_empty(&component["example"][*field]));
    require(
        is_there,
        &format!("component of type {kind} is missing expected field(s) (example)"),
    )
}

fn require(is_there: bool, otherwise: &str) -> Result<(), Refusal> {
    is_there
        .then_some(())
        .ok_or_else(|| wrong(Some(MISSING), otherwise))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Variables count as they are written, but what fills them does not.
fn check_length(what: &str, text: &Text, most: usize) -> Result<(), Refusal> {
    let braces = text.filled_chars(|index| text.variables[index].chars().count() + "{{}}".len());
    debug_assert!(braces >= text.fixed_chars());
    within(what, braces, most)
}

fn check_chars(what: &str, text: &str, most: usize) -> Result<(), Refusal> {
    within(what, text.chars().count(), most)
}

fn within(what: &str, chars: usize, most: usize) -> Result<(), Refusal> {
    if chars <= most {
        return Ok(());
    }
    Err(wrong(
        Some(TOO_LONG),
        format!("the {what} has {chars} characters; at most {most} are allowed"),
    ))
}

fn about(problem: TextProblem, format: (i64, &'static str)) -> Refusal {
    match problem {
        TextProblem::Variables => wrong(Some(format), "a variable is not closed, or its name is not one"),
        TextProblem::Gap => wrong(Some(format), "variables are numbered from 1 without gaps"),
        TextProblem::Adjacent => wrong(Some(format), "two variables have no text between them"),
        TextProblem::AtEdge => wrong(
            Some(AT_EDGE),
            "Variables can't be at the start or end of the template.",
        ),
        TextProblem::TooMany => wrong(
            Some(TOO_MANY_VARIABLES),
            "This template has too many variables for its length. Reduce the number of variables or increase \
             the message length.",
        ),
    }
}

fn wrong(what: Option<(i64, &'static str)>, words: impl Into<String>) -> Refusal {
    let title = what.map_or("Invalid parameter", |(_, title)| title);
    Refusal::of_template(what.map(|(subcode, _)| subcode), title, words)
}

#[cfg(test)]
#[path = "creation_tests.rs"]
mod tests;
