//! From a page's customers, judged, to its rows, given what the campaign has already.

use super::own_rows::OwnRows;
use campaign_core::audience::Evaluated;
use campaign_core::customer::Customer;
use campaign_core::ids::Seq;
use campaign_core::message::{MessageState, SkipReason};
use campaign_core::phone::CanonicalPhone;
use campaign_store::audience::{AudienceRow, Present};
use campaign_store::counters::CounterDelta;
use std::collections::HashMap;

/// What has to be looked up before a page's rows are known.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LookUp {
    /// Customers that may have a row.
    pub(super) customers: Vec<String>,
    /// Numbers that may have a row.
    pub(super) phones: Vec<CanonicalPhone>,
    /// Everybody's number: any may have opted out.
    pub(super) recipients: Vec<CanonicalPhone>,
}

impl LookUp {
    pub(super) fn of(judged: &[(Customer, Evaluated)], own: &OwnRows) -> Self {
        let recipients: Vec<CanonicalPhone> = judged
            .iter()
            .filter_map(|(_, evaluated)| recipient(evaluated))
            .collect();
        let customers = judged.iter().map(|(customer, _)| &customer.id);
        Self {
            customers: customers
                .filter(|id| own.may_have_customer(id))
                .cloned()
                .collect(),
            phones: recipients
                .iter()
                .copied()
                .filter(|phone| own.may_have_phone(phone))
                .collect(),
            recipients,
        }
    }
}

fn recipient(evaluated: &Evaluated) -> Option<CanonicalPhone> {
    match evaluated {
        Evaluated::Recipient { phone, .. } => Some(*phone),
        Evaluated::Skipped { .. } => None,
    }
}

/// The rows of a page. Customers that have a row are passed over; a number that has a row makes a duplicate,
/// which does not claim the number. Neither does a row that is skipped for another reason: somebody else
/// may have the same number and be fit to receive.
pub(super) fn to_rows(
    judged: Vec<(Customer, Evaluated)>,
    mut present: Present,
    first: Seq,
) -> Vec<AudienceRow> {
    let mut rows: Vec<AudienceRow> = Vec::with_capacity(judged.len());
    let mut claimed: HashMap<CanonicalPhone, Seq> = std::mem::take(&mut present.phones);
    for (customer, evaluated) in judged {
        if !present.customers.insert(customer.id.clone()) {
            continue;
        }
        let seq = Seq(first.0 + rows.len() as i64);
        rows.push(to_row(seq, customer, evaluated, &mut claimed, &present));
    }
    rows
}

fn to_row(
    seq: Seq,
    customer: Customer,
    evaluated: Evaluated,
    claimed: &mut HashMap<CanonicalPhone, Seq>,
    present: &Present,
) -> AudienceRow {
    let mut row = AudienceRow {
        seq,
        customer_id: customer.id,
        phone_as_given: customer.phone,
        phone: None,
        duplicate_of: None,
        variables: Vec::new(),
        skip: None,
    };
    match evaluated {
        Evaluated::Skipped { reason, detail, .. } => row.skip = Some((reason, detail)),
        Evaluated::Recipient { phone, variables, .. } => {
            if let Some(&first) = claimed.get(&phone) {
                row.duplicate_of = Some(first);
                row.skip = Some((SkipReason::Duplicate, None));
                return row;
            }
            claimed.insert(phone, seq);
            row.phone = Some(phone);
            row.variables = variables;
            if present.suppressed.contains(&phone) {
                row.skip = Some((SkipReason::OptedOut, None));
            }
        }
    }
    row
}

