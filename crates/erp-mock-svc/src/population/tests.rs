//! The promises of the population: repeatable, and flawed in the stated shares.

use super::*;
use campaign_core::phone::{CanonicalPhone, PhoneProblem, Region, canonicalise};
use campaign_core::segment::Segment;
use std::collections::{HashMap, HashSet};

const SIZE: u64 = 100_000;

fn population() -> Population {
    Population::new(1, SIZE, NaiveDate::from_ymd_opt(2026, 3, 1).expect("a valid day"))
}

fn assert_share(what: &str, found: usize, percent: std::ops::Range<f64>) {
    let share = found as f64 * 100.0 / SIZE as f64;
    assert!(
        percent.contains(&share),
        "{share} percent of the customers {what}, not {percent:?}"
    );
}

#[test]
fn a_customer_is_a_function_of_seed_and_index() {
    let population = population();
    assert_eq!(population.customer(4_711), population.customer(4_711));
    let other_seed = Population::new(2, SIZE, population.today());
    assert_ne!(population.customer(4_711), other_seed.customer(4_711));
    let larger = Population::new(1, SIZE * 10, population.today());
    assert_eq!(
        population.customer(4_711),
        larger.customer(4_711),
        "growing changes nobody"
    );
}

/// Whoever counts on a population counts on every version's being the same.
#[test]
fn the_customers_are_those_of_every_version() {
    let population = population();
    let customers: Vec<_> = (0..5_000).map(|index| population.customer(index)).collect();
    let json = serde_json::to_vec(&customers).expect("customers are always representable in JSON");
    assert_eq!(
        (json.len(), digest(&json)),
        (1_804_792, 6_712_884_427_586_823_211)
    );
}

#[test]
fn ids_lead_back_to_their_index() {
    let population = population();
    assert_eq!(population.index_of(&Population::id_of(0)), Some(0));
    assert_eq!(
        population.index_of(&population.customer(SIZE - 1).id),
        Some(SIZE - 1)
    );
    for id in ["C00100001", "C00000000", "C1", "C+0000001", "", "X00000001"] {
        assert_eq!(population.index_of(id), None, "{id:?}");
    }
}

#[test]
fn a_phone_leads_back_to_everybody_who_has_it() {
    let population = population();
    for index in 0..5_000 {
        let phone = population.customer(index).phone;
        let Ok(phone) = canonicalise(&phone.unwrap_or_default(), Region::Brazil) else {
            continue;
        };
        assert!(population.candidates(phone).contains(&index), "{index}");
        assert!(population.candidates(phone).count() < 3_000);
    }
    let foreign = "+14155552671".parse().expect("a number");
    assert!(population.candidates(foreign).count() < 3_000);
}

#[test]
fn flaws_come_in_the_stated_shares() {
    let population = population();
    let (mut unusable, mut landlines, mut old_form) = (0, 0, 0);
    let (mut inactive, mut without_consent, mut invoices, mut missing) = (0, 0, 0, [0; 4]);
    let mut by_phone: HashMap<u64, u32> = HashMap::new();
    for customer in (0..SIZE).map(|index| population.customer(index)) {
        let raw = customer.phone.as_deref().unwrap_or_default();
        match canonicalise(raw, Region::Brazil) {
            Ok(phone) => {
                *by_phone.entry(phone.to_u64()).or_default() += 1;
                let digits: String = raw.chars().filter(char::is_ascii_digit).collect();
                let national = digits.trim_start_matches('0');
                let national = national
                    .strip_prefix("55")
                    .filter(|rest| rest.len() >= 10)
                    .unwrap_or(national);
                old_form += usize::from(national.len() == 10);
            }
            Err(problem) => {
                unusable += 1;
                landlines += usize::from(problem == PhoneProblem::Landline);
            }
        }
        inactive += usize::from(!customer.active);
        without_consent += usize::from(!customer.marketing_consent);
        invoices += usize::from(customer.open_invoice.is_some());
        missing[0] += usize::from(customer.name.is_none());
        missing[1] += usize::from(customer.email.is_none());
        missing[2] += usize::from(customer.city.is_none());
        missing[3] += usize::from(customer.birth_date.is_none());
    }
    assert_share("have a phone that cannot receive", unusable, 2.7..3.3);
    assert_share("have a landline", landlines, 1.0..1.4);
    assert_share("lack the ninth digit", old_form, 7.4..8.3);
    let repeated = by_phone.values().map(|count| count - 1).sum::<u32>() as usize;
    assert_share("share a phone", repeated, 1.8..2.2);
    assert_share("are inactive", inactive, 3.8..4.2);
    assert_share("did not consent", without_consent, 5.8..6.2);
    assert_share("have an open invoice", invoices, 24.5..25.5);
    assert_share("have no name", missing[0], 0.8..1.2);
    assert_share("have no e-mail", missing[1], 14.5..15.5);
    assert_share("have no city", missing[2], 3.8..4.2);
    assert_share("have no birth date", missing[3], 9.7..10.3);
}

#[test]
fn dates_and_tags_fit_together() {
    let population = population();
    let today = population.today();
    for customer in (0..5_000).map(|index| population.customer(index)) {
        assert!(customer.last_purchase_on.is_none_or(|day| day <= today));
        assert_eq!(
            customer.last_purchase_on.is_some(),
            customer.last_purchase_cents.is_some()
        );
        let overdue = customer
            .open_invoice
            .is_some_and(|invoice| invoice.days_overdue(today) > 0);
        assert_eq!(customer.tags.iter().any(|tag| tag == "inadimplente"), overdue);
        assert!(customer.updated_at <= today.and_time(NaiveTime::MIN).and_utc());
    }
}

/// The README, the demo and the benchmark rely on this segment.
#[test]
fn the_active_consenting_customers_of_sao_paulo_are_about_twenty_thousand() {
    let population = population();
    let segment = Segment {
        states: vec!["SP".into()],
        active: Some(true),
        marketing_consent: Some(true),
        ..Segment::default()
    };
    let matching: Vec<_> = (0..SIZE)
        .map(|index| population.customer(index))
        .filter(|customer| segment.matches(customer, population.today()))
        .collect();
    let sendable: HashSet<_> = matching
        .iter()
        .filter_map(|customer| canonicalise(customer.phone.as_deref()?, Region::Brazil).ok())
        .map(CanonicalPhone::to_u64)
        .collect();
    assert_eq!((matching.len(), sendable.len()), (20_982, 19_989));
}
