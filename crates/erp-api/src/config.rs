//! How to reach an ERP, and the bounds that the client keeps.

use reqwest::Url;
use secrecy::SecretString;
use std::num::NonZeroU32;
use std::time::Duration;

/// Settings of an [`crate::ErpClient`]. [`ErpConfig::new`] fills in what has a good default.
#[derive(Debug, Clone)]
pub struct ErpConfig {
    /// Where the ERP lives, such as `https://erp.example/api`; `/v1/customers` comes after it.
    pub base_url: String,
    /// Sent as `Authorization: Bearer …`.
    pub api_key: SecretString,
    /// PEM certificates of authorities that `https://` trusts besides the system's.
    pub further_roots_pem: Option<Vec<u8>>,
    /// Longest wait for one answer, from connecting to its last byte.
    pub timeout: Duration,
    /// Most requests per second, retries included. Cannot be zero: to the rate limiter beneath, zero
    /// would mean no limit.
    pub requests_per_second: NonZeroU32,
    /// Most requests for one page.
    pub max_attempts: NonZeroU32,
    /// Wait before the second attempt; doubles each time, with up to as much jitter on top.
    pub first_delay: Duration,
    /// Where the doubling ends.
    pub max_delay: Duration,
    /// The longest `Retry-After` that is obeyed; a longer one counts as this.
    pub max_retry_after: Duration,
    /// Largest page that is read, in bytes.
    pub max_page_bytes: usize,
}

impl ErpConfig {
    /// 3 KiB for each customer of a full page; a typical one takes 500 bytes.
    pub const DEFAULT_MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;

    /// With 30 s for an answer, 20 requests a second and 6 attempts over about 10 s.
    pub fn new(base_url: impl Into<String>, api_key: SecretString) -> Self {
        Self {
            base_url: base_url.into(),
            api_key,
            further_roots_pem: None,
            timeout: Duration::from_secs(30),
            requests_per_second: NonZeroU32::new(20).expect("20 is not zero"),
            max_attempts: NonZeroU32::new(6).expect("6 is not zero"),
            first_delay: Duration::from_millis(250),
            max_delay: Duration::from_secs(10),
            max_retry_after: Duration::from_mins(1),
            max_page_bytes: Self::DEFAULT_MAX_PAGE_BYTES,
        }
    }

    /// The address that `path` has at this ERP.
    pub(crate) fn url(&self, path: &str) -> Result<Url, InvalidErpConfig> {
        let invalid = |found: String| InvalidErpConfig {
            setting: "base_url",
            found,
            expected: "an http:// or https:// address without query, fragment or password",
        };
        let base = Url::parse(&self.base_url).map_err(|error| invalid(error.to_string()))?;
        let plain = matches!(base.scheme(), "http" | "https")
            && base.query().is_none()
            && base.fragment().is_none()
            && base.username().is_empty()
            && base.password().is_none();
        if !plain {
            return Err(invalid("an address with more or other parts".to_owned()));
        }
        let joined = format!("{}{path}", base.as_str().trim_end_matches('/'));
        Url::parse(&joined).map_err(|error| invalid(error.to_string()))
    }
}

/// A setting that no client can be built with. Never shows the setting's value if that may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: found {found}; expected {expected}")]
pub struct InvalidErpConfig {
    /// Which field of [`ErpConfig`].
    pub setting: &'static str,
    /// What is wrong with it.
    pub found: String,
    /// What would be right.
    pub expected: &'static str,
}
