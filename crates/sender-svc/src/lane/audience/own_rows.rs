//! What a fetch has itself written of a campaign, so that it need not ask Postgres who is there already.
//!
//! Bloom filters, each larger than the one before: they say "no" only of what was never written, and "maybe" of the
//! rest, which is looked up. So a wrong "maybe" costs a look-up and nothing else, and what guarantees one row a
//! recipient are the unique indexes. A filter is wrong about at most 0.9% of what is not there, all that fit into
//! [`MEMORY_BYTES_MAX`] together about 5%.
//!
//! It answers only while it knows of every row. Rows are numbered without gaps, in the transaction that writes them, so
//! that is so exactly as long as the campaign's next number is the one behind the last that the fetch has written: not
//! after a restart in the middle, another owner, or a commit whose end nobody knows.

use campaign_core::ids::Seq;
use campaign_core::phone::CanonicalPhone;
use campaign_store::audience::AudienceRow;
use fastbloom::BloomFilter;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// For all fetches of a process: 5.5 million rows. A fetch that gets no more looks everything up again.
pub(crate) const MEMORY_BYTES_MAX: usize = 16 << 20;
/// 26,000 rows.
const FIRST_LAYER_BYTES: usize = 64 << 10;
const LAYER_BYTES_MAX: usize = 4 << 20;
/// How many times as large the next layer is.
const GROWTH: usize = 4;
/// With as many bits, and the number of hashes that suits them, 0.9% of other keys are taken for one that is there.
const BITS_PER_KEY: usize = 10;
/// All layers hash alike, so that a key is hashed once. The hashes decide nothing but what is looked up in vain.
const SEED: u128 = 0x5eed;
const FIRST_SEQ: Seq = Seq(1);

/// Of one campaign, for one fetch.
pub(super) struct OwnRows {
    /// Taken from for each layer.
    memory: Arc<Semaphore>,
    next_layer_bytes: usize,
    layers: Vec<Layer>,
    /// The number behind the last row that was written; none if there are rows that it does not know.
    next: Option<Seq>,
}

struct Layer {
    filter: BloomFilter,
    room_for_keys: usize,
    _memory: OwnedSemaphorePermit,
}

