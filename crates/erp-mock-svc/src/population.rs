//! The customers, each computed from the seed and its position, with the flaws that real ERPs have.
//!
//! Shares, in percent of all customers: 3 have a phone that cannot receive (missing, landline, garbage), 2
//! share the phone (and the city) of another customer, 8 of the rest lack the ninth digit; names, e-mail
//! addresses, cities and birth dates are missing now and then or written in capitals; 4 are inactive, 6
//! did not consent, 25 have an open invoice. All other phones belong to exactly one customer.
//!
//! Any number here may belong to a real person: these customers are for mocks, never for a real account.

mod dice;
mod names;
mod phones;
mod places;

use campaign_core::customer::{Customer, OpenInvoice};
use campaign_core::phone::CanonicalPhone;
use chrono::{DateTime, Days, Duration, NaiveDate, NaiveTime, Utc};
pub(crate) use dice::Dice;
use dice::Topic;

/// Most customers that a population can have: so many distinct phones there are.
pub const MAX_CUSTOMERS: u64 = phones::DISTINCT_PHONES;

/// Digits of an id; enough for every population.
const ID_DIGITS: usize = 8;
const _: () = assert!(MAX_CUSTOMERS < 10_u64.pow(ID_DIGITS as u32));

/// Oldest possible last purchase, in days before today.
const PURCHASE_AGE_DAYS: u64 = 730;

/// A subscriber's number has eight digits behind the ninth.
const SUBSCRIBERS: u64 = 100_000_000;

/// All customers of one seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Population {
    seed: u64,
    size: u64,
    today: NaiveDate,
}

impl Population {
    /// `size` customers (at most [`MAX_CUSTOMERS`]) whose dates are relative to `today`.
    pub fn new(seed: u64, size: u64, today: NaiveDate) -> Self {
        Self {
            seed,
            size: size.min(MAX_CUSTOMERS),
            today,
        }
    }

    /// What distinguishes this population from others.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// How many customers there are; their indexes are below.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The day that all dates are relative to.
    pub const fn today(&self) -> NaiveDate {
        self.today
    }

    /// The id of the customer at `index`.
    pub fn id_of(index: u64) -> String {
        format!("C{:0ID_DIGITS$}", index + 1)
    }

    /// The index of the customer with this id, if there is one.
    pub fn index_of(&self, id: &str) -> Option<u64> {
        let digits = id.strip_prefix('C')?;
        if digits.len() != ID_DIGITS || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let index = digits.parse::<u64>().ok()?.checked_sub(1)?;
        (index < self.size).then_some(index)
    }

    /// The indexes among which everybody is who can have this phone.
    pub fn candidates(&self, phone: CanonicalPhone) -> std::ops::Range<u64> {
        let subscriber = phone.to_u64() % SUBSCRIBERS;
        let Some(owner) = phones::owner_of(self.seed, subscriber) else {
            return 0..0;
        };
        let near = phones::near(owner);
        *near.start()..(near.end() + 1).min(self.size)
    }

    /// The customer at `index`, which must be below [`Population::size`].
    pub fn customer(&self, index: u64) -> Customer {
        let mut dice = Dice::new(self.seed, Topic::Person, index);
        let owner = phones::owner(self.seed, index);
        let place = places::of(self.seed, owner);
        let name = names::full_name(&mut dice);
        let email = dice.percent(85).then(|| names::email(&name, index));
        let birth_date = dice
            .percent(90)
            .then(|| self.days_ago(dice.between(18 * 365, 85 * 365)));
        let last_purchase_on = dice
            .percent(85)
            .then(|| self.days_ago(dice.below(PURCHASE_AGE_DAYS)));
        let last_purchase_cents = last_purchase_on.map(|_| dice.between(1_990, 500_000) as i64);
        let open_invoice = dice.percent(25).then(|| self.invoice(&mut dice, index));
        Customer {
            id: Self::id_of(index),
            tags: tags(&mut dice, open_invoice.as_ref(), self.today),
            name: dice.percent(99).then(|| names::as_typed(&mut dice, name)),
            phone: phones::as_typed(self.seed, index, owner, place.area_code),
            email,
            city: dice.percent(96).then(|| places::as_typed(&mut dice, place.city)),
            state: dice.percent(99).then(|| place.state.to_owned()),
            birth_date,
            active: dice.percent(96),
            marketing_consent: dice.percent(94),
            last_purchase_on,
            last_purchase_cents,
            open_invoice,
            updated_at: self.updated_at(&mut dice),
        }
    }

    fn days_ago(&self, days: u64) -> NaiveDate {
        self.today
            .checked_sub_days(Days::new(days))
            .expect("a life before today is within the calendar")
    }

    fn invoice(&self, dice: &mut Dice, index: u64) -> OpenInvoice {
        let due_on = self.days_ago(dice.below(150)) + Days::new(30);
        OpenInvoice {
            number: format!("NF-{:09}", index * 7 + 1_001),
            amount_cents: dice.between(2_500, 250_000) as i64,
            due_on,
        }
    }

    fn updated_at(&self, dice: &mut Dice) -> DateTime<Utc> {
        let day_start = self.today.and_time(NaiveTime::MIN).and_utc();
        day_start - Duration::seconds(dice.below(365 * 86_400) as i64)
    }
}

/// Decides the faults of the request number `n`.
pub(crate) fn fault_dice(seed: u64, n: u64) -> Dice {
    Dice::new(seed, Topic::Fault, n)
}

/// A number that stands for `bytes`; the same on every machine and in every version.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    let start = Dice::new(bytes.len() as u64, Topic::Digest, 0).draw();
    bytes.iter().fold(start, |digest, byte| {
        dice::mix(digest ^ u64::from(*byte)).wrapping_add(start)
    })
}

fn tags(dice: &mut Dice, invoice: Option<&OpenInvoice>, today: NaiveDate) -> Vec<String> {
    let overdue = invoice.is_some_and(|invoice| invoice.days_overdue(today) > 0);
    let drawn = [
        ("vip", 5),
        ("novo", 10),
        ("recorrente", 30),
        ("atacado", 4),
        ("clube", 20),
    ]
    .map(|(tag, share)| (tag, dice.percent(share)));
    let tags = drawn.into_iter().chain([("inadimplente", overdue)]);
    tags.filter(|(_, given)| *given)
        .map(|(tag, _)| tag.to_owned())
        .collect()
}

#[cfg(test)]
mod tests;
