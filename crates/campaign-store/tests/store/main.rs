//! The statements of this crate on a real Postgres.

mod cancelled;
mod decisions;
mod fixture;
mod lane_work;
mod lost_connections;
mod plans;
mod reporting;
mod rights;
mod sacrificed;
mod statements;
mod suppressed;
