//! Over HTTP, against a server that answers as each recipient's number tells it to.

use crate::harness::{Owner, PATIENCE, Service, phone_of};
use axum::Router;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use campaign_core::campaign::HoldKind;
use campaign_core::contracts::{Outcome, TroubleScope};
use campaign_core::message::MessageState;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::{Redis, free_port, wait_for};

/// A WhatsApp of this test's own: accepts, unless told otherwise of a recipient.
pub(crate) struct WhatsApp {
    addr: SocketAddr,
    answers: Arc<Mutex<Answers>>,
}

#[derive(Default)]
struct Answers {
    /// By recipient: the errors to give, one for each request, before accepting.
    errors: BTreeMap<String, Vec<i64>>,
    /// Recipients whose requests are never answered.
    silent: Vec<String>,
    /// How long every answer takes.
    latency: Duration,
    /// By callback data: requests that came.
    requests: BTreeMap<String, usize>,
    times: Vec<Instant>,
}

impl WhatsApp {
    pub(crate) async fn start() -> Self {
        Self::start_on("127.0.0.1:0").await
    }

    async fn start_on(address: &str) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let answers: Arc<Mutex<Answers>> = Arc::default();
        let router = Router::new()
            .route("/v25.0/{lane}/messages", post(answer))
            .with_state(Arc::clone(&answers));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { addr, answers }
    }

    pub(crate) fn refuse(&self, seq: i64, codes: &[i64]) {
        let mut answers = self.answers.lock().unwrap();
        answers.errors.insert(phone_of(seq), codes.to_vec());
    }

    fn ignore(&self, seq: i64) {
        self.answers.lock().unwrap().silent.push(phone_of(seq));
    }

    pub(crate) fn answer_after(&self, latency: Duration) {
        self.answers.lock().unwrap().latency = latency;
    }

    pub(crate) fn requests(&self) -> BTreeMap<String, usize> {
        self.answers.lock().unwrap().requests.clone()
    }

    pub(crate) fn flags(&self) -> [String; 7] {
        self.flags_with_timeout(400)
    }

    pub(crate) fn flags_with_timeout(&self, timeout_ms: u64) -> [String; 7] {
        flags(self.addr, timeout_ms)
    }
}

pub(crate) fn flags(addr: SocketAddr, timeout_ms: u64) -> [String; 7] {
    [
        format!("--whatsapp-base-url=http://{addr}"),
        "--whatsapp-access-token=t".to_owned(),
        "--whatsapp-app-secret=s".to_owned(),
        "--whatsapp-verify-token=v".to_owned(),
        format!("--http-timeout-ms={timeout_ms}"),
        "--http-connect-timeout-ms=300".to_owned(),
        "--attempts-max=2".to_owned(),
    ]
}

async fn answer(State(answers): State<Arc<Mutex<Answers>>>, Json(request): Json<Value>) -> Response {
    let text = |field: &str| request[field].as_str().unwrap().to_owned();
    let (to, callback) = (text("to"), text("biz_opaque_callback_data"));
    let (silent, error, latency) = {
        let mut answers = answers.lock().unwrap();
        *answers.requests.entry(callback.clone()).or_default() += 1;
        answers.times.push(Instant::now());
        let errors = answers.errors.entry(to.clone()).or_default();
        let error = (!errors.is_empty()).then(|| errors.remove(0));
        (answers.silent.contains(&to), error, answers.latency)
    };
    tokio::time::sleep(latency).await;
    if silent {
        std::future::pending::<()>().await;
    }
    if let Some(code) = error {
        let error = json!({"error": {"code": code, "message": "refused", "type": "OAuthException"}});
        return (StatusCode::BAD_REQUEST, axum::Json(error)).into_response();
    }
    axum::Json(json!({
        "messaging_product": "whatsapp",
        "contacts": [{"input": to, "wa_id": to.trim_start_matches('+')}],
        "messages": [{"id": format!("wamid.{callback}")}]
    }))
    .into_response()
}

