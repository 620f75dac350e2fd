//! Starting in time, with one scheduler or several, with Redis or without.

use crate::harness::{PATIENCE, Scheduler};
use campaign_store::campaigns;
use chrono::{DateTime, Duration, Utc};
use redis_entries::entries;
use serde_json::json;

/// A campaign starts within this time of its schedule.
const LATENESS_MAX_MS: i64 = 250;

#[tokio::test]
async fn a_campaign_starts_within_250_ms_of_its_time_and_is_announced() {
    let mut scheduler = Scheduler::start().await;
    scheduler.replica(&[]).await;
    scheduler.with_account().await;
    let mut ids = Vec::new();
    for number in 0..5 {
        let id = scheduler.draft().await;
        let at = Utc::now() + Duration::milliseconds(1_200 + 37 * number);
        let body = json!({"scheduled_at": at.to_rfc3339()});
        scheduler
            .post(&format!("/v1/campaigns/{id}/schedule"), body)
            .await
            .expect(200);
        ids.push((id, at));
    }
    for (id, at) in &ids {
        let shown = scheduler.wait_for_status(id, "SENDING").await;
        let started: DateTime<Utc> = shown["started_at"].as_str().unwrap().parse().unwrap();
        let late_ms = (started - at).num_milliseconds();
        assert!(
            (0..=LATENESS_MAX_MS).contains(&late_ms),
            "it started {late_ms} ms late"
        );
    }
    let announced = entries(&scheduler.redis, "campaign.sender").await;
    for (id, _) in &ids {
        assert!(
            announced.iter().any(|body| body.contains(id.as_str())),
            "{id} in {announced:?}"
        );
    }
}

/// Three replicas, one tick a minute: its id is the start of the minute by Redis's clock.
#[tokio::test]
async fn all_replicas_together_make_one_tick_a_minute() {
    let minute = || Utc::now().timestamp() / 60;
    let begun = minute();
    let mut scheduler = Scheduler::start_with(&["--precise-wakeup", "false"]).await;
    for _ in 0..2 {
        let replica = scheduler.replica(&["--precise-wakeup", "false"]).await;
        scheduler.wait_until_ready(&replica).await;
    }
    let (last_id, added) = redis_entries::position(&scheduler.redis, "campaign.scheduler").await;
    let (milliseconds, sequence) = last_id.split_once('-').unwrap();
    assert_eq!(
        (milliseconds.parse::<i64>().unwrap() % 60_000, sequence),
        (0, "0"),
        "{last_id}"
    );
    assert!((1..=minute() - begun + 1).contains(&added), "{added} ticks");
}

/// The real process: it becomes ready, and ends well when it is told to.
#[tokio::test]
async fn the_process_stops_cleanly() {
    let scheduler = Scheduler::start().await;
    let mut process = testkit::ServiceProcess::options("scheduler-svc")
        .program(env!("CARGO_BIN_EXE_scheduler-svc"))
        .envs(
            scheduler
                .settings()
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        )
        .start_ready()
        .await;
    let status = process.terminate(PATIENCE).await;
    assert!(status.success(), "{status}: {}", process.log());
}

/// Without the precise wake-up only the minute's tick starts campaigns; the tick is made by hand here, so that
/// the test need not wait for a minute.
#[tokio::test]
async fn the_tick_alone_starts_a_campaign() {
    let scheduler = Scheduler::start_with(&["--precise-wakeup", "false"]).await;
    scheduler.with_account().await;
    let id = scheduler.draft().await;
    scheduler
        .act(&format!("/v1/campaigns/{id}/schedule"))
        .await
        .expect(200);
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let shown = scheduler.get(&format!("/v1/campaigns/{id}")).await.expect(200);
    if shown["status"] == "SCHEDULED" {
        redis_entries::tick(&scheduler.redis).await;
    }
    scheduler.wait_for_status(&id, "SENDING").await;
}

#[tokio::test]
async fn without_any_tick_a_scheduler_looks_by_itself() {
    let mut scheduler =
        Scheduler::start_with(&["--precise-wakeup", "false", "--tick-silence-ms", "1000"]).await;
    scheduler.with_account().await;
    let id = scheduler.draft().await;
    scheduler
        .act(&format!("/v1/campaigns/{id}/schedule"))
        .await
        .expect(200);
    scheduler.redis.kill();
    let shown = scheduler.wait_for_status(&id, "SENDING").await;
    assert!(
        shown["started_at"].is_string(),
        "Redis is away, and it started all the same"
    );
}

