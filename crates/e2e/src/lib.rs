//! The whole system for one test: the real binaries on a Redis and a Postgres of their own.
//!
//! [`Stack`] starts any number of each service and talks to them as a user would, over the REST API and the
//! mocks' control API. Failures panic with what was seen, since only tests use this.

mod report;
mod stack;

pub use report::Report;
pub use stack::{ACCESS_TOKEN, APP_SECRET, ERP_KEY, LANE, Ports, Servers, Stack, StackOptions, VERIFY_TOKEN};
