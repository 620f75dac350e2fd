//! The webhooks' endpoint over HTTP.

use crate::error_table::{LeadsTo, cases};
use crate::harness::{LANE, Owner, PATIENCE, Service, http};
use campaign_core::contracts::{
    ACCOUNT_EVENTS_STREAM, AccountChange, AccountEvent, Outcome, OutcomeSource, SCHEDULER_GROUP, TroubleScope,
};
use campaign_core::ids::CampaignId;
use campaign_core::message::MessageState;
use campaign_streams::{Consumer, ConsumerConfig, Delivery, Verdict};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use testkit::{Redis, wait_for};
use uuid::Uuid;
use whatsapp_api::errors::decide_code;
use whatsapp_api::signature::{SIGNATURE_HEADER, sign};

pub(crate) const SECRET: &str = "app-secret";
pub(crate) const FLAGS: [&str; 3] = [
    "--transport=simulate",
    "--whatsapp-app-secret=app-secret",
    "--whatsapp-verify-token=verify-me",
];

pub(crate) struct Stage {
    pub(crate) redis: Redis,
    pub(crate) owner: Owner,
    pub(crate) service: Service,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        Self::set_with(&FLAGS).await
    }

    pub(crate) async fn set_with(flags: &[&str]) -> Self {
        let redis = Redis::start().await;
        let mut owner = Owner::new(&redis, 1_000).await;
        owner.keep_ledger(true);
        let service = Service::start(&redis.url(), flags).await;
        owner.admit_first().await;
        Self {
            redis,
            owner,
            service,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/webhooks/whatsapp", self.service.addr)
    }

    pub(crate) async fn post(&self, body: &Value) -> StatusCode {
        let raw = serde_json::to_vec(body).unwrap();
        let signature = sign(SECRET.as_bytes(), &raw);
        self.post_raw(raw, Some(&signature)).await
    }

    pub(crate) async fn post_raw(&self, raw: Vec<u8>, signature: Option<&str>) -> StatusCode {
        let mut request = http().post(self.url()).body(raw);
        if let Some(signature) = signature {
            request = request.header(SIGNATURE_HEADER, signature);
        }
        request.send().await.unwrap().status()
    }
}

pub(crate) fn body(field: &str, value: &Value) -> Value {
    json!({"object": "whatsapp_business_account",
           "entry": [{"id": "1", "changes": [{"field": field, "value": value}]}]})
}

pub(crate) fn metadata() -> Value {
    json!({"display_phone_number": "5531", "phone_number_id": LANE})
}

