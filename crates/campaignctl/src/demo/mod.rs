//! `campaignctl demo`: a whole campaign against the mocks, from schedule to read receipts, checked to the last
//! recipient.
//!
//! What the engine's database says is compared with what the mock of WhatsApp wrote down by itself: the same
//! number of people, and each of them exactly once. The steps:
//!
//! 1. `prepare`: the mock forgets what it accepted before; the campaign is created and scheduled for now;
//! 2. `follow`: until it has ended;
//! 3. `settle`: until the mock has told every receipt and the ledger has them;
//! 4. `report`: the tables, and everything that has to be so.

mod audience;
mod mock;
mod prepare;
mod report;
mod settle;

use crate::follow::{self, Followed, follow, tell};
use crate::progress::Check;
use crate::{Context, Failure};
use clap::Args;
use mock::Mock;
use report::Report;
use serde_json::Value;
use std::time::Duration;

/// How the demo is run. The defaults are what development has: see `migrate --dev-data` and the mocks.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// About how many people to send to: states of the mock ERP are chosen so that it fits, with its 100,000
    /// customers
    #[arg(long, default_value_t = 20_000, value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    recipients: u32,

    /// Who receives it, instead of --recipients: criteria of the ERP's customers as JSON, @FILE or @-
    #[arg(long, value_name = "JSON", conflicts_with = "recipients")]
    segment: Option<String>,

    /// Template, with two variables: a name and a city
    #[arg(long, default_value = "oferta_especial", value_name = "NAME")]
    template: String,

    /// Language of the template
    #[arg(long, default_value = "pt_BR", value_name = "CODE")]
    language: String,

    /// Meta's id of the number to send from
    #[arg(long, default_value = "106540352242922", value_name = "ID")]
    phone_number_id: String,

    /// Seconds that the campaign may take
    #[arg(long, default_value_t = 300, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=86_400))]
    timeout_s: u64,

    /// Where the mock of WhatsApp is
    #[arg(
        long,
        env = "WHATSAPP_BASE_URL",
        hide_env_values = true,
        default_value = "http://127.0.0.1:8084",
        value_name = "URL"
    )]
    whatsapp_mock_url: String,

    /// Where the mock is to send statuses; it stays as it is if not given
    #[arg(long, env = "WEBHOOK_URL", hide_env_values = true, value_name = "URL")]
    webhook_url: Option<String>,
}

impl DemoArgs {
    fn segment(&self) -> Result<Value, Failure> {
        match &self.segment {
            Some(given) => crate::commands::json_or_file(given),
            None => Ok(audience::segment(self.recipients)),
        }
    }
}

/// Runs the demo.
pub(crate) async fn run(context: &Context, args: DemoArgs) -> Result<(), Failure> {
    let mock = Mock::new(&args.whatsapp_mock_url, context.further_roots.as_deref())?;
    let prepared = prepare::prepare(context, &mock, &args).await?;
    tell(&format!("campaign {} is scheduled for now", prepared.campaign));

    let limit = Duration::from_secs(args.timeout_s);
    let followed = follow(context, prepared.campaign, Some(limit), |_| Ok(())).await?;
    if let Followed::TimeOver(detail) = followed {
        return Err(Failure::Unbalanced(vec![follow::not_ended(&detail, limit)]));
    }
    tell("all is sent; waiting for the receipts");
    let settled = settle::settle(context, &mock, prepared.campaign).await?;
    let report = Report::new(&prepared, settled, mock.acceptances(prepared.campaign).await?);
    if context.output.is_json() {
        context.output.text(&report.json()?)?;
    } else {
        context.output.text(&report.text(&context.output))?;
    }
    let failures = Check::failures(&report.checks);
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::Unbalanced(failures))
    }
}
