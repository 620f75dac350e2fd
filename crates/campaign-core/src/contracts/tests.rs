//! The JSON of every version ever written. A line here is never changed, only added.

use super::*;
use crate::campaign::HoldKind;
use crate::ids::{Generation, InstanceId, MessageKey, Seq};
use crate::message::{MessageState, SkipReason};
use chrono::TimeZone;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use uuid::Uuid;

fn decodes<T: DeserializeOwned + Serialize + PartialEq + Debug>(json: &str, expected: &T) {
    let decoded: T = serde_json::from_str(json).expect("an entry written by an earlier version decodes");
    assert_eq!(&decoded, expected, "{json}");
    let again: T = serde_json::from_str(&serde_json::to_string(expected).expect("encodes")).expect("decodes");
    assert_eq!(&again, expected);
}

fn campaign() -> CampaignId {
    "0199aaaa-0000-7000-8000-000000000001".parse().expect("a uuid")
}

fn at(milliseconds: i64) -> DateTime<Utc> {
    Utc.timestamp_millis_opt(milliseconds)
        .single()
        .expect("a valid time")
}

#[test]
fn control_entries() {
    decodes(
        r#"{"kind":"minute"}"#,
        &Tick {
            kind: TickKind::Minute,
        },
    );
    decodes(
        r#"{"campaign":"0199aaaa-0000-7000-8000-000000000001","lane":"106540352242922"}"#,
        &SendCampaign {
            campaign: campaign(),
            lane: "106540352242922".parse().expect("a lane"),
        },
    );
}

#[test]
fn events() {
    let failed = MessageEvent {
        campaign: campaign(),
        seq: Seq(7),
        customer_id: "C1".to_owned(),
        state: MessageState::Failed,
        at: at(1_772_366_400_000),
        error_code: Some("131026".to_owned()),
    };
    let accepted = MessageEvent {
        seq: Seq(8),
        state: MessageState::Accepted,
        error_code: None,
        ..failed.clone()
    };
    decodes(
        r#"{"campaign":"0199aaaa-0000-7000-8000-000000000001","seq":7,"customer_id":"C1","state":"failed","at":"2026-03-01T12:00:00Z","error_code":"131026"}"#,
        &MessageEvents(vec![failed.clone()]),
    );
    decodes(
        r#"[{"campaign":"0199aaaa-0000-7000-8000-000000000001","seq":7,"customer_id":"C1","state":"failed","at":"2026-03-01T12:00:00Z","error_code":"131026"},{"campaign":"0199aaaa-0000-7000-8000-000000000001","seq":8,"customer_id":"C1","state":"accepted","at":"2026-03-01T12:00:00Z"}]"#,
        &MessageEvents(vec![failed, accepted]),
    );
    decodes(
        r#"{"kind":"opted_out","customer_id":"C1","phone":"+5531987654321","at":"2026-03-01T12:00:00Z"}"#,
        &CustomerEvent {
            kind: CustomerEventKind::OptedOut,
            customer_id: "C1".to_owned(),
            phone: Some("+5531987654321".to_owned()),
            at: at(1_772_366_400_000),
        },
    );
    decodes(
        r#"{"phone":"+5531987654321","stop":true,"source":"keyword","at":"2026-03-01T12:00:00Z"}"#,
        &SuppressionEvent {
            phone: "+5531987654321".parse().expect("a phone"),
            customer_ids: Vec::new(),
            stop: true,
            source: "keyword".to_owned(),
            at: at(1_772_366_400_000),
        },
    );
    decodes(
        r#"{"stream":"campaign.sender","id":"1-1","reason":"not JSON","fields":[["body","x"]]}"#,
        &DeadLetter {
            stream: "campaign.sender".to_owned(),
            id: "1-1".to_owned(),
            reason: "not JSON".to_owned(),
            fields: vec![("body".to_owned(), "x".to_owned())],
        },
    );
}

