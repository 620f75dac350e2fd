//! What campaigns cost: the price list, what messages are counted with, and budgets.

use crate::{Connection, Result, StoreError, read};
use campaign_core::cost::{Charge, CostBasis, Money, PriceList};
use campaign_core::ids::CampaignId;
use chrono::{DateTime, Utc};
use sqlx::Row;
use std::collections::BTreeMap;

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
    let row = sqlx::query(
        "-- costs.terms
         SELECT category, limit_micros FROM campaigns
         JOIN templates ON templates.id = campaigns.template_id
         LEFT JOIN campaign_budgets ON campaign_budgets.campaign = campaigns.id
         WHERE campaigns.id = $1",
    )
    .bind(campaign.0)
    .fetch_optional(connection)
    .await?
    .ok_or_else(|| StoreError::NotFound {
        what: "campaign",
        id: campaign.to_string(),
    })?;
    Ok(Terms {
        category: row.try_get("category")?,
        budget: row.try_get::<Option<i64>, _>("limit_micros")?.map(Money),
    })
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

/// Adds a change, in the order of its keys.
pub async fn apply(connection: &mut Connection, campaign: CampaignId, delta: &CostDelta) -> Result<()> {
    if delta.0.is_empty() {
        return Ok(());
    }
    let keys: (Vec<_>, Vec<_>) = delta
        .0
        .keys()
        .map(|(category, basis)| (category.as_str(), basis.as_str()))
        .unzip();
    let sums: (Vec<i64>, Vec<i64>) = delta.0.values().copied().unzip();
    sqlx::query(
        "-- costs.apply
         INSERT INTO campaign_costs AS c (campaign, category, basis, messages, micros)
         SELECT $1, u.category, u.basis, u.messages, u.micros
         FROM UNNEST($2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS u (category, basis, messages, micros)
         ORDER BY 2, 3
         ON CONFLICT (campaign, category, basis)
         DO UPDATE SET messages = c.messages + EXCLUDED.messages, micros = c.micros + EXCLUDED.micros",
    )
    .bind(campaign.0)
    .bind(keys.0)
    .bind(keys.1)
    .bind(sums.0)
    .bind(sums.1)
    .execute(connection)
    .await?;
    Ok(())
}

/// What a campaign has cost so far.
pub async fn total(connection: &mut Connection, campaign: CampaignId) -> Result<Money> {
    let row = sqlx::query(
        "-- costs.total\nSELECT coalesce(sum(micros), 0)::bigint FROM campaign_costs WHERE campaign = $1",
    )
    .bind(campaign.0)
    .fetch_one(connection)
    .await?;
    Ok(Money(row.try_get(0)?))
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
