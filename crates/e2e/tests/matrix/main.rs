//! Every fault, one by one, while a campaign runs; then every recipient is compared.
//!
//! Without `MATRIX_SEED` the campaigns are small and the outages short, which is what the ordinary test run
//! has time for; `just matrix SEED` runs them in full.

mod crowds;
mod erp;
mod network;
mod poison;
mod postgres;
mod processes;
mod redis;
mod webhooks;
mod whatsapp;

use e2e::{Fault, Plan, Trial};
use std::time::Duration;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A campaign that meets one fault at a random moment.
async fn suffer(name: &str, plan: Plan, fault: impl FnOnce(&Trial) -> Fault) {
    let mut trial = Trial::start(name, plan).await;
    let fault = fault(&trial);
    trial.suffer(fault).await;
    trial.verdict().await;
}
