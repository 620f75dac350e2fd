//! Settings, each by flag or environment variable.

use crate::allow_list::AllowList;
use crate::opt_out_words::OptOutWords;
use crate::transport::{Simulate, Transport};
use campaign_runtime::{ConfigProblem, RuntimeArgs, SecretName, SecretSetting, ServiceConfig};
use campaign_streams::RedisConfig;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use whatsapp_api::settings::WhatsappSettings;
use whatsapp_api::{CloudApi, MarketingEndpoint};

campaign_runtime::secret!(
    /// Where Redis is: redis://user:password@host:port/ or rediss://
    pub RedisUrl: "REDIS_URL", "redis-url"
);
campaign_runtime::secret!(
    /// App secret that webhooks are signed with
    pub AppSecret: "WHATSAPP_APP_SECRET", "whatsapp-app-secret"
);
campaign_runtime::secret!(
    /// What Meta must say to verify the webhook's address
    pub VerifyToken: "WHATSAPP_VERIFY_TOKEN", "whatsapp-verify-token"
);

/// How messages leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TransportKind {
    /// Over HTTP, to the WhatsApp Cloud API or its mock
    CloudApi,
    /// Nowhere: acceptance is made up in the process
    Simulate,
}

/// Takes, renders and sends messages; receives webhooks
#[derive(Debug, clap::Parser)]
pub struct Config {
    #[command(flatten)]
    runtime: RuntimeArgs,

    #[command(flatten)]
    redis_url: SecretSetting<RedisUrl>,

    #[command(flatten)]
    whatsapp: WhatsappSettings,

    #[command(flatten)]
    app_secret: SecretSetting<AppSecret>,

    #[command(flatten)]
    verify_token: SecretSetting<VerifyToken>,

    /// Where templates of the category MARKETING go: off (as everything else, to /messages), or by the Marketing
    /// Messages API with the product policy CLOUD_API_FALLBACK or STRICT
    #[arg(long, env = "WHATSAPP_MARKETING_MESSAGES", default_value = "off")]
    whatsapp_marketing_messages: MarketingEndpoint,

    /// How messages leave
    #[arg(long, env = "TRANSPORT", value_enum, default_value_t = TransportKind::CloudApi)]
    transport: TransportKind,

    /// Simulated milliseconds until a message is accepted
    #[arg(long, env = "SIMULATE_LATENCY_MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    simulate_latency_ms: u64,

    /// Simulated percentage of messages that are refused for good
    #[arg(long, env = "SIMULATE_FAILURE_PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    simulate_failure_percent: u8,

    /// Repeats the simulation's chances: the same messages are refused
    #[arg(long, env = "SIMULATE_SEED", default_value_t = 1)]
    simulate_seed: u64,

    /// Most messages being sent at a time, over all lanes of this replica
    #[arg(long, env = "CONCURRENCY", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) concurrency: u32,

    /// The only phone numbers that are written to, separated by commas; empty for everyone
    #[arg(long, env = "ALLOWED_RECIPIENTS", default_value = "")]
    allowed_recipients: String,