#[tokio::test]
async fn what_no_sender_took_up_is_announced_again() {
    let scheduler = Scheduler::start_with(&["--precise-wakeup", "false"]).await;
    scheduler.with_account().await;
    let id = scheduler.draft().await;
    // As a crash between commit and announcement leaves it.
    scheduler
        .as_sender(&format!(
            "UPDATE campaigns SET status = 'SENDING', started_at = now() - interval '2 seconds' WHERE id = '{id}'"
        ))
        .await;
    redis_entries::tick(&scheduler.redis).await;
    testkit::wait_for(PATIENCE, "the campaign to be announced", async || {
        entries(&scheduler.redis, "campaign.sender")
            .await
            .iter()
            .any(|body| body.contains(&id))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_missed_time_follows_the_policy() {
    let scheduler = Scheduler::start_with(&["--precise-wakeup", "false"]).await;
    scheduler.with_account().await;
    let mut ids = Vec::new();
    for policy in ["start", "skip", "wait"] {
        let id = scheduler.draft().await;
        let hour_ago = format!(
            "UPDATE campaigns SET status = 'SCHEDULED', scheduled_at = now() - interval '1 hour',
                 misfire_policy = '{policy}' WHERE id = '{id}'"
        );
        scheduler.as_sender(&hour_ago).await;
        ids.push(id);
    }
    redis_entries::tick(&scheduler.redis).await;
    scheduler.wait_for_status(&ids[0], "SENDING").await;
    let skipped = scheduler.wait_for_status(&ids[1], "CANCELLED").await;
    assert!(
        skipped["status_reason"]
            .as_str()
            .unwrap()
            .contains("passed while the engine was down")
    );
    assert!(skipped["finished_at"].is_string());
    let waiting = scheduler.wait_for_status(&ids[2], "PAUSED").await;
    assert_eq!(waiting["holds"][0]["kind"], "misfire");
    let resumed = scheduler.act(&format!("/v1/campaigns/{}/resume", ids[2])).await;
    assert_eq!(resumed.body["campaign"]["status"], "SENDING", "{}", resumed.text);
}

/// Two schedulers and 300 campaigns that are due at once: each starts and is announced.
#[tokio::test]
async fn two_schedulers_share_what_is_due() {
    const CAMPAIGNS: usize = 300;
    let mut scheduler = Scheduler::start().await;
    scheduler.with_account().await;
    let id = scheduler.draft().await;
    scheduler.replica(&[]).await;
    let copies = format!(
        "INSERT INTO campaigns (id, name, template_id, account_id, phone_number_id, audience, mapping, priority,
             scheduled_at, time_zone, misfire_policy, on_uncertain, status, created_by)
         SELECT gen_random_uuid(), name, template_id, account_id, phone_number_id, audience, mapping, priority,
             now(), time_zone, misfire_policy, on_uncertain, 'SCHEDULED', created_by
         FROM campaigns, generate_series(1, {CAMPAIGNS}) WHERE id = '{id}'"
    );
    scheduler.as_sender(&copies).await;
    testkit::wait_for(PATIENCE, "every campaign to start", async || {
        let mut connection = scheduler.store.connection().await.unwrap();
        let counts = campaigns::count_by_status(&mut connection).await.unwrap();
        let sending: i64 = counts
            .iter()
            .filter(|row| row.0.as_str() == "SENDING")
            .map(|row| row.2)
            .sum();
        (sending == CAMPAIGNS as i64).then_some(())
    })
    .await;
    testkit::wait_for(PATIENCE, "every campaign to be announced", async || {
        let announced = entries(&scheduler.redis, "campaign.sender").await;
        let distinct: std::collections::BTreeSet<_> = announced.iter().collect();
        (distinct.len() == CAMPAIGNS).then_some(())
    })
    .await;
}

/// Looking into Redis, and making a tick.
mod redis_entries {
    use campaign_core::contracts::TickKind;
    use campaign_streams::{RedisConfig, Streams, ticks};
    use testkit::Redis;

    /// The bodies in a stream.
    pub(super) async fn entries(redis: &Redis, stream: &str) -> Vec<String> {
        let mut client = tokio::process::Command::new("redis-cli");
        let output = client
            .args(["-u", &redis.url(), "XRANGE", stream, "-", "+"])
            .output()
            .await
            .unwrap();
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter(|line| line.contains("campaign\":"))
            .map(str::to_owned)
            .collect()
    }

    /// The last id of a stream, and how many entries it was ever given.
    pub(super) async fn position(redis: &Redis, stream: &str) -> (String, i64) {
        let mut client = tokio::process::Command::new("redis-cli");
        let output = client
            .args(["-u", &redis.url(), "XINFO", "STREAM", stream])
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let field = |name: &str| {
            let mut lines = text.lines().skip_while(|line| *line != name);
            lines
                .nth(1)
                .unwrap_or_else(|| panic!("{name} in {text}"))
                .to_owned()
        };
        (
            field("last-generated-id"),
            field("entries-added").parse().unwrap(),
        )
    }

    pub(super) async fn tick(redis: &Redis) {
        let streams = Streams::lazy(RedisConfig::new(redis.url())).unwrap();
        ticks::publish(&streams, TickKind::Asked, None).await.unwrap();
    }
}
