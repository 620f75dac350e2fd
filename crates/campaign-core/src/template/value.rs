//! What may stand in the place of a placeholder.
//!
//! Meta refuses a message (code 132018) whose values are empty or hold a newline, a tab or more than four
//! spaces in a row. Such whitespace comes from how an ERP stores its texts and means nothing, so it is
//! collapsed ([`normalise_value`]) instead of costing the person the message; what is then still wrong
//! ([`check_value`]) skips the recipient.

use std::borrow::Cow;

/// Longest value, in characters: a rendered body has room for no more.
pub const VALUE_MAX_CHARS: usize = super::BODY_MAX_CHARS;

/// Most spaces in a row that Meta accepts in a value.
pub const VALUE_MAX_CONSECUTIVE_SPACES: usize = 4;

/// Why a value cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ValueProblem {
    /// Nothing, or only whitespace.
    #[error("is empty")]
    Empty,
    /// A line break.
    #[error("holds a line break")]
    Newline,
    /// A tab.
    #[error("holds a tab")]
    Tab,
    /// Another control character, as an export in the wrong encoding leaves behind.
    #[error("holds a control character")]
    Control,
    /// More spaces in a row than [`VALUE_MAX_CONSECUTIVE_SPACES`].
    #[error("holds more than {VALUE_MAX_CONSECUTIVE_SPACES} spaces in a row")]
    Spaces,
    /// `{{`, or a `{` at the end that could become one: most likely a template that was never filled.
    #[error("holds {{{{ or ends with {{, as an unfilled variable does")]
    Braces,
    /// More than [`VALUE_MAX_CHARS`] characters.
    #[error("is longer than {VALUE_MAX_CHARS} characters")]
    TooLong,
    /// Stands for a medium, and names none.
    #[error("is neither an https:// or http:// address nor the id of an upload (digits)")]
    NotMedia,
}

/// Checks a value that stands for a medium: an address that Meta fetches, or the id of an upload.
pub fn check_media(value: &str) -> Result<(), ValueProblem> {
    let address = value
        .strip_prefix("https://")
        .or_else(|| value.strip_prefix("http://"));
    let is_address = address.is_some_and(|rest| {
        let has_host = rest.starts_with(|first: char| first.is_alphanumeric() || first == '[');
        has_host && !rest.contains(char::is_whitespace)
    });
    let is_upload = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if is_address || is_upload {
        Ok(())
    } else {
        Err(ValueProblem::NotMedia)
    }
}

/// Checks a value as it would be sent.
pub fn check_value(value: &str) -> Result<(), ValueProblem> {
    let mut spaces = 0;
    let mut previous = ' ';
    let mut blank = true;
    for character in value.chars() {
        match character {
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                return Err(ValueProblem::Newline);
            }
            '\t' => return Err(ValueProblem::Tab),
            '{' if previous == '{' => return Err(ValueProblem::Braces),
            _ if character.is_control() => return Err(ValueProblem::Control),
            _ => {}
        }
        spaces = if character == ' ' { spaces + 1 } else { 0 };
        if spaces > VALUE_MAX_CONSECUTIVE_SPACES {
            return Err(ValueProblem::Spaces);
        }
        blank &= character.is_whitespace();
        previous = character;
    }
    if blank {
        Err(ValueProblem::Empty)
    } else if previous == '{' {
        Err(ValueProblem::Braces)
    } else if value.len() > VALUE_MAX_CHARS && value.chars().count() > VALUE_MAX_CHARS {
        Err(ValueProblem::TooLong)
    } else {
        Ok(())
    }
}

/// Trims a value and makes one space of every run of whitespace and control characters. Values that are
/// well as they are, nearly all of them, are not copied.
pub fn normalise_value(value: Cow<'_, str>) -> Cow<'_, str> {
    if is_normal(&value) {
        return value;
    }
    let mut normal = String::with_capacity(value.len());
    for word in value.split(is_blank).filter(|word| !word.is_empty()) {
        if !normal.is_empty() {
            normal.push(' ');
        }
        normal.push_str(word);
    }
    Cow::Owned(normal)
}

fn is_normal(value: &str) -> bool {
    let mut after_blank = true;
    for character in value.chars() {
        let blank = is_blank(character);
        if blank && (after_blank || character != ' ') {
            return false;
        }
        after_blank = blank;
    }
    value.is_empty() || !after_blank
}

fn is_blank(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_rule_has_its_own_answer() {
        for (value, problem) in [
            ("", ValueProblem::Empty),
            ("  ", ValueProblem::Empty),
            ("a\nb", ValueProblem::Newline),
            ("a\rb", ValueProblem::Newline),
            ("a\u{2028}b", ValueProblem::Newline),
            ("a\tb", ValueProblem::Tab),
            ("a\0b", ValueProblem::Control),
            ("a     b", ValueProblem::Spaces),
            ("oi {{nome}}", ValueProblem::Braces),
            ("oi {", ValueProblem::Braces),
            (&"é".repeat(VALUE_MAX_CHARS + 1), ValueProblem::TooLong),
        ] {
            assert_eq!(check_value(value), Err(problem), "{value:?}");
        }
        for value in ["a", "a    b", "{a}", "}}", &"é".repeat(VALUE_MAX_CHARS)] {
            assert_eq!(check_value(value), Ok(()), "{value:?}");
        }
    }

    #[test]
    fn meaningless_whitespace_is_collapsed() {
        for (given, normal) in [
            ("  MARIA \t  da\r\nSilva ", "MARIA da Silva"),
            ("R$\u{a0}10,00", "R$ 10,00"),
            ("a\0b", "a b"),
            (" \n\t", ""),
        ] {
            assert_eq!(normalise_value(given.into()), normal, "{given:?}");
        }
        assert!(matches!(
            normalise_value("Rua das Flores 12".into()),
            Cow::Borrowed(_)
        ));
    }

    proptest! {
        #[test]
        fn normalising_leaves_only_problems_of_substance(value in r"[a-z{ \t\n\r\x00\u{a0}\u{2028}]{0,40}") {
            let normal = normalise_value(value.as_str().into());
            let checked = check_value(&normal);
            prop_assert!(matches!(checked, Ok(()) | Err(ValueProblem::Empty | ValueProblem::Braces)), "{:?}", checked);
            prop_assert_eq!(normalise_value(normal.clone()), normal.clone());
            prop_assert_eq!(normal.split(' ').collect::<String>(), value.split(is_blank).collect::<String>());
        }
    }
}
