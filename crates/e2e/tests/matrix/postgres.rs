//! Postgres restarted, without its sessions, away and exhausted.

use crate::{seconds, suffer};
use e2e::{Fault, Plan};

#[tokio::test]
async fn postgres_restarted() {
    let plan = Plan::default().recovers_within(2);
    suffer("postgres_restarted", plan, |_| Fault::PostgresRestart).await;
}

#[tokio::test]
async fn postgres_ending_every_session() {
    let plan = Plan::default().processes(2, 2, 1).recovers_within(2);
    suffer("postgres_ending_every_session", plan, |_| {
        Fault::PostgresEndsSessions
    })
    .await;
}

#[tokio::test]
async fn postgres_away() {
    suffer("postgres_away", Plan::default(), |trial| {
        Fault::PostgresAway(trial.scaled(seconds(20), seconds(4)))
    })
    .await;
}

#[tokio::test]
async fn postgres_without_a_connection_left() {
    suffer("postgres_without_a_connection_left", Plan::default(), |trial| {
        Fault::PostgresExhausted(trial.scaled(seconds(10), seconds(4)))
    })
    .await;
}

#[tokio::test]
async fn redis_and_postgres_away() {
    suffer("redis_and_postgres_away", Plan::default(), |trial| {
        Fault::BothAway(trial.scaled(seconds(20), seconds(4)))
    })
    .await;
}
