//! `/v1/campaigns/{id}/preview`: what the first real recipients would receive, and who would be skipped and why.
//! Nothing is sent, nothing is written.
//!
//! Judged by the same rule as the audience itself ([`AudienceRule`]), and by what the ledger adds to it:
//! duplicates and suppressions.

use crate::api::Api;
use crate::api::auth::{Caller, Viewer};
use crate::api::campaigns::mask;
use crate::api::campaigns::segment;
use crate::api::change::ok;
use crate::api::problems::{Answer, Faults, Stop};
use axum::extract::State;
use campaign_core::audience::{AudienceOptions, AudienceRule, Evaluated};
use campaign_core::campaign::Campaign;
use campaign_core::customer::Customer;
use campaign_core::ids::CampaignId;
use campaign_core::message::SkipReason;
use campaign_core::phone::CanonicalPhone;
use campaign_core::template::RenderedMessage;
use campaign_runtime::Path;
use campaign_store::templates::StoredTemplate;
use campaign_store::{audience, campaigns, templates};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Recipients that are rendered.
const RECIPIENTS_MAX: usize = 10;
/// Skipped customers that are listed; the rest is counted.
const SKIPS_MAX: usize = 50;
/// Customers asked of the ERP at once.
const PAGE_SIZE: u16 = 100;
/// Pages that are looked through for [`RECIPIENTS_MAX`] recipients.
const PAGES_MAX: usize = 5;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show, make))
}

/// What a campaign would send.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct PreviewView {
    /// The first recipients, at most 10.
    recipients: Vec<PreviewRecipient>,
    /// The customers before the last of them who would be skipped, at most 50.
    skipped: Vec<PreviewSkip>,
    /// All skipped customers that were looked at, by reason.
    skipped_by: BTreeMap<&'static str, u64>,
    /// Customers that were looked at.
    customers_seen: u64,
    /// About how many customers the segment has, if the ERP can tell.
    customers_estimate: Option<u64>,
    /// Whether the segment has customers that were not looked at.
    more: bool,
}

/// A recipient and the message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PreviewRecipient {
    customer_id: String,
    /// Masked for viewers.
    phone: String,
    /// Header, body, footer and buttons as the person sees them.
    #[schema(value_type = Object)]
    message: RenderedMessage,
}

/// A customer who would be skipped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PreviewSkip {
    customer_id: String,
    /// As in `missing_variable`.
    reason: &'static str,
    /// What exactly.
    detail: Option<String>,
}

/// Renders the first ten real recipients without sending.
#[utoipa::path(get, path = "/v1/campaigns/{id}/preview", tag = "campaigns", params(("id" = Uuid, Path)),
    responses((status = 200, body = PreviewView)))]
async fn show(Viewer(caller): Viewer, State(api): State<Api>, Path(id): Path<CampaignId>) -> Answer {
    preview(&api, &caller, id).await
}

/// As GET.
#[utoipa::path(post, path = "/v1/campaigns/{id}/preview", tag = "campaigns", params(("id" = Uuid, Path)),
    responses((status = 200, body = PreviewView)))]
async fn make(Viewer(caller): Viewer, State(api): State<Api>, Path(id): Path<CampaignId>) -> Answer {
    preview(&api, &caller, id).await
}

async fn preview(api: &Api, caller: &Caller, id: CampaignId) -> Answer {
    let (campaign, template) = {
        let mut connection = api.store.connection().await?;
        let campaign = campaigns::get(&mut connection, id).await?;
        let template = templates::get(&mut connection, campaign.template_id).await?;
        (campaign, template)
    };
    let rule = rule(&campaign, &template)?;
    let mut preview = Preview {
        rule,
        seen: BTreeSet::new(),
        view: PreviewView::default(),
        caller,
    };
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let page = api
            .erp
            .page(segment(&campaign.audience), cursor.as_deref(), PAGE_SIZE)
            .await?;
        if preview.view.customers_estimate.is_none() {
            preview.view.customers_estimate = page.total_estimate;
        }
        let suppressed = suppressed(api, id, &preview.rule, &page.customers).await?;
        let looked_at = preview.look_at(&page.customers, &suppressed);
        preview.view.more = looked_at < page.customers.len() || page.next_cursor.is_some();
        cursor = page.next_cursor;
        if preview.view.recipients.len() == RECIPIENTS_MAX || cursor.is_none() {
            break;
        }
    }
    ok(&preview.view)
}

