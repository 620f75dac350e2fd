//! A Redis of one's own.

use redis::AsyncCommands;
use testkit::Redis;

async fn get(redis: &Redis, key: &str) -> Option<String> {
    redis.connection().await.get(key).await.expect("Redis answers")
}

async fn set(redis: &Redis, key: &str, value: &str) {
    redis
        .connection()
        .await
        .set::<_, _, ()>(key, value)
        .await
        .expect("Redis answers");
}

#[tokio::test]
async fn two_servers_share_nothing() {
    let (one, other) = tokio::join!(Redis::start(), Redis::start());
    set(&one, "colour", "red").await;
    assert_eq!(get(&one, "colour").await.as_deref(), Some("red"));
    assert_eq!(get(&other, "colour").await, None);
}

#[tokio::test]
async fn an_append_only_server_keeps_every_answered_write_across_a_crash() {
    let mut redis = Redis::options().append_only().start().await;
    for number in 0..100 {
        set(&redis, &format!("key-{number}"), "kept").await;
    }
    redis.restart().await;
    assert_eq!(get(&redis, "key-99").await.as_deref(), Some("kept"));
    redis.restart_empty().await;
    assert_eq!(get(&redis, "key-99").await, None);
}

#[tokio::test]
async fn data_can_be_rolled_back() {
    let mut redis = Redis::options().append_only().start().await;
    set(&redis, "balance", "before").await;
    let earlier = redis.copy_data();
    set(&redis, "balance", "after").await;
    redis.restart_with(&earlier).await;
    assert_eq!(get(&redis, "balance").await.as_deref(), Some("before"));
}

#[tokio::test]
async fn a_frozen_server_answers_once_it_is_thawed() {
    let mut redis = Redis::start().await;
    let mut connection = redis.connection().await;
    redis.pause();
    let asking = tokio::spawn(async move { connection.set::<_, _, ()>("asked", "while frozen").await });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(!asking.is_finished(), "a frozen server does not answer");
    redis.resume();
    asking
        .await
        .expect("the task ends")
        .expect("the write is answered");
    assert_eq!(get(&redis, "asked").await.as_deref(), Some("while frozen"));
}

#[tokio::test]
async fn options_reach_the_server() {
    let redis = Redis::options()
        .max_memory("3mb")
        .argument("--databases", "3")
        .start()
        .await;
    let mut connection = redis.connection().await;
    let (_, memory): (String, String) = redis::cmd("CONFIG")
        .arg("GET")
        .arg("maxmemory")
        .query_async(&mut connection)
        .await
        .expect("answer");
    assert_eq!(memory, (3 * 1024 * 1024).to_string());
    set(&redis, "key", "value").await;
    redis.flush().await;
    assert_eq!(get(&redis, "key").await, None);
}

#[tokio::test]
#[should_panic(expected = "Bad directive")]
async fn a_server_that_does_not_start_says_why() {
    Redis::options()
        .argument("--no-such-directive", "1")
        .start()
        .await;
}
