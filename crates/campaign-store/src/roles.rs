//! What the role of each service may do: one writer per fact, kept by Postgres itself.
//!
//! The tables belong to whoever runs the migrations. `message-svc` and the mocks have no database. The rights are
//! given anew after every migration; what a role had and is not listed here is taken away.
//!
//! Two things are written from both sides, and only there: the suppressions (people add some by hand, the
//! ledger those that recipients asked for), and the state of campaigns and holds (people decide; the ledger
//! completes, finishes and stops). Of a campaign the sender changes no column that says what people decided.

use crate::{Connection, Result, StoreError};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection as _, Row};

mod scram;

/// Longest name of a role (Postgres cuts longer ones).
pub const ROLE_NAME_MAX: usize = 63;
/// Bytes of the salt that a password is stored with.
pub const SALT_BYTES: usize = 16;

/// Whose rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleOf {
    /// `scheduler-svc`: what people decide.
    Scheduler,
    /// `sender-svc`: what happened.
    Sender,
}

/// A password to give to a role, which is made if it is missing.
pub struct RolePassword<'a> {
    /// Printable ASCII.
    pub password: &'a SecretString,
    /// Random.
    pub salt: [u8; SALT_BYTES],
}

const SCHEDULER: &[&str] = &[
    "SELECT ON _sqlx_migrations, business_accounts, templates, phone_numbers, campaigns, campaign_changes, \
     campaign_holds, lane_holds, requests, api_keys, audit_log, idempotency_keys, suppressions, opt_ins, \
     dispatches, messages, campaign_counters, portfolios, portfolio_usage, template_syncs, price_list, \
     campaign_budgets, campaign_costs",
    "INSERT ON business_accounts, portfolios, templates, template_syncs, phone_numbers, campaigns, campaign_changes, \
     campaign_holds, lane_holds, requests, api_keys, audit_log, idempotency_keys, suppressions, opt_ins, price_list, \
     campaign_budgets",
    "UPDATE ON business_accounts, phone_numbers, campaigns, portfolios, template_syncs, price_list",
    "UPDATE (status, status_reason, meta_id, updated_at) ON templates",
    "UPDATE (reason, until) ON campaign_holds, lane_holds",
    "UPDATE (revoked_at) ON api_keys",
    "UPDATE (created_at) ON suppressions",
    "UPDATE (at) ON opt_ins",
    "UPDATE (status, body) ON idempotency_keys",
    "DELETE ON campaign_holds, lane_holds, idempotency_keys, suppressions, campaign_budgets",
    "EXECUTE ON FUNCTION ensure_message_partitions",
];

const SENDER: &[&str] = &[
    "SELECT ON _sqlx_migrations, templates, phone_numbers, campaigns, campaign_holds, lane_holds, requests, \
     suppressions, opt_ins, sender_instances, lanes, lane_members, dispatches, messages, again, \
     campaign_counters, portfolios, portfolio_usage, portfolio_recipients, price_list, campaign_budgets, \
     campaign_costs",
    "SELECT (id, portfolio_id) ON business_accounts",
    "INSERT ON campaign_changes, campaign_holds, lane_holds, suppressions, opt_ins, sender_instances, lanes, \
     lane_members, dispatches, messages, again, campaign_counters, portfolio_usage, portfolio_recipients, \
     campaign_costs",
    "UPDATE ON sender_instances, lanes, lane_members, dispatches, messages, again, campaign_counters, \
     portfolio_usage, portfolio_recipients, campaign_costs",
    "UPDATE (status, status_reason, started_at, finished_at, control_version, updated_at) ON campaigns",
    "UPDATE (reason, until) ON campaign_holds, lane_holds",
    "UPDATE (applied_at, affected, left_out, left_out_until) ON requests",
    "UPDATE (created_at) ON suppressions",
    "UPDATE (at) ON opt_ins",
    "DELETE ON campaign_holds, suppressions, sender_instances, lane_members, again, portfolio_recipients",
];

impl RoleOf {
    const fn rights(self) -> &'static [&'static str] {
        match self {
            Self::Scheduler => SCHEDULER,
            Self::Sender => SENDER,
        }
    }
}

/// Gives `role` exactly the rights of a service. With a password the role is made if it is missing, which takes
/// the right to make roles; without, it must be there.
///
/// # Errors
/// [`StoreError::Conflict`] for a name or a password that cannot be used.
pub async fn grant(
    connection: &mut Connection,
    of: RoleOf,
    role: &str,
    password: Option<RolePassword<'_>>,
) -> Result<()> {
    let role = quoted(role)?;
    let mut transaction = connection.begin().await?;
    crate::lock_first_setup(&mut transaction).await?;
    if let Some(password) = password {
        let stored = scram::stored_form(password.password.expose_secret(), password.salt)?;
        let verb = if exists(&mut transaction, &role).await? {
            "ALTER"
        } else {
            "CREATE"
        };
        // Never the password itself: statements end up in logs.
        execute(
            &mut transaction,
            &format!("{verb} ROLE {role} LOGIN PASSWORD '{stored}'"),
        )
        .await?;
    }
    for statement in [
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC".to_owned(),
        format!("REVOKE ALL ON SCHEMA public FROM {role}"),
        format!("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}"),
        format!("REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {role}"),
        format!("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM {role}"),
        format!("GRANT USAGE ON SCHEMA public TO {role}"),
    ] {
        execute(&mut transaction, &statement).await?;
    }
    for right in of.rights() {
        execute(&mut transaction, &format!("GRANT {right} TO {role}")).await?;
    }
    Ok(transaction.commit().await?)
}

async fn exists(connection: &mut Connection, role: &str) -> Result<bool> {
    let row = sqlx::query("-- roles.exists\nSELECT to_regrole($1) IS NOT NULL")
        .bind(role)
        .fetch_one(connection)
        .await?;
    Ok(row.try_get(0)?)
}

/// Only with names that [`quoted`] has checked, and rights from here.
async fn execute(connection: &mut Connection, statement: &str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(connection)
        .await?;
    Ok(())
}

/// A name that needs no escaping between its quotes.
fn quoted(role: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    if role.is_empty() || role.len() > ROLE_NAME_MAX || !role.chars().all(plain) {
        return Err(StoreError::Conflict(format!(
            "{role:?} is no name of a role; expected up to {ROLE_NAME_MAX} letters, digits and any of _-.@"
        )));
    }
    Ok(format!("\"{role}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        assert_eq!(quoted("sender-svc").expect("plain"), "\"sender-svc\"");
        for name in ["", "a b", "a\"b", "a;b", "ç", &"x".repeat(64)] {
            assert!(quoted(name).is_err(), "{name:?}");
        }
    }
}
