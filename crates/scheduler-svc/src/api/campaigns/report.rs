//! How a campaign is doing: its counters, its rate, when it will end, and what happened to it.

use super::advice::{self, Meaning};
use super::cost::CostView;
use super::subject;
use super::view::{CampaignView, is_running};
use crate::api::Api;
use crate::api::auth::Viewer;
use crate::api::change::ok;
use crate::api::problems::Answer;
use axum::extract::State;
use campaign_core::campaign::Campaign;
use campaign_core::ids::CampaignId;
use campaign_core::message::MessageState;
use campaign_runtime::Path;
use campaign_store::audit::{self, AuditFilter};
use campaign_store::reports::{self, Progress};
use campaign_store::{campaigns, holds, templates};
use chrono::{DateTime, Duration, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// The seconds that the rate is taken over.
const RATE_WINDOW_SECONDS: i64 = 10;
/// An end farther away than this is not foretold.
const ESTIMATE_MAX_DAYS: i64 = 365;
/// Most entries of the audit log, and most changes of status, in one timeline.
const EVENTS_MAX: i64 = 500;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(get)).routes(routes!(events))
}

/// A campaign and how it is doing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CampaignDetail {
    #[serde(flatten)]
    campaign: CampaignView,
    template: TemplateName,
    progress: ProgressView,
    cost: CostView,
}

/// Which template it sends.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TemplateName {
    name: String,
    language: String,
    version: i32,
    category: String,
}

/// How a campaign is doing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProgressView {
    /// Recipients so far; the sum of `by_state`.
    total: i64,
    /// Whether the ERP has named everyone.
    audience_complete: bool,
    /// Recipients that were enqueued, or passed over.
    enqueued: i64,
    /// Recipients in each state: `pending`, `deferred`, `uncertain`, `failed`, `skipped`, `cancelled`, `accepted`,
    /// `sent`, `undelivered`, `delivered`, `read`.
    by_state: BTreeMap<&'static str, i64>,
    /// Skipped recipients, by reason.
    skipped_by: BTreeMap<String, i64>,
    /// Failed and undelivered recipients, by code, the most frequent first; their sum is that of the two states.
    failed_by: Vec<FailureView>,
    /// Rounds that were opened.
    rounds: i32,
    /// Messages accepted a second, over the last 10 seconds.
    rate_per_second: f64,
    /// When all is sent if it goes on like this; null while nothing is being sent.
    estimated_end_at: Option<DateTime<Utc>>,
    first_accepted_at: Option<DateTime<Utc>>,
    last_accepted_at: Option<DateTime<Utc>>,
}

/// Recipients who failed, or were not delivered to, for one reason.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FailureView {
    /// Cloud API error code, or a word of the engine's own.
    code: String,
    recipients: i64,
    /// Meta's name of the error, or the engine's; null for a code that nobody knows.
    title: Option<&'static str>,
    /// Who it is about: `message`, `recipient`, `pair`, `lane`, `template`, `account` or `unknown`.
    scope: &'static str,
    /// What the engine does about it, as in `fail` or `stop_campaign`; `none` for words of its own.
    action: &'static str,
    /// What a person can do about it.
    advice: &'static str,
}

fn failures(by_code: BTreeMap<String, i64>) -> Vec<FailureView> {
    let view = |(code, recipients): (String, i64)| {
        let Meaning {
            title,
            scope,
            action,
            advice,
        } = advice::of_failure(&code);
        FailureView {
            code,
            recipients,
            title,
            scope,
            action,
            advice,
        }
    };
    let mut failures: Vec<_> = by_code.into_iter().map(view).collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.recipients));
    failures
}

impl ProgressView {
    fn new(progress: Progress, running: bool, now: DateTime<Utc>) -> Self {
        let rate = rate(&progress.recent, now);
        let left = progress.count(MessageState::Pending) + progress.count(MessageState::Deferred);
        Self {
            estimated_end_at: if running {
                estimated_end(left, rate, now)
            } else {
                None
            },
            total: progress.total,
            audience_complete: progress.audience_complete,
            enqueued: progress.enqueued,
            by_state: progress
                .by_state
                .iter()
                .map(|(state, count)| (state.as_str(), *count))
                .collect(),
            skipped_by: progress.skipped_by,
            failed_by: failures(progress.failed_by),
            rounds: progress.generation,
            rate_per_second: rate,
            first_accepted_at: progress.first_accepted_at,
            last_accepted_at: progress.last_accepted_at,
        }
    }
}

