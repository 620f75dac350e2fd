//! The command.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command that people run and read"
)]

use clap::Parser;
use migrate::config::Config;
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let config = Config::parse();
    match migrate::run(&config).await {
        Ok(outcome) => {
            println!("migrations applied: {:?}", outcome.applied);
            for role in outcome.roles {
                println!("role {role} has its rights");
            }
            if let Some(key) = outcome.shown_key {
                println!("the first admin key, shown this once: {key}");
            }
            if let (true, Some(path)) = (outcome.key_written, &config.admin_key_file) {
                println!("the first admin key is in {}", path.display());
            }
            if outcome.dev_data_created {
                println!("development data created");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("migrate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
