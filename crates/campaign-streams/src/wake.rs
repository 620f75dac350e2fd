//! Hints by publish and subscribe: they save waiting, and everything is right without them.

use crate::{Result, Streams};
use campaign_core::ids::LaneId;
use futures::StreamExt;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

/// Who is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The schedulers: a campaign got a new time.
    Schedulers,
    /// The senders: people decided something about a lane.
    Senders,
    /// The message services: a lane has work.
    Messages,
}

impl Audience {
    fn channel(self, streams: &Streams) -> String {
        match self {
            Self::Schedulers => streams.keys().wake_schedulers(),
            Self::Senders => streams.keys().wake_senders(),
            Self::Messages => streams.keys().wake_messages(),
        }
    }
}

/// Wakes whoever listens, naming the lane it is about (empty for all).
pub async fn publish(streams: &Streams, audience: Audience, lane: Option<&LaneId>) -> Result<()> {
    let mut connection = streams.pooled().await?;
    redis::cmd("PUBLISH")
        .arg(audience.channel(streams))
        .arg(lane.map_or("", LaneId::as_str))
        .query_async::<()>(&mut connection)
        .await?;
    Ok(())
}

/// Hints a slow listener may fall behind; older ones are dropped, which costs it only time.
const HINTS_MAX: usize = 256;
const RECONNECT_AFTER: Duration = Duration::from_millis(500);

/// Hands on what is published for one audience.
#[derive(Debug, Clone)]
pub struct Waker {
    sender: broadcast::Sender<Option<LaneId>>,
}

impl Waker {
    /// A waker that hears nothing until [`Self::listen`] runs.
    pub fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(HINTS_MAX),
        }
    }

    /// A place to wait for hints.
    pub fn subscribe(&self) -> broadcast::Receiver<Option<LaneId>> {
        self.sender.subscribe()
    }

    /// Listens until `shutdown`. After each new connection everyone is woken, since hints were missed.
    pub async fn listen(self, streams: Streams, audience: Audience, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => return,
                result = self.listen_until_broken(&streams, audience) => {
                    if let Err(error) = result {
                        tracing::debug!(?audience, %error, "hints stopped; listening again");
                    }
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(RECONNECT_AFTER) => {}
            }
        }
    }

    async fn listen_until_broken(&self, streams: &Streams, audience: Audience) -> Result<()> {
        let mut subscriber = streams.subscriber().await?;
        subscriber.subscribe(audience.channel(streams)).await?;
        self.hand_on(None);
        let mut messages = subscriber.on_message();
        while let Some(message) = messages.next().await {
            self.hand_on(
                message
                    .get_payload::<String>()
                    .ok()
                    .and_then(|lane| lane.parse().ok()),
            );
        }
        Ok(())
    }

    fn hand_on(&self, lane: Option<LaneId>) {
        // Nobody listening is fine.
        let _ = self.sender.send(lane);
    }
}

impl Default for Waker {
    fn default() -> Self {
        Self::new()
    }
}
