//! The scheduler: the life of campaigns, from the draft to the moment they start, and the REST API.
//!
//! - [`app`] wires it together.
//! - `ticks` makes ticks and follows them; [`due`] is what a tick does.
//! - [`api`] is everything that people and programs ask for over HTTP.
//! - `templates` reads templates from WhatsApp, and `account_events` hears what it reports; both hold campaigns.
//! - `queue_metrics` shows what waits in the queues.
//! - `upkeep` is what has to be done now and then.
//!
//! It keeps nothing of its own: replicas share Postgres, and a lock on a row or an entry's id in Redis
//! decides who does what.

mod account_events;
pub mod api;
pub mod app;
pub mod config;
pub mod due;
mod limits;
mod queue_metrics;
pub mod streams;
mod templates;
mod ticks;
mod upkeep;
