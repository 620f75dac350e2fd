//! Webhooks that are refused, and those that concern nobody here.

use crate::harness::{Owner, PATIENCE, Service, http};
use crate::webhooks::{FLAGS, SECRET, Stage, body, metadata, status};
use campaign_core::contracts::WEBHOOK_ORIGIN;
use campaign_core::ids::CampaignId;
use campaign_core::message::MessageState;
use campaign_streams::dead_letters::{self, Letters, StoredDeadLetter};
use campaign_streams::depths;
use campaign_streams::lane::OutcomeReader;
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{Redis, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;
use whatsapp_api::signature::{SIGNATURE_HEADER, sign};
use whatsapp_api::webhook::MAX_WEBHOOK_BYTES;

impl Stage {
    async fn letters(&self, letters: Letters) -> Vec<StoredDeadLetter> {
        dead_letters::list(&self.owner.streams, letters, None, 10_000)
            .await
            .unwrap()
    }

    async fn post_signed(&self, raw: &[u8]) -> StatusCode {
        let signature = sign(SECRET.as_bytes(), raw);
        self.post_raw(raw.to_vec(), Some(&signature)).await
    }

    /// Announces more than it sends, and hangs up.
    async fn post_cut_off(&self) {
        let mut stream = TcpStream::connect(self.service.addr).await.unwrap();
        let head = "POST /webhooks/whatsapp HTTP/1.1\r\nhost: here\r\ncontent-length: 1000\r\n\r\n{\"entry\"";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.ok();
    }
}

async fn counted(service: &Service, sample: &str) -> u64 {
    let url = format!("http://{}/metrics", service.addr);
    let text = http().get(url).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(sample));
    line.map_or(0, |count| count.trim().parse().unwrap())
}

fn statuses(list: &Value) -> Value {
    body("messages", &json!({"metadata": metadata(), "statuses": list}))
}

