//! What every other test relies on: servers start, are private, break on command, and leave nothing behind.

mod fault_proxy;
mod ownership;
mod postgres;
mod redis_server;
mod service_process;
