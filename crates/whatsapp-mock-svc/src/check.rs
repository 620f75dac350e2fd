//! Refuses what Meta refuses in a message, before anything else is done with it.
//!
//! Source: Cloud API "Messages" reference and error codes, read 2026-09. Stricter in one thing: `to` must
//! have its `+`, because without it Meta guesses a country and writes to someone else.

use std::collections::HashSet;

use whatsapp_api::send::{
    ButtonKind, Component, MAX_CALLBACK_DATA_CHARS, MAX_PARAMETER_SPACES_IN_A_ROW, MAX_TEXT_CHARS, Media,
    MessageKind, MessageRequest, Parameter, TemplateMessage,
};

use crate::answer::Refusal;

/// Digits of an E.164 number.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;
/// Longest template name.
const MAX_NAME_CHARS: usize = 512;
/// Buttons of a template.
const MAX_BUTTONS: u8 = 10;
/// Longest text of all body parameters together: the length of a body.
const MAX_BODY_CHARS: usize = 1_024;
/// Five spaces in a row.
const TOO_MANY_SPACES: &str = "     ";
const _: () = assert!(TOO_MANY_SPACES.len() == MAX_PARAMETER_SPACES_IN_A_ROW + 1);

/// Reads and checks a body; the request and its recipient's digits as a number.
pub(crate) fn read(body: &[u8]) -> Result<(MessageRequest, u64), Refusal> {
    let request: MessageRequest = serde_json::from_slice(body).map_err(|problem| {
        let details = problem.to_string();
        let code = if details.starts_with("missing field") {
            131_008
        } else {
            100
        };
        Refusal::because(code, details)
    })?;
    let recipient = recipient(&request.to)?;
    let callback_data = request.biz_opaque_callback_data.as_deref().unwrap_or_default();
    if callback_data.chars().count() > MAX_CALLBACK_DATA_CHARS {
        return Err(Refusal::because(
            100,
            "biz_opaque_callback_data has more than 512 characters",
        ));
    }
    match (request.kind, &request.template, &request.text) {
        (MessageKind::Template, Some(template), None) => check_template(template)?,
        (MessageKind::Text, None, Some(text)) => {
            if text.body.is_empty() || text.body.chars().count() > MAX_TEXT_CHARS {
                return Err(Refusal::because(100, "text.body must have 1 to 4096 characters"));
            }
        }
        (MessageKind::Template, None, _) => return Err(Refusal::because(131_008, "template is missing")),
        (MessageKind::Text, _, None) => return Err(Refusal::because(131_008, "text is missing")),
        _ => return Err(Refusal::because(100, "there are both a template and a text")),
    }
    Ok((request, recipient))
}

fn recipient(to: &str) -> Result<u64, Refusal> {
    let wrong = || Refusal::because(131_009, "to is not a phone number: + and 8 to 15 digits");
    let digits = to.strip_prefix('+').ok_or_else(wrong)?;
    let plausible = PHONE_DIGITS.contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plausible {
        return Err(wrong());
    }
    digits.parse().map_err(|_| wrong())
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
        ] => check_media(media),
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
        (ButtonKind::CopyCode, [Parameter::CouponCode { coupon_code }]) => coupon_code,
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

fn check_media(media: &Media) -> Result<(), Refusal> {
    match (&media.id, &media.link) {
        (Some(id), None) if !id.is_empty() => Ok(()),
        (None, Some(link)) if link.starts_with("https://") || link.starts_with("http://") => Ok(()),
        _ => Err(Refusal::because(131_009, "a medium has either an id or a link")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn code_of(body: &Value) -> Result<u64, i64> {
        let bytes = serde_json::to_vec(body).expect("serializes");
        read(&bytes).map(|read| read.1).map_err(|refusal| refusal.code)
    }

    fn template(components: &Value) -> Value {
        json!({"messaging_product": "whatsapp", "recipient_type": "individual", "to": "+5511987654321",
            "type": "template", "template": {"name": "hello", "language": {"code": "pt_BR"},
            "components": components}})
    }

    fn body_of(texts: &[&str]) -> Value {
        let parameters: Vec<_> = texts
            .iter()
            .map(|text| json!({"type": "text", "text": text}))
            .collect();
        template(&json!([{"type": "body", "parameters": parameters}]))
    }

    #[test]
    fn good_messages_pass() {
        assert_eq!(code_of(&template(&json!([]))), Ok(5_511_987_654_321));
        assert_eq!(code_of(&body_of(&["Ana", "R$    10"])), Ok(5_511_987_654_321));
        let named = json!([{"type": "body", "parameters": [
            {"type": "text", "parameter_name": "name", "text": "Ana"}]},
            {"type": "header", "parameters": [{"type": "image", "image": {"link": "https://example.com/a"}}]},
            {"type": "button", "sub_type": "url", "index": 0, "parameters": [{"type": "text", "text": "x"}]}]);
        assert!(code_of(&template(&named)).is_ok());
    }

    #[test]
    fn bad_values_are_132018() {
        for text in ["", "  ", "a\nb", "a\tb", "a     b"] {
            assert_eq!(code_of(&body_of(&["fine", text])), Err(132_018), "{text:?}");
        }
    }

    #[test]
    fn bad_recipients_are_131009() {
        for to in [
            "",
            "+",
            "5511987654321",
            "+0511987654321",
            "+551198765432x",
            "+1234567",
            "+1234567890123456",
        ] {
            let mut message = template(&json!([]));
            message["to"] = json!(to);
            assert_eq!(code_of(&message), Err(131_009), "{to:?}");
        }
    }

    #[test]
    fn bad_shapes_are_refused() {
        let text = |text| json!({"type": "text", "text": text});
        let mixed = json!([{"type": "body", "parameters": [text("a"),
            {"type": "text", "text": "b", "parameter_name": "b"}]}]);
        assert_eq!(code_of(&template(&mixed)), Err(100));
        let twice = json!([{"type": "body", "parameters": []}, {"type": "body", "parameters": []}]);
        assert_eq!(code_of(&template(&twice)), Err(132_000));
        let header = json!([{"type": "header", "parameters": [{"type": "payload", "payload": "x"}]}]);
        assert_eq!(code_of(&template(&header)), Err(132_012));
        let button = json!([{"type": "button", "sub_type": "quick_reply", "index": "10",
            "parameters": [{"type": "payload", "payload": "x"}]}]);
        assert_eq!(code_of(&template(&button)), Err(100));
        let long = "x".repeat(MAX_BODY_CHARS + 1);
        assert_eq!(code_of(&body_of(&[&long])), Err(132_005));
        let mut unknown = template(&json!([]));
        unknown["tamplate"] = json!({});
        assert_eq!(code_of(&unknown), Err(100));
        let mut missing = template(&json!([]));
        missing.as_object_mut().expect("an object").remove("to");
        assert_eq!(code_of(&missing), Err(131_008));
        let mut no_template = template(&json!([]));
        no_template.as_object_mut().expect("an object").remove("template");
        assert_eq!(code_of(&no_template), Err(131_008));
        assert_eq!(code_of(&json!([])), Err(100));
    }
}
