//! Where and how to send, for all phone numbers and for single ones.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::send::ProductPolicy;

/// Whether templates of the category MARKETING go to the Marketing Messages API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MarketingEndpoint {
    /// No: to `/messages`, as everything else.
    #[default]
    Off,
    /// Yes; what it cannot take is sent as the Cloud API would.
    CloudApiFallback,
    /// Yes; what it cannot take is refused.
    Strict,
}

impl MarketingEndpoint {
    /// Every choice.
    pub const ALL: &'static [Self] = &[Self::Off, Self::CloudApiFallback, Self::Strict];

    /// How settings name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::CloudApiFallback => "CLOUD_API_FALLBACK",
            Self::Strict => "STRICT",
        }
    }

    /// What a message to the endpoint says; `None` if it does not go there.
    pub const fn policy(self) -> Option<ProductPolicy> {
        match self {
            Self::Off => None,
            Self::CloudApiFallback => Some(ProductPolicy::CloudApiFallback),
            Self::Strict => Some(ProductPolicy::Strict),
        }
    }
}

impl FromStr for MarketingEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut known = Self::ALL.iter();
        known
            .find(|endpoint| endpoint.as_str() == text)
            .copied()
            .ok_or_else(|| {
                let names: Vec<_> = Self::ALL.iter().map(|endpoint| endpoint.as_str()).collect();
                format!("marketing messages are one of {}", names.join(", "))
            })
    }
}

/// Where and how to send.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `https://graph.facebook.com`, or the mock.
    pub base_url: String,
    /// Graph API version, such as `v25.0`.
    pub version: String,
    /// Sent as `Authorization: Bearer …`; never shown.
    pub access_token: SecretString,
    /// Whether marketing has an endpoint of its own.
    pub marketing: MarketingEndpoint,
    /// What differs for single numbers, by `phone_number_id`.
    pub numbers: BTreeMap<String, NumberConfig>,
    /// PEM certificates of authorities that `https://` trusts besides the system's.
    pub further_roots_pem: Option<Vec<u8>>,
    /// From the call to the last byte of the answer. A message older than this is uncertain.
    pub request_timeout: Duration,
    /// TCP and TLS together.
    pub connect_timeout: Duration,
    /// From the call until a connection has the request, connecting included: what takes longer is certainly
    /// not sent.
    pub write_timeout: Duration,
    /// From then to the last byte of the answer: what takes longer is uncertain.
    pub answer_timeout: Duration,
    /// How long written bytes may stay unacknowledged before the kernel aborts the connection
    /// (`TCP_USER_TIMEOUT`): must be under the grace period, so that a message given up as uncertain
    /// cannot leave a socket's buffer afterwards.
    pub tcp_user_timeout: Duration,
    /// How long an idle connection is kept: must be under the server's keep-alive, or requests meet
    /// connections that are just being closed and end as uncertain for nothing.
    pub pool_idle_timeout: Duration,
    /// Idle connections kept; the number of concurrent sends is a good value.
    pub pool_max_idle: usize,
    /// Whether `HTTPS_PROXY` and its like are obeyed.
    pub system_proxy: bool,
}

/// What differs for one phone number; what is not given is as for all.
#[derive(Clone, Debug, Default)]
pub struct NumberConfig {
    /// As [`ClientConfig::base_url`].
    pub base_url: Option<String>,
    /// As [`ClientConfig::version`].
    pub version: Option<String>,
    /// As [`ClientConfig::access_token`].
    pub access_token: Option<SecretString>,
    /// As [`ClientConfig::marketing`].
    pub marketing: Option<MarketingEndpoint>,
}

impl ClientConfig {
    /// A configuration with the defaults that suit Meta's servers.
    pub fn new(base_url: impl Into<String>, version: impl Into<String>, access_token: SecretString) -> Self {
        Self {
            base_url: base_url.into(),
            version: version.into(),
            access_token,
            marketing: MarketingEndpoint::Off,
            numbers: BTreeMap::new(),
            further_roots_pem: None,
            request_timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(15),
            answer_timeout: Duration::from_secs(15),
            tcp_user_timeout: Duration::from_secs(15),
            pool_idle_timeout: Duration::from_secs(20),
            pool_max_idle: 256,
            system_proxy: true,
        }
    }
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The base URL is not one.
    #[error("the WhatsApp base URL {found:?} is not an http(s) URL without a query: {reason}")]
    BaseUrl {
        /// As configured, without credentials.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The version is not one.
    #[error("the WhatsApp API version {0:?} is not like v25.0")]
    Version(String),
    /// The token cannot stand in a header.
    #[error("the WhatsApp access token is empty or holds characters that no header can carry")]
    AccessToken,
    /// What is configured for one number is wrong.
    #[error("phone number {phone_number_id}: {error}")]
    Number {
        /// Which.
        phone_number_id: String,
        /// What is wrong.
        error: Box<Self>,
    },
    /// The HTTP client refused its settings (no root certificates, for instance).
    #[error("the HTTP client cannot be built: {0}")]
    Http(#[from] reqwest::Error),
}

/// Where one number's messages go, and with whose right.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// `{base}/{version}`, without a slash at the end.
    pub(crate) prefix: Url,
    /// Marked sensitive, so `Debug` does not show it.
    pub(crate) bearer: HeaderValue,
    pub(crate) marketing: MarketingEndpoint,
}

/// The way of every number: single ones, and all others.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    default: Route,
    numbers: BTreeMap<String, Route>,
}

