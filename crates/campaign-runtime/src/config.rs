//! Configuration: flags and environment by one name, and every problem told at once.
//!
//! A service derives `clap::Parser` for its settings, flattens [`RuntimeArgs`] into them, and lists in
//! [`ServiceConfig::problems`] what a single value's type cannot say. A person who starts a service
//! with three wrong settings is told of three, not of one at a time.

use std::{collections::HashSet, ffi::OsString, fmt, net::SocketAddr, time::Duration};

use clap::{
    ArgAction, Command,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
};
use tracing_subscriber::EnvFilter;

use crate::{http_settings::HttpSettings, telemetry::TraceSettings, trusted_roots::TrustedRoots};

/// The longest shutdown deadline: orchestrators do not wait for more.
const MAX_SHUTDOWN_DEADLINE_MS: u64 = 10 * 60 * 1000;
/// More threads than any machine has cores are a slip of the pen.
const MAX_WORKER_THREADS: i64 = 1_024;

/// The configuration of a service.
pub trait ServiceConfig: clap::Parser {
    /// The address to listen on unless `LISTEN_ADDR` says otherwise, as `--help` shows it.
    const DEFAULT_LISTEN_ADDR: &'static str = "0.0.0.0:8080";

    /// `HTTP_MAX_CONNECTIONS` unless it is set.
    const DEFAULT_MAX_CONNECTIONS: &'static str = "1024";

    /// `HTTP_REQUEST_TIMEOUT_MS` unless it is set.
    const DEFAULT_REQUEST_TIMEOUT_MS: &'static str = "30000";

    /// The settings that every service has.
    fn runtime(&self) -> &RuntimeArgs;

    /// Every problem found, not the first. Those of [`RuntimeArgs`] are found without it.
    fn problems(&self) -> Vec<ConfigProblem>;
}

/// One thing wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// The environment variable at fault.
    pub setting: &'static str,
    /// What it says, or what is wrong with it. Never a secret.
    pub found: String,
    /// What would be right.
    pub expected: String,
}

impl ConfigProblem {
    /// A problem with `setting`.
    pub fn new(setting: &'static str, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            setting,
            found: found.into(),
            expected: expected.into(),
        }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            found,
            expected,
        } = self;
        write!(formatter, "{setting}: found {found}; expected {expected}")
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line, for log collectors.
    #[default]
    Json,
    /// For people at a terminal.
    Pretty,
}

/// The settings that every service has.
#[derive(Clone, Debug, clap::Args)]
pub struct RuntimeArgs {
    /// Address to listen on for HTTP
    #[arg(long, env = "LISTEN_ADDR", default_value = "0.0.0.0:8080")]
    pub listen_addr: SocketAddr,

    /// Format of the logs
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,

    /// What is logged: a level, or directives such as info,sender_svc=debug
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub rust_log: String,

    /// Milliseconds between SIGTERM and cutting off what is still running
    #[arg(long, env = "SHUTDOWN_DEADLINE_MS", default_value_t = 10_000,
          value_parser = clap::value_parser!(u64).range(1..=MAX_SHUTDOWN_DEADLINE_MS))]
    pub shutdown_deadline_ms: u64,

    /// Threads that run tasks; without it one for each core that the process may use. One is enough, and costs less,
    /// where several services share a few cores
    #[arg(long, env = "WORKER_THREADS", value_parser = clap::value_parser!(u16).range(1..=MAX_WORKER_THREADS))]
    pub worker_threads: Option<u16>,

    /// The bounds of the HTTP listener
    #[command(flatten)]
    pub http: HttpSettings,

    /// Whom TLS connections trust
    #[command(flatten)]
    pub trusted_roots: TrustedRoots,

    /// Where traces are exported to, and which
    #[command(flatten)]
    pub traces: TraceSettings,

    /// Check the configuration, say what is wrong with it, and exit
    #[arg(long, action = ArgAction::SetTrue)]
    pub check_config: bool,

    /// Ask the running service on LISTEN_ADDR whether it is ready, and exit
    #[arg(long, action = ArgAction::SetTrue)]
    pub healthcheck: bool,
}

impl RuntimeArgs {
    /// The time between the soft and the hard stop.
    pub fn shutdown_deadline(&self) -> Duration {
        Duration::from_millis(self.shutdown_deadline_ms)
    }

    /// Every problem with these settings that their types cannot say.
    pub fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems = self.traces.problems();
        problems.extend(self.http.problems());
        problems.extend(self.trusted_roots.pem().err());
        if let Err(error) = EnvFilter::builder().parse(&self.rust_log) {
            problems.push(ConfigProblem::new(
                "RUST_LOG",
                format!("`{}` ({error})", self.rust_log),
                "a level (error, warn, info, debug, trace) or directives `target=level`",
            ));
        }
        problems
    }
}

