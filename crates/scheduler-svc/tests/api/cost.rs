//! Prices, budgets, and what a campaign will cost.

use crate::harness::Scheduler;
use reqwest::Method;
use serde_json::{Value, json};

impl Scheduler {
    async fn put(&self, role: &str, path: &str, body: Value) -> crate::harness::Answer {
        self.ask(role, Method::PUT, path, Some(body)).await
    }
}

fn prices() -> Value {
    json!({"currency": "USD", "prices": [
        {"country": "+55", "category": "MARKETING", "price": "0.0625"},
        {"country": "*", "category": "MARKETING", "price": "0.1"},
    ]})
}

#[tokio::test]
async fn a_price_list_is_checked_and_replaced_whole() {
    let scheduler = Scheduler::start().await;
    scheduler.get("/v1/prices").await.expect(404);
    let wrong =
        json!({"currency": "usd", "prices": [{"country": "BR", "category": "marketing", "price": "0.1"}]});
    let refused = scheduler.put("admin", "/v1/prices", wrong).await;
    assert_eq!(
        refused.fields(422),
        ["/currency", "/prices/0/country", "/prices/0/category"]
    );
    let no_amount =
        json!({"currency": "USD", "prices": [{"country": "*", "category": "UTILITY", "price": "1,5"}]});
    assert_eq!(
        scheduler.put("admin", "/v1/prices", no_amount).await.fields(422),
        ["/prices/0/price"]
    );
    scheduler.put("admin", "/v1/prices", prices()).await.expect(200);
    let shown = scheduler.get("/v1/prices").await.expect(200);
    assert_eq!(
        shown["prices"],
        prices()["prices"]
            .as_array()
            .map(|list| {
                let mut list = list.clone();
                list[1]["price"] = json!("0.10");
                json!(list)
            })
            .unwrap()
    );
}

#[tokio::test]
async fn an_estimate_says_what_it_rests_on() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let id = scheduler.draft().await;
    let path = format!("/v1/campaigns/{id}/estimate");
    scheduler.get(&path).await.expect(409);
    scheduler.put("admin", "/v1/prices", prices()).await.expect(200);
    let shown = scheduler.get(&path).await.expect(200);
    // 12 customers, 3 of them without a city, which the mapping needs.
    assert_eq!(
        (
            &shown["messages"],
            &shown["amount"],
            &shown["at_most"],
            &shown["per_message"]
        ),
        (&json!(9), &json!("0.5625"), &json!("1.20"), &json!("0.0625")),
        "{shown}"
    );
    assert_eq!(
        shown["rests_on"],
        json!({"kind": "erp_count", "sample": 12, "sample_recipients": 9, "customers": 12})
    );
}

/// Who has no price costs nothing that is known, and the estimate says how many they are.
#[tokio::test]
async fn an_estimate_counts_apart_who_has_no_price() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let id = scheduler.draft().await;
    let elsewhere = json!({"currency": "USD", "prices": [
        {"country": "+1", "category": "MARKETING", "price": "0.025"},
        {"country": "*", "category": "UTILITY", "price": "0.01"},
    ]});
    scheduler.put("admin", "/v1/prices", elsewhere).await.expect(200);
    let shown = scheduler
        .get(&format!("/v1/campaigns/{id}/estimate"))
        .await
        .expect(200);
    assert_eq!(
        (&shown["sample_by_price"], &shown["amount"], &shown["at_most"]),
        (&json!({"unpriced": 9}), &json!("0.00"), &json!("0.30")),
        "{shown}"
    );
}

#[tokio::test]
async fn a_budget_needs_prices_and_holds_only_when_it_does_not_suffice() {
    let scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let id = scheduler.draft().await;
    let path = format!("/v1/campaigns/{id}/budget");
    scheduler
        .put("supervisor", &path, json!({"amount": "1.00"}))
        .await
        .expect(409);
    scheduler.put("admin", "/v1/prices", prices()).await.expect(200);
    let refused = scheduler
        .put("supervisor", &path, json!({"amount": "1,00"}))
        .await;
    assert_eq!(refused.fields(422), ["/amount"]);
    let set = scheduler
        .put("supervisor", &path, json!({"amount": "0.09"}))
        .await
        .expect(200);
    assert_eq!(
        (&set["budget"], &set["spent"], &set["currency"]),
        (&json!("0.09"), &json!("0.00"), &json!("USD"))
    );
    let campaign = format!("/v1/campaigns/{id}");
    let shown = scheduler.get(&campaign).await.expect(200);
    assert_eq!(shown["holds"][0]["kind"], "budget", "one message may cost 0.10");
    scheduler
        .put("supervisor", &path, json!({"amount": "0.10"}))
        .await
        .expect(200);
    let shown = scheduler.get(&campaign).await.expect(200);
    assert_eq!(
        (&shown["holds"], &shown["cost"]["budget"]),
        (&json!([]), &json!("0.10"))
    );
    scheduler
        .put("supervisor", &path, json!({"amount": null}))
        .await
        .expect(200);
    assert_eq!(
        scheduler.get(&campaign).await.expect(200)["cost"]["budget"],
        Value::Null
    );
}
