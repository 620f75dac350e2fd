//! A faithful mock of the WhatsApp Cloud API.
//!
//! It refuses what Meta refuses, limits what Meta limits, answers and reports as Meta does, and breaks in
//! every way that networks and servers do, on demand and repeatably. And it does what Meta cannot: it
//! tells tests exactly who got what, how often, and how fast.
//!
//! - `messages`: `POST /{version}/{phone_number_id}/messages`, after `check` has read it;
//! - [`mock`]: the decision about one message, from [`faults`], [`numbers`] and [`acceptances`];
//! - [`webhooks`]: statuses and messages of people on their way to the engine;
//! - `control`: `/mock`, where tests look and turn the knobs.

pub mod acceptances;
mod answer;
pub mod app;
mod callback;
mod check;
pub mod config;
mod control;
pub mod faults;
mod messages;
pub mod mock;
pub mod numbers;
mod randomness;
pub mod webhooks;
pub mod window;

pub use config::Config;
pub use faults::{ErrorFault, FaultProfile};
pub use mock::MockSettings;
pub use webhooks::{SigningSecret, WebhookSettings};
