//! From a draft to a campaign that starts by itself, and back. A test is a campaign that starts now.

use super::decide::check_mapping;
use super::draft::derived_name;
use super::subject;
use super::times::{check_times, times};
use super::view::{CampaignView, not_now};
use crate::api::Api;
use crate::api::auth::{Caller, Supervisor};
use crate::api::body::{Edit, OptionalJson};
use crate::api::change::Change;
use crate::api::problems::{Answer, Faults, Stop};
use crate::templates::news;
use axum::extract::State;
use axum::http::StatusCode;
use campaign_core::campaign::{Audience, Campaign, CampaignStatus, IfUnapproved, TEST_NUMBERS_MAX};
use campaign_core::contracts::TickKind;
use campaign_core::ids::CampaignId;
use campaign_core::phone::{Region, canonicalise};
use campaign_core::segment::Segment;
use campaign_runtime::{Json, Path, Problem};
use campaign_store::{Connection, campaigns, phone_numbers, templates};
use chrono::Utc;
use erp_api::ErpError;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeSet;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

/// Pages that are looked through for a first customer: an ERP may give empty ones before the end.
const PROBE_PAGES_MAX: usize = 10;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(schedule))
        .routes(routes!(unschedule))
        .routes(routes!(test))
}

/// When the campaign starts. Without a body: when it was planned, or now.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ScheduleInput {
    /// RFC 3339 with an offset, or a local time in `time_zone`.
    scheduled_at: Option<String>,
    /// IANA name; the campaign's own if not given.
    time_zone: Option<String>,
    /// What happens if the template is not approved: `refuse` (the default), or `wait`: the campaign is held until
    /// WhatsApp approves it.
    if_unapproved: Option<String>,
}

/// Who receives the test.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestInput {
    /// 1 to 10 phone numbers.
    phones: Vec<String>,
}

/// Schedules a draft, or gives a scheduled campaign another time. Without any time it starts now.
#[utoipa::path(post, path = "/v1/campaigns/{id}/schedule", tag = "campaigns", params(("id" = Uuid, Path)),
    request_body = Option<ScheduleInput>, responses((status = 200, body = CampaignView)))]
async fn schedule(
    Supervisor(caller): Supervisor,
    State(api): State<Api>,
    Path(id): Path<CampaignId>,
    OptionalJson(input): OptionalJson<ScheduleInput>,
) -> Answer {
    Change::unless_repeated(&api, &caller).await?;
    let asked = {
        let mut connection = api.store.connection().await?;
        campaigns::get(&mut connection, id).await?
    };
    if !may_be_scheduled(&asked, &input) {
        return Err(not_now(&asked, false, "schedule"));
    }
    // Before the transaction: nobody's rows stay locked while the ERP thinks.
    require_customers(&api, segment(&asked.audience)).await?;

    let mut change = Change::begin(&api, &caller).await?;
    let before = campaigns::get_for_update(change.connection(), id).await?;
    if before.audience != asked.audience || !may_be_scheduled(&before, &input) {
        return Err(Problem::conflict("the campaign was changed at the same moment; look again").into());
    }
    let campaign = with_time(change.connection(), before, &input).await?;
    campaigns::replace_decisions(change.connection(), &campaign).await?;
    if campaign.status == CampaignStatus::Draft {
        campaigns::set_status(change.connection(), id, CampaignStatus::Scheduled, None).await?;
    }
    settle_template_hold(change.connection(), &campaign).await?;
    let details = json!({ "scheduled_at": campaign.scheduled_at, "time_zone": campaign.time_zone });
    change.record("campaign.schedule", &subject(id), details).await?;
    let view = CampaignView::read(change.connection(), id, true).await?;
    let answer = change.commit(StatusCode::OK, &view).await?;
    start_soon(&api, &campaign).await;
    Ok(answer)
}

/// Makes a scheduled campaign a draft again.
#[utoipa::path(post, path = "/v1/campaigns/{id}/unschedule", tag = "campaigns", params(("id" = Uuid, Path)),
    responses((status = 200, body = CampaignView)))]
async fn unschedule(
    Supervisor(caller): Supervisor,
    State(api): State<Api>,
    Path(id): Path<CampaignId>,
) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    campaigns::set_status(change.connection(), id, CampaignStatus::Draft, None).await?;
    change
        .record("campaign.unschedule", &subject(id), json!({}))
        .await?;
    let view = CampaignView::read(change.connection(), id, true).await?;
    change.commit(StatusCode::OK, &view).await
}