pub(crate) fn rule(campaign: &Campaign, stored: &StoredTemplate) -> Result<AudienceRule, Stop> {
    let mut faults = Faults::default();
    let compiled = match stored.template.compile_for_sending() {
        Ok(compiled) => Some(compiled),
        Err(problems) => {
            for problem in problems {
                faults.add("/template", problem.to_string(), "a template that can be filled");
            }
            None
        }
    };
    let bound = compiled.map(|compiled| {
        let options = AudienceOptions::for_category(compiled.category());
        AudienceRule::new(compiled, &campaign.mapping, options)
    });
    match bound {
        Some(Ok(rule)) => return Ok(rule),
        Some(Err(problems)) => {
            for problem in problems {
                let field = format!("/mapping/{}", problem.variable());
                faults.add(field, problem.to_string(), "a mapping that fills the template");
            }
        }
        None => {}
    }
    faults.finish()?;
    Err(campaign_runtime::Problem::internal("a rule that cannot be made has its faults").into())
}

/// Which of a page's phones are suppressed.
async fn suppressed(
    api: &Api,
    campaign: CampaignId,
    rule: &AudienceRule,
    customers: &[Customer],
) -> Result<HashSet<CanonicalPhone>, Stop> {
    let phones: Vec<CanonicalPhone> = customers
        .iter()
        .filter_map(|customer| match rule.evaluate(customer) {
            Evaluated::Recipient { phone, .. } => Some(phone),
            Evaluated::Skipped { .. } => None,
        })
        .collect();
    let mut connection = api.store.connection().await?;
    Ok(audience::present(&mut connection, campaign, &[], &phones)
        .await?
        .suppressed)
}

struct Preview<'a> {
    rule: AudienceRule,
    seen: BTreeSet<CanonicalPhone>,
    view: PreviewView,
    caller: &'a Caller,
}

impl Preview<'_> {
    /// Looks at customers until there are enough recipients. Returns at how many it looked.
    fn look_at(&mut self, customers: &[Customer], suppressed: &HashSet<CanonicalPhone>) -> usize {
        for (index, customer) in customers.iter().enumerate() {
            if self.view.recipients.len() == RECIPIENTS_MAX {
                return index;
            }
            self.view.customers_seen += 1;
            match self.rule.evaluate(customer) {
                Evaluated::Recipient { phone, .. } if suppressed.contains(&phone) => {
                    self.skip(customer, SkipReason::OptedOut, None);
                }
                Evaluated::Recipient { phone, .. } if !self.seen.insert(phone) => {
                    self.skip(customer, SkipReason::Duplicate, None);
                }
                Evaluated::Recipient { phone, variables, .. } => {
                    match self.rule.template().preview(&variables) {
                        Ok(message) => self.view.recipients.push(PreviewRecipient {
                            customer_id: customer.id.clone(),
                            phone: if self.caller.sees_phones() {
                                phone.to_string()
                            } else {
                                mask(phone.as_str())
                            },
                            message,
                        }),
                        Err(problem) => {
                            self.skip(customer, SkipReason::InvalidVariable, Some(problem.to_string()));
                        }
                    }
                }
                Evaluated::Skipped { reason, detail, .. } => self.skip(customer, reason, detail),
            }
        }
        customers.len()
    }

    fn skip(&mut self, customer: &Customer, reason: SkipReason, detail: Option<String>) {
        *self.view.skipped_by.entry(reason.as_str()).or_default() += 1;
        if self.view.skipped.len() < SKIPS_MAX {
            let customer_id = customer.id.clone();
            self.view.skipped.push(PreviewSkip {
                customer_id,
                reason: reason.as_str(),
                detail,
            });
        }
    }
}
