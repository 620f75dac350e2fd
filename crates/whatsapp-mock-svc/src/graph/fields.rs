//! `?fields=`: only what is asked for.

use serde_json::{Map, Value};

use crate::answer::Refusal;

/// Most fields in one request.
const MAX_FIELDS: usize = 100;

/// The fields that are asked for, and always the `id`; a field without a value is left out. `known` are
/// all that the node has; `default` those of one who asks for none.
pub(super) fn select(
    all: Value,
    asked: Option<&str>,
    default: &[&str],
    known: &[&str],
    node_type: &str,
) -> Result<Value, Refusal> {
    let Value::Object(mut all) = all else {
        return Ok(all);
    };
    let names = match asked {
        None => default.to_vec(),
        Some(asked) => names(asked)?,
    };
    let mut selected = Map::new();
    for name in names {
        if !known.contains(&name) {
            return Err(Refusal::parameter(format!(
                "Tried accessing nonexisting field ({name}) on node type ({node_type})"
            )));
        }
        if let Some(value) = all.remove(name) {
            selected.insert(name.to_owned(), value);
        }
    }
    if let Some(id) = all.remove("id") {
        selected.insert("id".to_owned(), id);
    }
    Ok(Value::Object(selected))
}

/// Names at the top level: `health_status{entities},id` asks for two.
fn names(asked: &str) -> Result<Vec<&str>, Refusal> {
    let mut names = Vec::new();
    let mut depth = 0_u32;
    let mut begin = 0;
    for (at, sign) in asked.char_indices().chain([(asked.len(), ',')]) {
        match sign {
            '{' | '(' => depth += 1,
            '}' | ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 || at == asked.len() => {
                let name = asked[begin..at]
                    .split(['{', '(', '.'])
                    .next()
                    .unwrap_or_default()
                    .trim();
                if !name.is_empty() {
                    names.push(name);
                }
                begin = at + 1;
            }
            _ => {}
        }
    }
    if names.len() > MAX_FIELDS {
        return Err(Refusal::parameter("there are more than 100 fields"));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn selected(asked: Option<&str>) -> Result<Value, i64> {
        let all = json!({"id": "1", "name": "x", "status": "y"});
        select(all, asked, &["name"], &["id", "name", "status", "rare"], "Node")
            .map_err(|refusal| refusal.code)
    }

    #[test]
    fn what_is_asked_for_comes_and_nothing_else() {
        assert_eq!(selected(None), Ok(json!({"id": "1", "name": "x"})));
        assert_eq!(
            selected(Some("status, rare")),
            Ok(json!({"id": "1", "status": "y"}))
        );
        assert_eq!(
            selected(Some("name{a,b},status")),
            Ok(json!({"id": "1", "name": "x", "status": "y"}))
        );
        assert_eq!(selected(Some("nmae")), Err(100));
    }
}