#[test]
fn outcomes() {
    let key = MessageKey {
        campaign: campaign(),
        generation: Generation(1),
        seq: Seq(7),
    };
    let plain = MessageOutcome::new(key, MessageState::Accepted, at(1000), OutcomeSource::Send);
    decodes(
        r#"{"type":"message","key":"0199aaaa-0000-7000-8000-000000000001:1:7","state":"accepted","at":1000,"source":"send","attempts":1,"wamid":"wamid.X","wa_id":"553187654321"}"#,
        &Outcome::Message(MessageOutcome {
            attempts: Some(1),
            wamid: Some("wamid.X".to_owned()),
            wa_id: Some("553187654321".to_owned()),
            ..plain.clone()
        }),
    );
    decodes(
        r#"{"type":"message","key":"0199aaaa-0000-7000-8000-000000000001:1:7","state":"deferred","at":1000,"source":"send","due":2000,"error":{"code":"131056","text":"pair rate"}}"#,
        &Outcome::Message(MessageOutcome {
            state: MessageState::Deferred,
            due: Some(at(2000)),
            error: Some(ErrorNote::new("131056", "pair rate")),
            ..plain.clone()
        }),
    );
    decodes(
        r#"{"type":"message","key":"0199aaaa-0000-7000-8000-000000000001:1:7","state":"skipped","at":1000,"source":"send","skip":"opted_out"}"#,
        &Outcome::Message(MessageOutcome {
            state: MessageState::Skipped,
            skip: Some(SkipReason::OptedOut),
            ..plain.clone()
        }),
    );
    decodes(
        r#"{"type":"message","key":"0199aaaa-0000-7000-8000-000000000001:1:7","state":"undelivered","at":1000,"source":"webhook","suppress":true}"#,
        &Outcome::Message(MessageOutcome {
            suppress: true,
            ..MessageOutcome::new(key, MessageState::Undelivered, at(1000), OutcomeSource::Webhook)
        }),
    );
    let instance = InstanceId(Uuid::nil());
    decodes(
        r#"{"type":"join","instance":"00000000-0000-0000-0000-000000000000","identity":"a:b","concurrency":64}"#,
        &Outcome::Join {
            instance,
            identity: "a:b".to_owned(),
            concurrency: 64,
        },
    );
    decodes(
        r#"{"type":"left","instance":"00000000-0000-0000-0000-000000000000"}"#,
        &Outcome::Left { instance },
    );
}

#[test]
fn trouble_and_wishes() {
    let error = ErrorNote::new("190", "token expired");
    decodes(
        r#"{"type":"trouble","scope":"lane","hold":"account","error":{"code":"190","text":"token expired"},"at":1000}"#,
        &Outcome::Trouble(Trouble {
            scope: TroubleScope::Lane,
            hold: HoldKind::Account,
            error: error.clone(),
            at: at(1000),
        }),
    );
    decodes(
        r#"{"type":"trouble","scope":{"campaign":"0199aaaa-0000-7000-8000-000000000001"},"hold":"template","error":{"code":"190","text":"token expired"},"at":1000}"#,
        &Outcome::Trouble(Trouble {
            scope: TroubleScope::Campaign(campaign()),
            hold: HoldKind::Template,
            error: error.clone(),
            at: at(1000),
        }),
    );
    decodes(
        r#"{"type":"trouble","scope":"account","hold":"account","error":{"code":"190","text":"token expired"},"at":1000}"#,
        &Outcome::Trouble(Trouble {
            scope: TroubleScope::Account,
            hold: HoldKind::Account,
            error,
            at: at(1000),
        }),
    );
    decodes(
        r#"{"type":"opt_out","phone":"+5531987654321","stop":true,"source":"keyword","at":1000}"#,
        &Outcome::OptOut(OptOut {
            phone: "+5531987654321".parse().expect("a phone"),
            stop: true,
            source: "keyword".to_owned(),
            at: at(1000),
        }),
    );
}

#[test]
fn queued_messages_survive_and_say_what_is_wrong() {
    let message = QueuedMessage {
        phone: "+5531987654321".parse().expect("a phone"),
        variables: vec!["Ana".to_owned(), "R$ 1,00".to_owned()],
        fed_at_ms: 5,
        trace: String::new(),
    };
    let values = message.to_values();
    let fields = || {
        QueuedMessage::FIELDS
            .iter()
            .zip(&values)
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    };
    assert_eq!(QueuedMessage::from_fields(fields()), Ok(message));
    let error = QueuedMessage::from_fields(fields().skip(1)).expect_err("no phone");
    assert!(error.to_string().ends_with("p is missing"), "{error}");
    let error = QueuedMessage::from_fields(std::iter::once((b"v".as_slice(), b"[".as_slice())))
        .expect_err("bad JSON");
    assert!(error.to_string().contains("v: "), "{error}");
}
