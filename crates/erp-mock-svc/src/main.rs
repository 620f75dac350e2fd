//! The process around the mock ERP.

use erp_mock_svc::{app, config::Config};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    campaign_runtime::run::<Config, _, _>("erp-mock-svc", env!("CARGO_PKG_VERSION"), app::run)
}
