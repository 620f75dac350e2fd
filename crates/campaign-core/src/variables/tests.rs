use super::*;
use crate::customer::OpenInvoice;
use crate::template::{Component, ParameterFormat, Template, TemplateCategory, TemplateStatus};
use chrono::{DateTime, NaiveDate};
use serde_json::json;

fn template(body: &str) -> CompiledTemplate {
    let template = Template {
        name: "cobranca".into(),
        language: "pt_BR".into(),
        category: TemplateCategory::Utility,
        parameter_format: ParameterFormat::Named,
        components: vec![Component::Body {
            text: body.into(),
            example: None,
        }],
        status: TemplateStatus::Approved,
    };
    template.compile().expect("well formed")
}

fn mapping(json: serde_json::Value) -> VariableMapping {
    serde_json::from_value(json).expect("a mapping")
}

fn customer() -> Customer {
    let day = NaiveDate::from_ymd_opt(2026, 12, 31);
    Customer {
        id: "c-1".into(),
        name: Some("MARIA da silva".into()),
        phone: Some("31 8765-4321".into()),
        email: Some("maria@exemplo.example".into()),
        city: Some("Belo\n Horizonte".into()),
        state: Some("MG".into()),
        birth_date: day,
        tags: vec![],
        active: true,
        marketing_consent: true,
        last_purchase_on: day,
        last_purchase_cents: Some(9_990),
        open_invoice: day.map(|due_on| OpenInvoice {
            number: "NF-7".into(),
            amount_cents: 123_456,
            due_on,
        }),
        updated_at: DateTime::UNIX_EPOCH,
    }
}

#[test]
fn resolves_in_the_order_of_the_placeholders() {
    let template = template("Olá {{nome}}: {{valor}} até {{dia}} em {{cidade}}, {{cupom}}.");
    let mapping = mapping(json!({
        "cupom": {"constant": " NATAL  10 "},
        "cidade": {"source": "customer.city"},
        "dia": {"source": "customer.open_invoice.due_on", "format": "date"},
        "nome": {"source": "customer.name", "format": "first_name", "fallback": "cliente"},
        "valor": {"source": "customer.open_invoice.amount_cents", "format": "brl_amount"},
    }));
    let values = mapping
        .bind(&template)
        .expect("fits")
        .resolve(&customer())
        .expect("all there");
    assert_eq!(
        values,
        ["Maria", "R$ 1.234,56", "31/12/2026", "Belo Horizonte", "NATAL 10"]
    );
    assert_eq!(template.check_values(&values), Ok(()));
}

#[test]
fn every_field_is_found_by_its_path_and_has_the_kind_it_claims() {
    let customer = customer();
    for known in CustomerField::ALL {
        let kind = match field(&customer, known.path()).expect("the customer has everything") {
            FieldValue::Text(_) => FieldKind::Text,
            FieldValue::Cents(_) => FieldKind::Cents,
            FieldValue::Date(_) => FieldKind::Date,
            FieldValue::Phone(_) => FieldKind::Phone,
        };
        assert_eq!(kind, known.kind(), "{}", known.path());
    }
    assert_eq!(field(&customer, "customer.nome"), None);
    assert_eq!(
        field(
            &Customer {
                open_invoice: None,
                ..customer
            },
            "customer.open_invoice.number"
        ),
        None
    );
}

#[test]
fn a_missing_or_blank_value_takes_the_fallback_or_is_named() {
    let template = template("Olá {{nome}}.");
    let with = |fallback: serde_json::Value| {
        let rule = json!({"nome": {"source": "customer.name", "format": "first_name", "fallback": fallback}});
        mapping(rule).bind(&template).expect("fits")
    };
    for name in [None, Some(String::new()), Some(" \t".into()), Some("-".into())] {
        let nameless = Customer { name, ..customer() };
        assert_eq!(
            with(json!("cliente")).resolve(&nameless),
            Ok(vec!["cliente".to_owned()])
        );
        assert_eq!(
            with(json!(null)).resolve(&nameless),
            Err(Unresolved::Missing { placeholder: 0 })
        );
    }
}

