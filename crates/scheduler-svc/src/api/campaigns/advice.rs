//! What a person can do about a code of the ledger: Meta's by the table of errors, our own words here.

use campaign_core::message::SkipReason;
use whatsapp_api::errors::{decide_code, entry};

/// What a code means.
pub(super) struct Meaning {
    /// Meta's name of the error, or ours; none for a code that nobody knows.
    pub(super) title: Option<&'static str>,
    /// Who it is about: `message`, `recipient`, `pair`, `lane`, `template`, `account` or `unknown`.
    pub(super) scope: &'static str,
    /// What the engine does about it, as in `fail` or `stop_campaign`; `none` for words of the engine's own.
    pub(super) action: &'static str,
    pub(super) advice: &'static str,
}

/// What a code of a failure means.
pub(super) fn of_failure(code: &str) -> Meaning {
    if let Ok(number) = code.parse::<i64>() {
        let decision = decide_code(number);
        return Meaning {
            title: entry(number).map(|entry| entry.title),
            scope: decision.scope.as_str(),
            action: decision.action.as_str(),
            advice: decision.advice,
        };
    }
    let (title, advice) = own_word(code).unzip();
    Meaning {
        title,
        scope: if title.is_some() { "message" } else { "unknown" },
        action: "none",
        advice: advice.unwrap_or("The recipients' error texts say more."),
    }
}

/// What can be done about the code of a recipient, whatever became of the message; nothing if there is nothing to
/// say.
pub(super) fn for_recipient(code: &str) -> Option<&'static str> {
    if let Ok(reason) = code.parse::<SkipReason>() {
        return Some(for_skip(reason));
    }
    if code.parse::<i64>().is_ok() {
        return Some(of_failure(code).advice);
    }
    own_word(code).map(|(_, advice)| advice)
}

/// The words that stand where Meta has given no code: what they mean, and what can be done.
fn own_word(code: &str) -> Option<(&'static str, &'static str)> {
    const DECIDE: &str =
        "Wait for a status webhook, or decide: uncertain resend (some may receive it twice) or write-off.";
    Some(match code {
        "timeout" => ("No answer in time", DECIDE),
        "broken" => ("The connection broke before the answer", DECIDE),
        "unreadable" => ("The answer could not be read", DECIDE),
        "lost" => ("What became of it was lost with a process or with Redis", DECIDE),
        "written_off" => ("Written off by a person", "resend-failed sends it again."),
        "render" => (
            "The values do not fit the template",
            "See the text; correct the mapping or the customer's data.",
        ),
        "undecodable" => (
            "The queued message could not be read",
            "See the dead letters, then resend-failed.",
        ),
        "cancelled" => (
            "The campaign was cancelled before it was sent",
            "Clone the campaign to reach those left.",
        ),
        "expired" => (
            "The campaign expired before it was sent",
            "Clone the campaign with a later end.",
        ),
        "unknown" => (
            "The webhook named no error",
            "Nothing is known; Meta's WhatsApp Manager may say more.",
        ),
        "other" => ("One of many rarer codes", "The recipients' rows name them."),
        _ => return None,
    })
}

fn for_skip(reason: SkipReason) -> &'static str {
    match reason {
        SkipReason::InvalidPhone => "Correct the phone number in the ERP.",
        SkipReason::Landline => "A landline cannot receive: record a mobile number in the ERP.",
        SkipReason::MissingVariable => "Record the value in the ERP, or give the variable a fallback.",
        SkipReason::InvalidVariable => "Correct the value in the ERP: WhatsApp would refuse it.",
        SkipReason::TooLong => "Shorten the value or the template: WhatsApp would refuse the message.",
        SkipReason::Duplicate => "Nothing to do: another recipient has the same number.",
        SkipReason::OptedOut => "Nothing to do: the person asked not to be messaged.",
        SkipReason::NoConsent => "Marketing needs the person's consent, recorded in the ERP.",
        SkipReason::Inactive => "Nothing to do: the ERP does not count the customer as active.",
        SkipReason::NotAllowed => "Add the number to ALLOWED_RECIPIENTS, or leave that empty for everyone.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use whatsapp_api::errors::ERROR_TABLE;

    #[test]
    fn every_code_that_a_row_can_have_comes_with_advice() {
        for entry in ERROR_TABLE {
            let code = entry.first.to_string();
            assert_eq!(for_recipient(&code), Some(entry.decision.advice));
            let meaning = of_failure(&code);
            assert_eq!(
                (meaning.title, meaning.action),
                (Some(entry.title), entry.decision.action.as_str())
            );
        }
        for reason in SkipReason::ALL {
            assert!(for_recipient(reason.as_str()).is_some(), "{reason}");
        }
        for word in [
            "timeout",
            "broken",
            "unreadable",
            "lost",
            "written_off",
            "render",
            "undecodable",
            "cancelled",
            "expired",
        ] {
            assert!(for_recipient(word).is_some(), "{word}");
        }
        assert!(of_failure("999999").advice.contains("not in Meta's table"));
        assert_eq!((of_failure("what?").title, for_recipient("what?")), (None, None));
    }
}
