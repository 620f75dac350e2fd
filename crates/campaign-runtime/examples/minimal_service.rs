//! The smallest service: what a `main.rs` looks like, and what the process tests run.
//!
//! `--behaviour` makes it misbehave, to see what the runtime does about it.

use std::{process::ExitCode, time::Duration};

use axum::{Router, routing::get};
use campaign_runtime::{ConfigProblem, Runtime, RuntimeArgs, ServiceConfig};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Behaviour {
    /// Stops when told to.
    Good,
    /// Never says that it is ready.
    Unready,
    /// A task of it panics.
    Panic,
    /// A task of it never ends.
    Stuck,
}

/// A service that does nothing but live
#[derive(Debug, clap::Parser)]
struct Config {
    #[command(flatten)]
    runtime: RuntimeArgs,

    /// How it behaves
    #[arg(long, env = "MINIMAL_BEHAVIOUR", value_enum, default_value = "good")]
    behaviour: Behaviour,

    /// Milliseconds that `/slow` takes
    #[arg(long, env = "MINIMAL_SLOW_MS", default_value_t = 300)]
    slow_ms: u64,
}

impl ServiceConfig for Config {
    const DEFAULT_LISTEN_ADDR: &'static str = "127.0.0.1:8090";

    fn runtime(&self) -> &RuntimeArgs {
        &self.runtime
    }

    fn problems(&self) -> Vec<ConfigProblem> {
        let too_slow = self.slow_ms > 60_000;
        too_slow
            .then(|| {
                let found = self.slow_ms.to_string();
                ConfigProblem::new("MINIMAL_SLOW_MS", found, "at most 60000")
            })
            .into_iter()
            .collect()
    }
}

fn main() -> ExitCode {
    campaign_runtime::run::<Config, _, _>("minimal-service", env!("CARGO_PKG_VERSION"), live)
}

async fn live(config: Config, runtime: Runtime) -> anyhow::Result<()> {
    let behaviour = runtime.health.register("behaviour");
    match config.behaviour {
        Behaviour::Unready => behaviour.unready("told to be unready"),
        _ => behaviour.ready(),
    }
    match config.behaviour {
        Behaviour::Panic => {
            runtime.spawn("doomed", async { panic!("told to panic") });
        }
        Behaviour::Stuck => {
            runtime.spawn("stuck", std::future::pending());
        }
        Behaviour::Good | Behaviour::Unready => {}
    }
    let slow = Duration::from_millis(config.slow_ms);
    let router = Router::new().route(
        "/slow",
        get(move || async move {
            tokio::time::sleep(slow).await;
            "done\n"
        }),
    );
    runtime.serve(router).await
}
