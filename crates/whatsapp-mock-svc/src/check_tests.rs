//! What is refused whatever the template says, and what is not.

use serde_json::{Value, json};

use super::*;

fn code_of(body: &Value) -> Result<u64, i64> {
    code_at(body, Endpoint::Messages)
}

fn code_at(body: &Value, endpoint: Endpoint) -> Result<u64, i64> {
    let bytes = serde_json::to_vec(body).expect("serializes");
    read(&bytes, endpoint)
        .map(|read| read.1)
        .map_err(|refusal| refusal.code)
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

fn of_type(kind: &str, object: &Value) -> Value {
    let mut message = json!({"messaging_product": "whatsapp", "to": "+5511987654321", "type": kind});
    message[kind] = object.clone();
    message
}

#[test]
fn every_type_is_taken_with_its_own_object_and_no_other() {
    let good = [
        ("text", json!({"body": "hi"})),
        (
            "image",
            json!({"link": "https://example.com/a", "caption": "see"}),
        ),
        ("audio", json!({"id": "1"})),
        ("video", json!({"id": "1"})),
        ("document", json!({"id": "1", "filename": "a.pdf"})),
        ("sticker", json!({"id": "1"})),
        ("location", json!({"latitude": -23.5, "longitude": -46.6})),
        ("contacts", json!([{"name": {"formatted_name": "Ana"}}])),
        ("reaction", json!({"message_id": "wamid.A", "emoji": ""})),
        (
            "interactive",
            json!({"type": "button", "action": {}, "body": {"text": "Which?"}}),
        ),
    ];
    for (kind, object) in &good {
        assert!(code_of(&of_type(kind, object)).is_ok(), "{kind}");
        let mut two = of_type(kind, object);
        two["template"] = json!({"name": "hello", "language": {"code": "pt_BR"}});
        assert_eq!(code_of(&two), Err(100), "{kind} and a template");
    }
    for (kind, object) in [
        ("image", json!({"caption": "nothing to see"})),
        ("audio", json!({"id": "1", "link": "https://example.com/a"})),
        ("location", json!({"latitude": -23.5})),
        ("contacts", json!([])),
        ("reaction", json!({"emoji": "x"})),
        ("interactive", json!({"type": "button"})),
    ] {
        assert_eq!(code_of(&of_type(kind, &object)), Err(131_009), "{kind}");
    }
    let mut untyped = of_type("text", &json!({"body": "hi"}));
    untyped.as_object_mut().expect("an object").remove("type");
    assert!(code_of(&untyped).is_ok(), "text is what nothing said means");
}

#[test]
fn capitals_are_read_and_misspelt_words_are_not() {
    let shouted = json!([
        {"type": "HEADER", "parameters": [{"type": "TEXT", "text": "x"}]},
        {"type": "button", "sub_type": "URL", "index": 0, "parameters": [{"type": "text", "text": "x"}]}]);
    assert!(code_of(&template(&shouted)).is_ok());
    let misspelt = json!([{"type": "HEADRE", "parameters": []}]);
    assert_eq!(code_of(&template(&misspelt)), Err(100));
}

#[test]
fn each_endpoint_takes_its_own_fields() {
    let mut marketing = template(&json!([]));
    marketing["product_policy"] = json!("STRICT");
    marketing["message_activity_sharing"] = json!(true);
    assert!(code_at(&marketing, Endpoint::MarketingMessages).is_ok());
    assert_eq!(code_of(&marketing), Err(100));
    marketing["product_policy"] = json!("PERHAPS");
    assert_eq!(code_at(&marketing, Endpoint::MarketingMessages), Err(100));
    let text = of_type("text", &json!({"body": "hi"}));
    assert_eq!(code_at(&text, Endpoint::MarketingMessages), Err(100));
}

#[test]
fn a_user_id_stands_for_a_phone_number() {
    let mut message = template(&json!([]));
    message.as_object_mut().expect("an object").remove("to");
    message["recipient"] = json!(person::user_id(5_511_987_654_321));
    assert_eq!(code_of(&message), Ok(5_511_987_654_321));
    message["recipient"] = json!("someone");
    assert_eq!(code_of(&message), Err(131_009));
}
