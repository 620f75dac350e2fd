//! Entry ids, compared as Redis compares them.

use campaign_core::ids::{Generation, Seq};
use std::fmt;
use std::str::FromStr;

/// The id of a stream entry. In a lane's campaign streams the halves are generation and seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct StreamId {
    /// Milliseconds, or the generation.
    pub high: u64,
    /// Sequence number.
    pub low: u64,
}

impl StreamId {
    /// The id of a message in its lane.
    pub fn of_message(generation: Generation, seq: Seq) -> Self {
        Self {
            high: u64::try_from(generation.0).unwrap_or(0),
            low: u64::try_from(seq.0).unwrap_or(0),
        }
    }

    /// The message that this id names in a lane, if its numbers are possible.
    pub fn message(self) -> Option<(Generation, Seq)> {
        let generation = i32::try_from(self.high)
            .ok()
            .filter(|&generation| generation > 0)?;
        let seq = i64::try_from(self.low).ok().filter(|&seq| seq > 0)?;
        Some((Generation(generation), Seq(seq)))
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.high, self.low)
    }
}

/// A text that is not an entry id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an entry id reads <number>-<number>")]
pub struct InvalidStreamId;

impl FromStr for StreamId {
    type Err = InvalidStreamId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (high, low) = text.split_once('-').ok_or(InvalidStreamId)?;
        Ok(Self {
            high: high.parse().map_err(|_| InvalidStreamId)?,
            low: low.parse().map_err(|_| InvalidStreamId)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_compare_by_number_not_by_text() {
        let id = |text: &str| text.parse::<StreamId>().expect("an id");
        assert!(id("2-10") > id("2-9"));
        assert!(id("10-0") > id("9-99"));
        assert_eq!(id("3-7").to_string(), "3-7");
        assert_eq!("7".parse::<StreamId>(), Err(InvalidStreamId));
    }

    #[test]
    fn a_lane_id_names_a_message() {
        let id = StreamId::of_message(Generation(2), Seq(41));
        assert_eq!(id.message(), Some((Generation(2), Seq(41))));
        assert_eq!(StreamId { high: 0, low: 1 }.message(), None);
        assert_eq!(
            StreamId {
                high: u64::MAX,
                low: 1
            }
            .message(),
            None
        );
    }
}