/// Sends the campaign's message to the given numbers now, by the same path as a campaign: it is one. The first
/// customer of the segment lends the values.
#[utoipa::path(post, path = "/v1/campaigns/{id}/test", tag = "campaigns", params(("id" = Uuid, Path)),
    request_body = TestInput, responses((status = 201, body = CampaignView)))]
async fn test(
    Supervisor(caller): Supervisor,
    State(api): State<Api>,
    Path(id): Path<CampaignId>,
    Json(input): Json<TestInput>,
) -> Answer {
    Change::unless_repeated(&api, &caller).await?;
    let original = {
        let mut connection = api.store.connection().await?;
        campaigns::get(&mut connection, id).await?
    };
    check_phones(&input.phones)?;
    require_customers(&api, segment(&original.audience)).await?;

    let mut change = Change::begin(&api, &caller).await?;
    let campaign = test_of(original, input.phones, &caller);
    let mut faults = Faults::default();
    check_sendable(change.connection(), &mut faults, &campaign, IfUnapproved::Refuse).await?;
    faults.finish()?;
    campaigns::create(change.connection(), &campaign).await?;
    campaigns::set_status(change.connection(), campaign.id, CampaignStatus::Scheduled, None).await?;
    let numbers = segment_and_count(&campaign.audience).1;
    change
        .record(
            "campaign.test",
            &subject(campaign.id),
            json!({ "of": id, "numbers": numbers }),
        )
        .await?;
    let view = CampaignView::read(change.connection(), campaign.id, true).await?;
    let answer = change.commit(StatusCode::CREATED, &view).await?;
    start_soon(&api, &campaign).await;
    Ok(answer)
}

fn may_be_scheduled(campaign: &Campaign, input: &ScheduleInput) -> bool {
    match campaign.status {
        CampaignStatus::Draft => true,
        // It has a time; only another one makes sense.
        CampaignStatus::Scheduled => input.scheduled_at.is_some(),
        _ => false,
    }
}

async fn with_time(
    connection: &mut Connection,
    before: Campaign,
    input: &ScheduleInput,
) -> Result<Campaign, Stop> {
    let now = Utc::now();
    let mut faults = Faults::default();
    let given = input.scheduled_at.clone().map_or(Edit::Keep, Edit::Set);
    let times = times(
        &mut faults,
        Some(&before),
        &given,
        input.time_zone.as_deref(),
        &Edit::Keep,
    );
    let mut campaign = before;
    if let Some(mut times) = times {
        times.scheduled_at.get_or_insert(now);
        check_times(&mut faults, &times, campaign.misfire_policy, true, now);
        campaign.scheduled_at = times.scheduled_at;
        times.zone.name().clone_into(&mut campaign.time_zone);
    }
    let if_unapproved = input.if_unapproved.as_deref().unwrap_or("refuse");
    let if_unapproved = faults
        .name("/if_unapproved", if_unapproved)
        .unwrap_or(IfUnapproved::Wait);
    check_sendable(connection, &mut faults, &campaign, if_unapproved).await?;
    faults.finish()?;
    Ok(campaign)
}

/// Checks what must be so for a campaign to start: an approved template (or one that may be approved, where that is
/// waited for) that its mapping fills, and an active number.
pub(super) async fn check_sendable(
    connection: &mut Connection,
    faults: &mut Faults,
    campaign: &Campaign,
    if_unapproved: IfUnapproved,
) -> Result<(), Stop> {
    let template = templates::get(connection, campaign.template_id).await?;
    let status = template.template.status;
    let expected = match if_unapproved {
        _ if status.can_be_sent() => None,
        IfUnapproved::Wait if status.may_be_approved() => None,
        IfUnapproved::Wait => Some("a template that is APPROVED or may still be"),
        IfUnapproved::Refuse if status.may_be_approved() => {
            Some("an APPROVED template, or if_unapproved: wait when scheduling")
        }
        IfUnapproved::Refuse => Some("an APPROVED template"),
    };
    if let Some(expected) = expected {
        let why = template.status_reason.as_deref().map(|why| format!(" ({why})"));
        faults.add(
            "/template",
            format!("is {status}{}", why.unwrap_or_default()),
            expected,
        );
    }
    check_mapping(faults, &template, &campaign.mapping);
    let number = phone_numbers::get(connection, &campaign.phone_number_id).await?;
    if !number.active {
        faults.add("/phone_number_id", "is not active", "an active phone number");
    }
    Ok(())
}

