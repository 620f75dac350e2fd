//! `campaignctl campaign`: from the draft to the last receipt.

pub(crate) mod cost;
mod export;
mod input;
mod requests;
mod show;
mod watch;

use super::one_of;
use super::page::{self, PageArgs};
use crate::api::Answer;
use crate::progress::{Campaign, CampaignDetail};
use crate::{Context, Failure};
use campaign_core::campaign::IfUnapproved;
use campaign_core::message::MessageState;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub(crate) use show::states;

/// What to do with campaigns.
#[derive(Debug, Subcommand)]
pub(crate) enum CampaignCommand {
    /// Create a campaign as a draft
    Create(input::CampaignArgs),
    /// Edit a campaign that has not started; what is not given stays
    Edit {
        /// The campaign.
        #[command(flatten)]
        of: Of,
        /// What changes.
        #[command(flatten)]
        input: input::CampaignArgs,
    },
    /// Schedule a draft, or give a scheduled campaign another time; now, if it has none and none is given
    Schedule(ScheduleArgs),
    /// Make a scheduled campaign a draft again
    Unschedule(Of),
    /// List campaigns, newest first
    List(ListArgs),
    /// Show a campaign and how it is doing
    Show(Of),
    /// Follow a campaign until it has ended
    Watch(watch::WatchArgs),
    /// Show what happened to a campaign
    Events(Of),
    /// Stop sending within a second; `resume` goes on
    Pause(WithReason),
    /// Lift holds: those of people and of a missed time, or only those of the kinds given
    Resume {
        /// The campaign.
        #[command(flatten)]
        of: Of,
        /// Kind of hold, such as person or template
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<String>,
    },
    /// Cancel for good: what was not sent is not sent
    Cancel(WithReason),
    /// Make a draft like another campaign
    Clone {
        /// The campaign.
        #[command(flatten)]
        of: Of,
        /// Name of the copy
        #[arg(long)]
        name: Option<String>,
    },
    /// Render the first ten real recipients without sending, and list who would be skipped
    Preview(Of),
    /// Estimate what it will cost, by the price list
    Estimate(Of),
    /// Set what it may cost: where the next message would pass that, it is held
    Budget(cost::BudgetArgs),
    /// Send the campaign's message to these numbers now
    Test {
        /// The campaign.
        #[command(flatten)]
        of: Of,
        /// 1 to 10 phone numbers
        #[arg(required = true, num_args = 1..=10)]
        phones: Vec<String>,
    },
    /// List the recipients of a campaign and what became of their messages
    Messages(MessagesArgs),
    /// Write all recipients of a campaign as CSV
    Export(export::ExportArgs),
    /// Messages of which nobody knows whether they were accepted
    #[command(subcommand)]
    Uncertain(requests::UncertainCommand),
    /// Send failed messages again
    ResendFailed(requests::ResendFailedArgs),
}

/// Which campaign.
#[derive(Debug, Clone, Args)]
pub(crate) struct Of {
    /// The campaign's id
    #[arg(value_name = "CAMPAIGN")]
    pub(crate) id: Uuid,
}

/// A decision, and why.
#[derive(Debug, Args)]
pub(crate) struct WithReason {
    /// The campaign.
    #[command(flatten)]
    of: Of,
    /// For the people who wonder later
    #[arg(long)]
    reason: Option<String>,
}

/// When a campaign starts.
#[derive(Debug, Args)]
pub(crate) struct ScheduleArgs {
    /// The campaign.
    #[command(flatten)]
    of: Of,
    /// When: 2026-12-01T09:00 in the time zone, or with an offset
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// IANA name, as in America/Sao_Paulo; the campaign's own if not given
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// If the template is not approved: refuse, or wait until it is
    #[arg(long, value_parser = one_of(IfUnapproved::ALL.iter().map(|policy| policy.as_str())))]
    if_unapproved: Option<String>,
}

/// Which campaigns are listed.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only campaigns in this status
    #[arg(long, ignore_case = true,
        value_parser = ["DRAFT", "SCHEDULED", "SENDING", "PAUSED", "COMPLETED", "CANCELLED", "FAILED"])]
    status: Option<String>,
    /// Only campaigns that are sent from this number
    #[arg(long, value_name = "ID")]
    phone_number_id: Option<String>,
    /// Which part of the list.
    #[command(flatten)]
    page: PageArgs,
}

/// Which recipients are listed.
#[derive(Debug, Args)]
pub(crate) struct MessagesArgs {
    /// The campaign.
    #[command(flatten)]
    of: Of,
    /// Only recipients in this state
    #[arg(long, value_parser = one_of(MessageState::ALL.iter().map(|state| state.as_str())))]
    state: Option<String>,
    /// Which part of the list.
    #[command(flatten)]
    page: PageArgs,
}

/// What became of a pause, a resume or a cancel.
#[derive(Debug, Deserialize)]
struct Controlled {
    campaign: Campaign,
}

