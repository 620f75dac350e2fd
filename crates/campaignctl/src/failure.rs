//! What can go wrong, how it is told, and the exit code of each.

use crate::output::problem_text;
use campaign_runtime::Problem;
use std::io::Write;
use uuid::Uuid;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Something that had to be so is not so: each with what was found.
    #[error("not so: {}", .0.join("; "))]
    Unbalanced(Vec<String>),
    /// The command line, or a file that it names, is not right.
    #[error("{0}")]
    Usage(String),
    /// The API answered that it will not.
    #[error("refused: {}", problem.detail)]
    Refused {
        /// What it said.
        problem: Box<Problem>,
        /// What it wrote, letter by letter.
        body: String,
    },
    /// No answer.
    #[error("cannot reach {service} at {url}: {cause}; {setting} says where it is")]
    Unreachable {
        /// Whom.
        service: &'static str,
        /// The setting that says where it is.
        setting: &'static str,
        /// Where it was looked for.
        url: String,
        /// What was found instead.
        cause: String,
    },
    /// An answer that this program does not understand.
    #[error("{service} answered something else than expected: {cause}")]
    Unreadable {
        /// Who.
        service: &'static str,
        /// What was wrong with it.
        cause: String,
    },
    /// Something on this machine, such as a full disk.
    #[error("{0}")]
    Local(String),
    /// Nobody reads the output any more.
    #[error("the reader of the output has gone")]
    ReaderGone,
    /// Ctrl-C.
    #[error("interrupted")]
    Interrupted {
        /// The campaign that goes on without anybody watching.
        goes_on: Option<Uuid>,
    },
}

impl Failure {
    /// The exit code; the help lists them all.
    pub(crate) fn code(&self) -> u8 {
        match self {
            // As for `head`, which closes its input when it has seen enough.
            Self::ReaderGone => 0,
            Self::Unbalanced(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused { .. } => 3,
            Self::Unreachable { .. } | Self::Unreadable { .. } => 4,
            Self::Local(_) => 5,
            Self::Interrupted { .. } => 130,
        }
    }

    /// Tells people on the standard error output; programs get the API's problem on the standard output.
    pub(crate) fn report(&self, json: bool, color: bool) {
        // Nobody can be told that nobody can be told.
        let _ = match self {
            Self::Refused { body, .. } if json => writeln!(std::io::stdout(), "{}", body.trim_end()),
            Self::ReaderGone => Ok(()),
            other => writeln!(std::io::stderr(), "{}", other.text(color)),
        };
    }

    /// What people are told.
    pub(crate) fn text(&self, color: bool) -> String {
        let (before, after) = if color {
            ("\u{1b}[1;31m", "\u{1b}[0m")
        } else {
            ("", "")
        };
        match self {
            Self::Refused { problem, .. } => {
                let hint = match problem.status {
                    401 => "\n  API_KEY or API_KEY_FILE says who asks",
                    _ => "",
                };
                format!("{before}refused{after}: {}{hint}", problem_text(problem))
            }
            Self::Unbalanced(found) => {
                let lines: Vec<_> = found.iter().map(|line| format!("\n  {line}")).collect();
                format!("{before}not so{after}:{}", lines.concat())
            }
            Self::Interrupted {
                goes_on: Some(campaign),
            } => format!(
                "interrupted; the campaign goes on\n  campaignctl campaign watch {campaign}\n  campaignctl \
                 campaign cancel {campaign}"
            ),
            other => format!("{before}campaignctl{after}: {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_failing_has_its_documented_code() {
        let problem = Problem::conflict("not now");
        let failures = [
            (Failure::ReaderGone, 0),
            (Failure::Unbalanced(vec!["1 is missing".into()]), 1),
            (Failure::Usage("no".into()), 2),
            (
                Failure::Refused {
                    problem: Box::new(problem),
                    body: String::new(),
                },
                3,
            ),
            (
                Failure::Unreachable {
                    service: "the API",
                    setting: "API_URL",
                    url: "u".into(),
                    cause: "c".into(),
                },
                4,
            ),
            (
                Failure::Unreadable {
                    service: "the API",
                    cause: "c".into(),
                },
                4,
            ),
            (Failure::Local("disk full".into()), 5),
            (Failure::Interrupted { goes_on: None }, 130),
        ];
        for (failure, code) in failures {
            assert_eq!(failure.code(), code, "{failure}");
        }
    }

    #[test]
    fn whoever_interrupts_is_told_that_the_campaign_goes_on() {
        let campaign = Uuid::from_u128(7);
        let text = Failure::Interrupted {
            goes_on: Some(campaign),
        }
        .text(false);
        assert!(
            text.contains("goes on") && text.contains(&format!("cancel {campaign}")),
            "{text}"
        );
    }

    #[test]
    fn a_problem_names_each_field_what_was_wrong_and_what_would_be_right() {
        let problem = Problem::unprocessable("the campaign cannot be created")
            .field("/segment/states", "\"XX\"", "a state's two capital letters")
            .field("/name", "nothing", "a name for people")
            .extension("allowed", vec!["edit", "schedule"]);
        let body = String::new();
        let text = Failure::Refused {
            problem: Box::new(problem),
            body,
        }
        .text(false);
        insta::assert_snapshot!(text);
    }
}
