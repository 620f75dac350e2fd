//! `campaignctl dead-letters` and `campaignctl strays`: what no service could handle.

use super::page::{self, PageArgs};
use crate::output::cell;
use crate::{Context, Failure};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List dead letters, newest first
    List(PageArgs),
    /// Put entries back at the end of the streams they came from
    Redrive {
        /// Ids of dead letters
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Throw dead letters away
    Discard {
        /// Ids of dead letters
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

#[derive(Debug, Deserialize)]
struct DeadLetter {
    id: String,
    stream: String,
    entry_id: String,
    reason: String,
    /// Only for those who may see phone numbers.
    #[serde(default)]
    fields: Vec<(String, String)>,
}

/// Runs the command.
pub(crate) async fn run(context: &Context, command: DeadLettersCommand) -> Result<(), Failure> {
    let Context { api, output, .. } = context;
    match command {
        DeadLettersCommand::List(args) => {
            let answer = api.get(&["v1", "dead-letters"], &args.query()).await?;
            page::show(output, &answer, |output, items: Vec<DeadLetter>| {
                let rows = items.into_iter().map(|letter| {
                    vec![
                        cell(letter.id),
                        cell(letter.stream),
                        cell(letter.entry_id),
                        cell(letter.reason),
                    ]
                });
                output.table(&["Id", "Stream", "Entry", "Reason"], rows)
            })
        }
        DeadLettersCommand::Redrive { ids } => {
            for id in ids {
                let answer = api
                    .post(&["v1", "dead-letters", &id, "redrive"], &json!({}))
                    .await?;
                output.done(&answer, &format!("put back {id}"))?;
            }
            Ok(())
        }
        DeadLettersCommand::Discard { ids } => {
            for id in ids {
                let answer = api.delete(&["v1", "dead-letters", &id]).await?;
                output.done(&answer, &format!("discarded {id}"))?;
            }
            Ok(())
        }
    }
}

/// Lists what WhatsApp reported of messages that are not known here.
pub(crate) async fn strays(context: &Context, args: &PageArgs) -> Result<(), Failure> {
    let Context { api, output, .. } = context;
    let answer = api.get(&["v1", "strays"], &args.query()).await?;
    page::show(output, &answer, |output, items: Vec<DeadLetter>| {
        let rows = items.into_iter().map(|letter| {
            let told = letter
                .fields
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            vec![
                cell(letter.entry_id),
                cell(letter.reason),
                cell(told.collect::<Vec<_>>().join(" ")),
            ]
        });
        output.table(&["Message", "Reason", "Told"], rows)
    })
}
