//! Refuses what Meta refuses in a message, whatever its template says, before anything else is done with it.
//!
//! Source: Cloud API "Messages" reference and error codes, read 2026-09. Stricter in one thing: `to` must
//! have its `+`, because without it Meta guesses a country and writes to someone else.

use std::collections::HashSet;

use serde_json::{Map, Value};
use whatsapp_api::send::{
    ButtonKind, Component, MAX_CALLBACK_DATA_CHARS, MAX_PARAMETER_SPACES_IN_A_ROW, MAX_TEXT_CHARS, Media,
    Parameter, TemplateMessage,
};

use crate::answer::Refusal;
use crate::person;
use crate::request::{Kind, SendRequest};

/// Longest template name.
const MAX_NAME_CHARS: usize = 512;
/// Buttons of a template.
const MAX_BUTTONS: u8 = 10;
/// Longest text of all body parameters together: the length of a body.
const MAX_BODY_CHARS: usize = 1_024;
/// Longest caption of a medium, and longest text of an interactive message.
const MAX_CAPTION_CHARS: usize = 1_024;
/// Longest coupon code.
const MAX_COUPON_CHARS: usize = 20;
/// Five spaces in a row.
const TOO_MANY_SPACES: &str = "     ";
const _: () = assert!(TOO_MANY_SPACES.len() == MAX_PARAMETER_SPACES_IN_A_ROW + 1);

/// The endpoint that a message came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Messages,
    MarketingMessages,
}

/// Reads and checks a body; the request and the person it is for.
pub(crate) fn read(body: &[u8], endpoint: Endpoint) -> Result<(SendRequest, u64), Refusal> {
    let request = SendRequest::read(body)?;
    let person = match (&request.to, &request.recipient) {
        // Of both, Meta takes the phone number.
        (Some(to), _) => person::by_phone(to)?,
        (None, Some(user_id)) => person::by_user_id(user_id)?,
        (None, None) => return Err(Refusal::because(131_008, "to is missing")),
    };
    request.check_frame()?;
    let callback_data = request.biz_opaque_callback_data.as_deref().unwrap_or_default();
    if callback_data.chars().count() > MAX_CALLBACK_DATA_CHARS {
        return Err(Refusal::because(
            100,
            "biz_opaque_callback_data has more than 512 characters",
        ));
    }
    check_endpoint(&request, endpoint)?;
    check_content(&request)?;
    Ok((request, person))
}

fn check_endpoint(request: &SendRequest, endpoint: Endpoint) -> Result<(), Refusal> {
    match endpoint {
        Endpoint::Messages if request.product_policy.is_some() => Err(Refusal::because(
            100,
            "product_policy belongs to /marketing_messages",
        )),
        Endpoint::Messages if request.message_activity_sharing.is_some() => Err(Refusal::because(
            100,
            "message_activity_sharing belongs to /marketing_messages",
        )),
        Endpoint::MarketingMessages if request.kind != Kind::Template => {
            Err(Refusal::because(100, "/marketing_messages takes templates only"))
        }
        Endpoint::Messages | Endpoint::MarketingMessages => Ok(()),
    }
}

fn check_content(request: &SendRequest) -> Result<(), Refusal> {
    let kind = request.kind;
    let mut objects = request.objects();
    match (objects.next(), objects.next()) {
        (Some(only), None) if only == kind => {}
        (None, _) => return Err(Refusal::because(131_008, format!("{} is missing", kind.name()))),
        _ => {
            return Err(Refusal::because(
                100,
                format!("there is another object than {}", kind.name()),
            ));
        }
    }
    match (&request.template, &request.text, &request.contacts) {
        (Some(template), ..) => check_template(template),
        (_, Some(text), _) => check_chars("text.body", &text.body, 1, MAX_TEXT_CHARS),
        (.., Some(contacts)) => {
            let named = |contact: &Map<String, Value>| {
                let name = contact.get("name").and_then(|name| name.get("formatted_name"));
                name.and_then(Value::as_str).is_some_and(|name| !name.is_empty())
            };
            require(
                !contacts.is_empty() && contacts.iter().all(named),
                "each contact has a name.formatted_name",
            )
        }
        _ => request
            .object(kind)
            .map_or(Ok(()), |object| check_loose(kind, object)),
    }
}