/// Runs the command.
pub(crate) async fn run(context: &Context, command: CampaignCommand) -> Result<(), Failure> {
    match command {
        CampaignCommand::Create(args) => create(context, args).await,
        CampaignCommand::Edit { of, input } => edit(context, &of, input).await,
        CampaignCommand::Schedule(args) => schedule(context, args).await,
        CampaignCommand::Unschedule(of) => {
            let answer = post(context, &of, "unschedule", &json!({})).await?;
            told(context, &answer)
        }
        CampaignCommand::List(args) => list(context, args).await,
        CampaignCommand::Show(of) => {
            let answer = get(context, &of, None, &vec![]).await?;
            context.output.answer(&answer, |output, detail: CampaignDetail| {
                show::detail(output, &detail)
            })
        }
        CampaignCommand::Watch(args) => watch::run(context, &args).await,
        CampaignCommand::Events(of) => {
            let answer = get(context, &of, Some("events"), &vec![]).await?;
            context.output.answer(&answer, show::events)
        }
        CampaignCommand::Pause(args) => {
            control(context, &args.of, "pause", &json!({ "reason": args.reason })).await
        }
        CampaignCommand::Resume { of, kinds } => {
            let body = if kinds.is_empty() {
                json!({})
            } else {
                json!({ "kinds": kinds })
            };
            control(context, &of, "resume", &body).await
        }
        CampaignCommand::Cancel(args) => {
            control(context, &args.of, "cancel", &json!({ "reason": args.reason })).await
        }
        CampaignCommand::Clone { of, name } => {
            let answer = post(context, &of, "clone", &json!({ "name": name })).await?;
            told(context, &answer)
        }
        CampaignCommand::Preview(of) => {
            let answer = get(context, &of, Some("preview"), &vec![]).await?;
            context.output.answer(&answer, show::preview)
        }
        CampaignCommand::Estimate(of) => cost::estimate(context, &of).await,
        CampaignCommand::Budget(args) => cost::budget(context, args).await,
        CampaignCommand::Test { of, phones } => {
            let answer = post(context, &of, "test", &json!({ "phones": phones })).await?;
            told(context, &answer)
        }
        CampaignCommand::Messages(args) => {
            let mut query = args.page.query();
            query.extend(args.state.map(|state| ("state", state)));
            let answer = get(context, &args.of, Some("messages"), &query).await?;
            page::show(&context.output, &answer, show::recipients)
        }
        CampaignCommand::Export(args) => export::run(context, &args).await,
        CampaignCommand::Uncertain(command) => requests::uncertain(context, command).await,
        CampaignCommand::ResendFailed(args) => requests::resend_failed(context, args).await,
    }
}

async fn create(context: &Context, args: input::CampaignArgs) -> Result<(), Failure> {
    let body = args.body()?;
    let answer = context.api.post(&["v1", "campaigns"], &body).await?;
    told(context, &answer)
}

async fn edit(context: &Context, of: &Of, input: input::CampaignArgs) -> Result<(), Failure> {
    let body = input.body()?;
    let answer = context
        .api
        .patch(&["v1", "campaigns", &of.id.to_string()], &body)
        .await?;
    told(context, &answer)
}

async fn schedule(context: &Context, args: ScheduleArgs) -> Result<(), Failure> {
    let mut body = Map::new();
    body.extend(args.at.map(|at| ("scheduled_at".to_owned(), Value::from(at))));
    body.extend(
        args.time_zone
            .map(|zone| ("time_zone".to_owned(), Value::from(zone))),
    );
    body.extend(
        args.if_unapproved
            .map(|policy| ("if_unapproved".to_owned(), Value::from(policy))),
    );
    let answer = post(context, &args.of, "schedule", &body.into()).await?;
    told(context, &answer)
}

async fn list(context: &Context, args: ListArgs) -> Result<(), Failure> {
    let mut query = args.page.query();
    query.extend(args.status.map(|status| ("status", status.to_uppercase())));
    query.extend(args.phone_number_id.map(|id| ("phone_number_id", id)));
    let answer = context.api.get(&["v1", "campaigns"], &query).await?;
    page::show(&context.output, &answer, show::campaigns)
}

async fn control(context: &Context, of: &Of, action: &str, body: &Value) -> Result<(), Failure> {
    let answer = post(context, of, action, body).await?;
    let when = if answer.is_still_to_come() {
        "; the lane follows within moments"
    } else {
        ""
    };
    context.output.answer(&answer, |_, control: Controlled| {
        format!("{}{when}", show::told(&control.campaign))
    })
}

/// A campaign's page, or one below it.
async fn get(
    context: &Context,
    of: &Of,
    below: Option<&str>,
    query: &crate::api::Query,
) -> Result<Answer, Failure> {
    let id = of.id.to_string();
    let path: Vec<&str> = ["v1", "campaigns", &id].into_iter().chain(below).collect();
    context.api.get(&path, query).await
}

async fn post(context: &Context, of: &Of, action: &str, body: &Value) -> Result<Answer, Failure> {
    context
        .api
        .post(&["v1", "campaigns", &of.id.to_string(), action], body)
        .await
}

fn told(context: &Context, answer: &Answer) -> Result<(), Failure> {
    context
        .output
        .answer(answer, |_, campaign: Campaign| show::told(&campaign))
}
