//! An ERP that fails, repeats itself, breaks off and changes while it is read.

use crate::seconds;
use e2e::{Fault, Plan, Trial};
use serde_json::{Value, json};

/// Small pages, so that the fault meets many.
fn plan() -> Plan {
    Plan {
        environment: vec![("ERP_PAGE_SIZE", "100".to_owned())],
        ..Plan::default()
    }
}

async fn suffer(name: &str, faults: Value) {
    let mut trial = Trial::prepare(name, plan()).await;
    trial.stack.schedule(&trial.campaign, None).await;
    Fault::Erp(faults, seconds(6)).happen(&mut trial.stack).await;
    trial.fault_is_over();
    trial.verdict().await;
}

#[tokio::test]
async fn erp_failing_while_paged() {
    let faults = json!({
        "server_error_share": 0.3, "rate_limited_share": 0.1,
        "rate_limited_with_retry_after_share": 0.1, "retry_after_s": 1,
    });
    suffer("erp_failing_while_paged", faults).await;
}

#[tokio::test]
async fn erp_repeating_pages() {
    suffer("erp_repeating_pages", json!({"repeated_page_share": 0.3})).await;
}

#[tokio::test]
async fn erp_breaking_off() {
    suffer("erp_breaking_off", json!({"truncated_share": 0.3})).await;
}

#[tokio::test]
async fn erp_forgetting_where_it_was() {
    suffer(
        "erp_forgetting_where_it_was",
        json!({"expired_cursor_share": 0.1}),
    )
    .await;
}

/// Customers opt out while the audience is fetched and sent to: each is told once, or is skipped.
#[tokio::test]
async fn erp_changing_while_paged() {
    let mut trial = Trial::start("erp_changing_while_paged", plan()).await;
    for customer in 0..trial.scaled(200, 60) {
        trial
            .stack
            .erp_opt_out(&format!("C{:08}", customer * 17 + 1))
            .await;
    }
    trial.fault_is_over();
    trial.verdict().await;
}
