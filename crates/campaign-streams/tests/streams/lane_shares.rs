//! P7: campaigns on one number share it by weight, and a small one never waits for a large one.

use crate::ground::{Ground, Member};
use campaign_core::ids::CampaignId;
use std::collections::HashMap;

/// How many of the next `total` messages each campaign gets, taken `at_once` at a time.
async fn shares(member: &mut Member, total: usize, at_once: usize) -> HashMap<CampaignId, usize> {
    let mut shares = HashMap::new();
    for _ in 0..total / at_once {
        for entry in member.take_all(at_once).await {
            *shares.entry(entry.campaign).or_default() += 1;
        }
    }
    shares
}

#[track_caller]
fn about(share: usize, expected: usize) {
    let slack = (expected / 10).max(3);
    assert!(
        share.abs_diff(expected) <= slack,
        "{share}, expected about {expected}"
    );
}

#[tokio::test]
async fn shares_follow_the_weights_whatever_is_taken_at_once() {
    for at_once in [1, 7, 30] {
        let ground = Ground::new().await;
        let mut member = ground.member().await;
        let weights = [1, 4, 16];
        let mut campaigns = Vec::new();
        for weight in weights {
            campaigns.push(ground.open_with(weight, 3_600).await);
        }
        let shares = shares(&mut member, 4_200, at_once).await;
        for (campaign, weight) in campaigns.iter().zip([1, 4, 16]) {
            about(shares[campaign], 200 * weight);
        }
    }
}

#[tokio::test]
async fn a_newcomer_neither_catches_up_nor_waits() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let old = ground.open_with(1, 900).await;
    shares(&mut member, 300, 10).await;
    let new = ground.open_with(1, 300).await;
    let shares = shares(&mut member, 200, 10).await;
    about(shares[&old], 100);
    about(shares[&new], 100);
}

#[tokio::test]
async fn a_campaign_that_was_idle_does_not_catch_up_either() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let (busy, idle) = (ground.open_with(1, 900).await, ground.open(1).await);
    shares(&mut member, 300, 10).await;
    ground.feed(idle, 1..=300).await;
    let shares = shares(&mut member, 200, 10).await;
    about(shares[&busy], 100);
    about(shares[&idle], 100);
}

#[tokio::test]
async fn a_small_campaign_never_waits_for_a_large_one() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    ground.open_with(1, 2_000).await;
    shares(&mut member, 200, 20).await;
    let small = ground.open_with(1, 10).await;
    assert_eq!(
        shares(&mut member, 30, 5).await[&small],
        10,
        "all of it among the next thirty"
    );
}

#[tokio::test]
async fn a_lane_verified_again_starves_none_of_its_campaigns() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let old = ground.open_with(1, 900).await;
    shares(&mut member, 300, 10).await;
    let again = ground
        .owner
        .verify(&ground.identity, crate::ground::UNHURRIED, &[member.instance])
        .await;
    crate::ground::granted(again);
    let new = ground.open_with(1, 300).await;
    let shares = shares(&mut member, 200, 10).await;
    about(shares[&old], 100);
    about(shares[&new], 100);
}

/// Each campaign that a take looks into costs Redis the same, whether it gives one message or sixteen.
#[tokio::test]
async fn a_small_take_is_not_cut_into_crumbs() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    for _ in 0..10 {
        ground.open_with(4, 100).await;
    }
    let mut of_all = HashMap::new();
    for _ in 0..10 {
        let taken = shares(&mut member, 14, 14).await;
        assert_eq!(taken.len(), 1, "{taken:?}");
        of_all.extend(taken);
    }
    assert_eq!(of_all.len(), 10, "and the next takes come from the others");
}
