//! Phones: who owns which number, and the many ways in which people typed it.
//!
//! The owner's number is a permutation of the owner's index, so two owners never have the same one.

use super::dice::{Dice, Topic, mix};

/// Mobile numbers after area code and ninth digit: 60000000 to 99999999.
pub(crate) const DISTINCT_PHONES: u64 = 40_000_000;
const FIRST_SUBSCRIBER: u64 = 60_000_000;
/// Without a factor in common with [`DISTINCT_PHONES`], so that multiplying permutes.
const STRIDE: u64 = 27_644_437;
/// `STRIDE * STRIDE_INVERSE` is 1 modulo [`DISTINCT_PHONES`].
const STRIDE_INVERSE: u64 = 22_125_373;
const _: () = assert!(STRIDE * STRIDE_INVERSE % DISTINCT_PHONES == 1);

const SHARED_PERCENT: u64 = 2;
const UNUSABLE_PERCENT: u64 = 3;
const OLD_FORM_PERCENT: u64 = 8;
/// How far from its owner a shared phone turns up, in positions.
const SHARED_WITHIN: u64 = 1_000;

/// The index of the customer whose phone the customer at `index` has: mostly `index` itself.
pub(crate) fn owner(seed: u64, index: u64) -> u64 {
    if !shares(seed, index) {
        return index;
    }
    let mut distance = Dice::new(seed, Topic::Phone, index);
    distance.draw();
    let mut owner = index - 1 - distance.below(index.min(SHARED_WITHIN));
    // Ends at the latest at 0, which shares with nobody.
    while shares(seed, owner) {
        owner -= 1;
    }
    owner
}

/// The only index that can own the number with these eight digits behind the ninth: the way back of the
/// permutation.
pub(crate) fn owner_of(seed: u64, subscriber: u64) -> Option<u64> {
    let permuted = subscriber.checked_sub(FIRST_SUBSCRIBER)?;
    if permuted >= DISTINCT_PHONES {
        return None;
    }
    let moved = (permuted + DISTINCT_PHONES - mix(seed) % DISTINCT_PHONES) % DISTINCT_PHONES;
    Some(moved * STRIDE_INVERSE % DISTINCT_PHONES)
}

/// The indexes at which the number of the customer at `owner` can turn up.
pub(crate) fn near(owner: u64) -> std::ops::RangeInclusive<u64> {
    // Whoever shares looks for an owner within the bound, and from there back to one who does not share.
    owner..=owner + 2 * SHARED_WITHIN
}

fn shares(seed: u64, index: u64) -> bool {
    index > 0 && Dice::new(seed, Topic::Phone, index).percent(SHARED_PERCENT)
}

/// The phone of the customer at `index`, who uses the number of `owner`, as somebody typed it.
pub(crate) fn as_typed(seed: u64, index: u64, owner: u64, area_code: u8) -> Option<String> {
    let subscriber = FIRST_SUBSCRIBER + (owner * STRIDE + mix(seed) % DISTINCT_PHONES) % DISTINCT_PHONES;
    let mut of_owner = Dice::new(seed, Topic::Phone, owner);
    // The first draws decided who shares.
    of_owner.draw();
    of_owner.draw();
    if of_owner.percent(UNUSABLE_PERCENT) {
        return unusable(&mut of_owner, area_code, subscriber);
    }
    let mut typed = Dice::new(seed, Topic::Phone, index);
    (0..3).for_each(|_| {
        typed.draw();
    });
    let ninth = if typed.percent(OLD_FORM_PERCENT) { "" } else { "9" };
    let (head, tail) = (subscriber / 10_000, subscriber % 10_000);
    Some(match typed.below(8) {
        0 => format!("+55 ({area_code}) {ninth}{head}-{tail:04}"),
        1 => format!("55{area_code}{ninth}{head}{tail:04}"),
        2 => format!("({area_code}) {ninth}{head}-{tail:04}"),
        3 => format!("{area_code}{ninth}{head}{tail:04}"),
        4 => format!("0{area_code} {ninth}{head}-{tail:04}"),
        5 => format!("+55{area_code}{ninth}{head}{tail:04}"),
        6 => format!("{area_code} {ninth} {head} {tail:04}"),
        _ => format!("({area_code}){ninth}{head}.{tail:04}"),
    })
}

/// Nothing that a message could be sent to.
fn unusable(dice: &mut Dice, area_code: u8, subscriber: u64) -> Option<String> {
    let landline = 30_000_000 + subscriber % 10_000_000;
    match dice.below(10) {
        0..4 => Some(format!(
            "({area_code}) {}-{:04}",
            landline / 10_000,
            landline % 10_000
        )),
        4 | 5 => Some(format!("({area_code}) {}", subscriber / 100)),
        6 => Some(format!("(00) 9{subscriber}")),
        7 => Some("não tem".to_owned()),
        8 => Some("99999".to_owned()),
        _ => None,
    }
}
