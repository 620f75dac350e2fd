//! What WhatsApp reports about numbers, accounts and templates: from its signed webhook to the hold, and back.

use e2e::{LANE, Stack, StackOptions, WABA_ID};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::wait_for_ok;

const SOON: Duration = Duration::from_secs(20);
/// How long nothing may be sent once a hold has been applied.
const SILENCE: Duration = Duration::from_secs(1);
/// The account's other number.
const OTHER_LANE: &str = "106540352242923";
const REMINDER: &str = "/mock/accounts/102290129340398/templates/lembrete_fatura/pt_BR";

/// A system with a campaign under way that lasts for ten seconds, and longer while it is held.
struct UnderWay {
    stack: Stack,
    id: String,
}

impl UnderWay {
    async fn start() -> Self {
        let stack = start(1_500, 150).await;
        let id = stack.create(json!({})).await;
        stack.schedule(&id, None).await;
        stack.sent_at_least(&id, 20, SOON).await;
        Self { stack, id }
    }

    /// Waits until nothing is sent any more, and gives the holds that stand then.
    async fn stands_still(&self) -> Vec<Value> {
        let waiting = wait_for_ok(SOON, "the campaign to stand still", async || {
            let sent = self.stack.accepted_by_whatsapp(&self.id).await;
            tokio::time::sleep(SILENCE).await;
            match self.stack.accepted_by_whatsapp(&self.id).await - sent {
                0 => Ok(()),
                more => Err(format!("{more} more within {SILENCE:?}")),
            }
        });
        waiting.await;
        let campaign = self.stack.campaign(&self.id).await;
        assert_eq!(campaign["status"], "PAUSED", "{campaign}");
        campaign["holds"].as_array().expect("holds").clone()
    }

    /// The one hold that stands: of this kind, for this reason.
    async fn is_held(&self, kind: &str, reason: &str) {
        let holds = self.stands_still().await;
        assert_eq!(holds.len(), 1, "{holds:?}");
        assert_eq!(
            (&holds[0]["kind"], &holds[0]["raised_by"]),
            (&json!(kind), &json!("whatsapp")),
            "{holds:?}"
        );
        let given = holds[0]["reason"].as_str().expect("a reason");
        assert!(given.contains(reason), "{given}");
    }

    async fn goes_on(&self) {
        let sent = self.stack.accepted_by_whatsapp(&self.id).await;
        self.stack.sent_at_least(&self.id, sent + 20, SOON).await;
        assert_eq!(self.stack.campaign(&self.id).await["holds"], json!([]));
    }

    /// Everybody got one message, and nobody was failed by what happened meanwhile.
    async fn ends_well(self) {
        let report = self.stack.finished(&self.id, Duration::from_mins(2)).await;
        report.assert_exactly_once();
        assert_eq!(report.count("failed"), 0, "{report:?}");
        assert!(report.accepted() > 1_200, "{report:?}");
    }
}

/// A system whose numbers WhatsApp knows by the same display numbers.
async fn start(customers: u64, throughput_per_second: u32) -> Stack {
    let stack = Stack::start(StackOptions {
        customers,
        throughput_per_second,
        ..StackOptions::default()
    })
    .await;
    for (number, display) in [(LANE, "551130000001"), (OTHER_LANE, "551130000002")] {
        let settings = json!({"account_id": WABA_ID, "display_phone_number": display});
        let path = format!("/mock/numbers/{number}");
        stack.whatsapp(Method::PUT, &path, Some(settings)).await;
    }
    stack
}

/// Something changes at WhatsApp, and it says so with a webhook.
async fn reports(stack: &Stack, method: Method, path: &str, change: Value) {
    let told = stack.whatsapp(method, path, Some(change)).await;
    assert_eq!(told, json!({"told": true}), "{path}");
}

async fn quality(stack: &Stack, number: &str, event: &str) {
    let path = format!("/mock/numbers/{number}/quality");
    reports(stack, Method::POST, &path, json!({ "event": event })).await;
}

async fn account(stack: &Stack, change: Value) {
    let path = format!("/mock/accounts/{WABA_ID}/update");
    reports(stack, Method::POST, &path, change).await;
}

async fn template(stack: &Stack, status: &str) {
    reports(stack, Method::PUT, REMINDER, json!({ "status": status })).await;
}

/// Waits until the kinds of a number's holds are these.
async fn holds_of_number(stack: &Stack, number: &str, kinds: &[&str]) {
    let path = format!("/v1/phone-numbers/{number}");
    wait_for_ok(SOON, &format!("the holds {kinds:?} of {number}"), async || {
        let shown = stack.api(Method::GET, &path, None).await;
        let holds = shown["holds"].as_array().expect("holds");
        let standing: Vec<_> = holds.iter().map(|hold| &hold["kind"]).collect();
        if standing == kinds {
            Ok(())
        } else {
            Err(format!("{standing:?}"))
        }
    })
    .await;
}

