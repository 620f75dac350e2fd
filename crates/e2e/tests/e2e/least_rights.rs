//! The whole system with the least rights there are: each service with a user of its own in Redis and a role of its
//! own in Postgres.

use e2e::{Servers, Stack, StackOptions};
use reqwest::Method;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::{Postgres, Redis};

pub(crate) const SERVICES: [&str; 4] = ["scheduler-svc", "sender-svc", "message-svc", "erp-mock-svc"];
const PEOPLE: (&str, &str) = ("admin", "password-of-admin");

/// Of a user of Redis, or of a role of Postgres.
pub(crate) fn password(user: &str) -> String {
    format!("password-of-{user}")
}

/// What `deploy/redis/users.sh` makes of the rules and of the passwords.
fn acl_file(folder: &Path) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/redis/users.sh");
    let variable = |user: &str| format!("REDIS_{}_PASSWORD", user.to_uppercase().replace('-', "_"));
    let users = SERVICES.into_iter().chain([PEOPLE.0]);
    let file = folder.join("users.acl");
    let written = std::process::Command::new(script)
        .envs(users.map(|user| (variable(user), password(user))))
        .arg(&file)
        .arg("true")
        .status();
    assert!(written.expect("it runs").success());
    file
}

/// A system whose services have a user and a role each.
pub(crate) async fn start(options: StackOptions) -> Stack {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::options()
        .append_only()
        .users(&acl_file(folder.path()), PEOPLE)
        .start()
        .await;
    let database = Postgres::start().await.database().await;
    let mut options = options;
    for user in SERVICES {
        let url = redis.url_of(user, &password(user));
        options.environment_of.push((user, "REDIS_URL", url));
    }
    for (service, setting) in [
        ("scheduler-svc", "SCHEDULER_DATABASE"),
        ("sender-svc", "SENDER_DATABASE"),
    ] {
        let role = format!("{}_{service}", database.name());
        let url = database.url_of(&role, &password(service));
        options.environment_of.push((service, "DATABASE_URL", url));
        let names: [&'static str; 2] = match setting {
            "SCHEDULER_DATABASE" => ["SCHEDULER_DATABASE_ROLE", "SCHEDULER_DATABASE_PASSWORD"],
            _ => ["SENDER_DATABASE_ROLE", "SENDER_DATABASE_PASSWORD"],
        };
        options.environment_of.push(("migrate", names[0], role));
        options
            .environment_of
            .push(("migrate", names[1], password(service)));
    }
    Stack::start_on(Servers { redis, database }, options).await
}

#[tokio::test]
async fn everything_that_people_do_works_and_nothing_was_refused_to_any_service() {
    let faults = r#"{"errors": [{"code": 131000, "share": 0.05}]}"#;
    let stack = start(StackOptions {
        customers: 1_500,
        throughput_per_second: 400,
        environment: vec![("MOCK_FAULTS", faults.to_owned())],
        ..StackOptions::default()
    })
    .await;
    let id = stack.create(json!({})).await;
    stack.schedule(&id, None).await;
    let begun = |campaign: &serde_json::Value| !campaign["progress"]["first_accepted_at"].is_null();
    stack
        .wait_until(&id, "the campaign to begin", Duration::from_secs(20), begun)
        .await;
    let post = async |path: String| stack.api(Method::POST, &path, None).await;
    post(format!("/v1/campaigns/{id}/pause")).await;
    // Redis loses everything, the rights excepted: the lane is cleared and built anew.
    stack.redis.flush().await;
    post(format!("/v1/campaigns/{id}/resume")).await;
    let cancelled = stack.create(json!({"segment": {"cities": ["Santos"]}})).await;
    stack.schedule(&cancelled, None).await;
    post(format!("/v1/campaigns/{cancelled}/cancel")).await;
    let suppression = json!({"phone": "+5511987654321", "reason": "asked by phone"});
    stack
        .api(Method::POST, "/v1/suppressions", Some(suppression))
        .await;
    stack.api(Method::GET, "/v1/queues", None).await;
    stack.api(Method::GET, "/v1/dead-letters", None).await;
    stack.api(Method::GET, "/v1/strays", None).await;
    let report = stack.finished(&id, Duration::from_mins(1)).await;
    report.assert_exactly_once();
    assert_eq!(report.total(), 1_500, "one row a customer");

    let mut redis = stack.redis.connection().await;
    let refused: Vec<redis::Value> = redis::cmd("ACL")
        .arg("LOG")
        .query_async(&mut redis)
        .await
        .expect("people may ask");
    // What newer clients say about themselves is refused in vain.
    let refused: Vec<String> = refused.iter().map(|entry| format!("{entry:?}")).collect();
    let refused: Vec<_> = refused
        .iter()
        .filter(|entry| !entry.contains("client|setinfo"))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
    for service in stack.services() {
        let log = service.log();
        assert!(!log.contains("permission denied"), "{}: {log}", service.name());
    }
}

