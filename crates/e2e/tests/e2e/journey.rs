//! One campaign from its schedule to its read receipts.

use e2e::{Stack, StackOptions};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_campaign_of_5000_goes_from_schedule_to_read_receipts_exactly_once() {
    let stack = Stack::start(StackOptions {
        customers: 5_700,
        ..StackOptions::default()
    })
    .await;
    let id = stack.create(json!({})).await;
    stack.schedule(&id, None).await;
    let report = stack.finished(&id, Duration::from_secs(90)).await;
    report.assert_exactly_once();
    assert_eq!(report.total(), 5_700, "one row a customer");
    assert!(report.accepted() > 5_000, "{report:?}");
    assert!(
        report.count("read") > 0 && report.count("delivered") > 0,
        "receipts arrived: {report:?}"
    );
    assert_eq!(
        report.count("accepted") + report.count("sent"),
        0,
        "every receipt arrived: {report:?}"
    );
}

#[tokio::test]
async fn the_erp_hears_of_every_contact() {
    let stack = Stack::start(StackOptions {
        customers: 40,
        ..StackOptions::default()
    })
    .await;
    let id = stack.create(json!({})).await;
    stack.schedule(&id, None).await;
    let report = stack.finished(&id, Duration::from_secs(30)).await;
    report.assert_exactly_once();
    let recipients = stack
        .api(
            reqwest::Method::GET,
            &format!("/v1/campaigns/{id}/messages?state=read"),
            None,
        )
        .await;
    let customer = recipients["items"][0]["customer_id"]
        .as_str()
        .expect("somebody read it")
        .to_owned();
    testkit::wait_for(
        Duration::from_secs(10),
        "the ERP to hear of the contact",
        async || {
            let contacts = stack.erp_contacts(&customer).await;
            contacts.to_string().contains("read").then_some(())
        },
    )
    .await;
}
