//! Bad input never breaks a service: whatever is sent to whatever listens, it is refused or taken, and said so.

mod attacks;
mod barrage;
mod endpoints;
mod fields;
mod nonsense;
mod schema;
mod slow;
mod wire;
