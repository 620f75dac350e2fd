//! The mock as a service: over HTTP with the engine's own ERP client, and over a real Redis.

mod customers;
mod mock;
mod streams;
