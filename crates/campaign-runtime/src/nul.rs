//! Texts that hold NUL, which Postgres cannot keep in a text: refused where they come in, by the name of their
//! field, instead of failing where they are written.

use serde_json::Value;

use crate::problem::Problem;

/// How JSON has to write it.
const ESCAPED: &[u8] = b"\\u0000";
/// How a path has to write it.
const PERCENT_ENCODED: &str = "%00";
const EXPECTED: &str = "text without NUL";

/// Checks all texts of a JSON body.
pub(crate) fn check_json(body: &[u8]) -> Result<(), Problem> {
    let found = body.windows(ESCAPED.len()).any(|bytes| bytes == ESCAPED);
    // An escaped backslash before it makes it six harmless characters, so the texts themselves are asked.
    let Some(value) = found.then(|| serde_json::from_slice(body).ok()).flatten() else {
        return Ok(());
    };
    let mut pointer = String::new();
    if find(&value, &mut pointer) {
        return Err(Problem::unprocessable("a field of the body is wrong").field(pointer, "NUL", EXPECTED));
    }
    Ok(())
}

/// Checks a parameter of the query.
pub(crate) fn check_parameter(name: &str, value: &str) -> Result<(), Problem> {
    if !name.contains('\0') && !value.contains('\0') {
        return Ok(());
    }
    let name = name.replace('\0', "\u{fffd}");
    Err(Problem::bad_request("a query parameter is wrong").field(name, "NUL", EXPECTED))
}

/// Checks a path.
pub(crate) fn check_path(path: &str) -> Result<(), Problem> {
    if path.contains(PERCENT_ENCODED) {
        return Err(Problem::bad_request("a parameter of the path is wrong").field("path", "NUL", EXPECTED));
    }
    Ok(())
}

/// Leaves `pointer` at the first text with NUL.
fn find(value: &Value, pointer: &mut String) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => (0..)
            .zip(items)
            .any(|(index, item)| step(&format!("{index}"), item, pointer)),
        Value::Object(members) => members
            .iter()
            .any(|(name, member)| name.contains('\0') || step(name, member, pointer)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn step(name: &str, value: &Value, pointer: &mut String) -> bool {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
    let found = find(value, pointer);
    if !found {
        pointer.truncate(length);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_with_nul_is_named() {
        for (body, field) in [
            (r#"{"a":"x","b":[1,{"c":"x\u0000"}]}"#, "/b/1/c"),
            (r#"{"a/b":"\u0000"}"#, "/a~1b"),
            (r#"{"a":{"x\u0000":1}}"#, "/a"),
            (r#""\u0000""#, ""),
        ] {
            let problem = check_json(body.as_bytes()).expect_err(body);
            assert_eq!(
                (problem.status, &*problem.errors[0].field),
                (422, field),
                "{body}"
            );
        }
        for body in [r#"{"a":"x"}"#, r#"{"a":"\\u0000"}"#, "not JSON \\u0000"] {
            assert!(check_json(body.as_bytes()).is_ok(), "{body}");
        }
        assert!(check_parameter("a", "b").is_ok() && check_path("/v1/%20").is_ok());
        assert_eq!(check_parameter("a", "\0").expect_err("NUL").errors[0].field, "a");
        assert_eq!(check_path("/v1/%00").expect_err("NUL").status, 400);
    }
}