pub(crate) fn status(status: &str, callback_data: &str, errors: &Value) -> Value {
    json!({"id": "wamid.A", "status": status, "timestamp": "1700000000", "recipient_id": "553187654321",
           "biz_opaque_callback_data": callback_data, "errors": errors})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_and_wishes_reach_the_ledger() {
    let stage = Stage::set().await;
    let campaign = CampaignId(Uuid::now_v7());
    let callback = format!("{campaign}:1:7");
    let errors = json!([{"code": 131_049, "title": "Not delivered"}]);
    let statuses = body(
        "messages",
        &json!({"messaging_product": "whatsapp", "metadata": metadata(), "statuses": [
            status("delivered", &callback, &json!([])),
            status("failed", &format!("{campaign}:1:8"), &errors),
            status("read", "somebody-else", &json!([])),
        ]}),
    );
    assert_eq!(stage.post(&statuses).await, StatusCode::OK);
    // Answered 200: it is in Redis, whatever happens to this service now.
    let inbound = body(
        "messages",
        &json!({"messaging_product": "whatsapp", "metadata": metadata(), "messages": [
            {"from": "553187654321", "id": "wamid.B", "timestamp": "1700000000", "type": "text",
             "text": {"body": " sair "}},
            {"from": "5531987654322", "id": "wamid.C", "timestamp": "1700000000", "type": "text",
             "text": {"body": "Olá"}},
        ]}),
    );
    assert_eq!(stage.post(&inbound).await, StatusCode::OK);
    let preference = body(
        "user_preferences",
        &json!({"messaging_product": "whatsapp", "metadata": metadata(), "user_preferences": [
            {"wa_id": "5531987654323", "category": "marketing_messages", "value": "resume",
             "timestamp": 1_700_000_000}]}),
    );
    assert_eq!(stage.post(&preference).await, StatusCode::OK);

    let delivered = stage.owner.ledger.wait_for(MessageState::Delivered, 1).await;
    assert_eq!(delivered[0].key.to_string(), callback);
    assert_eq!(delivered[0].source, OutcomeSource::Webhook);
    let failed = stage.owner.ledger.wait_for(MessageState::Undelivered, 1).await;
    assert_eq!(failed[0].error.as_ref().unwrap().code, "131049");
    let wishes = wait_for(PATIENCE, "both wishes", async || {
        let outcomes = stage.owner.ledger.outcomes().into_iter();
        // Each is told twice: as it comes, and by what keeps it until the ledger has it.
        let wishes: BTreeSet<_> = outcomes
            .filter_map(|outcome| match outcome {
                Outcome::OptOut(wish) => Some((wish.phone.as_str().to_owned(), wish.stop, wish.source)),
                _ => None,
            })
            .collect();
        (wishes.len() >= 2).then_some(wishes)
    })
    .await;
    let expected = BTreeSet::from([
        ("+5531987654321".to_owned(), true, "keyword".to_owned()),
        ("+5531987654323".to_owned(), false, "preference".to_owned()),
    ]);
    assert_eq!(wishes, expected);
    assert!(stage.owner.ledger.messages(MessageState::Read).is_empty());
}

/// Every code of the table as a `failed` status after acceptance, as a number and as a string: the message is not
/// delivered, and what the code says of more than the message is told as it would have been by an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_failure_means_what_the_same_answer_would_have_meant() {
    let stage = Stage::set().await;
    let (mut expected_troubles, mut suppressing) = (Vec::new(), Vec::new());
    let cases: Vec<_> = cases()
        .map(|(seq, code, leads_to)| (CampaignId(Uuid::now_v7()), seq, code, leads_to))
        .collect();
    for (campaign, seq, code, leads_to) in &cases {
        let code_as_sent = if seq % 2 == 0 {
            json!(code)
        } else {
            json!(code.to_string())
        };
        let errors = json!([{"code": code_as_sent, "title": "T", "error_data": {"details": "why"}}]);
        let failed = status("failed", &format!("{campaign}:1:{seq}"), &errors);
        // Twice the same: webhooks are repeated, and a thousand messages fail of one cause.
        let statuses = json!({"metadata": metadata(), "statuses": [failed, failed]});
        assert_eq!(stage.post(&body("messages", &statuses)).await, StatusCode::OK);
        match leads_to {
            LeadsTo::Hold(reach, hold) => {
                expected_troubles.push((code.to_string(), reach.scope(*campaign), *hold));
            }
            LeadsTo::FailureAndSuppression => suppressing.push(format!("error_{code}")),
            LeadsTo::Failure | LeadsTo::Retry | LeadsTo::Slowing => {}
        }
    }
    let undelivered = stage
        .owner
        .ledger
        .wait_for(MessageState::Undelivered, 2 * cases.len())
        .await;
    for ((campaign, seq, code, _), outcomes) in cases.iter().zip(undelivered.chunks(2)) {
        for outcome in outcomes {
            assert_eq!((outcome.key.campaign, outcome.key.seq.0), (*campaign, *seq));
            assert_eq!(outcome.error.as_ref().unwrap().code, code.to_string());
            assert_eq!(outcome.error.as_ref().unwrap().text, "T: why");
        }
    }
    // The last one has nothing behind it: all of them are read.
    let (mut troubles, mut suppressed) = (Vec::new(), Vec::new());
    for outcome in stage.owner.ledger.outcomes() {
        match outcome {
            Outcome::Trouble(trouble) => {
                let number: i64 = trouble.error.code.parse().unwrap();
                assert!(trouble.error.text.ends_with(decide_code(number).advice));
                troubles.push((trouble.error.code, trouble.scope, trouble.hold));
            }
            Outcome::OptOut(opt_out) => suppressed.push(opt_out.source),
            _ => {}
        }
    }
    assert_eq!(troubles, expected_troubles);
    suppressed.dedup();
    assert_eq!(suppressed, suppressing);
}

/// What concerns the number stands without our callback data; what concerns a campaign cannot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_failure_of_somebody_elses_message_still_holds_the_number() {
    let stage = Stage::set().await;
    let of = |code: &str| status("failed", "somebody-else", &json!([{"code": code, "title": "T"}]));
    let statuses = json!({"metadata": metadata(), "statuses": [of("132015"), of("131048")]});
    assert_eq!(stage.post(&body("messages", &statuses)).await, StatusCode::OK);
    let trouble = wait_for(PATIENCE, "the trouble", async || {
        stage
            .owner
            .ledger
            .outcomes()
            .into_iter()
            .find_map(|outcome| match outcome {
                Outcome::Trouble(trouble) => Some(trouble),
                _ => None,
            })
    })
    .await;
    assert_eq!(
        (trouble.scope, trouble.error.code.as_str()),
        (TroubleScope::Lane, "131048")
    );
}

