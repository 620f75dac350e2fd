//! Status updates come three times as fast as messages go, while messages go.
//!
//! Small as part of the suite; `just webhook-load` has the rate of the promise, on a release build.

use crate::harness::{Owner, PATIENCE, Service, http};
use crate::webhooks::{FLAGS, SECRET, body, metadata, status};
use campaign_core::ids::CampaignId;
use campaign_core::message::MessageState;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::io::Write as _;
use std::time::{Duration, Instant};
use testkit::{Redis, wait_for};
use tokio::task::JoinSet;
use uuid::Uuid;
use whatsapp_api::signature::{SIGNATURE_HEADER, sign};

/// Updates of one body, in turn: Meta sends single ones as well as batches.
const BATCHES: [usize; 4] = [1, 1, 10, 48];
/// Messages a second that are sent meanwhile.
const SENDING_PER_SECOND: u32 = 200;
/// Longest median answer: of the promise, and of the small run, a debug build on a machine that may be busy.
const MEDIAN_MAX: Duration = Duration::from_millis(50);
const MEDIAN_MAX_SMALL: Duration = Duration::from_secs(1);

struct Load {
    updates_per_second: u32,
    seconds: u32,
    median_max: Duration,
}

impl Load {
    fn from_environment() -> Self {
        let read = |name: &str| -> Option<u32> {
            let text = std::env::var(name).ok()?;
            Some(
                text.parse()
                    .unwrap_or_else(|_| panic!("{name} is a number: {text:?}")),
            )
        };
        let asked = read("WEBHOOK_LOAD_PER_SECOND");
        Self {
            updates_per_second: asked.unwrap_or(200),
            seconds: read("WEBHOOK_LOAD_SECONDS").unwrap_or(2).min(600),
            median_max: if asked.is_some() {
                MEDIAN_MAX
            } else {
                MEDIAN_MAX_SMALL
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_load_is_answered_in_time_while_messages_are_sent() {
    let load = Load::from_environment();
    let redis = Redis::start().await;
    let mut owner = Owner::new(&redis, SENDING_PER_SECOND).await;
    owner.keep_ledger(true);
    let service = Service::start(&redis.url(), &FLAGS).await;
    owner.admit_first().await;
    let sent_meanwhile = SENDING_PER_SECOND * load.seconds;
    let campaign = owner.open(false).await;
    owner.feed(campaign, 1, 1, i64::from(sent_meanwhile)).await;

    let url = format!("http://{}/webhooks/whatsapp", service.addr);
    let (latencies, updates) = post_all(&load, &url).await;
    let mut sorted = latencies;
    sorted.sort_unstable();
    let percentile = |percent: usize| sorted[(sorted.len() - 1) * percent / 100];
    // The runner shows it where it is asked to.
    let _ = writeln!(
        std::io::stderr(),
        "{updates} updates in {} webhooks over {} s: median {:?}, 95% {:?}, 99% {:?}, longest {:?}",
        sorted.len(),
        load.seconds,
        percentile(50),
        percentile(95),
        percentile(99),
        percentile(100),
    );
    assert!(percentile(50) < load.median_max, "median {:?}", percentile(50));
    let delivered = || owner.ledger.messages(MessageState::Delivered).len();
    wait_for(PATIENCE, "every update to reach the ledger", async || {
        (delivered() >= updates).then_some(())
    })
    .await;
    assert_eq!(delivered(), updates, "each once");
    owner
        .ledger
        .wait_for(MessageState::Accepted, sent_meanwhile as usize)
        .await;
}

/// Posts at the moments that the rate asks for, whether the answers come or not; a time counts from its moment.
async fn post_all(load: &Load, url: &str) -> (Vec<Duration>, usize) {
    let (client, start) = (http(), Instant::now());
    let campaign = CampaignId(Uuid::now_v7());
    let total = (load.updates_per_second * load.seconds) as usize;
    let mut posts = JoinSet::new();
    let mut updates = 0;
    for size in BATCHES.into_iter().cycle() {
        if updates >= total {
            break;
        }
        let due = start + Duration::from_secs_f64(updates as f64 / f64::from(load.updates_per_second));
        let raw = serde_json::to_vec(&webhook(campaign, updates, size)).unwrap();
        updates += size;
        tokio::time::sleep_until(due.into()).await;
        let signature = sign(SECRET.as_bytes(), &raw);
        let request = client.post(url).header(SIGNATURE_HEADER, signature).body(raw);
        posts.spawn(async move {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            due.elapsed()
        });
    }
    (posts.join_all().await, updates)
}

fn webhook(campaign: CampaignId, from: usize, size: usize) -> Value {
    let statuses: Vec<Value> = (from + 1..=from + size)
        .map(|seq| {
            let mut status = status("delivered", &format!("{campaign}:1:{seq}"), &json!([]));
            status["pricing"] = json!({"billable": true, "pricing_model": "PMP", "category": "marketing"});
            status
        })
        .collect();
    body(
        "messages",
        &json!({"messaging_product": "whatsapp", "metadata": metadata(), "statuses": statuses}),
    )
}
