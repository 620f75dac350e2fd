//! How answers look: tables for people, the API's own JSON for programs.

use crate::api::Answer;
use crate::failure::Failure;
use campaign_runtime::Problem;
use chrono::{DateTime, SecondsFormat, Utc};
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, LineStyle, Table, TableStyle};
use indicatif::HumanCount;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

/// A line below the header and no others: rows are close together, and easy to copy.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Whether colours are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl ColorChoice {
    /// For the standard error output.
    pub(crate) fn on_stderr(self) -> bool {
        self.on(&std::io::stderr())
    }

    fn on(self, terminal: &impl IsTerminal) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            // https://no-color.org: any value but the empty one.
            Self::Auto => {
                terminal.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
            }
        }
    }
}

/// Where answers go, and in which form.
pub(crate) struct Output {
    writer: Mutex<Box<dyn Write + Send>>,
    json: bool,
    color: bool,
    /// Tables are fitted to a terminal, and left whole for everything else.
    terminal: bool,
}

impl Output {
    /// The standard output.
    pub(crate) fn stdout(json: bool, color: ColorChoice) -> Self {
        let stdout = std::io::stdout();
        Self {
            json,
            color: color.on(&stdout),
            terminal: stdout.is_terminal(),
            writer: Mutex::new(Box::new(stdout)),
        }
    }

    /// Anything else, without colours.
    #[cfg(test)]
    pub(crate) fn to(writer: impl Write + Send + 'static, json: bool) -> Self {
        Self {
            json,
            color: false,
            terminal: false,
            writer: Mutex::new(Box::new(writer)),
        }
    }

    /// Whether a program reads.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Writes an answer as it came, or as `show` presents it.
    pub(crate) fn answer<T: DeserializeOwned>(
        &self,
        answer: &Answer,
        show: impl FnOnce(&Self, T) -> String,
    ) -> Result<(), Failure> {
        if self.json {
            return self.text(answer.body());
        }
        self.text(&show(self, answer.read()?))
    }

    /// Tells people that something was done that has no answer to show.
    pub(crate) fn done(&self, answer: &Answer, text: &str) -> Result<(), Failure> {
        if self.json {
            self.text(answer.body())
        } else {
            self.text(text)
        }
    }

    /// Writes text, ending with one line break; no text at all is written as nothing.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        let text = text.trim_end_matches('\n');
        if text.is_empty() {
            return Ok(());
        }
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer
            .write_all(bytes)
            .and_then(|()| writer.flush())
            .map_err(|error| match error.kind() {
                ErrorKind::BrokenPipe => Failure::ReaderGone,
                _ => Failure::Local(format!("the output cannot be written: {error}")),
            })
    }

    /// A table; columns whose name ends with `#` (which is not shown) hold numbers.
    pub(crate) fn table(&self, columns: &[&str], rows: impl IntoIterator<Item = Vec<Cell>>) -> String {
        let mut table = Table::new();
        table.load_style(STYLE);
        if self.terminal {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        if self.color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let names = columns
            .iter()
            .map(|name| Cell::new(name.trim_end_matches('#')).add_attribute(Attribute::Bold));
        table.set_header(names.collect::<Vec<_>>());
        let mut empty = true;
        for row in rows {
            empty = false;
            table.add_row(row);
        }
        for (index, name) in columns.iter().enumerate() {
            if let Some(column) = table.column_mut(index).filter(|_| name.ends_with('#')) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        if empty {
            "nothing".to_owned()
        } else {
            table.trim_fmt()
        }
    }

    /// Facts about one thing, one below the other. Those without a value are left out.
    pub(crate) fn facts(&self, facts: Vec<(&str, String)>) -> String {
        let facts: Vec<_> = facts.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let width = facts
            .iter()
            .map(|(name, _)| name.chars().count())
            .max()
            .unwrap_or(0);
        let (bold, plain) = if self.color {
            ("\u{1b}[1m", "\u{1b}[0m")
        } else {
            ("", "")
        };
        let line = |(name, value): &(&str, String)| {
            let value = value.replace('\n', &format!("\n{:width$}  ", ""));
            format!("{bold}{name:width$}{plain}  {value}")
        };
        facts.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// A sign of whether something is so.
    pub(crate) fn sign(&self, is_so: bool) -> &'static str {
        match (is_so, self.color) {
            (true, true) => "\u{1b}[32m✓\u{1b}[0m",
            (true, false) => "✓",
            (false, true) => "\u{1b}[1;31m✗\u{1b}[0m",
            (false, false) => "✗",
        }
    }
}

/// A cell of plain text.
pub(crate) fn cell(text: impl ToString) -> Cell {
    Cell::new(text)
}

/// A cell with a number.
pub(crate) fn number(count: i64) -> Cell {
    Cell::new(thousands(count))
}

/// A cell with the name of a status or state, in its colour.
pub(crate) fn status(name: &str) -> Cell {
    let color = match name {
        "COMPLETED" | "APPROVED" | "active" | "delivered" | "read" | "admin" => Color::Green,
        "SENDING" | "SCHEDULED" | "accepted" | "sent" => Color::Cyan,
        "PAUSED" | "PENDING" | "uncertain" | "deferred" | "undelivered" | "held" => Color::Yellow,
        "FAILED" | "CANCELLED" | "REJECTED" | "DISABLED" | "failed" | "revoked" => Color::Red,
        _ => return Cell::new(name),
    };
    Cell::new(name).fg(color)
}

/// 12,345.
pub(crate) fn thousands(count: i64) -> String {
    let sign = if count < 0 { "-" } else { "" };
    format!("{sign}{}", HumanCount(count.unsigned_abs()))
}

/// A moment, in UTC.
pub(crate) fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true).replace('T', " ")
}

