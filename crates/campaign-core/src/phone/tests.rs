use super::*;
use proptest::prelude::*;

fn brazil(raw: &str) -> Result<String, PhoneProblem> {
    canonicalise(raw, Region::Brazil).map(String::from)
}

#[test]
fn every_way_of_writing_a_brazilian_mobile_is_one_number() {
    for raw in [
        "+5531987654321",
        "+55 31 98765-4321",
        "+55 (31) 98765-4321",
        "(+55) 31 98765.4321",
        "+55 (031) 98765-4321",
        "5531987654321",
        "005531987654321",
        "00 55 31 98765 4321",
        "31987654321",
        "(31) 98765-4321",
        "031 98765-4321",
        "0 15 31 98765-4321",
        "055 31 98765-4321",
        "31 8765-4321",
        "553187654321",
        "+55 31 8765-4321",
        "03187654321",
        "0153187654321",
        "\u{202a}+55\u{a0}31\u{a0}98765\u{2011}4321\u{202c}",
        "  31/98765-4321\n",
    ] {
        assert_eq!(brazil(raw).as_deref(), Ok("+5531987654321"), "{raw:?}");
    }
}

#[test]
fn area_code_55_is_not_mistaken_for_the_country() {
    assert_eq!(brazil("55 99123-4567").as_deref(), Ok("+5555991234567"));
    assert_eq!(brazil("55 9123-4567").as_deref(), Ok("+5555991234567"));
    assert_eq!(brazil("55 55 99123-4567").as_deref(), Ok("+5555991234567"));
}

#[test]
fn landlines_are_named_as_such() {
    for raw in [
        "(31) 3265-4321",
        "+55 11 2345-6789",
        "0 31 5234 5678",
        "553132654321",
        "31 4004-1234",
    ] {
        assert_eq!(brazil(raw), Err(PhoneProblem::Landline), "{raw}");
    }
}

#[test]
fn what_is_no_phone_number_is_refused() {
    for raw in [
        "",
        " ",
        "+",
        "0",
        "00",
        "98765-4321",
        "8765-4321",
        "20 98765-4321",
        "+55 23 98765-4321",
        "31 88765-4321",
        "31 1234-5678",
        "0800 123 4567",
        "31 98765-43210",
        "31 98765-4321 ramal 2",
        "31 98765+4321",
        "++5531987654321",
        "n/a",
        "351912345678",
        "٣١٩٨٧٦٥٤٣٢١",
        "+55",
        "+5",
        "+89 1234 5678",
        "+0 1234 5678",
        "+1 415 155 2671",
        "+1 415 555 267",
        "+44 123",
        "+351 912 345 678 901 234",
        "123456789012345678",
        &"3".repeat(RAW_PHONE_MAX_BYTES + 1),
        &" ".repeat(RAW_PHONE_MAX_BYTES + 1),
    ] {
        assert_eq!(brazil(raw), Err(PhoneProblem::Invalid), "{raw:?}");
    }
}

#[test]
fn numbers_of_other_countries_keep_their_digits() {
    for (raw, canonical) in [
        ("+1 (415) 555-2671", "+14155552671"),
        ("00351 912 345 678", "+351912345678"),
        ("+54 9 11 2345-6789", "+5491123456789"),
        ("+683 4001", "+6834001"),
    ] {
        assert_eq!(brazil(raw).as_deref(), Ok(canonical), "{raw}");
    }
}

#[test]
fn without_a_region_the_country_code_is_required() {
    assert_eq!(
        "31987654321".parse::<CanonicalPhone>(),
        Err(PhoneProblem::Invalid)
    );
    assert_eq!(
        "+55 31 8765-4321".parse::<CanonicalPhone>(),
        "+5531987654321".parse()
    );
}

#[test]
fn anatel_has_assigned_67_area_codes() {
    let assigned = (10..100)
        .filter(|code| brazil(&format!("{code}987654321")).is_ok())
        .count();
    assert_eq!(assigned, 67);
}

