//! As much of JSON Schema as the API's description uses.

use serde_json::{Map, Value, json};

/// Bodies are not nested deeper; a schema that contains itself ends here.
const MAX_DEPTH: usize = 6;

/// The names of an operation's parameters of one place (`path`, `query`).
pub(crate) fn parameters(operation: &Value, place: &str) -> Vec<String> {
    let all = operation["parameters"].as_array().into_iter().flatten();
    let here = all.filter(|parameter| parameter["in"] == place);
    here.filter_map(|parameter| Some(parameter["name"].as_str()?.to_owned()))
        .collect()
}

/// The names of an object's members.
pub(crate) fn names(value: &Value) -> Vec<String> {
    value
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .cloned()
        .collect()
}

/// The names of all properties of a schema's object.
pub(crate) fn properties(schema: &Value, document: &Value) -> Vec<String> {
    names(&resolve(schema, document)["properties"])
}

fn resolve<'a>(schema: &'a Value, document: &'a Value) -> &'a Value {
    let target = schema["$ref"]
        .as_str()
        .and_then(|path| document.pointer(path.trim_start_matches('#')));
    target.map_or(schema, |target| resolve(target, document))
}

/// A value that the schema allows.
pub(crate) fn sample(schema: &Value, document: &Value) -> Value {
    sample_within(schema, document, MAX_DEPTH)
}

fn sample_within(schema: &Value, document: &Value, depth: usize) -> Value {
    let schema = resolve(schema, document);
    if depth == 0 {
        return Value::Null;
    }
    if let Some(choice) = schema["enum"].get(0) {
        return choice.clone();
    }
    for choices in ["oneOf", "anyOf", "allOf"] {
        let mut choices = schema[choices].as_array().into_iter().flatten();
        if let Some(choice) = choices.rfind(|choice| choice["type"] != "null") {
            return sample_within(choice, document, depth - 1);
        }
    }
    let kinds = schema["type"]
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![schema["type"].clone()]);
    let kind = kinds
        .iter()
        .find_map(|kind| kind.as_str().filter(|kind| *kind != "null"));
    match kind {
        Some("string") => json!(text(schema["format"].as_str())),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        Some("array") => json!([sample_within(&schema["items"], document, depth - 1)]),
        _ => object(schema, document, depth),
    }
}

fn object(schema: &Value, document: &Value, depth: usize) -> Value {
    let required = schema["required"].as_array().into_iter().flatten();
    let members = required.filter_map(|name| {
        let name = name.as_str()?;
        let member = sample_within(&schema["properties"][name], document, depth - 1);
        Some((name.to_owned(), member))
    });
    Value::Object(members.collect())
}

fn text(format: Option<&str>) -> &'static str {
    match format {
        Some("uuid") => "0199aaaa-0000-7000-8000-000000000001",
        Some("date-time") => "2026-12-01T12:00:00Z",
        Some("date") => "2026-12-01",
        _ => "x",
    }
}
