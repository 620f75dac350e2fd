//! What people tell by WhatsApp about being messaged: in the suppressions and in the lane within a second, the ERP
//! there or not; and the ERP is told.

use crate::member::{Act, Member};
use crate::stage::{ERP_KEY, SOON, Stage, erp_faults, lane};
use campaign_core::campaign::CampaignStatus;
use campaign_core::contracts::{
    CUSTOMER_EVENTS_STREAM, CustomerEvent, CustomerEventKind, ErrorNote, MessageOutcome, OptOut, Outcome,
    OutcomeSource, SUPPRESSION_EVENTS_STREAM, SuppressionEvent,
};
use campaign_core::ids::{CampaignId, Generation, MessageKey, Seq};
use campaign_core::message::{MessageState, SkipReason};
use campaign_core::phone::CanonicalPhone;
use campaign_store::messages;
use campaign_store::suppressions::{self, Suppression};
use campaign_streams::dead_letters::{self, Letters};
use campaign_streams::lane::OutcomeReporter;
use campaign_streams::{Consumer, ConsumerConfig, Producer, Traced, Verdict};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::wait_for;
use tokio_util::sync::CancellationToken;

/// Everything that the ERP was told.
type Told = Arc<Mutex<Vec<SuppressionEvent>>>;

impl Stage {
    async fn whatsapp_tells(&self, outcomes: &[Outcome]) {
        let reporter = OutcomeReporter::new(&self.streams, &lane()).expect("a good url");
        reporter.append(outcomes, "").await.expect("Redis answers");
    }

    async fn erp_tells(&self, kind: CustomerEventKind, phone: &str, at: DateTime<Utc>) {
        let event = CustomerEvent {
            kind,
            customer_id: "C1".to_owned(),
            phone: Some(phone.to_owned()),
            at,
        };
        let producer = Producer::new(&self.streams, CUSTOMER_EVENTS_STREAM, 1_000);
        let told = producer.publish(&Traced::new(event, None)).await;
        told.expect("Redis answers");
    }

    async fn suppression_of(&self, phone: CanonicalPhone) -> Option<Suppression> {
        let mut connection = self.store.connection().await.expect("Postgres answers");
        let all = suppressions::list(&mut connection, None, 100)
            .await
            .expect("listed");
        all.into_iter().find(|suppression| suppression.phone == phone)
    }

    async fn suppressed_is(&self, phone: CanonicalPhone, wanted: bool) {
        wait_for(SOON, &format!("suppressed to be {wanted}"), async || {
            (self.suppression_of(phone).await.is_some() == wanted).then_some(())
        })
        .await;
    }

    /// A campaign of which everything is fed and nothing taken; and some of its recipients.
    async fn fed(&self) -> (CampaignId, Vec<(Seq, CanonicalPhone)>) {
        let id = self.send(|_| {}).await;
        wait_for(SOON, "everything to be fed", async || {
            (self.campaign(id).await.status == CampaignStatus::Completed).then_some(())
        })
        .await;
        let mut connection = self.store.connection().await.expect("Postgres answers");
        let pass = campaign_store::dispatches::Pass::Audience;
        let rows = messages::next_to_feed(&mut connection, id, Generation(1), pass, Seq(0), 4);
        let rows = rows.await.expect("rows").into_iter();
        (id, rows.map(|row| (row.seq, row.phone)).collect())
    }

    fn listen_as_erp(&self) -> Told {
        let told = Told::default();
        let config = ConsumerConfig::shared(SUPPRESSION_EVENTS_STREAM, "test");
        let (consumer, heard) = (Consumer::new(&self.streams, config), told.clone());
        tokio::spawn(consumer.run(CancellationToken::new(), move |delivery| {
            heard.lock().expect("not poisoned").push(delivery.body);
            std::future::ready(Verdict::Done)
        }));
        told
    }
}

fn wish(phone: CanonicalPhone, stop: bool, at: DateTime<Utc>) -> Outcome {
    Outcome::OptOut(OptOut {
        phone,
        stop,
        source: "preference".to_owned(),
        at,
    })
}

