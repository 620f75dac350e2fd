//! The roles of the services, where each has one of its own.

use crate::Step;
use crate::config::Config;
use anyhow::{Context, anyhow};
use campaign_runtime::{SecretName, SecretSetting};
use campaign_store::roles::{self, RoleOf, RolePassword};

/// Gives the roles that are named their rights. Returns their names.
pub(crate) async fn grant(connection: Step<'_>, config: &Config) -> anyhow::Result<Vec<String>> {
    let mut granted = Vec::new();
    let scheduler = &config.scheduler_database_role;
    if give(
        &mut *connection,
        RoleOf::Scheduler,
        scheduler,
        &config.scheduler_database_password,
    )
    .await?
    {
        granted.push(scheduler.clone());
    }
    let sender = &config.sender_database_role;
    if give(
        connection,
        RoleOf::Sender,
        sender,
        &config.sender_database_password,
    )
    .await?
    {
        granted.push(sender.clone());
    }
    Ok(granted)
}

async fn give<Name: SecretName>(
    connection: Step<'_>,
    of: RoleOf,
    role: &str,
    password: &SecretSetting<Name>,
) -> anyhow::Result<bool> {
    if role.is_empty() {
        return Ok(false);
    }
    let password = password.resolve().map_err(|problem| anyhow!("{problem}"))?;
    let password = password.as_ref().map(|password| RolePassword {
        password,
        salt: rand::random(),
    });
    roles::grant(connection, of, role, password)
        .await
        .with_context(|| format!("role {role} could not be given its rights"))?;
    Ok(true)
}
