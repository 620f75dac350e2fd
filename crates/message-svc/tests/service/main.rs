//! The service against a real Redis, with the test as the lane's owner and ledger.

#![allow(clippy::unwrap_used)] // A failed step is the test's failure.

mod cloud_api;
mod error_table;
mod harness;
mod lanes;
mod losses;
mod numbers;
mod pace;
mod rate;
mod webhook_load;
mod webhook_misfits;
mod webhook_wishes;
mod webhooks;
