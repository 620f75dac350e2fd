//! What the services say to each other: models, template rendering and queue contracts.
//!
//! This crate is pure. It knows neither tokio nor Redis, SQL or HTTP, takes time as a parameter, and
//! every rule in it is a table or a function that can be tested without starting anything.
//!
//! - [`ids`]: the names of things.
//! - [`campaign`], [`message`]: the two state machines, each one table.
//! - [`customer`], [`segment`]: who could be reached, and which of them.
//! - [`phone`], [`template`], [`variables`]: from a customer to the text that one person receives.
//! - [`audience`]: judges a customer by all of these: a recipient, or the reason why not.
//! - [`cost`]: prices, and what a message is counted with.
//! - [`contracts`]: every entry that travels through Redis.

pub mod audience;
pub mod campaign;
pub mod contracts;
pub mod cost;
pub mod customer;
pub mod ids;
pub mod message;
pub mod phone;
pub mod segment;
pub mod template;
pub mod variables;