/// Why no configuration came out of the flags and the environment.
#[derive(Debug)]
pub enum ParseFailure {
    /// `--help` or `--version` was asked for, or the command line itself cannot be understood.
    /// The error prints itself and knows its exit code.
    Answered(clap::Error),
    /// Every problem with the settings, each as one line.
    Problems(Vec<String>),
}

/// Reads the configuration of `service` from `args` (with the program's name first) and the
/// environment, and checks it.
pub fn parse<C: ServiceConfig>(
    service: &'static str,
    version: &'static str,
    args: impl IntoIterator<Item = OsString>,
) -> Result<C, ParseFailure> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let mut command = C::command()
        .name(service)
        .version(version)
        .mut_arg("listen_addr", |arg| arg.default_value(C::DEFAULT_LISTEN_ADDR))
        .mut_arg("http_max_connections", |arg| {
            arg.default_value(C::DEFAULT_MAX_CONNECTIONS)
        })
        .mut_arg("http_request_timeout_ms", |arg| {
            arg.default_value(C::DEFAULT_REQUEST_TIMEOUT_MS)
        });
    let mut rejected = Vec::new();

    // clap stops at the first bad value. Each round notes what it stopped at and takes that value
    // away, so the rounds are bounded by the number of settings.
    let rounds = command.get_arguments().count() + 1;
    let mut parsed = None;
    for _ in 0..rounds {
        match command.clone().try_get_matches_from(&args) {
            Ok(matches) => {
                parsed = match C::from_arg_matches(&matches) {
                    Err(error) if rejected.is_empty() => {
                        return Err(ParseFailure::Answered(error));
                    }
                    outcome => outcome.ok(),
                };
                break;
            }
            Err(error) => {
                let found = Rejected::from_clap(&command, &error);
                if found.is_empty() {
                    return Err(ParseFailure::Answered(error));
                }
                for rejected in &found {
                    command = rejected.forget(command, &mut args);
                }
                rejected.extend(found);
            }
        }
    }

    let mut problems: Vec<String> = rejected.iter().map(ToString::to_string).collect();
    if let Some(config) = &parsed {
        problems.extend(
            config
                .runtime()
                .problems()
                .into_iter()
                .chain(config.problems())
                // A value taken away above would be missed here a second time.
                .filter(|problem| rejected.iter().all(|bad| bad.setting != problem.setting))
                .map(|problem| problem.to_string()),
        );
        // What several settings need is checked with each of them.
        let mut told = HashSet::new();
        problems.retain(|problem| told.insert(problem.clone()));
    }
    match parsed {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(ParseFailure::Problems(problems)),
    }
}

/// A setting whose value clap rejected, or missed.
struct Rejected {
    id: String,
    flag: Option<String>,
    setting: String,
    found: String,
    expected: String,
}

impl Rejected {
    /// What `error` says is wrong with the values; nothing if it is about something else.
    fn from_clap(command: &Command, error: &clap::Error) -> Vec<Self> {
        let expected = match error.kind() {
            ErrorKind::MissingRequiredArgument => "a value".to_owned(),
            ErrorKind::InvalidValue => match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(values)) if !values.is_empty() => {
                    format!("one of {}", values.join(", "))
                }
                _ => "a value".to_owned(),
            },
            ErrorKind::ValueValidation => std::error::Error::source(error).map_or_else(
                || "a valid value".to_owned(),
                |source| format!("another value: {source}"),
            ),
            _ => return Vec::new(),
        };
        let names = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(name)) => std::slice::from_ref(name),
            Some(ContextValue::Strings(names)) => names,
            _ => return Vec::new(),
        };
        let value = match error.get(ContextKind::InvalidValue) {
            Some(ContextValue::String(value)) if !value.is_empty() => Some(value),
            _ => None,
        };

        let mut command = command.clone();
        command.build();
        let arguments = command.get_arguments();
        arguments
            .filter(|arg| names.contains(&arg.to_string()))
            .map(|arg| Self {
                id: arg.get_id().to_string(),
                flag: arg.get_long().map(|long| format!("--{long}")),
                setting: arg
                    .get_env()
                    .map_or_else(|| arg.to_string(), |env| env.to_string_lossy().into_owned()),
                found: match value {
                    None => "nothing".to_owned(),
                    Some(_) if arg.is_hide_env_values_set() => "a hidden value".to_owned(),
                    Some(value) => format!("`{value}`"),
                },
                expected: expected.clone(),
            })
            .collect()
    }

    /// Takes the rejected value out of the command line and the environment's reach.
    fn forget(&self, command: Command, args: &mut Vec<OsString>) -> Command {
        if let Some(flag) = &self.flag {
            remove_flag(args, flag);
        }
        command.mut_arg(&self.id, |arg| arg.env(Resettable::Reset).required(false))
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting,
            found,
            expected,
            ..
        } = self;
        write!(formatter, "{setting}: found {found}; expected {expected}")
    }
}

