//! A service from its first line to its exit code.

use std::{
    env,
    io::{self, Write},
    panic::{self, AssertUnwindSafe},
    pin::pin,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, anyhow};
use futures::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    config::{self, ParseFailure, RuntimeArgs, ServiceConfig},
    descriptors, healthcheck,
    layers::panic_text,
    metrics,
    runtime::{HARD_STOP_GRACE, Runtime, listen},
    shutdown::Shutdown,
    telemetry::Telemetry,
};

/// The exit code of a wrong configuration, as clap's own for a wrong command line.
const EXIT_CONFIGURATION: u8 = 2;
/// How long threads that block may go on after everything else has ended.
const THREADS_GRACE: Duration = Duration::from_secs(1);

/// Runs a service: reads its configuration, installs logs, traces and metrics, listens, calls `body`,
/// stops it on SIGTERM or SIGINT, and says by the exit code how it went.
///
/// The exit code is 0 if all went well, 1 after a failure (which is logged), 2 if the configuration is
/// wrong (every problem is on standard error). The first signal begins the soft stop, a second one or
/// the deadline the hard one. `--check-config` and `--healthcheck` do only that and exit.
pub fn run<C, F, Fut>(service: &'static str, version: &'static str, body: F) -> ExitCode
where
    C: ServiceConfig,
    F: FnOnce(C, Runtime) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    // First of all: checking the settings may build clients.
    install_tls_provider();
    let config = match config::parse::<C>(service, version, env::args_os()) {
        Ok(config) => config,
        Err(failure) => return report(service, &failure),
    };
    if config.runtime().check_config {
        say(&mut io::stdout(), "configuration is valid");
        return ExitCode::SUCCESS;
    }
    if config.runtime().healthcheck {
        return check_health(config.runtime());
    }
    match start(service, version, config, body) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Also in plain words: the logs may be what could not be installed.
            say(&mut io::stderr(), &format!("{service} failed: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn report(service: &str, failure: &ParseFailure) -> ExitCode {
    match failure {
        ParseFailure::Answered(answer) => {
            // Nobody is left to tell if the terminal is gone.
            let _ = answer.print();
            u8::try_from(answer.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        ParseFailure::Problems(problems) => {
            let list = problems.join("\n  ");
            say(
                &mut io::stderr(),
                &format!("{service}: the configuration is wrong:\n  {list}"),
            );
            ExitCode::from(EXIT_CONFIGURATION)
        }
    }
}

fn check_health(args: &RuntimeArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime
        .context("cannot start the asynchronous runtime")
        .and_then(|runtime| runtime.block_on(healthcheck::ask_readiness(args.listen_addr)));
    match outcome {
        Ok(()) => {
            say(&mut io::stdout(), "ready");
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&mut io::stderr(), &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start<C, F, Fut>(service: &'static str, version: &'static str, config: C, body: F) -> anyhow::Result<()>
where
    C: ServiceConfig,
    F: FnOnce(C, Runtime) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let telemetry = Telemetry::install(service, version, config.runtime())?;
    log_panics();
    metrics::install_recorder();
    descriptors::raise_limit(config.runtime().http.limits().connections);
    ::metrics::gauge!("service_info", "service" => service, "version" => version).set(1.0);

    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.runtime().worker_threads {
        builder.worker_threads(threads.into());
    }
    let outcome = builder
        .enable_all()
        .thread_name(service)
        .build()
        .context("cannot start the asynchronous runtime")
        .and_then(|runtime| {
            tracing::info!(service, version, "starting");
            let outcome = runtime.block_on(live(config, body));
            runtime.shutdown_timeout(THREADS_GRACE);
            outcome
        });
    match &outcome {
        Ok(()) => tracing::info!(service, "stopped"),
        Err(error) => tracing::error!(service, error = format!("{error:#}"), "failed"),
    }
    telemetry.flush();
    outcome
}

/// Makes ring the process's provider of cryptography for TLS, unless there is one already.
///
/// [`run`] does it first of all: HTTP, Redis and Postgres clients are built without a provider of their
/// own and look for the process's. A program that does not use `run` calls this before any of them.
pub fn install_tls_provider() {
    // An error means that one is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// From listening to the end of the last task.
async fn live<C, F, Fut>(config: C, body: F) -> anyhow::Result<()>
where
    C: ServiceConfig,
    F: FnOnce(C, Runtime) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let shutdown = Shutdown::new(config.runtime().shutdown_deadline());
    let signals = Signals::new().context("cannot listen for signals")?;
    let _signals = AbortOnDropHandle::new(tokio::spawn(signals.watch(shutdown.clone())));
    let _enforcer = AbortOnDropHandle::new(tokio::spawn(shutdown.clone().enforce_deadline()));

    let listener = listen(config.runtime().listen_addr).await?;
    let runtime = Runtime::new(listener, config.runtime().http.limits(), shutdown.clone())?;
    let spawner = runtime.spawner();

    let body = async { body(config, runtime).await };
    let body = pin!(AssertUnwindSafe(body).catch_unwind());
    let given_up = async {
        shutdown.stopping_now().await;
        tokio::time::sleep(HARD_STOP_GRACE * 2).await;
    };
    let outcome = tokio::select! {
        outcome = body => outcome.unwrap_or_else(|panic| {
            Err(anyhow!("the service panicked: {}", panic_text(&*panic)))
        }),
        () = given_up => Err(anyhow!("the hard stop cut the service off")),
    };

    // However the body ended, its tasks end too; a task's failure explains more than what it led to.
    shutdown.stop();
    spawner.drain().await;
    match spawner.outcome(0) {
        Err(task_failure) if outcome.is_ok() => Err(task_failure),
        _ => outcome,
    }
}

/// The signals that stop a service: SIGTERM from orchestrators, SIGINT from terminals.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn watch(mut self, shutdown: Shutdown) {
        let signal = self.next().await;
        tracing::info!(signal, "stopping");
        shutdown.stop();
        let signal = self.next().await;
        tracing::warn!(signal, "a second signal: stopping now");
        shutdown.stop_now();
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// A panic is a log line like any other, so that collectors see it.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string);
        let panic = info.payload_as_str().unwrap_or("without a message");
        tracing::error!(location, panic, "panicked");
    }));
}

/// Writes a line for the person who started the program; nobody is left to tell if that fails.
fn say(to: &mut impl Write, line: &str) {
    let _ = writeln!(to, "{line}");
}
