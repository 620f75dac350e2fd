//! `GET /{version}/{waba_id}/message_templates`: the templates of an account, page by page.
//!
//! Status and category are kept in Meta's words, since both grow; components as they came, since some kinds cannot
//! be sent by this engine and must not hide the others. Source: WhatsApp Business Platform, "Message templates", and
//! Graph API, "Paginated results" and "Rate limits" (`x-business-use-case-usage`).

use crate::client::{CloudApi, describe, read_answer, retry_after};
use crate::errors::{ErrorBody, GraphError};
use crate::lenient;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// Templates asked for in one request.
pub const PAGE_SIZE: usize = 100;
/// Largest page that is read: a template has a few kilobytes.
pub const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Longest cursor that is sent back.
pub const MAX_CURSOR_BYTES: usize = 4096;
/// What of a template is asked for.
const FIELDS: &str = "id,name,language,status,category,components,parameter_format,rejected_reason";
/// Header with the usage of management calls.
const USAGE: &str = "x-business-use-case-usage";

/// One template of the listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTemplate {
    /// Meta's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// With an underscore, whichever way Meta wrote it.
    pub language: String,
    /// `APPROVED`, `PAUSED`, …, or a word that is new.
    pub status: String,
    /// `MARKETING`, `UTILITY`, `AUTHENTICATION`, or a word that is new.
    pub category: String,
    /// `POSITIONAL` or `NAMED`; absent for old templates, which are positional.
    pub parameter_format: Option<String>,
    /// As they came.
    pub components: Value,
    /// Why it was refused, if it was.
    pub rejected_reason: Option<String>,
}

/// A page of the listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplatesPage {
    /// In Meta's order.
    pub templates: Vec<ListedTemplate>,
    /// Elements without an id, name, language or status.
    pub unreadable: usize,
    /// Where the next page starts; none on the last one.
    pub after: Option<String>,
    /// How much of Meta's allowance for such calls is used.
    pub usage: Usage,
}

/// Usage of management calls, by `x-business-use-case-usage`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The highest of calls, processor time and time, in percent of what is allowed.
    pub percent: u32,
    /// How long calls are refused now.
    pub regained_in: Duration,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// The account's id is none.
    #[error("{0:?} is no WhatsApp Business Account id: digits")]
    AccountId(String),
    /// Meta says no; `retry_after` where it says when to ask again.
    #[error("WhatsApp refuses the listing: {} (code {})", .error.details(), .error.code)]
    Refused {
        /// What it says.
        error: GraphError,
        /// When to ask again, if it says so.
        retry_after: Option<Duration>,
    },
    /// No answer, or none that can be read.
    #[error("no listing came: {0}")]
    NoAnswer(String),
}

impl CloudApi {
    /// One page of an account's templates, from behind `after`, as this number of it asks; none: with the settings that
    /// hold for all numbers.
    pub async fn templates_page(
        &self,
        waba_id: &str,
        phone_number_id: Option<&str>,
        after: Option<&str>,
    ) -> Result<TemplatesPage, ListingError> {
        if waba_id.is_empty() || waba_id.len() > 32 || !waba_id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ListingError::AccountId(waba_id.chars().take(64).collect()));
        }
        let size = PAGE_SIZE.to_string();
        let mut query = vec![("fields", FIELDS), ("limit", size.as_str())];
        query.extend(after.map(|after| ("after", after)));
        let path = format!("{waba_id}/message_templates");
        let response = self.get(phone_number_id, &path, &query).send().await;
        let mut response = response.map_err(|error| ListingError::NoAnswer(describe(error)))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = read_answer(&mut response, MAX_PAGE_BYTES).await;
        let body = body.map_err(ListingError::NoAnswer)?;
        let usage = usage(&headers);
        if let Ok(ErrorBody { error }) = serde_json::from_slice(&body) {
            let told = headers.get(RETRY_AFTER).and_then(retry_after);
            let regained = Some(usage.regained_in).filter(|wait| !wait.is_zero());
            return Err(ListingError::Refused {
                error,
                retry_after: told.max(regained),
            });
        }
        if !status.is_success() {
            return Err(ListingError::NoAnswer(format!(
                "HTTP {} without a Graph error",
                status.as_u16()
            )));
        }
        let page: Page = serde_json::from_slice(&body)
            .map_err(|error| ListingError::NoAnswer(format!("the listing cannot be read: {error}")))?;
        Ok(page.read(usage))
    }
}

#[derive(Deserialize)]
struct Page {
    data: Vec<Value>,
    #[serde(default)]
    paging: Value,
}

