//! One Postgres cluster for all tests of a checkout, one database for each test.
//!
//! Runners differ: `cargo test` runs a binary's tests as threads, `cargo nextest` each test as a process.
//! Neither has a moment before the first test and after the last, so the cluster is shared through files:
//!
//! - `cluster.lock`, held for moments: whoever takes it finds the cluster running or starts it.
//! - `clients.lock`, held *shared* by each test process for its life. The kernel releases it however that
//!   process ends.
//! - A watchdog (`postgres_watchdog.sh`) that can take `clients.lock` *exclusively* knows that no test runs;
//!   after [`IDLE_SECONDS`] of that it stops the cluster and deletes its data.
//!
//! Each start copies a prepared folder, so no run sees what an earlier one left.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

use crate::owned_process::log_tail;
use crate::postgres_cluster::{
    Installation, NOT_DURABLE, START_TIMEOUT, connect, database_url, remove_folder,
};
use crate::wait::look_until;
use crate::{free_port, or_panic};

/// How long the shared cluster outlives its last test: longer than compiling the next test binary takes
/// would be too long to leave a server behind, and a new start costs a fraction of a second.
const IDLE_SECONDS: u32 = 20;
/// Databases that ended tests left are dropped along the way, at most this many for each new one.
const MAX_DROPPED_AT_ONCE: usize = 4;
/// Serializes the preparation of a template database among test processes (any number would do).
const PREPARATION_LOCK: i64 = 0x0074_6573_746b_6974;

static SHARED: OnceCell<Postgres> = OnceCell::const_new();
static NEXT_DATABASE: AtomicU32 = AtomicU32::new(0);

/// The shared cluster. Tests that stop or freeze a server use [`crate::PrivatePostgres`].
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    _client: File,
}

/// An empty or prepared database that no other test uses.
///
/// It is dropped after the test process has ended, when another test needs one.
#[derive(Debug, Clone)]
pub struct Database {
    name: String,
    url: String,
}

impl Database {
    /// `postgres://…/<name>`, for a superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database's name in its cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// [`Database::url`], as this role.
    pub fn url_of(&self, role: &str, password: &str) -> String {
        let (_, address) = self.url.split_once('@').expect("a URL with a user");
        format!("postgres://{role}:{password}@{address}")
    }

    /// Runs SQL that only a test would: to make time pass, or to damage what is stored.
    pub async fn execute(&self, sql: &'static str) {
        let done = async {
            let mut connection = PgConnection::connect(&self.url).await?;
            sqlx::raw_sql(sql).execute(&mut connection).await?;
            connection.close().await
        };
        or_panic("run SQL", done.await.map_err(anyhow::Error::from));
    }

    /// The number (`bigint`) that SQL answers which only a test would ask: about Postgres itself.
    pub async fn number(&self, sql: &'static str) -> i64 {
        let answer = async {
            let mut connection = PgConnection::connect(&self.url).await?;
            let number = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
            connection.close().await?;
            Ok(number)
        };
        or_panic("ask SQL", answer.await)
    }
}

impl Postgres {
    /// The shared cluster, started if it does not run.
    pub async fn start() -> &'static Self {
        let started = SHARED.get_or_try_init(|| async {
            let installation = Installation::find()?;
            Self::join(&installation).await
        });
        or_panic("start Postgres", started.await)
    }

    /// An empty database.
    pub async fn database(&self) -> Database {
        or_panic("create a database", create_database(self.port, "template1").await)
    }

    /// A copy of a database that `prepare` has filled (migrations, seed data), given its URL.
    ///
    /// `prepare` runs once for each `fingerprint` (a hash of what it does: letters and digits, at most 32)
    /// while the cluster lives, in whichever test process comes first; copying takes a few milliseconds. It
    /// must close its connections before it returns, since Postgres copies only databases without any.
    pub async fn prepared_database(
        &self,
        fingerprint: &str,
        prepare: impl AsyncFnOnce(&str) -> anyhow::Result<()>,
    ) -> Database {
        or_panic(
            "create a database",
            prepared_database(self.port, fingerprint, prepare).await,
        )
    }

    async fn join(installation: &Installation) -> anyhow::Result<Self> {
        let folder = &installation.folder;
        let start_lock = lock_file(folder, "cluster.lock")?;
        start_lock.lock()?;
        let client = lock_file(folder, "clients.lock")?;
        client.lock_shared()?;
        let port = match running_port(folder).await {
            Some(port) => port,
            None => start_cluster(installation).await?,
        };
        start_watchdog(folder)?;
        Ok(Self {
            port,
            _client: client,
        })
    }
}

fn lock_file(folder: &Path, name: &str) -> anyhow::Result<File> {
    let path = folder.join(name);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    file.with_context(|| format!("open {}", path.display()))
}

/// The port of the shared cluster if it answers.
async fn running_port(folder: &Path) -> Option<u16> {
    let port = fs::read_to_string(folder.join("shared.port"))
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let process_id = postmaster_pid(folder)?;
    let is_postgres = fs::read_to_string(format!("/proc/{process_id}/comm"))
        .ok()?
        .starts_with("postgres");
    (is_postgres && connect(port).await.is_ok()).then_some(port)
}

