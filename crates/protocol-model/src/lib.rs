//! doc
mod action;
mod check;
mod draw;
mod env;
mod flaw;
mod ids;
mod ledger;
mod member;
mod owner;
mod postgres;
mod promise;
mod redis;
mod search;
mod whatsapp;
mod world;

pub use action::{Action, CampaignPlan, Case, Process, Task};
pub use flaw::Flaw;
pub use promise::{Promise, Violation};
pub use search::{Counterexample, replay, search};
pub use whatsapp::Wire;
