//! What an ERP says over HTTP, and the client that asks it.
//!
//! The engine needs one thing of an ERP: the customers of a segment, page by page, from
//! `GET /v1/customers`. [`wire`] is that contract, used by the client here and by the mock from the other
//! side; [`ErpClient`] keeps it politely: its own request rate, bounded attempts with backoff, and an error
//! ([`ErpError`]) that says whether asking again can help.

mod attempt;
mod client;
mod config;
mod error;
mod retry_after;
pub mod wire;

pub use client::ErpClient;
pub use config::{ErpConfig, InvalidErpConfig};
pub use error::ErpError;
pub use wire::{CustomerPage, ErpProblem};

#[cfg(test)]
mod tests;
