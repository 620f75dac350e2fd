//! Takes, renders and sends messages; receives webhooks.
//!
//! The service keeps nothing of its own: Redis tells it what to send, and it tells Redis what became of
//! it. Replicas can come and go at any moment. For each lane (one business phone number) a replica runs
//!
//! - a `worker`: joins the lane, takes messages as it has hands free, and starts a send for each;
//! - the `send`s: check, render, write once, and turn the answer into steps (`classify`);
//! - a `settle`r: carries the steps out in batches, and keeps what it published until the ledger has it.
//!
//! A message is written to the wire at most once for each time it was taken, and only while the lane's
//! owner cannot have given it up; see `lease`. Beside the lanes, `webhooks` puts what WhatsApp reports
//! later onto the same outcomes.

pub mod app;
pub mod config;
pub mod opt_out_words;
pub mod webhook_reading;

mod allow_list;
mod breaker;
mod classify;
mod error_note;
mod flight;
mod kept;
mod lane;
mod lanes;
mod lease;
mod measures;
mod membership;
mod pacing;
mod progress;
mod render;
mod retry;
mod send;
mod service;
mod settle;
mod template_cache;
mod transport;
mod troubles;
mod webhook_outcomes;
mod webhook_sorting;
mod webhooks;
mod worker;
