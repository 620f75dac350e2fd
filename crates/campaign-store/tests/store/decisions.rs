//! What people decide: campaigns and their steps, holds, requests, keys, kept answers.

use crate::fixture::{account, campaign, lane, noon, store, template_model};
use campaign_core::campaign::{CampaignStatus, HoldKind};
use campaign_core::ids::{ApiKeyId, RequestId, Seq, TemplateId};
use campaign_store::api_keys::{self, ApiRole};
use campaign_store::campaigns::{self, CampaignFilter};
use campaign_store::holds::{self, HoldScope};
use campaign_store::idempotency::{self, Earlier};
use campaign_store::requests::{self, LeftOut, Request, RequestKind};
use campaign_store::{Store, StoreError, audit, templates};
use chrono::{DateTime, Duration, Utc};
use serde_json::json;
use std::collections::HashSet;
use uuid::Uuid;

#[tokio::test]
async fn a_campaign_reads_back_as_it_was_written_and_its_steps_are_kept() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    let owner = account(&mut connection).await;
    let id = campaign(&mut connection, owner, CampaignStatus::Draft).await;
    let written = campaigns::get(&mut connection, id).await.expect("it is there");
    assert_eq!(written.scheduled_at, Some(noon()));
    assert_eq!(written.status, CampaignStatus::Draft);
    let before = campaigns::set_status(&mut connection, id, CampaignStatus::Scheduled, None)
        .await
        .expect("a legal step");
    assert_eq!(before, CampaignStatus::Draft);
    campaigns::set_status(&mut connection, id, CampaignStatus::Sending, None)
        .await
        .expect("a legal step");
    let (running, template) = campaigns::get_with_template(&mut connection, id)
        .await
        .expect("it is there");
    assert!(running.started_at.is_some());
    assert_eq!(template, template_model());
    let illegal = campaigns::set_status(&mut connection, id, CampaignStatus::Draft, None).await;
    assert!(
        matches!(illegal, Err(StoreError::IllegalTransition(_))),
        "{illegal:?}"
    );
    let refused = campaigns::replace_decisions(&mut connection, &running).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    let steps = campaigns::status_changes(&mut connection, id, 10)
        .await
        .expect("its history");
    let steps: Vec<_> = steps.iter().map(|step| (step.from, step.to)).collect();
    assert_eq!(
        steps,
        [
            (CampaignStatus::Draft, CampaignStatus::Scheduled),
            (CampaignStatus::Scheduled, CampaignStatus::Sending),
        ]
    );
}

/// Two schedulers claim 3,000 campaigns: each campaign goes to exactly one, and neither waits for the other.
#[tokio::test]
async fn claims_of_two_schedulers_share_no_campaign() {
    const CAMPAIGNS: usize = 3_000;
    let store = store().await;
    {
        let mut transaction = store.begin().await.expect("a transaction");
        let owner = account(&mut transaction).await;
        for _ in 0..CAMPAIGNS {
            campaign(&mut transaction, owner, CampaignStatus::Scheduled).await;
        }
        transaction.commit().await.expect("committed");
    }
    let (one, other) = tokio::join!(claim_all(&store), claim_all(&store));
    let distinct: HashSet<_> = one.iter().chain(&other).collect();
    assert_eq!(one.len() + other.len(), CAMPAIGNS);
    assert_eq!(distinct.len(), CAMPAIGNS);
    assert!(
        !one.is_empty() && !other.is_empty(),
        "one of them did all the work"
    );
    let mut connection = store.connection().await.expect("a connection");
    assert_eq!(
        campaigns::next_scheduled_at(&mut connection)
            .await
            .expect("a time or none"),
        None
    );
    let mut orphans = async |longer_than| {
        let list = campaigns::sending_without_dispatch(&mut connection, longer_than, 10).await;
        list.expect("a list").len()
    };
    assert_eq!(orphans(std::time::Duration::ZERO).await, 10, "the limit binds");
    assert_eq!(
        orphans(std::time::Duration::from_mins(1)).await,
        0,
        "they may be on their way"
    );
}

async fn claim_all(store: &Store) -> Vec<campaign_core::ids::CampaignId> {
    let mut claimed = Vec::new();
    loop {
        let mut transaction = store.begin().await.expect("a transaction");
        let due = campaigns::claim_due(&mut transaction, noon(), 100)
            .await
            .expect("a claim");
        if due.is_empty() {
            return claimed;
        }
        for campaign in due {
            campaigns::set_status(&mut transaction, campaign.id, CampaignStatus::Sending, None)
                .await
                .expect("nobody else has it");
            claimed.push(campaign.id);
        }
        transaction.commit().await.expect("committed");
    }
}

