//! How a service that calls WhatsApp is told where, and with whose right: the same settings for whoever sends and for
//! whoever reads templates and limits.

use crate::client::CloudApi;
use crate::client_config::{ClientConfig, ClientError};
use crate::numbers_file;
use campaign_runtime::{ConfigProblem, SecretName, SecretSetting};
use secrecy::SecretString;
use std::path::PathBuf;

const BASE_URL: &str = "WHATSAPP_BASE_URL";
const VERSION: &str = "WHATSAPP_API_VERSION";
const NUMBERS_FILE: &str = "WHATSAPP_NUMBERS_FILE";

campaign_runtime::secret!(
    /// Access token of the WhatsApp Cloud API, for every number that has none of its own
    pub AccessToken: "WHATSAPP_ACCESS_TOKEN", "whatsapp-access-token"
);

/// Where WhatsApp is and who asks, to be flattened into a service's configuration.
#[derive(Debug, Clone, clap::Args)]
pub struct WhatsappSettings {
    #[command(flatten)]
    access_token: SecretSetting<AccessToken>,

    /// Where the WhatsApp Cloud API is; the version comes after it
    #[arg(
        long,
        env = BASE_URL,
        hide_env_values = true,
        default_value = "http://127.0.0.1:8084"
    )]
    whatsapp_base_url: String,

    /// Version of the Graph API
    #[arg(long, env = VERSION, default_value = "v25.0")]
    whatsapp_api_version: String,

    /// JSON file of what differs for single numbers: phone_number_id to base_url, version, access_token or
    /// access_token_file, marketing_messages
    #[arg(long, env = NUMBERS_FILE, value_name = "PATH")]
    whatsapp_numbers_file: Option<PathBuf>,
}

impl WhatsappSettings {
    /// What a client is made from, for a service that cannot do without.
    ///
    /// # Errors
    /// There is no token, or the numbers' file cannot be read.
    pub fn client_config(&self) -> Result<ClientConfig, ConfigProblem> {
        self.with_token(self.access_token.required()?)
    }

    /// The same; `None` without a token, for a service that then leaves WhatsApp alone.
    ///
    /// # Errors
    /// The token or the numbers' file cannot be read, or the file is there and the token of all other numbers is not.
    pub fn client_config_if_any(&self) -> Result<Option<ClientConfig>, ConfigProblem> {
        match (self.access_token.resolve()?, &self.whatsapp_numbers_file) {
            (Some(token), _) => self.with_token(token).map(Some),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(ConfigProblem::new(
                AccessToken::ENV,
                format!("nothing beside {NUMBERS_FILE}"),
                "the token of every number that the file does not name",
            )),
        }
    }

    fn with_token(&self, token: SecretString) -> Result<ClientConfig, ConfigProblem> {
        let mut config = ClientConfig::new(&self.whatsapp_base_url, &self.whatsapp_api_version, token);
        if let Some(file) = &self.whatsapp_numbers_file {
            config.numbers = numbers_file::read(file).map_err(|problem| {
                let found = format!("{} ({problem})", file.display());
                ConfigProblem::new(NUMBERS_FILE, found, "a readable JSON file of phone numbers")
            })?;
        }
        Ok(config)
    }

    /// The client; a problem names the setting that it comes from.
    ///
    /// # Errors
    /// A setting cannot be used.
    pub fn client(&self, config: ClientConfig) -> Result<CloudApi, ConfigProblem> {
        CloudApi::new(config).map_err(|error| {
            let (setting, expected) = match &error {
                ClientError::BaseUrl { .. } => (BASE_URL, "http(s)://host[:port]"),
                ClientError::Version(_) => (VERSION, "a version such as v25.0"),
                ClientError::AccessToken => (AccessToken::ENV, "a token of printable characters"),
                ClientError::Number { .. } => (NUMBERS_FILE, "what is right for all numbers, for this one"),
                ClientError::Http(_) => (BASE_URL, "a host with root certificates"),
            };
            let found = match (&error, &self.whatsapp_numbers_file) {
                (ClientError::Number { .. }, Some(file)) => format!("{} ({error})", file.display()),
                _ => error.to_string(),
            };
            ConfigProblem::new(setting, found, expected)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::fmt::Debug;

    #[derive(Debug, Parser)]
    struct Config {
        #[command(flatten)]
        whatsapp: WhatsappSettings,
    }

    fn settings(flags: &[&str]) -> WhatsappSettings {
        let flags = ["service"].iter().chain(flags);
        Config::try_parse_from(flags).expect("the flags parse").whatsapp
    }

    /// What is wrong with a file that says this, beside a token.
    fn problem(text: &str) -> (String, String) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let path = file.path().display().to_string();
        let flag = format!("--whatsapp-numbers-file={path}");
        let settings = settings(&["--whatsapp-access-token=all", &flag]);
        let client = settings
            .client_config()
            .and_then(|config| settings.client(config));
        (client.expect_err(text).to_string(), path)
    }

    fn shown(value: impl Debug) -> String {
        format!("{value:?}")
    }

    #[test]
    fn a_problem_names_the_file_and_the_number_and_no_value() {
        for text in [
            r#"{"7": {"version": "26", "access_token": "tell-no-one"}}"#,
            r#"{"7": {"base_url": "ftp://u:tell-no-one@h"}}"#,
            r#"{"7": {"access_token": "tell-no-one\n"}}"#,
            r#"{"7": {"tell-no-one": "x"}}"#,
        ] {
            let (problem, path) = problem(text);
            assert!(problem.starts_with("WHATSAPP_NUMBERS_FILE:"), "{problem}");
            let rest = problem.replacen(&path, "THE FILE", 1);
            assert!(rest.contains("THE FILE") && rest.contains('7'), "{problem}");
            assert!(!problem.contains("tell-no-one"), "{problem}");
        }
        let (problem, path) = problem("[]");
        assert!(problem.contains(&path), "{problem}");
    }

    #[test]
    fn without_a_token_there_is_no_client_and_a_file_of_numbers_is_not_enough() {
        let none = settings(&[]);
        assert!(none.client_config_if_any().expect("no problem").is_none());
        assert!(none.client_config().is_err());
        let file = settings(&["--whatsapp-numbers-file=/no/such/file"]);
        let problem = file.client_config_if_any().expect_err("no token").to_string();
        assert!(problem.starts_with("WHATSAPP_ACCESS_TOKEN:"), "{problem}");
        let both = settings(&[
            "--whatsapp-access-token=all",
            "--whatsapp-numbers-file=/no/such/file",
        ]);
        let problem = both.client_config_if_any().expect_err("no file").to_string();
        assert!(problem.contains("/no/such/file (No such file"), "{problem}");
    }

    #[test]
    fn neither_token_is_shown() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), r#"{"7": {"access_token": "tell-no-one"}}"#).expect("written");
        let flag = format!("--whatsapp-numbers-file={}", file.path().display());
        let settings = settings(&["--whatsapp-access-token=tell-no-one", &flag]);
        let config = settings.client_config().expect("a good configuration");
        let client = settings.client(config.clone()).expect("builds");
        for shown in [shown(&settings), shown(&config), shown(&client)] {
            assert!(!shown.contains("tell-no-one"), "{shown}");
        }
    }
}
