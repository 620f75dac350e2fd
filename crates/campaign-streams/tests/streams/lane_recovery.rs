//! P4: after a broken reply a member finds what it was given and never heard of.

use crate::ground::{Ground, Member, PATIENCE, failed, id, phone, streams_at};
use campaign_streams::lane::{Take, TakenEntry, tell_optout};
use campaign_streams::{RedisConfig, Streams};
use chrono::Utc;
use std::time::Duration;
use testkit::{FaultProxy, Mode, wait_for_ok};

/// What a recovery gives, once the connection is made anew.
async fn recover(member: &mut Member, lease: Duration) -> Vec<TakenEntry> {
    let recovered = wait_for_ok(PATIENCE, "Redis to be reached again", async || {
        member.lane.recover(lease).await
    })
    .await;
    match recovered {
        Take::Messages { entries, .. } => entries,
        refused => panic!("refused: {refused:?}"),
    }
}

#[tokio::test]
async fn a_take_whose_answer_was_lost_is_recovered() {
    let ground = Ground::new().await;
    let proxy = FaultProxy::start(ground.redis.address()).await;
    let mut member = Member::new(&streams_at(proxy.url("redis")), &ground.identity);
    let admitted = ground
        .owner
        .set_member(member.instance, Some(&ground.identity))
        .await;
    admitted.expect("admitted");
    let campaign = ground.open_with(1, 5).await;
    let in_hand = member.take_all(1).await.remove(0);
    let lanes = std::slice::from_ref(&ground.lane);
    tell_optout(&ground.streams, lanes, &phone(3), true, Utc::now())
        .await
        .expect("told");

    proxy.set(Mode::DropReplies).await;
    let lost = {
        let take = member.lane.take(2);
        tokio::pin!(take);
        // The request arrives and takes; its answer never comes.
        testkit::wait_for(PATIENCE, "the entries to be taken", async || {
            assert!(futures::poll!(&mut take).is_pending(), "no answer passes");
            (ground.pending(campaign).await == 3).then_some(())
        })
        .await;
        proxy.set(Mode::Reset).await;
        take.await
    };
    assert!(lost.is_err(), "{lost:?}");
    proxy.set(Mode::Pass).await;

    let recovered = recover(&mut member, PATIENCE).await;
    let ids: Vec<_> = recovered.iter().map(|entry| entry.id).collect();
    assert_eq!(
        ids,
        [in_hand.id, id(1, 2), id(1, 3)],
        "what it knows of, and what it does not"
    );
    assert_eq!(
        recovered.iter().map(|entry| entry.opted_out).collect::<Vec<_>>(),
        [false, false, true]
    );
    assert_eq!(
        recovered[1].message.as_ref().expect("it can be read").phone,
        phone(2)
    );
    assert_eq!(recovered[1].attempt, 1);
    assert_eq!(
        member.take_all(2).await[0].id,
        id(1, 4),
        "nothing was taken twice"
    );

    let settled = member.settle(&[failed(campaign, id(1, 3))]).await;
    assert!(settled.published[0].is_some(), "they are its own");
}

/// A connection that swallows answers, and does not break, must not swallow a member for as long as it lasts.
#[tokio::test]
async fn a_silent_connection_is_made_anew() {
    let ground = Ground::new().await;
    let proxy = FaultProxy::start(ground.redis.address()).await;
    let impatient = Streams::lazy(RedisConfig {
        response_timeout: Duration::from_millis(300),
        ..RedisConfig::new(proxy.url("redis"))
    });
    let mut member = Member::new(&impatient.expect("the URL can be read"), &ground.identity);
    let admitted = ground
        .owner
        .set_member(member.instance, Some(&ground.identity))
        .await;
    admitted.expect("admitted");
    ground.open_with(1, 2).await;
    member.take_all(1).await;
    proxy.set(Mode::DropReplies).await;
    assert!(member.lane.take(1).await.is_err(), "no answer comes");
    proxy.set(Mode::Pass).await;
    let recovered = recover(&mut member, PATIENCE).await;
    assert_eq!(recovered.len(), 2, "what the swallowed answer said");
}

#[tokio::test]
async fn only_entries_younger_than_the_lease_are_recovered() {
    let ground = Ground::new().await;
    let mut member = ground.member().await;
    ground.open_with(1, 2).await;
    member.take_all(1).await;
    let lease = Duration::from_millis(50);
    tokio::time::sleep(lease + Duration::from_millis(10)).await; // its age is what is tried
    member.take_all(1).await;
    let young: Vec<_> = recover(&mut member, lease)
        .await
        .iter()
        .map(|entry| entry.id)
        .collect();
    assert!(!young.contains(&id(1, 1)), "{young:?}");
    let mut stranger = ground.stranger();
    assert!(matches!(
        stranger.lane.recover(PATIENCE).await,
        Ok(Take::Stranger { .. })
    ));
}