    /// What a person writes to stop all messages, separated by commas; case, accents and punctuation around it do not matter
    #[arg(
        long,
        env = "OPT_OUT_WORDS",
        default_value = "SAIR,PARAR,PARE,STOP,CANCELAR,DESCADASTRAR,UNSUBSCRIBE"
    )]
    opt_out_words: String,

    /// Milliseconds from a request's start to the last byte of its answer; afterwards it is uncertain
    #[arg(long, env = "HTTP_TIMEOUT_MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10..=600_000))]
    http_timeout_ms: u64,

    /// Milliseconds for a connection, TLS included
    #[arg(long, env = "HTTP_CONNECT_TIMEOUT_MS", default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(10..=600_000))]
    http_connect_timeout_ms: u64,

    /// Milliseconds until a connection has taken the request, connecting included; later it is certainly not sent. As
    /// HTTP_TIMEOUT_MS if not given
    #[arg(long, env = "HTTP_REQUEST_WRITE_TIMEOUT_MS", value_parser = clap::value_parser!(u64).range(10..=600_000))]
    http_request_write_timeout_ms: Option<u64>,

    /// Milliseconds from then to the last byte of the answer; afterwards it is uncertain. As HTTP_TIMEOUT_MS if not
    /// given
    #[arg(long, env = "HTTP_ANSWER_TIMEOUT_MS", value_parser = clap::value_parser!(u64).range(10..=600_000))]
    http_answer_timeout_ms: Option<u64>,

    /// Milliseconds after which a message that was taken is no longer sent
    #[arg(long, env = "ENTRY_LEASE_MS", default_value_t = 15_000, value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    entry_lease_ms: u64,

    /// Milliseconds after which a message that was taken and never reported becomes uncertain (as sender-svc)
    #[arg(long, env = "RECLAIM_IDLE_MS", default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    reclaim_idle_ms: u64,

    /// Milliseconds that evidence of an uncertain message is waited for (as sender-svc)
    #[arg(long, env = "GRACE_MS", default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(10..=86_400_000))]
    grace_ms: u64,

    /// Milliseconds over which outcomes are gathered before they are written; longer, up to 50, where writing takes longer
    #[arg(long, env = "SETTLE_INTERVAL_MS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=1_000))]
    settle_interval_ms: u64,

    /// Most times a message is offered to WhatsApp in a round
    #[arg(long, env = "ATTEMPTS_MAX", default_value_t = 5, value_parser = clap::value_parser!(i32).range(1..=100))]
    pub(crate) attempts_max: i32,

    /// Most outcomes kept of a lane until the ledger has them; above it nothing is taken. About 400 bytes each
    #[arg(long, env = "KEPT_OUTCOMES_MAX", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) kept_outcomes_max: u32,

    /// Stands before every Redis key, so that several installations can share a server
    #[arg(long, env = "STREAM_PREFIX", default_value = "")]
    stream_prefix: String,
}

/// What proves that a webhook is Meta's.
pub(crate) struct WebhookSecrets {
    /// Without it no webhook is believed.
    pub(crate) app_secret: Option<SecretString>,
    /// Without it no address is verified.
    pub(crate) verify_token: Option<SecretString>,
}

impl Config {
    pub(crate) fn redis(&self) -> Result<RedisConfig, ConfigProblem> {
        let url = self.redis_url.required()?.expose_secret().to_owned();
        let mut redis = RedisConfig::new(url);
        redis.further_roots_pem = self.runtime.trusted_roots.pem()?;
        redis.prefix.clone_from(&self.stream_prefix);
        Ok(redis)
    }

    pub(crate) fn transport(&self) -> Result<Transport, ConfigProblem> {
        match self.transport {
            TransportKind::CloudApi => Ok(Transport::CloudApi(self.cloud_api()?)),
            TransportKind::Simulate => Ok(Transport::Simulate(Simulate::new(
                Duration::from_millis(self.simulate_latency_ms),
                self.simulate_failure_percent,
                self.simulate_seed,
            ))),
        }
    }

    fn cloud_api(&self) -> Result<CloudApi, ConfigProblem> {
        let mut client = self.whatsapp.client_config()?;
        client.further_roots_pem = self.runtime.trusted_roots.pem()?;
        client.request_timeout = Duration::from_millis(self.http_timeout_ms);
        client.connect_timeout = Duration::from_millis(self.http_connect_timeout_ms);
        client.write_timeout =
            Duration::from_millis(self.http_request_write_timeout_ms.unwrap_or(self.http_timeout_ms));
        client.answer_timeout =
            Duration::from_millis(self.http_answer_timeout_ms.unwrap_or(self.http_timeout_ms));
        client.marketing = self.whatsapp_marketing_messages;
        // Bytes that were not acknowledged by then never leave: under the grace, as the lease is.
        client.tcp_user_timeout = self.entry_lease();
        client.pool_max_idle = self.concurrency as usize;
        self.whatsapp.client(client)
    }

    /// Real messages need both secrets: without webhooks nobody would hear of an opt-out.
    pub(crate) fn webhook_secrets(&self) -> Result<WebhookSecrets, Vec<ConfigProblem>> {
        let (app_secret, verify_token) = match self.transport {
            TransportKind::CloudApi => (
                self.app_secret.required().map(Some),
                self.verify_token.required().map(Some),
            ),
            TransportKind::Simulate => (self.app_secret.resolve(), self.verify_token.resolve()),
        };
        match (app_secret, verify_token) {
            (Ok(app_secret), Ok(verify_token)) => Ok(WebhookSecrets {
                app_secret,
                verify_token,
            }),
            (app_secret, verify_token) => Err([app_secret.err(), verify_token.err()]
                .into_iter()
                .flatten()
                .collect()),
        }
    }