#[test]
fn people_and_logs_see_different_forms() {
    let brazilian: CanonicalPhone = "+5531987654321".parse().expect("a mobile number");
    assert_eq!(brazilian.for_people(), "(31) 98765-4321");
    assert_eq!(brazilian.masked(), "+55 31 9****-**21");
    assert_eq!(format!("{brazilian:?}"), "CanonicalPhone(+55 31 9****-**21)");
    for (raw, masked) in [
        ("+14155552671", "+1 ********71"),
        ("+351912345678", "+351 *******78"),
        ("+447911123456", "+44 ********56"),
        ("+6834001", "+683 **01"),
    ] {
        let foreign: CanonicalPhone = raw.parse().expect("a number with its country code");
        assert_eq!(
            (foreign.masked().as_str(), foreign.for_people().as_str()),
            (masked, raw)
        );
    }
}

#[test]
fn travels_as_its_text() {
    let phone: CanonicalPhone = "+5531987654321".parse().expect("a mobile number");
    let json = serde_json::to_string(&phone).expect("a string");
    assert_eq!(json, r#""+5531987654321""#);
    assert_eq!(
        serde_json::from_str::<CanonicalPhone>(&json).expect("read back"),
        phone
    );
    assert!(serde_json::from_str::<CanonicalPhone>(r#""31987654321""#).is_err());
    let value = serde_json::Value::String("+5531987654321".into());
    assert_eq!(
        serde_json::from_value::<CanonicalPhone>(value).expect("read from an owned string"),
        phone
    );
}

/// A mobile number in the old form: area code, first digit 6 to 9 and seven more.
fn old_mobile() -> impl Strategy<Value = (u8, u32)> {
    let area = (11_u8..=99).prop_filter("assigned", |code| {
        country::is_brazilian_area_code(code.to_string().as_bytes())
    });
    (area, 60_000_000_u32..=99_999_999)
}

proptest! {
    #[test]
    fn both_brazilian_forms_are_one_person((area, subscriber) in old_mobile()) {
        let old = brazil(&format!("+55 {area} {subscriber}"));
        prop_assert!(old.is_ok());
        prop_assert_eq!(&old, &brazil(&format!("({area}) 9{subscriber}")));
        prop_assert_eq!(&old, &brazil(&format!("0{area}{subscriber}")));
    }

    #[test]
    fn canonical_is_a_fixed_point(raw in r"(\+|00|0)?[0-9 ().-]{0,20}") {
        if let Ok(phone) = canonicalise(&raw, Region::Brazil) {
            prop_assert_eq!(phone.as_str().parse(), Ok(phone));
            prop_assert_eq!(canonicalise(phone.as_str(), Region::Brazil), Ok(phone));
            prop_assert_eq!(canonicalise(&phone.for_people(), Region::Brazil), Ok(phone));
            prop_assert_eq!(CanonicalPhone::from_u64(phone.to_u64()), Ok(phone));
            prop_assert_eq!(phone.to_string(), phone.as_str());
        }
    }

    #[test]
    fn any_text_is_read_or_refused_without_panic(raw in ".{0,80}") {
        let read = canonicalise(&raw, Region::Brazil);
        prop_assert!(read.is_err() || read.is_ok_and(|phone| phone.as_str().starts_with('+')));
    }

    #[test]
    fn a_masked_number_shows_no_more_than_its_last_two_digits(raw in r"\+[1-9][0-9]{6,14}") {
        if let Ok(phone) = raw.parse::<CanonicalPhone>() {
            let masked = phone.masked();
            let (country, subscriber) = masked.split_once('*').expect("something is hidden");
            prop_assert!(country.bytes().filter(u8::is_ascii_digit).count() <= 5);
            prop_assert_eq!(subscriber.bytes().filter(u8::is_ascii_digit).count(), 2);
        }
    }
}
