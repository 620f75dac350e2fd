//! Who makes ticks, and who follows them.
//!
//! Every replica tries to publish the minute's tick, and one succeeds ([`publish_minutes`]); every replica
//! sleeps until the next campaign's time and publishes a tick then ([`publish_due`]), so that a campaign
//! starts at its moment. Any replica handles a tick ([`follow`]). If none comes for a while, because Redis is
//! away or the ticks go elsewhere, each looks for itself ([`distrust_silence`]).

use crate::due;
use crate::streams::Queues;
use campaign_core::contracts::{SCHEDULER_GROUP, SCHEDULER_STREAM, Tick, TickKind};
use campaign_runtime::{HealthHandle, Shutdown, link_to};
use campaign_store::{Store, campaigns};
use campaign_streams::wake::Waker;
use campaign_streams::{Consumer, ConsumerConfig, Delivery, StreamId, Verdict};
use chrono::Utc;
use metrics::{counter, histogram};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use tracing::Instrument;

/// Longest pause between two attempts to publish the minute's tick. Attempts are cheap, and each shows that
/// Redis takes ticks.
const MINUTE_ATTEMPT_EVERY: Duration = Duration::from_secs(10);
/// The next campaign's time is read again at least this often: wake-ups may be lost.
const REREAD_EVERY: Duration = Duration::from_secs(1);
/// Pause behind a due tick, for somebody to follow it, before it is published again; doubles up to
/// [`REREAD_EVERY`].
const DUE_REPEAT_AFTER: Duration = Duration::from_millis(100);
/// Pause after Redis or Postgres failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// How soon a tick comes back whose handling failed.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// A tick that failed so often goes: the next one makes the same things happen, and a dead letter would ask a
/// person for what heals by itself.
const ATTEMPTS_MAX: u32 = 5;
/// How often silence is looked for.
const SILENCE_LOOK_EVERY: Duration = Duration::from_secs(1);

/// When this replica last saw a tick handled.
#[derive(Debug)]
pub(crate) struct LastTick(Mutex<Instant>);

impl LastTick {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn seen(&self) {
        *self.0.lock().expect("nothing panics while it is held") = Instant::now();
    }

    fn age(&self) -> Duration {
        self.0.lock().expect("nothing panics while it is held").elapsed()
    }
}

/// Publishes the tick of each minute, unless another replica has.
pub(crate) async fn publish_minutes(
    queues: Queues,
    health: HealthHandle,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    while !shutdown.is_stopping() {
        let pause = match queues.tick(TickKind::Minute).await {
            Ok(published) => {
                health.ready();
                if published.written {
                    counter!("ticks_published_total", "kind" => "minute").increment(1);
                }
                // Redis's clock may run a little ahead of the next look at it.
                (published.next_minute_in + Duration::from_millis(2)).min(MINUTE_ATTEMPT_EVERY)
            }
            Err(error) => {
                tracing::warn!(%error, "no tick could be published; trying again");
                health.unready(format!("Redis takes no ticks: {error}"));
                FAILURE_PAUSE
            }
        };
        shutdown.sleep(pause).await;
    }
    Ok(())
}

/// Sleeps until the next campaign is due, or one is scheduled, and publishes a tick when its time has come.
pub(crate) async fn publish_due(
    store: Store,
    queues: Queues,
    waker: Waker,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let mut hints = waker.subscribe();
    let mut repeat_after = DUE_REPEAT_AFTER;
    while !shutdown.is_stopping() {
        let pause = match store.in_time(next_due_in(&store)).await {
            Ok(None) => REREAD_EVERY,
            Ok(Some(wait)) if !wait.is_zero() => wait.min(REREAD_EVERY),
            Ok(Some(_)) => {
                match queues.tick(TickKind::Due).await {
                    Ok(_) => counter!("ticks_published_total", "kind" => "due").increment(1),
                    Err(error) => {
                        tracing::warn!(%error, "no tick could be published for a campaign that is due");
                    }
                }
                let pause = repeat_after;
                repeat_after = (repeat_after * 2).min(REREAD_EVERY);
                shutdown.sleep(pause).await;
                continue;
            }
            Err(error) => {
                tracing::warn!(%error, "the next campaign's time could not be read");
                FAILURE_PAUSE
            }
        };
        repeat_after = DUE_REPEAT_AFTER;
        tokio::select! {
            _ = shutdown.sleep(pause) => {}
            () = hint(&mut hints) => {}
        }
    }
    Ok(())
}

/// Until the next campaign is due; zero if one is. None if no campaign is scheduled.
async fn next_due_in(store: &Store) -> Result<Option<Duration>, campaign_store::StoreError> {
    let mut connection = store.connection().await?;
    let next = campaigns::next_scheduled_at(&mut connection).await?;
    Ok(next.map(|at| (at - Utc::now()).to_std().unwrap_or_default()))
}

async fn hint(hints: &mut broadcast::Receiver<Option<campaign_core::ids::LaneId>>) {
    if let Err(broadcast::error::RecvError::Closed) = hints.recv().await {
        // Nobody listens to Redis any more; the pause beside this decides.
        std::future::pending::<()>().await;
    }
}

/// Handles ticks until the soft stop.
pub(crate) async fn follow(
    store: Store,
    queues: Queues,
    last: std::sync::Arc<LastTick>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let consumer = Consumer::new(
        queues.streams(),
        ConsumerConfig::sole(SCHEDULER_STREAM, SCHEDULER_GROUP),
    );
    let handle = |delivery: Delivery<Tick>| {
        let span = tracing::info_span!("tick", kind = %delivery.body.kind, tick_id = %delivery.id);
        link_to(&span, &delivery.trace);
        on_tick(&store, &queues, &last, delivery).instrument(span)
    };
    consumer.run(shutdown.stopping_token(), handle).await;
    Ok(())
}

async fn on_tick(store: &Store, queues: &Queues, last: &LastTick, delivery: Delivery<Tick>) -> Verdict {
    let now = Utc::now();
    if let Ok(id) = delivery.id.parse::<StreamId>() {
        let lag_ms = now.timestamp_millis().saturating_sub(id.high as i64).max(0);
        histogram!("tick_lag_seconds", "kind" => delivery.body.kind.as_str()).record(lag_ms as f64 / 1000.0);
    }
    match due::handle(store, queues, now).await {
        Ok(handled) => {
            last.seen();
            tracing::debug!(?handled, "a tick was handled");
            Verdict::Done
        }
        Err(error) => {
            let attempt = delivery.attempt;
            tracing::warn!(
                attempt,
                error = format!("{error:#}"),
                "a tick could not be handled"
            );
            if attempt < ATTEMPTS_MAX {
                Verdict::Retry(RETRY_AFTER)
            } else {
                Verdict::Done
            }
        }
    }
}

/// Looks for due campaigns by itself whenever no tick was seen for `silence`. With many replicas each sees
/// only some of the ticks, so this also happens in good order; it is harmless, since claiming passes over
/// what another has locked.
pub(crate) async fn distrust_silence(
    store: Store,
    queues: Queues,
    last: std::sync::Arc<LastTick>,
    silence: Duration,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    while shutdown.sleep(SILENCE_LOOK_EVERY.min(silence)).await {
        if last.age() < silence {
            continue;
        }
        counter!("tick_silences_total").increment(1);
        match due::handle(&store, &queues, Utc::now()).await {
            Ok(handled) => tracing::info!(
                ?handled,
                "no tick for a while; looked for due campaigns by itself"
            ),
            Err(error) => tracing::warn!(
                error = format!("{error:#}"),
                "due campaigns could not be looked for"
            ),
        }
        last.seen();
    }
    Ok(())
}
