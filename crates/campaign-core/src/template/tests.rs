use super::*;
use proptest::prelude::*;
use serde_json::json;

/// As Meta lists it; with every kind of placeholder.
pub(super) fn offer() -> Template {
    serde_json::from_value(json!({
        "id": "594425479261596",
        "name": "oferta_de_natal",
        "language": "pt_BR",
        "category": "MARKETING",
        "status": "APPROVED",
        "parameter_format": "NAMED",
        "components": [
            {"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::aW"]}},
            {"type": "BODY", "text": "Olá {{nome}}, {{nome}}! Até {{data}}.", "example": {
                "body_text_named_params": [{"param_name": "nome", "example": "Ana"}, {"param_name": "data", "example": "31/12"}]}},
            {"type": "FOOTER", "text": "Responda SAIR para não receber"},
            {"type": "BUTTONS", "buttons": [
                {"type": "QUICK_REPLY", "text": "SAIR"},
                {"type": "URL", "text": "Ver", "url": "https://loja.example/o/{{1}}", "example": ["https://loja.example/o/7"]},
                {"type": "PHONE_NUMBER", "text": "Ligar", "phone_number": "+553132654321"},
                {"type": "COPY_CODE", "example": "NATAL10"}
            ]}
        ]
    }))
    .expect("Meta's shape")
}

/// A template that has only a body and breaks no rule beyond what its text breaks.
pub(super) fn with_body(text: &str, parameter_format: ParameterFormat) -> Template {
    Template {
        parameter_format,
        components: vec![Component::Body {
            text: text.into(),
            example: None,
        }],
        ..offer()
    }
}

pub(super) fn with_component(json: serde_json::Value) -> Template {
    let mut template = with_body("Oi", ParameterFormat::Positional);
    template
        .components
        .push(serde_json::from_value(json).expect("Meta's shape"));
    template
}

const VALUES: [&str; 5] = [
    "https://loja.example/natal.png",
    "Ana",
    "31/12/2026",
    "7",
    "NATAL10",
];

#[test]
fn survives_the_journey_in_metas_shape() {
    let json = serde_json::to_value(offer()).expect("JSON");
    assert_eq!(
        json["components"][0],
        json!({"type": "HEADER", "format": "IMAGE", "example": {"header_handle": ["4::aW"]}})
    );
    assert_eq!(
        json["components"][3]["buttons"][0],
        json!({"type": "QUICK_REPLY", "text": "SAIR"})
    );
    assert_eq!(
        serde_json::from_value::<Template>(json).expect("read back"),
        offer()
    );
}

#[test]
fn old_templates_are_positional_and_new_ones_pending() {
    let template: Template = serde_json::from_value(json!({
        "name": "a", "language": "en", "category": "UTILITY", "components": [{"type": "BODY", "text": "Hi"}]
    }))
    .expect("Meta's shape");
    assert_eq!(template.parameter_format, ParameterFormat::Positional);
    assert_eq!(template.status, TemplateStatus::Pending);
    assert!(!template.status.can_be_sent() && TemplateStatus::Approved.can_be_sent());
}

#[test]
fn a_carousel_is_refused_by_name() {
    let read = serde_json::from_value::<Component>(json!({"type": "CAROUSEL", "cards": []}));
    assert!(
        read.expect_err("cannot be filled")
            .to_string()
            .contains("CAROUSEL")
    );
}

#[test]
fn placeholders_are_ordered_by_section() {
    let compiled = offer().compile().expect("well formed");
    let keys: Vec<String> = compiled.placeholders().iter().map(Placeholder::key).collect();
    assert_eq!(
        keys,
        ["header.image", "nome", "data", "button.1.1", "button.3.code"]
    );
}

#[test]
fn parameters_name_what_meta_wants_named() {
    let compiled = offer().compile().expect("well formed");
    let filled = compiled.parameters(&VALUES).expect("five values");
    let shape: Vec<_> = filled
        .iter()
        .flat_map(|component| {
            component
                .parameters
                .iter()
                .map(|p| (component.section, p.kind, p.name, p.value))
        })
        .collect();
    assert_eq!(
        shape,
        [
            (
                Section::Header,
                ParameterKind::Image,
                None,
                "https://loja.example/natal.png"
            ),
            (Section::Body, ParameterKind::Text, Some("nome"), "Ana"),
            (Section::Body, ParameterKind::Text, Some("data"), "31/12/2026"),
            (Section::Button(1), ParameterKind::UrlSuffix, None, "7"),
            (Section::Button(3), ParameterKind::CouponCode, None, "NATAL10"),
        ]
    );
    assert_eq!(filled.len(), 4, "one entry per component");

    let positional = with_body("Em {{2}}, {{1}}.", ParameterFormat::Positional)
        .compile()
        .expect("well formed");
    let filled = positional.parameters(&["um", "dois"]).expect("two values");
    let sent: Vec<_> = filled[0].parameters.iter().map(|p| (p.name, p.value)).collect();
    assert_eq!(sent, [(None, "um"), (None, "dois")]);
}

