//! How statuses travel.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use whatsapp_api::webhook::MAX_UPDATES;

/// Longest delay of a status, and longest pause between two attempts.
const MAX_DELAY_MS: u64 = 3_600_000;

/// Where statuses go, and how. Shares are in `0.0..=1.0` and independent of each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookSettings {
    /// Whether anything is sent. While it is off, what waits goes on waiting, and messages that are
    /// accepted never get a status.
    pub enabled: bool,
    /// Where to; without it nothing is sent.
    pub url: Option<String>,
    /// Signs the bodies; without it they go unsigned. Never shown.
    #[serde(skip_serializing)]
    #[schema(value_type = Option<String>, write_only)]
    pub app_secret: Option<SigningSecret>,
    /// From acceptance to `sent`.
    pub sent_ms: u64,
    /// From `sent` to `delivered` or `failed`.
    pub delivered_ms: u64,
    /// From `delivered` to `read`.
    pub read_ms: u64,
    /// Share of messages that fail instead of being delivered.
    pub fail_share: f64,
    /// The code they fail with.
    pub fail_code: i64,
    /// Share of delivered messages that are read.
    pub read_share: f64,
    /// Most statuses in one body.
    pub batch_size: usize,
    /// Share of statuses that are sent twice.
    pub repeat_share: f64,
    /// Share of statuses that come `late_ms` later than they should, after those that follow them.
    pub late_share: f64,
    /// How late.
    pub late_ms: u64,
    /// Share of statuses that never come.
    pub lost_share: f64,
    /// Whether the statuses of neighbouring batches are mixed.
    pub shuffle: bool,
    /// First pause before a body that was not answered 200 is sent again; doubles each time.
    pub retry_min_ms: u64,
    /// Longest such pause.
    pub retry_max_ms: u64,
}

/// A secret that is shown by nobody's `Debug`. It is written out only where the settings are merged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SigningSecret(String);

impl SigningSecret {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for SigningSecret {
    fn from(secret: &str) -> Self {
        Self(secret.to_owned())
    }
}

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            url: None,
            app_secret: None,
            sent_ms: 50,
            delivered_ms: 250,
            read_ms: 1_000,
            fail_share: 0.0,
            fail_code: 131_026,
            read_share: 0.6,
            batch_size: 100,
            repeat_share: 0.0,
            late_share: 0.0,
            late_ms: 5_000,
            lost_share: 0.0,
            shuffle: false,
            retry_min_ms: 200,
            retry_max_ms: 5_000,
        }
    }
}

impl WebhookSettings {
    /// Whether a status has anywhere to go.
    pub(crate) fn is_on(&self) -> bool {
        self.enabled && self.url.is_some()
    }

    /// Every field that is wrong: its name, what was wrong, what would be right.
    pub fn problems(&self) -> Vec<(String, String, &'static str)> {
        let mut problems = Vec::new();
        for (name, share) in [
            ("fail_share", self.fail_share),
            ("read_share", self.read_share),
            ("repeat_share", self.repeat_share),
            ("late_share", self.late_share),
            ("lost_share", self.lost_share),
        ] {
            if !(0.0..=1.0).contains(&share) {
                problems.push((format!("/{name}"), share.to_string(), "a share from 0 to 1"));
            }
        }
        for (name, delay_ms) in [
            ("sent_ms", self.sent_ms),
            ("delivered_ms", self.delivered_ms),
            ("read_ms", self.read_ms),
            ("late_ms", self.late_ms),
            ("retry_min_ms", self.retry_min_ms),
            ("retry_max_ms", self.retry_max_ms),
        ] {
            if delay_ms > MAX_DELAY_MS {
                problems.push((format!("/{name}"), delay_ms.to_string(), "at most an hour"));
            }
        }
        if !(1..=MAX_UPDATES).contains(&self.batch_size) {
            problems.push((
                "/batch_size".into(),
                self.batch_size.to_string(),
                "from 1 to 1000",
            ));
        }
        let url = self.url.as_deref().map(reqwest::Url::parse);
        if url.is_some_and(|url| !url.is_ok_and(|url| matches!(url.scheme(), "http" | "https"))) {
            problems.push(("/url".into(), "no http(s) URL".into(), "an http(s) URL"));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_right_and_wrong_values_are_all_named() {
        assert_eq!(WebhookSettings::default().problems(), []);
        let wrong = WebhookSettings {
            url: Some("ftp://example.com".into()),
            batch_size: 1_001,
            lost_share: f64::NAN,
            late_ms: MAX_DELAY_MS + 1,
            ..WebhookSettings::default()
        };
        let fields: Vec<_> = wrong.problems().into_iter().map(|problem| problem.0).collect();
        assert_eq!(fields, ["/lost_share", "/late_ms", "/batch_size", "/url"]);
    }

    #[test]
    fn the_secret_is_never_shown() {
        let settings = WebhookSettings {
            app_secret: Some("tell-no-one".into()),
            ..WebhookSettings::default()
        };
        assert!(
            !serde_json::to_string(&settings)
                .expect("serializes")
                .contains("tell-no-one")
        );
        assert!(!format!("{settings:?}").contains("tell-no-one"));
    }
}
