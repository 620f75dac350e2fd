//! P2: one row a recipient, whatever the ERP does; and from there to the end.

use crate::member::{Act, Member};
use crate::stage::{SOON, Stage, erp_faults, lane};
use campaign_core::campaign::{Audience, CampaignStatus, HoldKind};
use campaign_core::contracts::{MessageOutcome, Outcome, OutcomeSource};
use campaign_core::ids::{CampaignId, Generation, InstanceId, MessageKey, Seq};
use campaign_core::message::{MessageState, SkipReason};
use campaign_core::segment::Segment;
use campaign_store::audience::{self as rows, AudienceRow};
use campaign_store::lanes::Lease;
use campaign_store::{campaigns, dispatches, holds, messages};
use chrono::Utc;
use serde_json::json;
use testkit::wait_for;
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_goes_from_sending_to_finished_with_every_recipient_accepted_once() {
    let stage = Stage::start(1_500).await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let id = stage.send(|_| {}).await;
    let progress = stage.finished(id).await;
    assert_eq!(progress.total, 1_500, "one row a customer");
    assert_eq!(
        progress.count(MessageState::Accepted),
        member.accepted_once() as i64
    );
    assert!(progress.count(MessageState::Accepted) > 1_300, "{progress:?}");
    let skipped: i64 = progress.skipped_by.values().sum();
    assert_eq!(skipped, progress.count(MessageState::Skipped));
    for reason in [SkipReason::Inactive, SkipReason::Landline, SkipReason::Duplicate] {
        assert!(
            progress
                .skipped_by
                .get(reason.as_str())
                .is_some_and(|count| *count > 0),
            "{reason}: {progress:?}"
        );
    }
    assert_eq!(stage.campaign(id).await.status, CampaignStatus::Completed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erp_that_fails_repeats_and_forgets_makes_no_row_twice() {
    let stage = Stage::start(1_200).await;
    let faults = json!({
        "server_error_share": 0.1, "truncated_share": 0.1, "repeated_page_share": 0.1, "expired_cursor_share": 0.1,
        "rate_limited_share": 0.05,
    });
    erp_faults(&stage.erp, faults).await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let id = stage.send(|_| {}).await;
    let progress = stage.finished(id).await;
    assert_eq!(progress.total, 1_200, "one row a customer");
    assert_eq!(
        progress.count(MessageState::Accepted),
        member.accepted_once() as i64
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_segment_ends_at_once() {
    let stage = Stage::start(50).await;
    let nobody = Segment {
        cities: vec!["Nowhere".to_owned()],
        ..Segment::default()
    };
    let id = stage
        .send(|campaign| campaign.audience = Audience::Segment { segment: nobody })
        .await;
    assert_eq!(stage.finished(id).await.total, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_test_send_goes_to_the_given_numbers_only() {
    let stage = Stage::start(50).await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let phones = vec!["(31) 98765-4321".to_owned(), "11 3000-0000".to_owned()];
    let id = stage
        .send(|campaign| {
            campaign.audience = Audience::Test {
                segment: Segment::default(),
                phones,
            }
        })
        .await;
    let progress = stage.finished(id).await;
    assert_eq!((progress.total, progress.count(MessageState::Accepted)), (2, 1));
    let accepted = member
        .accepted
        .lock()
        .expect("not poisoned")
        .keys()
        .next()
        .map(|(_, phone)| phone.clone());
    assert_eq!(accepted.as_deref(), Some("+5531987654321"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erp_that_stays_away_holds_the_campaign_with_the_reason() {
    let stage = Stage::start(300).await;
    erp_faults(&stage.erp, json!({"rate_limited_share": 1.0})).await;
    let id = stage.send(|_| {}).await;
    let hold = wait_for(SOON, "the campaign to be held", async || {
        let mut connection = stage.store.connection().await.ok()?;
        holds::of_campaign(&mut connection, id).await.ok()?.pop()
    })
    .await;
    assert_eq!(hold.kind, HoldKind::Erp);
    assert!(hold.reason.contains("attempts"), "{}", hold.reason);
}

/// The feeder records how far it is many times while a page is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_page_to_record_what_was_fed() {
    let stage = Stage::start(400).await;
    let member = Member::start(&stage.streams, |_| Act::Accept);
    let id = CampaignId(Uuid::now_v7());
    // Whoever writes a row with the same position waits for this transaction.
    let mut first_row = stage.store.begin().await.expect("Postgres answers");
    let row = AudienceRow {
        seq: Seq(1),
        customer_id: "somebody".to_owned(),
        phone_as_given: None,
        phone: None,
        duplicate_of: None,
        variables: Vec::new(),
        skip: None,
    };
    rows::insert(&mut first_row, id, &[row])
        .await
        .expect("it is written");
    stage.send(|campaign| campaign.id = id).await;
    let impatient = stage.impatient_store();
    wait_for(SOON, "a page to be under way", async || {
        let mut transaction = impatient.begin().await.ok()?;
        let locked = campaigns::get_for_update(&mut transaction, id).await;
        locked.is_err().then_some(())
    })
    .await;

    let mut feeding = impatient.begin().await.expect("Postgres answers");
    let first_owner = Lease {
        lane: lane(),
        epoch: 1,
        owner: InstanceId(Uuid::now_v7()),
    };
    dispatches::save_enqueued(&mut feeding, &first_owner, id, Generation(1), Seq(1))
        .await
        .expect("it does not wait");
    let dispatch = dispatches::get(&mut feeding, id).await.expect("a dispatch");
    assert_eq!((dispatch.enqueued_seq, dispatch.next_seq), (Seq(1), Seq(1)));
    drop(feeding);
    drop(first_row);
    assert_eq!(stage.finished(id).await.total, 400);
    assert!(member.accepted_once() > 300);
}

/// A fetch that did not write them itself looks them up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_that_begins_again_finds_the_rows_of_the_one_before() {
    // More than fit into the lane, so that the campaign stays as it is while nobody sends.
    let stage = Stage::start_with(1_500, &["--feed-window=500".to_owned()]).await;
    let id = stage.send(|_| {}).await;
    let complete = async || stage.progress(id).await.audience_complete.then_some(());
    wait_for(SOON, "the audience to be complete", complete).await;
    let before = stage.progress(id).await;
    stage.fetch_again().await;
    wait_for(SOON, "it to be complete again", complete).await;
    let after = stage.progress(id).await;
    assert_eq!(before.total, 1_500);
    assert_eq!((after.total, after.skipped_by), (1_500, before.skipped_by));
    let mut connection = stage.store.connection().await.expect("Postgres answers");
    let holds = holds::of_campaign(&mut connection, id).await.expect("holds");
    assert_eq!(holds, Vec::new(), "every page could be stored");
}

/// WhatsApp calls a person of before the ninth digit otherwise than they are sent to: both are kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wa_id_that_came_back_is_kept_beside_the_number() {
    const WA_ID: &str = "553187654321";
    let stage = Stage::start(30).await;
    let phones = vec!["(31) 98765-4321".to_owned()];
    let id = stage
        .send(|campaign| {
            let segment = Segment::default();
            campaign.audience = Audience::Test { segment, phones };
        })
        .await;
    stage.reaches(id, MessageState::Pending, 1).await;
    let key = MessageKey {
        campaign: id,
        generation: Generation(1),
        seq: Seq(1),
    };
    let accepted = MessageOutcome {
        wa_id: Some(WA_ID.to_owned()),
        ..MessageOutcome::new(key, MessageState::Accepted, Utc::now(), OutcomeSource::Send)
    };
    stage.publish(vec![Outcome::Message(accepted)]).await;
    stage.reaches(id, MessageState::Accepted, 1).await;
    let mut connection = stage.store.connection().await.expect("Postgres answers");
    let row = messages::lock(&mut connection, id, &[1])
        .await
        .expect("rows")
        .remove(0);
    assert_eq!(row.row.wa_id.as_deref(), Some(WA_ID));
    assert_eq!(row.phone.as_deref(), Some("+5531987654321"));
}