/// Bad input is refused and counted by its reason, and nothing of it is stored.
#[tokio::test]
async fn what_is_refused_is_counted_and_leaves_nothing() {
    let stage = Stage::set().await;
    let good = serde_json::to_vec(&statuses(&json!([status("read", "someone", &json!([]))]))).unwrap();
    let wrong = sign(b"other", &good);
    assert_eq!(stage.post_raw(good.clone(), None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        stage.post_raw(good.clone(), Some(&wrong)).await,
        StatusCode::UNAUTHORIZED
    );
    let half = &good[..good.len() / 2];
    let too_large = vec![b' '; MAX_WEBHOOK_BYTES + 1];
    for (raw, expected) in [
        (half, StatusCode::BAD_REQUEST),
        (b"not JSON".as_slice(), StatusCode::BAD_REQUEST),
        (b"{\"object\": \"page\"}".as_slice(), StatusCode::BAD_REQUEST),
        (too_large.as_slice(), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        assert_eq!(stage.post_signed(raw).await, expected);
    }
    let many = vec![json!({"id": "w", "status": "sent"}); 1_001];
    let many = serde_json::to_vec(&statuses(&Value::from(many))).unwrap();
    assert_eq!(stage.post_signed(&many).await, StatusCode::PAYLOAD_TOO_LARGE);
    stage.post_cut_off().await;
    for query in ["", "?hub.mode=subscribe&hub.verify_token=guess&hub.challenge=1"] {
        let answer = http()
            .get(format!("{}{query}", stage.url()))
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_client_error(), "{query}");
    }

    for (reason, times) in [
        ("unsigned", 1),
        ("signature", 1),
        ("not_json", 2),
        ("not_a_webhook", 1),
        ("too_large", 1),
        ("too_many_updates", 1),
        ("truncated", 1),
        ("verify_token", 2),
    ] {
        let sample = format!("webhook_refused_total{{reason=\"{reason}\"}}");
        wait_for(PATIENCE, &sample, async || {
            (counted(&stage.service, &sample).await == times).then_some(())
        })
        .await;
    }
    assert!(stage.letters(Letters::Stray).await.is_empty());
    assert!(stage.letters(Letters::Dead).await.is_empty());
    assert!(stage.owner.ledger.messages(MessageState::Read).is_empty());
}

/// A flood of statuses of somebody else's messages is answered, counted, and kept in part.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_nobody_knows_are_set_aside_and_a_flood_of_them_is_cut() {
    let stage = Stage::set().await;
    let ours = format!("{}:1:1", CampaignId(Uuid::now_v7()));
    let foreign_number = body(
        "messages",
        &json!({"metadata": {"phone_number_id": "999"}, "statuses": [
            // As far as our own numbers are concerned, no trouble either.
            status("failed", &ours, &json!([{"code": 131_048, "title": "T"}]))]}),
    );
    // Until the lanes have had time to appear nobody knows whose it is.
    wait_for(PATIENCE, "the foreign number to be taken", async || {
        (stage.post(&foreign_number).await == StatusCode::OK).then_some(())
    })
    .await;
    let mut nameless = status("delivered", "", &json!([]));
    nameless
        .as_object_mut()
        .unwrap()
        .remove("biz_opaque_callback_data");
    let two = statuses(&json!([status("read", "order-7", &json!([])), nameless]));
    assert_eq!(stage.post(&two).await, StatusCode::OK);

    let strays = stage.letters(Letters::Stray).await;
    let reasons: Vec<_> = strays
        .iter()
        .rev()
        .map(|stray| stray.letter.reason.as_str())
        .collect();
    assert_eq!(
        reasons,
        [
            "nothing is sent from this number",
            "callback data of another sender",
            "no callback data: the message was not sent from here",
        ]
    );
    let told = ("biz_opaque_callback_data".to_owned(), "order-7".to_owned());
    assert!(strays[1].letter.fields.contains(&told), "{:?}", strays[1]);
    assert_eq!(strays[1].letter.stream, WEBHOOK_ORIGIN);

    let flood = statuses(&Value::from(vec![status("read", "order-7", &json!([])); 1_000]));
    for _ in 0..3 {
        assert_eq!(stage.post(&flood).await, StatusCode::OK);
    }
    let kept = stage.letters(Letters::Stray).await.len();
    assert!((4..=120).contains(&kept), "{kept} of 3,003 are kept");
    for (reason, times) in [
        ("unknown_number", 1),
        ("no_callback_data", 1),
        ("foreign_callback_data", 3_001),
    ] {
        let sample = format!("webhook_unknown_total{{reason=\"{reason}\"}}");
        assert_eq!(counted(&stage.service, &sample).await, times, "{reason}");
    }
    let lanes = depths::of_lanes(&stage.owner.streams).await.unwrap();
    assert_eq!(lanes.len(), 1, "no lane of the foreign number was made");
    let foreign = "999".parse().unwrap();
    let mut reader = OutcomeReader::new(&stage.owner.streams, &foreign, Duration::from_millis(50));
    assert!(
        reader.read(10).await.unwrap().is_empty(),
        "and nothing lies in one"
    );
    assert!(
        stage.letters(Letters::Dead).await.is_empty(),
        "dead letters keep their room"
    );
}

/// The room for strays is not the room for people's wishes.
#[tokio::test]
async fn a_wish_that_nobody_can_name_is_kept_in_a_flood_of_strays() {
    let stage = Stage::set().await;
    let flood = statuses(&Value::from(vec![status("read", "order-7", &json!([])); 1_000]));
    assert_eq!(stage.post(&flood).await, StatusCode::OK);
    let inbound = body(
        "messages",
        &json!({"metadata": metadata(), "messages": [
            {"from_user_id": "BR.1", "id": "wamid.B", "type": "text", "text": {"body": "SAIR"}}]}),
    );
    assert_eq!(stage.post(&inbound).await, StatusCode::OK);
    assert_eq!(stage.letters(Letters::Dead).await.len(), 1);
}

/// Before the lanes have appeared nobody can tell whose a message is, so it must come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_that_comes_before_the_lanes_is_neither_lost_nor_a_stray() {
    let redis = Redis::start().await;
    let service = Service::start(&redis.url(), &FLAGS).await;
    let ours = format!("{}:1:1", CampaignId(Uuid::now_v7()));
    let raw = serde_json::to_vec(&statuses(&json!([status("read", &ours, &json!([]))]))).unwrap();
    let url = format!("http://{}/webhooks/whatsapp", service.addr);
    let signature = sign(SECRET.as_bytes(), &raw);
    let early = http()
        .post(url)
        .header(SIGNATURE_HEADER, signature)
        .body(raw.clone());
    let answer = early.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let mut owner = Owner::new(&redis, 1_000).await;
    owner.keep_ledger(true);
    let stage = Stage {
        redis,
        owner,
        service,
    };
    wait_for(PATIENCE, "it to be taken", async || {
        (stage.post_signed(&raw).await == StatusCode::OK).then_some(())
    })
    .await;
    stage.owner.ledger.wait_for(MessageState::Read, 1).await;
    assert!(stage.letters(Letters::Stray).await.is_empty());
}