#[derive(Hash)]
enum Key<'a> {
    Customer(&'a str),
    Phone(&'a CanonicalPhone),
}

impl OwnRows {
    /// `memory` has a permit a byte.
    pub(super) fn new(memory: Arc<Semaphore>) -> Self {
        Self::with_layers_from(FIRST_LAYER_BYTES, memory)
    }

    pub(super) fn with_layers_from(first_layer_bytes: usize, memory: Arc<Semaphore>) -> Self {
        Self {
            memory,
            next_layer_bytes: first_layer_bytes,
            layers: Vec::new(),
            next: Some(FIRST_SEQ),
        }
    }

    /// To be called before it is asked, in the transaction that writes: `next` is the campaign's next number, as
    /// Postgres has it.
    pub(super) fn compare(&mut self, next: Seq) {
        if self.next != Some(next) {
            self.give_up();
        }
    }

    /// False if the customer has no row.
    pub(super) fn may_have_customer(&self, id: &str) -> bool {
        self.may_have(&Key::Customer(id))
    }

    /// False if no row has the number.
    pub(super) fn may_have_phone(&self, phone: &CanonicalPhone) -> bool {
        self.may_have(&Key::Phone(phone))
    }

    /// Rows were committed.
    pub(super) fn wrote(&mut self, rows: &[AudienceRow], next: Seq) {
        for row in rows {
            self.insert(&Key::Customer(&row.customer_id));
            if let Some(phone) = &row.phone {
                self.insert(&Key::Phone(phone));
            }
        }
        self.next = self.next.map(|_| next);
    }

    fn may_have(&self, key: &Key<'_>) -> bool {
        let Some(first) = self.layers.first() else {
            return self.next.is_none();
        };
        let hash = first.filter.source_hash(key);
        self.layers.iter().any(|layer| layer.filter.contains_hash(hash))
    }

    fn insert(&mut self, key: &Key<'_>) {
        if self.next.is_none() {
            return;
        }
        if self.layers.last().is_none_or(|layer| layer.room_for_keys == 0) && !self.add_layer() {
            self.give_up();
            return;
        }
        if let Some(layer) = self.layers.last_mut() {
            layer.filter.insert(key);
            layer.room_for_keys -= 1;
        }
    }

    /// False if there is no memory for it.
    fn add_layer(&mut self) -> bool {
        let bytes = self.next_layer_bytes;
        let Ok(memory) = self.memory.clone().try_acquire_many_owned(bytes as u32) else {
            return false;
        };
        let bits = bytes * 8;
        let room_for_keys = bits / BITS_PER_KEY;
        self.layers.push(Layer {
            filter: BloomFilter::with_num_bits(bits)
                .seed(&SEED)
                .expected_items(room_for_keys),
            room_for_keys,
            _memory: memory,
        });
        self.next_layer_bytes = (bytes * GROWTH).min(LAYER_BYTES_MAX);
        true
    }

    /// From now on everything is looked up.
    fn give_up(&mut self) {
        self.next = None;
        self.layers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq: i64) -> AudienceRow {
        AudienceRow {
            seq: Seq(seq),
            customer_id: format!("c{seq:09}"),
            phone_as_given: None,
            phone: Some(phone(seq)),
            duplicate_of: None,
            variables: Vec::new(),
            skip: None,
        }
    }

    fn phone(number: i64) -> CanonicalPhone {
        format!("+55319{}", 80_000_000 + number)
            .parse()
            .expect("a mobile number")
    }

    fn write(own: &mut OwnRows, from: i64, to: i64) {
        let rows: Vec<AudienceRow> = (from..to).map(row).collect();
        own.wrote(&rows, Seq(to));
    }

    fn memory(bytes: usize) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(bytes))
    }

    #[test]
    fn what_was_written_may_be_there_and_hardly_anything_else() {
        const ROWS: i64 = 200_000;
        let mut own = OwnRows::new(memory(MEMORY_BYTES_MAX));
        assert!(!own.may_have_customer("c000000001"));
        for from in (1..ROWS).step_by(2_000) {
            own.compare(Seq(from));
            write(&mut own, from, from + 2_000);
        }
        for seq in 1..=ROWS {
            assert!(own.may_have_customer(&format!("c{seq:09}")), "{seq}");
            assert!(own.may_have_phone(&phone(seq)), "{seq}");
        }
        let others = ROWS + 1..=2 * ROWS;
        let looked_up = others
            .map(|seq| {
                usize::from(own.may_have_customer(&format!("c{seq:09}")))
                    + usize::from(own.may_have_phone(&phone(seq)))
            })
            .sum::<usize>();
        let most = 2 * ROWS as usize * 2 / 100;
        assert!(
            looked_up <= most,
            "{looked_up} of {} are looked up in vain",
            2 * ROWS
        );
    }

    #[test]
    fn a_row_of_somebody_else_ends_it() {
        let mut own = OwnRows::new(memory(MEMORY_BYTES_MAX));
        own.compare(Seq(1));
        write(&mut own, 1, 11);
        own.compare(Seq(11));
        assert!(!own.may_have_customer("another"));
        own.compare(Seq(12));
        assert!(own.may_have_customer("another"));
        write(&mut own, 12, 13);
        own.compare(Seq(13));
        assert!(own.may_have_customer("another"), "for good");
    }

    #[test]
    fn a_fetch_that_starts_in_the_middle_looks_everything_up() {
        let mut own = OwnRows::new(memory(MEMORY_BYTES_MAX));
        own.compare(Seq(2_001));
        assert!(own.may_have_customer("c000000001") && own.may_have_phone(&phone(1)));
    }

    #[test]
    fn memory_is_bounded_for_all_and_given_back() {
        let memory = memory(1_000);
        let mut one = OwnRows::with_layers_from(200, memory.clone());
        let mut other = OwnRows::with_layers_from(200, memory.clone());
        write(&mut one, 1, 81);
        write(&mut other, 1, 81);
        assert_eq!(memory.available_permits(), 600);
        assert!(!one.may_have_customer("another"));
        // The next layer has 800 bytes.
        write(&mut one, 81, 82);
        assert!(one.may_have_customer("another"), "it looks everything up");
        assert_eq!(memory.available_permits(), 800);
        write(&mut other, 81, 82);
        assert_eq!(memory.available_permits(), 0);
        assert!(!other.may_have_customer("another"));
        drop(other);
        assert_eq!(memory.available_permits(), 1_000);
    }

    #[test]
    fn the_largest_filter_is_as_large_and_as_often_wrong_as_is_said() {
        let mut own = OwnRows::new(memory(MEMORY_BYTES_MAX));
        while own.add_layer() {}
        let keys: usize = own.layers.iter().map(|layer| layer.room_for_keys).sum();
        assert!(keys / 2 >= 5_500_000, "{keys}");
        let wrong: Vec<f64> = own
            .layers
            .iter()
            .map(|layer| layer.filter.expected_false_pos(layer.room_for_keys))
            .collect();
        assert!(wrong.iter().all(|share| *share <= 0.009), "{wrong:?}");
        assert!(wrong.iter().sum::<f64>() <= 0.05, "{wrong:?}");
    }
}
