//! A deterministic ERP for development and tests.
//!
//! It has any number of customers without holding one: each is a pure function of seed and position
//! ([`population`]). What people change lies in a bounded overlay above it ([`directory`]). It pages
//! ([`paging`]), misbehaves on demand ([`faults`]), remembers who was contacted ([`contacts`]) and tells
//! the engine what changed ([`events`]).

pub mod app;
pub mod config;
pub mod contacts;
pub mod cursor;
pub mod directory;
pub mod events;
pub mod faults;
mod http;
pub mod paging;
pub mod population;