/// Messages a second over the last full seconds. The second that has just begun would drag it down.
fn rate(recent: &[(i64, i64)], now: DateTime<Utc>) -> f64 {
    let end = now.timestamp();
    let start = end - RATE_WINDOW_SECONDS;
    let accepted: i64 = recent
        .iter()
        .filter(|(second, _)| (start..end).contains(second))
        .map(|(_, accepted)| accepted)
        .sum();
    accepted as f64 / RATE_WINDOW_SECONDS as f64
}

fn estimated_end(left: i64, rate: f64, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if left == 0 || rate <= 0.0 {
        return None;
    }
    let seconds = left as f64 / rate;
    let far = Duration::days(ESTIMATE_MAX_DAYS).num_seconds() as f64;
    (seconds < far).then(|| now + Duration::milliseconds((seconds * 1000.0) as i64))
}

/// What happened to a campaign, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Timeline {
    events: Vec<EventView>,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventView {
    at: DateTime<Utc>,
    /// `status` for a change of status, else what a person did, as in `campaign.pause`.
    event: String,
    /// Who did it; absent for what the engine did by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    #[schema(value_type = Object)]
    details: Value,
}

/// Shows a campaign and how it is doing.
#[utoipa::path(get, path = "/v1/campaigns/{id}", tag = "campaigns", params(("id" = Uuid, Path)),
    responses((status = 200, body = CampaignDetail)))]
async fn get(Viewer(caller): Viewer, State(api): State<Api>, Path(id): Path<CampaignId>) -> Answer {
    let mut connection = api.store.connection().await?;
    let campaign = campaigns::get(&mut connection, id).await?;
    let holds = holds::of_campaign(&mut connection, id).await?;
    let template = templates::get(&mut connection, campaign.template_id).await?;
    let progress = reports::progress(&mut connection, id).await?;
    let cost = CostView::read(&mut connection, id).await?;
    let running = holds.is_empty() && is_running(campaign.status, campaign.finished_at);
    ok(&CampaignDetail {
        cost,
        progress: ProgressView::new(progress, running, Utc::now()),
        campaign: CampaignView::new(campaign, holds, caller.sees_phones()),
        template: TemplateName {
            name: template.template.name,
            language: template.template.language,
            version: template.version,
            category: template.template.category.to_string(),
        },
    })
}

/// Shows what happened to a campaign.
#[utoipa::path(get, path = "/v1/campaigns/{id}/events", tag = "campaigns", params(("id" = Uuid, Path)),
    responses((status = 200, body = Timeline)))]
async fn events(_: Viewer, State(api): State<Api>, Path(id): Path<CampaignId>) -> Answer {
    let mut connection = api.store.connection().await?;
    let campaign = campaigns::get(&mut connection, id).await?;
    let filter = AuditFilter {
        subject: Some(subject(id)),
        ..AuditFilter::default()
    };
    let decided = audit::list(&mut connection, &filter, EVENTS_MAX).await?;
    let changes = campaigns::status_changes(&mut connection, id, EVENTS_MAX).await?;
    let mut events: Vec<EventView> = decided
        .into_iter()
        .map(|entry| EventView {
            at: entry.at,
            event: entry.action,
            actor: Some(entry.actor),
            details: entry.details,
        })
        .collect();
    events.extend(changes.into_iter().map(|change| EventView {
        at: change.at,
        event: "status".to_owned(),
        actor: None,
        details: json!({ "from": change.from, "to": change.to, "reason": change.reason }),
    }));
    events.extend(finished(&campaign));
    events.sort_by_key(|event| event.at);
    ok(&Timeline { events })
}

fn finished(campaign: &Campaign) -> Option<EventView> {
    campaign.finished_at.map(|at| EventView {
        at,
        event: "finished".to_owned(),
        actor: None,
        details: json!({}),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_full_seconds() {
        let now = DateTime::from_timestamp(1_000, 500_000_000).expect("a time");
        let recent = [(989, 1_000), (990, 50), (999, 50), (1_000, 7)];
        assert!((rate(&recent, now) - 10.0).abs() < 1e-9);
        assert!(rate(&[], now).abs() < 1e-9);
    }

    #[test]
    fn an_end_is_foretold_only_while_something_is_sent() {
        let now = DateTime::from_timestamp(1_000, 0).expect("a time");
        assert_eq!(estimated_end(500, 50.0, now), Some(now + Duration::seconds(10)));
        assert_eq!(estimated_end(0, 50.0, now), None);
        assert_eq!(estimated_end(500, 0.0, now), None);
        assert_eq!(estimated_end(i64::MAX, 0.1, now), None);
    }
}