/// A moment that the API tells in the campaign's own zone, to the second.
pub(crate) fn local_moment(at: Option<&str>) -> String {
    let read = at.and_then(|at| DateTime::parse_from_rfc3339(at).ok());
    read.map(|at| at.format("%Y-%m-%d %H:%M:%S %:z").to_string())
        .unwrap_or_default()
}

/// A moment, or nothing.
pub(crate) fn moment_or_none(at: Option<DateTime<Utc>>) -> String {
    at.map(moment).unwrap_or_default()
}

/// A problem for people: what, then every field that is wrong, then what else the API says.
pub(crate) fn problem_text(problem: &Problem) -> String {
    let what = if problem.detail.is_empty() {
        &*problem.title
    } else {
        &*problem.detail
    };
    let mut lines = vec![format!("{what} ({} {})", problem.status, problem.title)];
    let fields = problem.errors.iter();
    lines.extend(fields.map(|error| {
        format!(
            "{}: found {}; expected {}",
            error.field, error.wrong, error.expected
        )
    }));
    lines.extend(
        problem
            .extensions
            .iter()
            .map(|(name, value)| format!("{name}: {}", plain(value))),
    );
    lines.join("\n  ")
}

/// JSON without its quotes and brackets, where that is clear.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_numbers_and_colour_only_where_asked() {
        let plain = Output::to(std::io::sink(), false);
        let rows = || {
            vec![
                vec![status("delivered"), number(1_234)],
                vec![status("failed"), number(7)],
            ]
        };
        let table = plain.table(&["State", "Recipients#"], rows());
        assert!(!table.contains('\u{1b}'), "{table:?}");
        insta::assert_snapshot!(table);

        let colored = Output { color: true, ..plain };
        assert!(
            colored
                .table(&["State", "Recipients#"], rows())
                .contains('\u{1b}')
        );
    }

    #[test]
    fn an_empty_table_says_so() {
        assert_eq!(
            Output::to(std::io::sink(), false).table(&["Name"], vec![]),
            "nothing"
        );
    }

    #[test]
    fn a_reader_that_has_gone_is_not_an_error_of_ours() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        assert!(matches!(
            Output::to(Gone, false).text("hello"),
            Err(Failure::ReaderGone)
        ));
    }
}