/// Removes `--flag=value` and `--flag value` wherever they stand.
fn remove_flag(args: &mut Vec<OsString>, flag: &str) {
    let with_value = format!("{flag}=");
    let mut value_follows = false;
    args.retain(|arg| {
        if std::mem::take(&mut value_follows) {
            return false;
        }
        value_follows = arg == flag;
        !value_follows && !arg.to_string_lossy().starts_with(&with_value)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Config {
        #[command(flatten)]
        runtime: RuntimeArgs,
        /// Most requests at a time
        #[arg(long, env = "RUNTIME_TEST_CONCURRENCY", default_value_t = 8)]
        concurrency: u32,
        /// Requests per second
        #[arg(long, env = "RUNTIME_TEST_RATE", default_value_t = 100)]
        rate: u32,
    }

    impl ServiceConfig for Config {
        const DEFAULT_LISTEN_ADDR: &'static str = "127.0.0.1:8099";

        fn runtime(&self) -> &RuntimeArgs {
            &self.runtime
        }

        fn problems(&self) -> Vec<ConfigProblem> {
            let mut problems = Vec::new();
            if self.rate == 0 {
                problems.push(ConfigProblem::new("RUNTIME_TEST_RATE", "0", "at least 1"));
            }
            problems
        }
    }

    fn parse_flags(flags: &[&str]) -> Result<Config, ParseFailure> {
        let args = ["test-svc"].iter().chain(flags).map(OsString::from);
        parse::<Config>("test-svc", "1.2.3", args)
    }

    #[test]
    fn the_service_chooses_its_default_address() {
        let config = parse_flags(&[]).expect("the defaults are valid");
        assert_eq!(config.runtime.listen_addr.to_string(), "127.0.0.1:8099");
        assert_eq!(config.concurrency, 8);
        assert_eq!(config.runtime.shutdown_deadline(), Duration::from_secs(10));
    }

    #[test]
    fn every_problem_is_listed_of_whatever_kind() {
        let failure = parse_flags(&[
            "--listen-addr=here",
            "--concurrency",
            "many",
            "--log-format=xml",
            "--shutdown-deadline-ms=0",
            "--rust-log=sender_svc=loud",
            "--rate=0",
        ]);
        let Err(ParseFailure::Problems(problems)) = failure else {
            panic!("the configuration is wrong: {failure:?}");
        };
        let settings: Vec<&str> = problems
            .iter()
            .filter_map(|problem| problem.split(':').next())
            .collect();
        for setting in [
            "LISTEN_ADDR",
            "RUNTIME_TEST_CONCURRENCY",
            "LOG_FORMAT",
            "SHUTDOWN_DEADLINE_MS",
            "RUST_LOG",
            "RUNTIME_TEST_RATE",
        ] {
            assert!(settings.contains(&setting), "{setting} in {problems:#?}");
        }
        assert_eq!(settings.len(), 6, "{problems:#?}");
        assert!(
            problems.contains(&"LOG_FORMAT: found `xml`; expected one of json, pretty".to_owned()),
            "{problems:#?}"
        );
    }

    #[test]
    fn help_shows_each_setting_with_its_variable_and_default() {
        let Err(ParseFailure::Answered(answer)) = parse_flags(&["--help"]) else {
            panic!("help was asked for");
        };
        let help = answer.to_string();
        for shown in [
            "[env: LISTEN_ADDR=]",
            "127.0.0.1:8099",
            "[env: RUST_LOG=]",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "[env: HTTP_MAX_CONNECTIONS=]",
            "[env: HTTP_HEADER_TIMEOUT_MS=]",
            "[env: HTTP_BODY_TIMEOUT_MS=]",
            "[env: HTTP_REQUEST_TIMEOUT_MS=]",
            "[env: HTTP_WRITE_TIMEOUT_MS=]",
        ] {
            // The environment of whoever runs the tests may fill a value in.
            let shown = shown.trim_end_matches("=]");
            assert!(help.contains(shown), "{shown} in {help}");
        }
        let own = help.find("--concurrency").expect("the service's own setting");
        let traces = help.find("Traces:").expect("the heading");
        assert!(own < traces, "the heading is for traces alone: {help}");
    }

    #[test]
    fn the_listener_is_bounded_as_the_settings_say() {
        let config = parse_flags(&["--http-max-connections=7", "--http-write-timeout-ms=250"]);
        let limits = config.expect("valid").runtime.http.limits();
        assert_eq!((limits.connections, limits.write_timeout.as_millis()), (7, 250));
        let problems = parse_flags(&["--http-body-timeout-ms=5", "--http-request-timeout-ms=5"]);
        let Err(ParseFailure::Problems(problems)) = problems else {
            panic!("a body has less time than its request: {problems:?}");
        };
        assert!(
            problems[0].starts_with("HTTP_BODY_TIMEOUT_MS: found 5"),
            "{problems:?}"
        );
    }

    #[test]
    fn an_unknown_flag_is_answered_by_clap() {
        assert!(matches!(
            parse_flags(&["--no-such-flag"]),
            Err(ParseFailure::Answered(_))
        ));
    }
}