/// Whatever Meta adds is answered 200 and can be seen to come.
#[tokio::test]
async fn what_is_new_is_counted_by_its_kind() {
    let stage = Stage::set().await;
    let flows = body("flows", &json!({"event": "ENDPOINT_ERROR_RATE"}));
    assert_eq!(stage.post(&flows).await, StatusCode::OK);
    let ours = format!("{}:1:1", CampaignId(Uuid::now_v7()));
    let mixed = body(
        "messages",
        &json!({"metadata": metadata(),
            "statuses": [status("warehoused", &ours, &json!([])), {"status": "sent"}],
            "messages": [{"from": "5531987654321", "id": "wamid.B", "type": "sticker"}]}),
    );
    assert_eq!(stage.post(&mixed).await, StatusCode::OK);
    for sample in [
        "webhook_updates_total{kind=\"other_field\"}",
        "webhook_updates_total{kind=\"other_status\"}",
        "webhook_updates_total{kind=\"inbound_other\"}",
        "webhook_unknown_total{reason=\"unreadable\"}",
    ] {
        assert_eq!(counted(&stage.service, sample).await, 1, "{sample}");
    }
}

/// Without its secrets the service believes nobody.
#[tokio::test]
async fn without_secrets_nothing_is_believed() {
    let stage = Stage::set_with(&["--transport=simulate"]).await;
    let raw = serde_json::to_vec(&statuses(&json!([status("read", "someone", &json!([]))]))).unwrap();
    for signature in [None, Some(sign(b"", &raw)), Some(sign(SECRET.as_bytes(), &raw))] {
        let answer = stage.post_raw(raw.clone(), signature.as_deref()).await;
        assert_eq!(answer, StatusCode::UNAUTHORIZED, "{signature:?}");
    }
    let sample = "webhook_refused_total{reason=\"no_secret\"}";
    assert_eq!(counted(&stage.service, sample).await, 3);
    let query = "?hub.mode=subscribe&hub.verify_token=&hub.challenge=1";
    let answer = http()
        .get(format!("{}{query}", stage.url()))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(stage.letters(Letters::Stray).await.is_empty());
}

/// Somebody known by user id alone writes the word: nobody here can tell who it is, so a person must.
#[tokio::test]
async fn a_wish_without_a_phone_number_is_a_dead_letter_that_is_not_put_back() {
    let stage = Stage::set().await;
    let inbound = body(
        "messages",
        &json!({"metadata": metadata(), "messages": [
            {"from_user_id": "BR.1", "id": "wamid.B", "type": "text", "text": {"body": "SAIR"},
             "context": {"id": "wamid.ours"}}]}),
    );
    assert_eq!(stage.post(&inbound).await, StatusCode::OK);
    let preference = body(
        "user_preferences",
        &json!({"metadata": metadata(), "user_preferences": [
            {"user_id": "BR.2", "category": "marketing_messages", "value": "stop", "timestamp": 1}]}),
    );
    assert_eq!(stage.post(&preference).await, StatusCode::OK);
    let letters = stage.letters(Letters::Dead).await;
    let told: Vec<Vec<&str>> = letters
        .iter()
        .map(|letter| {
            letter
                .letter
                .fields
                .iter()
                .map(|(_, value)| value.as_str())
                .collect()
        })
        .collect();
    assert!(
        told[1].contains(&"BR.1") && told[1].contains(&"wamid.ours"),
        "{told:?}"
    );
    assert!(told[0].contains(&"BR.2") && told[0].contains(&"stop"), "{told:?}");
    let refused = dead_letters::redrive(&stage.owner.streams, &letters[0].id).await;
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("suppress the person by hand")
    );
}