#[test]
fn previews_what_the_recipient_sees() {
    let rendered = offer()
        .compile()
        .expect("well formed")
        .preview(&VALUES)
        .expect("good values");
    assert_eq!(rendered.header.as_deref(), Some("https://loja.example/natal.png"));
    assert_eq!(rendered.body, "Olá Ana, Ana! Até 31/12/2026.");
    assert_eq!(rendered.footer.as_deref(), Some("Responda SAIR para não receber"));
    let targets: Vec<_> = rendered
        .buttons
        .iter()
        .map(|button| button.target.as_deref())
        .collect();
    assert_eq!(
        targets,
        [
            None,
            Some("https://loja.example/o/7"),
            Some("+553132654321"),
            Some("NATAL10")
        ]
    );
}

#[test]
fn values_that_whatsapp_would_refuse_are_refused_here() {
    let compiled = with_body("Oi {{1}} e {{2}}.", ParameterFormat::Positional)
        .compile()
        .expect("well formed");
    assert_eq!(
        compiled.preview(&["a"]),
        Err(RenderProblem::WrongCount {
            expected: 2,
            given: 1
        })
    );
    assert_eq!(
        compiled.parameters(&["a", "b", "c"]),
        Err(RenderProblem::WrongCount {
            expected: 2,
            given: 3
        })
    );
    let empty = RenderProblem::Value {
        variable: "2".into(),
        problem: ValueProblem::Empty,
    };
    assert_eq!(compiled.check_values(&["a", ""]), Err(empty));

    let fixed = "Oi  e .".chars().count();
    let (first, rest) = ("é".repeat(BODY_MAX_CHARS - fixed - 1), "é");
    assert_eq!(compiled.check_values(&[first.as_str(), rest]), Ok(()));
    let too_long = RenderProblem::TooLong {
        section: Section::Body,
        chars: BODY_MAX_CHARS + 1,
        max: BODY_MAX_CHARS,
    };
    assert_eq!(
        compiled.check_values(&[first.as_str(), "éé"]),
        Err(too_long.clone())
    );
    assert_eq!(compiled.preview(&[first.as_str(), "éé"]), Err(too_long));
}

#[test]
fn a_filled_header_or_address_has_its_own_limit() {
    let header = with_component(json!({"type": "HEADER", "format": "TEXT", "text": "Oi, {{1}}"}));
    let compiled = header.compile().expect("well formed");
    let long = "x".repeat(HEADER_MAX_CHARS);
    let problem = RenderProblem::TooLong {
        section: Section::Header,
        chars: 64,
        max: HEADER_MAX_CHARS,
    };
    assert_eq!(compiled.check_lengths(&[&long]), Err(problem));

    let url = with_component(
        json!({"type": "BUTTONS", "buttons": [{"type": "URL", "text": "Ver", "url": "https://a/{{1}}"}]}),
    );
    let compiled = url.compile().expect("well formed");
    let long = "x".repeat(BUTTON_URL_MAX_CHARS);
    let problem = compiled.check_lengths(&[&long]).expect_err("too long");
    assert!(
        matches!(
            problem,
            RenderProblem::TooLong {
                section: Section::Button(0),
                chars: 2010,
                ..
            }
        ),
        "{problem}"
    );
}

proptest! {
    #[test]
    fn nothing_that_compiles_leaves_braces_or_panics(
        body in r"[a-z {}]{0,8}(\{\{(1|2|nome)\}\}[a-z {}.]{0,4}){0,3}",
        values in prop::collection::vec("[a-z{}]{1,4}", 3),
    ) {
        for format in [ParameterFormat::Positional, ParameterFormat::Named] {
            let Ok(compiled) = with_body(&body, format).compile_for_sending() else { continue };
            let values = &values[..compiled.placeholders().len()];
            match compiled.preview(values) {
                Ok(rendered) => prop_assert!(!rendered.body.contains("{{"), "{}", rendered.body),
                Err(problem) => prop_assert!(values.iter().any(|value| check_value(value).is_err()), "{}", problem),
            }
        }
    }
}