#[tokio::test]
async fn falling_quality_holds_the_number_alone_until_it_is_better() {
    let run = UnderWay::start().await;
    // A lower limit is no reason to stop, and neither is the other number's trouble.
    quality(&run.stack, LANE, "DOWNGRADE").await;
    quality(&run.stack, OTHER_LANE, "FLAGGED").await;
    holds_of_number(&run.stack, OTHER_LANE, &["quality"]).await;
    run.goes_on().await;
    quality(&run.stack, LANE, "FLAGGED").await;
    holds_of_number(&run.stack, LANE, &["quality"]).await;
    run.is_held("quality", "low quality of the number: FLAGGED").await;
    quality(&run.stack, LANE, "UNFLAGGED").await;
    holds_of_number(&run.stack, LANE, &[]).await;
    run.goes_on().await;
    holds_of_number(&run.stack, OTHER_LANE, &["quality"]).await;
    run.ends_well().await;
}

#[tokio::test]
async fn a_restricted_account_holds_all_its_numbers_until_whatsapp_or_a_person_lifts_it() {
    let run = UnderWay::start().await;
    account(&run.stack, json!({"event": "ACCOUNT_RESTRICTION"})).await;
    holds_of_number(&run.stack, LANE, &["account"]).await;
    holds_of_number(&run.stack, OTHER_LANE, &["account"]).await;
    let reason = "ACCOUNT_RESTRICTION (RESTRICTED_BIZ_INITIATED_MESSAGING)";
    run.is_held("account", reason).await;
    // WhatsApp does not tell when a restriction ends: a person knows, and lifts it number by number.
    let resume = format!("/v1/phone-numbers/{LANE}/resume");
    run.stack
        .api(Method::POST, &resume, Some(json!({"kinds": ["account"]})))
        .await;
    run.goes_on().await;
    holds_of_number(&run.stack, OTHER_LANE, &["account"]).await;

    account(&run.stack, json!({"event": "DISABLED_UPDATE"})).await;
    holds_of_number(&run.stack, LANE, &["account"]).await;
    run.is_held("account", "DISABLED_UPDATE (DISABLE)").await;
    let reinstated = json!({"event": "DISABLED_UPDATE", "ban_state": "REINSTATE"});
    account(&run.stack, reinstated).await;
    holds_of_number(&run.stack, LANE, &[]).await;
    holds_of_number(&run.stack, OTHER_LANE, &[]).await;
    run.goes_on().await;
    run.ends_well().await;
}

#[tokio::test]
async fn a_disabled_template_holds_what_it_sends_until_it_is_approved_again() {
    let run = UnderWay::start().await;
    run.stack.register_reminder(true).await;
    template(&run.stack, "DISABLED").await;
    let has_kind = |campaign: &Value, kind: &str| {
        let holds = campaign["holds"].as_array().into_iter().flatten();
        holds.into_iter().any(|hold| hold["kind"] == kind)
    };
    run.stack
        .wait_until(&run.id, "the hold", SOON, |campaign| {
            has_kind(campaign, "template")
        })
        .await;
    let holds = run.stands_still().await;
    let reason = |kind: &str| {
        let hold = holds.iter().find(|hold| hold["kind"] == kind);
        hold.and_then(|hold| hold["reason"].as_str())
    };
    let told = reason("template").expect("the webhook's hold");
    assert!(told.contains("the template is DISABLED"), "{told}");
    // Who was refused before the webhook came stops the campaign too, and that is for a person.
    let refused = reason("stopped");
    assert!(
        refused.is_none_or(|reason| reason.starts_with("132016")),
        "{holds:?}"
    );
    assert_eq!(holds.len(), 1 + usize::from(refused.is_some()), "{holds:?}");

    template(&run.stack, "APPROVED").await;
    run.stack
        .wait_until(&run.id, "the hold to be lifted", SOON, |campaign| {
            !has_kind(campaign, "template")
        })
        .await;
    if refused.is_some() {
        let lift = json!({"kinds": ["stopped"]});
        let resume = format!("/v1/campaigns/{}/resume", run.id);
        run.stack.api(Method::POST, &resume, Some(lift)).await;
    }
    run.goes_on().await;
    run.ends_well().await;
}

#[tokio::test]
async fn a_campaign_that_waits_for_approval_goes_when_the_webhook_brings_it() {
    let stack = start(60, 1_000).await;
    stack.register_reminder(false).await;
    stack.api(Method::POST, "/v1/templates/sync", None).await;
    wait_for_ok(SOON, "the template to be under review", async || {
        let path = "/v1/templates?name=lembrete_fatura";
        let listed = stack.api(Method::GET, path, None).await;
        match &listed["items"][0]["status"] {
            status if status == "PENDING" => Ok(()),
            status => Err(status.to_string()),
        }
    })
    .await;
    let id = stack.create(json!({})).await;
    stack.schedule(&id, Some(json!({"if_unapproved": "wait"}))).await;
    let waits = stack
        .wait_until(&id, "the campaign to wait", SOON, |campaign| {
            campaign["status"] == "PAUSED" && campaign["stored_status"] != "SCHEDULED"
        })
        .await;
    assert_eq!(waits["holds"][0]["kind"], "template", "{waits}");
    assert_eq!(stack.accepted_by_whatsapp(&id).await, 0);
    // The next reading of the listing is minutes away: only the webhook can bring it.
    template(&stack, "APPROVED").await;
    let report = stack.finished(&id, SOON).await;
    report.assert_exactly_once();
    assert!(report.accepted() > 40, "{report:?}");
}
