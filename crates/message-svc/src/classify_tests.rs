//! The whole table of errors, and the edges of each decision.

use super::*;
use campaign_core::campaign::HoldKind;
use campaign_core::contracts::TroubleScope;
use uuid::Uuid;
use whatsapp_api::decide;
use whatsapp_api::errors::ERROR_TABLE;

fn attempt(number: i32) -> Attempt {
    Attempt {
        campaign: CampaignId(Uuid::from_u128(7)),
        id: StreamId { high: 1, low: 41 },
        number,
        attempts_max: 5,
        is_spared: false,
        at: DateTime::from_timestamp_millis(1_700_000_000_000).expect("a time"),
        chance: 1.0,
        trace: String::new(),
    }
}

fn phone() -> CanonicalPhone {
    "+5531987654321".parse().expect("a phone")
}

fn refuse(number: i32, code: i64, retry_after: Option<Duration>) -> Verdict {
    let error = GraphError::new(code, "refused");
    let decision = decide(&error);
    classify(
        &attempt(number),
        &phone(),
        SendOutcome::Refused(error, decision, retry_after),
    )
}

/// A step in words: what a reader of the table expects to see.
fn word(step: &Step) -> String {
    match step {
        Step::Accepted { .. } => "accepted".to_owned(),
        Step::Settled {
            outcome: Outcome::Message(outcome),
            ..
        } => outcome.state.to_string(),
        Step::Parked { attempts, .. } => format!("parked {attempts}"),
        Step::Event {
            outcome: Outcome::OptOut(optout),
            ..
        } => format!("optout {}", optout.source),
        Step::Refund { tokens } => format!("refund {tokens}"),
        other => format!("{other:?}"),
    }
}

