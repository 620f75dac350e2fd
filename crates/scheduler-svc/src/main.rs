//! The scheduler's process.

use mimalloc::MiMalloc;
use scheduler_svc::{app, config::Config};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    campaign_runtime::run::<Config, _, _>("scheduler-svc", env!("CARGO_PKG_VERSION"), app::run)
}
