//! What people ask of the ledger: to send again what is uncertain or failed, or to write it off.
//!
//! The lane's owner, who alone writes the ledger, applies a request within moments.

use super::subject;
use super::view::not_now;
use crate::api::Api;
use crate::api::auth::{Caller, Supervisor, Viewer};
use crate::api::body::OptionalJson;
use crate::api::change::{Change, ok};
use crate::api::problems::{Answer, Faults, Stop};
use axum::extract::State;
use axum::http::StatusCode;
use campaign_core::campaign::CampaignStatus;
use campaign_core::ids::{CampaignId, RequestId, Seq};
use campaign_runtime::{Path, Problem};
use campaign_store::campaigns;
use campaign_store::requests::{self, Request, RequestKind};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// Most messages that one request may name.
const SEQS_MAX: usize = 10_000;
/// Most error codes that one request may name.
const ERROR_CODES_MAX: usize = 100;
/// Longest error code.
const ERROR_CODE_MAX_CHARS: usize = 64;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(resend_uncertain))
        .routes(routes!(write_off_uncertain))
        .routes(routes!(resend_failed))
        .routes(routes!(get))
}

/// Which uncertain messages; all of them if nothing is given.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UncertainInput {
    /// Positions in the audience.
    #[serde(default)]
    seqs: Option<Vec<i64>>,
}

/// Which failed messages; all of them if nothing is given.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailedInput {
    /// Only those that failed with one of these codes.
    #[serde(default)]
    error_codes: Option<Vec<String>>,
    /// Only these positions in the audience.
    #[serde(default)]
    seqs: Option<Vec<i64>>,
}

/// A request, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RequestView {
    id: Uuid,
    campaign: Uuid,
    /// `resend_uncertain`, `write_off_uncertain` or `resend_failed`.
    kind: &'static str,
    requested_by: String,
    requested_at: DateTime<Utc>,
    /// When it was applied; null until then.
    applied_at: Option<DateTime<Utc>>,
    /// How many messages it changed.
    affected: Option<i64>,
    /// What a resend left out; null if nothing.
    left_out: Option<LeftOutView>,
}

/// Messages that a resend left out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeftOutView {
    messages: i64,
    /// When all of them may be asked for again.
    until: DateTime<Utc>,
    reason: &'static str,
}

/// Why a resend leaves messages out.
const LEFT_OUT_REASON: &str = "WhatsApp takes no marketing for these people within 24 hours of its refusal (131049): \
     ask again later";

impl From<Request> for RequestView {
    fn from(request: Request) -> Self {
        Self {
            id: request.id.0,
            campaign: request.campaign.0,
            kind: request.kind.as_str(),
            requested_by: request.requested_by,
            requested_at: request.requested_at,
            applied_at: request.applied_at,
            affected: request.affected,
            left_out: request.left_out.map(|left_out| LeftOutView {
                messages: left_out.messages,
                until: left_out.until,
                reason: LEFT_OUT_REASON,
            }),
        }
    }
}

/// Sends uncertain messages again. Some people may receive them twice.
#[utoipa::path(post, path = "/v1/campaigns/{id}/uncertain/resend", tag = "campaigns", params(("id" = Uuid, Path)),
    request_body = Option<UncertainInput>, responses((status = 202, body = RequestView)))]
async fn resend_uncertain(
    Supervisor(caller): Supervisor,
    State(api): State<Api>,
    Path(id): Path<CampaignId>,
    OptionalJson(input): OptionalJson<UncertainInput>,
) -> Answer {
    ask(&api, &caller, id, RequestKind::ResendUncertain, input.seqs, None).await
}

/// Counts uncertain messages as failed.
#[utoipa::path(post, path = "/v1/campaigns/{id}/uncertain/write-off", tag = "campaigns",
    params(("id" = Uuid, Path)), request_body = Option<UncertainInput>,
    responses((status = 202, body = RequestView)))]
async fn write_off_uncertain(
    Supervisor(caller): Supervisor,
    State(api): State<Api>,
    Path(id): Path<CampaignId>,
    OptionalJson(input): OptionalJson<UncertainInput>,
) -> Answer {
    ask(
        &api,
        &caller,
        id,
        RequestKind::WriteOffUncertain,
        input.seqs,
        None,
    )
    .await
}

