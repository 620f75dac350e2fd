//! `/v1/queues`, `/v1/dead-letters` and `/v1/strays`: what lies in Redis, and what nobody could handle.

use crate::api::Api;
use crate::api::auth::{Caller, Supervisor, Viewer};
use crate::api::change::{Change, ok};
use crate::api::paging::{self, Page};
use crate::api::problems::{Answer, Stop};
use axum::extract::State;
use axum::http::StatusCode;
use campaign_runtime::{Path, Query};
use campaign_streams::dead_letters::{self, Letters, StoredDeadLetter};
use campaign_streams::depths::{self, LaneDepth, StreamDepth};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(queues))
        .routes(routes!(list))
        .routes(routes!(strays))
        .routes(routes!(redrive))
        .routes(routes!(discard))
}

/// How much lies in the queues, and how old the oldest of it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueuesView {
    streams: Vec<StreamView>,
    lanes: Vec<LaneView>,
}

/// A stream between the services.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StreamView {
    name: String,
    /// Entries in it.
    entries: u64,
    /// Age of the first one; null when it is empty.
    oldest_age_ms: Option<u64>,
}

impl From<StreamDepth> for StreamView {
    fn from(depth: StreamDepth) -> Self {
        Self {
            name: depth.name,
            entries: depth.entries,
            oldest_age_ms: depth.oldest_age_ms,
        }
    }
}

/// Everything that waits to be sent from one number.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LaneView {
    phone_number_id: String,
    /// Whether the lane is built on this Redis, so that messages can be taken.
    verified: bool,
    /// Replicas of message-svc that may take.
    members: u64,
    /// Outcomes that the ledger has not applied.
    outcomes: u64,
    /// Age of the oldest of them; null when there are none.
    oldest_outcome_age_ms: Option<u64>,
    /// The ceiling, in messages a second; null while the lane is not built.
    rate_per_second: Option<f64>,
    /// What it hands out now: less after WhatsApp found it too fast, or answered slowly.
    pace_per_second: Option<f64>,
    /// How long ago it last slowed down; null if it never did.
    slowed_ago_ms: Option<u64>,
    /// The smoothed time of WhatsApp's answers.
    answer_ms: Option<u64>,
    /// Messages fed and not settled, by campaign.
    campaigns: Vec<CampaignQueueView>,
}

/// A campaign's messages in a lane.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CampaignQueueView {
    campaign: Uuid,
    /// Messages fed and not settled.
    outstanding: u64,
    /// Of these, parked for a retry.
    parked: u64,
}

impl From<LaneDepth> for LaneView {
    fn from(depth: LaneDepth) -> Self {
        let campaigns = depth.campaigns.into_iter().map(|campaign| CampaignQueueView {
            campaign: campaign.campaign.0,
            outstanding: campaign.outstanding,
            parked: campaign.parked,
        });
        Self {
            phone_number_id: depth.lane.into(),
            verified: depth.verified,
            members: depth.members,
            outcomes: depth.outcomes,
            oldest_outcome_age_ms: depth.oldest_outcome_age_ms,
            rate_per_second: depth.pace.rate_per_second,
            pace_per_second: depth.pace.pace_per_second,
            slowed_ago_ms: depth.pace.slowed_ago_ms,
            answer_ms: depth.pace.answer_ms,
            campaigns: campaigns.collect(),
        }
    }
}

/// What nobody could handle: an entry of a stream, or what a webhook told.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterView {
    id: String,
    /// The stream it came from, or `webhook`.
    stream: String,
    /// Its id there; of a webhook, WhatsApp's id of the message.
    entry_id: String,
    /// Why it was rejected.
    reason: String,
    /// Names and values. Only for supervisors and admins, since they may hold phone numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Vec<String>>>)]
    fields: Option<Vec<(String, String)>>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListDeadLetters {
    /// Items of a page, 1 to 200.
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Shows how much lies in each queue.
#[utoipa::path(get, path = "/v1/queues", tag = "queues", responses((status = 200, body = QueuesView)))]
async fn queues(_: Viewer, State(api): State<Api>) -> Answer {
    let streams = api.queues.streams();
    let lanes = depths::of_lanes(streams)
        .await?
        .into_iter()
        .map(LaneView::from)
        .collect();
    let streams = depths::of_streams(streams)
        .await?
        .into_iter()
        .map(StreamView::from)
        .collect();
    ok(&QueuesView { streams, lanes })
}

/// Lists dead letters, newest first.
#[utoipa::path(get, path = "/v1/dead-letters", tag = "dead letters", params(ListDeadLetters),
    responses((status = 200, body = Page<DeadLetterView>)))]
async fn list(
    Viewer(caller): Viewer,
    State(api): State<Api>,
    Query(query): Query<ListDeadLetters>,
) -> Answer {
    list_letters(&api, &caller, &query, Letters::Dead).await
}

/// Lists what WhatsApp reported of messages that are not known here, newest first: some of it, so that a flood does
/// no harm. Nothing has to be done about it; many of them mean that something else sends from the same number.
#[utoipa::path(get, path = "/v1/strays", tag = "dead letters", params(ListDeadLetters),
    responses((status = 200, body = Page<DeadLetterView>)))]
async fn strays(
    Viewer(caller): Viewer,
    State(api): State<Api>,
    Query(query): Query<ListDeadLetters>,
) -> Answer {
    list_letters(&api, &caller, &query, Letters::Stray).await
}

async fn list_letters(api: &Api, caller: &Caller, query: &ListDeadLetters, letters: Letters) -> Answer {
    let limit = paging::limit(query.limit)?;
    let before: Option<campaign_streams::StreamId> = paging::position(query.cursor.as_deref())?;
    let before = before.map(|id| id.to_string());
    let rows = dead_letters::list(api.queues.streams(), letters, before.as_deref(), limit + 1).await?;
    let view = |row: StoredDeadLetter| DeadLetterView {
        id: row.id,
        stream: row.letter.stream,
        entry_id: row.letter.id,
        reason: row.letter.reason,
        fields: caller.sees_phones().then_some(row.letter.fields),
    };
    ok(&paging::page(rows, limit, |row| row.id.clone(), view))
}

/// Puts a dead letter's entry back at the end of the stream it came from.
#[utoipa::path(post, path = "/v1/dead-letters/{id}/redrive", tag = "dead letters", params(("id" = String, Path)),
    responses((status = 204)))]
async fn redrive(Supervisor(caller): Supervisor, State(api): State<Api>, Path(id): Path<String>) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    record(&mut change, &api, "dead_letter.redrive", &id).await?;
    dead_letters::redrive(api.queues.streams(), &id).await?;
    change.commit(StatusCode::NO_CONTENT, &()).await
}

/// Throws a dead letter away.
#[utoipa::path(delete, path = "/v1/dead-letters/{id}", tag = "dead letters", params(("id" = String, Path)),
    responses((status = 204)))]
async fn discard(Supervisor(caller): Supervisor, State(api): State<Api>, Path(id): Path<String>) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    record(&mut change, &api, "dead_letter.discard", &id).await?;
    dead_letters::discard(api.queues.streams(), &id).await?;
    change.commit(StatusCode::NO_CONTENT, &()).await
}

/// Notes where the letter came from, since it will be gone.
async fn record(change: &mut Change<'_>, api: &Api, action: &str, id: &str) -> Result<(), Stop> {
    let letter = dead_letters::get(api.queues.streams(), id).await?.letter;
    let details = json!({ "stream": letter.stream, "entry_id": letter.id, "reason": letter.reason });
    change.record(action, &format!("dead_letter:{id}"), details).await
}
