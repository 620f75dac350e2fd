//! Many of everything at once.

use crate::seconds;
use chrono::{TimeDelta, Utc};
use e2e::{Allowed, Plan, Trial};
use serde_json::json;

#[tokio::test]
async fn fifty_campaigns_due_at_the_same_instant() {
    let plan = Plan {
        customers: (1_400, 700),
        rate: (1_000, 1_000),
        ..Plan::default().processes(2, 3, 2)
    };
    let trial = Trial::prepare("fifty_campaigns_due_at_the_same_instant", plan).await;
    let due = Utc::now() + TimeDelta::seconds(8);
    let when = json!({"scheduled_at": due.to_rfc3339()});
    let mut campaigns = vec![trial.campaign.clone()];
    let segment = json!({"segment": {"states": ["SP"]}});
    while campaigns.len() < 50 {
        campaigns.push(trial.stack.create(segment.clone()).await);
    }
    for campaign in &campaigns {
        trial.stack.schedule(campaign, Some(when.clone())).await;
    }
    for campaign in &campaigns {
        let report = trial.stack.finished(campaign, seconds(180)).await;
        let reckoning = trial.stack.reckon(campaign, report).await;
        reckoning.assert(Allowed::default());
    }
    trial.verdict().await;
}

#[tokio::test]
async fn twenty_messengers() {
    let mut trial = Trial::start("twenty_messengers", Plan::default().processes(1, 1, 20)).await;
    trial.reach(0.3).await;
    trial.fault_is_over();
    trial.verdict().await;
}
