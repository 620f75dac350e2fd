//! What people ask of the ledger: to send again what is uncertain or failed, or to write it off.

use super::{Of, get, show};
use crate::api::Answer;
use crate::commands::page::{self, PageArgs};
use crate::output::{moment, thousands};
use crate::{Context, Failure};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long to wait for the lane's owner to apply a request.
const APPLIED_WITHIN: Duration = Duration::from_secs(15);
/// How often to look whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What to do with uncertain messages.
#[derive(Debug, Subcommand)]
pub(crate) enum UncertainCommand {
    /// List the recipients of whom nobody knows whether the message was accepted
    List {
        /// The campaign.
        #[command(flatten)]
        of: Of,
        /// Which part of the list.
        #[command(flatten)]
        page: PageArgs,
    },
    /// Send uncertain messages again; some people may receive them twice
    Resend(Which),
    /// Count uncertain messages as failed
    WriteOff(Which),
}

/// Which messages; all of them if none is named.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The campaign.
    #[command(flatten)]
    of: Of,
    /// Only this position in the audience; can be given many times
    #[arg(long = "seq", value_name = "SEQ", value_parser = clap::value_parser!(i64).range(1..))]
    seqs: Vec<i64>,
}

/// Which failed messages; all of them if none is named.
#[derive(Debug, Args)]
pub(crate) struct ResendFailedArgs {
    /// The messages.
    #[command(flatten)]
    which: Which,
    /// Only those that failed with this code; can be given many times
    #[arg(long = "error-code", value_name = "CODE")]
    error_codes: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Request {
    id: Uuid,
    applied_at: Option<DateTime<Utc>>,
    affected: Option<i64>,
    #[serde(default)]
    left_out: Option<LeftOut>,
}

#[derive(Debug, Deserialize)]
struct LeftOut {
    messages: i64,
    until: DateTime<Utc>,
    reason: String,
}

impl Request {
    fn left_out(&self) -> String {
        self.left_out.as_ref().map_or_else(String::new, |left_out| {
            format!(
                "; {} left out until {}: {}",
                thousands(left_out.messages),
                moment(left_out.until),
                left_out.reason
            )
        })
    }
}

/// Runs `campaign uncertain`.
pub(crate) async fn uncertain(context: &Context, command: UncertainCommand) -> Result<(), Failure> {
    match command {
        UncertainCommand::List { of, page } => {
            let answer = get(context, &of, Some("uncertain"), &page.query()).await?;
            page::show(&context.output, &answer, show::recipients)
        }
        UncertainCommand::Resend(which) => {
            ask(
                context,
                &["uncertain", "resend"],
                which,
                vec![],
                "to be sent again",
            )
            .await
        }
        UncertainCommand::WriteOff(which) => {
            ask(context, &["uncertain", "write-off"], which, vec![], "written off").await
        }
    }
}

/// Runs `campaign resend-failed`.
pub(crate) async fn resend_failed(context: &Context, args: ResendFailedArgs) -> Result<(), Failure> {
    ask(
        context,
        &["resend-failed"],
        args.which,
        args.error_codes,
        "to be sent again",
    )
    .await
}

async fn ask(
    context: &Context,
    action: &[&str],
    which: Which,
    error_codes: Vec<String>,
    done: &str,
) -> Result<(), Failure> {
    let mut body = Map::new();
    if !which.seqs.is_empty() {
        body.insert("seqs".to_owned(), which.seqs.into());
    }
    if !error_codes.is_empty() {
        body.insert("error_codes".to_owned(), error_codes.into());
    }
    let id = which.of.id.to_string();
    let path: Vec<&str> = ["v1", "campaigns", &id]
        .into_iter()
        .chain(action.iter().copied())
        .collect();
    let asked = context.api.post(&path, &Value::Object(body)).await?;
    let answer = wait_until_applied(context, &which.of, asked).await?;
    context.output.answer(&answer, |_, request: Request| {
        match request.affected.filter(|_| request.applied_at.is_some()) {
            Some(affected) => format!("{} messages {done}{}", thousands(affected), request.left_out()),
            None => format!(
                "asked (request {}); the lane's owner has not applied it yet, and will",
                request.id
            ),
        }
    })
}

/// The answer once the request was applied, or the last one before the time was over.
async fn wait_until_applied(context: &Context, of: &Of, asked: Answer) -> Result<Answer, Failure> {
    let request = asked.read::<Request>()?.id.to_string();
    let begun = Instant::now();
    let mut answer = asked;
    while answer.read::<Request>()?.applied_at.is_none() && begun.elapsed() < APPLIED_WITHIN {
        tokio::time::sleep(LOOK_EVERY).await;
        let path = ["v1", "campaigns", &of.id.to_string(), "requests", &request];
        answer = context.api.get(&path, &vec![]).await?;
    }
    Ok(answer)
}
