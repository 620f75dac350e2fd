//! The mock's settings.

use campaign_runtime::{ConfigProblem, RuntimeArgs, SecretSetting, ServiceConfig};
use secrecy::ExposeSecret;

use crate::faults::FaultProfile;
use crate::mock::MockSettings;
use crate::numbers::MAX_THROUGHPUT;
use crate::webhooks::WebhookSettings;

campaign_runtime::secret!(
    /// The access token that may send
    pub AccessToken: "WHATSAPP_ACCESS_TOKEN", "whatsapp-access-token"
);
campaign_runtime::secret!(
    /// Signs the webhooks; without it they go unsigned
    pub AppSecret: "WHATSAPP_APP_SECRET", "whatsapp-app-secret"
);
campaign_runtime::secret!(
    /// Told to the webhook's endpoint when POST /mock/webhooks/verify asks it to verify itself
    pub VerifyToken: "WHATSAPP_VERIFY_TOKEN", "whatsapp-verify-token"
);

/// A faithful mock of the WhatsApp Cloud API, with faults on demand and an exact log of what it accepted
#[derive(Debug, clap::Parser)]
pub struct Config {
    /// The settings that every service has.
    #[command(flatten)]
    pub runtime: RuntimeArgs,

    /// The access token that may send.
    #[command(flatten)]
    pub access_token: SecretSetting<AccessToken>,

    /// Signs the webhooks.
    #[command(flatten)]
    pub app_secret: SecretSetting<AppSecret>,

    /// Verifies the webhooks' endpoint.
    #[command(flatten)]
    pub verify_token: SecretSetting<VerifyToken>,

    /// Where statuses are posted to, such as http://127.0.0.1:8081/webhooks/whatsapp; without it there
    /// are none until PUT /mock/webhooks gives one
    #[arg(long, env = "WEBHOOK_URL", hide_env_values = true)]
    pub webhook_url: Option<String>,

    /// Every answer waits this many milliseconds
    #[arg(long, env = "MOCK_LATENCY_MS", default_value_t = 20)]
    pub latency_ms: u64,

    /// And up to this many milliseconds more
    #[arg(long, env = "MOCK_JITTER_MS", default_value_t = 20)]
    pub jitter_ms: u64,

    /// Messages per second of a phone number, until PUT /mock/numbers/{id} says otherwise; 5% above it
    /// within any second are refused with 130429
    #[arg(long, env = "MOCK_THROUGHPUT", default_value_t = 1_000,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_THROUGHPUT)))]
    pub throughput: u32,

    /// Refuse what Meta refuses from the start: numbers and templates that were not set up (100, 132001),
    /// texts outside the 24-hour window (131047), more than 250 people a day (131048), bursts to one
    /// person (131056)
    #[arg(long = "strict", env = "MOCK_STRICT", default_value_t = false, action = clap::ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true")]
    pub is_strict: bool,

    /// Faults, as JSON: see PUT /mock/faults. For example {"hang":0.01,"errors":[{"code":131000,"share":0.05}]}
    #[arg(long, env = "MOCK_FAULTS", default_value = "{}")]
    pub faults: String,

    /// Delays and shares of the webhooks, as JSON: see PUT /mock/webhooks. For example
    /// {"read_share":0.6,"repeat_share":0.05,"shuffle":true}
    #[arg(long, env = "MOCK_WEBHOOKS", hide_env_values = true, default_value = "{}")]
    pub webhooks: String,

    /// Repeats every chance: the same messages meet the same faults
    #[arg(long, env = "MOCK_SEED", default_value_t = 1)]
    pub seed: u64,
}

impl ServiceConfig for Config {
    const DEFAULT_LISTEN_ADDR: &'static str = "0.0.0.0:8084";
    // Senders keep many connections open; each costs little here.
    const DEFAULT_MAX_CONNECTIONS: &'static str = "8192";
    // Longer than a send is made to hang on purpose: five minutes.
    const DEFAULT_REQUEST_TIMEOUT_MS: &'static str = "480000";

    fn runtime(&self) -> &RuntimeArgs {
        &self.runtime
    }

    fn problems(&self) -> Vec<ConfigProblem> {
        self.settings().err().unwrap_or_default()
    }
}

