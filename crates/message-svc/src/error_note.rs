//! What is kept of an error: its code, and its words for people. Advice is read from the table where the code is
//! shown; only a hold, which stands for itself, carries it along.

use campaign_core::contracts::ErrorNote;
use whatsapp_api::errors::entry;
use whatsapp_api::{Decision, GraphError};

/// Most characters of what an error says that a hold repeats, so that the advice behind it is not cut off.
const SAID_MAX_CHARS: usize = 200;

/// For the row of the message.
pub(crate) fn note(error: &GraphError) -> ErrorNote {
    ErrorNote::new(error.code.to_string(), said(error))
}

/// For a hold.
pub(crate) fn note_with_advice(error: &GraphError, decision: Decision) -> ErrorNote {
    let said: String = said(error).chars().take(SAID_MAX_CHARS).collect();
    let said = said.trim_end_matches('.');
    ErrorNote::new(error.code.to_string(), format!("{said}. {}", decision.advice))
}

fn said(error: &GraphError) -> String {
    let title = entry(error.code).map(|entry| entry.title);
    let title = error.title.as_deref().or(title).unwrap_or(&error.message);
    match error.details() {
        details if details.is_empty() || details == title => title.to_owned(),
        details => format!("{title}: {details}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use campaign_core::contracts::ERROR_TEXT_MAX_CHARS;
    use whatsapp_api::decide;
    use whatsapp_api::errors::ERROR_TABLE;

    #[test]
    fn a_hold_keeps_its_advice_however_much_was_said() {
        for entry in ERROR_TABLE {
            let error = GraphError::new(entry.first, "m").with_details("d".repeat(2 * ERROR_TEXT_MAX_CHARS));
            let note = note_with_advice(&error, decide(&error));
            assert!(note.text.ends_with(entry.decision.advice), "{}", entry.first);
            assert!(note.text.starts_with(entry.title), "{}", entry.first);
        }
    }
}