fn skip_who_opted_out(entry: &campaign_streams::lane::TakenEntry) -> Act {
    if entry.opted_out {
        Act::Report(MessageState::Skipped, SkipReason::OptedOut.as_str())
    } else {
        Act::Accept
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_takes_effect_within_a_second_with_the_erp_away_and_the_erp_is_told() {
    let stage = Stage::start(600).await;
    let (id, recipients) = stage.fed().await;
    erp_faults(&stage.erp, json!({"server_error_share": 1.0})).await;
    let told = stage.listen_as_erp();
    let (_, phone) = recipients[0];
    let said = Utc::now() - TimeDelta::seconds(3);
    let asked = Instant::now();
    stage.whatsapp_tells(&[wish(phone, true, said)]).await;
    stage.suppressed_is(phone, true).await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    let suppression = stage.suppression_of(phone).await.expect("suppressed");
    assert!(
        suppression
            .customer_id
            .is_some_and(|customer| customer.starts_with('C'))
    );

    let event = wait_for(SOON, "the ERP to be told", async || {
        told.lock().expect("not poisoned").first().cloned()
    })
    .await;
    assert_eq!(
        (event.phone, event.stop, event.source.as_str()),
        (phone, true, "preference")
    );
    assert_eq!(
        event.customer_ids.len(),
        1,
        "the campaign knows whose number it is"
    );
    let member = Member::start(&stage.streams, skip_who_opted_out);
    let progress = stage.finished(id).await;
    assert_eq!(progress.skipped_by.get("opted_out"), Some(&1), "{progress:?}");
    assert_eq!(
        progress.count(MessageState::Accepted),
        member.accepted_once() as i64
    );
}

/// Webhooks come late, twice and backwards: the last word of a person holds, whoever brings it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_word_holds_in_whatever_order_words_come() {
    let stage = Stage::start(300).await;
    let (id, recipients) = stage.fed().await;
    let told = stage.listen_as_erp();
    let at = |seconds| Utc::now() - TimeDelta::hours(1) + TimeDelta::seconds(seconds);
    let (stopped, resumed, erp) = (recipients[0].1, recipients[1].1, recipients[2].1);
    let (stop, resume) = (at(10), at(20));
    // The older resume changes nothing of the newer stop, and the other way round; again and again.
    for _ in 0..2 {
        stage
            .whatsapp_tells(&[
                wish(stopped, true, resume),
                wish(stopped, false, stop),
                wish(resumed, false, resume),
                wish(resumed, true, stop),
            ])
            .await;
        stage.suppressed_is(stopped, true).await;
        stage.suppressed_is(resumed, false).await;
    }
    // What the ERP says is of the same kind.
    stage
        .erp_tells(CustomerEventKind::OptedIn, erp.as_str(), resume)
        .await;
    stage
        .erp_tells(CustomerEventKind::OptedOut, erp.as_str(), stop)
        .await;
    let marker = "+5511911112222".parse().expect("a phone");
    stage
        .erp_tells(CustomerEventKind::OptedOut, "11 91111-2222", stop)
        .await;
    stage.whatsapp_tells(&[wish(recipients[3].1, true, at(30))]).await;
    wait_for(SOON, "the last wish to be told", async || {
        let told = told.lock().expect("not poisoned");
        told.iter()
            .any(|event| event.phone == recipients[3].1)
            .then_some(())
    })
    .await;
    stage.suppressed_is(marker, true).await;
    assert!(stage.suppression_of(erp).await.is_none());

    let _member = Member::start(&stage.streams, skip_who_opted_out);
    let progress = stage.finished(id).await;
    assert_eq!(progress.skipped_by.get("opted_out"), Some(&2), "{progress:?}");
    for event in told.lock().expect("not poisoned").iter() {
        assert_eq!(event.stop, event.phone != resumed, "{event:?}");
    }
    // A resume that is newer lifts it.
    stage.whatsapp_tells(&[wish(stopped, false, Utc::now())]).await;
    stage.suppressed_is(stopped, false).await;
}

/// A clock of the ERP that is ahead does not keep a person from changing their mind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_from_the_future_can_be_undone_today() {
    let stage = Stage::start(20).await;
    let phone: CanonicalPhone = "+5531987654321".parse().expect("a phone");
    let tomorrow = Utc::now() + TimeDelta::days(1);
    stage
        .erp_tells(CustomerEventKind::OptedOut, phone.as_str(), tomorrow)
        .await;
    stage.suppressed_is(phone, true).await;
    // A wish is told through a lane, so there must be one.
    stage.send(|_| {}).await;
    stage.whatsapp_tells(&[wish(phone, false, Utc::now())]).await;
    stage.suppressed_is(phone, false).await;
}

