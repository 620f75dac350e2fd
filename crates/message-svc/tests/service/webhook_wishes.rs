//! A person's wish stops what is queued already, without the ledger.

use crate::harness::{PATIENCE, controls, phone_of};
use crate::webhooks::{FLAGS, Stage, body, metadata};
use campaign_core::contracts::Outcome;
use campaign_core::message::{MessageState, SkipReason};
use campaign_streams::depths;
use campaign_streams::lane::OwnerReply;
use campaign_streams::wake::{Audience, publish};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Before 2016 the ninth digit was not there; WhatsApp keeps such numbers as they were.
fn old_form(seq: i64) -> String {
    let phone = phone_of(seq);
    format!("{}{}", &phone[1..5], &phone[6..])
}

fn says(from: &str, text: &str) -> Value {
    body(
        "messages",
        &json!({"metadata": metadata(), "messages": [
            {"from": from, "id": "wamid.B", "timestamp": "1700000000", "type": "text", "text": {"body": text}}]}),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_opt_out_in_either_form_stops_queued_messages_while_the_ledger_is_away() {
    let mut stage = Stage::set().await;
    let campaign = stage.owner.open(true).await;
    stage.owner.feed(campaign, 1, 1, 4).await;
    stage.owner.stop_ledger();

    assert_eq!(stage.post(&says(&old_form(1), "Sair")).await, StatusCode::OK);
    assert_eq!(
        stage.post(&says(&phone_of(2)[1..], " PARAR\n")).await,
        StatusCode::OK
    );
    let sentence = says(&phone_of(3)[1..], "Quero sair mais cedo");
    assert_eq!(stage.post(&sentence).await, StatusCode::OK);

    // Nobody has read the wishes: the lane has them all the same.
    let control = stage.owner.hold.control(campaign, &controls(false)).await;
    assert_eq!(control.unwrap(), OwnerReply::Ok(()));
    publish(&stage.owner.streams, Audience::Messages, Some(&stage.owner.lane))
        .await
        .unwrap();
    testkit::wait_for(PATIENCE, "all to be settled", async || {
        (stage.owner.survey(campaign).await.outstanding == 0).then_some(())
    })
    .await;
    stage.owner.keep_ledger(true);
    let accepted = stage.owner.ledger.wait_for(MessageState::Accepted, 2).await;
    let seqs: BTreeSet<i64> = accepted.iter().map(|outcome| outcome.key.seq.0).collect();
    assert_eq!(seqs, BTreeSet::from([3, 4]));
    let skipped = stage.owner.ledger.wait_for(MessageState::Skipped, 2).await;
    assert!(
        skipped
            .iter()
            .all(|outcome| outcome.skip == Some(SkipReason::OptedOut))
    );
    let wishes: BTreeSet<String> = stage
        .owner
        .ledger
        .outcomes()
        .into_iter()
        .filter_map(phone)
        .collect();
    assert_eq!(
        wishes,
        BTreeSet::from([phone_of(1), phone_of(2)]),
        "in their one form"
    );
}

fn prefers(person: i64, category: &str, value: &str) -> Value {
    let wa_id = phone_of(person)[1..].to_owned();
    body(
        "user_preferences",
        &json!({"user_preferences": [
            {"wa_id": wa_id, "category": category, "value": value, "timestamp": 1_700_000_000}]}),
    )
}

/// A wish is the person's, whichever number it was told to; one to go on, or about something else, stops nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_that_names_no_number_of_ours_stops_and_a_resume_does_not() {
    let mut stage = Stage::set().await;
    let campaign = stage.owner.open(true).await;
    stage.owner.feed(campaign, 1, 1, 4).await;
    stage.owner.stop_ledger();
    let mut elsewhere = says(&phone_of(4)[1..], "sair");
    elsewhere["entry"][0]["changes"][0]["value"]["metadata"]["phone_number_id"] = json!("999");
    for said in [
        prefers(1, "marketing_messages", "stop"),
        prefers(2, "marketing_messages", "resume"),
        prefers(3, "service_messages", "stop"),
        elsewhere,
    ] {
        assert_eq!(stage.post(&said).await, StatusCode::OK, "{said}");
    }
    let control = stage.owner.hold.control(campaign, &controls(false)).await;
    assert_eq!(control.unwrap(), OwnerReply::Ok(()));
    publish(&stage.owner.streams, Audience::Messages, Some(&stage.owner.lane))
        .await
        .unwrap();
    testkit::wait_for(PATIENCE, "all to be settled", async || {
        (stage.owner.survey(campaign).await.outstanding == 0).then_some(())
    })
    .await;
    stage.owner.keep_ledger(true);
    let skipped = stage.owner.ledger.wait_for(MessageState::Skipped, 2).await;
    let seqs: BTreeSet<i64> = skipped.iter().map(|outcome| outcome.key.seq.0).collect();
    assert_eq!(seqs, BTreeSet::from([1, 4]));
    stage.owner.ledger.wait_for(MessageState::Accepted, 2).await;
    let outcomes = stage.owner.ledger.outcomes().into_iter();
    let wishes: BTreeSet<String> = outcomes.filter_map(phone).collect();
    assert_eq!(wishes, BTreeSet::from([1, 2, 4].map(phone_of)));
}

/// Only what is configured stops anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_words_are_those_that_are_configured() {
    let flags = [&FLAGS[..], &["--opt-out-words=Chega, já basta"]].concat();
    let stage = Stage::set_with(&flags).await;
    for (person, text) in [(1, "sair"), (2, "CHEGA"), (3, "chega de bola"), (4, "Ja basta")] {
        let said = says(&phone_of(person)[1..], text);
        assert_eq!(stage.post(&said).await, StatusCode::OK);
    }
    let wishes = testkit::wait_for(PATIENCE, "the last one's wish", async || {
        let outcomes = stage.owner.ledger.outcomes().into_iter();
        let wishes: BTreeSet<String> = outcomes.filter_map(phone).collect();
        wishes.contains(&phone_of(4)).then_some(wishes)
    })
    .await;
    assert_eq!(wishes, BTreeSet::from([2, 4].map(phone_of)));
}

/// P1: Redis loses everything after the webhook was answered, and before the ledger has read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_outlives_the_redis_that_it_was_told_to() {
    let mut stage = Stage::set().await;
    stage.owner.stop_ledger();
    assert_eq!(stage.post(&says(&phone_of(1)[1..], "sair")).await, StatusCode::OK);
    let read = stage.owner.ledger.outcomes().into_iter().filter_map(phone);
    assert_eq!(read.count(), 0, "the ledger has not read it");
    testkit::wait_for(PATIENCE, "it to be kept in memory too", async || {
        let lanes = depths::of_lanes(&stage.owner.streams).await.ok()?;
        (lanes[0].outcomes == 2).then_some(())
    })
    .await;
    stage.redis.flush().await;
    stage.owner.build(1_000, &[]).await;
    stage.owner.keep_ledger(true);
    testkit::wait_for(PATIENCE, "the wish to be told again", async || {
        let wishes = stage.owner.ledger.outcomes().into_iter().filter_map(phone);
        wishes.into_iter().any(|told| told == phone_of(1)).then_some(())
    })
    .await;
}

fn phone(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::OptOut(wish) => Some(wish.phone.to_string()),
        _ => None,
    }
}
