//! A TCP proxy that misbehaves on command.
//!
//! What a network does between two healthy servers cannot be asked of either of them. The proxy stands
//! between and is switched while connections are open, so that a test can lose exactly one answer.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::{free_port, or_panic};

/// One read from either side.
const CHUNK_BYTES: usize = 16 * 1024;
/// Connections at once; more wait in the kernel's queue until one closes.
const MAX_CONNECTIONS: usize = 1_024;

/// What happens to bytes and connections. A change applies to open connections and to new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything passes.
    Pass,
    /// Every chunk waits this long before it goes on, in each direction.
    Delay(Duration),
    /// So many bytes a second pass at most, in each direction of each connection.
    Throttle(NonZeroU32),
    /// Nothing passes and nothing closes, as when a cable is pulled. Bytes held back go on when the mode
    /// changes to one that lets them pass, as TCP would retransmit them.
    Blackhole,
    /// Requests wait, as in [`Mode::Blackhole`]; answers pass. What waits arrives late, even if its sender has
    /// long given up.
    HoldRequests,
    /// Connections that are open go silent for ever, as when their peer's machine loses its power; new ones pass.
    Abandon,
    /// Requests arrive; answers are thrown away.
    DropReplies,
    /// Connections close in the ordinary way, new ones at once.
    Cut,
    /// Connections are reset (`ECONNRESET`), new ones at once.
    Reset,
    /// Connections close, and new ones are refused (`ECONNREFUSED`), as when nothing listens.
    Refuse,
}

impl Mode {
    /// Whether a connection that is open can stay open.
    fn keeps_connections(self) -> bool {
        !matches!(self, Self::Cut | Self::Reset | Self::Refuse)
    }

    /// Whether bytes of this direction wait.
    fn holds(self, is_reply: bool) -> bool {
        match self {
            Self::Blackhole => true,
            Self::HoldRequests => !is_reply,
            _ => false,
        }
    }
}

/// A running proxy; dropping it closes its connections.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    listening: watch::Receiver<bool>,
    task: AbortHandle,
}

impl FaultProxy {
    /// Listens on a free loopback port and passes everything on to `upstream` (`host:port`).
    pub async fn start(upstream: impl Into<String>) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let listener = TcpListener::bind(address).await.context("listen");
        let listener = or_panic("start a fault proxy", listener);
        let (mode, mode_receiver) = watch::channel(Mode::Pass);
        let (listening_sender, listening) = watch::channel(true);
        let proxying = serve(
            listener,
            address,
            upstream.into(),
            mode_receiver,
            listening_sender,
        );
        let task = tokio::spawn(proxying).abort_handle();
        Self {
            address,
            mode,
            listening,
            task,
        }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `scheme://address`, such as `proxy.url("redis")`.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}", self.address)
    }

    /// Switches; returns when the listening port is open or closed as the mode demands.
    pub async fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
        let mut listening = self.listening.clone();
        let settled = listening
            .wait_for(|listens| *listens == (mode != Mode::Refuse))
            .await;
        or_panic("switch a fault proxy", settled.map(drop).context("it has ended"));
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort(); // its connections are in a JoinSet of that task and end with it
    }
}

async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    upstream: String,
    mut mode: watch::Receiver<Mode>,
    listening: watch::Sender<bool>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        if *mode.borrow_and_update() == Mode::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = Some(
                TcpListener::bind(address)
                    .await
                    .expect("nobody else is given this port"),
            );
        }
        listening.send_replace(listener.is_some());
        tokio::select! {
            changed = mode.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
            client = accept(listener.as_ref()), if connections.len() < MAX_CONNECTIONS => {
                connections.spawn(connection(client, upstream.clone(), mode.clone()));
            }
        }
    }
}

/// The next client; never, while the port is closed.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        if let Ok((client, _)) = listener.accept().await {
            return client;
        }
    }
}

/// One client, from accept to close. Errors end it, as they would end a connection without a proxy.
async fn connection(client: TcpStream, upstream: String, mode: watch::Receiver<Mode>) {
    let (mut ends, mut abandoned) = (mode.clone(), mode.clone());
    let _ = client.set_nodelay(true);
    let server = if mode.borrow().keeps_connections() {
        let Ok(server) = TcpStream::connect(&upstream).await else {
            return;
        };
        let _ = server.set_nodelay(true);
        Some(server)
    } else {
        None
    };
    let Some(server) = server else {
        return close(&mode, client);
    };
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let mut to_server = Pump::new(client_read, server_write, mode.clone(), false);
    let mut to_client = Pump::new(server_read, client_write, mode.clone(), true);
    let is_abandoned = tokio::select! {
        // One direction that ends does not end the other: a half-closed connection may still answer. One that
        // breaks does.
        _ = async { tokio::try_join!(to_server.run(), to_client.run()) } => false,
        _ = ends.wait_for(|mode| !mode.keeps_connections()) => false,
        () = abandonment(&mut abandoned) => true,
    };
    if is_abandoned {
        return std::future::pending().await;
    }
    if let Ok(client) = to_server.read.reunite(to_client.write) {
        close(&mode, client);
    }
}

/// Ends when the mode becomes [`Mode::Abandon`], not if it is already.
async fn abandonment(mode: &mut watch::Receiver<Mode>) {
    while mode.changed().await.is_ok() {
        let now = *mode.borrow_and_update();
        if now == Mode::Abandon {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Closes in the way the mode asks for.
fn close(mode: &watch::Receiver<Mode>, client: TcpStream) {
    if *mode.borrow() == Mode::Reset {
        let _ = client.set_zero_linger(); // closing now sends RST instead of FIN
    }
    drop(client);
}

/// Bytes in one direction.
struct Pump {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    mode: watch::Receiver<Mode>,
    is_reply: bool,
}

impl Pump {
    fn new(read: OwnedReadHalf, write: OwnedWriteHalf, mode: watch::Receiver<Mode>, is_reply: bool) -> Self {
        Self {
            read,
            write,
            mode,
            is_reply,
        }
    }

    async fn run(&mut self) -> std::io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = self.read.read(&mut chunk).await?;
            let Ok(mode) = self
                .mode
                .wait_for(|mode| !mode.holds(self.is_reply))
                .await
                .map(|mode| *mode)
            else {
                return Ok(());
            };
            if length == 0 {
                return self.write.shutdown().await;
            }
            match mode {
                Mode::DropReplies if self.is_reply => continue,
                Mode::Delay(delay) => tokio::time::sleep(delay).await,
                Mode::Throttle(bytes_per_second) => {
                    let seconds = length as f64 / f64::from(bytes_per_second.get());
                    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                }
                _ => {}
            }
            self.write.write_all(&chunk[..length]).await?;
        }
    }
}