/// The webhook named no phone; the ledger knows whom the message went to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_of_marketing_is_of_whom_the_message_went_to_and_a_stray_is_set_aside() {
    let stage = Stage::start(100).await;
    let (campaign, recipients) = stage.fed().await;
    let (seq, phone) = recipients[0];
    let failed = |campaign, seq| {
        let key = MessageKey {
            campaign,
            generation: Generation(1),
            seq,
        };
        Outcome::Message(MessageOutcome {
            wamid: Some("wamid.X".to_owned()),
            error: Some(ErrorNote::new("131050", "stopped")),
            suppress: true,
            ..MessageOutcome::new(key, MessageState::Undelivered, Utc::now(), OutcomeSource::Webhook)
        })
    };
    let nowhere = CampaignId(uuid::Uuid::now_v7());
    let mut outcomes = vec![failed(campaign, seq), failed(campaign, Seq(1_000_000))];
    outcomes.extend((1..=100).map(|seq| failed(nowhere, Seq(seq))));
    stage.whatsapp_tells(&outcomes).await;
    stage.suppressed_is(phone, true).await;
    let suppression = stage.suppression_of(phone).await.expect("suppressed");
    assert_eq!(suppression.reason, "told by WhatsApp: error_131050");
    let strays = wait_for(SOON, "the strays to be set aside", async || {
        let strays = dead_letters::list(&stage.streams, Letters::Stray, None, 1_000)
            .await
            .ok()?;
        (!strays.is_empty()).then_some(strays)
    })
    .await;
    assert!(strays.len() <= 20, "{} of 101 are kept", strays.len());
    let stray = &strays[0].letter;
    assert_eq!(
        (stray.id.as_str(), stray.reason.as_str()),
        ("wamid.X", "no such message in the ledger")
    );
}

/// Both forms of a mobile number are one person: in the audience, and for who is suppressed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_forms_of_a_brazilian_number_are_one_person() {
    let stage = Stage::start(12).await;
    for (customer, phone) in [
        ("C00000001", "(31) 8765-4321"),
        ("C00000002", "+55 31 98765-4321"),
        ("C00000003", "11 98888-7777"),
        ("C00000004", "(11) 3888-7777"),
    ] {
        let patch = json!({"phone": phone, "active": true, "marketing_consent": true});
        let url = format!("{}/v1/customers/{customer}", stage.erp.base_url);
        let client = reqwest::Client::new();
        let answer = client.patch(url).bearer_auth(ERP_KEY).json(&patch).send().await;
        assert!(answer.expect("the ERP answers").status().is_success());
    }
    // As the ERP may have it: without the ninth digit.
    stage
        .erp_tells(CustomerEventKind::OptedOut, "(11) 8888-7777", Utc::now())
        .await;
    stage
        .suppressed_is("+5511988887777".parse().expect("a phone"), true)
        .await;

    let member = Member::start(&stage.streams, skip_who_opted_out);
    let id = stage.send(|_| {}).await;
    let progress = stage.finished(id).await;
    assert_eq!(progress.skipped_by.get("opted_out"), Some(&1), "{progress:?}");
    assert!(
        progress
            .skipped_by
            .get("duplicate")
            .is_some_and(|count| *count >= 1),
        "{progress:?}"
    );
    assert!(
        progress
            .skipped_by
            .get("landline")
            .is_some_and(|count| *count >= 1),
        "{progress:?}"
    );
    let accepted = member.accepted.lock().expect("not poisoned");
    let to = |phone: &str| accepted.keys().filter(|(_, accepted)| accepted == phone).count();
    assert_eq!((to("+5531987654321"), to("+5511988887777")), (1, 0));
}