#[tokio::test]
async fn nothing_is_claimed_before_its_time() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    let owner = account(&mut connection).await;
    campaign(&mut connection, owner, CampaignStatus::Scheduled).await;
    let early = noon() - Duration::milliseconds(1);
    assert!(
        campaigns::claim_due(&mut connection, early, 10)
            .await
            .expect("a claim")
            .is_empty()
    );
    assert_eq!(
        campaigns::claim_due(&mut connection, noon(), 10)
            .await
            .expect("a claim")
            .len(),
        1
    );
}

#[tokio::test]
async fn each_hold_is_lifted_only_by_its_own_cause_and_the_lane_hears_of_both() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    let owner = account(&mut connection).await;
    let id = campaign(&mut connection, owner, CampaignStatus::Sending).await;
    let version = async |connection: &mut _| {
        campaigns::control(connection, id)
            .await
            .expect("it is there")
            .version
    };

    let raised = holds::raise_campaign(&mut connection, id, HoldKind::Person, "wait", "ana", None).await;
    assert!(raised.expect("raised"));
    assert_eq!(version(&mut connection).await, 1);
    let repeated = holds::raise_campaign(&mut connection, id, HoldKind::Person, "wait", "ana", None).await;
    assert!(
        !repeated.expect("nothing new"),
        "the same hold again changes nothing"
    );
    assert_eq!(version(&mut connection).await, 1);
    assert!(
        holds::raise_lane(
            &mut connection,
            &lane(),
            HoldKind::Quality,
            "low",
            "whatsapp",
            None
        )
        .await
        .expect("raised")
    );
    assert_eq!(version(&mut connection).await, 2);

    let standing = holds::of_campaign(&mut connection, id).await.expect("the holds");
    let standing: Vec<_> = standing.iter().map(|hold| (hold.scope, hold.kind)).collect();
    assert_eq!(
        standing,
        [
            (HoldScope::Campaign, HoldKind::Person),
            (HoldScope::Lane, HoldKind::Quality)
        ]
    );
    let paused = CampaignFilter {
        paused: Some(true),
        ..CampaignFilter::default()
    };
    assert_eq!(
        campaigns::list(&mut connection, &paused, 10)
            .await
            .expect("a list")
            .len(),
        1
    );

    assert!(
        !holds::lift_campaign(&mut connection, id, HoldKind::Quality)
            .await
            .expect("not its own")
    );
    assert!(
        holds::lift_campaign(&mut connection, id, HoldKind::Person)
            .await
            .expect("lifted")
    );
    assert!(
        holds::lift_lane(&mut connection, &lane(), HoldKind::Quality)
            .await
            .expect("lifted")
    );
    assert_eq!(version(&mut connection).await, 4);
    assert!(
        holds::of_campaign(&mut connection, id)
            .await
            .expect("the holds")
            .is_empty()
    );
    assert!(
        campaigns::list(&mut connection, &paused, 10)
            .await
            .expect("a list")
            .is_empty()
    );
}

#[tokio::test]
async fn a_hold_whose_time_is_over_no_longer_stands() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    let owner = account(&mut connection).await;
    let id = campaign(&mut connection, owner, CampaignStatus::Sending).await;
    let until = Some(Utc::now() - Duration::seconds(1));
    holds::raise_campaign(&mut connection, id, HoldKind::DailyLimit, "full", "sender", until)
        .await
        .expect("raised");
    assert!(
        holds::of_campaign(&mut connection, id)
            .await
            .expect("the holds")
            .is_empty()
    );
}

#[tokio::test]
async fn requests_wait_until_they_are_applied() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    let owner = account(&mut connection).await;
    let id = campaign(&mut connection, owner, CampaignStatus::Sending).await;
    let request = Request {
        id: RequestId(Uuid::now_v7()),
        campaign: id,
        kind: RequestKind::ResendFailed,
        seqs: Some(vec![Seq(3), Seq(7)]),
        error_codes: Some(vec!["131026".to_owned()]),
        requested_by: "ana".to_owned(),
        requested_at: Utc::now(),
        applied_at: None,
        affected: None,
        left_out: None,
    };
    requests::create(&mut connection, &request)
        .await
        .expect("a new request");
    let waiting = requests::waiting(&mut connection, id).await.expect("a list");
    assert_eq!(waiting.len(), 1);
    assert_eq!(
        (&waiting[0].seqs, &waiting[0].error_codes),
        (&request.seqs, &request.error_codes)
    );
    let left_out = Some(LeftOut {
        messages: 1,
        until: DateTime::UNIX_EPOCH,
    });
    requests::mark_applied(&mut connection, request.id, 2, left_out)
        .await
        .expect("applied");
    assert!(
        requests::waiting(&mut connection, id)
            .await
            .expect("a list")
            .is_empty()
    );
    let applied = requests::get(&mut connection, request.id)
        .await
        .expect("it is there");
    assert_eq!((applied.affected, applied.left_out), (Some(2), left_out));
}

