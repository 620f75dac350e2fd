//! A number's real limit is found and followed, with few refusals, and P5 holds all the while.

#![expect(clippy::print_stderr, reason = "what was measured is worth reading")]

use crate::harness::{LANE, Owner, Service, http};
use campaign_core::ids::CampaignId;
use campaign_runtime::{Runtime, Shutdown};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use testkit::Redis;
use whatsapp_mock_svc::{FaultProfile, MockSettings, WebhookSettings};

const RATE: u32 = 200;
const HALVED: u32 = 100;
/// The longest that finding a new limit may take.
const FOUND_WITHIN: Duration = Duration::from_secs(10);
/// How long the rate is measured then.
const MEASURED: Duration = Duration::from_secs(6);
/// Most refusals while the new limit is found, in percent of what it allows in that time.
const REFUSED_MAX_PERCENT: u64 = 10;

/// A starved machine leaves tokens unused, which is no fault of the lane; a lane at fault always does.
const TRIES: usize = 3;

struct Mock {
    addr: SocketAddr,
    shutdown: Shutdown,
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.shutdown.stop_now();
    }
}

impl Mock {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shutdown = Shutdown::default();
        let settings = MockSettings {
            is_strict: false,
            further_roots: Vec::new(),
            access_token: "t".to_owned().into(),
            verify_token: None,
            seed: 42,
            throughput: RATE,
            faults: FaultProfile::default(),
            webhooks: WebhookSettings::default(),
        };
        let runtime = Runtime::for_test(listener, shutdown.clone());
        tokio::spawn(whatsapp_mock_svc::app::serve(settings, runtime));
        Self { addr, shutdown }
    }

    async fn limit(&self, throughput: u32) {
        let url = format!("http://{}/mock/numbers/{LANE}", self.addr);
        let set = http()
            .put(url)
            .json(&json!({ "throughput": throughput }))
            .send()
            .await;
        assert!(set.unwrap().status().is_success());
    }

    async fn get(&self, path: &str) -> Value {
        let answer = http()
            .get(format!("http://{}{path}", self.addr))
            .send()
            .await
            .unwrap();
        answer.json().await.unwrap()
    }

    async fn accepted(&self) -> u64 {
        let rate = self.get(&format!("/mock/rate?phone_number_id={LANE}")).await;
        rate["accepted"].as_u64().unwrap_or(0)
    }

    async fn busiest_second(&self) -> u64 {
        let rate = self.get(&format!("/mock/rate?phone_number_id={LANE}")).await;
        rate["max_in_one_second"].as_u64().unwrap()
    }

    async fn refused(&self) -> u64 {
        self.get("/mock").await["numbers"][0]["rate_limited"]
            .as_u64()
            .unwrap()
    }

    /// Acceptances a second, over a while.
    async fn rate_over(&self, time: Duration) -> f64 {
        let (before, started) = (self.accepted().await, Instant::now());
        tokio::time::sleep(time).await;
        (self.accepted().await - before) as f64 / started.elapsed().as_secs_f64()
    }
}

/// Keeps a campaign fed until it is dropped.
fn keep_fed(owner: &Owner, campaign: CampaignId) -> tokio::task::JoinHandle<()> {
    let feeder = owner.feeder(campaign);
    tokio::spawn(async move {
        let mut next = 1;
        loop {
            next = feeder.top_up(next, i64::from(RATE) * 2).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
}

async fn climbs_back(mock: &Mock) {
    mock.limit(RATE).await;
    let raised = Instant::now();
    loop {
        let rate = mock.rate_over(Duration::from_secs(2)).await;
        if rate >= 0.95 * f64::from(RATE) {
            eprintln!("raised: {rate:.1}/s after {:?}", raised.elapsed());
            return;
        }
        assert!(raised.elapsed() < Duration::from_mins(1), "still at {rate}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halved_limit_is_found_within_ten_seconds_and_a_raised_one_again() {
    let (redis, mock) = (Redis::start().await, Mock::start().await);
    let mut owner = Owner::new(&redis, RATE).await;
    owner.keep_ledger(true);
    let campaign = owner.open(false).await;
    let feeding = keep_fed(&owner, campaign);
    let flags = crate::cloud_api::flags(mock.addr, 5_000);
    let flags = flags.each_ref().map(String::as_str);
    let _services = [
        Service::start(&redis.url(), &flags).await,
        Service::start(&redis.url(), &flags).await,
    ];
    climbs_back(&mock).await;
    let busiest = mock.busiest_second().await;
    assert!(
        busiest <= u64::from(RATE) * 105 / 100,
        "P5: {busiest} in one second"
    );

    let mut seen = Vec::new();
    loop {
        let refused_before = mock.refused().await;
        mock.limit(HALVED).await;
        tokio::time::sleep(FOUND_WITHIN.saturating_sub(MEASURED)).await;
        let found = mock.rate_over(MEASURED).await;
        let refused = mock.refused().await - refused_before;
        eprintln!("halved: {found:.1}/s, {refused} refused within {FOUND_WITHIN:?}");
        let most = u64::from(HALVED) * FOUND_WITHIN.as_secs() * REFUSED_MAX_PERCENT / 100;
        assert!(refused <= most, "{refused} were refused");
        assert!(
            found <= 1.05 * f64::from(HALVED),
            "{found} a second, at a limit of {HALVED}"
        );
        climbs_back(&mock).await;
        if found >= 0.95 * f64::from(HALVED) {
            break;
        }
        seen.push(found);
        assert!(seen.len() < TRIES, "at a limit of {HALVED} a second: {seen:?}");
    }
    let busiest = mock.busiest_second().await;
    assert!(
        busiest <= u64::from(RATE) * 105 / 100,
        "P5: {busiest} in one second"
    );
    feeding.abort();
}
