//! A faithful mock of the WhatsApp Cloud API.
//!
//! It refuses what Meta refuses, limits what Meta limits, answers and reports as Meta does, and breaks in
//! every way that networks and servers do, on demand and repeatably. And it does what Meta cannot: it
//! tells tests exactly who got what, how often, and how fast.
//!
//! - `graph`: what Meta answers, over HTTP: messages, templates, phone numbers;
//! - `request` and `check`: what a message looks like, and what is wrong with it by itself;
//! - [`templates`] and [`accounts`]: what there is to send, and for whom;
//! - [`mock`]: the decision about one message, from all of these and [`faults`], [`numbers`], [`limits`]
//!   and [`acceptances`];
//! - [`webhooks`]: statuses and messages of people on their way to the engine;
//! - `control`: `/mock`, where tests look and turn the knobs; `openapi`: the description of it all.
//!
//! By default it takes any number and any template, as tests want it. `MOCK_STRICT` makes it as strict as
//! Meta from the start; an account becomes strict about templates when its first one is registered.

pub mod acceptances;
pub mod accounts;
mod answer;
pub mod app;
mod callback;
mod check;
pub mod config;
mod control;
pub mod faults;
mod graph;
pub mod limits;
pub mod mock;
pub mod numbers;
mod openapi;
mod person;
mod pricing;
mod randomness;
mod request;
pub mod templates;
pub mod webhooks;
pub mod window;
mod windows;

pub use config::Config;
pub use faults::{ErrorFault, FaultProfile};
pub use mock::MockSettings;
pub use webhooks::{SigningSecret, WebhookSettings};
