//! What serde says is wrong with a value, as a field at fault.
//!
//! serde reports in prose of a fixed form (`invalid type: string "x", expected u32`). People who call
//! the API get the same facts apart: which field, what was wrong, what would be right.

use std::fmt::{Display, Write};

use serde_path_to_error::{Path, Segment};

use crate::problem::Problem;

/// What the caller sent is repeated up to this length: enough to recognise it.
const MAX_ECHO_CHARS: usize = 120;

/// What is wrong, and what would be right, with the name of a member if the message is about one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The member that is missing or there twice: serde's path ends at the object around it.
    pub(crate) member: Option<String>,
    pub(crate) wrong: String,
    pub(crate) expected: String,
}

impl Fault {
    /// Takes serde's message apart. A message of our own types may use the same form
    /// (`…, expected …`).
    pub(crate) fn from_message(message: &str) -> Self {
        let message = without_position(message);
        if let Some(member) = quoted(message, "missing field ") {
            return Self::of_member(member, "missing", "a value");
        }
        if let Some(member) = quoted(message, "duplicate field ") {
            return Self::of_member(member, "there twice", "one value");
        }
        if message.starts_with("unknown field ") {
            let expected = message.split_once(", expected ").map_or_else(
                || "no field at all".to_owned(),
                |(_, known)| without_one_of(known),
            );
            return Self::here("an unknown field", expected);
        }
        match message.split_once(", expected ") {
            Some((wrong, expected)) => Self::here(
                wrong
                    .trim_start_matches("invalid type: ")
                    .trim_start_matches("invalid value: "),
                without_one_of(expected),
            ),
            None => Self::here(message, "a valid value"),
        }
    }

    /// Adds this fault to `problem`, at `path` or at the member of it that the message names.
    pub(crate) fn at(self, path: &Path, problem: Problem) -> Problem {
        let mut pointer = json_pointer(path);
        if let Some(member) = &self.member {
            push_segment(&mut pointer, member);
        }
        problem.field(pointer, self.wrong, self.expected)
    }

    fn of_member(member: &str, wrong: &str, expected: &str) -> Self {
        Self {
            member: Some(echo(member)),
            wrong: wrong.to_owned(),
            expected: expected.to_owned(),
        }
    }

    fn here(wrong: &str, expected: impl Into<String>) -> Self {
        Self {
            member: None,
            wrong: echo(wrong),
            expected: expected.into(),
        }
    }
}

/// The path as a JSON pointer (RFC 6901); empty for the whole document.
fn json_pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => push_segment(&mut pointer, index),
            Segment::Map { key } => push_segment(&mut pointer, &echo(key)),
            Segment::Enum { variant } => push_segment(&mut pointer, variant),
            Segment::Unknown => {}
        }
    }
    pointer
}

fn push_segment(pointer: &mut String, segment: &impl Display) {
    let segment = segment.to_string().replace('~', "~0").replace('/', "~1");
    write!(pointer, "/{segment}").expect("a string takes all text");
}

/// Shortens what the caller sent, so that an answer never grows with the request.
pub(crate) fn echo(text: &str) -> String {
    match text.char_indices().nth(MAX_ECHO_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// serde_json ends its messages with ` at line 1 column 2`.
fn without_position(message: &str) -> &str {
    match message.rsplit_once(" at line ") {
        Some((before, position)) if position.contains(" column ") => before,
        _ => message,
    }
}

fn without_one_of(expected: &str) -> String {
    match expected.strip_prefix("one of ") {
        Some(values) => format!("one of {}", values.replace('`', "")),
        None => expected.replace('`', ""),
    }
}

/// The name in backticks after `prefix`.
fn quoted<'a>(message: &'a str, prefix: &str) -> Option<&'a str> {
    message.strip_prefix(prefix)?.strip_prefix('`')?.strip_suffix('`')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(member: Option<&str>, wrong: &str, expected: &str) -> Fault {
        Fault {
            member: member.map(str::to_owned),
            wrong: wrong.to_owned(),
            expected: expected.to_owned(),
        }
    }

    #[test]
    fn the_forms_that_serde_uses_are_taken_apart() {
        for (message, expected) in [
            (
                "invalid type: string \"x\", expected u32 at line 1 column 5",
                fault(None, "string \"x\"", "u32"),
            ),
            (
                "unknown field `colour`, expected one of `name`, `time`",
                fault(None, "an unknown field", "one of name, time"),
            ),
            (
                "missing field `name` at line 3 column 1",
                fault(Some("name"), "missing", "a value"),
            ),
            (
                "duplicate field `name`",
                fault(Some("name"), "there twice", "one value"),
            ),
            (
                "unknown variant `x`, expected `a` or `b`",
                fault(None, "unknown variant `x`", "a or b"),
            ),
            ("no such zone", fault(None, "no such zone", "a valid value")),
        ] {
            assert_eq!(Fault::from_message(message), expected, "{message}");
        }
    }

    #[test]
    fn a_long_value_is_not_repeated_in_full() {
        let long = "é".repeat(10_000);
        let fault = Fault::from_message(&format!("invalid type: string \"{long}\", expected u32"));
        assert_eq!(fault.wrong.chars().count(), MAX_ECHO_CHARS + 1);
        assert_eq!(fault.expected, "u32");
    }
}
