//! `campaignctl price`: what messages cost, by country and category.

use super::json_or_file;
use crate::output::{cell, moment};
use crate::{Context, Failure};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Deserialize;

/// What to do with the price list.
#[derive(Debug, Subcommand)]
pub(crate) enum PriceCommand {
    /// Show the price list
    Show,
    /// Replace the price list; what was counted with the old one stays
    Set {
        /// {"currency": "USD", "prices": [{"country": "+55", "category": "MARKETING", "price": "0.0625"}]}: JSON, @FILE or @-
        #[arg(value_name = "JSON")]
        list: String,
    },
}

#[derive(Debug, Deserialize)]
struct PriceList {
    currency: String,
    prices: Vec<Price>,
    #[serde(default)]
    updated_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Deserialize)]
struct Price {
    country: String,
    category: String,
    #[serde(rename = "price")]
    amount: String,
}

/// Runs the command.
pub(crate) async fn run(context: &Context, command: PriceCommand) -> Result<(), Failure> {
    let path = ["v1", "prices"];
    let answer = match command {
        PriceCommand::Show => context.api.get(&path, &vec![]).await?,
        PriceCommand::Set { list } => context.api.put(&path, &json_or_file(&list)?).await?,
    };
    context.output.answer(&answer, |output, list: PriceList| {
        let since = list
            .updated_at
            .map(|at| format!(", since {}", moment(at)))
            .unwrap_or_default();
        let rows = list
            .prices
            .into_iter()
            .map(|price| vec![cell(price.country), cell(price.category), cell(price.amount)]);
        let table = output.table(&["Country", "Category", "Price#"], rows);
        format!("prices in {}{since}\n{table}", list.currency)
    })
}
