//! Where a page starts, as an opaque text that only fits the request it was made for.
//!
//! The text is three numbers in hexadecimal: the position, the time of issue (0 if cursors do not expire,
//! so that equal pages have equal cursors) and a digest of both with the population and the criteria. A
//! foreign or mistyped cursor is told apart by the digest; it is no protection against forgery.

use crate::population::{Population, digest};
use campaign_core::segment::Segment;

const NUMBER_DIGITS: usize = 16;

/// A place between two customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// The index of the first customer that may be on the page.
    pub next_index: u64,
    /// When it was issued, in milliseconds since 1970; 0 if it does not expire.
    pub issued_at_ms: u64,
}

impl Cursor {
    /// The cursor for the next page of `segment`.
    pub fn encode(self, population: &Population, segment: &Segment) -> String {
        let Self {
            next_index,
            issued_at_ms,
        } = self;
        format!(
            "{next_index:016x}{issued_at_ms:016x}{:016x}",
            self.digest(population, segment)
        )
    }

    /// Reads a cursor; None if it is none, or one of another population or other criteria.
    pub fn decode(text: &str, population: &Population, segment: &Segment) -> Option<Self> {
        if text.len() != 3 * NUMBER_DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let number = |at: usize| u64::from_str_radix(&text[at * NUMBER_DIGITS..][..NUMBER_DIGITS], 16).ok();
        let cursor = Self {
            next_index: number(0)?,
            issued_at_ms: number(1)?,
        };
        let fits = number(2)? == cursor.digest(population, segment) && cursor.next_index < population.size();
        fits.then_some(cursor)
    }

    fn digest(self, population: &Population, segment: &Segment) -> u64 {
        let numbers = [
            population.seed(),
            population.size(),
            self.next_index,
            self.issued_at_ms,
        ];
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        for (name, value) in segment.to_query() {
            bytes.extend([name.as_bytes(), b"=", value.as_bytes(), b"\n"].concat());
        }
        digest(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    #[test]
    fn only_the_same_question_takes_a_cursor_back() {
        let today = NaiveDate::from_ymd_opt(2026, 3, 1).expect("a valid day");
        let population = Population::new(1, 1_000, today);
        let active = Segment {
            active: Some(true),
            ..Segment::default()
        };
        let cursor = Cursor {
            next_index: 17,
            issued_at_ms: 1_000,
        };
        let text = cursor.encode(&population, &active);
        assert_eq!(Cursor::decode(&text, &population, &active), Some(cursor));

        assert_eq!(Cursor::decode(&text, &population, &Segment::default()), None);
        assert_eq!(
            Cursor::decode(&text, &Population::new(2, 1_000, today), &active),
            None
        );
        assert_eq!(
            Cursor::decode(&text, &Population::new(1, 999, today), &active),
            None
        );
        let mistyped = format!("{}{}", if text.starts_with('0') { "1" } else { "0" }, &text[1..]);
        for text in ["", "é", &text[1..], &mistyped, &"+".repeat(48)] {
            assert_eq!(Cursor::decode(text, &population, &active), None, "{text:?}");
        }
    }
}
