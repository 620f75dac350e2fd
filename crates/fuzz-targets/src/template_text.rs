//! Template texts that people and Meta give, filled with values that an ERP gives.

use campaign_core::template::{
    BODY_MAX_CHARS, BUTTON_URL_MAX_CHARS, CompiledTemplate, HEADER_MAX_CHARS, ParameterFormat,
    TEXT_MAX_PLACEHOLDERS, Template, TemplateCategory, TemplateStatus, TemplateText, check_value,
    normalise_value,
};
use serde::Deserialize;
use serde_json::json;

/// Stands between a text and the values, where the input is not JSON.
const SEPARATOR: char = '\0';
/// What fills the placeholders that the input has no value for.
const FILLING: [&str; 4] = ["Ana", "R$ 1,00", "{cupom}", "https://example.com/a.png"];

/// A whole template and its values.
#[derive(Deserialize)]
struct Case {
    template: Template,
    #[serde(default)]
    values: Vec<String>,
}

/// Reads `text\0value\0value…`, or a JSON object with a template and values. Nobody receives braces that look
/// like a variable, nothing is longer than WhatsApp takes, and a text shows itself again as it was written.
pub fn template_text(input: &[u8]) -> usize {
    let Ok(input) = std::str::from_utf8(input) else {
        return 0;
    };
    if let Ok(case) = serde_json::from_str::<Case>(input) {
        return whole(&case.template, &case.values);
    }
    let mut parts = input.split(SEPARATOR);
    let text = parts.next().unwrap_or_default();
    let values: Vec<String> = parts.map(str::to_owned).collect();
    let formats = [ParameterFormat::Positional, ParameterFormat::Named];
    let read = formats.map(|format| {
        let templates = around(text, format);
        plain(text, format, &values) + templates.map(|template| whole(&template, &values)).sum::<usize>()
    });
    read.into_iter().sum()
}

fn plain(text: &str, format: ParameterFormat, values: &[String]) -> usize {
    let Ok(parsed) = TemplateText::parse(text, format) else {
        return 0;
    };
    let names = parsed.names();
    assert!(names.len() <= TEXT_MAX_PLACEHOLDERS);
    assert_eq!(parsed.to_string(), text, "it shows what it was read from");
    let values = filled(names.len(), values);
    let rendered = parsed.render(&values);
    assert_no_variable(&rendered);
    assert_eq!(rendered.chars().count(), parsed.rendered_chars(&values));
    1
}

/// Templates that have this text in each of its places, one at a time.
fn around(text: &str, parameter_format: ParameterFormat) -> impl Iterator<Item = Template> {
    let address = format!("https://example.com/{text}");
    let body = json!({"type": "BODY", "text": "Boa tarde."});
    let places = [
        json!([{"type": "BODY", "text": text}]),
        json!([body, {"type": "HEADER", "format": "TEXT", "text": text}]),
        json!([body, {"type": "FOOTER", "text": text}]),
        json!([body, {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "Ver", "url": address}]}]),
        json!([body, {"type": "BUTTONS", "buttons": [{"type": "QUICK_REPLY", "text": text}]}]),
        json!([body, {"type": "BUTTONS", "buttons": [{"type": "COPY_CODE", "text": text}]}]),
    ];
    places.into_iter().map(move |components| Template {
        name: "fuzz".to_owned(),
        language: "pt_BR".to_owned(),
        category: TemplateCategory::Utility,
        parameter_format,
        components: serde_json::from_value(components).expect("the shapes of components"),
        status: TemplateStatus::Approved,
    })
}

fn whole(template: &Template, values: &[String]) -> usize {
    let strict = template.compile();
    let Ok(compiled) = template.compile_for_sending() else {
        assert!(strict.is_err(), "what may be created may be sent");
        return 0;
    };
    let count = compiled.placeholders().len();
    let values = filled(count, values);
    let parameters = compiled.parameters(&values).expect("as many values as it takes");
    let sent: usize = parameters
        .iter()
        .map(|component| component.parameters.len())
        .sum();
    assert_eq!(sent, count, "every value is sent, and once");
    assert!(compiled.parameters(&[""; 0]).is_ok() == (count == 0));
    preview(&compiled, &values);
    1
}

fn preview(compiled: &CompiledTemplate, values: &[String]) {
    let Ok(message) = compiled.preview(values) else {
        assert!(
            compiled.check_values(values).is_err(),
            "both see the same problems"
        );
        return;
    };
    assert!(message.body.chars().count() <= BODY_MAX_CHARS);
    let header = message.header.iter();
    let targets = message.buttons.iter().filter_map(|button| button.target.as_ref());
    assert!(
        header
            .clone()
            .all(|text| text.chars().count() <= HEADER_MAX_CHARS.max(BODY_MAX_CHARS))
    );
    assert!(
        targets
            .clone()
            .all(|text| text.chars().count() <= BUTTON_URL_MAX_CHARS)
    );
    let labels = message.buttons.iter().map(|button| &button.label);
    let texts = [&message.body].into_iter().chain(header).chain(&message.footer);
    for text in texts.chain(targets).chain(labels) {
        assert_no_variable(text);
    }
}

/// As many values as are needed, each of which may be sent.
fn filled(count: usize, given: &[String]) -> Vec<String> {
    let given = given
        .iter()
        .map(|value| normalise_value(value.as_str().into()).into_owned());
    let sendable = given.map(|value| check_value(&value).is_ok().then_some(value));
    let filling = FILLING.iter().cycle().map(|value| (*value).to_owned());
    let mut sendable = sendable;
    filling
        .take(count)
        .map(|filling| sendable.next().flatten().unwrap_or(filling))
        .collect()
}

fn assert_no_variable(text: &str) {
    assert!(!text.contains("{{"), "somebody would receive {text:?}");
}
