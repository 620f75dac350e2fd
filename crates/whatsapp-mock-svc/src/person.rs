//! A person: by phone number, by `wa_id`, by business-scoped user id.
//!
//! Each person has one number here, so that the log counts them once however they are addressed: the
//! digits of their phone. A user id is those digits in disguise, so it needs no table; one that this mock
//! did not make up gets a number beyond all phone numbers.

use crate::answer::Refusal;
use crate::randomness::Lot;

/// Digits of an E.164 number.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;
/// First number that is no phone number.
const FIRST_STRANGER: u64 = 1_000_000_000_000_000;
/// Numbers of people fit so many bits: the log relies on it.
const BITS: u32 = 50;
const MASK: u64 = (1 << BITS) - 1;
/// Disguises digits; odd, so that it can be undone.
const DISGUISE: u64 = 0x2_9f1b_3a4d_5c6f;
/// Longest user id: a country and 128 letters and digits.
const MAX_USER_ID_CHARS: usize = 131;
/// First area code of Brazil whose older accounts have no ninth digit.
const OLD_ACCOUNTS_FROM_AREA: u64 = 31;

/// The person at a phone number in E.164, its `+` included: without it Meta guesses a country.
pub(crate) fn by_phone(to: &str) -> Result<u64, Refusal> {
    let wrong = || Refusal::because(131_009, "to is not a phone number: + and 8 to 15 digits");
    let digits = to.strip_prefix('+').ok_or_else(wrong)?;
    let plausible = PHONE_DIGITS.contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plausible {
        return Err(wrong());
    }
    digits.parse().map_err(|_| wrong())
}

/// The person with a business-scoped user id.
pub(crate) fn by_user_id(user_id: &str) -> Result<u64, Refusal> {
    let wrong = || {
        Refusal::because(
            131_009,
            "recipient is not a user id, as in BR.13491208655302741918",
        )
    };
    let (country, rest) = user_id.split_once('.').ok_or_else(wrong)?;
    let plausible = country.len() == 2
        && country.bytes().all(|byte| byte.is_ascii_uppercase())
        && !rest.is_empty()
        && user_id.len() <= MAX_USER_ID_CHARS
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    if !plausible {
        return Err(wrong());
    }
    let known = rest.parse().ok().and_then(undisguised);
    Ok(known.unwrap_or_else(|| {
        let lot = Lot::of(0, &[user_id.as_bytes()]);
        FIRST_STRANGER + lot.below(MASK - FIRST_STRANGER)
    }))
}

/// The business-scoped user id of a person who has a phone number.
pub(crate) fn user_id(wa_id: u64) -> Option<String> {
    if wa_id >= FIRST_STRANGER {
        return None;
    }
    let digits = wa_id.to_string();
    let country = match digits.as_bytes() {
        [b'5', b'5', ..] => "BR",
        [b'3', b'5', b'1', ..] => "PT",
        [b'1', ..] => "US",
        _ => "XX",
    };
    Some(format!("{country}.{}", wa_id.wrapping_mul(DISGUISE) & MASK))
}

/// How WhatsApp calls a person: their number, and nothing of those known by user id alone.
///
/// Brazilian accounts made before the ninth digit keep eight digits in their `wa_id`. Here all of area
/// codes 31 and up do, so that it happens often and always to the same people.
pub(crate) fn wa_id(person: u64) -> u64 {
    const BRAZIL_13_DIGITS: std::ops::Range<u64> = 5_500_000_000_000..5_600_000_000_000;
    let (area, subscriber) = (person / 1_000_000_000 % 100, person % 1_000_000_000);
    let old =
        BRAZIL_13_DIGITS.contains(&person) && area >= OLD_ACCOUNTS_FROM_AREA && subscriber >= 900_000_000;
    if old {
        (5_500 + area) * 100_000_000 + subscriber % 100_000_000
    } else {
        person
    }
}

/// `wa_id` as text; absent for those known by user id alone.
pub(crate) fn wa_id_text(wa_id: u64) -> Option<String> {
    (wa_id < FIRST_STRANGER).then(|| wa_id.to_string())
}

/// A person in the log: E.164, or what stands for their user id.
pub(crate) fn shown(person: u64) -> String {
    if person < FIRST_STRANGER {
        format!("+{person}")
    } else {
        format!("user:{person}")
    }
}

fn undisguised(disguised: u64) -> Option<u64> {
    const SHORTEST: u64 = 10_000_000;
    if disguised > MASK {
        return None;
    }
    let wa_id = disguised.wrapping_mul(inverse(DISGUISE)) & MASK;
    (SHORTEST..FIRST_STRANGER).contains(&wa_id).then_some(wa_id)
}

/// The inverse of an odd number modulo 2⁶⁴ (Newton; each step doubles the right bits, from three on).
const fn inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut step = 0;
    while step < 5 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        step += 1;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_brazilian_accounts_lose_their_ninth_digit() {
        assert_eq!(wa_id(5_531_987_654_321), 553_187_654_321);
        assert_eq!(wa_id(5_511_987_654_321), 5_511_987_654_321, "area code below 31");
        assert_eq!(wa_id(553_187_654_321), 553_187_654_321, "already without");
        assert_eq!(wa_id(14_155_550_123), 14_155_550_123);
    }

    #[test]
    fn a_person_is_the_same_by_phone_and_by_user_id() {
        for wa_id in [
            553_187_654_321,
            5_511_987_654_321,
            14_155_550_123,
            999_999_999_999_999,
        ] {
            let id = user_id(wa_id).expect("a phone number");
            assert_eq!(by_user_id(&id), Ok(wa_id), "{id}");
        }
        assert!(user_id(553_187_654_321).is_some_and(|id| id.starts_with("BR.")));
    }

    #[test]
    fn a_stranger_is_somebody_without_a_number() {
        let stranger = by_user_id("BR.ENT.abc123").expect("well formed");
        assert_eq!(by_user_id("BR.ENT.abc123"), Ok(stranger));
        assert!((FIRST_STRANGER..=MASK).contains(&stranger));
        assert_eq!((user_id(stranger), wa_id_text(stranger)), (None, None));
        for wrong in ["", "BR", "BR.", "br.1", "BRA.1", "BR.ä", "+5511987654321"] {
            assert_eq!(
                by_user_id(wrong).map_err(|refusal| refusal.code),
                Err(131_009),
                "{wrong}"
            );
        }
    }
}
