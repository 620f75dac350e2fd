//! `campaignctl campaign estimate` and `budget`: what a campaign will cost, and what it may.

use super::Of;
use crate::{Context, Failure};
use clap::Args;
use serde::Deserialize;
use serde_json::json;

/// What a campaign may cost.
#[derive(Debug, Args)]
pub(crate) struct BudgetArgs {
    /// The campaign.
    #[command(flatten)]
    of: Of,
    /// In the price list's currency, as in 150.00; none for anything
    #[arg(value_name = "AMOUNT")]
    amount: String,
}

/// What a campaign has cost.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Cost {
    currency: Option<String>,
    spent: String,
    budget: Option<String>,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, Deserialize)]
struct Line {
    category: String,
    basis: String,
    messages: i64,
    amount: String,
}

impl Cost {
    /// For people; empty where nothing was counted and nothing is bounded.
    pub(crate) fn told(&self) -> String {
        let Some(currency) = &self.currency else {
            return String::new();
        };
        let budget = self
            .budget
            .as_ref()
            .map(|budget| format!(" of {budget}"))
            .unwrap_or_default();
        let lines = self.lines.iter().map(|line| {
            let Line {
                category,
                basis,
                messages,
                amount,
            } = line;
            format!("\n{category}: {messages} {basis}, {amount}")
        });
        format!("{}{budget} {currency}{}", self.spent, lines.collect::<String>())
    }
}

#[derive(Debug, Deserialize)]
struct Estimate {
    currency: String,
    category: String,
    messages: Option<u64>,
    amount: Option<String>,
    at_most: Option<String>,
    per_message: String,
    rests_on: RestsOn,
}

#[derive(Debug, Deserialize)]
struct RestsOn {
    kind: String,
    sample: u64,
    sample_recipients: u64,
    customers: Option<u64>,
}

/// Sets a budget.
pub(crate) async fn budget(context: &Context, args: BudgetArgs) -> Result<(), Failure> {
    let amount = Some(args.amount).filter(|amount| amount != "none");
    let path = ["v1", "campaigns", &args.of.id.to_string(), "budget"];
    let answer = context.api.put(&path, &json!({ "amount": amount })).await?;
    context
        .output
        .answer(&answer, |_, cost: Cost| format!("spent {}", cost.told()))
}

/// Shows an estimate.
pub(crate) async fn estimate(context: &Context, of: &Of) -> Result<(), Failure> {
    let answer = super::get(context, of, Some("estimate"), &vec![]).await?;
    context.output.answer(&answer, |output, estimate: Estimate| {
        let unknown = || "unknown: the ERP does not tell how many customers there are".to_owned();
        let currency = &estimate.currency;
        let money =
            |amount: Option<String>| amount.map_or_else(unknown, |amount| format!("{amount} {currency}"));
        let RestsOn {
            kind,
            sample,
            sample_recipients,
            customers,
        } = estimate.rests_on;
        let customers =
            customers.map_or_else(|| "an unknown number of".to_owned(), |count| count.to_string());
        let rests_on = match kind.as_str() {
            "audience" => format!("the audience that was fetched: {customers} customers"),
            _ => format!(
                "{customers} customers by the ERP; {sample_recipients} of the first {sample} would be sent to"
            ),
        };
        output.facts(vec![
            ("category", estimate.category),
            (
                "messages",
                estimate
                    .messages
                    .map_or_else(unknown, |count| format!("about {count}")),
            ),
            ("cost", money(estimate.amount)),
            ("at most", money(estimate.at_most)),
            ("one message", format!("{} {currency}", estimate.per_message)),
            ("rests on", rests_on),
        ])
    })
}
