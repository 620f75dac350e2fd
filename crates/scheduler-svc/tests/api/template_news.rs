//! Templates as WhatsApp speaks of them: which word counts, for which version, and who lifts what it held.

use crate::harness::{PATIENCE, Scheduler};
use crate::template_sync::{OFFER, later, scheduler};
use crate::whatsapp::{WhatsApp, listed};
use campaign_core::contracts::AccountChange;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const NOTICE: &str = "Olá {{nome}}, um aviso.";

impl Scheduler {
    /// A campaign with the harness's template that is being sent.
    async fn sending(&self) -> String {
        let id = self.draft().await;
        self.act(&format!("/v1/campaigns/{id}/schedule"))
            .await
            .expect(200);
        self.wait_for_status(&id, "SENDING").await;
        id
    }

    async fn report_of(&self, name: &str, event: &str, reason: Option<&str>) {
        self.report(AccountChange::Template {
            name: name.to_owned(),
            language: "pt_BR".to_owned(),
            event: event.to_owned(),
            reason: reason.map(str::to_owned),
        })
        .await;
    }

    /// Waits until the newest version of a template shows this.
    async fn wait_for_template(&self, name: &str, field: &str, expected: &str) {
        testkit::wait_for_ok(PATIENCE, &format!("{name} to be {expected}"), async || {
            let newest = self.templates(name).await.swap_remove(0);
            if newest[field] == expected {
                Ok(())
            } else {
                Err(newest[field].to_string())
            }
        })
        .await;
    }