#[test]
fn a_value_that_may_not_be_sent_is_not_papered_over() {
    let template = template("Em {{cidade}}.");
    let resolver = mapping(json!({"cidade": {"source": "customer.city", "fallback": "sua cidade"}}));
    let resolver = resolver.bind(&template).expect("fits");
    let odd = Customer {
        city: Some("{{cidade}}".into()),
        ..customer()
    };
    let invalid = Unresolved::Invalid {
        placeholder: 0,
        problem: ValueProblem::Braces,
    };
    assert_eq!(resolver.resolve(&odd), Err(invalid));
}

#[test]
fn each_problem_of_a_mapping_names_its_variable_and_what_would_be_right() {
    let template = template("Olá {{nome}}, {{valor}}.");
    let good = json!({"source": "customer.name"});
    for (rules, variable, says) in [
        (json!({"nome": good}), "valor", "is not mapped"),
        (
            json!({"nome": good, "valor": good, "dia": good}),
            "dia",
            "no variable dia; it has: nome, valor",
        ),
        (
            json!({"nome": good, "valor": {"source": "customer.cpf"}}),
            "valor",
            "unknown field customer.cpf; known: customer.id,",
        ),
        (
            json!({"nome": good, "valor": {"source": "customer.last_purchase_cents"}}),
            "valor",
            "customer.last_purchase_cents cannot be written as text; fitting: brl_amount",
        ),
        (
            json!({"nome": good, "valor": {"source": "customer.name", "format": "date"}}),
            "valor",
            "fitting: text, first_name",
        ),
        (
            json!({"nome": good, "valor": {"constant": " "}}),
            "valor",
            "the constant is empty",
        ),
        (
            json!({"nome": good, "valor": {"source": "customer.name", "fallback": "{{x}}"}}),
            "valor",
            "the fallback holds {{",
        ),
    ] {
        let problems = validate(&template, &mapping(rules.clone()));
        assert_eq!(problems.len(), 1, "{rules}: {problems:?}");
        assert_eq!(problems[0].variable(), variable);
        assert!(problems[0].to_string().contains(says), "{}", problems[0]);
    }
    assert_eq!(
        validate(&template, &mapping(json!({"dia": good}))).len(),
        3,
        "all problems at once"
    );
    assert_eq!(
        validate(&template, &mapping(json!({"nome": good, "valor": good}))),
        []
    );
}

#[test]
fn media_takes_an_address_or_an_upload() {
    let mut with_image: Template = serde_json::from_value(json!({
        "name": "foto", "language": "pt_BR", "category": "MARKETING",
        "components": [{"type": "HEADER", "format": "IMAGE"}, {"type": "BODY", "text": "Oi"}]
    }))
    .expect("Meta's shape");
    with_image.status = TemplateStatus::Approved;
    let template = with_image.compile().expect("well formed");
    let image = |value: &str| validate(&template, &mapping(json!({"header.image": {"constant": value}})));
    assert_eq!(image("https://loja.example/a.png"), []);
    assert_eq!(image("1013859600285441"), []);
    for value in [
        "a.png",
        "ftp://loja.example/a.png",
        "https://loja.example/a b.png",
    ] {
        assert!(
            matches!(
                image(value)[..],
                [MappingProblem::UnfitValue {
                    problem: ValueProblem::NotMedia,
                    ..
                }]
            ),
            "{value}"
        );
    }
}

