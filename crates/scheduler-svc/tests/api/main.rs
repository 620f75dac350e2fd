//! The scheduler as a whole: the real service on real Postgres and Redis, asked over HTTP.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::similar_names,
    reason = "path and patch, scheduler and scheduled are the words of this API"
)]

mod campaigns;
mod cost;
mod harness;
mod inputs;
mod lifecycle;
mod reports;
mod roles;
mod template_news;
mod template_sync;
mod ticks;
mod whatsapp;
mod whatsapp_mock;