/// What the rows add to the campaign's counters.
pub(super) fn count(rows: &[AudienceRow]) -> CounterDelta {
    let mut delta = CounterDelta::default();
    for row in rows {
        match &row.skip {
            Some((reason, _)) => {
                delta.added(MessageState::Skipped);
                delta.skipped(*reason, 1);
            }
            None => delta.added(MessageState::Pending),
        }
    }
    delta
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    /// What Postgres has of the campaign.
    struct Ledger {
        customers: HashSet<String>,
        phones: HashMap<CanonicalPhone, Seq>,
        next: Seq,
    }

    impl Ledger {
        fn empty() -> Self {
            Self {
                customers: HashSet::new(),
                phones: HashMap::new(),
                next: Seq(1),
            }
        }

        fn look_up(&self, wanted: &LookUp) -> Present {
            let customers = wanted.customers.iter().filter(|id| self.customers.contains(*id));
            let phones = wanted
                .phones
                .iter()
                .filter_map(|phone| self.phones.get(phone).map(|seq| (*phone, *seq)));
            let opted_out = |phone: &&CanonicalPhone| phone.to_string().ends_with('7');
            Present {
                customers: customers.cloned().collect(),
                phones: phones.collect(),
                suppressed: wanted.recipients.iter().filter(opted_out).copied().collect(),
            }
        }

        fn write(&mut self, rows: &[AudienceRow]) {
            for row in rows {
                assert!(self.customers.insert(row.customer_id.clone()), "{row:?}");
                if let Some(phone) = row.phone {
                    assert_eq!(self.phones.insert(phone, row.seq), None, "{row:?}");
                }
                self.next = Seq(row.seq.0 + 1);
            }
        }
    }

    /// How the transaction of a page ends.
    #[derive(Debug, Clone, Copy)]
    enum End {
        Committed,
        RolledBack,
        /// Committed, but the fetch was not told; or by somebody else.
        CommittedUnseen,
    }

    type Person = (u8, u8, bool);

    fn page() -> impl Strategy<Value = (Vec<Person>, End)> {
        let end = prop_oneof![
            20 => Just(End::Committed),
            1 => Just(End::RolledBack),
            1 => Just(End::CommittedUnseen),
        ];
        (vec(any::<Person>(), 0..30), end)
    }

    fn judged(people: &[Person]) -> Vec<(Customer, Evaluated)> {
        people.iter().copied().map(judge).collect()
    }

    fn judge((id, number, fit): Person) -> (Customer, Evaluated) {
        let phone: CanonicalPhone = format!("+55319{}", 80_000_000 + u32::from(number) % 128)
            .parse()
            .expect("a mobile number");
        let customer = Customer {
            id: format!("c{id}"),
            name: None,
            phone: Some(phone.to_string()),
            email: None,
            city: None,
            state: None,
            birth_date: None,
            tags: Vec::new(),
            active: fit,
            marketing_consent: true,
            last_purchase_on: None,
            last_purchase_cents: None,
            open_invoice: None,
            updated_at: DateTime::UNIX_EPOCH,
        };
        let evaluated = if fit {
            Evaluated::Recipient {
                phone,
                phone_as_given: phone.to_string(),
                variables: Vec::new(),
            }
        } else {
            Evaluated::Skipped {
                reason: SkipReason::Inactive,
                detail: None,
                phone: Some(phone),
            }
        };
        (customer, evaluated)
    }

    fn remembers_nothing() -> OwnRows {
        let mut own = OwnRows::new(Arc::new(Semaphore::new(0)));
        own.compare(Seq(0));
        own
    }

    proptest! {
        /// Layers of a few keys, so that there are many, wrong guesses, and no memory for more.
        #[test]
        fn what_is_left_out_of_the_look_ups_changes_no_row(
            pages in vec(page(), 0..40),
            memory_bytes in 0_usize..4_000,
            starts_with in vec(any::<Person>(), 0..3),
        ) {
            let mut ledger = Ledger::empty();
            let first = judged(&starts_with);
            let present = ledger.look_up(&LookUp::of(&first, &remembers_nothing()));
            ledger.write(&to_rows(first, present, Seq(1)));
            let mut own = OwnRows::with_layers_from(16, Arc::new(Semaphore::new(memory_bytes)));
            for (people, end) in pages {
                own.compare(ledger.next);
                let present = ledger.look_up(&LookUp::of(&judged(&people), &own));
                let rows = to_rows(judged(&people), present, ledger.next);
                let all = LookUp::of(&judged(&people), &remembers_nothing());
                let expected = to_rows(judged(&people), ledger.look_up(&all), ledger.next);
                prop_assert_eq!(&rows, &expected);
                match end {
                    End::RolledBack => {}
                    End::CommittedUnseen => ledger.write(&rows),
                    End::Committed => {
                        ledger.write(&rows);
                        own.wrote(&rows, ledger.next);
                    }
                }
            }
        }
    }

    #[test]
    fn a_page_of_new_people_is_looked_up_for_opt_outs_only() {
        let mut own = OwnRows::new(Arc::new(Semaphore::new(1 << 20)));
        let people = judged(&[(1, 1, true), (2, 2, false)]);
        let wanted = LookUp::of(&people, &own);
        assert_eq!((wanted.customers.len(), wanted.phones.len()), (0, 0));
        assert_eq!(wanted.recipients.len(), 1);
        let rows = to_rows(people, Present::default(), Seq(1));
        own.wrote(&rows, Seq(3));
        own.compare(Seq(3));
        let wanted = LookUp::of(&judged(&[(1, 3, true), (3, 1, true)]), &own);
        assert_eq!(wanted.customers, ["c1"]);
        assert_eq!(
            wanted.phones,
            [judge((3, 1, true)).1]
                .iter()
                .filter_map(recipient)
                .collect::<Vec<_>>()
        );
        assert_eq!(wanted.recipients.len(), 2);
    }
}