#[tokio::test]
async fn versions_of_a_template_count_up() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    let (owner, first) = account(&mut connection).await;
    let second = TemplateId(Uuid::now_v7());
    let version = templates::create(&mut connection, second, owner, &template_model())
        .await
        .expect("a version");
    assert_eq!(version, 2);
    let latest = templates::latest(&mut connection, owner, "oferta", "pt_BR")
        .await
        .expect("a look");
    assert_eq!(latest.map(|found| found.id), Some(second));
    assert_eq!(
        templates::get(&mut connection, first)
            .await
            .expect("it stays")
            .version,
        1
    );
}

#[tokio::test]
async fn a_revoked_key_is_not_found_and_the_last_admin_stays() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    let key = api_keys::make_key([7; 32]);
    let hash = api_keys::hash_key(&key);
    let id = ApiKeyId(Uuid::now_v7());
    api_keys::create(&mut connection, id, "boss", ApiRole::Admin, &hash, "tests")
        .await
        .expect("a new key");
    assert_eq!(
        api_keys::by_hash(&mut connection, &hash)
            .await
            .expect("a look")
            .map(|found| found.id),
        Some(id)
    );
    let refused = api_keys::revoke(&mut connection, id).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    let other = ApiKeyId(Uuid::now_v7());
    let other_hash = api_keys::hash_key(&api_keys::make_key([8; 32]));
    api_keys::create(
        &mut connection,
        other,
        "other",
        ApiRole::Admin,
        &other_hash,
        "boss",
    )
    .await
    .expect("a new key");
    assert!(
        api_keys::revoke(&mut connection, id)
            .await
            .expect("another admin is left")
    );
    assert_eq!(
        api_keys::by_hash(&mut connection, &hash).await.expect("a look"),
        None
    );
    assert!(
        !api_keys::revoke(&mut connection, id)
            .await
            .expect("it was revoked before")
    );
}

#[tokio::test]
async fn an_answer_is_kept_with_the_change_or_not_at_all() {
    let store = store().await;
    let key = {
        let mut connection = store.connection().await.expect("a connection");
        let id = ApiKeyId(Uuid::now_v7());
        api_keys::create(&mut connection, id, "k", ApiRole::Supervisor, &[1; 32], "tests")
            .await
            .expect("a new key");
        id
    };
    let mut failing = store.begin().await.expect("a transaction");
    assert_eq!(
        idempotency::begin(&mut failing, key, "a", b"x")
            .await
            .expect("a look"),
        Earlier::Nothing
    );
    let mut other = store.begin().await.expect("a transaction");
    assert_eq!(
        idempotency::begin(&mut other, key, "a", b"x")
            .await
            .expect("a look"),
        Earlier::InProgress
    );
    drop(other);
    failing.rollback().await.expect("rolled back");

    let mut working = store.begin().await.expect("a transaction");
    assert_eq!(
        idempotency::begin(&mut working, key, "a", b"x")
            .await
            .expect("a look"),
        Earlier::Nothing
    );
    idempotency::keep(&mut working, key, "a", b"x", 201, &json!({"id": 1}))
        .await
        .expect("kept");
    working.commit().await.expect("committed");

    let mut later = store.begin().await.expect("a transaction");
    let answered = Earlier::Answered {
        status: 201,
        body: json!({"id": 1}),
    };
    assert_eq!(
        idempotency::begin(&mut later, key, "a", b"x")
            .await
            .expect("a look"),
        answered
    );
    assert_eq!(
        idempotency::begin(&mut later, key, "a", b"y")
            .await
            .expect("a look"),
        Earlier::Other
    );
    assert_eq!(
        idempotency::begin(&mut later, key, "b", b"y")
            .await
            .expect("a look"),
        Earlier::Nothing
    );
    let soon = Utc::now() + Duration::hours(1);
    assert_eq!(
        idempotency::forget(&mut later, soon, 10)
            .await
            .expect("forgotten"),
        1
    );
}

#[tokio::test]
async fn the_audit_log_pages_backwards() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    for number in 0..5 {
        audit::record(
            &mut connection,
            "ana",
            "campaign.edit",
            "campaign:1",
            &json!({ "number": number }),
        )
        .await
        .expect("recorded");
    }
    let filter = audit::AuditFilter {
        subject: Some("campaign:1".to_owned()),
        ..audit::AuditFilter::default()
    };
    let newest = audit::list(&mut connection, &filter, 2).await.expect("a page");
    assert_eq!(newest[0].details["number"], 4);
    let older = audit::AuditFilter {
        before: Some(newest[1].id),
        ..filter
    };
    assert_eq!(
        audit::list(&mut connection, &older, 10)
            .await
            .expect("a page")
            .len(),
        3
    );
}
