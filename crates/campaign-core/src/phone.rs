//! One person, one phone number: turns what an ERP has stored into the one form that is sent to,
//! compared and suppressed.
//!
//! Brazil is read by hand, because nearly every recipient is Brazilian and the rules are few: a valid area
//! code, then nine digits that start with 9 (mobile) or eight that start with 2 to 5 (landline). Mobile
//! numbers from before the ninth digit gain it here, so both forms become one [`CanonicalPhone`] and
//! equality of two of them means the same person. Numbers of other countries are checked against what
//! E.164 itself says (an assigned country code and the length); whether such a number is mobile is left
//! to WhatsApp.

mod country;

use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// E.164: a number has at most 15 digits, country code included.
pub const E164_MAX_DIGITS: usize = 15;

/// Longest text that is read as a phone number, in bytes.
pub const RAW_PHONE_MAX_BYTES: usize = 64;

/// Digits in the longest way of writing an E.164 number: its 15 behind a `00`.
const RAW_PHONE_MAX_DIGITS: usize = E164_MAX_DIGITS + 2;

/// Why nothing can be sent to a phone number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PhoneProblem {
    /// Not a phone number of any country.
    #[error(
        "not a phone number: a Brazilian mobile reads +55 31 98765-4321, others + and their country code"
    )]
    Invalid,
    /// A Brazilian landline: WhatsApp does not deliver to it.
    #[error("a landline: WhatsApp delivers to mobile numbers only")]
    Landline,
}

/// Where a number without a country code is taken to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Region {
    /// In Brazil.
    #[default]
    Brazil,
    /// Nowhere: such a number is refused.
    International,
}

/// A phone number in E.164 with its `+`, in the one form that stands for its owner.
///
/// Sixteen bytes and `Copy`, so a page of recipients costs no allocation for its numbers. Ordered as its text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct CanonicalPhone {
    /// `+` and the digits, then zero bytes.
    text: [u8; E164_MAX_DIGITS + 1],
}

/// Reads a phone number as people and ERPs write it.
///
/// Accepted are punctuation and spaces, a leading `+` or `00` with the country code, the Brazilian trunk `0`
/// with or without a carrier code, a missing `+55` (for [`Region::Brazil`]) and a missing ninth digit.
pub fn canonicalise(raw: &str, default_region: Region) -> Result<CanonicalPhone, PhoneProblem> {
    let written = Digits::read(raw)?;
    match (written.international, written.as_slice(), default_region) {
        (true, digits, _) | (false, [b'0', b'0', digits @ ..], _) => canonicalise_international(digits),
        (false, digits, Region::Brazil) => canonicalise_brazilian(brazilian_national_number(digits)?),
        (false, _, Region::International) => Err(PhoneProblem::Invalid),
    }
}

fn canonicalise_international(digits: &[u8]) -> Result<CanonicalPhone, PhoneProblem> {
    match digits {
        // "+55 (031) 98765-4321": the trunk zero does not belong there, yet is often written.
        [b'5', b'5', b'0', national @ ..] | [b'5', b'5', national @ ..] => canonicalise_brazilian(national),
        _ if country::is_plausible(digits) => Ok(CanonicalPhone::from_digits(&[digits])),
        _ => Err(PhoneProblem::Invalid),
    }
}

/// Strips what may stand before area code and subscriber number in Brazil.
fn brazilian_national_number(digits: &[u8]) -> Result<&[u8], PhoneProblem> {
    match (digits, digits.len()) {
        // The trunk zero, with a carrier code or the country code (it matters not which) or with neither;
        // the country code by itself; nothing at all.
        ([b'0', _, _, national @ ..], 13 | 14)
        | ([b'0', national @ ..], 11 | 12)
        | ([b'5', b'5', national @ ..], 12 | 13)
        | (national, 10 | 11) => Ok(national),
        _ => Err(PhoneProblem::Invalid),
    }
}

/// Checks area code and subscriber number, and gives an old mobile number its ninth digit.
///
/// Anatel: mobile numbers have nine digits and start with 9 since 2016; those with eight started with 6
/// to 9, landlines start with 2 to 5.
fn canonicalise_brazilian(national: &[u8]) -> Result<CanonicalPhone, PhoneProblem> {
    let Some((area, subscriber)) = national.split_at_checked(2) else {
        return Err(PhoneProblem::Invalid);
    };
    if !country::is_brazilian_area_code(area) {
        return Err(PhoneProblem::Invalid);
    }
    match (subscriber, subscriber.len()) {
        ([b'9', ..], 9) => Ok(CanonicalPhone::from_digits(&[b"55", area, subscriber])),
        ([b'6'..=b'9', ..], 8) => Ok(CanonicalPhone::from_digits(&[b"55", area, b"9", subscriber])),
        ([b'2'..=b'5', ..], 8) => Err(PhoneProblem::Landline),
        _ => Err(PhoneProblem::Invalid),
    }
}

