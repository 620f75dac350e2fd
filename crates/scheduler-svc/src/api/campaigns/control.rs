//! Pause, resume, cancel: committed first, then applied by the lane's owner.
//!
//! The commit is what counts; the answer says whether the lane follows already (200) or will within moments
//! (202). A campaign that has not started has no lane to wait for.

use super::subject;
use super::view::{CampaignView, is_running, not_now};
use crate::api::Api;
use crate::api::auth::{Caller, Supervisor};
use crate::api::body::OptionalJson;
use crate::api::change::{Change, answer, keep_later_answer, to_value};
use crate::api::holds::{HoldKinds, Pause, reason};
use crate::api::problems::{Answer, Stop};
use axum::extract::State;
use axum::http::StatusCode;
use campaign_core::campaign::{Campaign, CampaignStatus, HoldKind};
use campaign_core::ids::{CampaignId, LaneId};
use campaign_runtime::{Path, Problem};
use campaign_store::{campaigns, holds};
use chrono::Utc;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::{Duration, Instant};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// How often the lane's answer is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// The reason where none is given.
const CANCEL_REASON_DEFAULT: &str = "cancelled by a person";
/// What a person lifts without naming it.
const LIFTED_BY_DEFAULT: &[HoldKind] = &[HoldKind::Person, HoldKind::Misfire];

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(cancel))
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ControlView {
    /// Whether the lane follows already. If not it will within moments.
    applied: bool,
    campaign: CampaignView,
}

/// Why the campaign is cancelled.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelInput {
    /// For the people who wonder later.
    #[serde(default)]
    reason: Option<String>,
}

/// Pauses a campaign: no send begins more than a second later.
#[utoipa::path(post, path = "/v1/campaigns/{id}/pause", tag = "campaigns", params(("id" = Uuid, Path)),
    request_body = Option<Pause>,
    responses((status = 200, body = ControlView), (status = 202, body = ControlView)))]
async fn pause(
    Supervisor(caller): Supervisor,
    State(api): State<Api>,
    Path(id): Path<CampaignId>,
    OptionalJson(input): OptionalJson<Pause>,
) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    let campaign = campaigns::get_for_update(change.connection(), id).await?;
    if campaign.status != CampaignStatus::Scheduled && !is_running(campaign.status, campaign.finished_at) {
        return Err(not_now(&campaign, false, "pause"));
    }
    let reason = input.reason()?;
    holds::raise_campaign(
        change.connection(),
        id,
        HoldKind::Person,
        &reason,
        &caller.name,
        None,
    )
    .await?;
    change
        .record("campaign.pause", &subject(id), json!({ "reason": reason }))
        .await?;
    finish(&api, &caller, change, &campaign).await
}

/// Lifts holds from a campaign: those of a person and of a missed time, or the kinds that are named. It goes on
/// unless others stand.
#[utoipa::path(post, path = "/v1/campaigns/{id}/resume", tag = "campaigns", params(("id" = Uuid, Path)),
    request_body = Option<HoldKinds>,
    responses((status = 200, body = ControlView), (status = 202, body = ControlView)))]
async fn resume(
    Supervisor(caller): Supervisor,
    State(api): State<Api>,
    Path(id): Path<CampaignId>,
    OptionalJson(input): OptionalJson<HoldKinds>,
) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    let campaign = campaigns::get_for_update(change.connection(), id).await?;
    let kinds = input.kinds_or(LIFTED_BY_DEFAULT)?;
    let mut lifted = Vec::new();
    for kind in kinds {
        if holds::lift_campaign(change.connection(), id, kind).await? {
            lifted.push(kind.as_str());
        }
    }
    if lifted.is_empty() {
        let standing = holds::of_campaign(change.connection(), id).await?;
        let names: Vec<_> = standing.iter().map(|hold| hold.kind.as_str()).collect();
        let detail = match &names[..] {
            [] => "the campaign is not held".to_owned(),
            names => format!(
                "no such hold stands on the campaign; standing: {}",
                names.join(", ")
            ),
        };
        return Err(Problem::conflict(detail).extension("holds", names).into());
    }
    change
        .record("campaign.resume", &subject(id), json!({ "lifted": lifted }))
        .await?;
    finish(&api, &caller, change, &campaign).await
}

/// Cancels a campaign for good: what was not sent is not sent.
#[utoipa::path(post, path = "/v1/campaigns/{id}/cancel", tag = "campaigns", params(("id" = Uuid, Path)),
    request_body = Option<CancelInput>,
    responses((status = 200, body = ControlView), (status = 202, body = ControlView)))]
async fn cancel(
    Supervisor(caller): Supervisor,
    State(api): State<Api>,
    Path(id): Path<CampaignId>,
    OptionalJson(input): OptionalJson<CancelInput>,
) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    let campaign = campaigns::get_for_update(change.connection(), id).await?;
    if campaign.finished_at.is_some() {
        return Err(not_now(&campaign, false, "cancel"));
    }
    let reason = reason(input.reason.as_deref(), CANCEL_REASON_DEFAULT)?;
    campaigns::set_status(change.connection(), id, CampaignStatus::Cancelled, Some(&reason)).await?;
    if campaigns::control(change.connection(), id)
        .await?
        .applied
        .is_none()
    {
        // No ledger was begun, so nobody else will say that nothing is left to do.
        campaigns::set_finished(change.connection(), id, Some(Utc::now())).await?;
    }
    change
        .record("campaign.cancel", &subject(id), json!({ "reason": reason }))
        .await?;
    finish(&api, &caller, change, &campaign).await
}

/// Commits, wakes the lane's owner, and waits a moment for it.
async fn finish(api: &Api, caller: &Caller, mut change: Change<'_>, before: &Campaign) -> Answer {
    let id = before.id;
    let control = campaigns::control(change.connection(), id).await?;
    let campaign = CampaignView::read(change.connection(), id, true).await?;
    let started = before.status.is_started() && campaign_is_open(&campaign);
    let status = if started {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    let committed = change
        .commit(
            status,
            &ControlView {
                applied: !started,
                campaign,
            },
        )
        .await?;
    if !started {
        return Ok(committed);
    }
    api.queues.wake_lane(&before.phone_number_id).await;
    if !wait_until_applied(api, id, control.version, &before.phone_number_id).await {
        return Ok(committed);
    }
    let campaign = {
        let mut connection = api.store.connection().await?;
        CampaignView::read(&mut connection, id, true).await?
    };
    let applied = to_value(&ControlView {
        applied: true,
        campaign,
    });
    keep_later_answer(api, caller, StatusCode::OK, &applied).await?;
    Ok(answer(StatusCode::OK, &applied))
}

fn campaign_is_open(campaign: &CampaignView) -> bool {
    campaign.finished_at.is_none()
}

async fn wait_until_applied(api: &Api, id: CampaignId, version: i64, lane: &LaneId) -> bool {
    let begun = Instant::now();
    let mut failures = 0_u32;
    while begun.elapsed() < api.control_wait {
        match applied(api, id).await {
            Ok(Some(applied)) if applied >= version => {
                metrics::histogram!("campaign_control_applied_seconds").record(begun.elapsed().as_secs_f64());
                return true;
            }
            Ok(_) => {}
            Err(_) => failures += 1,
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    tracing::info!(campaign_id = %id, %lane, failures, "the lane has not answered yet; it will");
    false
}

async fn applied(api: &Api, id: CampaignId) -> Result<Option<i64>, Stop> {
    let mut connection = api.store.connection().await?;
    Ok(campaigns::control(&mut connection, id).await?.applied)
}