impl Page {
    fn read(self, usage: Usage) -> TemplatesPage {
        let listed = self.data.len();
        let templates: Vec<_> = self.data.iter().filter_map(template).collect();
        // Meta gives cursors on the last page too; only `next` says that there is more. A server that knows cursors
        // alone ends with an empty page.
        let has_next = match self.paging.get("next") {
            Some(next) => next.is_string(),
            None => listed >= PAGE_SIZE,
        };
        let after = self.paging["cursors"]["after"].as_str();
        TemplatesPage {
            unreadable: listed - templates.len(),
            templates,
            after: after
                .filter(|after| has_next && !after.is_empty() && after.len() <= MAX_CURSOR_BYTES)
                .map(str::to_owned),
            usage,
        }
    }
}

fn template(value: &Value) -> Option<ListedTemplate> {
    let text = |key: &str| lenient::text(value.get(key)?).filter(|text| !text.is_empty());
    Some(ListedTemplate {
        id: text("id")?,
        name: text("name")?,
        language: text("language")?.replace('-', "_"),
        status: text("status")?,
        category: text("category").unwrap_or_default(),
        parameter_format: text("parameter_format"),
        components: value
            .get("components")
            .cloned()
            .unwrap_or(Value::Array(Vec::new())),
        rejected_reason: text("rejected_reason").filter(|reason| reason != "NONE"),
    })
}

/// `{"<business id>": [{"call_count": 28, "total_cputime": 25, "total_time": 25,
/// "estimated_time_to_regain_access": 0}]}`: percentages, and minutes.
fn usage(headers: &HeaderMap) -> Usage {
    let header = headers.get(USAGE).and_then(|value| value.to_str().ok());
    let parsed: Option<Value> = header.and_then(|text| serde_json::from_str(text).ok());
    let mut usage = Usage::default();
    let businesses = parsed.as_ref().and_then(Value::as_object).into_iter().flatten();
    for entry in businesses.filter_map(|(_, entries)| entries.as_array()).flatten() {
        let number = |key: &str| lenient::integer(&entry[key]).and_then(|number| u32::try_from(number).ok());
        for key in ["call_count", "total_cputime", "total_time"] {
            usage.percent = usage.percent.max(number(key).unwrap_or_default());
        }
        let minutes = number("estimated_time_to_regain_access").unwrap_or_default();
        let regained_in = Duration::from_mins(minutes.into()).min(Duration::from_hours(24));
        usage.regained_in = usage.regained_in.max(regained_in);
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn page(body: Value) -> TemplatesPage {
        serde_json::from_value::<Page>(body)
            .expect("a page")
            .read(Usage::default())
    }

    #[test]
    fn a_template_is_read_in_metas_words_and_one_without_a_name_is_counted() {
        let page = page(json!({"data": [
            {"id": 7, "name": "oferta", "language": "pt-BR", "status": "SOMETHING_NEW", "category": "MARKETING",
             "components": [{"type": "CAROUSEL"}], "rejected_reason": "NONE"},
            {"id": "8", "language": "pt_BR", "status": "APPROVED"},
        ]}));
        assert_eq!(page.unreadable, 1);
        let template = &page.templates[0];
        assert_eq!(
            (
                template.id.as_str(),
                template.language.as_str(),
                template.status.as_str()
            ),
            ("7", "pt_BR", "SOMETHING_NEW")
        );
        assert_eq!(
            (&template.rejected_reason, &template.parameter_format),
            (&None, &None)
        );
    }

    #[test]
    fn only_a_next_page_is_asked_for() {
        let last = json!({"data": [], "paging": {"cursors": {"before": "a", "after": "b"}}});
        assert_eq!(page(last).after, None);
        let more = json!({"data": [], "paging": {"cursors": {"after": "b"}, "next": "https://graph/…"}});
        assert_eq!(page(more).after.as_deref(), Some("b"));
        // No `next` at all, but a page that is full.
        let template = json!({"id": "1", "name": "a", "language": "en", "status": "APPROVED"});
        let full = json!({"data": vec![template; PAGE_SIZE], "paging": {"cursors": {"after": "c"}}});
        assert_eq!(page(full).after.as_deref(), Some("c"));
    }

    #[test]
    fn the_highest_usage_counts_and_minutes_are_minutes() {
        let mut headers = HeaderMap::new();
        assert_eq!(usage(&headers), Usage::default());
        let value = r#"{"10":[{"type":"whatsapp_business_management","call_count":28,"total_cputime":91,
            "total_time":5,"estimated_time_to_regain_access":3}]}"#
            .replace('\n', "");
        headers.insert(USAGE, value.parse().expect("a header"));
        let expected = Usage {
            percent: 91,
            regained_in: Duration::from_mins(3),
        };
        assert_eq!(usage(&headers), expected);
    }
}