impl Routes {
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, ClientError> {
        let default = Route {
            prefix: prefix(&config.base_url, &config.version)?,
            bearer: bearer(&config.access_token)?,
            marketing: config.marketing,
        };
        let number = |(id, number): (&String, &NumberConfig)| {
            let route = Route::of(number, config).map_err(|error| ClientError::Number {
                phone_number_id: id.clone(),
                error: Box::new(error),
            })?;
            Ok((id.clone(), route))
        };
        let numbers = config
            .numbers
            .iter()
            .map(number)
            .collect::<Result<_, ClientError>>()?;
        Ok(Self { default, numbers })
    }

    pub(crate) fn of(&self, phone_number_id: &str) -> &Route {
        self.numbers.get(phone_number_id).unwrap_or(&self.default)
    }

    /// Whether no server of any number speaks TLS.
    pub(crate) fn are_plain(&self) -> bool {
        let mut routes = self.numbers.values().chain([&self.default]);
        routes.all(|route| route.prefix.scheme() == "http")
    }
}

impl Route {
    fn of(number: &NumberConfig, config: &ClientConfig) -> Result<Self, ClientError> {
        let base_url = number.base_url.as_ref().unwrap_or(&config.base_url);
        let version = number.version.as_ref().unwrap_or(&config.version);
        Ok(Self {
            prefix: prefix(base_url, version)?,
            bearer: bearer(number.access_token.as_ref().unwrap_or(&config.access_token))?,
            marketing: number.marketing.unwrap_or(config.marketing),
        })
    }
}

pub(crate) fn prefix(base_url: &str, version: &str) -> Result<Url, ClientError> {
    let refuse = |reason: &str| ClientError::BaseUrl {
        // What stands before an @ may be a password.
        found: base_url.rsplit('@').next().unwrap_or_default().to_owned(),
        reason: reason.to_owned(),
    };
    let mut url = Url::parse(base_url).map_err(|error| refuse(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse("its scheme is neither http nor https"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it has a query or a fragment"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it has credentials"));
    }
    let number = version
        .strip_prefix('v')
        .and_then(|number| number.split_once('.'));
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !number.is_some_and(|(major, minor)| numeric(major) && numeric(minor)) {
        return Err(ClientError::Version(version.to_owned()));
    }
    let path = format!("{}/{version}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

fn bearer(token: &SecretString) -> Result<HeaderValue, ClientError> {
    let token = token.expose_secret();
    if token.trim().is_empty() {
        return Err(ClientError::AccessToken);
    }
    let bearer = HeaderValue::try_from(format!("Bearer {token}"));
    let mut bearer = bearer.map_err(|_| ClientError::AccessToken)?;
    bearer.set_sensitive(true);
    Ok(bearer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_keeps_a_path_and_refuses_what_is_no_base() {
        let prefix_of = |base| prefix(base, "v25.0").map(|url| url.to_string()).ok();
        assert_eq!(prefix_of("http://h:1"), Some("http://h:1/v25.0".into()));
        assert_eq!(prefix_of("http://h/mock/"), Some("http://h/mock/v25.0".into()));
        for base in ["", "h:1", "ftp://h", "http://h?x=1", "http://u:p@h"] {
            assert_eq!(prefix_of(base), None, "{base:?}");
        }
        let error = prefix("http://user:tell-no-one@h", "v25.0").expect_err("it has credentials");
        assert!(!error.to_string().contains("tell-no-one"), "{error}");
        for version in ["", "25.0", "v25", "v25.", "v25.0/x", "va.b"] {
            assert!(prefix("http://h", version).is_err(), "{version:?}");
        }
    }

    #[test]
    fn a_number_differs_in_what_it_says_and_is_named_in_its_problems() {
        let mut config = ClientConfig::new("http://h", "v25.0", "all".to_owned().into());
        let number = NumberConfig {
            version: Some("v26.0".to_owned()),
            access_token: Some("tell-no-one".to_owned().into()),
            marketing: Some(MarketingEndpoint::Strict),
            base_url: None,
        };
        config.numbers.insert("7".to_owned(), number);
        let routes = Routes::new(&config).expect("a good configuration");
        assert!(!format!("{routes:?}{config:?}").contains("tell-no-one"));
        let (seven, other) = (routes.of("7"), routes.of("8"));
        assert_eq!(
            (seven.prefix.as_str(), other.prefix.as_str()),
            ("http://h/v26.0", "http://h/v25.0")
        );
        assert_eq!(
            (seven.bearer.as_bytes(), other.bearer.as_bytes()),
            (&b"Bearer tell-no-one"[..], &b"Bearer all"[..])
        );
        assert_eq!(
            (seven.marketing, other.marketing),
            (MarketingEndpoint::Strict, MarketingEndpoint::Off)
        );
        let wrong = NumberConfig {
            base_url: Some("h".to_owned()),
            ..NumberConfig::default()
        };
        config.numbers.insert("9".to_owned(), wrong);
        let error = Routes::new(&config).expect_err("no URL").to_string();
        assert!(error.starts_with("phone number 9: "), "{error}");
    }
}
