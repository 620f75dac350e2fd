//! `/v1/campaigns`: from the draft to the last receipt.

mod advice;
mod control;
mod cost;
mod decide;
mod draft;
mod recipients;
mod report;
mod requests;
mod schedule;
mod times;
mod view;

pub(crate) use schedule::segment;
pub(crate) use view::mask;

use crate::api::Api;
use campaign_core::ids::CampaignId;
use utoipa_axum::router::OpenApiRouter;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    draft::routes()
        .merge(schedule::routes())
        .merge(control::routes())
        .merge(report::routes())
        .merge(cost::routes())
        .merge(recipients::routes())
        .merge(requests::routes())
}

/// What the audit log calls a campaign.
pub(crate) fn subject(id: CampaignId) -> String {
    format!("campaign:{id}")
}
