//! What can be done to a running system, and undone.

use crate::stack::Stack;
use crate::wires::Wire;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::{Mode, ServiceProcess};

/// How long a service may take to end in order.
const END_TIMEOUT: Duration = Duration::from_secs(20);
/// What a Redis loses that writes its append-only file once a second.
const REDIS_LOSES: Duration = Duration::from_secs(1);

/// A kind of service, of which a fault meets the first process, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `scheduler-svc`.
    Scheduler,
    /// `sender-svc`.
    Sender,
    /// `message-svc`.
    Messenger,
    /// `erp-mock-svc`.
    Erp,
}

/// Something that goes wrong, for a while or at once.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// `SIGKILL` of one process, which its supervisor starts again.
    Kill(Part),
    /// The same, again and again.
    KillRepeatedly {
        /// Whom.
        part: Part,
        /// How often.
        times: usize,
        /// From one kill to the next.
        every: Duration,
    },
    /// `SIGTERM` of every process of the engine in turn, each started again before the next: a deployment.
    RollingRestart,
    /// `SIGSTOP`, and `SIGCONT` later.
    Freeze(Part, Duration),
    /// Redis is killed and starts with its append-only file.
    RedisRestart,
    /// Redis is killed and starts as it was a second before.
    RedisLosesLastSecond,
    /// `FLUSHALL`.
    RedisFlush,
    /// Redis is killed and starts later.
    RedisAway(Duration),
    /// Redis is at its memory limit and refuses writes.
    RedisFull(Duration),
    /// The disk of Redis is full: its append-only file cannot grow, and it refuses writes.
    RedisDiskFull(Duration),
    /// Postgres crashes and recovers.
    PostgresRestart,
    /// Every session of Postgres is ended.
    PostgresEndsSessions,
    /// Postgres is down for a while.
    PostgresAway(Duration),
    /// Postgres has no connection left for anyone.
    PostgresExhausted(Duration),
    /// Neither Redis nor Postgres is there.
    BothAway(Duration),
    /// One connection is disturbed.
    Wire(Wire, Mode, Duration),
    /// WhatsApp misbehaves as its mock's fault profile says.
    Whatsapp(Value, Duration),
    /// Webhooks come as the mock's settings say.
    Webhooks(Value, Duration),
    /// The ERP misbehaves as its mock's fault plan says.
    Erp(Value, Duration),
}

impl Fault {
    /// Makes it happen, and returns when it is over.
    pub async fn happen(&self, stack: &mut Stack) {
        match self {
            Self::Kill(part) => part.first(stack).restart().await,
            Self::KillRepeatedly { part, times, every } => {
                kill_repeatedly(stack, *part, *times, *every).await;
            }
            Self::RollingRestart => rolling_restart(stack).await,
            Self::Freeze(part, during) => {
                part.first(stack).pause();
                tokio::time::sleep(*during).await;
                part.first(stack).resume();
            }
            Self::RedisRestart => stack.redis.restart().await,
            Self::RedisLosesLastSecond => {
                let before = stack.redis.copy_data();
                tokio::time::sleep(REDIS_LOSES).await;
                stack.redis.restart_with(&before).await;
            }
            Self::RedisFlush => stack.redis.flush().await,
            Self::RedisAway(during) => {
                stack.redis.kill();
                tokio::time::sleep(*during).await;
                stack.redis.restart().await;
            }
            Self::RedisFull(during) => {
                stack.redis.set("maxmemory", "1").await;
                tokio::time::sleep(*during).await;
                stack.redis.set("maxmemory", "0").await;
            }
            Self::RedisDiskFull(during) => {
                stack.redis.fill_disk();
                tokio::time::sleep(*during).await;
                stack.redis.free_disk();
            }
            Self::PostgresRestart => stack.postgres().restart().await,
            Self::PostgresEndsSessions => stack.postgres().end_sessions().await,
            Self::PostgresAway(during) => {
                stack.postgres().kill().await;
                tokio::time::sleep(*during).await;
                stack.postgres().restart().await;
            }
            Self::PostgresExhausted(during) => {
                let _taken = stack.postgres().exhaust().await;
                tokio::time::sleep(*during).await;
            }
            Self::BothAway(during) => {
                stack.postgres().kill().await;
                stack.redis.kill();
                tokio::time::sleep(*during).await;
                stack.redis.restart().await;
                stack.postgres().restart().await;
            }
            Self::Wire(wire, mode, during) => stack.disturb(*wire, *mode, *during).await,
            Self::Whatsapp(profile, during) => {
                let well = stack.whatsapp(Method::GET, "/mock/faults", None).await;
                let mut ill = well.clone();
                merge(&mut ill, profile);
                stack.whatsapp(Method::PUT, "/mock/faults", Some(ill)).await;
                tokio::time::sleep(*during).await;
                stack.whatsapp(Method::PUT, "/mock/faults", Some(well)).await;
            }
            Self::Webhooks(settings, during) => {
                let well = stack.whatsapp(Method::GET, "/mock/webhooks", None).await;
                stack
                    .whatsapp(Method::PUT, "/mock/webhooks", Some(settings.clone()))
                    .await;
                tokio::time::sleep(*during).await;
                stack.whatsapp(Method::PUT, "/mock/webhooks", Some(well)).await;
            }
            Self::Erp(plan, during) => {
                stack.erp_faults(plan.clone()).await;
                tokio::time::sleep(*during).await;
                stack.erp_faults(json!({})).await;
            }
        }
    }
}

impl Part {
    fn first(self, stack: &mut Stack) -> &mut ServiceProcess {
        match self {
            Self::Scheduler => &mut stack.schedulers[0],
            Self::Sender => &mut stack.senders[0],
            Self::Messenger => &mut stack.messengers[0],
            Self::Erp => &mut stack.erp,
        }
    }
}

async fn kill_repeatedly(stack: &mut Stack, part: Part, times: usize, every: Duration) {
    let mut kills = tokio::time::interval(every);
    for _ in 0..times {
        kills.tick().await;
        part.first(stack).restart().await;
    }
}

async fn rolling_restart(stack: &mut Stack) {
    let services = stack
        .messengers
        .iter_mut()
        .chain(&mut stack.senders)
        .chain(&mut stack.schedulers);
    for service in services {
        let status = service.terminate(END_TIMEOUT).await;
        assert!(status.success(), "{} ended with {status}", service.name());
        service.restart().await;
    }
}

fn merge(into: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().into_iter().flatten() {
        into[name] = value.clone();
    }
}
