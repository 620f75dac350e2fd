//! Creating, editing, cloning and listing campaigns.

use super::decide::{CampaignInput, NAME_MAX_CHARS, decide};
use super::schedule::{check_sendable, settle_template_hold};
use super::subject;
use super::view::{CampaignView, PAUSED, not_now};
use crate::api::Api;
use crate::api::auth::{Supervisor, Viewer};
use crate::api::body::OptionalJson;
use crate::api::change::{Change, ok, to_value};
use crate::api::paging::{self, Page};
use crate::api::problems::{Answer, Faults};
use axum::extract::State;
use axum::http::StatusCode;
use campaign_core::campaign::{CampaignStatus, HoldKind, IfUnapproved};
use campaign_core::ids::{CampaignId, LaneId};
use campaign_runtime::{Json, Path, Query};
use campaign_store::campaigns::{self, CampaignFilter};
use campaign_store::holds;
use chrono::Utc;
use serde::Deserialize;
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(edit))
        .routes(routes!(clone))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListCampaigns {
    /// A stored status, or `PAUSED`.
    status: Option<String>,
    /// Sent from this number.
    phone_number_id: Option<String>,
    /// Items of a page, 1 to 200.
    limit: Option<u32>,
    cursor: Option<String>,
}

/// What is to differ in the copy.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CloneInput {
    /// "Copy of …" if not given.
    #[serde(default)]
    name: Option<String>,
}

/// Lists campaigns, newest first.
#[utoipa::path(get, path = "/v1/campaigns", tag = "campaigns", params(ListCampaigns),
    responses((status = 200, body = Page<CampaignView>)))]
async fn list(Viewer(caller): Viewer, State(api): State<Api>, Query(query): Query<ListCampaigns>) -> Answer {
    let limit = paging::limit(query.limit)?;
    let mut faults = Faults::default();
    let (status, paused) = match query.status.as_deref() {
        None => (None, None),
        Some(PAUSED) => (None, Some(true)),
        Some(name) => {
            let status: Option<CampaignStatus> = faults.name("status", name);
            // A running campaign under a hold shows as PAUSED, and only there.
            let running = matches!(status, Some(CampaignStatus::Sending | CampaignStatus::Completed));
            (status, running.then_some(false))
        }
    };
    let phone_number_id = query
        .phone_number_id
        .as_deref()
        .map(str::parse::<LaneId>)
        .transpose();
    if let Err(invalid) = &phone_number_id {
        faults.add("phone_number_id", "not an id", invalid.to_string());
    }
    faults.finish()?;
    let filter = CampaignFilter {
        status,
        paused,
        phone_number_id: phone_number_id.ok().flatten(),
        before: paging::position(query.cursor.as_deref())?,
    };
    let mut connection = api.store.connection().await?;
    let rows = campaigns::list(&mut connection, &filter, paging::one_more(limit)).await?;
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let mut holds = holds::of_campaigns(&mut connection, &ids).await?;
    ok(&paging::page(
        rows,
        limit,
        |row| row.id,
        |row| {
            let held = holds.remove(&row.id).unwrap_or_default();
            CampaignView::new(row, held, caller.sees_phones())
        },
    ))
}

/// Creates a campaign as a draft.
#[utoipa::path(post, path = "/v1/campaigns", tag = "campaigns", request_body = CampaignInput,
    responses((status = 201, body = CampaignView)))]
async fn create(
    Supervisor(caller): Supervisor,
    State(api): State<Api>,
    Json(input): Json<CampaignInput>,
) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    let campaign = decide(change.connection(), None, input, &caller.name, Utc::now()).await?;
    campaigns::create(change.connection(), &campaign).await?;
    let view = CampaignView::read(change.connection(), campaign.id, true).await?;
    change
        .record("campaign.create", &subject(campaign.id), without_phones(&view))
        .await?;
    change.commit(StatusCode::CREATED, &view).await
}

