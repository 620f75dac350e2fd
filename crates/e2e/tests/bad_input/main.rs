//! Bad input never breaks a service: whatever is sent to whatever listens, it is refused or taken, and said so.
#![expect(clippy::print_stdout, reason = "the seed of a run must be seen to repeat it")]

mod attacks;
mod barrage;
mod cloud_api;
mod endpoints;
mod fields;
mod nonsense;
mod schema;
mod slow;
mod wire;
