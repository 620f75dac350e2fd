//! One survey of many campaigns: each is answered for by itself, and no script holds Redis up for long.

use crate::ground::{Ground, granted, raw};
use campaign_core::contracts::Outcome;
use campaign_core::ids::CampaignId;
use campaign_streams::lane::{Survey, Surveyed};
use std::collections::BTreeMap;
use std::time::Duration;

const NEVER: Duration = Duration::from_mins(1);

impl Ground {
    async fn survey_all(&self, campaigns: &[CampaignId], idle: Duration) -> Vec<Surveyed> {
        granted(self.owner.survey(campaigns, idle).await)
    }

    /// Campaigns with so many messages each, all of them taken.
    async fn all_taken<const CAMPAIGNS: usize>(&self, messages: usize) -> [CampaignId; CAMPAIGNS] {
        let mut campaigns = [CampaignId(uuid::Uuid::nil()); CAMPAIGNS];
        for campaign in &mut campaigns {
            *campaign = self.open_with(1, messages as i64).await;
        }
        self.member().await.take_all(CAMPAIGNS * messages).await;
        campaigns
    }

    /// Scripts that ran while `work` did.
    async fn scripts(&self, work: impl Future<Output = ()>) -> u64 {
        let () = raw(&self.redis, &["CONFIG", "RESETSTAT"]).await;
        work.await;
        let stats: String = raw(&self.redis, &["INFO", "commandstats"]).await;
        let calls = stats
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        let calls = calls.and_then(|rest| rest.split(',').next());
        calls.and_then(|calls| calls.parse().ok()).unwrap_or_default()
    }
}

#[track_caller]
fn found(surveyed: &Surveyed) -> &Survey {
    match surveyed {
        Surveyed::Found(survey) => survey,
        other => panic!("not found: {other:?}"),
    }
}

/// P7: a campaign in trouble is no trouble of the others.
#[tokio::test]
async fn each_campaign_is_answered_for_by_itself() {
    let ground = Ground::new().await;
    let (healthy, lost) = (ground.open_with(1, 3).await, ground.open_with(1, 1).await);
    let (broken, behind) = (ground.open_with(1, 1).await, ground.open_with(1, 5).await);
    ground.lose_stream(lost).await;
    let () = raw(&ground.redis, &["SET", &ground.keys.alarms(broken), "no set"]).await;

    let surveyed = ground.survey_all(&[healthy, lost, broken, behind], NEVER).await;
    assert_eq!(surveyed.len(), 4);
    assert_eq!(found(&surveyed[0]).outstanding, 3);
    assert_eq!(surveyed[1], Surveyed::Missing);
    assert!(
        matches!(&surveyed[2], Surveyed::Broken(problem) if problem.contains("WRONGTYPE")),
        "{:?}",
        surveyed[2]
    );
    assert_eq!(found(&surveyed[3]).outstanding, 5);
    assert_eq!(ground.survey_all(&[], NEVER).await, []);
}

/// P4: and what each of them reported is not behind the last outcome that it is told.
#[tokio::test]
async fn one_survey_reclaims_of_several_campaigns() {
    let ground = Ground::new().await;
    let campaigns: [CampaignId; 2] = ground.all_taken(5).await;
    let idle = ground.open_with(1, 2).await;
    let asked = [campaigns[0], idle, campaigns[1]];
    let surveyed = ground.survey_all(&asked, Duration::ZERO).await;
    let reclaimed: Vec<u64> = surveyed.iter().map(|one| found(one).reclaimed).collect();
    assert_eq!(reclaimed, [5, 0, 5]);

    let mut uncertain = BTreeMap::new();
    for outcome in ground.outcomes().await {
        let Outcome::Message(message) = outcome else {
            panic!("of a message: {outcome:?}")
        };
        *uncertain.entry(message.key.campaign).or_insert(0) += 1;
    }
    assert_eq!(uncertain, campaigns.iter().map(|id| (*id, 5)).collect());
    let (_, last) = ground.owner.outcomes_span().await.expect("Redis answers");
    for one in &surveyed {
        assert_eq!((found(one).last_outcome, found(one).outcomes), (last, 10));
    }
    assert_eq!(found(&surveyed[2]).in_flight, 0);
    assert_eq!(ground.outstanding(campaigns[0]).await, 0);
}

#[tokio::test]
async fn a_script_looks_at_a_bounded_number_of_campaigns() {
    let ground = Ground::new().await;
    let mut campaigns = Vec::new();
    for _ in 0..130 {
        campaigns.push(ground.open(1).await);
    }
    ground.survey_all(&campaigns[..1], NEVER).await;
    let scripts = ground
        .scripts(async {
            assert_eq!(ground.survey_all(&campaigns, NEVER).await.len(), 130);
        })
        .await;
    assert_eq!(scripts, 3, "64, 64 and 2");
}

/// Each that is answered for was looked at to the end: otherwise something of a vanished member might be left.
#[tokio::test]
async fn a_script_that_settled_enough_leaves_the_rest_to_the_next() {
    let ground = Ground::new().await;
    let campaigns: [CampaignId; 4] = ground.all_taken(150).await;
    ground.survey_all(&campaigns, NEVER).await;
    let scripts = ground
        .scripts(async {
            let surveyed = ground.survey_all(&campaigns, Duration::ZERO).await;
            let reclaimed: Vec<u64> = surveyed.iter().map(|one| found(one).reclaimed).collect();
            assert_eq!(reclaimed, [150; 4]);
        })
        .await;
    assert_eq!(scripts, 2, "two campaigns each");
}
