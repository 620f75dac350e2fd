//! Audience, feeding, rounds and the ledger.
//!
//! A lane is one business phone number, and among the replicas of this service one owns it at a time
//! (`fleet`). For each lane it owns, a replica runs
//!
//! - the *ledger* (`lane::ledger`): reads what the message services report and writes it to Postgres,
//! - the *keeper* (`lane::keeper`): walks the lane's campaigns again and again; opens them, applies what
//!   people decide, feeds, surveys, ends rounds, sweeps what was cancelled,
//! - for each campaign whose audience is not complete, a fetch from the ERP (`lane::audience`),
//! - when the lane's Redis was lost, the *rebuild* (`lane::rebuild`).
//!
//! Whatever the service writes about a lane carries the lease's epoch, in Postgres and in Redis, so an owner
//! that lost its lease without noticing can do nothing.

pub mod app;
pub mod config;

mod control;
mod customers;
mod fleet;
mod lane;
mod wishes;
