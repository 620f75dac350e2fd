//! The client: pages of customers at a polite rate, asked for again while that can help.

use crate::attempt::{AttemptError, read_page};
use crate::config::{ErpConfig, InvalidErpConfig};
use crate::error::ErpError;
use crate::wire::{CURSOR_PARAMETER, CUSTOMERS_PATH, CustomerPage, LIMIT_PARAMETER};
use backon::{ExponentialBuilder, Retryable};
use campaign_core::segment::Segment;
use metrics::{counter, histogram};
use ratelimit::{Ratelimiter, TryWaitError};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, Url, redirect};
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The share of a second's requests that may go at once after a quiet time.
const BURST_DIVISOR: u64 = 10;

/// Asks one ERP. Cheap to clone; clones share connections and rate.
#[derive(Clone)]
pub struct ErpClient {
    http: Client,
    customers_url: Url,
    rate: Arc<Ratelimiter>,
    config: Arc<ErpConfig>,
}

impl ErpClient {
    /// A client with these settings. Connects at the first request.
    ///
    /// The process must have installed a rustls provider before.
    pub fn new(config: ErpConfig) -> Result<Self, InvalidErpConfig> {
        let customers_url = config.url(CUSTOMERS_PATH)?;
        // A redirect would carry the key to wherever it points, so none is followed.
        let http = Client::builder()
            .default_headers(headers(&config)?)
            .tls_certs_merge(further_roots(&config)?)
            .timeout(config.timeout)
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|error| InvalidErpConfig {
                setting: "base_url",
                found: error.to_string(),
                expected: "settings that an HTTP client can be built with",
            })?;
        let per_second = u64::from(config.requests_per_second.get());
        let rate = Ratelimiter::builder(per_second)
            .max_tokens((per_second / BURST_DIVISOR).max(1))
            .initial_available(1)
            .build()
            .expect("at least one token fits");
        Ok(Self {
            http,
            customers_url,
            rate: Arc::new(rate),
            config: Arc::new(config),
        })
    }

    /// The page of `segment` that starts at `cursor` (None: the first), of at most `limit` customers.
    ///
    /// Makes up to `max_attempts` requests. A page is never one that leads back to `cursor`.
    pub async fn page(
        &self,
        segment: &Segment,
        cursor: Option<&str>,
        limit: u16,
    ) -> Result<CustomerPage, ErpError> {
        let url = self.page_url(segment, cursor, limit);
        let mut attempts = 0;
        let max_retry_after = self.config.max_retry_after;
        let request = || {
            attempts += 1;
            self.attempt(url.clone(), cursor)
        };
        request
            .retry(self.backoff())
            .when(|error| matches!(error, AttemptError::Passing { .. }))
            .adjust(|error, delay| match error {
                AttemptError::Passing {
                    retry_after: Some(asked),
                    ..
                } => delay.map(|delay| delay.max((*asked).min(max_retry_after))),
                _ => delay,
            })
            .notify(log_retry)
            .await
            .map_err(|error| error.into_error(attempts))
    }

    fn page_url(&self, segment: &Segment, cursor: Option<&str>, limit: u16) -> Url {
        let mut url = self.customers_url.clone();
        url.query_pairs_mut()
            .extend_pairs(segment.to_query())
            .extend_pairs(cursor.map(|cursor| (CURSOR_PARAMETER, cursor)))
            .append_pair(LIMIT_PARAMETER, &limit.to_string());
        url
    }

    fn backoff(&self) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_min_delay(self.config.first_delay)
            .with_max_delay(self.config.max_delay)
            .with_max_times(self.config.max_attempts.get() as usize - 1)
            .with_jitter()
    }

    async fn attempt(&self, url: Url, cursor: Option<&str>) -> Result<CustomerPage, AttemptError> {
        self.wait_for_turn().await;
        let started = Instant::now();
        let page = match self.http.get(url).send().await {
            Ok(response) => read_page(response, cursor, self.config.max_page_bytes).await,
            Err(error) => Err(error.into()),
        };
        let outcome = page.as_ref().map_or_else(AttemptError::label, |_| "ok");
        counter!("erp_requests_total", "outcome" => outcome).increment(1);
        histogram!("erp_request_duration_seconds", "outcome" => outcome)
            .record(started.elapsed().as_secs_f64());
        page
    }

    /// Ends: each wait is as long as the next token takes to come.
    async fn wait_for_turn(&self) {
        while let Err(refused) = self.rate.try_wait() {
            let wait = match refused {
                TryWaitError::Insufficient(wait) => wait,
                // Cannot be: one token always fits. If it were, slow is safer than unlimited.
                _ => Duration::from_secs(1),
            };
            tokio::time::sleep(wait).await;
        }
    }
}

impl std::fmt::Debug for ErpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ErpClient")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

fn further_roots(config: &ErpConfig) -> Result<Vec<Certificate>, InvalidErpConfig> {
    let pem = config.further_roots_pem.as_deref().unwrap_or_default();
    Certificate::from_pem_bundle(pem).map_err(|error| InvalidErpConfig {
        setting: "further_roots_pem",
        found: error.to_string(),
        expected: "PEM certificates",
    })
}

fn headers(config: &ErpConfig) -> Result<HeaderMap, InvalidErpConfig> {
    let bearer = format!("Bearer {}", config.api_key.expose_secret());
    let mut bearer = HeaderValue::try_from(bearer).map_err(|_| InvalidErpConfig {
        setting: "api_key",
        found: "characters that no header can carry".to_owned(),
        expected: "visible ASCII characters",
    })?;
    bearer.set_sensitive(true);
    Ok(HeaderMap::from_iter([
        (AUTHORIZATION, bearer),
        (ACCEPT, HeaderValue::from_static("application/json")),
    ]))
}

fn log_retry(error: &AttemptError, delay: Duration) {
    if let AttemptError::Passing { why, .. } = error {
        let delay_ms = delay.as_millis() as u64;
        tracing::warn!(reason = %why, delay_ms, "the ERP gave no page; asking again");
    }
}
