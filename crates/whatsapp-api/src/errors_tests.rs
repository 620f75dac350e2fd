//! The whole table, against a second, independent list.

use super::*;
use Action::{
    Fail, FailAndSuppress, FailForADay, HoldCampaign, RetryFew, RetryPair, RetryTransient, SlowLane,
    StopAccount, StopCampaign, StopLane,
};

/// Code by code, from Meta's documentation: what must happen.
const EXPECTED: &[(Action, &[i64])] = &[
    (
        StopLane,
        &[
            0, 190, 3, 10, 200, 201, 250, 299, 131_005, 33, 131_037, 131_045, 133_010,
        ],
    ),
    (StopAccount, &[368, 131_031]),
    (HoldCampaign, &[131_042, 131_048, 131_064, 132_015]),
    (SlowLane, &[4, 80_007, 130_429]),
    (RetryPair, &[131_056]),
    (RetryFew, &[1]),
    (RetryTransient, &[2, 131_000, 131_016, 131_057, 133_004]),
    (
        Fail,
        &[
            100, 131_008, 131_009, 131_021, 131_051, 131_052, 131_053, 132_018, 135_000, 131_026, 131_030,
            130_403, 130_472, 130_497, 131_047,
        ],
    ),
    (FailForADay, &[131_049]),
    (FailAndSuppress, &[131_050]),
    (
        StopCampaign,
        &[131_063, 132_000, 132_001, 132_005, 132_007, 132_012, 132_016],
    ),
];

#[test]
fn every_documented_code_is_decided_as_documented() {
    for (action, codes) in EXPECTED {
        for &code in *codes {
            let decision = decide(&GraphError::new(code, ""));
            assert_eq!(decision.action, *action, "code {code}");
        }
    }
}

#[test]
fn every_line_of_the_table_is_expected_and_can_be_acted_on() {
    for entry in ERROR_TABLE {
        let expected = EXPECTED
            .iter()
            .find(|(_, codes)| codes.contains(&entry.first) && codes.contains(&entry.last))
            .map(|(action, _)| *action);
        assert_eq!(expected, Some(entry.decision.action), "code {}", entry.first);
        assert!(!entry.title.is_empty(), "code {}", entry.first);
        assert!(entry.decision.advice.len() > 20, "code {}", entry.first);
    }
}

#[test]
fn the_table_is_ascending_without_overlap_so_that_lookup_finds_every_line() {
    for pair in ERROR_TABLE.windows(2) {
        assert!(
            pair[0].last < pair[1].first,
            "{} and {}",
            pair[0].first,
            pair[1].first
        );
    }
    for entry in ERROR_TABLE {
        assert!(entry.first <= entry.last);
        for code in [entry.first, entry.last] {
            assert_eq!(super::entry(code).map(|found| found.first), Some(entry.first));
        }
    }
}

#[test]
fn scope_and_action_agree() {
    for entry in ERROR_TABLE {
        let allowed: &[Scope] = match entry.decision.action {
            Fail => &[Scope::Message, Scope::Recipient],
            FailAndSuppress | FailForADay => &[Scope::Recipient],
            RetryPair => &[Scope::Pair],
            SlowLane => &[Scope::Lane, Scope::Account],
            RetryTransient | RetryFew => &[Scope::Unknown, Scope::Account],
            HoldCampaign => &[Scope::Template, Scope::Lane, Scope::Account],
            StopCampaign => &[Scope::Template],
            StopLane => &[Scope::Lane],
            StopAccount => &[Scope::Account],
        };
        assert!(allowed.contains(&entry.decision.scope), "code {}", entry.first);
    }
}

#[test]
fn what_holds_or_stops_has_a_cause_that_fits_its_scope_and_nothing_else_has_one() {
    for entry in ERROR_TABLE {
        let Decision {
            scope, action, hold, ..
        } = entry.decision;
        let holds = matches!(action, HoldCampaign | StopCampaign | StopLane | StopAccount);
        assert_eq!(hold.is_some(), holds, "code {}", entry.first);
        let fits = match hold {
            None => true,
            Some(Hold::Template) => scope == Scope::Template && action == HoldCampaign,
            Some(Hold::Stopped) => scope == Scope::Template && action == StopCampaign,
            Some(Hold::Number | Hold::Quality) => scope == Scope::Lane,
            // A token may be one number's own.
            Some(Hold::Account) => matches!(scope, Scope::Account | Scope::Lane),
        };
        assert!(fits, "code {}", entry.first);
    }
    assert_eq!(decide_code(131_048).hold, Some(Hold::Quality));
    assert_eq!(decide_code(132_015).hold, Some(Hold::Template));
    assert_eq!(decide_code(190).hold, Some(Hold::Account));
}

#[test]
fn only_the_limit_of_marketing_for_a_person_lasts_a_day() {
    assert_eq!(codes_failed_for_a_day().collect::<Vec<_>>(), [131_049]);
}

#[test]
fn an_unknown_code_follows_is_transient_and_fails_without_it() {
    for unknown in [5, 199, 300, 131_001, 999_999, -1] {
        let mut error = GraphError::new(unknown, "");
        assert_eq!(decide(&error).action, Fail, "code {unknown}");
        error.is_transient = Some(false);
        assert_eq!(decide(&error).action, Fail, "code {unknown}");
        error.is_transient = Some(true);
        assert_eq!(decide(&error).action, RetryTransient, "code {unknown}");
    }
}

#[test]
fn a_known_code_is_not_overruled_by_is_transient() {
    let mut error = GraphError::new(131_026, "");
    error.is_transient = Some(true);
    assert_eq!(decide(&error).action, Fail);
}

#[test]
fn codes_and_error_data_are_read_in_all_their_forms() {
    let body = r#"{"error":{"message":"m","type":"OAuthException","code":"132015","error_data":
        {"messaging_product":"whatsapp","details":"paused"},"error_subcode":"2494073","fbtrace_id":"A"}}"#;
    let read: ErrorBody = serde_json::from_str(body).expect("reads");
    assert_eq!((read.error.code, read.error.details()), (132_015, "paused"));
    assert_eq!(read.error.error_subcode, Some(2_494_073));

    let text = r#"{"code":1,"title":"T","error_data":"blocked"}"#;
    let read: GraphError = serde_json::from_str(text).expect("reads");
    assert_eq!(read.details(), "blocked");
    let no_data: GraphError = serde_json::from_str(r#"{"code":1,"title":"T"}"#).expect("reads");
    assert_eq!(no_data.details(), "T");
}

#[test]
fn an_error_without_a_code_is_not_an_error_with_code_zero() {
    assert!(serde_json::from_str::<ErrorBody>(r#"{"error":{"message":"m"}}"#).is_err());
    assert!(serde_json::from_str::<ErrorBody>(r#"{"error":{"code":null}}"#).is_err());
    assert!(serde_json::from_str::<ErrorBody>(r#"{"error":"m"}"#).is_err());
}
