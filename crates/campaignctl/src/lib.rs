//! The command line: what people and scripts do with the engine's REST API, and the demo.
//!
//! - [`cli`](Cli): the flags, and the commands by resource.
//! - `api`: the client; problem details come back as they were written.
//! - `output`: tables for people, the API's own JSON for programs.
//! - `commands`: one module per resource, with its flags beside what they do.
//! - `progress`, `follow`: how a campaign is doing, and waiting for its end.
//! - `demo`: a whole campaign against the mocks, checked to the last recipient.
//! - `failure`: what can go wrong, and the exit code of each.

mod api;
mod cli;
mod commands;
mod demo;
mod failure;
mod follow;
mod output;
mod progress;

pub use cli::Cli;

use failure::Failure;
use output::Output;
use std::process::ExitCode;
use std::sync::OnceLock;
use uuid::Uuid;

/// What a command works with.
pub(crate) struct Context {
    /// The REST API.
    pub(crate) api: api::Client,
    /// PEM of whom TLS trusts besides the system's authorities.
    pub(crate) further_roots: Option<Vec<u8>>,
    /// Where answers go.
    pub(crate) output: Output,
    /// The campaign that is being followed, so that whoever interrupts is told that it goes on.
    pub(crate) followed: OnceLock<Uuid>,
}

/// Does what the command line says, prints the answer or what is wrong, and gives the exit code.
pub async fn run(cli: Cli) -> ExitCode {
    campaign_runtime::install_tls_provider();
    let cli::Settings { json, color, .. } = cli.settings;
    match answer(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(json, color.on_stderr());
            ExitCode::from(failure.code())
        }
    }
}

async fn answer(cli: Cli) -> Result<(), Failure> {
    let Cli { settings, command } = cli;
    let output = Output::stdout(settings.json, settings.color);
    // Whoever sets a shell up has no key yet.
    if let cli::Command::Completion { shell } = command {
        return output.text(&cli::completion(shell));
    }
    let key = settings
        .api_key
        .resolve()
        .map_err(|problem| Failure::Usage(problem.to_string()))?;
    let further_roots = settings
        .trusted_roots
        .pem()
        .map_err(|problem| Failure::Usage(problem.to_string()))?;
    let context = Context {
        api: api::Client::new(
            "the API",
            "API_URL",
            &settings.api_url,
            key,
            further_roots.as_deref(),
        )?,
        further_roots,
        output,
        followed: OnceLock::new(),
    };
    tokio::select! {
        result = commands::run(&context, command) => result,
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted { goes_on: context.followed.get().copied() }),
    }
}
