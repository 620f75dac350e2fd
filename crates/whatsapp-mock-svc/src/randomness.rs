//! Chance that can be repeated.
//!
//! What happens to a message depends on the seed and on the message alone, never on the order in which
//! concurrent requests arrive: the same campaign meets the same faults in every run.

/// A hash of what identifies a message, from which every chance about it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lot(u64);

impl Lot {
    /// The lot of something identified by `parts`.
    pub(crate) fn of(seed: u64, parts: &[&[u8]]) -> Self {
        // FNV-1a: tiny, the same on every machine and every compiler; `mix` makes up for its weak bits.
        const PRIME: u64 = 0x0000_0100_0000_01b3;
        let mut hash = 0xcbf2_9ce4_8422_2325 ^ mix(seed);
        for part in parts {
            for &byte in *part {
                hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
            }
            hash = (hash ^ 0xff).wrapping_mul(PRIME);
        }
        Self(mix(hash))
    }

    /// The same lot, drawn for another purpose or another time.
    #[must_use]
    pub(crate) fn again(self, purpose: u64) -> Self {
        Self(mix(self.0 ^ mix(purpose)))
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn unit(self) -> f64 {
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number in `0..below`; 0 if `below` is 0.
    pub(crate) fn below(self, below: u64) -> u64 {
        ((u128::from(self.0) * u128::from(below)) >> 64) as u64
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}

/// The finaliser of SplitMix64.
fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lot_repeats_and_shares_come_out_right() {
        assert_eq!(Lot::of(1, &[b"a"]), Lot::of(1, &[b"a"]));
        assert_ne!(Lot::of(1, &[b"a"]), Lot::of(2, &[b"a"]));
        assert_ne!(Lot::of(1, &[b"ab", b"c"]), Lot::of(1, &[b"a", b"bc"]));
        let hits = (0..100_000_u32)
            .filter(|number| Lot::of(7, &[&number.to_le_bytes()]).again(3).unit() < 0.05)
            .count();
        assert!((4_700..5_300).contains(&hits), "{hits}");
        assert!((0..1000).all(|purpose| Lot::of(7, &[]).again(purpose).below(10) < 10));
    }
}
