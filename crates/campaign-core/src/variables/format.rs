//! How a value is written for the person who reads it. All of it as Brazilians write it.

use super::FieldValue;
use crate::message::text_enum;
use crate::phone::{Region, canonicalise};
use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

text_enum! {
    /// How a value is written.
    VariableFormat {
        /// As it is.
        Text = "text",
        /// The first word of a name, capitalised: "MARIA da silva" becomes "Maria".
        FirstName = "first_name",
        /// In capitals.
        Upper = "upper",
        /// In small letters.
        Lower = "lower",
        /// Centavos as "R$ 1.234,56", with a plain space so that the amount can be copied and searched.
        BrlAmount = "brl_amount",
        /// A day as "31/12/2026".
        Date = "date",
        /// A phone number as "(31) 98765-4321".
        Phone = "phone",
    }
}

impl VariableFormat {
    /// Writes a value, or nothing if it makes no sense in this format (a name without a letter, a phone number
    /// that is none).
    pub fn write(self, value: FieldValue<'_>) -> Option<Cow<'_, str>> {
        match (self, value) {
            (Self::Text, FieldValue::Text(text) | FieldValue::Phone(text)) => Some(Cow::Borrowed(text)),
            (Self::FirstName, FieldValue::Text(text)) => first_name(text).map(Cow::Owned),
            (Self::Upper, FieldValue::Text(text)) => Some(Cow::Owned(text.to_uppercase())),
            (Self::Lower, FieldValue::Text(text)) => Some(Cow::Owned(text.to_lowercase())),
            (Self::BrlAmount, FieldValue::Cents(cents)) => Some(Cow::Owned(brl_amount(cents))),
            (Self::Date, FieldValue::Date(date)) => Some(Cow::Owned(brazilian_date(date))),
            (Self::Phone, FieldValue::Phone(raw)) => canonicalise(raw, Region::Brazil)
                .ok()
                .map(|phone| Cow::Owned(phone.for_people())),
            // Not let through by `FieldKind::fits`.
            _ => None,
        }
    }
}

fn first_name(full_name: &str) -> Option<String> {
    let word = full_name
        .split_whitespace()
        .next()
        .filter(|word| word.chars().any(char::is_alphabetic))?;
    let mut name = String::with_capacity(word.len());
    let mut starts = true;
    for character in word.chars() {
        if starts {
            name.extend(character.to_uppercase());
        } else {
            name.extend(character.to_lowercase());
        }
        starts = matches!(character, '-' | '\'' | '’');
    }
    Some(name)
}

fn brl_amount(cents: i64) -> String {
    let (reais, centavos) = (cents.unsigned_abs() / 100, cents.unsigned_abs() % 100);
    let digits = reais.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('.');
        }
        grouped.push(digit);
    }
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}R$ {grouped},{centavos:02}")
}

fn brazilian_date(date: NaiveDate) -> String {
    format!("{:02}/{:02}/{:04}", date.day(), date.month(), date.year())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_names_are_capitalised_and_keep_their_accents() {
        for (full, first) in [
            ("MARIA da silva", "Maria"),
            ("joão pedro", "João"),
            ("ÉRICA", "Érica"),
            ("  ângela\tb ", "Ângela"),
            ("ANA-CLARA SOUZA", "Ana-Clara"),
            ("D'ÁVILA", "D'Ávila"),
            ("Ana", "Ana"),
        ] {
            assert_eq!(first_name(full).as_deref(), Some(first), "{full}");
        }
        for nameless in ["", "  ", "---", "123 Ana", "."] {
            assert_eq!(first_name(nameless), None, "{nameless}");
        }
    }

    #[test]
    fn amounts_are_grouped_by_thousands() {
        for (cents, written) in [
            (0, "R$ 0,00"),
            (5, "R$ 0,05"),
            (99_999, "R$ 999,99"),
            (100_000, "R$ 1.000,00"),
            (123_456, "R$ 1.234,56"),
            (100_000_000, "R$ 1.000.000,00"),
            (-1_200, "-R$ 12,00"),
            (i64::MIN, "-R$ 92.233.720.368.547.758,08"),
        ] {
            assert_eq!(brl_amount(cents), written);
        }
    }

    #[test]
    fn each_format_writes_its_kind_of_value() {
        let day = NaiveDate::from_ymd_opt(2026, 12, 31).expect("a day");
        let write = |format: VariableFormat, value| format.write(value).map(Cow::into_owned);
        assert_eq!(
            write(VariableFormat::Date, FieldValue::Date(day)).as_deref(),
            Some("31/12/2026")
        );
        let phone = FieldValue::Phone("031 8765-4321");
        assert_eq!(
            write(VariableFormat::Phone, phone).as_deref(),
            Some("(31) 98765-4321")
        );
        assert_eq!(
            write(VariableFormat::Text, phone).as_deref(),
            Some("031 8765-4321")
        );
        assert_eq!(
            write(VariableFormat::Phone, FieldValue::Phone("3132654321")),
            None
        );
        let city = FieldValue::Text("São Luís");
        assert_eq!(write(VariableFormat::Upper, city).as_deref(), Some("SÃO LUÍS"));
        assert_eq!(write(VariableFormat::Lower, city).as_deref(), Some("são luís"));
        assert_eq!(write(VariableFormat::Text, city).as_deref(), Some("São Luís"));
    }

    #[test]
    fn a_format_writes_something_exactly_where_it_fits() {
        let day = NaiveDate::from_ymd_opt(2026, 1, 2).expect("a day");
        for (kind, value) in [
            (super::super::FieldKind::Text, FieldValue::Text("Ana")),
            (super::super::FieldKind::Cents, FieldValue::Cents(1)),
            (super::super::FieldKind::Date, FieldValue::Date(day)),
            (super::super::FieldKind::Phone, FieldValue::Phone("31987654321")),
        ] {
            for format in VariableFormat::ALL {
                assert_eq!(
                    format.write(value).is_some(),
                    kind.fits(*format),
                    "{kind:?} as {format}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn an_amount_loses_no_digit(cents: i64) {
            let digits: String = brl_amount(cents).chars().filter(|c| c.is_ascii_digit() || *c == '-').collect();
            prop_assert_eq!(digits.parse::<i128>().expect("a number"), i128::from(cents));
        }

        #[test]
        fn a_first_name_is_one_word(full in "\\PC{0,30}") {
            if let Some(name) = first_name(&full) {
                prop_assert!(!name.is_empty() && !name.contains(char::is_whitespace));
            }
        }
    }
}
