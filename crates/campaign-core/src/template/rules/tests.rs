use super::*;
use crate::template::tests::{offer, with_body, with_component};
use serde_json::json;

fn errors(template: &Template) -> Vec<TemplateError> {
    template.compile().expect_err("a rule is broken")
}

#[test]
fn each_rule_of_the_body_has_its_own_error() {
    use ParameterFormat::{Named, Positional};
    let name = |name: &str| name.to_owned();
    let body = Section::Body;
    for (text, format, error) in [
        ("", Named, TemplateError::Empty { section: body }),
        (" \n", Named, TemplateError::Empty { section: body }),
        (
            "{{nome}} oi",
            Named,
            TemplateError::VariableAtStart { name: name("nome") },
        ),
        (
            " {{nome}} oi",
            Named,
            TemplateError::VariableAtStart { name: name("nome") },
        ),
        (
            "oi {{nome}}",
            Named,
            TemplateError::VariableAtEnd { name: name("nome") },
        ),
        (
            "oi {{nome}}\n",
            Named,
            TemplateError::VariableAtEnd { name: name("nome") },
        ),
        (
            "oi {{a}}{{b}}.",
            Named,
            TemplateError::AdjacentVariables {
                section: body,
                first: name("a"),
                second: name("b"),
            },
        ),
        (
            "oi {{2}}.",
            Positional,
            TemplateError::NumberingGap {
                section: body,
                missing: 1,
            },
        ),
        (
            "oi {{1}} {{2}} {{4}}.",
            Positional,
            TemplateError::NumberingGap {
                section: body,
                missing: 3,
            },
        ),
        (
            "oi {{nome.",
            Named,
            TemplateError::Text {
                section: body,
                problem: TextProblem::Unclosed { position: 4 },
            },
        ),
        (
            &"é".repeat(BODY_MAX_CHARS + 1),
            Named,
            TemplateError::TooLong {
                section: body,
                chars: BODY_MAX_CHARS + 1,
                max: BODY_MAX_CHARS,
            },
        ),
    ] {
        assert_eq!(errors(&with_body(text, format)), [error], "{text:?}");
    }
    assert_eq!(
        errors(&with_body("{{a}}", Named)).len(),
        2,
        "starts and ends with a variable"
    );
    assert!(with_body(&"é".repeat(BODY_MAX_CHARS), Named).compile().is_ok());
    assert!(with_body("oi {{2}} e {{1}}.", Positional).compile().is_ok());
}

#[test]
fn each_rule_of_the_other_components_has_its_own_error() {
    let button = |button: serde_json::Value| json!({"type": "BUTTONS", "buttons": [button]});
    let url = |url: &str| button(json!({"type": "URL", "text": "Ver", "url": url}));
    let header = |text: &str| json!({"type": "HEADER", "format": "TEXT", "text": text});
    let first_button = Section::Button(0);
    let long = "x".repeat(61);
    for (component, error) in [
        (
            json!({"type": "HEADER", "format": "TEXT"}),
            TemplateError::HeaderWithoutText,
        ),
        (
            header(&long),
            TemplateError::TooLong {
                section: Section::Header,
                chars: 61,
                max: 60,
            },
        ),
        (
            header("{{1}} e {{2}}"),
            TemplateError::HeaderVariables { count: 2 },
        ),
        (
            json!({"type": "BODY", "text": "de novo"}),
            TemplateError::Repeated { component: "BODY" },
        ),
        (
            json!({"type": "FOOTER", "text": long}),
            TemplateError::TooLong {
                section: Section::Footer,
                chars: 61,
                max: 60,
            },
        ),
        (
            json!({"type": "FOOTER", "text": "{{1}}"}),
            TemplateError::VariableNotAllowed {
                section: Section::Footer,
            },
        ),
        (
            button(json!({"type": "QUICK_REPLY", "text": "x".repeat(26)})),
            TemplateError::TooLong {
                section: first_button,
                chars: 26,
                max: 25,
            },
        ),
        (
            button(json!({"type": "QUICK_REPLY", "text": "a {{1}}"})),
            TemplateError::VariableNotAllowed {
                section: first_button,
            },
        ),
        (
            button(json!({"type": "COPY_CODE", "text": "a {{1}}"})),
            TemplateError::VariableNotAllowed {
                section: first_button,
            },
        ),
        (
            button(json!({"type": "PHONE_NUMBER", "text": "a", "phone_number": "1".repeat(21)})),
            TemplateError::TooLong {
                section: first_button,
                chars: 21,
                max: 20,
            },
        ),
        (
            json!({"type": "BUTTONS", "buttons": vec![json!({"type": "QUICK_REPLY", "text": "a"}); 11]}),
            TemplateError::TooManyButtons { count: 11 },
        ),
        (
            url("loja.example"),
            TemplateError::UrlWithoutScheme {
                section: first_button,
            },
        ),
        (
            url("https://a/{{1}}/b"),
            TemplateError::UrlVariable {
                section: first_button,
            },
        ),
        (
            url("https://a/{{1}}{{2}}"),
            TemplateError::UrlVariable {
                section: first_button,
            },
        ),
        (
            url("https://a/{{2}}"),
            TemplateError::UrlVariable {
                section: first_button,
            },
        ),
    ] {
        assert_eq!(errors(&with_component(component.clone())), [error], "{component}");
    }
}

