//! Redis Cluster sends a script to the node of its declared keys: a key that it touches undeclared works by
//! luck. On a lane's one slot no server notices, so the test reads what the scripts really do.

use crate::ground::{
    EPOCH, Ground, OPTOUTS_KEPT, PATIENCE, RUNS, UNHURRIED, accepted, entries, failed, granted, id, phone,
    raw,
};
use campaign_core::contracts::Outcome;
use campaign_streams::lane::{LaneControls, OutcomeReader, Step, tell_optout};
use chrono::Utc;
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::{Redis, free_port, wait_for};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Everything that owners and members do, once at least.
async fn live_through_a_round(ground: &Ground) {
    let (mut one, mut other) = (ground.member().await, ground.member().await);
    let (first, second) = (ground.open_with(1, 4).await, ground.open_with(4, 4).await);
    let lanes = std::slice::from_ref(&ground.lane);
    tell_optout(&ground.streams, lanes, &phone(4), true, Utc::now())
        .await
        .expect("told");
    granted(
        ground
            .owner
            .control(first, &LaneControls { weight: 2, ..RUNS })
            .await,
    );
    granted(ground.owner.set_rate(UNHURRIED).await);
    let taken = one.take_all(7).await;
    assert_eq!(
        one.lane
            .snapshot(first)
            .await
            .expect("read")
            .expect("open")
            .template
            .campaign,
        first
    );
    let (last, rest) = taken.split_last().expect("seven");
    let mut steps: Vec<_> = rest
        .iter()
        .map(|entry| accepted(entry.campaign, entry.id))
        .collect();
    steps[0] = failed(rest[0].campaign, rest[0].id);
    steps[1] = Step::Parked {
        campaign: rest[1].campaign,
        id: rest[1].id,
        due_ms: 0,
        attempts: 1,
    };
    let left = Outcome::Left {
        instance: other.instance,
    };
    steps.push(Step::Event {
        outcome: left,
        trace: String::new(),
    });
    steps.push(Step::Refund { tokens: 1 });
    steps.push(Step::Slow {
        pause: Duration::from_millis(1),
    });
    one.settle(&steps).await;
    other.take_all(2).await;
    one.lane.recover(PATIENCE).await.expect("recovered");
    let survey = ground.survey(last.campaign, Duration::ZERO).await;
    assert!(survey.reclaimed > 0, "{survey:?}");
    granted(ground.owner.set_member(other.instance, None).await);

    let mut reader = OutcomeReader::new(&ground.streams, &ground.lane, Duration::from_millis(10));
    let read = reader.read(100).await.expect("read").outcomes;
    reader.delete(&read).await.expect("deleted");
    assert_eq!(granted(ground.owner.first_outcome().await), None);
    assert_eq!(granted(ground.owner.members_seen().await).len(), 1);
    let stray = entries(1, 9..=9);
    granted(
        ground
            .owner
            .feed(first, id(1, 8), Utc::now(), OPTOUTS_KEPT, &stray)
            .await,
    );
    let successor = ground.owner_of_epoch(EPOCH + 1);
    granted(successor.adopt().await);
    granted(successor.unverify().await);
    granted(successor.close(&[first, second]).await);
    granted(
        successor
            .verify(&ground.identity, UNHURRIED, &[one.instance])
            .await,
    );
    assert_eq!(
        campaign_streams::depths::of_lanes(&ground.streams)
            .await
            .expect("looked")
            .len(),
        1
    );
}

/// P1, and lanes that spread over the nodes of a cluster.
#[tokio::test]
async fn a_lane_lives_on_a_node_of_a_cluster() {
    // Redis would take its port and 10,000 more for the nodes' own talk, and that may be anyone's.
    let redis = Redis::options()
        .argument("--cluster-enabled", "yes")
        .argument("--cluster-port", &free_port().to_string())
        .start()
        .await;
    let () = raw(&redis, &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]).await;
    wait_for(PATIENCE, "the cluster to serve all slots", async || {
        let info: String = raw(&redis, &["CLUSTER", "INFO"]).await;
        info.contains("cluster_state:ok").then_some(())
    })
    .await;
    live_through_a_round(&Ground::on(redis, UNHURRIED).await).await;
}

/// P1: a script touches no key of a lane that it did not declare.
#[tokio::test]
async fn scripts_declare_every_key_they_touch() {
    let ground = Ground::new().await;
    let monitor = TcpStream::connect(ground.redis.address())
        .await
        .expect("connected");
    let mut lines = BufReader::new(monitor);
    lines.write_all(b"MONITOR\r\n").await.expect("written");
    let mut line = String::new();
    lines.read_line(&mut line).await.expect("answered");
    assert_eq!(line.trim(), "+OK");

    live_through_a_round(&ground).await;
    let _: String = raw(&ground.redis, &["ECHO", "the round is over"]).await;
    let (mut declared, mut scripts, mut touched) = (BTreeSet::new(), BTreeSet::new(), 0);
    loop {
        line.clear();
        lines.read_line(&mut line).await.expect("Redis lives");
        if line.contains("the round is over") {
            break;
        }
        let words: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        if words[0] == "EVALSHA" {
            let count: usize = words[2].parse().expect("the number of keys");
            declared = words[3..3 + count].iter().map(ToString::to_string).collect();
            scripts.insert(words[1].to_owned());
        } else if line.contains(" lua] ") {
            for key in words[1..].iter().filter(|word| word.contains("{pn:")) {
                assert!(declared.contains(*key), "undeclared: {}", line.trim());
                touched += 1;
            }
        }
    }
    assert_eq!(scripts.len(), 16, "every script of the lane ran");
    assert!(touched > 100, "{touched}");
}