/// The first line of the file that Postgres keeps while it runs.
fn postmaster_pid(folder: &Path) -> Option<u32> {
    fs::read_to_string(folder.join("shared/postmaster.pid"))
        .ok()?
        .lines()
        .next()?
        .trim()
        .parse()
        .ok()
}

/// Starts the cluster on fresh data. It belongs to no test process, so none of them waits for it or kills it.
async fn start_cluster(installation: &Installation) -> anyhow::Result<u16> {
    let (data, log) = (
        installation.folder.join("shared"),
        installation.folder.join("shared.log"),
    );
    remove_folder(&data)?;
    installation.make_data(&data)?;
    let port = free_port();
    let mut server = installation
        .server(&data, port, NOT_DURABLE)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?)
        .spawn()?;
    let answering = look_until(START_TIMEOUT, async || match server.try_wait() {
        Ok(None) => connect(port).await.map(|_| true),
        _ => Ok(false),
    });
    match answering.await {
        Ok(true) => {}
        Ok(false) => anyhow::bail!("Postgres ended at once{}", log_tail(&log)),
        Err(error) => {
            let _ = server.kill();
            let error = error.unwrap_or_else(|| anyhow::anyhow!("no answer"));
            return Err(error.context(format!("Postgres after {START_TIMEOUT:?}{}", log_tail(&log))));
        }
    }
    fs::write(installation.folder.join("shared.port"), port.to_string())?;
    Ok(port)
}

/// Starts a watchdog; it ends at once if there is one already.
fn start_watchdog(folder: &Path) -> anyhow::Result<()> {
    Command::new("sh")
        .args(["-c", include_str!("postgres_watchdog.sh"), "postgres-watchdog"])
        .arg(folder)
        .arg(IDLE_SECONDS.to_string())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("start the watchdog of the shared Postgres")?;
    Ok(())
}

/// A new database `test_<process>_<number>`, copied from `template`.
pub(crate) async fn create_database(port: u16, template: &str) -> anyhow::Result<Database> {
    let mut connection = connect(port).await?;
    drop_orphans(&mut connection).await?;
    let number = NEXT_DATABASE.fetch_add(1, Ordering::Relaxed);
    let name = format!("test_{}_{number}", std::process::id());
    execute(
        &mut connection,
        format!("CREATE DATABASE {name} TEMPLATE {template}"),
    )
    .await?;
    connection.close().await?;
    Ok(Database {
        url: database_url(port, &name),
        name,
    })
}

/// See [`Postgres::prepared_database`].
pub(crate) async fn prepared_database(
    port: u16,
    fingerprint: &str,
    prepare: impl AsyncFnOnce(&str) -> anyhow::Result<()>,
) -> anyhow::Result<Database> {
    let is_name = |c: char| c.is_ascii_alphanumeric();
    anyhow::ensure!(
        (1..=32).contains(&fingerprint.len()) && fingerprint.chars().all(is_name),
        "a fingerprint has 1 to 32 letters and digits, not {fingerprint:?}"
    );
    let template = format!("prepared_{}", fingerprint.to_lowercase());
    let mut connection = connect(port).await?;
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(PREPARATION_LOCK)
        .execute(&mut connection)
        .await?;
    if !exists(&mut connection, &template).await? {
        // Under another name until it is whole: a preparation that fails leaves nothing to be copied.
        let unfinished = format!("{template}_unfinished");
        execute(
            &mut connection,
            format!("DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)"),
        )
        .await?;
        execute(&mut connection, format!("CREATE DATABASE {unfinished}")).await?;
        prepare(&database_url(port, &unfinished))
            .await
            .context("prepare a template database")?;
        execute(
            &mut connection,
            format!("ALTER DATABASE {unfinished} RENAME TO {template}"),
        )
        .await?;
    }
    connection.close().await?; // releases the lock
    create_database(port, &template).await
}

async fn exists(connection: &mut PgConnection, database: &str) -> anyhow::Result<bool> {
    let found = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)");
    Ok(found.bind(database).fetch_one(connection).await?)
}

/// Drops databases whose test process has ended, so that a long run does not fill the disk.
async fn drop_orphans(connection: &mut PgConnection) -> anyhow::Result<()> {
    let names: Vec<String> =
        sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE datname ~ '^test_[0-9]+_[0-9]+$'")
            .fetch_all(&mut *connection)
            .await?;
    let is_orphan = |name: &&String| {
        let process = name.split('_').nth(1).unwrap_or_default();
        !Path::new("/proc").join(process).exists()
    };
    for name in names.iter().filter(is_orphan).take(MAX_DROPPED_AT_ONCE) {
        // Another test may be dropping the same one.
        execute(connection, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await
            .ok();
    }
    Ok(())
}

/// Runs a statement that takes no parameters. Names in it are made in this module, of letters and digits.
async fn execute(connection: &mut PgConnection, statement: String) -> anyhow::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statement.clone()))
        .execute(connection)
        .await
        .context(statement)?;
    Ok(())
}