    async fn account_sync(&self) -> Value {
        let shown = self.get("/v1/templates/sync").await.expect(200);
        shown["accounts"][0].clone()
    }
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_element_that_cannot_be_read_may_be_any_template_so_none_is_deleted() {
    let (whatsapp, url) = WhatsApp::start(10).await;
    let scheduler = scheduler(&url).await;
    let notice = listed("aviso", "APPROVED", NOTICE);
    whatsapp.list(&[listed("oferta", "APPROVED", OFFER), notice.clone()]);
    scheduler.sync().await;
    let mut unreadable = notice;
    unreadable.as_object_mut().unwrap().remove("status");
    whatsapp.list(&[listed("oferta", "APPROVED", OFFER), unreadable]);
    assert_eq!(scheduler.sync().await["gone"], 0);
    assert_eq!(scheduler.templates("aviso").await[0]["status"], "APPROVED");
}

/// Old templates say nothing of their format.
#[tokio::test]
async fn a_template_without_a_format_is_positional() {
    let (whatsapp, url) = WhatsApp::start(10).await;
    let scheduler = scheduler(&url).await;
    let mut old = listed("antigo", "APPROVED", "Olá {{1}}, um aviso.");
    old.as_object_mut().unwrap().remove("parameter_format");
    whatsapp.list(&[old]);
    let found = scheduler.sync().await;
    assert_eq!(
        (&found["written"], &found["passed_over"]),
        (&json!(1), &json!([]))
    );
    let template = &scheduler.templates("antigo").await[0];
    assert_eq!(
        (&template["parameter_format"], &template["variables"]),
        (&json!("POSITIONAL"), &json!(["1"]))
    );
}

/// A webhook overtakes a listing that was asked for before: of what is listed and of what is not; and the listing is
/// read again soon.
#[tokio::test]
async fn what_is_said_while_a_listing_is_on_its_way_is_newer() {
    let (whatsapp, url) = WhatsApp::start(10).await;
    let scheduler = scheduler(&url).await;
    let notice = listed("aviso", "APPROVED", NOTICE);
    whatsapp.list(&[listed("oferta", "APPROVED", OFFER), notice]);
    scheduler.sync().await;
    let id = scheduler.sending().await;
    whatsapp.list(&[listed("oferta", "APPROVED", OFFER)]);
    whatsapp.answer_after(Duration::from_secs(3));
    let before = whatsapp.requests();
    scheduler.act("/v1/templates/sync").await.expect(202);
    testkit::wait_for(PATIENCE, "the listing to be asked for", async || {
        (whatsapp.requests() > before).then_some(())
    })
    .await;
    whatsapp.answer_after(Duration::ZERO);
    scheduler.report_template("PAUSED").await;
    scheduler.report_of("aviso", "PAUSED", None).await;
    scheduler.wait_for_holds(&id, &["template"]).await;
    scheduler.wait_for_template("aviso", "status", "PAUSED").await;
    let read = testkit::wait_for(PATIENCE, "the listing to be read", async || {
        let account = scheduler.account_sync().await;
        (account["running"] == false).then_some(account)
    })
    .await;
    assert_eq!(
        (&read["gone"], &read["changed"]),
        (&json!(0), &json!(0)),
        "{read}"
    );
    for name in ["oferta", "aviso"] {
        assert_eq!(scheduler.templates(name).await[0]["status"], "PAUSED", "{name}");
    }
    scheduler.wait_for_holds(&id, &["template"]).await;

    // News came meanwhile, so it is read again at once, and not in ten minutes.
    scheduler.wait_for_template("aviso", "status", "DELETED").await;
    scheduler.wait_for_holds(&id, &[]).await;
}

/// Each webhook of a template calls for a reading, and many call for no more than one a minute.
#[tokio::test]
async fn news_of_a_template_bring_its_listing_forward_to_a_minute_after_the_last() {
    let (whatsapp, url) = WhatsApp::start(10).await;
    let scheduler = scheduler(&url).await;
    let wait = |account: &Value| time(&account["next_at"]) - time(&account["finished_at"]);
    assert!(wait(&scheduler.account_sync().await) > TimeDelta::minutes(9));
    let before = whatsapp.requests();
    for event in ["PAUSED", "APPROVED", "PAUSED"] {
        scheduler.report_template(event).await;
    }
    scheduler.wait_for_template("oferta", "status", "PAUSED").await;
    let soon = testkit::wait_for(PATIENCE, "it to be read sooner", async || {
        let wait = wait(&scheduler.account_sync().await);
        (wait <= TimeDelta::minutes(1)).then_some(wait)
    })
    .await;
    assert!(soon > TimeDelta::seconds(59), "{soon}");
    assert_eq!(whatsapp.requests(), before);
}

/// A campaign that waits for approval waits for the text that it has: approval of another one is not meant.
#[tokio::test]
async fn a_version_that_was_replaced_before_its_approval_is_not_approved_by_the_newer_one() {
    let (whatsapp, url) = WhatsApp::start(10).await;
    let scheduler = scheduler(&url).await;
    scheduler.say("PENDING").await;
    let id = scheduler.draft().await;
    let wait = json!({"scheduled_at": later(), "if_unapproved": "wait"});
    scheduler
        .post(&format!("/v1/campaigns/{id}/schedule"), wait)
        .await
        .expect(200);
    let other = "Oi {{nome}}, de {{cidade}}!";
    whatsapp.list(&[listed("oferta", "PENDING", other)]);
    assert_eq!(scheduler.sync().await["written"], 1);
    let held = scheduler.wait_for_holds(&id, &["template"]).await;
    let reason = held["holds"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("version 2 replaced it"), "{reason}");

    whatsapp.list(&[listed("oferta", "APPROVED", other)]);
    scheduler.sync().await;
    let versions = scheduler.templates("oferta").await;
    let statuses: Vec<_> = versions.iter().map(|version| &version["status"]).collect();
    assert_eq!(statuses, ["APPROVED", "PENDING"]);
    scheduler.wait_for_holds(&id, &["template"]).await;

    // As the reason says: it goes on with the text that was approved.
    let newest = json!({"template": {"name": "oferta", "language": "pt_BR"}});
    let path = format!("/v1/campaigns/{id}");
    let edited = scheduler
        .ask("supervisor", Method::PATCH, &path, Some(newest))
        .await;
    assert_eq!(edited.expect(200)["holds"], json!([]));
}

/// A person who lifts a hold is overruled by a new word only.
#[tokio::test]
async fn a_word_holds_once_and_what_is_only_reviewed_goes_on() {
    let (whatsapp, url) = WhatsApp::start(10).await;
    let scheduler = scheduler(&url).await;
    let id = scheduler.sending().await;
    scheduler.report_template("PENDING").await;
    scheduler.wait_for_template("oferta", "status", "PENDING").await;
    scheduler.wait_for_holds(&id, &[]).await;

    scheduler.report_template("FLAGGED").await;
    scheduler.wait_for_holds(&id, &["quality"]).await;
    scheduler.report_of("oferta", "PAUSED", Some("FIRST")).await;
    scheduler.wait_for_holds(&id, &["quality", "template"]).await;
    let resume = format!("/v1/campaigns/{id}/resume");
    scheduler.post(&resume, json!({"kinds": ["template"]})).await;
    scheduler.wait_for_holds(&id, &["quality"]).await;

    scheduler.report_of("oferta", "PAUSED", Some("AGAIN")).await;
    scheduler
        .wait_for_template("oferta", "status_reason", "AGAIN")
        .await;
    whatsapp.list(&[listed("oferta", "PAUSED", OFFER)]);
    scheduler.sync().await;
    scheduler.wait_for_holds(&id, &["quality"]).await;
    scheduler.report_template("DISABLED").await;
    scheduler.wait_for_holds(&id, &["quality", "template"]).await;
}

/// A campaign that WhatsApp refuses as it is: neither an approval lifts that nor a resume that does not name it.
#[tokio::test]
async fn only_a_person_who_names_it_lifts_what_stopped_a_campaign() {
    let (_whatsapp, url) = WhatsApp::start(10).await;
    let scheduler = scheduler(&url).await;
    let id = scheduler.sending().await;
    scheduler
        .as_sender(&format!(
            "INSERT INTO campaign_holds (campaign, kind, reason, raised_by)
             VALUES ('{id}', 'stopped', '132001: Template does not exist', 'message-svc')"
        ))
        .await;
    scheduler.report_template("PAUSED").await;
    scheduler.wait_for_holds(&id, &["stopped", "template"]).await;
    scheduler.report_template("APPROVED").await;
    scheduler.wait_for_holds(&id, &["stopped"]).await;
    let resume = format!("/v1/campaigns/{id}/resume");
    let refused = scheduler.act(&resume).await.expect(409);
    assert_eq!(refused["holds"], json!(["stopped"]));
    scheduler.wait_for_holds(&id, &["stopped"]).await;
    scheduler.post(&resume, json!({"kinds": ["stopped"]})).await;
    scheduler.wait_for_holds(&id, &[]).await;
}
