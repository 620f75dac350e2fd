//! What nobody could handle, kept with its origin and the reason, for a person: entries of streams as dead
//! letters, and apart from them what WhatsApp reports of messages that are not known here.

use crate::entry::{RawEntry, encode, entries};
use crate::keys::Keys;
use crate::{Result, StreamId, Streams, StreamsError};
use campaign_core::contracts::{
    BODY_FIELD, DEAD_LETTER_STREAM, DeadLetter, STRAYS_STREAM, TRACE_FIELD, WEBHOOK_ORIGIN,
};
use redis::aio::ConnectionLike;
use redis::{Cmd, Value};

/// About how many dead letters are kept.
pub const DEAD_LETTERS_MAX: usize = 10_000;
/// About how many strays are kept.
pub const STRAYS_MAX: usize = 2_000;

/// Which letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Letters {
    /// Entries that nobody could handle.
    Dead,
    /// Webhooks about messages that are not known here.
    Stray,
}

impl Letters {
    const fn stream(self) -> &'static str {
        match self {
            Self::Dead => DEAD_LETTER_STREAM,
            Self::Stray => STRAYS_STREAM,
        }
    }

    const fn most(self) -> usize {
        match self {
            Self::Dead => DEAD_LETTERS_MAX,
            Self::Stray => STRAYS_MAX,
        }
    }
}

/// A dead letter and its id among them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct StoredDeadLetter {
    /// Its id in the stream of dead letters.
    pub id: String,
    /// What it holds.
    #[serde(flatten)]
    pub letter: DeadLetter,
}

/// Keeps a letter that was not read from a stream through this crate's [`crate::Consumer`].
pub async fn keep(streams: &Streams, letter: &DeadLetter) -> Result<()> {
    keep_all(streams, Letters::Dead, std::slice::from_ref(letter)).await
}

/// Keeps letters of one sort.
pub async fn keep_all(streams: &Streams, letters: Letters, kept: &[DeadLetter]) -> Result<()> {
    if kept.is_empty() {
        return Ok(());
    }
    let mut pipeline = redis::pipe();
    for letter in kept {
        pipeline
            .add_command(append(streams.keys(), letters, letter))
            .ignore();
    }
    let mut connection = streams.pooled().await?;
    Ok(pipeline.query_async::<()>(&mut connection).await?)
}

pub(crate) async fn write<C: ConnectionLike>(
    connection: &mut C,
    keys: &Keys,
    stream: &str,
    entry: &RawEntry,
    reason: &str,
) -> Result<()> {
    tracing::warn!(stream, id = %entry.id, reason, "an entry became a dead letter");
    metrics::counter!("dead_letters_total", "stream" => stream.to_owned()).increment(1);
    let letter = DeadLetter {
        stream: stream.to_owned(),
        id: entry.id.clone(),
        reason: reason.to_owned(),
        fields: entry.fields_as_text(),
    };
    let append = append(keys, Letters::Dead, &letter);
    Ok(append.query_async::<()>(connection).await?)
}

fn append(keys: &Keys, letters: Letters, letter: &DeadLetter) -> Cmd {
    let mut command = redis::cmd("XADD");
    command.arg(keys.stream(letters.stream()));
    command.arg("MAXLEN").arg("~").arg(letters.most()).arg("*");
    command.arg(BODY_FIELD).arg(encode(letter));
    command.arg(TRACE_FIELD).arg("");
    command
}

/// The newest `limit` letters older than `before` (or than nothing).
pub async fn list(
    streams: &Streams,
    letters: Letters,
    before: Option<&str>,
    limit: usize,
) -> Result<Vec<StoredDeadLetter>> {
    let mut connection = streams.pooled().await?;
    let from = before.map_or_else(|| "+".to_owned(), |id| format!("({id}"));
    let reply: Value = redis::cmd("XREVRANGE")
        .arg(streams.keys().stream(letters.stream()))
        .arg(from)
        .arg("-")
        .arg("COUNT")
        .arg(limit)
        .query_async(&mut connection)
        .await?;
    Ok(entries(reply)?.iter().filter_map(stored).collect())
}

/// One letter.
pub async fn get(streams: &Streams, id: &str) -> Result<StoredDeadLetter> {
    id.parse::<StreamId>().map_err(|_| missing(id))?;
    let mut connection = streams.pooled().await?;
    let reply: Value = redis::cmd("XRANGE")
        .arg(streams.keys().stream(DEAD_LETTER_STREAM))
        .arg(id)
        .arg(id)
        .query_async(&mut connection)
        .await?;
    entries(reply)?
        .first()
        .and_then(stored)
        .ok_or_else(|| missing(id))
}

/// Throws a letter away.
pub async fn discard(streams: &Streams, id: &str) -> Result<()> {
    get(streams, id).await?;
    let mut connection = streams.pooled().await?;
    redis::cmd("XDEL")
        .arg(streams.keys().stream(DEAD_LETTER_STREAM))
        .arg(id)
        .query_async::<()>(&mut connection)
        .await?;
    Ok(())
}

// Looks first, so that of two people who put the same letter back one finds it gone; removes it last, so
// that it stays if its stream takes nothing.
const REDRIVE: &str = r"
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', unpack(ARGV, 2))
return redis.call('XDEL', KEYS[1], ARGV[1])
";

/// Puts a letter's entry back at the end of the stream that it came from, in one step with removing it.
/// Entries of a lane are not put back: their ids name rows of the ledger, where a resend is asked for. Nor is what
/// a webhook told: there is no stream to put it on.
pub async fn redrive(streams: &Streams, id: &str) -> Result<()> {
    let stored = get(streams, id).await?;
    if stored.letter.stream.contains("{pn:") {
        return Err(StreamsError::UnsafeSettings(
            "an entry of a lane is not put back; ask for a resend of its message instead".to_owned(),
        ));
    }
    if stored.letter.stream == WEBHOOK_ORIGIN {
        return Err(StreamsError::UnsafeSettings(
            "what a webhook told is not put back; suppress the person by hand, then discard it".to_owned(),
        ));
    }
    let script = redis::Script::new(REDRIVE);
    let mut call = script.key(streams.keys().stream(DEAD_LETTER_STREAM));
    call.key(streams.keys().stream(&stored.letter.stream)).arg(id);
    for (name, value) in &stored.letter.fields {
        call.arg(name).arg(value);
    }
    let mut connection = streams.pooled().await?;
    match call.invoke_async::<u8>(&mut connection).await? {
        0 => Err(missing(id)),
        _ => Ok(()),
    }
}

fn missing(id: &str) -> StreamsError {
    StreamsError::NotFound {
        what: "dead letter",
        id: id.to_owned(),
    }
}

fn stored(entry: &RawEntry) -> Option<StoredDeadLetter> {
    let letter = entry.decode::<DeadLetter>().ok()?.body;
    Some(StoredDeadLetter {
        id: entry.id.clone(),
        letter,
    })
}
