//! The whole system, from a scheduled campaign to read receipts.

mod account_news;
mod crowd;
mod decisions;
mod journey;
mod least_rights;
mod memory;
mod opt_out;
mod rate;
mod replay;
mod secrets;
mod start;
mod tls;