/// The types that the engine does not send: enough that a client notices what it forgot.
fn check_loose(kind: Kind, object: &Map<String, Value>) -> Result<(), Refusal> {
    let text = |field: &str| {
        object
            .get(field)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let number = |field: &str| {
        object
            .get(field)
            .is_some_and(|value| value.is_number() || value.is_string())
    };
    match kind {
        Kind::Image | Kind::Audio | Kind::Video | Kind::Document | Kind::Sticker => {
            check_media(text("id"), text("link"))?;
            check_chars(
                "caption",
                text("caption").unwrap_or_default(),
                0,
                MAX_CAPTION_CHARS,
            )
        }
        Kind::Location => require(
            number("latitude") && number("longitude"),
            "a location has a latitude and a longitude",
        ),
        Kind::Reaction => require(
            text("message_id").is_some_and(|id| id.starts_with("wamid.")) && object.contains_key("emoji"),
            "a reaction has a message_id and an emoji",
        ),
        Kind::Interactive => {
            require(
                text("type").is_some() && object.get("action").is_some_and(Value::is_object),
                "an interactive message has a type and an action",
            )?;
            let body = object
                .get("body")
                .and_then(|body| body.get("text"))
                .and_then(Value::as_str);
            check_chars(
                "interactive.body.text",
                body.unwrap_or_default(),
                0,
                MAX_CAPTION_CHARS,
            )
        }
        Kind::Template | Kind::Text | Kind::Contacts => Ok(()),
    }
}

fn require(is_so: bool, otherwise: &'static str) -> Result<(), Refusal> {
    is_so
        .then_some(())
        .ok_or_else(|| Refusal::because(131_009, otherwise))
}

fn check_chars(field: &str, text: &str, least: usize, most: usize) -> Result<(), Refusal> {
    if (least..=most).contains(&text.chars().count()) {
        return Ok(());
    }
    Err(Refusal::because(
        100,
        format!("{field} must have {least} to {most} characters"),
    ))
}

fn check_template(template: &TemplateMessage) -> Result<(), Refusal> {
    let name_char = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if template.name.is_empty()
        || template.name.len() > MAX_NAME_CHARS
        || !template.name.bytes().all(name_char)
    {
        return Err(Refusal::because(132_001, "template.name is not [a-z0-9_]{1,512}"));
    }
    let language = &template.language.code;
    let language_char = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    if !(2..=10).contains(&language.len()) || !language.bytes().all(language_char) {
        return Err(Refusal::because(
            132_001,
            "template.language.code is not like pt_BR",
        ));
    }
    let (mut headers, mut bodies, mut buttons) = (0, 0, HashSet::new());
    for component in &template.components {
        match component {
            Component::Header { parameters } => {
                headers += 1;
                check_header(parameters)?;
            }
            Component::Body { parameters } => {
                bodies += 1;
                check_body(parameters)?;
            }
            Component::Button {
                sub_type,
                index,
                parameters,
            } => {
                let in_range = index.parse().is_ok_and(|index: u8| index < MAX_BUTTONS);
                if !in_range || !buttons.insert(index) {
                    return Err(Refusal::because(
                        100,
                        "a button's index is not 0 to 9, or is there twice",
                    ));
                }
                check_button(*sub_type, parameters)?;
            }
        }
    }
    if headers > 1 || bodies > 1 {
        return Err(Refusal::because(132_000, "there is more than one header or body"));
    }
    Ok(())
}

fn check_header(parameters: &[Parameter]) -> Result<(), Refusal> {
    match parameters {
        [Parameter::Text { text, .. }] => check_value(text),
        [
            Parameter::Image { image: media }
            | Parameter::Video { video: media }
            | Parameter::Document { document: media },
        ] => check_medium(media),
        [_] => Err(Refusal::because(
            132_012,
            "a header takes a text, an image, a video or a document",
        )),
        _ => Err(Refusal::because(132_000, "a header takes exactly one parameter")),
    }
}

fn check_body(parameters: &[Parameter]) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    let (mut named, mut chars) = (0, 0);
    for parameter in parameters {
        let Parameter::Text { text, parameter_name } = parameter else {
            return Err(Refusal::because(132_012, "a body takes texts"));
        };
        check_value(text)?;
        chars += text.chars().count();
        if let Some(name) = parameter_name {
            named += 1;
            if name.is_empty() || !seen.insert(name) {
                return Err(Refusal::because(100, "a parameter_name is empty or there twice"));
            }
        }
    }
    if named != 0 && named != parameters.len() {
        return Err(Refusal::because(
            100,
            "parameter_name is missing on some parameters",
        ));
    }
    if chars > MAX_BODY_CHARS {
        return Err(Refusal::because(132_005, "the filled body is too long"));
    }
    Ok(())
}

fn check_button(kind: ButtonKind, parameters: &[Parameter]) -> Result<(), Refusal> {
    let value = match (kind, parameters) {
        (ButtonKind::Url, [Parameter::Text { text, .. }]) => text,
        (ButtonKind::QuickReply, [Parameter::Payload { payload }]) => payload,
        (ButtonKind::CopyCode, [Parameter::CouponCode { coupon_code }]) => {
            check_chars("coupon_code", coupon_code, 1, MAX_COUPON_CHARS)?;
            coupon_code
        }
        (_, [_]) => {
            return Err(Refusal::because(
                132_012,
                "the button takes another kind of parameter",
            ));
        }
        _ => return Err(Refusal::because(132_000, "a button takes exactly one parameter")),
    };
    check_value(value)
}

fn check_value(value: &str) -> Result<(), Refusal> {
    if value.trim().is_empty() {
        return Err(Refusal::because(132_018, "a parameter is empty"));
    }
    if value.contains(['\n', '\r', '\t']) || value.contains(TOO_MANY_SPACES) {
        return Err(Refusal::because(
            132_018,
            "a parameter has a newline, a tab or more than 4 spaces in a row",
        ));
    }
    Ok(())
}

fn check_medium(medium: &Media) -> Result<(), Refusal> {
    check_media(medium.id.as_deref(), medium.link.as_deref())
}

fn check_media(id: Option<&str>, link: Option<&str>) -> Result<(), Refusal> {
    match (id, link) {
        (Some(id), None) if !id.is_empty() => Ok(()),
        (None, Some(link)) if link.starts_with("https://") || link.starts_with("http://") => Ok(()),
        _ => Err(Refusal::because(131_009, "a medium has either an id or a link")),
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
