//! Templates as WhatsApp has them: read, versioned, and what their status does to campaigns.

use crate::harness::{LANE, PATIENCE, Scheduler};
use crate::whatsapp::{WABA, WhatsApp, listed};
use campaign_core::contracts::{ACCOUNT_EVENTS_STREAM, AccountChange, AccountEvent};
use campaign_streams::{Producer, RedisConfig, Streams, Traced};
use chrono::Utc;
use reqwest::Method;
use serde_json::{Value, json};

/// What the harness's template says.
pub(crate) const OFFER: &str = "Olá {{nome}}, de {{cidade}}.";

/// A month from now.
pub(crate) fn later() -> String {
    (Utc::now() + chrono::Duration::days(30)).to_rfc3339()
}

/// A scheduler that reads templates from this WhatsApp, and an account with the approved template `oferta`.
pub(crate) async fn scheduler(url: &str) -> Scheduler {
    let scheduler = Scheduler::start_with(&[
        "--whatsapp-base-url",
        url,
        "--whatsapp-access-token",
        "listing-token",
    ])
    .await;
    scheduler.with_account().await;
    // A new account is read by itself; from here on it is read when the test says so.
    scheduler.sync().await;
    scheduler
}

impl Scheduler {
    /// Has the templates read now, and gives what was found.
    pub(crate) async fn sync(&self) -> Value {
        let asked_at = Utc::now();
        self.act("/v1/templates/sync").await.expect(202);
        testkit::wait_for(PATIENCE, "the templates to be read", async || {
            let shown = self.get("/v1/templates/sync").await.expect(200);
            let account = shown["accounts"][0].clone();
            let started: chrono::DateTime<Utc> = account["started_at"].as_str()?.parse().ok()?;
            (started >= asked_at && account["running"] == false).then_some(account)
        })
        .await
    }

    pub(crate) async fn templates(&self, name: &str) -> Vec<Value> {
        let shown = self.get(&format!("/v1/templates?name={name}")).await.expect(200);
        shown["items"].as_array().unwrap().clone()
    }

    pub(crate) async fn shown(&self, id: &str) -> Value {
        self.get(&format!("/v1/campaigns/{id}")).await.expect(200)
    }

    /// Says where the harness's template stands, as a person.
    pub(crate) async fn say(&self, status: &str) {
        let id = self.templates("oferta").await.last().unwrap()["id"].clone();
        let path = format!("/v1/templates/{}/status", id.as_str().unwrap());
        self.ask("admin", Method::PUT, &path, Some(json!({"status": status})))
            .await
            .expect(200);
    }

    /// Reports something as `message-svc` does when a webhook came.
    pub(crate) async fn report(&self, change: AccountChange) {
        let streams = Streams::lazy(RedisConfig::new(self.redis.url())).unwrap();
        let event = AccountEvent {
            waba_id: WABA.to_owned(),
            change,
            at: Utc::now(),
        };
        let producer = Producer::new(&streams, ACCOUNT_EVENTS_STREAM, 100);
        producer.publish(&Traced::new(event, None)).await.unwrap();
    }

    pub(crate) async fn report_template(&self, event: &str) {
        self.report(AccountChange::Template {
            name: "oferta".to_owned(),
            language: "pt_BR".to_owned(),
            event: event.to_owned(),
            reason: None,
        })
        .await;
    }

    /// Waits until the campaign's holds are of exactly these kinds.
    pub(crate) async fn wait_for_holds(&self, id: &str, kinds: &[&str]) -> Value {
        testkit::wait_for_ok(PATIENCE, &format!("the holds {kinds:?}"), async || {
            let shown = self.shown(id).await;
            let standing: Vec<_> = shown["holds"]
                .as_array()
                .unwrap()
                .iter()
                .map(|hold| &hold["kind"])
                .collect();
            if standing == kinds {
                Ok(shown.clone())
            } else {
                Err(format!("{standing:?}"))
            }
        })
        .await
    }
}

