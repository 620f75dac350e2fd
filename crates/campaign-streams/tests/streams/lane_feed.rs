//! Feeding, opening and closing: one owner, in order, and nothing twice.

use crate::ground::{EPOCH, Ground, OPTOUTS_KEPT, RUNS, accepted, entries, granted, id, opening, raw};
use campaign_core::ids::{CampaignId, Generation, InstanceId, Seq};
use campaign_streams::lane::{Fed, LaneControls, OpenCampaign, OwnerReply, Surveyed, directory};
use chrono::{TimeDelta, Utc};
use std::time::Duration;
use uuid::Uuid;

/// P2: appending is a comparison first, so that a feed repeated after a broken reply adds nothing.
#[tokio::test]
async fn a_feed_appends_only_where_it_believes_the_stream_ends() {
    let ground = Ground::new().await;
    let campaign = ground.open(1).await;
    let feed = async |believed, seqs| {
        let entries = entries(1, seqs);
        granted(
            ground
                .owner
                .feed(campaign, believed, Utc::now(), OPTOUTS_KEPT, &entries)
                .await,
        )
    };
    assert_eq!(feed(id(1, 0), 1..=3).await, Fed::Appended(id(1, 3)));
    assert_eq!(
        feed(id(1, 0), 1..=3).await,
        Fed::Elsewhere(Some(id(1, 3))),
        "the same again"
    );
    assert_eq!(
        feed(id(1, 2), 4..=5).await,
        Fed::Elsewhere(Some(id(1, 3))),
        "it believes too little"
    );
    assert_eq!(
        feed(id(1, 4), 5..=5).await,
        Fed::Elsewhere(Some(id(1, 3))),
        "it believes too much"
    );
    assert_eq!(ground.outstanding(campaign).await, 3);
    assert_eq!(feed(id(1, 3), 4..=5).await, Fed::Appended(id(1, 5)));

    granted(ground.owner.close(&[campaign]).await);
    assert_eq!(
        feed(id(1, 5), 6..=6).await,
        Fed::Elsewhere(None),
        "there is no stream"
    );
    let created: bool = raw(&ground.redis, &["EXISTS", &ground.keys.messages(campaign)]).await;
    assert!(!created);
}

/// P9: rows read before the oldest opt-out that the lane still knows are not queued.
#[tokio::test]
async fn a_feed_that_read_its_rows_too_long_ago_appends_nothing() {
    let ground = Ground::new().await;
    let campaign = ground.open(1).await;
    let entries = entries(1, 1..=2);
    let read_at = Utc::now() - TimeDelta::seconds(60);
    let feed = async |kept| {
        granted(
            ground
                .owner
                .feed(campaign, id(1, 0), read_at, kept, &entries)
                .await,
        )
    };
    assert_eq!(feed(Duration::from_secs(30)).await, Fed::Late);
    assert_eq!(ground.outstanding(campaign).await, 0);
    assert_eq!(feed(Duration::from_secs(90)).await, Fed::Appended(id(1, 2)));
}

/// P1, P2: one that is no longer the owner changes nothing, whatever it tries.
#[tokio::test]
async fn an_owner_of_a_lower_epoch_changes_nothing() {
    let ground = Ground::on(Ground::digestible_redis().await, 100).await;
    let campaign = ground.open_with(1, 2).await;
    ground.member().await.take_all(1).await;
    granted(ground.owner_of_epoch(EPOCH + 1).adopt().await);
    let before = ground.digest().await;

    let zombie = &ground.owner;
    let entries = entries(1, 3..=3);
    let stranger = InstanceId(Uuid::new_v4());
    let over = [
        (
            "adopt",
            zombie.adopt().await.expect("an answer") == OwnerReply::Superseded,
        ),
        (
            "unverify",
            zombie.unverify().await.expect("an answer") == OwnerReply::Superseded,
        ),
        (
            "verify",
            zombie
                .verify(&ground.identity, 9, &[stranger])
                .await
                .expect("an answer")
                == OwnerReply::Superseded,
        ),
        (
            "member",
            zombie.set_member(stranger, Some("x")).await.expect("an answer") == OwnerReply::Superseded,
        ),
        (
            "rate",
            zombie.set_rate(9).await.expect("an answer") == OwnerReply::Superseded,
        ),
        (
            "open",
            zombie
                .open(&opening(CampaignId(Uuid::now_v7()), RUNS))
                .await
                .expect("an answer")
                == OwnerReply::Superseded,
        ),
        (
            "control",
            zombie
                .control(campaign, &LaneControls { held: true, ..RUNS })
                .await
                .expect("an answer")
                == OwnerReply::Superseded,
        ),
        (
            "feed",
            zombie
                .feed(campaign, id(1, 2), Utc::now(), OPTOUTS_KEPT, &entries)
                .await
                .expect("an answer")
                == OwnerReply::Superseded,
        ),
        (
            "survey",
            zombie
                .survey(&[campaign], Duration::ZERO)
                .await
                .expect("an answer")
                == OwnerReply::Superseded,
        ),
        (
            "close",
            zombie.close(&[campaign]).await.expect("an answer") == OwnerReply::Superseded,
        ),
    ];
    let went_through: Vec<_> = over.iter().filter(|(_, refused)| !refused).collect();
    assert!(went_through.is_empty(), "{went_through:?}");
    assert_eq!(ground.digest().await, before, "not a byte changed");
}

