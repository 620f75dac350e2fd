//! Secrets in the configuration: from `X`, or from the file named in `X_FILE`.
//!
//! Container platforms mount secrets as files, developers export them; both reach a service by the
//! same setting. The value is never shown by `Debug`, by `--help`, or in a problem.

use std::{
    fmt,
    fs::File,
    io::Read,
    marker::PhantomData,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgMatches, Command};
use secrecy::{ExposeSecret, SecretString};

use crate::config::ConfigProblem;

/// No secret is larger; a file that is was named by mistake.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Names a secret setting. Implemented by [`secret!`](crate::secret), not by hand.
pub trait SecretName: 'static {
    /// The environment variable with the value, such as `ERP_API_KEY`.
    const ENV: &'static str;
    /// The environment variable with the name of a file: `ENV` and `_FILE`.
    const FILE_ENV: &'static str;
    /// The flag with the value, without dashes, such as `erp-api-key`.
    const FLAG: &'static str;
    /// The flag with the name of a file: `FLAG` and `-file`.
    const FILE_FLAG: &'static str;
    /// What `--help` says of it.
    const ABOUT: &'static str;
}

/// Declares the name of a secret, to be used as [`SecretSetting<Name>`](SecretSetting):
///
/// ```
/// campaign_runtime::secret!(
///     /// Bearer key of the ERP's API.
///     pub ErpApiKey: "ERP_API_KEY", "erp-api-key"
/// );
///
/// #[derive(clap::Parser)]
/// struct Config {
///     #[command(flatten)]
///     erp_api_key: campaign_runtime::SecretSetting<ErpApiKey>,
/// }
/// ```
#[macro_export]
macro_rules! secret {
    ($(#[doc = $about:literal])+ $visibility:vis $name:ident: $env:literal, $flag:literal) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug)]
        $visibility enum $name {}

        impl $crate::SecretName for $name {
            const ENV: &'static str = $env;
            const FILE_ENV: &'static str = concat!($env, "_FILE");
            const FLAG: &'static str = $flag;
            const FILE_FLAG: &'static str = concat!($flag, "-file");
            const ABOUT: &'static str = concat!($($about),+);
        }
    };
}

/// A secret as configured, to be flattened into a service's configuration.
///
/// [`resolve`](Self::resolve) gives the value, or `None` if it is set nowhere;
/// [`required`](Self::required) makes its absence a problem too. Setting a variable to nothing is
/// the same as not setting it, as Compose files do for what is optional.
pub struct SecretSetting<Name> {
    value: Option<SecretString>,
    file: Option<PathBuf>,
    name: PhantomData<fn() -> Name>,
}

impl<Name: SecretName> SecretSetting<Name> {
    /// A setting with this value, for tests.
    pub fn from_value(value: impl Into<String>) -> Self {
        Self {
            value: Some(value.into().into()),
            file: None,
            name: PhantomData,
        }
    }

    /// The value, without the newline at the end of a file; `None` if it is set nowhere.
    ///
    /// A problem if both ways are used, or the file cannot be read.
    pub fn resolve(&self) -> Result<Option<SecretString>, ConfigProblem> {
        let value = self
            .value
            .as_ref()
            .filter(|value| !value.expose_secret().is_empty());
        match (value, &self.file) {
            (None, None) => Ok(None),
            (Some(value), None) => Ok(Some(value.clone())),
            (None, Some(file)) => read_secret_file(file).map(Some).map_err(|wrong| ConfigProblem {
                setting: Name::FILE_ENV,
                found: format!("{} ({wrong})", file.display()),
                expected: "a readable text file with the secret alone".to_owned(),
            }),
            (Some(_), Some(file)) => Err(ConfigProblem {
                setting: Name::ENV,
                found: format!("a value and, in {}, the file {}", Name::FILE_ENV, file.display()),
                expected: "only one of the two".to_owned(),
            }),
        }
    }

    /// The value, or the problem that it is set nowhere or cannot be had.
    pub fn required(&self) -> Result<SecretString, ConfigProblem> {
        self.resolve()?.ok_or_else(|| ConfigProblem {
            setting: Name::ENV,
            found: "nothing".to_owned(),
            expected: format!("the secret, or the name of its file in {}", Name::FILE_ENV),
        })
    }
}

/// The secret in a file, without the newline at its end, or why it cannot be had. Says nothing of what it holds.
pub fn read_secret_file(path: &Path) -> Result<SecretString, String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(format!("larger than {MAX_SECRET_BYTES} bytes"));
    }
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err("empty".to_owned());
    }
    Ok(secret.into())
}