#[tokio::test]
async fn every_page_is_read_and_what_this_engine_cannot_send_hides_nothing() {
    let (whatsapp, url) = WhatsApp::start(2).await;
    let scheduler = scheduler(&url).await;
    let mut carousel = listed("carrossel", "APPROVED", "Olá.");
    carousel["components"] = json!([{"type": "CAROUSEL", "cards": []}]);
    let mut american = listed("novo", "IN_REVIEW_BY_SOMEONE", "Olá, tudo bem?");
    american["language"] = json!("pt-BR");
    whatsapp.list(&[
        listed("oferta", "APPROVED", OFFER),
        carousel,
        listed("aviso", "PAUSED", "Olá {{nome}}, um aviso."),
        american,
        listed("recusado", "REJECTED", "Olá {{nome}}."),
    ]);
    let found = scheduler.sync().await;
    assert_eq!(
        (&found["listed"], &found["written"], &found["error"]),
        (&json!(5), &json!(3), &Value::Null),
        "{found}"
    );
    let passed_over = found["passed_over"][0].as_str().unwrap();
    assert!(
        passed_over.starts_with("carrossel (pt_BR): components:"),
        "{passed_over}"
    );

    let offer = scheduler.templates("oferta").await;
    assert_eq!(offer.len(), 1, "the same text with an example is no new version");
    assert_eq!(offer[0]["meta_id"], "9oferta");
    assert_eq!(scheduler.templates("aviso").await[0]["status"], "PAUSED");
    let unknown = &scheduler.templates("novo").await[0];
    assert_eq!(
        (
            &unknown["status"],
            &unknown["status_reason"],
            &unknown["language"]
        ),
        (&json!("UNKNOWN"), &json!("IN_REVIEW_BY_SOMEONE"), &json!("pt_BR"))
    );
    let again = scheduler.sync().await;
    assert_eq!(
        (&again["written"], &again["changed"]),
        (&json!(0), &json!(0)),
        "{again}"
    );
}

#[tokio::test]
async fn a_changed_template_is_a_new_version_and_a_campaign_keeps_its_own() {
    let (whatsapp, url) = WhatsApp::start(10).await;
    let scheduler = scheduler(&url).await;
    let id = scheduler.draft().await;
    let before = scheduler.shown(&id).await["template_id"].clone();
    let schedule = format!("/v1/campaigns/{id}/schedule");
    scheduler
        .post(&schedule, json!({"scheduled_at": later()}))
        .await
        .expect(200);
    whatsapp.list(&[listed("oferta", "PENDING", "Oi {{nome}}, de {{cidade}}!")]);
    assert_eq!(scheduler.sync().await["written"], 1);
    let versions = scheduler.templates("oferta").await;
    assert_eq!(
        (&versions[0]["version"], &versions[0]["status"]),
        (&json!(2), &json!("PENDING"))
    );
    assert_eq!(
        versions[1]["status"], "APPROVED",
        "a review of version 2 says nothing of version 1"
    );
    let shown = scheduler.shown(&id).await;
    assert_eq!((&shown["template_id"], &shown["holds"]), (&before, &json!([])));

    // Meta stops a template as a whole.
    whatsapp.list(&[listed("oferta", "DISABLED", "Oi {{nome}}, de {{cidade}}!")]);
    scheduler.sync().await;
    let held = scheduler.wait_for_holds(&id, &["template"]).await;
    assert!(
        held["holds"][0]["reason"].as_str().unwrap().contains("DISABLED"),
        "{held}"
    );
    whatsapp.list(&[listed("oferta", "APPROVED", "Oi {{nome}}, de {{cidade}}!")]);
    scheduler.sync().await;
    scheduler.wait_for_holds(&id, &[]).await;
}

