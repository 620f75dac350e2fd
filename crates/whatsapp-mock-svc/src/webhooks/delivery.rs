//! Posts batches until they are answered 200.
//!
//! A bounded number of bodies is under way, those that wait to be sent again included; while all of them
//! wait, everything else stays in the outbox, where it is small.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use campaign_runtime::Shutdown;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use whatsapp_api::signature;

use super::rendering::{self, Identities};
use super::{Batch, WebhookSettings};
use crate::mock::Mock;

/// Most bodies under way.
const MAX_DELIVERIES: usize = 64;
/// Most attempts for one body; with the longest pause of the defaults, over an hour.
const MAX_ATTEMPTS: u32 = 1_000;
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the outbox is looked at.
const TICK: Duration = Duration::from_millis(10);
/// How long connections are reused. Then the host name is resolved anew, so that replicas of
/// `message-svc` that came or went behind one name get their share, or get none.
const CONNECTIONS_LIFETIME: Duration = Duration::from_secs(2);

/// Takes batches out of the outbox and delivers them, until the stop.
pub(crate) async fn pump(mock: Arc<Mock>, shutdown: Shutdown) -> anyhow::Result<()> {
    let mut deliveries = JoinSet::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.stopping() => break,
            _ = tick.tick() => {}
            Some(_) = deliveries.join_next() => {}
        }
        while deliveries.len() < MAX_DELIVERIES {
            let settings = mock.webhooks();
            let batch = mock.outbox().next_batch(&settings, mock.now_us());
            let Some(batch) = batch else { break };
            deliveries.spawn(deliver(Arc::clone(&mock), batch));
        }
        let report = mock.outbox().report();
        metrics::gauge!("whatsapp_mock_webhook_backlog").set((report.pending + report.ready) as f64);
        metrics::gauge!("whatsapp_mock_webhook_deliveries").set(deliveries.len() as f64);
        metrics::counter!("whatsapp_mock_webhook_dropped_total").absolute(report.dropped);
    }
    deliveries.shutdown().await;
    Ok(())
}

async fn deliver(mock: Arc<Mock>, batch: Batch) {
    if !told(&mock, &batch).await {
        tracing::warn!(attempts = MAX_ATTEMPTS, "a webhook was given up");
    }
    mock.outbox().delivered();
}

/// Whether the body was answered 200 at last.
async fn told(mock: &Mock, batch: &Batch) -> bool {
    let identities = Identities::of(batch, &mock.ledger().numbers);
    for attempt in 0..MAX_ATTEMPTS {
        // Read each time: a target that moved is followed.
        let settings = mock.webhooks();
        let result = mock
            .courier
            .post(&settings, batch, &identities, mock.now_us() / 1_000_000)
            .await;
        let label = match &result {
            Ok(200) => "ok",
            Ok(_) => "refused",
            Err(_) => "failed",
        };
        metrics::counter!("whatsapp_mock_webhook_attempts_total", "result" => label).increment(1);
        match result {
            Ok(200) => return true,
            Ok(status) => tracing::debug!(status, attempt, "a webhook was refused"),
            Err(error) => tracing::debug!(%error, attempt, "a webhook was not delivered"),
        }
        sleep(backoff(&settings, attempt)).await;
    }
    false
}

fn backoff(settings: &WebhookSettings, attempt: u32) -> Duration {
    let doubled = settings.retry_min_ms.saturating_mul(1 << attempt.min(20));
    Duration::from_millis(doubled.min(settings.retry_max_ms))
}

/// The HTTP client, and its age; a target that moves is reached by the next client at the latest.
#[derive(Debug)]
pub(crate) struct Courier {
    client: Mutex<Option<(Instant, reqwest::Client)>>,
    resolver: Arc<RotatingResolver>,
    further_roots: Vec<reqwest::Certificate>,
}

impl Courier {
    pub(crate) fn new(further_roots: Vec<reqwest::Certificate>) -> Self {
        Self {
            client: Mutex::default(),
            resolver: Arc::default(),
            further_roots,
        }
    }

    /// Posts one body; the HTTP status.
    async fn post(
        &self,
        settings: &WebhookSettings,
        batch: &Batch,
        identities: &Identities,
        now_s: u64,
    ) -> anyhow::Result<u16> {
        let Some(url) = &settings.url else {
            anyhow::bail!("webhooks have no target");
        };
        let body = rendering::render(settings, batch, identities, now_s)?;
        let mut request = self
            .client(url)?
            .post(url)
            .header("content-type", "application/json");
        if let Some(secret) = &settings.app_secret {
            request = request.header(
                signature::SIGNATURE_HEADER,
                signature::sign(secret.expose().as_bytes(), &body),
            );
        }
        let response = request.body(body).send().await?;
        Ok(response.status().as_u16())
    }

    /// Asks the target for Meta's verification; what it answered.
    pub(crate) async fn verify(
        &self,
        settings: &WebhookSettings,
        token: &str,
        challenge: &str,
    ) -> anyhow::Result<bool> {
        let Some(url) = &settings.url else {
            anyhow::bail!("webhooks have no target");
        };
        let query = [
            ("hub.mode", "subscribe"),
            ("hub.verify_token", token),
            ("hub.challenge", challenge),
        ];
        let answered = self.new_client(url)?.get(url).query(&query).send().await;
        // The URL of an error would show the token.
        let response = answered.map_err(reqwest::Error::without_url)?;
        let verified = response.status().as_u16() == 200;
        Ok(verified && response.text().await.map_err(reqwest::Error::without_url)? == challenge)
    }

    fn client(&self, url: &str) -> anyhow::Result<reqwest::Client> {
        let mut current = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, client)) = &*current
            && since.elapsed() < CONNECTIONS_LIFETIME
        {
            return Ok(client.clone());
        }
        let client = self.new_client(url)?;
        *current = Some((Instant::now(), client.clone()));
        Ok(client)
    }

    fn new_client(&self, url: &str) -> anyhow::Result<reqwest::Client> {
        // Fails only if another provider is installed already, which is what we want.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .timeout(ATTEMPT_TIMEOUT)
            .connect_timeout(ATTEMPT_TIMEOUT)
            .pool_idle_timeout(CONNECTIONS_LIFETIME)
            .pool_max_idle_per_host(MAX_DELIVERIES)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            // The target stands beside the mock; a proxy would not find it.
            .no_proxy()
            .dns_resolver(Arc::clone(&self.resolver));
        // Without TLS there is no need for root certificates, and small images have none.
        let builder = if url.starts_with("https:") {
            builder.tls_certs_merge(self.further_roots.iter().cloned())
        } else {
            builder.tls_certs_only([])
        };
        Ok(builder.build()?)
    }
}

/// Resolves for each connection, and begins at another address each time: some resolvers answer in the
/// same order for ever, and the first address would get everything.
#[derive(Debug, Default)]
struct RotatingResolver {
    turn: AtomicUsize,
}

impl Resolve for RotatingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let mut addresses: Vec<SocketAddr> = found.collect();
            addresses.sort_unstable();
            if !addresses.is_empty() {
                let first = turn % addresses.len();
                addresses.rotate_left(first);
            }
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}
