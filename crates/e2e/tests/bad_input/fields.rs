//! Each field of a body, one at a time, with what it is not.

use crate::attacks::Draft;
use crate::endpoints::Endpoint;
use crate::wire::Request;
use serde_json::{Value, json};

/// Written into the JSON as they are, since not all of them are values.
const WRONG: [&str; 22] = [
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    "1e400",
    "-1e-400",
    "9223372036854775807",
    "9223372036854775808",
    "1180591620717411303424",
    "\"\"",
    "\" \"",
    "\"a\\u0000b\"",
    "\"\\ud800\"",
    "\"\\u202e\\ufeff\"",
    "\"{{1}}\"",
    "\"9999-12-31T23:59:60Z\"",
    "\"+999999-01-01T00:00:00Z\"",
    "[]",
    "[null]",
    "{}",
    "{\"\":{\"a\\u0000\":[1e308]}}",
];
const LONG_CHARS: usize = 100_000;
const NESTED: usize = 125;
/// Stands for the wrong value until the rest is written.
const MARK: &str = "here be dragons";

/// One request for each place in the body and each wrong value.
pub(crate) fn requests(endpoint: &Endpoint) -> Vec<Request> {
    let Some(body) = &endpoint.body else {
        return Vec::new();
    };
    let long = json!("x".repeat(LONG_CHARS)).to_string();
    let nested = "[".repeat(NESTED) + &"]".repeat(NESTED);
    // A value that is not what it was when it is written and read again.
    let raw = json!({"$serde_json::private::RawValue": nested}).to_string();
    let further = [long, nested, raw];
    let values: Vec<&str> = WRONG
        .into_iter()
        .chain(further.iter().map(String::as_str))
        .collect();
    let mut places = Vec::new();
    find(body, &mut String::new(), &mut places);
    places.extend(endpoint.fields.iter().map(|name| format!("/{name}")));
    places.sort();
    places.dedup();
    let mut requests = Vec::new();
    for place in places {
        let marked = with(body.clone(), &place).to_string();
        for value in &values {
            let body = marked.replace(&format!("\"{MARK}\""), value);
            let name = format!("{place} is {value:.60}");
            requests.push(Draft::new(endpoint, name).body(body).finish());
        }
    }
    requests
}

/// Every place of the body, as JSON pointers.
fn find(value: &Value, at: &mut String, places: &mut Vec<String>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| (index.to_string(), item))
            .collect(),
        _ => Vec::new(),
    };
    for (name, member) in members {
        let length = at.len();
        at.push('/');
        at.push_str(&name);
        places.push(at.clone());
        find(member, at, places);
        at.truncate(length);
    }
}

fn with(mut body: Value, place: &str) -> Value {
    if let Some(found) = body.pointer_mut(place) {
        *found = json!(MARK);
    } else {
        body[place.trim_start_matches('/')] = json!(MARK);
    }
    body
}