#[tokio::test]
async fn a_template_that_is_not_approved_is_refused_or_waited_for_as_asked() {
    let (whatsapp, url) = WhatsApp::start(10).await;
    let scheduler = scheduler(&url).await;
    scheduler.say("PENDING").await;
    let id = scheduler.draft().await;
    let schedule = format!("/v1/campaigns/{id}/schedule");
    for body in [json!({}), json!({"if_unapproved": "refuse"})] {
        let refused = scheduler.post(&schedule, body).await;
        assert_eq!(refused.fields(422), ["/template"]);
        assert!(refused.text.contains("if_unapproved: wait"), "{}", refused.text);
    }
    assert_eq!(
        scheduler
            .post(&schedule, json!({"if_unapproved": "maybe"}))
            .await
            .fields(422),
        ["/if_unapproved"]
    );
    let later = json!({"scheduled_at": later(), "if_unapproved": "wait"});
    let waits = scheduler.post(&schedule, later).await.expect(200);
    assert_eq!(
        (&waits["stored_status"], &waits["holds"][0]["kind"]),
        (&json!("SCHEDULED"), &json!("template"))
    );
    assert!(
        waits["holds"][0]["reason"].as_str().unwrap().contains("PENDING"),
        "{waits}"
    );

    // The listing approves it, and it goes on by itself: due, it starts under no hold.
    whatsapp.list(&[listed("oferta", "APPROVED", OFFER)]);
    scheduler.sync().await;
    scheduler.wait_for_holds(&id, &[]).await;

    // What WhatsApp refused for good is not waited for.
    scheduler.say("REJECTED").await;
    let other = scheduler.draft().await;
    let refused = scheduler
        .post(
            &format!("/v1/campaigns/{other}/schedule"),
            json!({"if_unapproved": "wait"}),
        )
        .await;
    assert_eq!(refused.fields(422), ["/template"]);
}

#[tokio::test]
async fn a_campaign_that_waits_for_approval_starts_held_and_goes_on_by_webhook() {
    let (_whatsapp, url) = WhatsApp::start(10).await;
    let scheduler = scheduler(&url).await;
    scheduler.say("PENDING").await;
    let id = scheduler.draft().await;
    let now = json!({"if_unapproved": "wait"});
    scheduler
        .post(&format!("/v1/campaigns/{id}/schedule"), now)
        .await
        .expect(200);
    let shown = scheduler.wait_for_status(&id, "PAUSED").await;
    assert_eq!(shown["stored_status"], "SENDING");
    scheduler.report_template("APPROVED").await;
    scheduler.wait_for_status(&id, "SENDING").await;
    assert_eq!(scheduler.templates("oferta").await[0]["status"], "APPROVED");
}

#[tokio::test]
async fn a_paused_template_holds_what_runs_until_it_is_reinstated() {
    let (_whatsapp, url) = WhatsApp::start(10).await;
    let scheduler = scheduler(&url).await;
    let id = scheduler.draft().await;
    scheduler
        .act(&format!("/v1/campaigns/{id}/schedule"))
        .await
        .expect(200);
    scheduler.wait_for_status(&id, "SENDING").await;
    scheduler.report_template("PAUSED").await;
    let held = scheduler.wait_for_holds(&id, &["template"]).await;
    assert_eq!(
        (&held["status"], &held["holds"][0]["raised_by"]),
        (&json!("PAUSED"), &json!("whatsapp"))
    );
    scheduler.report_template("FLAGGED").await;
    scheduler.wait_for_holds(&id, &["template", "quality"]).await;
    scheduler.report_template("REINSTATED").await;
    scheduler.wait_for_holds(&id, &[]).await;

    // A hold about values that do not fit is not lifted by approval.
    scheduler
        .as_sender(&format!(
            "INSERT INTO campaign_holds (campaign, kind, reason, raised_by)
             VALUES ('{id}', 'template', '132000: the number of parameters does not match', 'message-svc')"
        ))
        .await;
    scheduler.report_template("FLAGGED").await;
    scheduler.wait_for_holds(&id, &["template", "quality"]).await;
    scheduler.report_template("APPROVED").await;
    scheduler.wait_for_holds(&id, &["template"]).await;
    let resume = format!("/v1/campaigns/{id}/resume");
    scheduler.post(&resume, json!({"kinds": ["template"]})).await;
    scheduler.wait_for_holds(&id, &[]).await;
}

