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

use std::time::Duration;

/// Where the issue of an outage is the outage, not its length.
const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