#[test]
fn names_and_languages_are_checked() {
    for name in [
        "",
        "Oferta",
        "oferta-1",
        "ofértа",
        &"a".repeat(NAME_MAX_CHARS + 1),
    ] {
        assert_eq!(
            errors(&Template {
                name: name.into(),
                ..offer()
            }),
            [TemplateError::Name],
            "{name}"
        );
    }
    for language in ["", "pt-BR", "PT_br", "portuguese", "pt_", "pt_BR_x"] {
        let template = Template {
            language: language.into(),
            ..offer()
        };
        assert_eq!(errors(&template), [TemplateError::Language], "{language}");
    }
    for language in ["en", "fil", "en_US", "zh_HK"] {
        assert!(
            Template {
                language: language.into(),
                ..offer()
            }
            .compile()
            .is_ok(),
            "{language}"
        );
    }
    assert_eq!(
        errors(&Template {
            components: vec![],
            ..offer()
        }),
        [TemplateError::MissingBody]
    );
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let template = Template {
        name: "A".into(),
        language: "x".into(),
        ..with_body("{{1}}{{3}}", ParameterFormat::Positional)
    };
    assert_eq!(errors(&template).len(), 6, "{:?}", errors(&template));
}

#[test]
fn what_meta_approved_can_be_sent_even_if_review_rules_speak_against_it() {
    let template = with_body("{{1}}, seu pedido chegou", ParameterFormat::Positional);
    assert!(template.compile().is_err());
    let compiled = template.compile_for_sending().expect("approved by Meta");
    assert_eq!(
        compiled.preview(&["Ana"]).expect("one value").body,
        "Ana, seu pedido chegou"
    );
    for text in ["oi {{nome", "oi {{2}}.", "oi {{nome}}."] {
        assert!(
            with_body(text, ParameterFormat::Positional)
                .compile_for_sending()
                .is_err(),
            "{text}"
        );
    }
}

#[test]
fn the_body_of_an_authentication_template_may_start_with_the_code() {
    let template = Template {
        category: TemplateCategory::Authentication,
        ..with_body("{{1}} é seu código.", ParameterFormat::Positional)
    };
    assert!(template.compile().is_ok());
}

#[test]
fn example_values_are_bounded_in_depth() {
    // A name that serde_json keeps to itself makes a text into what it says, past the limit of what is read.
    let raw =
        |depth: usize| json!({"$serde_json::private::RawValue": "[".repeat(depth) + &"]".repeat(depth)});
    for (depth, fits) in [
        (EXAMPLE_MAX_DEPTH, true),
        (EXAMPLE_MAX_DEPTH + 1, false),
        (120, false),
    ] {
        for component in [
            json!({"type": "HEADER", "format": "IMAGE", "example": raw(depth)}),
            json!({"type": "BUTTONS", "buttons": [{"type": "COPY_CODE", "example": raw(depth)}]}),
        ] {
            let template = with_component(component);
            let refused = template.compile().err().unwrap_or_default();
            assert_eq!(refused.is_empty(), fits, "{depth}: {refused:?}");
            assert!(template.compile_for_sending().is_ok(), "Meta's own word counts");
        }
    }
}
