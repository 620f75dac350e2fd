//! What a campaign costs: before it is sent, while it is, and what it may cost at most.
//!
//! Before the launch nobody has fetched the audience, so an estimate rests on what can be known: how many customers
//! the ERP says there are, and how the first of them spread over countries and reasons to skip.

use super::subject;
use crate::api::Api;
use crate::api::auth::{Supervisor, Viewer};
use crate::api::campaigns::segment;
use crate::api::change::{Change, ok};
use crate::api::preview;
use crate::api::problems::{Answer, Faults, Stop};
use axum::extract::State;
use axum::http::StatusCode;
use campaign_core::audience::{AudienceRule, Evaluated};
use campaign_core::campaign::{Campaign, HoldKind};
use campaign_core::cost::{CostBasis, Money, NoMoney, PriceList};
use campaign_core::ids::CampaignId;
use campaign_core::message::MessageState;
use campaign_runtime::{Json, Path, Problem};
use campaign_store::costs::{self, CostLine};
use campaign_store::reports::Progress;
use campaign_store::templates::StoredTemplate;
use campaign_store::{Connection, campaigns, holds, reports, templates};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Customers asked of the ERP for the sample.
const SAMPLE_SIZE: u16 = 500;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(estimate))
        .routes(routes!(set_budget))
}

/// What a campaign has cost.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CostView {
    /// Of all amounts; null while there is no price list.
    currency: Option<String>,
    /// What was accepted, by the price list, corrected by what WhatsApp reported.
    spent: String,
    /// What it may cost; null for anything.
    budget: Option<String>,
    lines: Vec<CostLineView>,
}

/// Messages of one category that were counted alike.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CostLineView {
    /// As in `MARKETING`.
    category: String,
    /// `listed` (the list's price), `billed` (the same, after WhatsApp said so), `free`, `undelivered`, or `unpriced`
    /// (the list has no price for it).
    basis: &'static str,
    messages: i64,
    amount: String,
}

impl CostView {
    pub(super) async fn read(connection: &mut Connection, id: CampaignId) -> Result<Self, Stop> {
        let list = costs::price_list(&mut *connection).await?;
        let terms = costs::terms(&mut *connection, id).await?;
        let lines = costs::lines(connection, id).await?;
        let spent: i64 = lines.iter().map(|line| line.amount.0).sum();
        Ok(Self {
            currency: list.map(|(list, _)| list.currency),
            spent: Money(spent).to_string(),
            budget: terms.budget.map(|budget| budget.to_string()),
            lines: lines.into_iter().map(line).collect(),
        })
    }
}

fn money(faults: &mut Faults, amount: &str) -> Option<Money> {
    let read = amount.parse();
    read.map_err(|error: NoMoney| faults.add("/amount", error.to_string(), "an amount, as in \"150.00\""))
        .ok()
}

fn line(line: CostLine) -> CostLineView {
    CostLineView {
        category: line.category,
        basis: line.basis.as_str(),
        messages: line.messages,
        amount: line.amount.to_string(),
    }
}

/// What a campaign may cost.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BudgetInput {
    /// In the price list's currency, as in `"150.00"`; null for anything.
    amount: Option<String>,
}

/// Sets what a campaign may cost. Where its price would pass that, it is held; what is in flight then still goes.
#[utoipa::path(put, path = "/v1/campaigns/{id}/budget", tag = "campaigns", params(("id" = Uuid, Path)),
    request_body = BudgetInput, responses((status = 200, body = CostView)))]
async fn set_budget(
    Supervisor(caller): Supervisor,
    State(api): State<Api>,
    Path(id): Path<CampaignId>,
    Json(input): Json<BudgetInput>,
) -> Answer {
    let mut change = Change::begin(&api, &caller).await?;
    let campaign = campaigns::get_for_update(change.connection(), id).await?;
    let mut faults = Faults::default();
    let budget = input
        .amount
        .as_deref()
        .and_then(|amount| money(&mut faults, amount));
    faults.finish()?;
    let terms = costs::terms(change.connection(), id).await?;
    let list = costs::price_list(change.connection())
        .await?
        .map(|(list, _)| list);
    let highest = list.as_ref().and_then(|list| list.highest(&terms.category));
    if budget.is_some() && highest.is_none() {
        let category = terms.category;
        let detail = format!(
            "the price list has no price for {category}, so nothing could be counted; PUT /v1/prices first"
        );
        return Err(Problem::conflict(detail).into());
    }
    costs::set_budget(change.connection(), id, budget).await?;
    let spent = costs::total(change.connection(), id).await?;
    let suffices = budget.is_none_or(|budget| spent.0 + highest.unwrap_or_default().0 <= budget.0);
    if suffices {
        holds::lift_campaign(change.connection(), id, HoldKind::Budget).await?;
    } else {
        let reason = format!("{spent} are spent, and its budget does not suffice for another message");
        holds::raise_campaign(
            change.connection(),
            id,
            HoldKind::Budget,
            &reason,
            &caller.name,
            None,
        )
        .await?;
    }
    change
        .record("campaign.budget", &subject(id), json!({ "amount": input.amount }))
        .await?;
    let view = CostView::read(change.connection(), id).await?;
    let answer = change.commit(StatusCode::OK, &view).await?;
    api.queues.wake_lane(&campaign.phone_number_id).await;
    Ok(answer)
}

