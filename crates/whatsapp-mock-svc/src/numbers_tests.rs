//! Limits, states and settings of phone numbers.

use super::*;

fn state_of(numbers: &mut Numbers, id: &str) -> Result<(), Refusal> {
    numbers.known(id, &Method::POST)?.check_state()
}

#[test]
fn a_second_holds_105_percent_of_the_throughput_and_no_more() {
    let mut numbers = Numbers::new(100, false);
    let admitted = |numbers: &mut Numbers, from_us: u64| {
        (0..200)
            .filter(|&offset| numbers.admit("1", offset, from_us + offset).is_ok())
            .count()
    };
    assert_eq!(admitted(&mut numbers, 1_000_000), 105);
    assert_eq!(admitted(&mut numbers, 1_900_000), 0);
    assert_eq!(admitted(&mut numbers, 2_001_000), 105);
    let rate = numbers.rate("1").expect("it sent");
    assert_eq!((rate.accepted, rate.max_in_one_second), (210, 105));
    assert_eq!(numbers.reports()[0].rate_limited, 390);
}

#[test]
fn settings_last_and_states_refuse() {
    let mut numbers = Numbers::new(100, false);
    let locked = NumberSettings {
        throughput: Some(2),
        state: Some(NumberState::Locked),
        ..NumberSettings::default()
    };
    assert_eq!(numbers.set("1", locked).expect("room").throughput, 2);
    assert_eq!(state_of(&mut numbers, "1").expect_err("locked").code, 131_031);
    assert!(state_of(&mut numbers, "2").is_ok());
    numbers.forget();
    assert_eq!(numbers.reports()[0].throughput, 2);
}

#[test]
fn numbers_are_bounded() {
    let mut numbers = Numbers::new(1, false);
    for id in 0..MAX_NUMBERS {
        assert!(state_of(&mut numbers, &id.to_string()).is_ok());
    }
    assert!(state_of(&mut numbers, "one more").is_err());
    assert!(state_of(&mut numbers, "0").is_ok());
}

#[test]
fn a_pair_is_limited_without_using_up_the_throughput() {
    let mut numbers = Numbers::new(100, true);
    assert!(numbers.set("1", NumberSettings::default()).is_some());
    let codes: Vec<_> = (0..46)
        .map(|_| numbers.admit("1", 7, 0).map_err(|refusal| refusal.code))
        .collect();
    assert!(codes[..45].iter().all(Result::is_ok));
    assert_eq!(codes[45], Err(131_056));
    assert!(numbers.admit("1", 8, 0).is_ok(), "another person");
    assert_eq!(numbers.rate("1").expect("it sent").accepted, 46);
}

#[test]
fn a_strict_mock_knows_no_number_by_itself() {
    let mut numbers = Numbers::new(100, true);
    let refusal = state_of(&mut numbers, "1").expect_err("nobody said so");
    assert_eq!(refusal, Refusal::no_such_object(&Method::POST, "1"));
    assert!(numbers.set("1", NumberSettings::default()).is_some());
    assert_eq!(state_of(&mut numbers, "1"), Ok(()));
}

#[test]
fn a_made_up_number_has_eleven_digits() {
    assert_eq!(display_phone_number("106540352242922"), "15552242922");
    assert_eq!(display_phone_number("99"), "15550000099");
}
