//! The command.

use campaignctl::Cli;
use clap::Parser;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    campaignctl::run(Cli::parse()).await
}