/// What a campaign will cost.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EstimateView {
    currency: String,
    /// The template's category.
    category: String,
    /// About how many messages; null if the ERP cannot tell how many customers there are.
    messages: Option<u64>,
    /// About what they cost; null if the ERP cannot tell.
    amount: Option<String>,
    /// At most this, whatever the countries: every customer is sent to at the highest price. Null if the ERP cannot
    /// tell.
    at_most: Option<String>,
    /// About what one message costs.
    per_message: String,
    /// Recipients of the sample by the price of their message, or `unpriced`.
    sample_by_price: BTreeMap<String, u64>,
    rests_on: RestsOn,
}

/// What an estimate rests on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RestsOn {
    /// `audience`: the recipients that were fetched. `erp_count`: the ERP's own count, and a sample. `sample`: a sample
    /// alone, so only the price of one message is known.
    kind: &'static str,
    /// Customers that were looked at.
    sample: u64,
    /// Of these, how many would be sent to.
    sample_recipients: u64,
    /// How many customers there are, if that is known.
    customers: Option<u64>,
}

/// Estimates what a campaign will cost, by the price list. Nothing is sent, nothing is written.
#[utoipa::path(get, path = "/v1/campaigns/{id}/estimate", tag = "campaigns", params(("id" = Uuid, Path)),
    responses((status = 200, body = EstimateView)))]
async fn estimate(_: Viewer, State(api): State<Api>, Path(id): Path<CampaignId>) -> Answer {
    let (campaign, template, list, progress) = {
        let mut connection = api.store.connection().await?;
        let campaign = campaigns::get(&mut connection, id).await?;
        let template = templates::get(&mut connection, campaign.template_id).await?;
        let list = costs::price_list(&mut connection).await?.map(|(list, _)| list);
        let progress = reports::progress(&mut connection, id).await?;
        (campaign, template, list, progress)
    };
    let Some(list) = list else {
        return Err(Problem::conflict("there is no price list; PUT /v1/prices first").into());
    };
    let sample = Sample::take(&api, &campaign, &template, &list).await?;
    ok(&sample.view(list, template.template.category.as_str(), &progress))
}

/// The first customers of a segment.
#[derive(Default)]
struct Sample {
    customers: u64,
    recipients: u64,
    cost: Money,
    by_price: BTreeMap<String, u64>,
    estimate: Option<u64>,
}

impl Sample {
    async fn take(
        api: &Api,
        campaign: &Campaign,
        template: &StoredTemplate,
        list: &PriceList,
    ) -> Result<Self, Stop> {
        let rule = preview::rule(campaign, template)?;
        let page = api
            .erp
            .page(segment(&campaign.audience), None, SAMPLE_SIZE)
            .await?;
        let mut sample = Self {
            estimate: page
                .total_estimate
                .or_else(|| page.next_cursor.is_none().then_some(page.customers.len() as u64)),
            ..Self::default()
        };
        for customer in &page.customers {
            sample.customers += 1;
            sample.add(&rule, customer, list, template.template.category.as_str());
        }
        Ok(sample)
    }

    fn add(
        &mut self,
        rule: &AudienceRule,
        customer: &campaign_core::customer::Customer,
        list: &PriceList,
        category: &str,
    ) {
        let Evaluated::Recipient { phone, .. } = rule.evaluate(customer) else {
            return;
        };
        self.recipients += 1;
        let price = list.price(phone.as_str(), category);
        self.cost.0 += price.unwrap_or_default().0;
        let name = price.map_or_else(|| CostBasis::Unpriced.to_string(), |price| price.to_string());
        *self.by_price.entry(name).or_default() += 1;
    }

    fn view(self, list: PriceList, category: &str, progress: &Progress) -> EstimateView {
        let highest = list.highest(category).unwrap_or_default();
        let recipients = i64::try_from(self.recipients).unwrap_or(i64::MAX).max(1);
        let per_message = Money(self.cost.0 / recipients);
        let fetched = u64::try_from(progress.total).unwrap_or_default();
        let skipped = progress.count(MessageState::Skipped);
        let (kind, customers, messages) = if progress.audience_complete {
            let messages = u64::try_from(progress.total - skipped).unwrap_or_default();
            ("audience", Some(fetched), Some(messages))
        } else if let Some(estimate) = self.estimate {
            let share =
                u128::from(estimate) * u128::from(self.recipients) / u128::from(self.customers.max(1));
            ("erp_count", Some(estimate), u64::try_from(share).ok())
        } else {
            ("sample", None, None)
        };
        let times = |count: Option<u64>, money: Money| {
            let count = i64::try_from(count?).ok()?;
            Some(Money(count.checked_mul(money.0)?).to_string())
        };
        let amount = messages.and_then(|messages| {
            let exact = i128::from(messages) * i128::from(self.cost.0) / i128::from(recipients);
            i64::try_from(exact).ok().map(|micros| Money(micros).to_string())
        });
        let most = if progress.audience_complete {
            messages
        } else {
            customers
        };
        EstimateView {
            currency: list.currency,
            category: category.to_owned(),
            messages,
            amount,
            at_most: times(most, highest),
            per_message: per_message.to_string(),
            sample_by_price: self.by_price,
            rests_on: RestsOn {
                kind,
                sample: self.customers,
                sample_recipients: self.recipients,
                customers,
            },
        }
    }
}