impl<Name> Clone for SecretSetting<Name> {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            file: self.file.clone(),
            name: PhantomData,
        }
    }
}

impl<Name: SecretName> fmt::Debug for SecretSetting<Name> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match (&self.value, &self.file) {
            (None, None) => "unset",
            (Some(_), None) => "a value",
            (None, Some(_)) => "a file",
            (Some(_), Some(_)) => "a value and a file",
        };
        write!(formatter, "{}({source})", Name::ENV)
    }
}

impl<Name: SecretName> clap::Args for SecretSetting<Name> {
    fn augment_args(command: Command) -> Command {
        command
            .arg(
                Arg::new(Name::ENV)
                    .long(Name::FLAG)
                    .env(Name::ENV)
                    .value_name("SECRET")
                    .hide_env_values(true)
                    .help(Name::ABOUT.trim()),
            )
            .arg(
                Arg::new(Name::FILE_ENV)
                    .long(Name::FILE_FLAG)
                    .env(Name::FILE_ENV)
                    .value_name("PATH")
                    .value_parser(clap::builder::OsStringValueParser::new())
                    .help(format!("File that holds {} instead", Name::ENV)),
            )
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<Name: SecretName> clap::FromArgMatches for SecretSetting<Name> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self {
            value: matches
                .get_one::<String>(Name::ENV)
                .map(|value| value.clone().into()),
            file: matches
                .get_one::<std::ffi::OsString>(Name::FILE_ENV)
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            name: PhantomData,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::Parser;

    use super::*;

    crate::secret!(
        /// Key of the test.
        TestKey: "RUNTIME_TEST_KEY", "test-key"
    );

    #[derive(Debug, Parser)]
    struct Config {
        #[command(flatten)]
        key: SecretSetting<TestKey>,
    }

    fn parse(args: &[&str]) -> SecretSetting<TestKey> {
        let args = ["service"].iter().chain(args);
        Config::try_parse_from(args).expect("the flags parse").key
    }

    fn file_with(content: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(content.as_bytes()).expect("it takes text");
        file
    }

    #[test]
    fn the_value_comes_from_the_setting_or_from_its_file_without_the_last_newline() {
        let value = parse(&["--test-key", "open sesame"]).required();
        assert_eq!(value.expect("it is set").expose_secret(), "open sesame");

        let file = file_with("from the file\r\n");
        let path = file.path().display().to_string();
        let value = parse(&["--test-key-file", &path]).required();
        assert_eq!(value.expect("it is set").expose_secret(), "from the file");
    }

    #[test]
    fn absence_is_a_problem_only_where_it_is_required() {
        assert!(parse(&[]).resolve().expect("no problem").is_none());
        assert!(parse(&["--test-key", ""]).resolve().expect("none").is_none());
        let problem = parse(&[]).required().expect_err("it is not set");
        assert_eq!(
            problem.to_string(),
            "RUNTIME_TEST_KEY: found nothing; \
             expected the secret, or the name of its file in RUNTIME_TEST_KEY_FILE"
        );
    }

    #[test]
    fn both_ways_and_unreadable_files_are_problems_that_name_the_file() {
        let file = file_with("secret");
        let path = file.path().display().to_string();
        let both = parse(&["--test-key", "open sesame", "--test-key-file", &path]);
        let problem = both.resolve().expect_err("two sources").to_string();
        assert!(problem.contains(&path) && !problem.contains("open sesame"));

        let missing = parse(&["--test-key-file", "/nowhere/at/all"]);
        let problem = missing.resolve().expect_err("no such file");
        assert_eq!(problem.setting, "RUNTIME_TEST_KEY_FILE");
        assert!(problem.found.starts_with("/nowhere/at/all"));

        let too_large = file_with(&"x".repeat(MAX_SECRET_BYTES as usize + 1));
        let path = too_large.path().display().to_string();
        assert!(parse(&["--test-key-file", &path]).resolve().is_err());
    }

    #[test]
    fn debug_and_help_do_not_show_the_value() {
        let shown = format!("{:?}", parse(&["--test-key", "open sesame"]));
        assert_eq!(shown, "RUNTIME_TEST_KEY(a value)");
        let help = <Config as clap::CommandFactory>::command()
            .render_long_help()
            .to_string();
        assert!(help.contains("[env: RUNTIME_TEST_KEY]"), "{help}");
        assert!(help.contains("Key of the test."), "{help}");
        assert!(help.contains("RUNTIME_TEST_KEY_FILE"), "{help}");
    }
}