/// Sends failed messages again, except those that failed less than 24 hours ago since WhatsApp takes no more
/// marketing for the person (131049).
#[utoipa::path(post, path = "/v1/campaigns/{id}/resend-failed", tag = "campaigns", params(("id" = Uuid, Path)),
    request_body = Option<FailedInput>, responses((status = 202, body = RequestView)))]
async fn resend_failed(
    Supervisor(caller): Supervisor,
    State(api): State<Api>,
    Path(id): Path<CampaignId>,
    OptionalJson(input): OptionalJson<FailedInput>,
) -> Answer {
    ask(
        &api,
        &caller,
        id,
        RequestKind::ResendFailed,
        input.seqs,
        input.error_codes,
    )
    .await
}

/// Shows what became of a request.
#[utoipa::path(get, path = "/v1/campaigns/{id}/requests/{request}", tag = "campaigns",
    params(("id" = Uuid, Path), ("request" = Uuid, Path)), responses((status = 200, body = RequestView)))]
async fn get(
    _: Viewer,
    State(api): State<Api>,
    Path((id, request)): Path<(CampaignId, RequestId)>,
) -> Answer {
    let mut connection = api.store.connection().await?;
    let request = requests::get(&mut connection, request).await?;
    if request.campaign != id {
        return Err(Problem::not_found("the campaign has no such request").into());
    }
    ok(&RequestView::from(request))
}

async fn ask(
    api: &Api,
    caller: &Caller,
    id: CampaignId,
    kind: RequestKind,
    seqs: Option<Vec<i64>>,
    error_codes: Option<Vec<String>>,
) -> Answer {
    let mut change = Change::begin(api, caller).await?;
    check(seqs.as_deref(), error_codes.as_deref())?;
    let campaign = campaigns::get_for_update(change.connection(), id).await?;
    if !matches!(
        campaign.status,
        CampaignStatus::Sending | CampaignStatus::Completed
    ) {
        let action = if kind == RequestKind::WriteOffUncertain {
            "write-off"
        } else {
            "resend"
        };
        return Err(not_now(&campaign, false, action));
    }
    let details =
        json!({ "kind": kind.as_str(), "seqs": seqs.as_ref().map(Vec::len), "error_codes": error_codes });
    let request = Request {
        id: RequestId(Uuid::now_v7()),
        campaign: id,
        kind,
        seqs: seqs.map(|seqs| seqs.into_iter().map(Seq).collect()),
        error_codes,
        requested_by: caller.name.clone(),
        requested_at: Utc::now(),
        applied_at: None,
        affected: None,
        left_out: None,
    };
    requests::create(change.connection(), &request).await?;
    change.record("campaign.request", &subject(id), details).await?;
    let answer = change
        .commit(StatusCode::ACCEPTED, &RequestView::from(request))
        .await?;
    api.queues.wake_lane(&campaign.phone_number_id).await;
    Ok(answer)
}

fn check(seqs: Option<&[i64]>, error_codes: Option<&[String]>) -> Result<(), Stop> {
    let mut faults = Faults::default();
    if let Some(seqs) = seqs {
        if seqs.is_empty() || seqs.len() > SEQS_MAX {
            faults.add(
                "/seqs",
                format!("{} positions", seqs.len()),
                format!("1 to {SEQS_MAX} positions"),
            );
        }
        if let Some(index) = seqs.iter().position(|seq| *seq < 1) {
            faults.add(
                format!("/seqs/{index}"),
                seqs[index].to_string(),
                "a position from 1",
            );
        }
    }
    if let Some(codes) = error_codes {
        if codes.is_empty() || codes.len() > ERROR_CODES_MAX {
            faults.add(
                "/error_codes",
                format!("{} codes", codes.len()),
                format!("1 to {ERROR_CODES_MAX} codes"),
            );
        }
        for (index, code) in codes.iter().take(ERROR_CODES_MAX).enumerate() {
            faults.text(&format!("/error_codes/{index}"), code, ERROR_CODE_MAX_CHARS);
        }
    }
    faults.finish()
}
