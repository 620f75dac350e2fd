//! The roles of the services: each may run its own statements, and may not write what is another's.

use crate::fixture::database;
use crate::statements::{Statement, prepared};
use campaign_store::roles::{self, RoleOf};
use campaign_store::{PoolConfig, Store, StoreError};
use sqlx::{AssertSqlSafe, Executor};

/// Statements of each service: whole modules, or single ones.
const SCHEDULER: &[&str] = &[
    "accounts.",
    "api_keys.",
    "audit.",
    "campaigns.",
    "holds.",
    "idempotency.",
    "phone_numbers.",
    "portfolios.",
    "reports.",
    "suppressions.",
    "templates.",
    "requests.create",
    "requests.get",
    "audience.present_customers",
    "audience.present_phones",
    "migrator.",
    "pool.",
];
const SENDER: &[&str] = &[
    "audience.",
    "counters.",
    "dispatches.",
    "lanes.",
    "messages.",
    "messaging_limits.",
    "rounds.",
    "requests.waiting",
    "requests.mark_applied",
    "suppressions.add",
    "suppressions.among",
    "suppressions.opt_in",
    "suppressions.remove",
    "templates.get",
    "campaigns.lock",
    "campaigns.by_ids",
    "campaigns.set_status",
    "campaigns.set_finished",
    "holds.raise_campaign",
    "holds.lift_campaign",
    "holds.raise_lane",
    "holds.lanes_of_account",
    "holds.lock_campaign",
    "holds.lock_running",
    "migrator.has_table",
    "pool.",
];

/// What no service may do.
const NOBODY: &[&str] = &[
    "DROP TABLE messages",
    "TRUNCATE messages",
    "DELETE FROM messages",
    "DELETE FROM campaigns",
    "DELETE FROM campaign_changes",
    "UPDATE audit_log SET actor = 'nobody'",
    "DELETE FROM audit_log",
    "DELETE FROM _sqlx_migrations",
    "CREATE TABLE mine (id integer)",
    "ALTER TABLE campaigns ADD COLUMN mine integer",
    "SELECT rolpassword FROM pg_authid",
    "CREATE ROLE another",
    "COPY messages TO PROGRAM 'true'",
];
const NOT_THE_SCHEDULER: &[&str] = &[
    "UPDATE messages SET state = 'accepted'",
    "INSERT INTO messages (campaign, seq) VALUES (gen_random_uuid(), 1)",
    "UPDATE campaign_counters SET total = 0",
    "UPDATE dispatches SET enqueued_seq = 0",
    "UPDATE lanes SET epoch = epoch + 1",
    "DELETE FROM again",
    "UPDATE requests SET applied_at = now()",
    "UPDATE api_keys SET role = 'admin'",
    "UPDATE campaign_changes SET reason = ''",
    "UPDATE portfolio_usage SET used = 0",
    "DELETE FROM portfolio_recipients",
];
const NOT_THE_SENDER: &[&str] = &[
    "SELECT key_hash FROM api_keys",
    "INSERT INTO api_keys (id, name) VALUES (gen_random_uuid(), 'mine')",
    "UPDATE api_keys SET revoked_at = NULL",
    "UPDATE campaigns SET audience = '{}'",
    "UPDATE campaigns SET scheduled_at = now()",
    "INSERT INTO campaigns (id, name) VALUES (gen_random_uuid(), 'mine')",
    "UPDATE templates SET components = '[]'",
    "UPDATE phone_numbers SET throughput_per_second = 1",
    "UPDATE requests SET kind = 'resend_failed'",
    "DELETE FROM requests",
    "UPDATE portfolios SET messaging_limit = NULL",
    "SELECT access_token_secret FROM business_accounts",
    "SELECT * FROM audit_log",
    "INSERT INTO audit_log (actor, action, subject, details) VALUES ('', '', '', '{}')",
    "DELETE FROM lane_holds",
    "SELECT ensure_message_partitions(now(), 1)",
];

/// Makes a role with the rights of a service, tries what it may do and what it may not, and drops it.
async fn try_role(of: RoleOf, own: &[&str], foreign: &[&str]) {
    let database = database().await;
    let store =
        Store::lazy(&PoolConfig::new(database.url(), "rights-tests")).expect("testkit's URLs are valid");
    let mut connection = store.connection().await.expect("a connection");
    let mut run = async |sql: String| {
        connection
            .execute(sqlx::raw_sql(AssertSqlSafe(sql)))
            .await
            .map(drop)
    };
    let role = format!("{}_rights", database.name());
    run(format!("CREATE ROLE {role}"))
        .await
        .expect("a superuser makes roles");
    // More than it should have, from some earlier time.
    run(format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"))
        .await
        .expect("granted");
    let mut granting = store.connection().await.expect("a connection");
    roles::grant(&mut granting, of, &role, None)
        .await
        .expect("the rights");

    run(format!("SET ROLE {role}"))
        .await
        .expect("a superuser becomes anybody");
    let mut wrong = Vec::new();
    let statements = prepared();
    let is_own = |statement: &&Statement| {
        own.iter().any(|name| match name.strip_suffix('.') {
            Some(module) => statement.name.split('.').next() == Some(module),
            None => statement.name == *name,
        })
    };
    let mut tried = 0;
    for Statement { name, sql } in statements.iter().filter(is_own) {
        let is_used = |number: &usize| sql.contains(&format!("${number}"));
        let parameters = (1..100).take_while(is_used).count();
        let nulls = vec!["NULL"; parameters].join(", ");
        let arguments = if nulls.is_empty() {
            nulls
        } else {
            format!("({nulls})")
        };
        run(format!("PREPARE own AS\n{sql}")).await.expect(name);
        if let Err(error) = run(format!("EXPLAIN EXECUTE own{arguments}")).await {
            wrong.push(format!("{name}: {error}"));
        }
        run("DEALLOCATE own".to_owned()).await.expect(name);
        tried += 1;
    }
    for sql in NOBODY.iter().chain(foreign) {
        match run((*sql).to_owned()).await {
            Err(error) if is_refusal(&error) => {}
            other => wrong.push(format!("{sql}: {other:?}")),
        }
    }
    run("RESET ROLE".to_owned()).await.expect("back");
    run(format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await
        .expect("dropped");
    assert!(tried > own.len(), "{tried} statements");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// SQLSTATE 42501 is insufficient privilege.
fn is_refusal(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some("42501"))
}

#[tokio::test]
async fn the_scheduler_may_decide_and_not_touch_what_happened() {
    try_role(RoleOf::Scheduler, SCHEDULER, NOT_THE_SCHEDULER).await;
}

#[tokio::test]
async fn the_sender_may_keep_the_ledger_and_not_touch_what_people_decide() {
    try_role(RoleOf::Sender, SENDER, NOT_THE_SENDER).await;
}

#[tokio::test]
async fn a_role_that_is_no_name_is_refused_before_anything_is_run() {
    let database = database().await;
    let store =
        Store::lazy(&PoolConfig::new(database.url(), "rights-tests")).expect("testkit's URLs are valid");
    let mut connection = store.connection().await.expect("a connection");
    let refused = roles::grant(
        &mut connection,
        RoleOf::Sender,
        "x\"; DROP TABLE messages; --",
        None,
    )
    .await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
}
