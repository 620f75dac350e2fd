//! A campaign as people see it.

use crate::api::holds::HoldView;
use crate::api::problems::Stop;
use campaign_core::campaign::{Audience, Campaign, CampaignStatus};
use campaign_core::ids::CampaignId;
use campaign_core::phone::{Region, canonicalise};
use campaign_core::segment::Segment;
use campaign_core::variables::VariableMapping;
use campaign_runtime::Problem;
use campaign_store::holds::Hold;
use campaign_store::{Connection, campaigns, holds};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// What people see while a hold stands.
pub(crate) const PAUSED: &str = "PAUSED";

/// A campaign.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CampaignView {
    pub(crate) id: Uuid,
    name: String,
    /// `DRAFT`, `SCHEDULED`, `SENDING`, `COMPLETED` (all is enqueued; sending may go on until `finished_at`),
    /// `CANCELLED`, `FAILED`, or `PAUSED` while a hold stands.
    status: &'static str,
    /// The status without regard to holds.
    stored_status: &'static str,
    /// Why it failed or was cancelled.
    status_reason: Option<String>,
    /// What may be done with it now.
    actions: Vec<&'static str>,
    /// Why it is not sent at the moment.
    holds: Vec<HoldView>,
    template_id: Uuid,
    account_id: Uuid,
    phone_number_id: String,
    #[schema(value_type = Object)]
    segment: Segment,
    /// Who receives a test; absent for a real campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    test_phones: Option<Vec<String>>,
    #[schema(value_type = Object)]
    mapping: VariableMapping,
    /// `low`, `normal` or `high`.
    priority: &'static str,
    scheduled_at: Option<DateTime<Utc>>,
    /// The same moment in the campaign's own time zone.
    scheduled_at_local: Option<String>,
    time_zone: String,
    expires_at: Option<DateTime<Utc>>,
    /// `start`, `skip` or `wait`.
    misfire_policy: &'static str,
    /// `hold` or `resend`.
    on_uncertain: &'static str,
    created_by: String,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    pub(super) finished_at: Option<DateTime<Utc>>,
}

impl CampaignView {
    /// `sees_phones`: whether phone numbers are shown in full.
    pub(crate) fn new(campaign: Campaign, holds: Vec<Hold>, sees_phones: bool) -> Self {
        let held = !holds.is_empty();
        let zone: Option<Tz> = campaign.time_zone.parse().ok();
        let local = campaign
            .scheduled_at
            .zip(zone)
            .map(|(at, zone)| at.with_timezone(&zone).to_rfc3339());
        let actions = actions(&campaign, held);
        let (segment, test_phones) = match campaign.audience {
            Audience::Segment { segment } => (segment, None),
            Audience::Test { segment, phones } if sees_phones => (segment, Some(phones)),
            Audience::Test { segment, phones } => {
                (segment, Some(phones.iter().map(|phone| mask(phone)).collect()))
            }
        };
        Self {
            id: campaign.id.0,
            name: campaign.name,
            status: if held && is_running(campaign.status, campaign.finished_at) {
                PAUSED
            } else {
                campaign.status.as_str()
            },
            stored_status: campaign.status.as_str(),
            status_reason: campaign.status_reason,
            actions,
            holds: holds.into_iter().map(HoldView::from).collect(),
            template_id: campaign.template_id.0,
            account_id: campaign.account_id.0,
            phone_number_id: campaign.phone_number_id.into(),
            segment,
            test_phones,
            mapping: campaign.mapping,
            priority: campaign.priority.as_str(),
            scheduled_at: campaign.scheduled_at,
            scheduled_at_local: local,
            time_zone: campaign.time_zone,
            expires_at: campaign.expires_at,
            misfire_policy: campaign.misfire_policy.as_str(),
            on_uncertain: campaign.on_uncertain.as_str(),
            created_by: campaign.created_by,
            created_at: campaign.created_at,
            updated_at: campaign.updated_at,
            started_at: campaign.started_at,
            finished_at: campaign.finished_at,
        }
    }

    /// Reads a campaign and its holds.
    pub(crate) async fn read(
        connection: &mut Connection,
        id: CampaignId,
        sees_phones: bool,
    ) -> Result<Self, Stop> {
        let campaign = campaigns::get(connection, id).await?;
        let holds = holds::of_campaign(connection, id).await?;
        Ok(Self::new(campaign, holds, sees_phones))
    }
}

/// Whether a hold on a campaign in this status shows as [`PAUSED`].
pub(crate) fn is_running(status: CampaignStatus, finished_at: Option<DateTime<Utc>>) -> bool {
    matches!(status, CampaignStatus::Sending | CampaignStatus::Completed) && finished_at.is_none()
}

/// What may be done with a campaign now.
fn actions(campaign: &Campaign, held: bool) -> Vec<&'static str> {
    let mut actions = match campaign.status {
        CampaignStatus::Draft => vec!["edit", "schedule", "cancel"],
        CampaignStatus::Scheduled => vec!["edit", "schedule", "unschedule", "pause", "cancel"],
        CampaignStatus::Sending | CampaignStatus::Completed if campaign.finished_at.is_none() => {
            vec!["pause", "cancel", "resend", "write-off"]
        }
        CampaignStatus::Completed => vec!["resend", "write-off"],
        CampaignStatus::Sending | CampaignStatus::Cancelled | CampaignStatus::Failed => vec![],
    };
    if held && actions.contains(&"pause") {
        actions.push("resume");
    }
    actions.extend(["clone", "preview", "test"]);
    actions
}

/// The problem that an action is not possible now.
pub(crate) fn not_now(campaign: &Campaign, held: bool, action: &str) -> Stop {
    let finished = if campaign.finished_at.is_some() {
        " and has finished"
    } else {
        ""
    };
    let allowed = actions(campaign, held);
    Problem::conflict(format!(
        "{action} is not possible: the campaign is {}{finished}; possible now: {}",
        campaign.status,
        allowed.join(", ")
    ))
    .kind("/problems/illegal-transition", "Illegal state transition")
    .extension("campaign_status", campaign.status.as_str())
    .extension("allowed", allowed)
    .into()
}

/// A phone number that shows only how it starts and ends.
pub(crate) fn mask(phone: &str) -> String {
    canonicalise(phone, Region::Brazil).map_or_else(|_| "•••".to_owned(), |phone| phone.masked())
}
