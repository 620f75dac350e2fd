//! What a segment accepts, whom it matches, and that its query says all of it.

use super::*;
use crate::customer::OpenInvoice;
use proptest::prelude::*;

fn day(month: u32, day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, month, day).expect("a valid day")
}

fn customer() -> Customer {
    Customer {
        id: "1".into(),
        name: Some("Conceição Araújo".into()),
        phone: None,
        email: None,
        city: Some("São Paulo".into()),
        state: Some("SP".into()),
        birth_date: NaiveDate::from_ymd_opt(1990, 5, 17),
        tags: vec!["vip".into(), "recorrente".into()],
        active: true,
        marketing_consent: false,
        last_purchase_on: Some(day(2, 10)),
        last_purchase_cents: Some(5_000),
        open_invoice: Some(OpenInvoice {
            number: "9".into(),
            amount_cents: 12_000,
            due_on: day(3, 1),
        }),
        updated_at: chrono::DateTime::UNIX_EPOCH,
    }
}

/// Each criterion with one value that matches [`customer`] on 11 March, and one that does not.
#[expect(clippy::too_many_lines, reason = "a table: one entry a criterion")]
fn criteria() -> Vec<(Segment, Segment)> {
    let list = |values: &[&str]| values.iter().map(|&value| value.to_owned()).collect::<Vec<_>>();
    let all = Segment::default;
    vec![
        (
            Segment {
                states: list(&["RJ", "SP"]),
                ..all()
            },
            Segment {
                states: list(&["RJ"]),
                ..all()
            },
        ),
        (
            Segment {
                cities: list(&["SAO PAULO "]),
                ..all()
            },
            Segment {
                cities: list(&["São Pedro"]),
                ..all()
            },
        ),
        (
            Segment {
                tags_any: list(&["novo", "vip"]),
                ..all()
            },
            Segment {
                tags_any: list(&["novo"]),
                ..all()
            },
        ),
        (
            Segment {
                tags_all: list(&["vip", "recorrente"]),
                ..all()
            },
            Segment {
                tags_all: list(&["vip", "novo"]),
                ..all()
            },
        ),
        (
            Segment {
                last_purchase_from: Some(day(2, 10)),
                ..all()
            },
            Segment {
                last_purchase_from: Some(day(2, 11)),
                ..all()
            },
        ),
        (
            Segment {
                last_purchase_to: Some(day(2, 10)),
                ..all()
            },
            Segment {
                last_purchase_to: Some(day(2, 9)),
                ..all()
            },
        ),
        (
            Segment {
                days_overdue_min: Some(10),
                ..all()
            },
            Segment {
                days_overdue_min: Some(11),
                ..all()
            },
        ),
        (
            Segment {
                days_overdue_max: Some(10),
                ..all()
            },
            Segment {
                days_overdue_max: Some(9),
                ..all()
            },
        ),
        (
            Segment {
                amount_cents_min: Some(12_000),
                ..all()
            },
            Segment {
                amount_cents_min: Some(12_001),
                ..all()
            },
        ),
        (
            Segment {
                amount_cents_max: Some(12_000),
                ..all()
            },
            Segment {
                amount_cents_max: Some(11_999),
                ..all()
            },
        ),
        (
            Segment {
                birthday_month: Some(5),
                ..all()
            },
            Segment {
                birthday_month: Some(6),
                ..all()
            },
        ),
        (
            Segment {
                marketing_consent: Some(false),
                ..all()
            },
            Segment {
                marketing_consent: Some(true),
                ..all()
            },
        ),
        (
            Segment {
                active: Some(true),
                ..all()
            },
            Segment {
                active: Some(false),
                ..all()
            },
        ),
    ]
}

#[test]
fn each_criterion_decides_by_itself() {
    for (matching, other) in criteria() {
        assert!(matching.matches(&customer(), day(3, 11)), "{matching:?}");
        assert!(!other.matches(&customer(), day(3, 11)), "{other:?}");
    }
    assert!(Segment::default().matches(&customer(), day(3, 11)));
}

#[test]
fn what_is_unknown_does_not_match() {
    let unknown: Customer = serde_json::from_str(r#"{"id": "1", "updated_at": "2026-01-01T00:00:00Z"}"#)
        .expect("a bare customer");
    // The last two criteria, consent and active, are never unknown.
    for (matching, _) in criteria().into_iter().take(11) {
        assert!(!matching.matches(&unknown, day(3, 11)), "{matching:?}");
    }
}

#[test]
fn the_query_carries_every_criterion() {
    for segment in criteria().into_iter().flat_map(|(one, other)| [one, other]) {
        let pairs = segment.to_query();
        let read = Segment::from_query(pairs.iter().map(|(name, value)| (*name, value.as_str())));
        assert_eq!(read.as_ref(), Ok(&segment), "{pairs:?}");
    }
}

#[test]
fn problems_name_field_finding_and_expectation() {
    let segment = Segment {
        states: vec!["sp".into()],
        cities: vec![" ".into()],
        tags_any: vec!["x".repeat(MAX_TEXT_CHARS + 1)],
        tags_all: vec!["t".into(); MAX_LIST + 1],
        last_purchase_from: Some(day(3, 2)),
        last_purchase_to: Some(day(3, 1)),
        days_overdue_min: Some(5),
        days_overdue_max: Some(MAX_DAYS_OVERDUE + 1),
        amount_cents_min: Some(-1),
        amount_cents_max: Some(-2),
        birthday_month: Some(13),
        ..Segment::default()
    };
    let problems = segment.problems();
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "states",
            "cities",
            "tags_any",
            "tags_all",
            "days_overdue_max",
            "amount_cents_min",
            "amount_cents_max",
            "birthday_month",
            "last_purchase_from",
            "amount_cents_min",
        ]
    );
    assert_eq!(
        problems[8].to_string(),
        "last_purchase_from: found 2026-03-02; expected at most last_purchase_to, which is 2026-03-01"
    );
    assert_eq!(Segment::default().problems(), []);
}

#[test]
fn a_bad_query_is_told_what_is_wrong() {
    let read = |pairs: &[(&'static str, &'static str)]| {
        let problems = Segment::from_query(pairs.iter().copied()).expect_err("a bad query");
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        read(&[("estado", "SP")]),
        ["estado: found an unknown name; expected the name of a criterion"]
    );
    assert_eq!(
        read(&[("last_purchase_to", "1/2/26")]),
        ["last_purchase_to: found \"1/2/26\"; expected a date as YYYY-MM-DD"]
    );
    assert_eq!(
        read(&[("active", "true"), ("active", "false")]),
        ["active: found more than one value; expected one value"]
    );
}

#[test]
fn json_refuses_what_it_does_not_know() {
    let error = serde_json::from_str::<Segment>(r#"{"state": ["SP"]}"#).expect_err("an unknown criterion");
    assert!(error.to_string().contains("unknown field `state`"), "{error}");
    assert_eq!(serde_json::to_string(&Segment::default()).expect("JSON"), "{}");
}

proptest! {
    #[test]
    fn a_place_is_itself_in_any_case(name in "\\PC{0,30}") {
        let padded = format!("  {} ", name.to_ascii_uppercase());
        prop_assert!(same_place(&name, &padded));
    }
}
