//! `campaignctl number`: business phone numbers, their throughput, and what holds them.

use super::account::only_account;
use super::page::{self, PageArgs};
use crate::output::{cell, number as count, status};
use crate::progress::Hold;
use crate::{Context, Failure};
use clap::{ArgGroup, Args, Subcommand};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// What to do with phone numbers.
#[derive(Debug, Subcommand)]
pub(crate) enum NumberCommand {
    /// List phone numbers
    List(PageArgs),
    /// Make a phone number known
    Create {
        /// Meta's id of the number
        id: String,
        /// The number as people read it
        #[arg(long)]
        display_number: String,
        /// Messages a second; Meta starts at 80
        #[arg(long, value_name = "PER_SECOND")]
        throughput: Option<u32>,
        /// Id of the account; not needed where there is only one
        #[arg(long, value_name = "ID")]
        account: Option<Uuid>,
    },
    /// Change a phone number; what is not given stays
    Set(SetArgs),
    /// Stop everything that is sent from a number
    Pause {
        /// Meta's id of the number
        id: String,
        /// For the people who wonder later
        #[arg(long)]
        reason: Option<String>,
    },
    /// Lift the holds of a number, or only those of the kinds given
    Resume {
        /// Meta's id of the number
        id: String,
        /// Kind of hold, such as person or quality
        #[arg(long = "kind", value_name = "KIND")]
        kinds: Vec<String>,
    },
}

/// What changes of a phone number.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("changes").required(true).multiple(true)))]
pub(crate) struct SetArgs {
    /// Meta's id of the number
    id: String,
    /// Messages a second, over all replicas
    #[arg(long, value_name = "PER_SECOND", group = "changes")]
    throughput: Option<u32>,
    /// The number as people read it
    #[arg(long, group = "changes")]
    display_number: Option<String>,
    /// Whether campaigns may be sent from it
    #[arg(long, group = "changes")]
    active: Option<bool>,
}

/// A phone number, as far as it is shown.
#[derive(Debug, Deserialize)]
pub(crate) struct PhoneNumber {
    #[serde(rename = "phone_number_id")]
    pub(crate) id: String,
    display_number: String,
    pub(crate) throughput_per_second: u32,
    #[serde(default)]
    reported_throughput_per_second: Option<u32>,
    #[serde(default)]
    pace_per_second: Option<f64>,
    active: bool,
    #[serde(default)]
    holds: Vec<Hold>,
}

/// Runs the command.
pub(crate) async fn run(context: &Context, command: NumberCommand) -> Result<(), Failure> {
    let Context { api, output, .. } = context;
    let path = ["v1", "phone-numbers"];
    match command {
        NumberCommand::List(args) => {
            let answer = api.get(&path, &args.query()).await?;
            page::show(output, &answer, |output, items: Vec<PhoneNumber>| {
                output.table(
                    &[
                        "Id",
                        "Number",
                        "Messages/s#",
                        "Reported#",
                        "Now#",
                        "State",
                        "Holds",
                    ],
                    items.into_iter().map(row),
                )
            })
        }
        NumberCommand::Create {
            id,
            display_number,
            throughput,
            account,
        } => {
            let account = match account {
                Some(account) => account.to_string(),
                None => only_account(context).await?,
            };
            let body = json!({
                "phone_number_id": id,
                "account_id": account,
                "display_number": display_number,
                "throughput_per_second": throughput,
            });
            output.answer(&api.post(&path, &body).await?, |_, number| told(&number))
        }
        NumberCommand::Set(args) => {
            let (id, body) = changes(args);
            let answer = api.patch(&["v1", "phone-numbers", &id], &body).await?;
            output.answer(&answer, |_, number| told(&number))
        }
        NumberCommand::Pause { id, reason } => {
            let body = json!({ "reason": reason });
            let answer = api.post(&["v1", "phone-numbers", &id, "pause"], &body).await?;
            output.answer(&answer, |_, number| told(&number))
        }
        NumberCommand::Resume { id, kinds } => {
            let body = if kinds.is_empty() {
                json!({})
            } else {
                json!({ "kinds": kinds })
            };
            let answer = api.post(&["v1", "phone-numbers", &id, "resume"], &body).await?;
            output.answer(&answer, |_, number| told(&number))
        }
    }
}

fn changes(args: SetArgs) -> (String, Value) {
    let mut body = Map::new();
    for (field, value) in [
        ("throughput_per_second", args.throughput.map(Value::from)),
        ("display_number", args.display_number.map(Value::from)),
        ("active", args.active.map(Value::from)),
    ] {
        body.extend(value.map(|value| (field.to_owned(), value)));
    }
    (args.id, body.into())
}

fn state(number: &PhoneNumber) -> &'static str {
    match (number.active, number.holds.is_empty()) {
        (false, _) => "inactive",
        (true, false) => "held",
        (true, true) => "active",
    }
}

fn holds(number: &PhoneNumber) -> String {
    number
        .holds
        .iter()
        .map(Hold::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

fn row(number: PhoneNumber) -> Vec<comfy_table::Cell> {
    let (state, holds) = (state(&number), holds(&number));
    let reported = number
        .reported_throughput_per_second
        .map(|reported| reported.to_string());
    let reported = reported.unwrap_or_default();
    let pace = number
        .pace_per_second
        .map(|pace| format!("{pace:.0}"))
        .unwrap_or_default();
    vec![
        cell(number.id),
        cell(number.display_number),
        count(number.throughput_per_second.into()),
        cell(reported),
        cell(pace),
        status(state),
        cell(holds),
    ]
}

fn told(number: &PhoneNumber) -> String {
    let holds = holds(number);
    let holds = if holds.is_empty() {
        holds
    } else {
        format!(" ({holds})")
    };
    format!(
        "{} ({}) is {}{holds}, {}/s",
        number.id,
        number.display_number,
        state(number),
        number.throughput_per_second
    )
}
