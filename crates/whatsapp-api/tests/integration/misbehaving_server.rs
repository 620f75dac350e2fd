//! A TCP server that does one thing to each connection, and remembers which whole requests it got.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behaviour {
    /// Reset as soon as it is accepted.
    ResetAtOnce,
    /// Read the whole request, then reset without an answer.
    ResetAfterReading,
    /// Read the whole request, then never answer.
    Hang,
    /// Read the whole request, then write these bytes and close.
    Answer(&'static str),
    /// Answer well, then close the connection although it was announced as kept alive.
    AnswerThenCloseSilently,
}

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    bodies: Arc<Mutex<Vec<String>>>,
}

pub(crate) const GOOD_ANSWER: &str = concat!(
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 110\r\n\r\n",
    r#"{"messaging_product":"whatsapp","contacts":[{"input":"+1","wa_id":"1"}],"messages":[{"id":"wamid.TEST.1234"}]}"#
);

impl Server {
    pub(crate) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&bodies);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, behaviour, Arc::clone(&seen)));
            }
        });
        Self { addr, bodies }
    }

    /// Every whole request body, in the order of arrival.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.bodies.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, behaviour: Behaviour, bodies: Arc<Mutex<Vec<String>>>) {
    if matches!(behaviour, Behaviour::ResetAtOnce) {
        stream.set_zero_linger().unwrap();
        return;
    }
    let Some(body) = read_body(&mut stream).await else {
        return;
    };
    bodies.lock().unwrap().push(body);
    match behaviour {
        Behaviour::ResetAtOnce => {}
        Behaviour::ResetAfterReading => stream.set_zero_linger().unwrap(),
        Behaviour::Hang => tokio::time::sleep(Duration::from_mins(1)).await,
        Behaviour::Answer(answer) => {
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Behaviour::AnswerThenCloseSilently => {
            let _ = stream.write_all(GOOD_ANSWER.as_bytes()).await;
        }
    }
}

async fn read_body(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            });
            if body.len() >= length.unwrap_or(usize::MAX) {
                return Some(body.to_owned());
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