/// Holds a campaign whose template is not approved, or releases one that has another template now.
pub(super) async fn settle_template_hold(
    connection: &mut Connection,
    campaign: &Campaign,
) -> Result<(), Stop> {
    let template = templates::get(connection, campaign.template_id).await?;
    let (status, reason) = (template.template.status, template.status_reason);
    news::settle_campaign(connection, campaign, status, reason.as_deref()).await?;
    Ok(())
}

/// Asks the ERP whether the segment has anybody. An ERP that cannot be asked at the moment does not keep
/// people from scheduling: the sender will ask again, and hold the campaign if it must.
async fn require_customers(api: &Api, segment: &Segment) -> Result<(), Stop> {
    let mut cursor: Option<String> = None;
    for _ in 0..PROBE_PAGES_MAX {
        match api.erp.page(segment, cursor.as_deref(), 1).await {
            Ok(page) if !page.customers.is_empty() => return Ok(()),
            Ok(page) if page.next_cursor.is_some() => cursor = page.next_cursor,
            Ok(_) => {
                return Err(Problem::unprocessable(
                    "the segment is empty: the ERP knows no customer like this",
                )
                .field(
                    "/segment",
                    "no customer matches",
                    "criteria that match at least one customer",
                )
                .into());
            }
            Err(ErpError::Refused {
                status: 400 | 422,
                detail,
            }) => {
                return Err(Problem::unprocessable("the ERP does not take this segment")
                    .field("/segment", detail, "criteria that the ERP takes")
                    .into());
            }
            Err(error) => {
                tracing::warn!(%error, "the segment could not be checked before scheduling");
                return Ok(());
            }
        }
    }
    Ok(())
}

fn check_phones(phones: &[String]) -> Result<(), Stop> {
    let mut faults = Faults::default();
    if phones.is_empty() || phones.len() > TEST_NUMBERS_MAX {
        faults.add(
            "/phones",
            format!("{} numbers", phones.len()),
            format!("1 to {TEST_NUMBERS_MAX} numbers"),
        );
    }
    let mut seen = BTreeSet::new();
    for (index, phone) in phones.iter().take(TEST_NUMBERS_MAX).enumerate() {
        let field = format!("/phones/{index}");
        match canonicalise(phone, Region::Brazil) {
            Ok(phone) if !seen.insert(phone) => faults.add(field, "there twice", "each number once"),
            Ok(_) => {}
            Err(problem) => faults.add(field, "cannot receive", problem.to_string()),
        }
    }
    faults.finish()
}

fn test_of(original: Campaign, phones: Vec<String>, caller: &Caller) -> Campaign {
    let now = Utc::now();
    let segment = segment(&original.audience).clone();
    Campaign {
        id: CampaignId(Uuid::now_v7()),
        name: derived_name("Test of", &original.name),
        audience: Audience::Test { segment, phones },
        scheduled_at: Some(now),
        expires_at: None,
        status: CampaignStatus::Draft,
        status_reason: None,
        started_at: None,
        finished_at: None,
        created_by: caller.name.clone(),
        created_at: now,
        updated_at: now,
        ..original
    }
}

/// The segment of a campaign or of a test.
pub(crate) fn segment(audience: &Audience) -> &Segment {
    segment_and_count(audience).0
}

fn segment_and_count(audience: &Audience) -> (&Segment, usize) {
    match audience {
        Audience::Segment { segment } => (segment, 0),
        Audience::Test { segment, phones } => (segment, phones.len()),
    }
}

/// Wakes whoever starts campaigns. The tick of the minute does the same, later.
async fn start_soon(api: &Api, campaign: &Campaign) {
    if !api.precise_wakeup {
        return;
    }
    if campaign.scheduled_at.is_some_and(|at| at <= Utc::now()) {
        if let Err(error) = api.queues.tick(TickKind::Asked).await {
            tracing::warn!(campaign_id = %campaign.id, %error, "no tick was published; the next one starts the campaign");
        }
    } else {
        api.queues.wake_schedulers().await;
    }
}
