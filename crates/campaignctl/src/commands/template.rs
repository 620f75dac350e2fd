//! `campaignctl template`: message templates and their versions.

use super::account::only_account;
use super::page::{self, PageArgs};
use super::{json_or_file, one_of};
use crate::output::{cell, moment, status};
use crate::{Context, Failure};
use campaign_core::template::TemplateStatus;
use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// What to do with templates.
#[derive(Debug, Subcommand)]
pub(crate) enum TemplateCommand {
    /// List versions of templates, newest first
    List {
        /// Only this name
        #[arg(long)]
        name: Option<String>,
        /// Only this status
        #[arg(long, value_parser = one_of(TemplateStatus::ALL.iter().map(|status| status.as_str())),
            ignore_case = true)]
        status: Option<String>,
        /// Which part of the list.
        #[command(flatten)]
        page: PageArgs,
    },
    /// Write a template, or the next version of one
    Create {
        /// The template in Meta's shape (name, language, category, parameter_format, components): JSON, @FILE or @-
        #[arg(value_name = "JSON")]
        template: String,
        /// Id of the account; not needed where there is only one
        #[arg(long, value_name = "ID")]
        account: Option<Uuid>,
    },
    /// Have templates read from WhatsApp now, and show what was found
    Sync(super::template_sync::SyncArgs),
    /// Show a version with its text and variables
    Show {
        /// The version's id
        id: Uuid,
    },
    /// Record where a version stands with Meta
    SetStatus {
        /// The version's id
        id: Uuid,
        /// Where it stands
        #[arg(value_parser = one_of(TemplateStatus::ALL.iter().map(|status| status.as_str())),
            ignore_case = true)]
        status: String,
    },
}

#[derive(Debug, Deserialize)]
pub(crate) struct Template {
    id: Uuid,
    name: String,
    language: String,
    version: i32,
    category: String,
    status: String,
    #[serde(default)]
    status_reason: Option<String>,
    #[serde(default)]
    variables: Vec<String>,
    #[serde(default)]
    components: Vec<Value>,
    updated_at: DateTime<Utc>,
}

/// Runs the command.
pub(crate) async fn run(context: &Context, command: TemplateCommand) -> Result<(), Failure> {
    let Context { api, output, .. } = context;
    match command {
        TemplateCommand::List {
            name,
            status: wanted,
            page,
        } => {
            let mut query = page.query();
            query.extend(name.map(|name| ("name", name)));
            query.extend(wanted.map(|status| ("status", status.to_uppercase())));
            let answer = api.get(&["v1", "templates"], &query).await?;
            page::show(output, &answer, |output, items: Vec<Template>| {
                let columns = [
                    "Id",
                    "Name",
                    "Language",
                    "Version#",
                    "Category",
                    "Status",
                    "Variables",
                ];
                output.table(&columns, items.into_iter().map(row))
            })
        }
        TemplateCommand::Create { template, account } => {
            let mut body = json_or_file(&template)?;
            if !body.is_object() {
                return Err(Failure::Usage("the template is not a JSON object".to_owned()));
            }
            if let Some(account) = account {
                body["account_id"] = json!(account);
            } else if body.get("account_id").is_none() {
                body["account_id"] = json!(only_account(context).await?);
            }
            let answer = api.post(&["v1", "templates"], &body).await?;
            output.answer(&answer, |_, made: Template| {
                format!(
                    "created version {} of {} ({}), {}: {}",
                    made.version, made.name, made.language, made.status, made.id
                )
            })
        }
        TemplateCommand::Sync(args) => super::template_sync::run(context, args).await,
        TemplateCommand::Show { id } => {
            let answer = api.get(&["v1", "templates", &id.to_string()], &vec![]).await?;
            output.answer(&answer, |output, template: Template| {
                let text = template_text(&template.components);
                output.facts(vec![
                    ("id", template.id.to_string()),
                    (
                        "name",
                        format!(
                            "{} ({}), version {}",
                            template.name, template.language, template.version
                        ),
                    ),
                    ("category", template.category),
                    (
                        "status",
                        match template.status_reason {
                            Some(reason) => format!("{} ({reason})", template.status),
                            None => template.status,
                        },
                    ),
                    ("variables", template.variables.join(", ")),
                    ("updated", moment(template.updated_at)),
                    ("text", text),
                ])
            })
        }
        TemplateCommand::SetStatus { id, status } => {
            let body = json!({ "status": status.to_uppercase() });
            let answer = api
                .put(&["v1", "templates", &id.to_string(), "status"], &body)
                .await?;
            output.answer(&answer, |_, made: Template| {
                format!(
                    "version {} of {} ({}) is {}",
                    made.version, made.name, made.language, made.status
                )
            })
        }
    }
}

fn row(template: Template) -> Vec<comfy_table::Cell> {
    vec![
        cell(template.id),
        cell(template.name),
        cell(template.language),
        cell(template.version),
        cell(template.category),
        status(&template.status),
        cell(template.variables.join(", ")),
    ]
}

/// What its reader would see, variables unfilled.
fn template_text(components: &[Value]) -> String {
    let mut lines = Vec::new();
    for component in components {
        lines.extend(component["text"].as_str().map(str::to_owned));
        let buttons = component["buttons"].as_array().into_iter().flatten();
        lines.extend(
            buttons
                .filter_map(|button| button["text"].as_str())
                .map(|label| format!("[{label}]")),
        );
    }
    lines.join("\n")
}
