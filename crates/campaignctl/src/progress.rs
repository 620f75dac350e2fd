//! A campaign and how it is doing, as the API tells it; and whether its sums balance.

use crate::commands::campaign::cost::Cost;
use crate::output::thousands;
use campaign_core::message::MessageState;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use std::collections::BTreeMap;
use uuid::Uuid;

/// A campaign, as far as it is shown.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Campaign {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) status_reason: Option<String>,
    #[serde(default)]
    pub(crate) actions: Vec<String>,
    #[serde(default)]
    pub(crate) holds: Vec<Hold>,
    pub(crate) phone_number_id: String,
    #[serde(default)]
    pub(crate) segment: serde_json::Value,
    #[serde(default)]
    pub(crate) test_phones: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) priority: String,
    #[serde(default)]
    pub(crate) scheduled_at_local: Option<String>,
    #[serde(default)]
    pub(crate) expires_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(crate) created_by: String,
    #[serde(default)]
    pub(crate) started_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(crate) finished_at: Option<DateTime<Utc>>,
}

/// Why something is not sent at the moment.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Hold {
    pub(crate) scope: String,
    pub(crate) kind: String,
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) until: Option<DateTime<Utc>>,
}

impl std::fmt::Display for Hold {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({}): {}", self.kind, self.scope, self.reason)?;
        match self.until {
            Some(until) => write!(formatter, ", until {}", until.format("%Y-%m-%d %H:%M:%S UTC")),
            None => Ok(()),
        }
    }
}

/// A campaign and how it is doing.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct CampaignDetail {
    #[serde(flatten)]
    pub(crate) campaign: Campaign,
    pub(crate) template: TemplateName,
    pub(crate) progress: Progress,
    /// A scheduler of an earlier version tells none.
    #[serde(default)]
    pub(crate) cost: Cost,
}

/// Which template is sent.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TemplateName {
    pub(crate) name: String,
    pub(crate) language: String,
    pub(crate) version: i32,
}

/// How a campaign is doing.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Progress {
    /// Recipients so far.
    pub(crate) total: i64,
    pub(crate) audience_complete: bool,
    pub(crate) by_state: BTreeMap<String, i64>,
    pub(crate) skipped_by: BTreeMap<String, i64>,
    #[serde(default)]
    pub(crate) failed_by: Vec<Failure>,
    #[serde(default)]
    pub(crate) rounds: i64,
    pub(crate) rate_per_second: f64,
    pub(crate) estimated_end_at: Option<DateTime<Utc>>,
}

/// Recipients who failed, or were not delivered to, for one reason.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) recipients: i64,
    #[serde(default)]
    pub(crate) title: Option<String>,
    #[serde(default)]
    pub(crate) advice: String,
}

impl Progress {
    /// Recipients in a state.
    pub(crate) fn count(&self, state: MessageState) -> i64 {
        self.by_state.get(state.as_str()).copied().unwrap_or(0)
    }

    /// Recipients whose message WhatsApp is known to have accepted.
    pub(crate) fn accepted(&self) -> i64 {
        let states = MessageState::ALL.iter().filter(|state| state.is_accepted());
        states.map(|state| self.count(*state)).sum()
    }

    /// Recipients for whom nothing is left to do, or nothing can be done without a person.
    pub(crate) fn settled(&self) -> i64 {
        self.total - self.count(MessageState::Pending) - self.count(MessageState::Deferred)
    }

    /// Accepted recipients of whom a later status is still to come.
    pub(crate) fn without_receipt(&self) -> i64 {
        self.count(MessageState::Accepted) + self.count(MessageState::Sent)
    }

    /// The sum of all states, whatever they are called.
    pub(crate) fn sum(&self) -> i64 {
        self.by_state.values().sum()
    }
}

/// Something that has to be so, and whether it is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Check {
    /// What has to be so.
    pub(crate) what: String,
    /// What was found.
    pub(crate) found: String,
    /// Whether it is so.
    pub(crate) is_so: bool,
}

impl Check {
    pub(crate) fn new(is_so: bool, what: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            found: found.into(),
            is_so,
        }
    }

    /// Those that are not so, for people.
    pub(crate) fn failures(checks: &[Self]) -> Vec<String> {
        let failed = checks.iter().filter(|check| !check.is_so);
        failed
            .map(|check| format!("{}: {}", check.what, check.found))
            .collect()
    }
}

/// What has to be so of every campaign that has ended: nobody is lost, nobody is left over.
pub(crate) fn balance(progress: &Progress) -> Vec<Check> {
    let skips: i64 = progress.skipped_by.values().sum();
    let skipped = progress.count(MessageState::Skipped);
    let left = progress.total - progress.settled();
    vec![
        Check::new(
            progress.sum() == progress.total,
            "the audience is the sum of all states",
            format!(
                "{} recipients, {} in all states",
                thousands(progress.total),
                thousands(progress.sum())
            ),
        ),
        Check::new(
            skips == skipped,
            "every skipped recipient has a reason",
            format!(
                "{} skipped, {} with a reason",
                thousands(skipped),
                thousands(skips)
            ),
        ),
        Check::new(
            left == 0,
            "nobody is left to be sent to",
            format!("{} pending or deferred", thousands(left)),
        ),
    ]
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn progress(states: &[(&str, i64)], skips: &[(&str, i64)]) -> Progress {
        let counts = |pairs: &[(&str, i64)]| {
            pairs
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect()
        };
        Progress {
            total: states.iter().map(|(_, count)| count).sum(),
            audience_complete: true,
            by_state: counts(states),
            skipped_by: counts(skips),
            ..Progress::default()
        }
    }

    #[test]
    fn a_campaign_whose_sums_are_right_is_balanced() {
        let progress = progress(
            &[("read", 5), ("sent", 2), ("skipped", 3)],
            &[("duplicate", 1), ("landline", 2)],
        );
        assert_eq!(Check::failures(&balance(&progress)), Vec::<String>::new());
        assert_eq!(
            (
                progress.accepted(),
                progress.without_receipt(),
                progress.settled()
            ),
            (7, 2, 10)
        );
    }

    #[test]
    fn each_thing_that_is_not_so_is_said() {
        let mut lost = progress(
            &[("read", 5), ("skipped", 3), ("pending", 1)],
            &[("duplicate", 1)],
        );
        lost.total += 2;
        let failures = Check::failures(&balance(&lost));
        assert_eq!(
            failures,
            [
                "the audience is the sum of all states: 11 recipients, 9 in all states",
                "every skipped recipient has a reason: 3 skipped, 1 with a reason",
                "nobody is left to be sent to: 1 pending or deferred",
            ]
        );
    }

    #[test]
    fn a_state_that_this_program_does_not_know_still_counts_into_the_sum() {
        let progress = progress(&[("read", 5), ("answered", 2)], &[]);
        assert_eq!(Check::failures(&balance(&progress)), Vec::<String>::new());
    }
}
