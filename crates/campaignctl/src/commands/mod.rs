//! The commands, one module per resource of the API.

pub(crate) mod account;
pub(crate) mod campaign;
pub(crate) mod dead_letters;
pub(crate) mod key;
pub(crate) mod number;
pub(crate) mod page;
pub(crate) mod price;
pub(crate) mod queues;
pub(crate) mod suppress;
pub(crate) mod template;
mod template_sync;

use crate::cli::{Command, completion};
use crate::{Context, Failure, demo};
use clap::builder::PossibleValuesParser;

/// Does what the command line says.
pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::run(context, args).await,
        Command::Campaign(command) => campaign::run(context, command).await,
        Command::Template(command) => template::run(context, command).await,
        Command::Price(command) => price::run(context, command).await,
        Command::Number(command) => number::run(context, command).await,
        Command::Account(command) => account::run(context, command).await,
        Command::Key(command) => key::run(context, command).await,
        Command::Queues(args) => queues::run(context, &args).await,
        Command::DeadLetters(command) => dead_letters::run(context, command).await,
        Command::Strays(args) => dead_letters::strays(context, &args).await,
        Command::Suppress(command) => suppress::run(context, command).await,
        Command::Completion { shell } => context.output.text(&completion(shell)),
    }
}

/// A flag whose value is one of the names that the API knows.
pub(crate) fn one_of(names: impl Iterator<Item = &'static str>) -> PossibleValuesParser {
    PossibleValuesParser::new(names)
}

/// The body of a request, or a part of it, as JSON or from a file.
pub(crate) fn json_or_file(given: &str) -> Result<serde_json::Value, Failure> {
    let text = match given.strip_prefix('@') {
        Some(path) => read_file(path)?,
        None => given.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| Failure::Usage(format!("{given:?} is not JSON: {error}")))
}

/// Largest file that is read; the API takes no larger bodies.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

fn read_file(path: &str) -> Result<String, Failure> {
    use std::io::Read;
    let reader: Result<Box<dyn Read>, _> = match path {
        "-" => Ok(Box::new(std::io::stdin())),
        path => std::fs::File::open(path).map(|file| Box::new(file) as Box<dyn Read>),
    };
    let mut text = String::new();
    let read = reader.and_then(|reader| reader.take(FILE_MAX_BYTES + 1).read_to_string(&mut text));
    read.map_err(|error| Failure::Usage(format!("{path} cannot be read: {error}")))?;
    if text.len() as u64 > FILE_MAX_BYTES {
        return Err(Failure::Usage(format!(
            "{path} is larger than {FILE_MAX_BYTES} bytes"
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn json_is_given_in_place_or_in_a_file_of_bounded_size() {
        assert_eq!(json_or_file("{}").expect("JSON"), serde_json::json!({}));
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"{\"states\":[\"SP\"]}").expect("it takes text");
        let path = format!("@{}", file.path().display());
        assert_eq!(
            json_or_file(&path).expect("JSON"),
            serde_json::json!({ "states": ["SP"] })
        );

        file.write_all(&vec![b' '; FILE_MAX_BYTES as usize])
            .expect("it takes text");
        for wrong in [path.as_str(), "@/nowhere/at/all", "{"] {
            assert!(matches!(json_or_file(wrong), Err(Failure::Usage(_))), "{wrong}");
        }
    }
}
