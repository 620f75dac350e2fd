//! How campaigns, their recipients and what happened to them look.

use crate::output::{Output, cell, local_moment, moment, moment_or_none, number, status, thousands};
use crate::progress::{Campaign, CampaignDetail, Hold, Progress};
use campaign_core::message::MessageState;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Most characters of a text that comes from outside in one cell.
const CELL_MAX_CHARS: usize = 60;

/// One campaign after a decision.
pub(crate) fn told(campaign: &Campaign) -> String {
    let when = match (&campaign.status[..], &campaign.scheduled_at_local) {
        ("SCHEDULED", Some(at)) => format!(" for {}", local_moment(Some(at))),
        _ => String::new(),
    };
    format!(
        "{} {:?} is {}{when}{}",
        campaign.id,
        campaign.name,
        campaign.status,
        holds_after(campaign)
    )
}

fn holds_after(campaign: &Campaign) -> String {
    let holds: Vec<_> = campaign
        .holds
        .iter()
        .map(|hold| format!("; held: {hold}"))
        .collect();
    holds.concat()
}

/// A list of campaigns.
pub(crate) fn campaigns(output: &Output, items: Vec<Campaign>) -> String {
    let rows = items.into_iter().map(|campaign| {
        vec![
            cell(campaign.id),
            cell(shortened(&campaign.name)),
            status(&campaign.status),
            cell(local_moment(campaign.scheduled_at_local.as_deref())),
            cell(moment_or_none(campaign.finished_at)),
        ]
    });
    output.table(&["Id", "Name", "Status", "Scheduled", "Finished"], rows)
}

/// A campaign and how it is doing.
pub(crate) fn detail(output: &Output, detail: &CampaignDetail) -> String {
    let CampaignDetail {
        campaign,
        template,
        progress,
        cost,
    } = detail;
    let holds: Vec<_> = campaign.holds.iter().map(Hold::to_string).collect();
    let rate = if progress.rate_per_second > 0.0 {
        format!("{:.0}/s", progress.rate_per_second)
    } else {
        String::new()
    };
    let facts = output.facts(vec![
        ("id", campaign.id.to_string()),
        ("name", campaign.name.clone()),
        ("status", campaign.status.clone()),
        ("because", campaign.status_reason.clone().unwrap_or_default()),
        ("held by", holds.join("\n")),
        (
            "template",
            format!(
                "{} ({}), version {}",
                template.name, template.language, template.version
            ),
        ),
        ("sent from", campaign.phone_number_id.clone()),
        ("segment", campaign.segment.to_string()),
        (
            "test of",
            campaign.test_phones.clone().unwrap_or_default().join(", "),
        ),
        ("priority", campaign.priority.clone()),
        ("scheduled", local_moment(campaign.scheduled_at_local.as_deref())),
        ("started", moment_or_none(campaign.started_at)),
        ("expires", moment_or_none(campaign.expires_at)),
        ("finished", moment_or_none(campaign.finished_at)),
        ("rounds", progress.rounds.to_string()),
        ("rate", rate),
        ("estimated end", moment_or_none(progress.estimated_end_at)),
        ("cost", cost.told()),
        ("created by", campaign.created_by.clone()),
        ("possible now", campaign.actions.join(", ")),
    ]);
    if progress.total == 0 {
        return facts;
    }
    format!("{facts}\n\n{}", states(output, progress))
}

