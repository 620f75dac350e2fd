//! The client against servers that misbehave, and the webhook reader against bodies that do.

#![allow(clippy::unwrap_used, missing_docs)] // A failed step is the test's failure.

mod client;
mod misbehaving_server;
mod webhook;
