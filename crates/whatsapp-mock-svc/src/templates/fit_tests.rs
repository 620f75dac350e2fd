//! What a message must bring for its template.

use serde_json::{Value, json};

use super::*;
use crate::templates::{NewTemplate, TemplateStatus, checked};

fn registry(status: TemplateStatus) -> Registry {
    let mut registry = Registry::default();
    let positional = json!({"name": "offer", "language": "pt_BR", "category": "MARKETING", "components": [
        {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["x"]}},
        {"type": "BODY", "text": "Hello {{1}}, today there is {{2}} off in all of our stores.",
         "example": {"body_text": [["Ana", "10%"]]}},
        {"type": "BUTTONS", "buttons": [
            {"type": "URL", "text": "Look", "url": "https://example.com/{{1}}", "example": ["a"]},
            {"type": "QUICK_REPLY", "text": "Stop"}]}]});
    let named = json!({"name": "ready", "language": "en", "category": "UTILITY", "parameter_format": "NAMED",
        "components": [{"type": "HEADER", "format": "TEXT", "text": "Order {{order}} is ready",
          "example": {"header_text_named_params": [{"param_name": "order", "example": "7"}]}},
         {"type": "BODY", "text": "Dear {{first_name}}, come and get it before six.",
          "example": {"body_text_named_params": [{"param_name": "first_name", "example": "Ana"}]}}]});
    for (id, template) in ["1", "2"].into_iter().zip([positional, named]) {
        let new: NewTemplate = serde_json::from_value(template).expect("reads");
        registry.insert(checked(new, id.into(), status).expect("right"));
    }
    registry
}

fn code(registry: &Registry, name: &str, language: &str, components: &Value) -> Result<(), i64> {
    let message = json!({"name": name, "language": {"code": language}, "components": components});
    let message: TemplateMessage = serde_json::from_value(message).expect("reads");
    check(registry, &message)
        .map(drop)
        .map_err(|refusal| refusal.code)
}

fn header() -> Value {
    json!({"type": "header", "parameters": [{"type": "image", "image": {"id": "1"}}]})
}

fn body(values: &[&str]) -> Value {
    let texts: Vec<_> = values
        .iter()
        .map(|text| json!({"type": "text", "text": text}))
        .collect();
    json!({"type": "body", "parameters": texts})
}

fn button(kind: &str, index: u8) -> Value {
    let parameter = match kind {
        "quick_reply" => json!({"type": "payload", "payload": "x"}),
        _ => json!({"type": "text", "text": "x"}),
    };
    json!({"type": "button", "sub_type": kind, "index": index, "parameters": [parameter]})
}

#[test]
fn a_message_that_brings_what_the_template_needs_fits() {
    let registry = registry(TemplateStatus::Approved);
    let full = json!([
        header(),
        body(&["Ana", "10%"]),
        button("url", 0),
        button("quick_reply", 1)
    ]);
    assert_eq!(code(&registry, "offer", "pt_BR", &full), Ok(()));
    let least = json!([header(), body(&["Ana", "10%"]), button("url", 0)]);
    assert_eq!(code(&registry, "offer", "pt_BR", &least), Ok(()));
}

#[test]
fn each_misfit_has_its_code() {
    let registry = registry(TemplateStatus::Approved);
    let long = "x".repeat(1_000);
    let video = json!({"type": "header", "parameters": [{"type": "video", "video": {"id": "1"}}]});
    for (expected, components) in [
        (132_000, json!([header(), body(&["Ana"]), button("url", 0)])),
        (
            132_000,
            json!([header(), body(&["Ana", "10%", "x"]), button("url", 0)]),
        ),
        (132_012, json!([body(&["Ana", "10%"]), button("url", 0)])),
        (132_012, json!([video, body(&["Ana", "10%"]), button("url", 0)])),
        (131_008, json!([header(), body(&["Ana", "10%"])])),
        (
            132_012,
            json!([header(), body(&["Ana", "10%"]), button("url", 1)]),
        ),
        (
            132_012,
            json!([
                header(),
                body(&["Ana", "10%"]),
                button("url", 0),
                button("quick_reply", 2)
            ]),
        ),
        (
            132_005,
            json!([header(), body(&["Ana", &long]), button("url", 0)]),
        ),
    ] {
        assert_eq!(
            code(&registry, "offer", "pt_BR", &components),
            Err(expected),
            "{components}"
        );
    }
    for (name, language) in [("offer", "en"), ("other", "pt_BR")] {
        assert_eq!(code(&registry, name, language, &json!([])), Err(132_001));
    }
}

#[test]
fn named_parameters_go_by_their_names() {
    let registry = registry(TemplateStatus::Approved);
    let part = |kind: &str, name: Option<&str>| {
        let mut text = json!({"type": "text", "text": "x"});
        if let Some(name) = name {
            text["parameter_name"] = json!(name);
        }
        json!({"type": kind, "parameters": [text]})
    };
    let fits = |header, body| {
        code(
            &registry,
            "ready",
            "en",
            &json!([part("header", header), part("body", body)]),
        )
    };
    assert_eq!(fits(Some("order"), Some("first_name")), Ok(()));
    assert_eq!(fits(Some("order"), None), Err(100));
    assert_eq!(fits(Some("order"), Some("last_name")), Err(100));
    let positional = json!([header(), {"type": "body", "parameters": [
        {"type": "text", "text": "x", "parameter_name": "a"}, {"type": "text", "text": "x", "parameter_name": "b"}]},
        button("url", 0)]);
    assert_eq!(code(&registry, "offer", "pt_BR", &positional), Err(100));
}

#[test]
fn a_template_that_is_not_approved_is_refused_by_its_status() {
    for (status, expected) in [
        (TemplateStatus::Paused, 132_015),
        (TemplateStatus::Disabled, 132_016),
        (TemplateStatus::Pending, 132_001),
        (TemplateStatus::Rejected, 132_001),
    ] {
        assert_eq!(
            code(&registry(status), "offer", "pt_BR", &json!([])),
            Err(expected)
        );
    }
}
