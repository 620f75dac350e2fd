//! The process around the message service.

use message_svc::{app, config::Config};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    campaign_runtime::run::<Config, _, _>("message-svc", env!("CARGO_PKG_VERSION"), app::run)
}
