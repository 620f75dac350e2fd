//! Chance that anybody can repeat: SplitMix64 (Steele, Lea, Flood 2014), keyed by seed, topic and position.
//!
//! Written out because a library's generator may change its numbers between versions, and the demo's
//! exact counts must not.

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// What is drawn, so that draws about one thing do not move those about another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Topic {
    Person = 1,
    Place = 2,
    Phone = 3,
    Fault = 4,
    Digest = 5,
}

/// A sequence of draws.
#[derive(Debug, Clone)]
pub(crate) struct Dice {
    state: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64, topic: Topic, position: u64) -> Self {
        let key = mix(seed ^ mix(topic as u64));
        Self {
            state: mix(key ^ mix(position.wrapping_add(GOLDEN_GAMMA))),
        }
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        mix(self.state)
    }

    /// From 0 to `bound - 1`. The bias is below 2⁻³² for the small bounds used here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in `share` of 100 draws.
    pub(crate) fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    /// From 0 to just below 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of them; there must be one.
    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// The mixing of SplitMix64.
pub(crate) const fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_the_published_sequence() {
        // The reference implementation's first values for state 1234567.
        let mut dice = Dice { state: 1_234_567 };
        let drawn = [dice.draw(), dice.draw(), dice.draw()];
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn shares_come_out() {
        let hits = (0..10_000)
            .filter(|&n| Dice::new(7, Topic::Person, n).percent(3))
            .count();
        assert!((250..350).contains(&hits), "{hits} of 10000 are not 3 percent");
    }
}
