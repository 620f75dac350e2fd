//! One keeper walks all campaigns of a lane: what that costs, and that none of them is the others' trouble.

use crate::member::{Act, Member};
use crate::stage::{SOON, Stage, lane};
use campaign_core::campaign::{CampaignStatus, HoldKind};
use campaign_core::ids::CampaignId;
use campaign_core::message::MessageState;
use campaign_store::{commit, holds};
use std::time::Duration;
use testkit::wait_for;

const CAMPAIGNS: usize = 10;
/// Walks that find nothing come four times a second.
const LOOKED_ON: Duration = Duration::from_secs(3);
/// A script for each walk, and some for what is done every few seconds.
const SCRIPTS_MAX: u64 = 25;

impl Stage {
    async fn all_fed(&self, id: CampaignId) {
        wait_for(SOON, "everything to be fed", async || {
            (self.campaign(id).await.status == CampaignStatus::Completed).then_some(())
        })
        .await;
    }

    /// Scripts that Redis has run so far.
    async fn scripts(&self) -> u64 {
        let stats = self.redis.info("commandstats").await;
        let calls = stats
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        let calls = calls.and_then(|rest| rest.split(',').next());
        calls.and_then(|calls| calls.parse().ok()).expect("scripts ran")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_looks_at_all_campaigns_in_one_step() {
    let stage = Stage::start(60).await;
    let mut campaigns = Vec::new();
    for _ in 0..CAMPAIGNS {
        campaigns.push(stage.send(|_| {}).await);
    }
    for id in campaigns {
        stage.all_fed(id).await;
    }
    // Nobody takes, so everything stays where it is.
    let before = stage.scripts().await;
    tokio::time::sleep(LOOKED_ON).await;
    let ran = stage.scripts().await - before;
    assert!((2..=SCRIPTS_MAX).contains(&ran), "{ran} scripts");
}

/// P7: it is left alone until somebody repairs it, and then goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_whose_keys_are_broken_keeps_no_other_up() {
    let stage = Stage::start(200).await;
    let broken = stage.send(|_| {}).await;
    stage.all_fed(broken).await;
    let alarms = stage.streams.keys().lane(&lane()).alarms(broken);
    let () = stage.redis.run(&["SET", &alarms, "this is no sorted set"]).await;
    let _member = Member::start(&stage.streams, |_| Act::Accept);
    let other = stage.send(|_| {}).await;
    stage.finished(other).await;

    let () = stage.redis.run(&["DEL", &alarms]).await;
    let repaired = stage.finished(broken).await;
    assert_eq!(repaired.count(MessageState::Uncertain), 0);
}

/// Its members can still take, so a hold must reach the lane though nothing else does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_that_is_left_alone_is_held_all_the_same() {
    let stage = Stage::start(20).await;
    let broken = stage.send(|_| {}).await;
    stage.all_fed(broken).await;
    let keys = stage.streams.keys().lane(&lane());
    let () = stage
        .redis
        .run(&["SET", &keys.alarms(broken), "this is no sorted set"])
        .await;
    // It cannot be opened anew either, which would hold it.
    stage.garble_templates().await;
    tokio::time::sleep(LOOKED_ON).await;
    let held =
        async || -> Option<String> { stage.redis.run(&["HGET", &keys.snapshot(broken), "held"]).await };
    assert_eq!(held().await.as_deref(), Some("0"));

    let mut transaction = stage.store.begin().await.expect("Postgres answers");
    holds::raise_campaign(&mut transaction, broken, HoldKind::Person, "test", "test", None)
        .await
        .expect("held");
    commit(transaction).await.expect("committed");
    wait_for(SOON, "the lane to hold it", async || {
        let held: Option<String> = stage.redis.run(&["HGET", &keys.snapshot(broken), "held"]).await;
        (held.as_deref() == Some("1")).then_some(())
    })
    .await;
}

/// An opt-out is kept while a message lies in the lane that was fed before it, also by an owner that has only begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_owner_forgets_no_opt_out_of_what_lies_in_the_lane() {
    let mut stage = Stage::start(1).await;
    let id = stage.send(|_| {}).await;
    stage.all_fed(id).await;
    let keys = stage.streams.keys().lane(&lane());
    let (messages, optouts) = (keys.messages(id), keys.optouts());
    // As if it had been fed an hour ago, and its recipient had opted out half an hour later.
    let now = chrono::Utc::now().timestamp_millis();
    let (fed, opted_out) = ((now - 3_600_000).to_string(), (now - 1_800_000).to_string());
    let phone = "+5511980000001";
    stage.senders.remove(0).stop().await;
    let _: u64 = stage.redis.run(&["XTRIM", &messages, "MAXLEN", "0"]).await;
    let _: String = stage
        .redis
        .run(&[
            "XADD", &messages, "1-2", "p", phone, "v", "[]", "f", &fed, "t", "",
        ])
        .await;
    let _: u64 = stage.redis.run(&["ZADD", &optouts, &opted_out, phone]).await;

    let before = stage.scripts().await;
    stage.add_sender().await;
    wait_for(SOON, "the new owner to walk", async || {
        (stage.scripts().await > before + 20).then_some(())
    })
    .await;
    let kept: u64 = stage.redis.run(&["ZCARD", &optouts]).await;
    assert_eq!(kept, 1);
}