pub(crate) struct Stage {
    redis: Redis,
    pub(crate) owner: Owner,
    pub(crate) whatsapp: WhatsApp,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        let redis = Redis::start().await;
        let mut owner = Owner::new(&redis, 1_000).await;
        owner.keep_ledger(true);
        let whatsapp = WhatsApp::start().await;
        Self {
            redis,
            owner,
            whatsapp,
        }
    }

    pub(crate) async fn service(&self) -> Service {
        Service::start(
            &self.redis.url(),
            &self.whatsapp.flags().each_ref().map(String::as_str),
        )
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_answer_leads_where_it_must() {
    let stage = Stage::set().await;
    stage.whatsapp.ignore(1);
    stage.whatsapp.refuse(2, &[131_026]);
    stage.whatsapp.refuse(3, &[131_050]);
    stage.whatsapp.refuse(4, &[131_000]);
    stage.whatsapp.refuse(5, &[131_000, 131_000]);
    let campaign = stage.owner.open(false).await;
    let _service = stage.service().await;
    stage.owner.feed(campaign, 1, 1, 6).await;

    let ledger = &stage.owner.ledger;
    let uncertain = ledger.wait_for(MessageState::Uncertain, 1).await;
    assert_eq!(uncertain[0].key.seq.0, 1);
    assert_eq!(uncertain[0].error.as_ref().unwrap().code, "timeout");
    let failed = ledger.wait_for(MessageState::Failed, 3).await;
    let codes: BTreeMap<i64, (&str, Option<i32>)> = failed
        .iter()
        .map(|outcome| {
            let code = outcome.error.as_ref().unwrap().code.as_str();
            (outcome.key.seq.0, (code, outcome.attempts))
        })
        .collect();
    let expected = [
        (2, ("131026", Some(1))),
        (3, ("131050", Some(1))),
        (5, ("131000", Some(2))),
    ];
    assert_eq!(codes, BTreeMap::from(expected));
    let accepted = ledger.wait_for(MessageState::Accepted, 2).await;
    let attempts: BTreeMap<i64, Option<i32>> = accepted
        .iter()
        .map(|outcome| (outcome.key.seq.0, outcome.attempts))
        .collect();
    assert_eq!(attempts, BTreeMap::from([(4, Some(2)), (6, Some(1))]));
    let suppressed = ledger.outcomes().into_iter().find_map(|outcome| match outcome {
        Outcome::OptOut(opt_out) => Some(opt_out),
        _ => None,
    });
    let suppressed = suppressed.expect("131050 suppresses");
    assert_eq!(suppressed.phone.as_str(), phone_of(3));
    assert!(suppressed.stop && suppressed.source == "error_131050");
}

/// A rate error spends no attempt, however many there are, and the whole lane pauses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_error_slows_the_lane_and_burns_nothing() {
    let stage = Stage::set().await;
    stage.whatsapp.refuse(1, &[130_429, 130_429, 130_429]);
    let campaign = stage.owner.open(false).await;
    let _service = stage.service().await;
    stage.owner.feed(campaign, 1, 1, 1).await;
    let refused = wait_for(PATIENCE, "the first refusal", async || {
        stage.whatsapp.answers.lock().unwrap().times.first().copied()
    })
    .await;
    wait_for(PATIENCE, "the parking", async || {
        (stage.owner.survey(campaign).await.parked == 1).then_some(())
    })
    .await;
    stage.owner.feed(campaign, 1, 2, 2).await;

    let accepted = stage.owner.ledger.wait_for(MessageState::Accepted, 2).await;
    assert_eq!(accepted[0].key.seq.0, 2);
    let others_wait = stage.whatsapp.answers.lock().unwrap().times[1] - refused;
    assert!(others_wait >= Duration::from_millis(450), "{others_wait:?}");
    let first = accepted.iter().find(|outcome| outcome.key.seq.0 == 1).unwrap();
    assert_eq!(
        first.attempts,
        Some(1),
        "more refusals than attempts, and none counts"
    );
}

/// Nothing listens: messages come back unspent, by single probes, until something does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_burns_no_attempt() {
    let redis = Redis::start().await;
    let mut owner = Owner::new(&redis, 1_000).await;
    owner.keep_ledger(true);
    let campaign = owner.open(false).await;
    let address: SocketAddr = format!("127.0.0.1:{}", free_port()).parse().unwrap();
    let flags = flags(address, 400);
    let _service = Service::start(&redis.url(), &flags.each_ref().map(String::as_str)).await;
    owner.feed(campaign, 1, 1, 50).await;
    wait_for(PATIENCE, "messages to come back", async || {
        (owner.survey(campaign).await.parked > 0).then_some(())
    })
    .await;
    // More probes than there are attempts.
    tokio::time::sleep(Duration::from_millis(900)).await;

    let whatsapp = WhatsApp::start_on(&address.to_string()).await;
    let accepted = owner.ledger.wait_for(MessageState::Accepted, 50).await;
    assert!(accepted.iter().all(|outcome| outcome.attempts == Some(1)));
    assert!(whatsapp.requests().values().all(|times| *times == 1));
    assert!(owner.ledger.messages(MessageState::Failed).is_empty());
}

/// The token is bad: the owner is told once a second, the rest waits, and nothing is burnt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trouble_of_the_lane_is_told_and_nothing_is_burnt() {
    let stage = Stage::set().await;
    for seq in 1..=50 {
        stage.whatsapp.refuse(seq, &[190]);
    }
    let campaign = stage.owner.open(false).await;
    let _service = stage.service().await;
    let began = Instant::now();
    stage.owner.feed(campaign, 1, 1, 50).await;
    let accepted = stage.owner.ledger.wait_for(MessageState::Accepted, 50).await;
    let seconds = began.elapsed().as_secs() as usize;
    assert!(accepted.iter().all(|outcome| outcome.attempts == Some(1)));
    let outcomes = stage.owner.ledger.outcomes();
    let told: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Outcome::Trouble(trouble) => Some(trouble),
            _ => None,
        })
        .collect();
    let times = told.len();
    assert!((1..=seconds + 2).contains(&times), "{times} times in {seconds} s");
    assert!(
        told.iter()
            .all(|trouble| trouble.scope == TroubleScope::Lane && trouble.hold == HoldKind::Account)
    );
}