#[test]
fn a_field_that_stands_for_media_must_name_some() {
    let with_image: Template = serde_json::from_value(json!({
        "name": "foto", "language": "pt_BR", "category": "MARKETING", "status": "APPROVED",
        "components": [{"type": "HEADER", "format": "IMAGE"}, {"type": "BODY", "text": "Oi"}]
    }))
    .expect("Meta's shape");
    let template = with_image.compile().expect("well formed");
    let mapping = mapping(json!({"header.image": {"source": "customer.email", "fallback": "4711"}}));
    let resolver = mapping.bind(&template).expect("fits");
    let of = |email: Option<&str>| {
        resolver.resolve(&Customer {
            email: email.map(str::to_owned),
            ..customer()
        })
    };
    assert_eq!(
        of(Some("https://h.example/a.png")),
        Ok(vec!["https://h.example/a.png".to_owned()])
    );
    assert_eq!(of(None), Ok(vec!["4711".to_owned()]));
    let problem = ValueProblem::NotMedia;
    assert_eq!(
        of(Some("maria@exemplo.example")),
        Err(Unresolved::Invalid {
            placeholder: 0,
            problem
        })
    );
}

#[test]
fn a_quick_reply_takes_a_payload_if_the_mapping_names_one() {
    let template: Template = serde_json::from_value(json!({
        "name": "convite", "language": "pt_BR", "category": "UTILITY", "status": "APPROVED",
        "components": [
            {"type": "BODY", "text": "Vem, {{1}}?"},
            {"type": "BUTTONS", "buttons": [
                {"type": "QUICK_REPLY", "text": "Sim"}, {"type": "URL", "text": "Ver", "url": "https://h.example/{{1}}"},
                {"type": "QUICK_REPLY", "text": "Não"}]}]
    }))
    .expect("Meta's shape");
    let template = template.compile().expect("well formed");
    assert_eq!(template.optional_keys(), ["button.0.payload", "button.2.payload"]);
    let rules = json!({"1": {"constant": "Ana"}, "button.1.1": {"constant": "x"}});
    assert_eq!(validate(&template, &mapping(rules.clone())), []);
    let with = |key: &str, value: &str| {
        let mut rules = rules.clone();
        rules[key] = json!({ "constant": value });
        mapping(rules)
    };
    let no = with("button.2.payload", "nao");
    assert_eq!(no.payload_buttons(), [2]);
    assert_eq!(validate(&template, &no), []);
    let filled = template.clone().with_payloads(&no.payload_buttons());
    let keys: Vec<_> = filled.placeholders().iter().map(Placeholder::key).collect();
    assert_eq!(keys, ["1", "button.1.1", "button.2.payload"]);
    let values = no
        .bind(&filled)
        .expect("fits")
        .resolve(&customer())
        .expect("values");
    assert_eq!(values, ["Ana", "x", "nao"]);
    assert_eq!(filled.check_values(&values), Ok(()));
    // Neither a link nor a button that is not there takes one, and no key names a button twice.
    for key in ["button.1.payload", "button.7.payload", "button.02.payload"] {
        assert!(
            matches!(
                validate(&template, &with(key, "x"))[..],
                [MappingProblem::Unknown { .. }]
            ),
            "{key}"
        );
    }
    let long = with("button.0.payload", &"é".repeat(129));
    assert!(matches!(
        validate(&template, &long)[..],
        [MappingProblem::LongPayload { .. }]
    ));
}

#[test]
fn a_mapping_survives_the_journey_and_refuses_what_it_does_not_know() {
    let json =
        json!({"a": {"source": "customer.name", "format": "upper", "fallback": "x"}, "b": {"constant": "y"}});
    assert_eq!(serde_json::to_value(mapping(json.clone())).expect("JSON"), json);
    for rule in [
        json!({}),
        json!({"source": "customer.name", "constant": "x"}),
        json!({"constant": "x", "fallback": "y"}),
        json!({"source": "customer.name", "formato": "upper"}),
        json!({"source": "customer.name", "format": "title"}),
    ] {
        assert!(
            serde_json::from_value::<VariableMapping>(json!({"a": rule})).is_err(),
            "{rule}"
        );
    }
}
