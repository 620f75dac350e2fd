//! What Meta refuses at creation, rule by rule.

use serde_json::json;

use super::*;

fn subcode(template: Value) -> Result<(), Option<i64>> {
    let new: NewTemplate = serde_json::from_value(template).expect("reads");
    let template = checked(new, "1".into(), TemplateStatus::Pending);
    template.map(drop).map_err(|refusal| match refusal.form {
        crate::answer::Form::Template { subcode, .. } => subcode,
        other => panic!("{other:?}"),
    })
}

fn of(components: &Value) -> Value {
    json!({"name": "offer", "language": "pt_BR", "category": "MARKETING", "components": components})
}

fn body(text: &str) -> Value {
    json!({"type": "BODY", "text": text, "example": {"body_text": [["Ana", "10%"]]}})
}

#[test]
fn a_template_with_everything_is_taken() {
    let everything = of(&json!([
        {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::aW"]}},
        body("Hello {{1}}, today there is {{2}} off everything we have in store."),
        {"type": "FOOTER", "text": "Reply SAIR to stop"},
        {"type": "BUTTONS", "buttons": [
            {"type": "URL", "text": "Look", "url": "https://example.com/{{1}}", "example": ["a"]},
            {"type": "QUICK_REPLY", "text": "Yes"},
            {"type": "PHONE_NUMBER", "text": "Call", "phone_number": "+5511987654321"},
            {"type": "COPY_CODE", "example": "TEN"}]}]));
    assert_eq!(subcode(everything), Ok(()));
    let mut named = of(
        &json!([{"type": "body", "text": "Hello {{first_name}}, all is well with you today.",
        "example": {"body_text_named_params": [{"param_name": "first_name", "example": "Ana"}]}}]),
    );
    named["parameter_format"] = json!("named");
    assert_eq!(subcode(named), Ok(()));
    let code = json!({"name": "code", "language": "pt_BR", "category": "AUTHENTICATION", "components": [
        {"type": "BODY", "add_security_recommendation": true}, {"type": "FOOTER", "code_expiration_minutes": 5},
        {"type": "BUTTONS", "buttons": [{"type": "OTP", "otp_type": "COPY_CODE"}]}]});
    assert_eq!(subcode(code), Ok(()));
}

#[test]
fn each_rule_of_the_body_has_its_subcode() {
    for (text, expected) in [
        ("", 2_388_072),
        (
            "Hello {{1}} and {{3}}, a gap is not taken by anyone here",
            2_388_072,
        ),
        (
            "Hello {{1}} {{2}}, these two touch each other as you see",
            2_388_072,
        ),
        ("Hello {{first}}, a name where a number should be", 2_388_072),
        ("{{1}} at the start of the whole text", 2_388_299),
        ("At the end of the whole text {{1}}", 2_388_299),
        ("Hi {{1}} there", 2_388_293),
        (&"x".repeat(1_025), 2_388_040),
    ] {
        assert_eq!(subcode(of(&json!([body(text)]))), Err(Some(expected)), "{text}");
    }
    let without_example = of(&json!([{"type": "BODY", "text": "Hello {{1}}, all is well today."}]));
    assert_eq!(subcode(without_example), Err(Some(2_388_043)));
    assert_eq!(
        subcode(of(&json!([{"type": "FOOTER", "text": "x"}]))),
        Err(Some(2_388_043))
    );
}

#[test]
fn headers_footers_and_buttons_have_theirs() {
    let with = |component: Value| subcode(of(&json!([body("Hello."), component])));
    let header = |text: &str| json!({"type": "HEADER", "format": "TEXT", "text": text, "example": {"header_text": ["a"]}});
    assert_eq!(with(header("Hello {{1}} there")), Ok(()));
    assert_eq!(with(header("Two {{1}} are too {{2}} many")), Err(Some(2_388_047)));
    assert_eq!(with(header("")), Err(Some(2_388_047)));
    assert_eq!(with(header(&"x".repeat(61))), Err(Some(2_388_040)));
    assert_eq!(
        with(json!({"type": "HEADER", "format": "IMAGE"})),
        Err(Some(2_388_043))
    );
    assert_eq!(
        with(json!({"type": "FOOTER", "text": "With {{1}}"})),
        Err(Some(2_388_073))
    );
    assert_eq!(
        with(json!({"type": "FOOTER", "text": "x".repeat(61)})),
        Err(Some(2_388_040))
    );
    let button = |button: Value| with(json!({"type": "BUTTONS", "buttons": [button]}));
    let long = "x".repeat(26);
    assert_eq!(
        button(json!({"type": "QUICK_REPLY", "text": long})),
        Err(Some(2_388_040))
    );
    assert_eq!(button(json!({"type": "QUICK_REPLY"})), Err(Some(2_388_043)));
    assert_eq!(
        button(json!({"type": "URL", "text": "a", "url": "https://example.com/{{1}}"})),
        Err(Some(2_388_043))
    );
    assert_eq!(
        button(json!({"type": "URL", "text": "a", "url": "https://{{1}}/a", "example": ["a"]})),
        Err(None)
    );
    let eleven = vec![json!({"type": "QUICK_REPLY", "text": "a"}); 11];
    assert_eq!(with(json!({"type": "BUTTONS", "buttons": eleven})), Err(None));
    assert_eq!(with(body("Hello.")), Err(None), "a second body");
    assert_eq!(with(json!({"type": "BODDY"})), Err(None));
}

#[test]
fn names_and_languages_are_checked() {
    for (field, value) in [
        ("name", "Offer"),
        ("name", ""),
        ("language", "pt-BR"),
        ("language", "p"),
    ] {
        let mut template = of(&json!([body("Hello.")]));
        template[field] = json!(value);
        assert_eq!(subcode(template), Err(None), "{field} {value:?}");
    }
}
