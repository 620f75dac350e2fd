//! The whole system for one test: the real binaries on a Redis and a Postgres of their own.
//!
//! [`Stack`] starts any number of each service and talks to them as a user would, over the REST API and the
//! mocks' control API. A [`Fault`] breaks something and mends it; a [`Trial`] lets faults happen at random
//! moments of a campaign, then compares the ledger with what WhatsApp accepted, recipient by recipient
//! ([`Reckoning`]). Failures panic with what was seen, since only tests use this.

mod conversation;
mod environment;
mod fault;
mod leftovers;
mod ports;
mod reckoning;
mod report;
mod stack;
mod trial;
mod wires;

pub use fault::{Fault, Part};
pub use ports::Ports;
pub use reckoning::{Allowed, Pace, Reckoning};
pub use report::{ACCEPTED_STATES, Report};
pub use stack::{
    ACCESS_TOKEN, APP_SECRET, ERP_KEY, LANE, Servers, Stack, StackOptions, VERIFY_TOKEN, WABA_ID,
};
pub use trial::{GRACE, Plan, Trial, now_ms, say};
pub use wires::Wire;
