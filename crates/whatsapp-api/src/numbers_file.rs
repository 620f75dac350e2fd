//! What differs for single phone numbers: a JSON file, read once at start.
//!
//! ```json
//! {
//!   "106540352242922": {
//!     "base_url": "https://graph.facebook.com",
//!     "version": "v26.0",
//!     "access_token_file": "/run/secrets/token-of-the-shop",
//!     "marketing_messages": "STRICT"
//!   }
//! }
//! ```
//!
//! Every field may be left out: then the setting for all numbers holds. A token stands in the file itself
//! (`access_token`) or in one of its own (`access_token_file`). No problem repeats a value, since it may be a secret
//! in the wrong place.

use crate::client::MAX_PHONE_NUMBER_ID_DIGITS;
use crate::client_config::NumberConfig;
use campaign_runtime::read_secret_file;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Largest file; a number takes about 300 bytes.
const FILE_MAX_BYTES: u64 = 1024 * 1024;
/// What a number's entry may hold.
const FIELDS: &str = "base_url, version, access_token or access_token_file, marketing_messages";

/// Reads the file, or says what is wrong with it and what would be right.
pub(crate) fn read(path: &Path) -> Result<BTreeMap<String, NumberConfig>, String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_MAX_BYTES {
        return Err(format!("it is larger than {FILE_MAX_BYTES} bytes"));
    }
    parse(&text)
}

fn parse(text: &str) -> Result<BTreeMap<String, NumberConfig>, String> {
    let file: Value = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("it is not JSON: line {line}, column {column}")
    })?;
    let Value::Object(numbers) = file else {
        return Err("it is not an object of phone_number_id and settings".to_owned());
    };
    let number = |(id, entry): (String, Value)| {
        let is_id = (1..=MAX_PHONE_NUMBER_ID_DIGITS).contains(&id.len());
        if !is_id || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("a key is not a phone_number_id, which is digits".to_owned());
        }
        let Value::Object(fields) = entry else {
            return Err(format!("{id} is not an object of {FIELDS}"));
        };
        let config = config_of(fields).map_err(|problem| format!("{id}: {problem}"))?;
        Ok((id, config))
    };
    numbers.into_iter().map(number).collect()
}

fn config_of(fields: Map<String, Value>) -> Result<NumberConfig, String> {
    let mut config = NumberConfig::default();
    let mut has_token = false;
    for (field, value) in fields {
        let Value::String(value) = value else {
            return Err(format!("a field is not a text; known: {FIELDS}"));
        };
        match field.as_str() {
            "base_url" => config.base_url = Some(value),
            "version" => config.version = Some(value),
            "access_token" | "access_token_file" if has_token => {
                return Err("it has both access_token and access_token_file".to_owned());
            }
            "access_token" => {
                config.access_token = Some(value.into());
                has_token = true;
            }
            "access_token_file" => {
                let token = read_secret_file(Path::new(&value));
                config.access_token = Some(token.map_err(|problem| format!("access_token_file: {problem}"))?);
                has_token = true;
            }
            "marketing_messages" => config.marketing = Some(value.parse()?),
            _ => return Err(format!("it has an unknown field; known: {FIELDS}")),
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MarketingEndpoint;
    use secrecy::ExposeSecret;
    use std::io::Write;

    #[test]
    fn a_number_says_only_what_differs() {
        let mut token = tempfile::NamedTempFile::new().expect("a file");
        writeln!(token, "from-a-file").expect("written");
        let text = serde_json::json!({
            "1": {"access_token_file": token.path(), "marketing_messages": "CLOUD_API_FALLBACK"},
            "2": {"base_url": "https://h", "version": "v26.0", "access_token": "in-place"},
            "3": {}
        });
        let numbers = parse(&text.to_string()).expect("a good file");
        let token = |id: &str| {
            let token = numbers[id].access_token.as_ref();
            token.map(|token| token.expose_secret().to_owned())
        };
        assert_eq!(token("1").as_deref(), Some("from-a-file"));
        assert_eq!(token("2").as_deref(), Some("in-place"));
        assert_eq!(token("3"), None);
        assert_eq!(numbers["1"].marketing, Some(MarketingEndpoint::CloudApiFallback));
        assert_eq!(numbers["2"].base_url.as_deref(), Some("https://h"));
        assert_eq!(
            (numbers["2"].version.as_deref(), numbers["2"].marketing),
            (Some("v26.0"), None)
        );
        assert!(!format!("{numbers:?}").contains("in-place"));
    }

    #[test]
    fn what_is_wrong_is_said_without_repeating_a_value() {
        for (text, problem) in [
            (r#"{"1": {"access_token": "tell-no-one""#, "not JSON: line 1"),
            (r#"["tell-no-one"]"#, "not an object"),
            (r#"{"tell-no-one": {}}"#, "not a phone_number_id"),
            (r#"{"1": "tell-no-one"}"#, "1 is not an object of base_url"),
            (r#"{"1": {"tell-no-one": "x"}}"#, "1: it has an unknown field"),
            (r#"{"1": {"access_token": 1}}"#, "1: a field is not a text"),
            (
                r#"{"1": {"access_token": "tell-no-one", "access_token_file": "/f"}}"#,
                "both",
            ),
            (
                r#"{"1": {"access_token_file": "/no/such/file"}}"#,
                "access_token_file: No such file",
            ),
            (
                r#"{"1": {"marketing_messages": "tell-no-one"}}"#,
                "one of off, CLOUD_API_FALLBACK, STRICT",
            ),
        ] {
            let found = parse(text).expect_err(text);
            assert!(found.contains(problem), "{text}: {found}");
            assert!(!found.contains("tell-no-one"), "{found}");
        }
    }
}
