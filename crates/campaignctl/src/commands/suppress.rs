//! `campaignctl suppress`: people who must not be messaged.

use super::page::{self, PageArgs};
use crate::output::{cell, moment};
use crate::{Context, Failure};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;

/// What to do with suppressions.
#[derive(Debug, Subcommand)]
pub(crate) enum SuppressCommand {
    /// List suppressed people in the order of their numbers
    List(PageArgs),
    /// Never message a person again
    Add {
        /// The number in any usual form, as in "+55 31 98765-4321"
        phone: String,
        /// For people
        #[arg(long)]
        reason: String,
        /// The ERP's id of the customer
        #[arg(long, value_name = "ID")]
        customer_id: Option<String>,
    },
    /// Allow a person to be messaged again
    Remove {
        /// The number in any usual form
        phone: String,
    },
}

#[derive(Debug, Deserialize)]
struct Suppression {
    phone: String,
    reason: String,
    source: String,
    #[serde(default)]
    customer_id: Option<String>,
    created_at: DateTime<Utc>,
}

/// Runs the command.
pub(crate) async fn run(context: &Context, command: SuppressCommand) -> Result<(), Failure> {
    let Context { api, output, .. } = context;
    match command {
        SuppressCommand::List(args) => {
            let answer = api.get(&["v1", "suppressions"], &args.query()).await?;
            page::show(output, &answer, |output, items: Vec<Suppression>| {
                let rows = items.into_iter().map(|item| {
                    vec![
                        cell(item.phone),
                        cell(item.reason),
                        cell(item.source),
                        cell(item.customer_id.unwrap_or_default()),
                        cell(moment(item.created_at)),
                    ]
                });
                output.table(&["Phone", "Reason", "Source", "Customer", "Since"], rows)
            })
        }
        SuppressCommand::Add {
            phone,
            reason,
            customer_id,
        } => {
            let body = json!({ "phone": phone, "reason": reason, "customer_id": customer_id });
            let answer = api.post(&["v1", "suppressions"], &body).await?;
            output.answer(&answer, |_, item: Suppression| {
                format!("{} is not messaged any more", item.phone)
            })
        }
        SuppressCommand::Remove { phone } => {
            let answer = api.delete(&["v1", "suppressions", &phone]).await?;
            output.done(&answer, &format!("{phone} may be messaged again"))
        }
    }
}