    pub(crate) fn allow_list(&self) -> Result<AllowList, ConfigProblem> {
        AllowList::parse(&self.allowed_recipients)
            .map_err(|wrong| ConfigProblem::new("ALLOWED_RECIPIENTS", wrong.found(), wrong.expected()))
    }

    pub(crate) fn opt_out_words(&self) -> OptOutWords {
        OptOutWords::parse(&self.opt_out_words)
    }

    pub(crate) fn entry_lease(&self) -> Duration {
        Duration::from_millis(self.entry_lease_ms)
    }

    pub(crate) fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    pub(crate) fn settle_interval(&self) -> Duration {
        Duration::from_millis(self.settle_interval_ms)
    }

    /// `HTTP timeout < entry lease < reclaim idle ≤ grace`: each time must be over before the next one, or a
    /// message could be sent that its lane's owner has already given up.
    /// The phases of a request lie within it, and connecting within the write.
    fn relation_problems(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        let mut within = |setting, given: Option<u64>, (larger, most): (&str, u64)| {
            if let Some(given) = given.filter(|given| *given > most) {
                let expected = format!("at most {larger} ({most})");
                problems.push(ConfigProblem::new(setting, given.to_string(), expected));
            }
        };
        let whole = ("HTTP_TIMEOUT_MS", self.http_timeout_ms);
        within(
            "HTTP_REQUEST_WRITE_TIMEOUT_MS",
            self.http_request_write_timeout_ms,
            whole,
        );
        within("HTTP_ANSWER_TIMEOUT_MS", self.http_answer_timeout_ms, whole);
        if let Some(write_ms) = self.http_request_write_timeout_ms {
            let connect_ms = Some(self.http_connect_timeout_ms);
            within(
                "HTTP_CONNECT_TIMEOUT_MS",
                connect_ms,
                ("HTTP_REQUEST_WRITE_TIMEOUT_MS", write_ms),
            );
        }
        let rising = [
            ("HTTP_TIMEOUT_MS", self.http_timeout_ms),
            ("ENTRY_LEASE_MS", self.entry_lease_ms),
            ("RECLAIM_IDLE_MS", self.reclaim_idle_ms),
            ("GRACE_MS", self.grace_ms),
        ];
        for pair in rising.windows(2) {
            let [(smaller, low), (larger, high)] = [pair[0], pair[1]];
            let equal_is_fine = larger == "GRACE_MS";
            if low > high || (low == high && !equal_is_fine) {
                let relation = if equal_is_fine { "at least" } else { "more than" };
                let expected = format!("{relation} {smaller} ({low})");
                problems.push(ConfigProblem::new(larger, high.to_string(), expected));
            }
        }
        problems
    }
}

impl ServiceConfig for Config {
    const DEFAULT_LISTEN_ADDR: &'static str = "0.0.0.0:8081";

    fn runtime(&self) -> &RuntimeArgs {
        &self.runtime
    }

