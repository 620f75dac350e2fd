//! What the engine requires of a Redis, checked when a service starts.

use crate::{Result, Streams, StreamsError};
use std::collections::HashMap;
use std::time::Duration;

/// Checks the settings that the promises rest on: nothing may be evicted, and where there are replicas,
/// a primary that lost them must stop taking writes before `grace` is over.
///
/// What matters is asked by `INFO`, which every user of a Redis may be allowed. Only how long a primary may do
/// without its replicas is in its configuration.
///
/// # Errors
/// [`StreamsError::UnsafeSettings`] says which setting is wrong and what would be right. A server that does
/// not say (some managed ones do not, nor one whose user may not ask) passes with a warning.
pub async fn require_safe_settings(streams: &Streams, grace: Duration) -> Result<()> {
    let mut connection = streams.pooled().await?;
    let mut info = String::new();
    for section in ["memory", "replication"] {
        let told: String = redis::cmd("INFO")
            .arg(section)
            .query_async(&mut connection)
            .await?;
        info.push_str(&told);
    }
    let settings = Settings::read(&info);
    if settings.policy.is_none() {
        tracing::warn!("Redis does not tell its maxmemory-policy; make sure that it is noeviction");
    }
    let mut problems = settings.problems();
    if settings.replicas > 0 {
        problems.extend(lag_problem(longest_lag(&mut connection).await?, grace));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(StreamsError::UnsafeSettings(problems.join("; ")))
    }
}

/// `min-replicas-max-lag`, where the server and its user say so.
async fn longest_lag(connection: &mut deadpool_redis::Connection) -> Result<Option<u64>> {
    const SETTING: &str = "min-replicas-max-lag";
    let told: redis::RedisResult<HashMap<String, String>> = redis::cmd("CONFIG")
        .arg("GET")
        .arg(SETTING)
        .query_async(connection)
        .await;
    match told {
        Ok(settings) => Ok(settings.get(SETTING).and_then(|lag| lag.parse().ok())),
        Err(error) if error.is_io_error() || error.is_timeout() => Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, "Redis has replicas and does not tell its {SETTING}; make sure that it is under the grace period");
            Ok(None)
        }
    }
}

fn lag_problem(lag: Option<u64>, grace: Duration) -> Option<String> {
    let lag = lag.filter(|lag| *lag == 0 || *lag >= grace.as_secs())?;
    Some(format!(
        "Redis has min-replicas-max-lag {lag}; it must be between 1 and {}, under the grace period",
        grace.as_secs().saturating_sub(1)
    ))
}

/// What `INFO` says of the settings.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    policy: Option<String>,
    replicas: u32,
    /// Whether a primary stops taking writes without them. Redis counts the good replicas only then.
    needs_replicas: bool,
}

impl Settings {
    fn read(info: &str) -> Self {
        let field = |name: &str| {
            let mut lines = info.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
        };
        Self {
            policy: field("maxmemory_policy"),
            replicas: field("connected_slaves")
                .and_then(|count| count.parse().ok())
                .unwrap_or(0),
            needs_replicas: field("min_slaves_good_slaves").is_some(),
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some(policy) = self.policy.as_ref().filter(|policy| *policy != "noeviction") {
            problems.push(format!(
                "Redis has maxmemory-policy {policy}; it must be noeviction, or it drops queued messages"
            ));
        }
        if self.replicas > 0 && !self.needs_replicas {
            problems.push(
                "Redis has replicas and min-replicas-to-write or min-replicas-max-lag 0; they must be at least 1, \
                 or a cut-off primary goes on"
                    .to_owned(),
            );
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_settings_are_named() {
        let problems = |info: &str| Settings::read(info).problems().len();
        assert_eq!(
            problems("maxmemory_policy:noeviction\r\nconnected_slaves:0\r\n"),
            0
        );
        assert_eq!(
            problems("maxmemory_policy:allkeys-lru\r\nconnected_slaves:0\r\n"),
            1
        );
        let two = "maxmemory_policy:noeviction\r\nconnected_slaves:2\r\n";
        assert_eq!(problems(two), 1);
        assert_eq!(problems(&format!("{two}min_slaves_good_slaves:2\r\n")), 0);
        assert_eq!(problems("role:master\r\n"), 0, "what is not told is warned of");
    }

    #[test]
    fn a_primary_must_stop_before_the_grace_is_over() {
        let grace = Duration::from_mins(1);
        for (lag, wrong) in [
            (Some(10), false),
            (Some(59), false),
            (Some(60), true),
            (Some(0), true),
            (None, false),
        ] {
            assert_eq!(lag_problem(lag, grace).is_some(), wrong, "{lag:?}");
        }
    }
}
