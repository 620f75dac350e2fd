//! What the numbering plans say: Brazil's area codes, and the country codes that E.164 has assigned.

/// Shortest numbers in use anywhere, country code included (Niue: +683 and four digits).
const FOREIGN_MIN_DIGITS: usize = 7;

/// The 67 area codes that Anatel has assigned.
const BRAZILIAN_AREA_CODES: [bool; 100] = table(&[
    11, 12, 13, 14, 15, 16, 17, 18, 19, 21, 22, 24, 27, 28, 31, 32, 33, 34, 35, 37, 38, 41, 42, 43, 44, 45,
    46, 47, 48, 49, 51, 53, 54, 55, 61, 62, 63, 64, 65, 66, 67, 68, 69, 71, 73, 74, 75, 77, 79, 81, 82, 83,
    84, 85, 86, 87, 88, 89, 91, 92, 93, 94, 95, 96, 97, 98, 99,
]);

/// Country codes of two digits (ITU-T, list of recommendation E.164 assigned country codes).
const TWO_DIGIT_CODES: [bool; 100] = table(&[
    20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 57, 58,
    60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98,
]);

/// The tens that three-digit country codes lie in (same list), by their first two digits. Spare codes
/// within a ten are let through: WhatsApp refuses those few, and assignments change.
const THREE_DIGIT_TENS: [bool; 100] = table(&[
    21, 22, 23, 24, 25, 26, 29, 35, 37, 38, 42, 50, 59, 67, 68, 69, 85, 88, 96, 97, 99,
]);

const fn table(codes: &[u8]) -> [bool; 100] {
    let mut assigned = [false; 100];
    let mut index = 0;
    while index < codes.len() {
        assigned[codes[index] as usize] = true;
        index += 1;
    }
    assigned
}

fn two_digits(digits: &[u8]) -> Option<usize> {
    match digits {
        [tens, units, ..] => Some(usize::from(tens - b'0') * 10 + usize::from(units - b'0')),
        _ => None,
    }
}

/// Whether two digits are an area code of Brazil.
pub(super) fn is_brazilian_area_code(area: &[u8]) -> bool {
    two_digits(area).is_some_and(|code| BRAZILIAN_AREA_CODES[code])
}

/// How many digits of an international number are its country code, if it has one that is assigned.
pub(super) fn code_length(digits: &[u8]) -> Option<usize> {
    let first_two = two_digits(digits)?;
    match digits {
        [b'1' | b'7', ..] => Some(1),
        _ if TWO_DIGIT_CODES[first_two] => Some(2),
        _ => THREE_DIGIT_TENS[first_two].then_some(3),
    }
}

/// Whether digits can be an international number of a country other than Brazil.
pub(super) fn is_plausible(digits: &[u8]) -> bool {
    match digits {
        // North America has one fixed shape: area code and exchange start with 2 to 9.
        [b'1', rest @ ..] => matches!(rest, [b'2'..=b'9', _, _, b'2'..=b'9', _, _, _, _, _, _]),
        _ => {
            (FOREIGN_MIN_DIGITS..=super::E164_MAX_DIGITS).contains(&digits.len())
                && code_length(digits).is_some()
        }
    }
}