impl Config {
    /// The settings of the mock, or every problem with them.
    pub fn settings(&self) -> Result<MockSettings, Vec<ConfigProblem>> {
        let mut problems = Vec::new();
        let access_token = keep(self.access_token.required(), &mut problems);
        let app_secret = keep(self.app_secret.resolve(), &mut problems).flatten();
        let verify_token = keep(self.verify_token.resolve(), &mut problems).flatten();
        let further_roots = keep(self.further_roots(), &mut problems).unwrap_or_default();
        let faults = keep(self.fault_profile(), &mut problems);
        let webhooks = keep(self.webhook_settings(), &mut problems);

        for (setting, wrong) in [
            ("MOCK_FAULTS", faults.as_ref().map(FaultProfile::problems)),
            ("MOCK_WEBHOOKS", webhooks.as_ref().map(WebhookSettings::problems)),
        ] {
            for (field, found, expected) in wrong.into_iter().flatten() {
                let setting = match (&*field, &self.webhook_url) {
                    ("/url", Some(_)) => "WEBHOOK_URL",
                    _ => setting,
                };
                let found = format!("{field} {found}");
                problems.push(ConfigProblem::new(setting, found.trim(), expected));
            }
        }
        match (access_token, faults, webhooks) {
            (Some(access_token), Some(faults), Some(mut webhooks)) if problems.is_empty() => {
                webhooks.app_secret = app_secret.map(|secret| secret.expose_secret().into());
                Ok(MockSettings {
                    access_token,
                    verify_token,
                    further_roots,
                    seed: self.seed,
                    throughput: self.throughput,
                    is_strict: self.is_strict,
                    faults,
                    webhooks,
                })
            }
            _ => Err(problems),
        }
    }

    fn further_roots(&self) -> Result<Vec<reqwest::Certificate>, ConfigProblem> {
        let pem = self.runtime.trusted_roots.pem()?.unwrap_or_default();
        reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|error| ConfigProblem::new("TLS_CA_FILE", error.to_string(), "PEM certificates"))
    }

    fn fault_profile(&self) -> Result<FaultProfile, ConfigProblem> {
        let profile: FaultProfile = from_json("MOCK_FAULTS", &self.faults)?;
        Ok(FaultProfile {
            latency_ms: self.latency_ms,
            jitter_ms: self.jitter_ms,
            ..profile
        })
    }

    fn webhook_settings(&self) -> Result<WebhookSettings, ConfigProblem> {
        let settings: WebhookSettings = from_json("MOCK_WEBHOOKS", &self.webhooks)?;
        let url = self.webhook_url.clone().filter(|url| !url.is_empty());
        Ok(WebhookSettings {
            url: url.or(settings.url),
            app_secret: None,
            ..settings
        })
    }
}

fn keep<T>(result: Result<T, ConfigProblem>, problems: &mut Vec<ConfigProblem>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

fn from_json<T: serde::de::DeserializeOwned>(setting: &'static str, text: &str) -> Result<T, ConfigProblem> {
    serde_json::from_str(text)
        .map_err(|error| ConfigProblem::new(setting, error.to_string(), "a JSON object as --help describes"))
}

#[cfg(test)]
mod tests {
    use campaign_runtime::ParseFailure;

    use super::*;

    fn parse(flags: &[&str]) -> Result<Config, ParseFailure> {
        let args = ["mock"].iter().chain(flags).map(std::ffi::OsString::from);
        campaign_runtime::parse("whatsapp-mock-svc", "0", args)
    }

    #[test]
    fn latency_and_target_come_from_their_own_settings() {
        let config = parse(&[
            "--whatsapp-access-token=t",
            "--webhook-url=http://127.0.0.1:1/w",
            "--latency-ms=7",
            r#"--faults={"hang":0.5}"#,
            r#"--webhooks={"batch_size":9}"#,
        ]);
        let settings = config.expect("right").settings().expect("right");
        assert_eq!((settings.faults.latency_ms, settings.faults.hang), (7, 0.5));
        let webhooks = settings.webhooks;
        assert_eq!(
            (webhooks.url.as_deref(), webhooks.batch_size),
            (Some("http://127.0.0.1:1/w"), 9)
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        let config = parse(&[
            "--whatsapp-access-token=tell-no-one",
            "--whatsapp-app-secret=tell-no-one",
            "--whatsapp-verify-token=tell-no-one",
        ]);
        let config = config.expect("right");
        for shown in [format!("{config:?}"), format!("{:?}", config.settings())] {
            assert!(!shown.contains("tell-no-one"), "{shown}");
        }
    }

    #[test]
    fn every_problem_names_its_setting() {
        let failure = parse(&["--webhook-url=x", r#"--faults={"hang":2}"#, "--webhooks=[1"]);
        let Err(ParseFailure::Problems(problems)) = failure else {
            panic!("the configuration is wrong");
        };
        let settings: Vec<_> = problems
            .iter()
            .filter_map(|problem| problem.split(':').next())
            .collect();
        assert!(
            settings.contains(&"MOCK_FAULTS") && settings.contains(&"MOCK_WEBHOOKS"),
            "{problems:#?}"
        );
        let Err(ParseFailure::Problems(problems)) = parse(&["--whatsapp-access-token=t", "--webhook-url=x"])
        else {
            panic!("the configuration is wrong");
        };
        assert!(
            problems[0].starts_with("WEBHOOK_URL:") && problems.len() == 1,
            "{problems:#?}"
        );
    }
}