/// The digits of a number as written.
struct Digits {
    written: [u8; RAW_PHONE_MAX_DIGITS],
    count: usize,
    /// A `+` stood before the first digit.
    international: bool,
}

impl Digits {
    fn read(raw: &str) -> Result<Self, PhoneProblem> {
        if raw.len() > RAW_PHONE_MAX_BYTES {
            return Err(PhoneProblem::Invalid);
        }
        let mut read = Self {
            written: [0; RAW_PHONE_MAX_DIGITS],
            count: 0,
            international: false,
        };
        for character in raw.chars() {
            match character {
                '0'..='9' => {
                    *read.written.get_mut(read.count).ok_or(PhoneProblem::Invalid)? = character as u8;
                    read.count += 1;
                }
                '+' if read.count == 0 && !read.international => read.international = true,
                _ if is_filler(character) => {}
                _ => return Err(PhoneProblem::Invalid),
            }
        }
        Ok(read)
    }

    fn as_slice(&self) -> &[u8] {
        &self.written[..self.count]
    }
}

/// What people put between digits, and what copying from a document or an address book brings along: other
/// spaces and dashes, and the invisible marks of writing direction.
const fn is_filler(character: char) -> bool {
    matches!(
        character,
        ' ' | '-' | '.' | '(' | ')' | '/' | '\t' | '\n' | '\r' | '\u{a0}'
            | '\u{2000}'..='\u{2015}'
            | '\u{202a}'..='\u{202f}'
            | '\u{2066}'..='\u{2069}'
    )
}

impl CanonicalPhone {
    /// Joins digits that were checked to be at most [`E164_MAX_DIGITS`].
    fn from_digits(parts: &[&[u8]]) -> Self {
        let mut text = [0; E164_MAX_DIGITS + 1];
        text[0] = b'+';
        let mut end = 1;
        for part in parts {
            text[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        }
        Self { text }
    }

    /// `+5531987654321`: what is sent to WhatsApp, stored and compared.
    pub fn as_str(&self) -> &str {
        let end = self
            .text
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(self.text.len());
        std::str::from_utf8(&self.text[..end]).expect("holds a plus sign and digits only")
    }

    /// The digits as a number, for sets of millions. An E.164 number never starts with 0, so nothing is lost.
    pub fn to_u64(self) -> u64 {
        let digits = self.text[1..].iter().take_while(|byte| **byte != 0);
        digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    }

    /// Reads back [`Self::to_u64`], with the same checks as for text.
    pub fn from_u64(digits: u64) -> Result<Self, PhoneProblem> {
        format!("+{digits}").parse()
    }

    /// For logs: country, area and the last two digits, as in `+55 31 9****-**21`. It fits up to a
    /// million people, so it helps to recognise a case and names nobody.
    pub fn masked(&self) -> String {
        let text = self.as_str();
        let last_two = &text[text.len() - 2..];
        if let Some((area, _)) = self.brazilian_parts() {
            return format!("+55 {area} 9****-**{last_two}");
        }
        let country_end = 1 + country::code_length(&text.as_bytes()[1..]).unwrap_or(1);
        let hidden = "*".repeat(text.len() - 2 - country_end);
        format!("{} {hidden}{last_two}", &text[..country_end])
    }

    /// As its owner writes it: `(31) 98765-4321`, and E.164 for other countries.
    pub fn for_people(&self) -> String {
        match self.brazilian_parts() {
            Some((area, subscriber)) => format!("({area}) {}-{}", &subscriber[..5], &subscriber[5..]),
            None => self.as_str().to_owned(),
        }
    }

    /// Area code (two digits) and subscriber number (nine), if Brazilian.
    fn brazilian_parts(&self) -> Option<(&str, &str)> {
        self.as_str()
            .strip_prefix("+55")
            .map(|national| national.split_at(2))
    }
}

impl fmt::Display for CanonicalPhone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// Masked, so that a `?phone` in a log line gives nobody away.
impl fmt::Debug for CanonicalPhone {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CanonicalPhone({})", self.masked())
    }
}

/// Reads a number that carries its country code.
impl FromStr for CanonicalPhone {
    type Err = PhoneProblem;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        canonicalise(text, Region::International)
    }
}

impl Serialize for CanonicalPhone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl TryFrom<String> for CanonicalPhone {
    type Error = PhoneProblem;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<CanonicalPhone> for String {
    fn from(phone: CanonicalPhone) -> Self {
        phone.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests;
