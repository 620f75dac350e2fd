//! `campaignctl account`: WhatsApp Business Accounts.

use super::page::{self, PageArgs};
use crate::output::{cell, thousands};
use crate::{Context, Failure};
use clap::{ArgGroup, Args, Subcommand};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// What to do with accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// List accounts, newest first
    List(PageArgs),
    /// Make an account known
    Create {
        /// Meta's WhatsApp Business Account id
        #[arg(long, value_name = "ID")]
        waba_id: String,
        /// For people
        #[arg(long)]
        name: String,
        /// Portfolio whose limit of recipients within 24 hours it shares
        #[arg(long, value_name = "ID")]
        portfolio_id: Option<String>,
        /// Unique people that the portfolio may message within 24 hours, such as 250, 2000, 10000 or 100000; or
        /// unlimited
        #[arg(long, value_name = "PEOPLE", requires = "portfolio_id")]
        messaging_limit: Option<MessagingLimit>,
    },
    /// Change an account; what is not given stays
    Set(SetArgs),
}

/// What changes of an account.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("changes").required(true).multiple(true)))]
pub(crate) struct SetArgs {
    /// Id of the account
    id: Uuid,
    /// For people
    #[arg(long, group = "changes")]
    name: Option<String>,
    /// Portfolio whose limit of recipients within 24 hours it shares
    #[arg(long, value_name = "ID", group = "changes")]
    portfolio_id: Option<String>,
    /// Unique people that the portfolio may message within 24 hours, such as 250, 2000, 10000 or 100000; or unlimited
    #[arg(long, value_name = "PEOPLE", group = "changes")]
    messaging_limit: Option<MessagingLimit>,
}

/// A number of people, or `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub(crate) struct MessagingLimit(Option<u32>);

impl std::str::FromStr for MessagingLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("unlimited") {
            return Ok(Self(None));
        }
        match text.replace(['_', ','], "").parse() {
            Ok(people @ 1..) => Ok(Self(Some(people))),
            _ => Err("expected a number of people, such as 250 or 100000, or unlimited".to_owned()),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct Account {
    pub(crate) id: String,
    waba_id: String,
    #[serde(default)]
    portfolio_id: Option<String>,
    name: String,
    #[serde(default)]
    messaging_limit: Option<i64>,
    #[serde(default)]
    reported_messaging_limit: Option<i64>,
    #[serde(default)]
    messaging_limit_used: Option<i64>,
}

/// Who was messaged within 24 hours, of whom may be.
fn people(account: &Account) -> String {
    let limits = [account.messaging_limit, account.reported_messaging_limit];
    let limit = limits.into_iter().flatten().min();
    limit.map_or_else(
        || "unlimited".to_owned(),
        |limit| {
            let used = account.messaging_limit_used.unwrap_or_default();
            format!("{} of {}", thousands(used), thousands(limit))
        },
    )
}

/// Runs the command.
pub(crate) async fn run(context: &Context, command: AccountCommand) -> Result<(), Failure> {
    match command {
        AccountCommand::List(args) => {
            let answer = context.api.get(&["v1", "accounts"], &args.query()).await?;
            page::show(&context.output, &answer, |output, items: Vec<Account>| {
                let rows = items.into_iter().map(|item| {
                    let people = people(&item);
                    vec![
                        cell(item.id),
                        cell(item.name),
                        cell(item.waba_id),
                        cell(item.portfolio_id.unwrap_or_default()),
                        cell(people),
                    ]
                });
                let heads = [
                    "Id",
                    "Name",
                    "WhatsApp Business Account",
                    "Portfolio",
                    "People in 24 h",
                ];
                output.table(&heads, rows)
            })
        }
        AccountCommand::Create {
            waba_id,
            name,
            portfolio_id,
            messaging_limit,
        } => {
            let mut body = json!({ "waba_id": waba_id, "name": name, "portfolio_id": portfolio_id });
            if let Some(limit) = messaging_limit {
                body["messaging_limit"] = json!(limit);
            }
            let answer = context.api.post(&["v1", "accounts"], &body).await?;
            context.output.answer(&answer, |_, account: Account| {
                format!("created account {}", account.id)
            })
        }
        AccountCommand::Set(args) => {
            let (id, body) = changes(args);
            let answer = context.api.patch(&["v1", "accounts", &id], &body).await?;
            context.output.answer(&answer, |_, account: Account| {
                format!(
                    "{} ({}): {} people in 24 h",
                    account.name,
                    account.id,
                    people(&account)
                )
            })
        }
    }
}

fn changes(args: SetArgs) -> (String, Value) {
    let mut body = Map::new();
    for (field, value) in [
        ("name", args.name.map(Value::from)),
        ("portfolio_id", args.portfolio_id.map(Value::from)),
        ("messaging_limit", args.messaging_limit.map(|limit| json!(limit))),
    ] {
        body.extend(value.map(|value| (field.to_owned(), value)));
    }
    (args.id.to_string(), body.into())
}

/// The account that is meant where none is named: the only one.
pub(crate) async fn only_account(context: &Context) -> Result<String, Failure> {
    let answer = context
        .api
        .get(&["v1", "accounts"], &vec![("limit", "2".to_owned())])
        .await?;
    let accounts: page::Page<Account> = answer.read()?;
    match &accounts.items[..] {
        [account] => Ok(account.id.clone()),
        [] => Err(Failure::Usage(
            "there is no account yet: campaignctl account create".to_owned(),
        )),
        _ => Err(Failure::Usage(
            "there are several accounts: --account says which".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_of_people_or_none() {
        let read = |text: &str| text.parse::<MessagingLimit>();
        assert_eq!(read("unlimited"), Ok(MessagingLimit(None)));
        assert_eq!(read("2,000"), Ok(MessagingLimit(Some(2_000))));
        assert_eq!(json!(MessagingLimit(None)), Value::Null);
        for nonsense in ["0", "-1", "many", ""] {
            assert!(read(nonsense).is_err(), "{nonsense}");
        }
    }
}