/// The scheduler hears what concerns more than a message, in Meta's words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_concerns_templates_numbers_and_accounts_reaches_the_scheduler() {
    let stage = Stage::set().await;
    for (field, value) in [
        (
            "message_template_status_update",
            json!({"event": "PAUSED", "message_template_id": 7, "message_template_name": "oferta",
                   "message_template_language": "pt-BR", "reason": "NONE"}),
        ),
        (
            "phone_number_quality_update",
            json!({"display_phone_number": "551130000001", "event": "FLAGGED", "current_limit": "TIER_1K"}),
        ),
        ("account_update", json!({"event": "ACCOUNT_RESTRICTION"})),
    ] {
        assert_eq!(stage.post(&body(field, &value)).await, StatusCode::OK, "{field}");
    }
    let heard = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&heard);
    let config = ConsumerConfig::sole(ACCOUNT_EVENTS_STREAM, SCHEDULER_GROUP);
    let consumer = Consumer::new(&stage.owner.streams, config);
    let stopping = stage.service.shutdown.stopping_token();
    tokio::spawn(consumer.run(stopping, move |delivery: Delivery<AccountEvent>| {
        told.lock().unwrap().push(delivery.body);
        std::future::ready(Verdict::Done)
    }));
    let events = wait_for(PATIENCE, "three events", async || {
        let heard = heard.lock().unwrap().clone();
        (heard.len() >= 3).then_some(heard)
    })
    .await;
    assert!(events.iter().all(|event| event.waba_id == "1"));
    let changes: Vec<_> = events.into_iter().map(|event| event.change).collect();
    let expected = [
        AccountChange::Template {
            name: "oferta".to_owned(),
            language: "pt_BR".to_owned(),
            event: "PAUSED".to_owned(),
            reason: None,
        },
        AccountChange::Quality {
            display_number: Some("551130000001".to_owned()),
            event: "FLAGGED".to_owned(),
            limit: Some("TIER_1K".to_owned()),
        },
        AccountChange::Account {
            event: "ACCOUNT_RESTRICTION".to_owned(),
            reason: None,
        },
    ];
    assert_eq!(changes, expected);
}

#[tokio::test]
async fn only_what_meta_signed_is_believed() {
    let stage = Stage::set().await;
    let raw = serde_json::to_vec(&body(
        "messages",
        &json!({"metadata": metadata(), "statuses": []}),
    ))
    .unwrap();
    let signature = sign(SECRET.as_bytes(), &raw);
    for (signature, expected) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some("sha256=00"), StatusCode::UNAUTHORIZED),
        (Some(sign(b"other", &raw)).as_deref(), StatusCode::UNAUTHORIZED),
        (Some(signature.as_str()), StatusCode::OK),
    ] {
        assert_eq!(
            stage.post_raw(raw.clone(), signature).await,
            expected,
            "{signature:?}"
        );
    }
    let mut changed = raw.clone();
    changed.push(b' ');
    let status = stage.post_raw(changed, Some(&signature)).await;
    assert_eq!(
        status,
        StatusCode::UNAUTHORIZED,
        "not the raw body that was signed"
    );
    let value: Value = serde_json::from_slice(&raw).unwrap();
    let spaced = serde_json::to_vec_pretty(&value).unwrap();
    let status = stage.post_raw(spaced, Some(&signature)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "the same JSON in other bytes");
    let garbage = b"{".to_vec();
    let signature = sign(SECRET.as_bytes(), &garbage);
    let status = stage.post_raw(garbage, Some(&signature)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let large = vec![b' '; 3 * 1024 * 1024 + 1];
    let signature = sign(SECRET.as_bytes(), &large);
    let status = stage.post_raw(large, Some(&signature)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_address_is_verified_by_the_token() {
    let stage = Stage::set().await;
    for (mode, token, expected) in [
        ("subscribe", "verify-me", StatusCode::OK),
        ("subscribe", "guess", StatusCode::FORBIDDEN),
        ("other", "verify-me", StatusCode::FORBIDDEN),
    ] {
        let url = format!(
            "{}?hub.mode={mode}&hub.verify_token={token}&hub.challenge=4711",
            stage.url()
        );
        let response = http().get(url).send().await.unwrap();
        assert_eq!(response.status(), expected, "{mode} {token}");
        if expected == StatusCode::OK {
            assert_eq!(response.text().await.unwrap(), "4711");
        }
    }
}

/// WhatsApp must send it again: nothing is answered 200 that is not in Redis.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_kept_is_refused_for_now() {
    let mut stage = Stage::set().await;
    let campaign = CampaignId(Uuid::now_v7());
    let update = body(
        "messages",
        &json!({"metadata": metadata(), "statuses": [status("read", &format!("{campaign}:1:7"), &json!([]))]}),
    );
    stage.redis.kill();
    assert_eq!(stage.post(&update).await, StatusCode::SERVICE_UNAVAILABLE);
    stage.redis.restart().await;
    wait_for(PATIENCE, "the webhook to be taken", async || {
        (stage.post(&update).await == StatusCode::OK).then_some(())
    })
    .await;
    stage.owner.ledger.wait_for(MessageState::Read, 1).await;
}