/// The recipients by state, their sum, and why some were skipped.
pub(crate) fn states(output: &Output, progress: &Progress) -> String {
    let known = MessageState::ALL.iter().map(|state| state.as_str());
    let unknown = progress
        .by_state
        .keys()
        .map(String::as_str)
        .filter(|name| name.parse::<MessageState>().is_err());
    let counted = known
        .chain(unknown)
        .filter_map(|name| Some((name, *progress.by_state.get(name)?)));
    let mut rows: Vec<_> = counted
        .filter(|(_, count)| *count != 0)
        .map(|(name, count)| vec![status(name), number(count), cell(share(count, progress.total))])
        .collect();
    rows.push(vec![cell("audience"), number(progress.total), cell("")]);
    let mut tables = vec![output.table(&["State", "Recipients#", "Share#"], rows)];
    if !progress.skipped_by.is_empty() {
        let reasons = progress
            .skipped_by
            .iter()
            .map(|(reason, count)| vec![cell(reason), number(*count)]);
        tables.push(output.table(&["Skipped because", "Recipients#"], reasons));
    }
    if !progress.failed_by.is_empty() {
        let failures = progress.failed_by.iter().map(|failure| {
            vec![
                cell(&failure.code),
                number(failure.recipients),
                cell(failure.title.as_deref().unwrap_or_default()),
                cell(&failure.advice),
            ]
        });
        let header = ["Failed with", "Recipients#", "Which means", "What to do"];
        tables.push(output.table(&header, failures));
    }
    tables.join("\n\n")
}

fn share(count: i64, total: i64) -> String {
    format!("{:.1}%", 100.0 * count as f64 / total.max(1) as f64)
}

/// A recipient, as far as it is shown.
#[derive(Debug, Deserialize)]
pub(crate) struct Recipient {
    seq: i64,
    customer_id: String,
    phone: Option<String>,
    state: String,
    attempts: i64,
    error_code: Option<String>,
    error_text: Option<String>,
    #[serde(default)]
    advice: Option<String>,
    accepted_at: Option<DateTime<Utc>>,
}

/// A list of recipients.
pub(crate) fn recipients(output: &Output, items: Vec<Recipient>) -> String {
    let rows = items.into_iter().map(|item| {
        let error: Vec<_> = [item.error_code, item.error_text].into_iter().flatten().collect();
        vec![
            number(item.seq),
            cell(item.customer_id),
            cell(item.phone.unwrap_or_default()),
            status(&item.state),
            number(item.attempts),
            cell(moment_or_none(item.accepted_at)),
            cell(shortened(&error.join(": "))),
            cell(item.advice.unwrap_or_default()),
        ]
    });
    output.table(
        &[
            "Seq#",
            "Customer",
            "Phone",
            "State",
            "Attempts#",
            "Accepted",
            "Error",
            "What to do",
        ],
        rows,
    )
}

/// What happened to a campaign.
#[derive(Debug, Deserialize)]
pub(crate) struct Timeline {
    events: Vec<Event>,
}

#[derive(Debug, Deserialize)]
struct Event {
    at: DateTime<Utc>,
    #[serde(rename = "event")]
    name: String,
    #[serde(default)]
    actor: Option<String>,
    #[serde(default)]
    details: Value,
}

/// What happened, oldest first.
pub(crate) fn events(output: &Output, timeline: Timeline) -> String {
    let rows = timeline.events.into_iter().map(|event| {
        let details = match &event.details {
            Value::Object(fields) if fields.is_empty() => String::new(),
            Value::Null => String::new(),
            details => details.to_string(),
        };
        vec![
            cell(moment(event.at)),
            cell(event.name),
            cell(event.actor.unwrap_or_default()),
            cell(shortened(&details)),
        ]
    });
    output.table(&["At", "Event", "By", "Details"], rows)
}

/// What a campaign would send.
#[derive(Debug, Deserialize)]
pub(crate) struct Preview {
    recipients: Vec<PreviewRecipient>,
    skipped: Vec<PreviewSkip>,
    skipped_by: BTreeMap<String, i64>,
    customers_seen: i64,
    customers_estimate: Option<i64>,
    more: bool,
}

#[derive(Debug, Deserialize)]
struct PreviewRecipient {
    customer_id: String,
    phone: String,
    message: Message,
}

#[derive(Debug, Deserialize)]
struct Message {
    header: Option<String>,
    body: String,
    footer: Option<String>,
    #[serde(default)]
    buttons: Vec<Button>,
}

#[derive(Debug, Deserialize)]
struct Button {
    label: String,
}

#[derive(Debug, Deserialize)]
struct PreviewSkip {
    customer_id: String,
    reason: String,
    detail: Option<String>,
}