/// P2: a round begins where its rows begin, and only on a stream that the last one left empty.
#[tokio::test]
async fn a_new_round_continues_an_emptied_stream_behind_its_start() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    let campaign = ground.open_with(1, 2).await;
    let round = |generation, start| OpenCampaign {
        generation: Generation(generation),
        start: Seq(start),
        ..opening(campaign, RUNS)
    };
    let open = async |generation, start| granted(ground.owner.open(&round(generation, start)).await).last;
    assert_eq!(
        open(1, 0).await,
        id(1, 2),
        "the same round again stays where it is"
    );
    assert_eq!(
        open(2, 40).await,
        id(1, 2),
        "what is left of the last round is not passed over"
    );

    let taken = member.take_all(2).await;
    member
        .settle(
            &taken
                .iter()
                .map(|entry| accepted(campaign, entry.id))
                .collect::<Vec<_>>(),
        )
        .await;
    assert_eq!(open(2, 40).await, id(2, 40));
    assert_eq!(open(2, 40).await, id(2, 40), "a second time changes nothing");
    let late = entries(1, 3..=3);
    let fed = ground
        .owner
        .feed(campaign, id(1, 2), Utc::now(), OPTOUTS_KEPT, &late)
        .await;
    assert_eq!(
        granted(fed),
        Fed::Elsewhere(Some(id(2, 40))),
        "nothing re-enters the round it left"
    );
    let next = entries(2, 41..=42);
    let fed = ground
        .owner
        .feed(campaign, id(2, 40), Utc::now(), OPTOUTS_KEPT, &next)
        .await;
    assert_eq!(granted(fed), Fed::Appended(id(2, 42)));
    assert_eq!(member.take_all(2).await[0].id, id(2, 41));
}

/// P6: a campaign that is over leaves nothing behind.
#[tokio::test]
async fn closing_drops_every_key_of_a_campaign() {
    let ground = Ground::new().await;
    let (over, other) = (ground.open_with(1, 3).await, ground.open_with(1, 1).await);
    ground.member().await.take_all(1).await;
    granted(ground.owner.close(&[over]).await);
    let keys: Vec<String> = raw(&ground.redis, &["KEYS", "*"]).await;
    assert!(
        keys.iter().all(|key| !key.contains(&over.to_string())),
        "{keys:?}"
    );
    assert_eq!(ground.owner.campaigns().await.expect("Redis answers"), [other]);
    assert_eq!(
        granted(ground.owner.survey(&[over], Duration::ZERO).await),
        [Surveyed::Missing]
    );
    assert_eq!(
        directory(&ground.streams).await.expect("Redis answers"),
        std::slice::from_ref(&ground.lane)
    );
}

/// P1: an owner that died before it recorded what it appended, and a stream that is lost: the next owner must not
/// take it for one that was never fed.
#[tokio::test]
async fn a_stream_that_is_lost_is_not_opened_as_a_new_one() {
    let ground = Ground::new().await;
    let campaign = ground.open_with(1, 2).await;
    ground.lose_stream(campaign).await;
    let opened = granted(ground.owner.open(&opening(campaign, RUNS)).await);
    assert_eq!(opened.last, id(0, 0), "before every round");
    granted(ground.owner.close(&[campaign]).await);
    let opened = granted(ground.owner.open(&opening(campaign, RUNS)).await);
    assert_eq!(opened.last, id(1, 0), "after a rebuild it begins anew");
}
