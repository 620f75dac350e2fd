//! One keeper walks all campaigns of a lane: what that costs, and that none of them is the others' trouble.

use crate::member::{Act, Member};
use crate::stage::{SOON, Stage, lane};
use campaign_core::campaign::CampaignStatus;
use campaign_core::ids::CampaignId;
use campaign_core::message::MessageState;
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
