//! The mock of the WhatsApp Cloud API, as a process.

use std::process::ExitCode;

use whatsapp_mock_svc::{Config, app};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    campaign_runtime::run::<Config, _, _>("whatsapp-mock-svc", env!("CARGO_PKG_VERSION"), app::run)
}
