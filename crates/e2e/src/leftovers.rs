//! What must be gone from Redis when everything is finished.

use crate::stack::Stack;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use std::time::Duration;
use testkit::wait_for_ok;

/// The streams whose entries are deleted once they are handled.
const CONTROL_STREAMS: [&str; 2] = ["campaign.scheduler", "campaign.sender"];
/// Every stream that a group of ours reads.
const GROUP_STREAMS: [&str; 4] = [
    "campaign.scheduler",
    "campaign.sender",
    "customer.events",
    "message.events",
];

impl Stack {
    /// Waits until nothing of finished campaigns is left: no entry, retry, snapshot or outcome, nothing pending in
    /// any group, and no member of a lane but the processes that run.
    pub async fn nothing_left_behind(&self, within: Duration) {
        let mut connection = self.redis.connection().await;
        wait_for_ok(within, "Redis to be tidy", async || {
            let left = leftovers(&mut connection, self.messengers.len()).await;
            if left.is_empty() {
                Ok(())
            } else {
                Err(left.join("; "))
            }
        })
        .await;
    }

    /// How many entries were set aside for a person.
    pub async fn dead_letters(&self) -> u64 {
        let mut connection = self.redis.connection().await;
        connection.xlen("dead-letter").await.expect("Redis answers")
    }

    /// Appends an entry that no service can read to every stream that a group or a ledger of ours reads, but the
    /// lanes' messages; how many.
    pub async fn poison_streams(&self) -> u64 {
        let mut connection = self.redis.connection().await;
        let mut streams: Vec<String> = keys(&mut connection, "*:outcomes").await;
        streams.extend(GROUP_STREAMS.map(str::to_owned));
        for stream in &streams {
            let id = poison(&mut connection, stream, "*").await;
            id.expect("Redis takes it");
        }
        streams.len() as u64
    }

    /// Appends such an entry as a campaign's next message. If the feeder is quicker, tries again.
    pub async fn poison_next_message(&self, campaign: &str) {
        let mut connection = self.redis.connection().await;
        let streams = keys(&mut connection, &format!("*:messages:{campaign}")).await;
        let stream = streams.first().expect("the campaign is in its lane");
        wait_for_ok(
            Duration::from_secs(5),
            "room for a poisoned message",
            async || {
                let info: redis::streams::StreamInfoStreamReply = connection.xinfo_stream(stream).await?;
                let (generation, seq) = info.last_generated_id.split_once('-').expect("an id");
                let next = seq.parse::<i64>().expect("a number") + 1;
                poison(&mut connection, stream, &format!("{generation}-{next}")).await
            },
        )
        .await;
    }
}

async fn poison(
    connection: &mut MultiplexedConnection,
    stream: &str,
    id: &str,
) -> redis::RedisResult<String> {
    connection
        .xadd(stream, id, &[("nobody", "reads"), ("body", "{\"this\":")])
        .await
}

async fn keys(connection: &mut MultiplexedConnection, pattern: &str) -> Vec<String> {
    connection.keys(pattern).await.expect("Redis answers")
}

async fn leftovers(connection: &mut MultiplexedConnection, messengers: usize) -> Vec<String> {
    let mut left = Vec::new();
    for pattern in ["*:messages:*", "*:alarms:*", "*:snapshot:*"] {
        left.extend(keys(connection, pattern).await);
    }
    for outcomes in keys(connection, "*:outcomes").await {
        let length: u64 = connection.xlen(&outcomes).await.expect("Redis answers");
        note(&mut left, length, &outcomes);
    }
    for running in keys(connection, "*:running").await {
        let length: u64 = connection.zcard(&running).await.expect("Redis answers");
        note(&mut left, length, &running);
    }
    for members in keys(connection, "*:members").await {
        let length: usize = connection.hlen(&members).await.expect("Redis answers");
        note(&mut left, length.saturating_sub(messengers) as u64, &members);
    }
    for stream in CONTROL_STREAMS {
        let length: u64 = connection.xlen(stream).await.expect("Redis answers");
        note(&mut left, length, stream);
    }
    for stream in GROUP_STREAMS {
        let pending = pending(connection, stream).await;
        note(&mut left, pending, &format!("pending of {stream}"));
    }
    left
}

fn note(left: &mut Vec<String>, count: u64, what: &str) {
    if count > 0 {
        left.push(format!("{count} in {what}"));
    }
}

async fn pending(connection: &mut MultiplexedConnection, stream: &str) -> u64 {
    let groups: redis::RedisResult<redis::streams::StreamInfoGroupsReply> =
        connection.xinfo_groups(stream).await;
    // A stream that was lost has no groups until somebody reads it again.
    groups.map_or(0, |reply| {
        reply.groups.iter().map(|group| group.pending as u64).sum()
    })
}
