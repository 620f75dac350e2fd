//! The service against a real Redis, with the test as the lane's owner and ledger.

#![allow(clippy::unwrap_used)] // A failed step is the test's failure.

mod cloud_api;
mod harness;
mod lanes;
mod losses;
mod pace;
mod rate;
mod webhooks;