/// What no service may do.
const NOBODY: [&str; 19] = [
    "FLUSHALL",
    "FLUSHDB",
    "CONFIG GET maxmemory-policy",
    "CONFIG SET maxmemory-policy allkeys-lru",
    "KEYS *",
    "SCAN 0",
    "GET secret",
    "SET mine 1",
    "SAVE",
    "SHUTDOWN",
    "REPLICAOF no one",
    "ACL LIST",
    "CLIENT LIST",
    "DEBUG SLEEP 0",
    "MONITOR",
    "SUBSCRIBE mine",
    "EVAL return(1) 0",
    "SCRIPT FLUSH",
    "FUNCTION LIST",
];

/// What is another's.
const FOREIGN: [(&str, &[&str]); 4] = [
    (
        "scheduler-svc",
        &[
            "DEL {pn:1}:header",
            "XADD {pn:1}:outcomes * a b",
            "HSET {pn:1}:header epoch 9",
            "SADD lanes 1",
        ],
    ),
    (
        "sender-svc",
        &[
            "XADD campaign.scheduler * a b",
            "XRANGE dead-letter - +",
            "XRANGE message.events - +",
        ],
    ),
    (
        "message-svc",
        &[
            "DEL {pn:1}:header",
            "SADD lanes 1",
            "XADD campaign.sender * a b",
            "XADD message.events * a b",
            "XREADGROUP GROUP g c STREAMS customer.events >",
            "PUBLISH wake:senders 1",
        ],
    ),
    (
        "erp-mock-svc",
        &[
            "HGET {pn:1}:header epoch",
            "XADD campaign.sender * a b",
            "XRANGE customer.events - +",
            "SMEMBERS lanes",
        ],
    ),
];

/// What a command is answered that somebody gives who logs in by this URL.
async fn answer(url: String, command: &str) -> Result<(), String> {
    let client = redis::Client::open(url).expect("a URL");
    let done = async {
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd(command).exec_async(&mut connection).await
    };
    done.await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn redis_refuses_every_service_what_is_not_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::options()
        .users(&acl_file(folder.path()), PEOPLE)
        .start()
        .await;
    let mut people = redis.connection().await;
    let mut wrong = Vec::new();
    for (service, foreign) in FOREIGN {
        for command in NOBODY.iter().chain(foreign) {
            let mut dry_run = redis::cmd("ACL");
            dry_run.arg("DRYRUN").arg(service);
            for word in command.split(' ') {
                dry_run.arg(word);
            }
            let answer: String = dry_run.query_async(&mut people).await.expect(command);
            if answer == "OK" {
                wrong.push(format!("{service} may {command}"));
            }
        }
        // Not only in words.
        let url = redis.url_of(service, &password(service));
        assert_eq!(answer(url.clone(), "PING").await, Ok(()), "{service} logs in");
        let refusal = answer(url, "FLUSHALL").await.expect_err("it may not");
        assert!(refusal.contains("permission"), "{service}: {refusal}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let refusal = answer(redis.url(), "PING")
        .await
        .expect_err("the default user is off");
    assert!(refusal.contains("Authentication required"), "{refusal}");
}
