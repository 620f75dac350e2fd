//! One connection, by hand: no HTTP library would send what is sent here, or tell how a connection ended.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Every exchange is over within this, one way or the other.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// No answer is larger; the rest is not read.
const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;

/// What a client writes.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// For the report of a failure.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// The client ends its side after the last byte.
    pub(crate) then_close: bool,
    /// No answer is right too: the connection may simply be closed.
    pub(crate) may_go_unanswered: bool,
}

/// How an exchange ended.
#[derive(Debug)]
pub(crate) enum Ending {
    Answered(Answer),
    Closed,
    /// Nothing for [`PATIENCE`].
    Stuck,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn has_type(&self, content_type: &str) -> bool {
        self.head.contains(&format!("\r\ncontent-type: {content_type}"))
    }

    /// `None` until it is complete.
    fn parse(bytes: &[u8], ended: bool) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let body = &bytes[end + 4..];
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let length = head.split("\r\n").find_map(|line| {
            line.strip_prefix("content-length: ")?
                .trim()
                .parse::<usize>()
                .ok()
        });
        let complete =
            ended || length.is_some_and(|length| body.len() >= length) || body.ends_with(b"0\r\n\r\n");
        // What looks like two requests gets two answers; the first one is enough.
        let body = &body[..length.map_or(body.len(), |length| length.min(body.len()))];
        complete.then(|| Self {
            status,
            body: body.to_owned(),
            head,
        })
    }
}

/// Writes the request, and reads until there is an answer or an end.
pub(crate) async fn exchange(address: SocketAddr, request: &Request) -> Ending {
    let Ok(stream) = TcpStream::connect(address).await else {
        return Ending::Stuck;
    };
    let (mut reader, mut writer) = stream.into_split();
    let (bytes, then_close) = (request.bytes.clone(), request.then_close);
    let writing = tokio::spawn(async move {
        // The service may have refused the request before its end.
        let written = writer.write_all(&bytes).await;
        if then_close {
            let _ = writer.shutdown().await;
        }
        (written, writer)
    });
    let ending = tokio::time::timeout(PATIENCE, read_answer(&mut reader)).await;
    writing.abort();
    ending.unwrap_or(Ending::Stuck)
}

async fn read_answer(reader: &mut (impl AsyncReadExt + Unpin)) -> Ending {
    let mut bytes = Vec::new();
    let mut part = vec![0; 64 * 1024];
    loop {
        // A reset is an end too.
        let read = reader.read(&mut part).await.unwrap_or(0);
        bytes.extend_from_slice(&part[..read]);
        let ended = read == 0 || bytes.len() > ANSWER_MAX_BYTES;
        match Answer::parse(&bytes, ended) {
            Some(answer) => return Ending::Answered(answer),
            None if ended => return Ending::Closed,
            None => {}
        }
    }
}
