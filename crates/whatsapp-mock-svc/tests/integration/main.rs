//! The mock, in process, met by the engine's own client.

#![allow(clippy::unwrap_used)] // A failed step is the test's failure.

mod description;
mod harness;
mod management;
mod receiver;
mod sending;
mod strict;
mod webhooks;
