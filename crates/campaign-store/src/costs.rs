//! What campaigns cost: the price list, what messages are counted with, and budgets.
//!
//! `(SELECT $1)` instead of `$1` hides from the planner how many campaigns there are. What it knows it plans for anew,
//! each time, and takes longer for a statement than running it.

use crate::{Connection, Result, StoreError, read};
use campaign_core::cost::{Charge, CostBasis, Money, PriceList};
use campaign_core::ids::CampaignId;
use chrono::{DateTime, Utc};
use sqlx::Row;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The price list, and since when it holds; none until somebody wrote one.
pub async fn price_list(connection: &mut Connection) -> Result<Option<(PriceList, DateTime<Utc>)>> {
    let row = sqlx::query("-- costs.price_list\nSELECT list, updated_at FROM price_list")
        .fetch_optional(connection)
        .await?;
    row.map(|row| Ok((read::json(&row, "list")?, row.try_get("updated_at")?)))
        .transpose()
}

/// Replaces the price list. What was counted stays as it was counted.
pub async fn set_price_list(connection: &mut Connection, list: &PriceList) -> Result<()> {
    sqlx::query(
        "-- costs.set_price_list
         INSERT INTO price_list (list) VALUES ($1)
         ON CONFLICT (only_one) DO UPDATE SET list = EXCLUDED.list, updated_at = clock_timestamp()",
    )
    .bind(read::to_json(list))
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets what a campaign may cost, or that it may cost anything.
pub async fn set_budget(
    connection: &mut Connection,
    campaign: CampaignId,
    budget: Option<Money>,
) -> Result<()> {
    sqlx::query("-- costs.clear_budget\nDELETE FROM campaign_budgets WHERE campaign = $1")
        .bind(campaign.0)
        .execute(&mut *connection)
        .await?;
    if let Some(Money(micros)) = budget {
        sqlx::query(
            "-- costs.set_budget\nINSERT INTO campaign_budgets (campaign, limit_micros) VALUES ($1, $2)",
        )
        .bind(campaign.0)
        .bind(micros)
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// What a campaign's messages are counted with, and what it may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The template's category.
    pub category: String,
    /// Whether it may not cost more than this.
    pub budget: Option<Money>,
}

/// The terms of a campaign.
pub async fn terms(connection: &mut Connection, campaign: CampaignId) -> Result<Terms> {
    let mut terms = terms_of(connection, &[campaign]).await?;
    terms.remove(&campaign).ok_or_else(|| unknown(campaign))
}

/// The terms of each of these campaigns.
///
/// # Errors
/// When one of them does not exist.
pub async fn terms_of(
    connection: &mut Connection,
    campaigns: &[CampaignId],
) -> Result<BTreeMap<CampaignId, Terms>> {
    if campaigns.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query(
        "-- costs.terms_of
         SELECT campaigns.id, category, limit_micros FROM campaigns
         JOIN templates ON templates.id = campaigns.template_id
         LEFT JOIN campaign_budgets ON campaign_budgets.campaign = campaigns.id
         WHERE campaigns.id = ANY((SELECT $1::uuid[])::uuid[])",
    )
    .bind(ids(campaigns))
    .fetch_all(connection)
    .await?;
    let mut terms = BTreeMap::new();
    for row in rows {
        let budget: Option<i64> = row.try_get("limit_micros")?;
        let of_campaign = Terms {
            category: row.try_get("category")?,
            budget: budget.map(Money),
        };
        terms.insert(CampaignId(row.try_get("id")?), of_campaign);
    }
    match campaigns.iter().find(|campaign| !terms.contains_key(campaign)) {
        Some(missing) => Err(unknown(*missing)),
        None => Ok(terms),
    }
}

fn unknown(campaign: CampaignId) -> StoreError {
    StoreError::NotFound {
        what: "campaign",
        id: campaign.to_string(),
    }
}

fn ids(campaigns: &[CampaignId]) -> Vec<Uuid> {
    campaigns.iter().map(|campaign| campaign.0).collect()
}

/// A change of what a campaign costs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CostDelta(BTreeMap<(String, CostBasis), (i64, i64)>);

impl CostDelta {
    /// A message is counted with `after`, and no longer with `before`.
    pub fn moved(&mut self, before: Option<&Charge>, after: Option<&Charge>) {
        for (charge, sign) in [(before, -1), (after, 1)] {
            if let Some(Charge {
                category,
                basis,
                amount,
            }) = charge
            {
                let sum = self.0.entry((category.clone(), *basis)).or_default();
                sum.0 += sign;
                sum.1 += sign * amount.0;
            }
        }
        self.0.retain(|_, sum| *sum != (0, 0));
    }
}

/// Adds changes, in the order of their keys.
pub async fn apply(connection: &mut Connection, deltas: &BTreeMap<CampaignId, CostDelta>) -> Result<()> {
    let lines: Vec<_> = deltas
        .iter()
        .flat_map(|(campaign, delta)| delta.0.iter().map(move |(key, sum)| (campaign, key, sum)))
        .collect();
    if lines.is_empty() {
        return Ok(());
    }
    macro_rules! column {
        ($line:pat => $value:expr) => {
            lines.iter().map(|$line| $value).collect::<Vec<_>>()
        };
    }
    sqlx::query(
        "-- costs.apply
         INSERT INTO campaign_costs AS c (campaign, category, basis, messages, micros)
         SELECT * FROM UNNEST((SELECT $1::uuid[]), $2::text[], $3::text[], $4::bigint[], $5::bigint[])
         ORDER BY 1, 2, 3
         ON CONFLICT (campaign, category, basis)
         DO UPDATE SET messages = c.messages + EXCLUDED.messages, micros = c.micros + EXCLUDED.micros",
    )
    .bind(column!((campaign, ..) => campaign.0))
    .bind(column!((_, (category, _), _) => category.as_str()))
    .bind(column!((_, (_, basis), _) => basis.as_str()))
    .bind(column!((.., (messages, _)) => *messages))
    .bind(column!((.., (_, micros)) => *micros))
    .execute(connection)
    .await?;
    Ok(())
}

/// What a campaign has cost so far.
pub async fn total(connection: &mut Connection, campaign: CampaignId) -> Result<Money> {
    let totals = totals(connection, &[campaign]).await?;
    Ok(totals.get(&campaign).copied().unwrap_or_default())
}

/// What each of these campaigns has cost so far; one that cost nothing yet may be left out.
pub async fn totals(
    connection: &mut Connection,
    campaigns: &[CampaignId],
) -> Result<BTreeMap<CampaignId, Money>> {
    if campaigns.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = sqlx::query(
        "-- costs.totals
         SELECT campaign, sum(micros)::bigint AS micros FROM campaign_costs
         WHERE campaign = ANY((SELECT $1::uuid[])::uuid[]) GROUP BY campaign",
    )
    .bind(ids(campaigns))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok((
                CampaignId(row.try_get("campaign")?),
                Money(row.try_get("micros")?),
            ))
        })
        .collect()
}

/// Messages of one category that were counted alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostLine {
    /// As in `MARKETING`.
    pub category: String,
    /// How the amount came about.
    pub basis: CostBasis,
    /// Messages.
    pub messages: i64,
    /// Their sum.
    pub amount: Money,
}

/// What a campaign has cost so far, by category and how it was counted.
pub async fn lines(connection: &mut Connection, campaign: CampaignId) -> Result<Vec<CostLine>> {
    let rows = sqlx::query(
        "-- costs.lines
         SELECT category, basis, messages, micros FROM campaign_costs
         WHERE campaign = $1 AND messages <> 0 ORDER BY category, basis",
    )
    .bind(campaign.0)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(CostLine {
                category: row.try_get("category")?,
                basis: read::text(row, "basis")?,
                messages: row.try_get("messages")?,
                amount: Money(row.try_get("micros")?),
            })
        })
        .collect()
}
