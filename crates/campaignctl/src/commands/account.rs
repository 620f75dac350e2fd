//! `campaignctl account`: WhatsApp Business Accounts.

use super::page::{self, PageArgs};
use crate::output::cell;
use crate::{Context, Failure};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;

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
    },
}

#[derive(Debug, Deserialize)]
pub(crate) struct Account {
    pub(crate) id: String,
    waba_id: String,
    #[serde(default)]
    portfolio_id: Option<String>,
    name: String,
}

/// Runs the command.
pub(crate) async fn run(context: &Context, command: AccountCommand) -> Result<(), Failure> {
    match command {
        AccountCommand::List(args) => {
            let answer = context.api.get(&["v1", "accounts"], &args.query()).await?;
            page::show(&context.output, &answer, |output, items: Vec<Account>| {
                let rows = items.into_iter().map(|item| {
                    vec![
                        cell(item.id),
                        cell(item.name),
                        cell(item.waba_id),
                        cell(item.portfolio_id.unwrap_or_default()),
                    ]
                });
                output.table(&["Id", "Name", "WhatsApp Business Account", "Portfolio"], rows)
            })
        }
        AccountCommand::Create {
            waba_id,
            name,
            portfolio_id,
        } => {
            let body = json!({ "waba_id": waba_id, "name": name, "portfolio_id": portfolio_id });
            let answer = context.api.post(&["v1", "accounts"], &body).await?;
            context.output.answer(&answer, |_, account: Account| {
                format!("created account {}", account.id)
            })
        }
    }
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