#[tokio::test]
async fn a_number_of_low_quality_and_a_restricted_account_hold_what_they_send() {
    let (_whatsapp, url) = WhatsApp::start(10).await;
    let scheduler = scheduler(&url).await;
    let id = scheduler.draft().await;
    scheduler
        .act(&format!("/v1/campaigns/{id}/schedule"))
        .await
        .expect(200);
    scheduler.wait_for_status(&id, "SENDING").await;
    let quality = |display: &str, event: &str| AccountChange::Quality {
        display_number: Some(display.to_owned()),
        event: event.to_owned(),
        limit: Some("TIER_1K".to_owned()),
    };
    let account = |event: &str, reason: Option<&str>| AccountChange::Account {
        event: event.to_owned(),
        reason: reason.map(str::to_owned),
    };
    // Another number's trouble, and a limit that fell, are none of its.
    scheduler.report(quality("5511300000099", "FLAGGED")).await;
    scheduler.report(quality("551130000001", "DOWNGRADE")).await;
    scheduler
        .report(account(
            "ACCOUNT_RESTRICTION",
            Some("RESTRICTED_BIZ_INITIATED_MESSAGING"),
        ))
        .await;
    // Events are followed in their order.
    let held = scheduler.wait_for_holds(&id, &["account"]).await;
    assert_eq!(held["holds"][0]["scope"], "lane");
    scheduler.report(quality("551130000001", "FLAGGED")).await;
    scheduler.wait_for_holds(&id, &["account", "quality"]).await;
    scheduler.report(quality("5511300000099", "UNFLAGGED")).await;
    scheduler.report(quality("551130000001", "UNFLAGGED")).await;
    scheduler.wait_for_holds(&id, &["account"]).await;
    scheduler
        .report(account("DISABLED_UPDATE", Some("REINSTATE")))
        .await;
    scheduler.wait_for_holds(&id, &[]).await;
    let holds = scheduler
        .get(&format!("/v1/phone-numbers/{LANE}"))
        .await
        .expect(200);
    assert_eq!(holds["holds"], json!([]));
}

#[tokio::test]
async fn a_template_that_whatsapp_no_longer_lists_is_deleted_and_one_it_never_saw_is_not() {
    let (whatsapp, url) = WhatsApp::start(10).await;
    let scheduler = scheduler(&url).await;
    whatsapp.list(&[listed("aviso", "APPROVED", "Olá {{nome}}, um aviso.")]);
    scheduler.sync().await;
    whatsapp.list(&[]);
    assert_eq!(scheduler.sync().await["gone"], 1);
    assert_eq!(scheduler.templates("aviso").await[0]["status"], "DELETED");
    assert_eq!(scheduler.templates("oferta").await[0]["status"], "APPROVED");
}

#[tokio::test]
async fn a_refused_listing_changes_nothing_says_why_and_is_tried_later() {
    let (whatsapp, url) = WhatsApp::start(10).await;
    let scheduler = scheduler(&url).await;
    whatsapp.refuse(true);
    let found = scheduler.sync().await;
    assert!(found["error"].as_str().unwrap().contains("80008"), "{found}");
    assert!(found["failures"].as_i64().unwrap() >= 1);
    let next: chrono::DateTime<Utc> = found["next_at"].as_str().unwrap().parse().unwrap();
    assert!(
        next > Utc::now() + chrono::Duration::seconds(800),
        "when WhatsApp says: {found}"
    );
    whatsapp.refuse(false);
    assert_eq!(scheduler.sync().await["failures"], 0);
}

#[tokio::test]
async fn replicas_share_the_reading() {
    let (whatsapp, url) = WhatsApp::start(10).await;
    let flags = [
        "--whatsapp-base-url",
        &url,
        "--whatsapp-access-token",
        "listing-token",
    ];
    let mut scheduler = Scheduler::start_with(&flags).await;
    for _ in 0..2 {
        let replica = scheduler.replica(&flags).await;
        scheduler.wait_until_ready(&replica).await;
    }
    scheduler.with_account().await;
    testkit::wait_for(PATIENCE, "a listing", async || {
        (whatsapp.requests() > 0).then_some(())
    })
    .await;
    // Every replica looks each second.
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    assert_eq!(whatsapp.requests(), 1, "one of three read it, once");
}

#[tokio::test]
async fn without_a_token_it_says_so() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let shown = scheduler.get("/v1/templates/sync").await.expect(200);
    assert_eq!(shown["enabled"], false);
    let refused = scheduler.act("/v1/templates/sync").await;
    assert_eq!(refused.status.as_u16(), 409);
    assert!(refused.text.contains("WHATSAPP_ACCESS_TOKEN"), "{}", refused.text);
}
