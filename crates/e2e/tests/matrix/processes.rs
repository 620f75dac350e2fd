//! Processes that are killed, stopped in order, and frozen.

use crate::seconds;
use e2e::{Fault, GRACE, Part, Plan, Trial};

/// Kills in one campaign, each at a moment of its own.
const KILLS: usize = 3;

async fn kill(name: &str, part: Part, plan: Plan) {
    let mut trial = Trial::start(name, plan.recovers_within(5)).await;
    trial.suffer_all(vec![Fault::Kill(part); KILLS]).await;
    trial.verdict().await;
}

async fn kill_repeatedly(name: &str, part: Part) {
    let mut trial = Trial::start(name, Plan::large().recovers_within(5)).await;
    let times = trial.scaled(30, 3);
    let every = trial.scaled(seconds(2), seconds(1));
    trial.suffer(Fault::KillRepeatedly { part, times, every }).await;
    trial.verdict().await;
}

#[tokio::test]
async fn a_killed_scheduler() {
    kill("a_killed_scheduler", Part::Scheduler, Plan::large()).await;
}

#[tokio::test]
async fn a_killed_sender() {
    kill("a_killed_sender", Part::Sender, Plan::large()).await;
}

#[tokio::test]
async fn a_killed_sender_of_two() {
    kill(
        "a_killed_sender_of_two",
        Part::Sender,
        Plan::large().processes(1, 2, 1),
    )
    .await;
}

#[tokio::test]
async fn a_killed_messenger() {
    kill("a_killed_messenger", Part::Messenger, Plan::large()).await;
}

#[tokio::test]
async fn a_killed_messenger_of_two() {
    kill(
        "a_killed_messenger_of_two",
        Part::Messenger,
        Plan::large().processes(1, 1, 2),
    )
    .await;
}

#[tokio::test]
async fn a_killed_erp() {
    kill("a_killed_erp", Part::Erp, Plan::large()).await;
}

#[tokio::test]
async fn a_scheduler_killed_again_and_again() {
    kill_repeatedly("a_scheduler_killed_again_and_again", Part::Scheduler).await;
}

#[tokio::test]
async fn a_sender_killed_again_and_again() {
    kill_repeatedly("a_sender_killed_again_and_again", Part::Sender).await;
}

#[tokio::test]
async fn a_messenger_killed_again_and_again() {
    kill_repeatedly("a_messenger_killed_again_and_again", Part::Messenger).await;
}

#[tokio::test]
async fn a_rolling_restart_of_everything() {
    let plan = Plan::default().processes(2, 2, 2).recovers_within(5);
    let mut trial = Trial::start("a_rolling_restart_of_everything", plan).await;
    trial.suffer(Fault::RollingRestart).await;
    trial.verdict().await;
}

#[tokio::test]
async fn a_messenger_frozen_past_its_lease() {
    let plan = Plan::default().processes(1, 1, 2).recovers_within(5);
    let mut trial = Trial::start("a_messenger_frozen_past_its_lease", plan).await;
    trial
        .suffer(Fault::Freeze(Part::Messenger, GRACE + seconds(1)))
        .await;
    trial.verdict().await;
}

#[tokio::test]
async fn a_sender_frozen_past_its_lease() {
    let plan = Plan::default().processes(1, 2, 1).recovers_within(5);
    let mut trial = Trial::start("a_sender_frozen_past_its_lease", plan).await;
    let during = trial.scaled(seconds(10), seconds(5));
    trial.suffer(Fault::Freeze(Part::Sender, during)).await;
    trial.verdict().await;
}