    fn problems(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        match self.redis() {
            Err(problem) => problems.push(problem),
            // What is wrong with a URL is not repeated: it may hold a password.
            Ok(redis) if redis.check().is_err() => {
                problems.push(ConfigProblem::new(
                    RedisUrl::ENV,
                    "an address that cannot be read",
                    "redis://host:port/ or rediss://host:port/",
                ));
            }
            Ok(_) => {}
        }
        problems.extend(self.transport().err());
        problems.extend(self.webhook_secrets().err().unwrap_or_default());
        problems.extend(self.allow_list().err());
        if self.opt_out_words().is_empty() {
            problems.push(ConfigProblem::new(
                "OPT_OUT_WORDS",
                "no word",
                "at least one word",
            ));
        }
        problems.extend(self.relation_problems());
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use campaign_runtime::ParseFailure;

    fn problems(flags: &[&str]) -> Vec<String> {
        let args = ["message-svc", "--redis-url=redis://127.0.0.1:1/"]
            .iter()
            .chain(flags);
        match campaign_runtime::parse::<Config>("message-svc", "0", args.map(std::ffi::OsString::from)) {
            Ok(_) => Vec::new(),
            Err(ParseFailure::Problems(problems)) => problems,
            Err(ParseFailure::Answered(answer)) => panic!("{answer}"),
        }
    }

    #[test]
    fn the_defaults_are_valid_once_the_secrets_are_there() {
        let secrets = [
            "--whatsapp-access-token=t",
            "--whatsapp-app-secret=s",
            "--whatsapp-verify-token=v",
        ];
        assert_eq!(problems(&secrets), Vec::<String>::new());
        assert_eq!(problems(&["--transport=simulate"]), Vec::<String>::new());
    }

    #[test]
    fn single_numbers_and_the_marketing_endpoint_are_checked_at_start() {
        let secrets = [
            "--whatsapp-access-token=t",
            "--whatsapp-app-secret=s",
            "--whatsapp-verify-token=v",
        ];
        let with = |flags: &[&str]| problems(&[&secrets[..], flags].concat());
        let file = |text: &str| {
            let file = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(file.path(), text).expect("written");
            file
        };
        let good = file(
            r#"{"7": {"version": "v26.0", "access_token": "tell-no-one", "marketing_messages": "STRICT"}}"#,
        );
        let flag = format!("--whatsapp-numbers-file={}", good.path().display());
        assert_eq!(
            with(&[&flag, "--whatsapp-marketing-messages=CLOUD_API_FALLBACK"]),
            Vec::<String>::new()
        );
        for text in [
            r#"{"7": {"version": "26", "access_token": "tell-no-one"}}"#,
            r#"{"7": {"tell-no-one": "x"}}"#,
        ] {
            let wrong = file(text);
            let flag = format!("--whatsapp-numbers-file={}", wrong.path().display());
            let found = with(&[&flag]);
            assert_eq!(found.len(), 1, "{found:#?}");
            assert!(
                found[0].starts_with("WHATSAPP_NUMBERS_FILE:") && found[0].contains('7'),
                "{found:#?}"
            );
            assert!(!found[0].contains("tell-no-one"), "{found:#?}");
        }
        assert_eq!(with(&["--whatsapp-numbers-file=/no/such/file"]).len(), 1);
    }

    #[test]
    fn the_phases_of_a_request_lie_within_it() {
        let phases = |write: &str, answer: &str| {
            let (write, answer) = (
                format!("--http-request-write-timeout-ms={write}"),
                format!("--http-answer-timeout-ms={answer}"),
            );
            problems(&["--transport=simulate", "--http-timeout-ms=5000", &write, &answer])
        };
        assert_eq!(phases("3000", "5000"), Vec::<String>::new());
        for (write, answer, setting) in [
            ("5001", "5000", "HTTP_REQUEST_WRITE_TIMEOUT_MS"),
            ("5000", "5001", "HTTP_ANSWER_TIMEOUT_MS"),
            ("2999", "5000", "HTTP_CONNECT_TIMEOUT_MS"),
        ] {
            let found = phases(write, answer);
            assert_eq!(found.len(), 1, "{found:#?}");
            assert!(found[0].starts_with(setting), "{found:#?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let config = <Config as clap::Parser>::parse_from([
            "message-svc",
            "--redis-url=redis://u:tell-no-one@h/",
            "--whatsapp-access-token=tell-no-one",
            "--whatsapp-app-secret=tell-no-one",
            "--whatsapp-verify-token=tell-no-one",
        ]);
        for shown in [format!("{config:?}"), format!("{:?}", config.redis())] {
            assert!(!shown.contains("tell-no-one"), "{shown}");
        }
    }

    #[test]
    fn each_broken_relation_and_every_other_problem_is_listed() {
        let found = problems(&[
            "--http-timeout-ms=5000",
            "--entry-lease-ms=5000",
            "--reclaim-idle-ms=4000",
            "--grace-ms=3000",
            "--allowed-recipients=+55 31 98765-4321,nobody",
            "--whatsapp-base-url=ftp://x",
            "--whatsapp-access-token=t",
        ]);
        for setting in [
            "ENTRY_LEASE_MS",
            "RECLAIM_IDLE_MS",
            "GRACE_MS",
            "ALLOWED_RECIPIENTS",
            "WHATSAPP_BASE_URL",
            "WHATSAPP_APP_SECRET",
            "WHATSAPP_VERIFY_TOKEN",
        ] {
            assert!(
                found
                    .iter()
                    .any(|problem| problem.starts_with(&format!("{setting}:"))),
                "{setting} in {found:#?}"
            );
        }
        assert_eq!(found.len(), 7, "{found:#?}");
    }
}