/// The first messages as their readers would see them, and who would be skipped.
pub(crate) fn preview(output: &Output, preview: Preview) -> String {
    let mut parts: Vec<String> = preview
        .recipients
        .into_iter()
        .map(|recipient| {
            format!(
                "{} {}\n{}",
                recipient.customer_id,
                recipient.phone,
                message(recipient.message)
            )
        })
        .collect();
    if !preview.skipped.is_empty() {
        let rows = preview.skipped.into_iter().map(|skip| {
            vec![
                cell(skip.customer_id),
                cell(skip.reason),
                cell(shortened(&skip.detail.unwrap_or_default())),
            ]
        });
        parts.push(output.table(&["Skipped", "Because", "Detail"], rows));
    }
    let skipped: i64 = preview.skipped_by.values().sum();
    let estimate = preview
        .customers_estimate
        .map(|count| format!(" of about {}", thousands(count)))
        .unwrap_or_default();
    let more = if preview.more { "; there are more" } else { "" };
    let seen = thousands(preview.customers_seen);
    parts.push(format!(
        "{seen} customers{estimate} looked at, {} would be skipped{more}",
        thousands(skipped)
    ));
    parts.join("\n\n")
}

fn message(message: Message) -> String {
    let buttons = message
        .buttons
        .into_iter()
        .map(|button| format!("[{}]", button.label));
    let parts = message
        .header
        .into_iter()
        .chain([message.body])
        .chain(message.footer)
        .chain(buttons);
    parts
        .flat_map(|part| part.lines().map(|line| format!("  | {line}")).collect::<Vec<_>>())
        .collect::<Vec<_>>()
        .join("\n")
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= CELL_MAX_CHARS {
        return text.to_owned();
    }
    let start: String = text.chars().take(CELL_MAX_CHARS - 1).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::progress;

    #[test]
    fn states_are_listed_as_a_message_goes_through_them_with_their_sum() {
        let progress = progress(
            &[
                ("read", 12_000),
                ("pending", 0),
                ("delivered", 7_500),
                ("skipped", 500),
            ],
            &[("duplicate", 400), ("landline", 100)],
        );
        insta::assert_snapshot!(states(&Output::to(std::io::sink(), false), &progress));
    }

    #[test]
    fn failures_are_listed_by_code_with_what_they_mean_and_what_to_do() {
        let mut progress = progress(&[("failed", 3), ("read", 1)], &[]);
        let failures = serde_json::json!([
            {"code": "131049", "recipients": 2, "title": "Too much marketing", "scope": "recipient",
             "action": "fail_for_a_day", "advice": "Not again within 24 hours."},
            {"code": "999", "recipients": 1, "title": null, "scope": "unknown", "action": "fail",
             "advice": "Look it up."}
        ]);
        progress.failed_by = serde_json::from_value(failures).expect("failures");
        let shown = states(&Output::to(std::io::sink(), false), &progress);
        let line = |code: &str| {
            let line = shown.lines().find(|line| line.contains(code)).expect("a line");
            line.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            line("131049"),
            "131049 2 Too much marketing Not again within 24 hours."
        );
        assert_eq!(line("999"), "999 1 Look it up.");
    }

    #[test]
    fn a_decision_is_told_with_the_time_in_the_campaigns_own_zone() {
        let json = serde_json::json!({
            "id": uuid::Uuid::from_u128(7), "name": "Natal", "status": "SCHEDULED", "phone_number_id": "1",
            "scheduled_at_local": "2026-12-01T09:00:00.815379-03:00",
        });
        let campaign = serde_json::from_value(json).expect("a campaign");
        assert_eq!(
            told(&campaign),
            "00000000-0000-0000-0000-000000000007 \"Natal\" is SCHEDULED for 2026-12-01 09:00:00 -03:00"
        );
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let cut = shortened(&"ã".repeat(100));
        assert_eq!(cut.chars().count(), CELL_MAX_CHARS);
        assert!(cut.ends_with('…'));
    }
}
