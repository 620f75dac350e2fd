//! Budgets: which campaigns cannot pay for another message, and the hold that follows.

use super::super::Lane;
use crate::lane::error::LaneError;
use campaign_core::campaign::HoldKind;
use campaign_core::cost::{Money, PriceList};
use campaign_core::ids::CampaignId;
use campaign_store::costs::Terms;
use campaign_store::{Connection, campaigns, commit, costs, holds};
use std::collections::BTreeMap;

/// The price list; an empty one prices nothing.
pub(super) async fn price_list(connection: &mut Connection) -> Result<PriceList, LaneError> {
    let list = costs::price_list(connection).await?;
    Ok(list.map(|(list, _)| list).unwrap_or_default())
}

/// The campaigns whose budget does not suffice for another message.
pub(super) async fn all_over(
    connection: &mut Connection,
    terms: &BTreeMap<CampaignId, Terms>,
    prices: &PriceList,
) -> Result<Vec<CampaignId>, LaneError> {
    let limited = terms.iter().filter(|(_, terms)| terms.budget.is_some());
    let limited: Vec<CampaignId> = limited.map(|(campaign, _)| *campaign).collect();
    let spent = costs::totals(connection, &limited).await?;
    let is_over = |campaign: &CampaignId| {
        let spent = spent.get(campaign).copied().unwrap_or_default();
        terms
            .get(campaign)
            .is_some_and(|terms| why_over(terms, spent, prices).is_some())
    };
    Ok(limited.into_iter().filter(is_over).collect())
}

/// Why the campaign's budget does not suffice for another message, if it does not.
fn why_over(terms: &Terms, spent: Money, prices: &PriceList) -> Option<String> {
    let budget = terms.budget?;
    let next = prices.highest(&terms.category).unwrap_or_default();
    let currency = &prices.currency;
    let reason = || format!("{spent} of {budget} {currency} are spent; the next message may cost {next}");
    (spent.0 + next.0 > budget.0).then(reason)
}

/// Holds a campaign whose budget does not suffice for another message. Whoever changes the budget locks the campaign
/// too, so it is judged by the budget that holds now: one that was raised meanwhile must not be held for the old one.
pub(super) async fn hold(lane: &Lane, campaign: CampaignId) -> Result<(), LaneError> {
    let mut transaction = lane.begin().await?;
    campaigns::get_for_update(&mut transaction, campaign).await?;
    let prices = price_list(&mut transaction).await?;
    let terms = costs::terms(&mut transaction, campaign).await?;
    let spent = costs::total(&mut transaction, campaign).await?;
    let Some(reason) = why_over(&terms, spent, &prices) else {
        return Ok(());
    };
    let kind = HoldKind::Budget;
    let raised = holds::raise_campaign(&mut transaction, campaign, kind, &reason, "sender-svc", None).await?;
    commit(transaction).await?;
    if raised {
        lane.look.notify_one();
        tracing::warn!(campaign_id = %campaign, reason, "the campaign is held because of its budget");
    }
    Ok(())
}
