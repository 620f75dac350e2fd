//! The mock, in process, met by the engine's own client.

#![allow(clippy::unwrap_used)] // A failed step is the test's failure.

mod harness;
mod receiver;
mod sending;
mod webhooks;
