//! The first admin key: without one nobody could make the others.

use crate::Step;
use anyhow::Context;
use campaign_core::ids::ApiKeyId;
use campaign_store::api_keys::{self, ApiRole};
use campaign_store::{Store, lock_first_setup};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use uuid::Uuid;

/// Its name in the audit log, and who made it.
const NAME: &str = "first-admin";
const CREATED_BY: &str = "migrate";
/// Only its owner reads and writes it.
const OWNER_ONLY: u32 = 0o600;

/// What became of the first key.
#[derive(Debug, PartialEq, Eq)]
pub enum Created {
    /// There was a valid admin key already.
    Nothing,
    /// It is in the file.
    Written,
    /// It is to be shown, once.
    Shown(String),
}

/// Creates an admin key if there is no valid one.
pub async fn ensure(store: &Store, file: Option<&Path>) -> anyhow::Result<Created> {
    let mut transaction = store.begin().await?;
    let Some(key) = create(&mut transaction).await? else {
        return Ok(Created::Nothing);
    };
    // Written before the commit: a key that is in the database and nowhere else would be lost.
    if let Some(file) = file {
        write(file, &key)
            .with_context(|| format!("the admin key could not be written to {}", file.display()))?;
    }
    transaction.commit().await?;
    Ok(if file.is_some() {
        Created::Written
    } else {
        Created::Shown(key)
    })
}

async fn create(connection: Step<'_>) -> anyhow::Result<Option<String>> {
    lock_first_setup(connection).await?;
    if api_keys::has_admin(connection).await? {
        return Ok(None);
    }
    let key = api_keys::make_key(rand::random());
    let id = ApiKeyId(Uuid::now_v7());
    api_keys::create(
        connection,
        id,
        NAME,
        ApiRole::Admin,
        &api_keys::hash_key(&key),
        CREATED_BY,
    )
    .await?;
    Ok(Some(key))
}

fn write(path: &Path, key: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(OWNER_ONLY)
        .open(path)?;
    // A file that was there before keeps its own mode.
    fs::set_permissions(path, fs::Permissions::from_mode(OWNER_ONLY))?;
    writeln!(file, "{key}")?;
    file.sync_all()
}
