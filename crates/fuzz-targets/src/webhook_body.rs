//! `POST /webhooks/whatsapp`, from the raw body to the outcomes that go to Redis.

use campaign_core::contracts::{ERROR_TEXT_MAX_CHARS, Outcome};
use chrono::DateTime;
use message_svc::opt_out_words::OptOutWords;
use message_svc::webhook_reading::{Reading, read};
use whatsapp_api::webhook::{MAX_UPDATES, parse};

/// Longest outcome that a webhook may make, as JSON. A thousand of them are one body.
const OUTCOME_MAX_BYTES: usize = 16 * 1024;

/// Reads a webhook's body. No outcome is larger than a status is, whatever the body held, and all of them
/// can be read again by the ledger.
pub fn webhook_body(raw: &[u8]) -> usize {
    let Ok(webhook) = parse(raw) else { return 0 };
    assert!(
        webhook.updates.len() + webhook.unreadable <= MAX_UPDATES,
        "a body holds a bounded number of updates"
    );
    assert_eq!(parse(raw).ok().as_ref(), Some(&webhook), "reading is repeatable");
    let words = OptOutWords::parse("SAIR,PARAR");
    let now = DateTime::from_timestamp_nanos(1_800_000_000_000_000_000);
    let read_updates = webhook.updates.len();
    for update in webhook.updates {
        let Reading {
            kind,
            status,
            opt_out,
            ..
        } = read(update, &words, now);
        assert!(!kind.is_empty(), "every update has a metric label");
        if let Some((_, outcome)) = status {
            let text = outcome.error.as_ref().map_or("", |note| &note.text);
            assert!(text.chars().count() <= ERROR_TEXT_MAX_CHARS);
            check(&Outcome::Message(outcome));
        }
        if let Some((_, opt_out)) = opt_out {
            check(&Outcome::OptOut(opt_out));
        }
    }
    read_updates
}

fn check(outcome: &Outcome) {
    let json = serde_json::to_string(outcome).expect("an outcome is JSON");
    assert!(
        json.len() <= OUTCOME_MAX_BYTES,
        "{} bytes: {outcome:?}",
        json.len()
    );
    let again: Outcome = serde_json::from_str(&json).expect("an outcome decodes");
    assert_eq!(&again, outcome, "{json}");
}
