//! What the engine requires of a Redis, checked when a service starts.

use crate::{Result, Streams, StreamsError};
use std::collections::HashMap;
use std::time::Duration;

/// Checks the settings that the promises rest on: nothing may be evicted, and where there are replicas,
/// a primary that lost them must stop taking writes before `grace` is over.
///
/// # Errors
/// [`StreamsError::UnsafeSettings`] says which setting is wrong and what would be right. A server that
/// does not let its settings be read (some managed ones do not) passes with a warning.
pub async fn require_safe_settings(streams: &Streams, grace: Duration) -> Result<()> {
    let mut connection = streams.pooled().await?;
    let settings: HashMap<String, String> = match redis::cmd("CONFIG")
        .arg("GET")
        .arg("maxmemory-policy")
        .arg("min-replicas-to-write")
        .arg("min-replicas-max-lag")
        .query_async(&mut connection)
        .await
    {
        Ok(settings) => settings,
        Err(error) if error.is_io_error() || error.is_timeout() => return Err(error.into()),
        Err(error) => {
            tracing::warn!(%error, "the settings of Redis cannot be read; make sure that maxmemory-policy is noeviction");
            return Ok(());
        }
    };
    let replicas: String = redis::cmd("INFO")
        .arg("replication")
        .query_async(&mut connection)
        .await?;
    let problems = problems(&settings, connected_replicas(&replicas), grace);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(StreamsError::UnsafeSettings(problems.join("; ")))
    }
}

fn connected_replicas(info: &str) -> u32 {
    info.lines()
        .find_map(|line| line.strip_prefix("connected_slaves:")?.trim().parse().ok())
        .unwrap_or(0)
}

fn problems(settings: &HashMap<String, String>, replicas: u32, grace: Duration) -> Vec<String> {
    let number = |name: &str| settings.get(name).and_then(|value| value.parse::<u64>().ok());
    let mut problems = Vec::new();
    if let Some(policy) = settings
        .get("maxmemory-policy")
        .filter(|policy| *policy != "noeviction")
    {
        problems.push(format!(
            "Redis has maxmemory-policy {policy}; it must be noeviction, or it drops queued messages"
        ));
    }
    if replicas > 0 {
        if number("min-replicas-to-write") == Some(0) {
            problems.push(
                "Redis has replicas and min-replicas-to-write 0; it must be at least 1, or a cut-off primary goes on"
                    .to_owned(),
            );
        }
        if let Some(lag) = number("min-replicas-max-lag").filter(|lag| *lag == 0 || *lag >= grace.as_secs()) {
            problems.push(format!(
                "Redis has min-replicas-max-lag {lag}; it must be between 1 and {}, under the grace period",
                grace.as_secs().saturating_sub(1)
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(policy: &str, replicas: &str, lag: &str) -> HashMap<String, String> {
        [
            ("maxmemory-policy", policy),
            ("min-replicas-to-write", replicas),
            ("min-replicas-max-lag", lag),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    #[test]
    fn unsafe_settings_are_named() {
        let grace = Duration::from_mins(1);
        assert!(problems(&settings("noeviction", "0", "10"), 0, grace).is_empty());
        assert!(problems(&settings("noeviction", "1", "10"), 2, grace).is_empty());
        assert_eq!(problems(&settings("allkeys-lru", "0", "60"), 1, grace).len(), 3);
    }
}
