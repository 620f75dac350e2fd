//! A person opts out by WhatsApp, from a number in its old form, while the ERP is away; or at the counter, where
//! somebody writes it down.

use e2e::{ERP_KEY, LANE, Stack, StackOptions};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::wait_for;

const SOON: Duration = Duration::from_secs(30);

/// Writes to the business from a number as WhatsApp keeps those from before the ninth digit.
async fn says(stack: &Stack, phone: &str, content: Value) {
    let from = format!("{}{}", &phone[1..5], &phone[6..]);
    let person = json!({"phone_number_id": LANE, "from": from, "content": content});
    stack.whatsapp(Method::POST, "/mock/inbound", Some(person)).await;
}

async fn suppressed_is(stack: &Stack, phone: &str, wanted: bool) {
    wait_for(SOON, &format!("suppressed to be {wanted}"), async || {
        let listed = stack.api(Method::GET, "/v1/suppressions", None).await;
        let items = listed["items"].as_array().cloned().unwrap_or_default();
        (items.iter().any(|item| item["phone"] == phone) == wanted).then_some(())
    })
    .await;
}

async fn consent_is(stack: &Stack, customer: &str, wanted: bool) {
    let url = format!("{}/v1/customers/{customer}", stack.erp.base_url());
    wait_for(SOON, &format!("the ERP to have consent {wanted}"), async || {
        let asked = reqwest::Client::new().get(&url).bearer_auth(ERP_KEY).send().await;
        let customer: Value = asked.ok()?.json().await.ok()?;
        (customer["marketing_consent"] == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_word_from_an_old_number_stops_the_queued_message_and_reaches_the_erp_when_it_is_back() {
    let options = StackOptions {
        customers: 400,
        throughput_per_second: 20,
        ..StackOptions::default()
    };
    let mut stack = Stack::start(options).await;
    let id = stack.create(json!({})).await;
    stack.schedule(&id, None).await;
    stack.sent_at_least(&id, 5, SOON).await;
    stack
        .api(Method::POST, &format!("/v1/campaigns/{id}/pause"), None)
        .await;
    let path = format!("/v1/campaigns/{id}/messages?state=pending&limit=200");
    let pending = stack.api(Method::GET, &path, None).await;
    let recipient = pending["items"]
        .as_array()
        .and_then(|items| items.last())
        .cloned();
    let recipient = recipient.expect("somebody waits");
    let phone = recipient["phone"].as_str().expect("a phone");
    let customer = recipient["customer_id"].as_str().expect("an id");

    stack.erp.kill();
    let asked = Instant::now();
    says(&stack, phone, json!({"type": "text", "body": " Sair "})).await;
    suppressed_is(&stack, phone, true).await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    stack
        .api(Method::POST, &format!("/v1/campaigns/{id}/resume"), None)
        .await;
    let report = stack.finished(&id, Duration::from_mins(1)).await;
    report.assert_exactly_once();
    let skipped = stack
        .api(
            Method::GET,
            &format!("/v1/campaigns/{id}/messages?state=skipped&limit=200"),
            None,
        )
        .await;
    let of_person = skipped["items"]
        .as_array()
        .and_then(|items| items.iter().find(|item| item["phone"] == phone));
    assert_eq!(
        of_person.map(|row| &row["error_code"]),
        Some(&json!("opted_out")),
        "{skipped}"
    );

    stack.erp.restart().await;
    consent_is(&stack, customer, false).await;
    says(&stack, phone, json!({"type": "preference", "value": "resume"})).await;
    suppressed_is(&stack, phone, false).await;
    consent_is(&stack, customer, true).await;
}

/// Somebody who may be messaged, as the ERP has them.
async fn a_customer_who_agrees(stack: &Stack) -> (String, String) {
    let url = format!("{}/v1/customers?limit=50", stack.erp.base_url());
    let asked = reqwest::Client::new().get(url).bearer_auth(ERP_KEY).send().await;
    let page: Value = asked.expect("the ERP answers").json().await.expect("JSON");
    let customers = page["customers"].as_array().expect("customers");
    let agrees = |customer: &&Value| {
        let phone = customer["phone"].as_str().unwrap_or_default();
        customer["marketing_consent"] == true
            && phone.starts_with("+55")
            && phone.len() == "+5531987654321".len()
    };
    let customer = customers.iter().find(agrees).expect("somebody agrees");
    let text = |field: &str| customer[field].as_str().expect("a text").to_owned();
    (text("id"), text("phone"))
}

#[tokio::test]
async fn the_erp_hears_of_what_people_decide_by_the_api() {
    let stack = Stack::start(StackOptions {
        customers: 60,
        ..StackOptions::default()
    })
    .await;
    let (customer, phone) = a_customer_who_agrees(&stack).await;
    let body = json!({"phone": phone, "reason": "asked at the counter"});
    stack.api(Method::POST, "/v1/suppressions", Some(body)).await;
    consent_is(&stack, &customer, false).await;
    let path = format!("/v1/suppressions/{phone}");
    stack.api(Method::DELETE, &path, None).await;
    consent_is(&stack, &customer, true).await;
}