/// Edits a campaign that has not started. What is not given stays.
#[utoipa::path(patch, path = "/v1/campaigns/{id}", tag = "campaigns", params(("id" = Uuid, Path)),
    request_body = CampaignInput, responses((status = 200, body = CampaignView)))]
async fn edit(
    Supervisor(caller): Supervisor,
    State(api): State<Api>,
    Path(id): Path<CampaignId>,
    Json(input): Json<CampaignInput>,
) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    let before = campaigns::get_for_update(change.connection(), id).await?;
    let is_scheduled = before.status == CampaignStatus::Scheduled;
    if before.status.is_started() {
        return Err(not_now(&before, false, "edit"));
    }
    let campaign = decide(
        change.connection(),
        Some(&before),
        input,
        &caller.name,
        Utc::now(),
    )
    .await?;
    if is_scheduled {
        let mut faults = Faults::default();
        if campaign.scheduled_at.is_none() {
            faults.add(
                "/scheduled_at",
                "null",
                "a time, since the campaign is scheduled; or unschedule it first",
            );
        }
        // One that waits for approval may be edited while it waits.
        let waits = holds::of_campaign(change.connection(), id)
            .await?
            .iter()
            .any(|hold| hold.kind == HoldKind::Template);
        let if_unapproved = if waits {
            IfUnapproved::Wait
        } else {
            IfUnapproved::Refuse
        };
        check_sendable(change.connection(), &mut faults, &campaign, if_unapproved).await?;
        faults.finish()?;
    }
    campaigns::replace_decisions(change.connection(), &campaign).await?;
    if is_scheduled {
        settle_template_hold(change.connection(), &campaign).await?;
    }
    let view = CampaignView::read(change.connection(), id, true).await?;
    change
        .record("campaign.edit", &subject(id), without_phones(&view))
        .await?;
    let answer = change.commit(StatusCode::OK, &view).await?;
    if is_scheduled {
        api.queues.wake_schedulers().await;
    }
    Ok(answer)
}

/// Creates a draft that decides as this campaign did, without its times.
#[utoipa::path(post, path = "/v1/campaigns/{id}/clone", tag = "campaigns", params(("id" = Uuid, Path)),
    request_body = Option<CloneInput>, responses((status = 201, body = CampaignView)))]
async fn clone(
    Supervisor(caller): Supervisor,
    State(api): State<Api>,
    Path(id): Path<CampaignId>,
    OptionalJson(input): OptionalJson<CloneInput>,
) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    let original = campaigns::get(change.connection(), id).await?;
    let mut faults = Faults::default();
    let name = match &input.name {
        Some(name) => faults.text("/name", name, NAME_MAX_CHARS),
        None => Some(derived_name("Copy of", &original.name)),
    };
    faults.finish()?;
    let now = Utc::now();
    let copy = campaign_core::campaign::Campaign {
        id: CampaignId(Uuid::now_v7()),
        name: name.unwrap_or_default(),
        scheduled_at: None,
        expires_at: None,
        status: CampaignStatus::Draft,
        status_reason: None,
        started_at: None,
        finished_at: None,
        created_by: caller.name.clone(),
        created_at: now,
        updated_at: now,
        ..original
    };
    campaigns::create(change.connection(), &copy).await?;
    change
        .record("campaign.clone", &subject(copy.id), json!({ "of": id }))
        .await?;
    let view = CampaignView::read(change.connection(), copy.id, true).await?;
    change.commit(StatusCode::CREATED, &view).await
}

/// A name made of another campaign's, within the limit.
pub(super) fn derived_name(prefix: &str, name: &str) -> String {
    format!("{prefix} {name}").chars().take(NAME_MAX_CHARS).collect()
}

/// What the audit log keeps of a campaign.
fn without_phones(view: &CampaignView) -> serde_json::Value {
    let mut details = to_value(view);
    if let Some(fields) = details.as_object_mut() {
        fields.remove("test_phones");
    }
    details
}
