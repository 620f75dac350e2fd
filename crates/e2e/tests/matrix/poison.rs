//! Entries that nobody can read, in every stream.

use crate::seconds;
use e2e::{Allowed, Plan, Trial};

#[tokio::test]
async fn an_unreadable_entry_in_every_stream() {
    let plan = Plan {
        allowed: Allowed {
            failures: true,
            ..Allowed::default()
        },
        ..Plan::default()
    };
    let mut trial = Trial::start("an_unreadable_entry_in_every_stream", plan).await;
    trial.reach(0.05).await;
    trial.stack.poison_next_message(&trial.campaign).await;
    let poisoned = trial.stack.poison_streams().await;
    trial.fault_is_over();
    testkit::wait_for_ok(seconds(20), "every entry to be set aside", async || {
        match trial.stack.dead_letters().await {
            letters if letters == poisoned => Ok(()),
            letters => Err(format!("{letters} of {poisoned} are dead letters")),
        }
    })
    .await;
    trial.verdict().await;
}