fn words(steps: &[Step]) -> String {
    steps.iter().map(word).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_code_of_the_table_leads_where_its_action_says() {
    for entry in ERROR_TABLE {
        for code in [entry.first, entry.last] {
            let verdict = refuse(1, code, None);
            let expected = match entry.decision.action {
                Action::Fail | Action::FailForADay => "failed",
                Action::FailAndSuppress => "failed, optout error_131050",
                Action::RetryTransient | Action::RetryFew | Action::RetryPair => "parked 1",
                Action::SlowLane
                | Action::HoldCampaign
                | Action::StopCampaign
                | Action::StopLane
                | Action::StopAccount => "parked 0",
            };
            assert_eq!(words(&verdict.steps), expected, "{code}");
            assert_eq!(verdict.class, entry.decision.action.as_str(), "{code}");
            let trouble = matches!(verdict.signal, Signal::Trouble(_));
            let stops = matches!(
                entry.decision.action,
                Action::HoldCampaign | Action::StopCampaign | Action::StopLane | Action::StopAccount
            );
            assert_eq!(trouble, stops, "{code}");
            let too_fast = verdict.signal == Signal::TooFast;
            assert_eq!(too_fast, entry.decision.action == Action::SlowLane, "{code}");
        }
    }
}

#[test]
fn a_trouble_names_what_it_concerns_and_the_hold_it_calls_for() {
    let campaign = TroubleScope::Campaign(attempt(1).campaign);
    for (code, scope, hold) in [
        (0, TroubleScope::Lane, HoldKind::Account),
        (190, TroubleScope::Lane, HoldKind::Account),
        (10, TroubleScope::Lane, HoldKind::Number),
        (133_010, TroubleScope::Lane, HoldKind::Number),
        (368, TroubleScope::Account, HoldKind::Account),
        (131_031, TroubleScope::Account, HoldKind::Account),
        (131_042, TroubleScope::Account, HoldKind::Account),
        (131_064, TroubleScope::Account, HoldKind::Account),
        (131_048, TroubleScope::Lane, HoldKind::Quality),
        (131_063, campaign, HoldKind::Stopped),
        (132_001, campaign, HoldKind::Stopped),
        (132_016, campaign, HoldKind::Stopped),
        (132_015, campaign, HoldKind::Template),
    ] {
        let Signal::Trouble(trouble) = refuse(3, code, None).signal else {
            panic!("{code} is a trouble");
        };
        assert_eq!((trouble.scope, trouble.hold), (scope, hold), "{code}");
        assert_eq!(trouble.error.code, code.to_string());
        let advice = whatsapp_api::errors::decide_code(code).advice;
        assert!(trouble.error.text.ends_with(advice), "{}", trouble.error.text);
    }
}

#[test]
fn what_is_refused_while_everything_is_refused_keeps_its_attempts() {
    let spared = Attempt {
        is_spared: true,
        ..attempt(5)
    };
    for (code, expected) in [(131_000, "parked 4"), (1, "parked 4"), (100, "failed")] {
        let error = GraphError::new(code, "refused");
        let decision = decide(&error);
        let verdict = classify(&spared, &phone(), SendOutcome::Refused(error, decision, None));
        assert_eq!(words(&verdict.steps), expected, "{code}");
    }
}

#[test]
fn a_transient_error_is_retried_until_its_attempts_are_spent() {
    let transient = 131_000;
    let verdict = refuse(2, transient, None);
    let [Step::Parked { due_ms, attempts, .. }] = verdict.steps.as_slice() else {
        panic!("{:?}", verdict.steps);
    };
    let wait_ms = due_ms - attempt(2).at.timestamp_millis();
    assert_eq!((*attempts, wait_ms), (2, 2_000));
    assert_eq!(words(&refuse(4, transient, None).steps), "parked 4");
    assert_eq!(words(&refuse(5, transient, None).steps), "failed");
    assert_eq!(words(&refuse(3, 1, None).steps), "failed", "a few times only");
}

#[test]
fn what_must_wait_longer_than_a_minute_goes_in_a_later_round() {
    let asked = Some(Duration::from_secs(90));
    let verdict = refuse(1, 131_016, asked);
    let [
        Step::Settled {
            outcome: Outcome::Message(outcome),
            ..
        },
    ] = verdict.steps.as_slice()
    else {
        panic!("{:?}", verdict.steps);
    };
    assert_eq!(outcome.state, MessageState::Deferred);
    assert_eq!(outcome.due, Some(attempt(1).at + Duration::from_secs(90)));
    assert_eq!(
        words(&refuse(1, 131_016, Some(PARKED_MAX)).steps),
        "parked 1",
        "a minute is parked"
    );
    // 4, 16 and 64 seconds.
    assert_eq!(words(&refuse(2, 131_056, None).steps), "parked 2");
    assert_eq!(words(&refuse(3, 131_056, None).steps), "deferred");
}

#[test]
fn what_is_limited_waits_as_long_as_whatsapp_says() {
    let asked = Some(Duration::from_secs(30));
    for code in [130_429, 131_056, 131_016] {
        let verdict = refuse(1, code, asked);
        let [Step::Parked { due_ms, .. }] = verdict.steps.as_slice() else {
            panic!("{code}: {:?}", verdict.steps);
        };
        let wait_ms = due_ms - attempt(1).at.timestamp_millis();
        assert!((30_000..=45_000).contains(&wait_ms), "{code}: {wait_ms} ms");
    }
}

#[test]
fn a_rate_error_spends_nothing_however_often_it_comes() {
    assert_eq!(words(&refuse(5, 130_429, None).steps), "parked 4");
}

#[test]
fn what_never_left_comes_back_unspent_and_due_by_any_clock() {
    let end = SendOutcome::NotSent {
        reason: "connection refused".into(),
    };
    let verdict = classify(&attempt(3), &phone(), end);
    assert_eq!(words(&verdict.steps), "parked 2, refund 1");
    assert!(matches!(verdict.steps[0], Step::Parked { due_ms: 0, .. }));
    assert_eq!(verdict.signal, Signal::NotSent);
}

#[test]
fn what_is_unknown_becomes_uncertain_in_one_word() {
    for (reason, code) in [
        ("error sending request: operation timed out", "timeout"),
        ("connection closed before message completed", "broken"),
        ("HTTP 200 without a wamid", "unreadable"),
        ("HTTP 504 without a Graph error", "unreadable"),
    ] {
        let end = SendOutcome::Unknown {
            reason: reason.into(),
        };
        let verdict = classify(&attempt(1), &phone(), end);
        let [
            Step::Settled {
                outcome: Outcome::Message(outcome),
                ..
            },
        ] = verdict.steps.as_slice()
        else {
            panic!("{:?}", verdict.steps);
        };
        assert_eq!(outcome.state, MessageState::Uncertain);
        assert_eq!(outcome.error.as_ref().map(|note| note.code.as_str()), Some(code));
        assert_eq!(verdict.signal, Signal::Lost);
    }
}

#[test]
fn an_acceptance_tells_the_wa_id_only_where_it_differs() {
    for (wa_id, told) in [
        (None, None),
        (Some("5531987654321"), None),
        (Some("553187654321"), Some("553187654321")),
    ] {
        let end = SendOutcome::Accepted {
            wamid: "wamid.A".into(),
            wa_id: wa_id.map(str::to_owned),
            held: false,
        };
        let verdict = classify(&attempt(2), &phone(), end);
        let [
            Step::Accepted {
                outcome: Outcome::Message(outcome),
                ..
            },
        ] = verdict.steps.as_slice()
        else {
            panic!("{:?}", verdict.steps);
        };
        assert_eq!(outcome.wa_id.as_deref(), told);
        assert_eq!(outcome.wamid.as_deref(), Some("wamid.A"));
        assert_eq!(outcome.attempts, Some(2));
        assert_eq!(outcome.key.to_string(), format!("{}:1:41", attempt(2).campaign));
    }
}

#[test]
fn a_skip_returns_its_token_unless_the_take_did() {
    assert_eq!(words(&attempt(1).skipped(SkipReason::OptedOut)), "skipped");
    assert_eq!(
        words(&attempt(1).skipped(SkipReason::NotAllowed)),
        "skipped, refund 1"
    );
    let unsendable = attempt(1).unsendable(ErrorNote::new("render", "too long"));
    assert_eq!(words(&unsendable), "failed, refund 1");
}
