//! `campaignctl key`: who may use the API.

use super::page::{self, PageArgs};
use crate::output::{cell, moment, status};
use crate::{Context, Failure};
use chrono::{DateTime, Utc};
use clap::{Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::json;
use uuid::Uuid;

/// What to do with API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// List keys, newest first; never the keys themselves
    List(PageArgs),
    /// Make a key and show it, this once
    Create {
        /// What the audit log calls it
        #[arg(long)]
        name: String,
        /// What it may do
        #[arg(long, value_enum)]
        role: Role,
    },
    /// Make a key void
    Revoke {
        /// Its id
        id: Uuid,
    },
}

/// What a key may do.
#[derive(Debug, Clone, Copy, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// Reads; phone numbers are masked
    Viewer,
    /// Also creates, schedules, pauses, resumes and cancels campaigns
    Supervisor,
    /// Also manages keys, accounts, templates and phone numbers
    Admin,
}

#[derive(Debug, Deserialize)]
struct Key {
    id: Uuid,
    name: String,
    role: String,
    created_at: DateTime<Utc>,
    created_by: String,
    #[serde(default)]
    revoked_at: Option<DateTime<Utc>>,
    /// Only in the answer that made it.
    #[serde(default, rename = "key")]
    secret: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(context: &Context, command: KeyCommand) -> Result<(), Failure> {
    let Context { api, output, .. } = context;
    match command {
        KeyCommand::List(args) => {
            let answer = api.get(&["v1", "api-keys"], &args.query()).await?;
            page::show(output, &answer, |output, items: Vec<Key>| {
                let rows = items.into_iter().map(|key| {
                    let state = if key.revoked_at.is_some() {
                        "revoked"
                    } else {
                        "active"
                    };
                    vec![
                        cell(key.id),
                        cell(key.name),
                        cell(key.role),
                        status(state),
                        cell(moment(key.created_at)),
                        cell(key.created_by),
                    ]
                });
                output.table(&["Id", "Name", "Role", "State", "Created", "By"], rows)
            })
        }
        KeyCommand::Create { name, role } => {
            let answer = api
                .post(&["v1", "api-keys"], &json!({ "name": name, "role": role }))
                .await?;
            output.answer(&answer, |output, key: Key| {
                let shown = key.secret.unwrap_or_else(|| {
                    "lost: the first answer did not arrive, and a key is shown once; revoke this one"
                        .to_owned()
                });
                let facts = vec![
                    ("id", key.id.to_string()),
                    ("name", key.name),
                    ("role", key.role),
                    ("key", shown),
                ];
                format!("{}\nThe key is shown this once.", output.facts(facts))
            })
        }
        KeyCommand::Revoke { id } => {
            let answer = api.delete(&["v1", "api-keys", &id.to_string()]).await?;
            output.done(&answer, &format!("revoked {id}"))
        }
    }
}
