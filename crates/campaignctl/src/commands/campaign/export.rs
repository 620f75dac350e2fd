//! `campaignctl campaign export`: all recipients as CSV.
//!
//! A file appears under its name only when it is whole, so that half an export is never taken for one.

use super::Of;
use crate::follow::{Ticker, look, tell};
use crate::output::thousands;
use crate::{Context, Failure};
use campaign_core::message::MessageState;
use clap::Args;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// What is exported, and where to.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The campaign.
    #[command(flatten)]
    of: Of,
    /// File to write; the standard output if not given
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only recipients in this state
    #[arg(long, value_parser = crate::commands::one_of(MessageState::ALL.iter().map(|state| state.as_str())))]
    state: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(context: &Context, args: &ExportArgs) -> Result<(), Failure> {
    let (_, detail) = look(context, args.of.id).await?;
    let total = match &args.state {
        Some(state) => detail.progress.by_state.get(state).copied().unwrap_or(0),
        None => detail.progress.total,
    };
    let Some(path) = &args.output else {
        copy(context, args, total, |piece| context.output.bytes(piece)).await?;
        return Ok(());
    };
    let unfinished = unfinished(path);
    let result = to_file(context, args, total, &unfinished).await;
    let rows = match result {
        Ok(rows) => rows,
        Err(failure) => {
            // What is left of it is of no use; that it cannot be removed does not matter more than the failure.
            let _ = std::fs::remove_file(&unfinished);
            return Err(failure);
        }
    };
    std::fs::rename(&unfinished, path).map_err(|error| cannot_write(path, &error))?;
    tell(&format!(
        "{} recipients written to {}",
        thousands(rows),
        path.display()
    ));
    Ok(())
}

async fn to_file(context: &Context, args: &ExportArgs, total: i64, path: &Path) -> Result<i64, Failure> {
    let wrong = |error: std::io::Error| cannot_write(path, &error);
    let mut file = BufWriter::new(File::create(path).map_err(wrong)?);
    let rows = copy(context, args, total, |piece| file.write_all(piece).map_err(wrong)).await?;
    file.flush().map_err(wrong)?;
    Ok(rows)
}

/// Copies the export piece by piece, and counts its rows.
async fn copy(
    context: &Context,
    args: &ExportArgs,
    total: i64,
    mut write: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<i64, Failure> {
    let mut query = vec![("format", "csv".to_owned())];
    query.extend(args.state.clone().map(|state| ("state", state)));
    let path = ["v1", "campaigns", &args.of.id.to_string(), "messages"];
    let mut pieces = context.api.stream(&path, &query).await?;
    let mut ticker = Ticker::new();
    let mut rows = Rows::default();
    while let Some(piece) = pieces.next().await? {
        let piece = piece.as_ref();
        write(piece)?;
        rows.count(piece);
        ticker.show(
            rows.found(),
            total,
            &format!("{} of {} recipients", thousands(rows.found()), thousands(total)),
        );
    }
    Ok(rows.found())
}

/// Counts the rows of a CSV that comes in pieces.
#[derive(Debug, Default)]
struct Rows {
    lines: i64,
    quoted: bool,
}

impl Rows {
    fn count(&mut self, piece: &[u8]) {
        for byte in piece {
            match byte {
                // A doubled quote closes and opens again.
                b'"' => self.quoted = !self.quoted,
                b'\n' if !self.quoted => self.lines += 1,
                _ => {}
            }
        }
    }

    /// The header is none.
    fn found(&self) -> i64 {
        (self.lines - 1).max(0)
    }
}

/// Beside the file, so that renaming is one step.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".unfinished");
    name.into()
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Local(format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_across_pieces_and_line_breaks_within_fields_are_none() {
        let mut rows = Rows::default();
        for piece in [
            "seq,error\r\n1,\"two\r\nli",
            "nes, \"\"quoted\"\"\"\r\n2,",
            "\r\n",
        ] {
            rows.count(piece.as_bytes());
        }
        assert_eq!(rows.found(), 2);
    }
}
