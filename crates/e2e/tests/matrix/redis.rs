//! Redis restarted, rolled back, wiped, away, and out of memory or disk.

use crate::{seconds, suffer};
use e2e::{Fault, Plan};

#[tokio::test]
async fn redis_restarted_with_its_append_only_file() {
    let plan = Plan::default().processes(1, 1, 2).recovers_within(5);
    suffer("redis_restarted_with_its_append_only_file", plan, |_| {
        Fault::RedisRestart
    })
    .await;
}

#[tokio::test]
async fn redis_restarted_without_its_last_second() {
    let plan = Plan::default().processes(1, 1, 2).recovers_within(5);
    suffer("redis_restarted_without_its_last_second", plan, |_| {
        Fault::RedisLosesLastSecond
    })
    .await;
}

#[tokio::test]
async fn redis_wiped() {
    let plan = Plan::default().processes(2, 2, 2).recovers_within(5);
    suffer("redis_wiped", plan, |_| Fault::RedisFlush).await;
}

#[tokio::test]
async fn redis_away() {
    let plan = Plan::default().processes(1, 2, 2);
    suffer("redis_away", plan, |trial| {
        Fault::RedisAway(trial.scaled(seconds(20), seconds(4)))
    })
    .await;
}

#[tokio::test]
async fn redis_refusing_writes() {
    suffer(
        "redis_refusing_writes",
        Plan::default().recovers_within(5),
        |trial| Fault::RedisFull(trial.scaled(seconds(10), seconds(3))),
    )
    .await;
}

#[tokio::test]
async fn redis_with_a_full_disk() {
    suffer(
        "redis_with_a_full_disk",
        Plan::default().recovers_within(5),
        |trial| Fault::RedisDiskFull(trial.scaled(seconds(10), seconds(3))),
    )
    .await;
}
