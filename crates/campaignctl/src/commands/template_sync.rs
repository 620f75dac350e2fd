//! `campaignctl template sync`: has templates read from WhatsApp, and shows what was found.

use crate::output::{cell, moment};
use crate::{Context, Failure};
use chrono::{DateTime, Utc};
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How often it is looked whether the reading has ended.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the reading is waited for.
const WAIT_MAX: Duration = Duration::from_mins(5);

/// What is read.
#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// Only this account; all of them if not given
    #[arg(long, value_name = "ID")]
    account: Option<Uuid>,
    /// Only show what the last reading found
    #[arg(long, conflicts_with = "account")]
    last: bool,
}

#[derive(Debug, Deserialize)]
struct Syncs {
    enabled: bool,
    accounts: Vec<Sync>,
}

#[derive(Debug, Deserialize)]
struct Sync {
    account_id: Uuid,
    running: bool,
    #[serde(default)]
    finished_at: Option<DateTime<Utc>>,
    next_at: DateTime<Utc>,
    #[serde(default)]
    error: Option<String>,
    listed: u64,
    written: u64,
    changed: u64,
    gone: u64,
    passed_over: Vec<String>,
}

/// Runs the command.
pub(crate) async fn run(context: &Context, args: SyncArgs) -> Result<(), Failure> {
    let path = ["v1", "templates", "sync"];
    let mut answer = context.api.get(&path, &vec![]).await?;
    if !args.last {
        let before: Syncs = answer.read()?;
        let body = args
            .account
            .map_or_else(|| json!({}), |id| json!({ "account_id": id }));
        let asked: Syncs = context.api.post(&path, &body).await?.read()?;
        let is_read = |syncs: &Syncs| {
            asked.accounts.iter().all(|wanted| {
                let finished = |syncs: &Syncs| {
                    let of = syncs
                        .accounts
                        .iter()
                        .find(|sync| sync.account_id == wanted.account_id);
                    of.filter(|sync| !sync.running).and_then(|sync| sync.finished_at)
                };
                finished(syncs) > finished(&before)
            })
        };
        let begun = Instant::now();
        loop {
            answer = context.api.get(&path, &vec![]).await?;
            if is_read(&answer.read()?) {
                break;
            }
            if begun.elapsed() > WAIT_MAX {
                let waited = WAIT_MAX.as_secs();
                return Err(Failure::Local(format!(
                    "the templates were not read within {waited} s; `template sync --last` shows when they are"
                )));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    context.output.answer(&answer, |output, syncs: Syncs| {
        let mut told = String::new();
        if !syncs.enabled {
            told.push_str("templates are not read: the scheduler has no WHATSAPP_ACCESS_TOKEN\n");
        }
        let passed_over: Vec<_> = syncs
            .accounts
            .iter()
            .flat_map(|sync| sync.passed_over.clone())
            .collect();
        let columns = [
            "Account", "Read", "Listed#", "Written#", "Changed#", "Gone#", "Next", "Trouble",
        ];
        told.push_str(&output.table(&columns, syncs.accounts.into_iter().map(row)));
        for template in passed_over {
            told.push_str("\nnot sendable: ");
            told.push_str(&template);
        }
        told
    })
}

fn row(sync: Sync) -> Vec<comfy_table::Cell> {
    vec![
        cell(sync.account_id),
        cell(sync.finished_at.map_or_else(|| "never".to_owned(), moment)),
        cell(sync.listed),
        cell(sync.written),
        cell(sync.changed),
        cell(sync.gone),
        cell(moment(sync.next_at)),
        cell(sync.error.unwrap_or_default()),
    ]
}
