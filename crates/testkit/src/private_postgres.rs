//! A Postgres cluster that belongs to one test, which may crash, freeze and restart it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::Signal;
use sqlx::PgConnection;
use tokio::task::JoinSet;

use crate::owned_process::OwnedProcess;
use crate::postgres::{Database, create_database, prepared_database};
use crate::postgres_cluster::{Installation, NOT_DURABLE, START_TIMEOUT, connect, remove_folder};
use crate::private_ca::ServerCertificate;
use crate::{free_port, or_panic};

/// How long Postgres may take to end after a signal that tells it to end at once.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long [`PrivatePostgres::exhaust`] competes with others for their connections.
const EXHAUST_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that [`PrivatePostgres::exhaust`] does not insist on.
const LEFT_TO_OTHERS: usize = 2;

static NEXT_CLUSTER: AtomicU32 = AtomicU32::new(0);

/// A running cluster. Dropping it kills it and deletes its data.
///
/// It takes about a third of a second to start; tests that do not need to break the server share
/// [`crate::Postgres`].
#[derive(Debug)]
pub struct PrivatePostgres {
    installation: Installation,
    process: OwnedProcess,
    port: u16,
    folder: PathBuf,
    settings: Vec<String>,
}

impl PrivatePostgres {
    /// Starts a fresh cluster.
    pub async fn start() -> Self {
        or_panic("start Postgres", Self::try_start(None).await)
    }

    /// Starts a fresh cluster that also speaks TLS.
    pub async fn start_with_tls(certificate: &ServerCertificate) -> Self {
        or_panic("start Postgres", Self::try_start(Some(certificate)).await)
    }

    /// An empty database. Its URL stays the same after every restart.
    pub async fn database(&self) -> Database {
        or_panic("create a database", create_database(self.port, "template1").await)
    }

    /// As [`crate::Postgres::prepared_database`].
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

    /// `127.0.0.1:<port>`, for a [`crate::FaultProxy`].
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Crashes the server: every connection ends at once and nothing is written any more. The next start
    /// recovers what was committed.
    pub async fn kill(&mut self) {
        or_panic("crash Postgres", self.try_kill().await);
    }

    /// Crashes the server if it runs, and starts it again on the same port and data.
    pub async fn restart(&mut self) {
        or_panic("restart Postgres", self.try_restart().await);
    }

    /// Freezes the server (`SIGSTOP`): new connections get no answer. Sessions that are open go on, since
    /// each is a process of its own; put a [`crate::FaultProxy`] between to freeze those.
    pub fn pause(&mut self) {
        or_panic("freeze Postgres", self.process.signal(Signal::STOP));
    }

    /// Lets a frozen server go on.
    pub fn resume(&mut self) {
        or_panic("thaw Postgres", self.process.signal(Signal::CONT));
    }

    /// Ends every session but this one's own, as an administrator or a failing-over proxy does.
    pub async fn end_sessions(&self) {
        let ended = async {
            let mut connection = connect(self.port).await?;
            end_sessions_but(&mut connection, &[]).await
        };
        or_panic("end the sessions of Postgres", ended.await);
    }

    /// Takes the connections that the server allows, also those that others had, until the value is dropped. All
    /// but two: whoever connects again and again wins one now and then.
    pub async fn exhaust(&self) -> ExhaustedPostgres {
        or_panic("exhaust Postgres", self.try_exhaust().await)
    }

    async fn try_exhaust(&self) -> anyhow::Result<ExhaustedPostgres> {
        let mut first = connect(self.port).await?;
        let allowed: String = sqlx::query_scalar("SHOW max_connections")
            .fetch_one(&mut first)
            .await?;
        let wanted = allowed.parse::<usize>()? - LEFT_TO_OTHERS;
        let (mut taken, mut pids) = (vec![first], Vec::new());
        let deadline = Instant::now() + EXHAUST_TIMEOUT;
        while taken.len() < wanted {
            anyhow::ensure!(
                Instant::now() < deadline,
                "others kept taking connections for {EXHAUST_TIMEOUT:?}"
            );
            let mut connecting: JoinSet<_> = (taken.len()..wanted)
                .map(|_| connect_with_pid(self.port))
                .collect();
            while let Some(connected) = connecting.join_next().await {
                if let Ok((connection, pid)) = connected? {
                    taken.push(connection);
                    pids.push(pid);
                }
            }
            end_sessions_but(&mut taken[0], &pids).await?;
        }
        Ok(ExhaustedPostgres(taken))
    }

    async fn try_start(certificate: Option<&ServerCertificate>) -> anyhow::Result<Self> {
        let installation = Installation::find()?;
        let number = NEXT_CLUSTER.fetch_add(1, Ordering::Relaxed);
        let folder = installation
            .folder
            .join(format!("private-{}-{number}", std::process::id()));
        remove_orphans(&installation)?;
        installation.make_data(&folder)?;
        let mut settings: Vec<String> = NOT_DURABLE.iter().map(ToString::to_string).collect();
        if let Some(certificate) = certificate {
            let (certificate, key) = certificate.write_to(&folder)?;
            installation.own_privately(&key)?;
            installation.own_privately(&certificate)?;
            settings.push("ssl=on".to_owned());
            settings.push(format!("ssl_cert_file={}", certificate.display()));
            settings.push(format!("ssl_key_file={}", key.display()));
        }
        let port = free_port();
        let process = spawn(&installation, &folder, port, &settings)?;
        let mut postgres = Self {
            installation,
            process,
            port,
            folder,
            settings,
        };
        postgres.wait_until_it_answers().await?;
        Ok(postgres)
    }

    async fn try_kill(&mut self) -> anyhow::Result<()> {
        self.process.signal(Signal::CONT)?;
        self.process.signal(Signal::QUIT)?; // Postgres's "immediate shutdown": a crash that leaves no orphans
        self.process.wait(STOP_TIMEOUT).await?;
        Ok(())
    }

    async fn try_restart(&mut self) -> anyhow::Result<()> {
        self.try_kill().await?;
        self.process = spawn(&self.installation, &self.folder, self.port, &self.settings)?;
        self.wait_until_it_answers().await
    }

    async fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        let port = self.port;
        self.process
            .wait_until(START_TIMEOUT, async || connect(port).await.map(drop))
            .await
    }
}

/// A server that has hardly a connection left for anyone else; dropping this gives them back.
#[derive(Debug)]
pub struct ExhaustedPostgres(#[expect(dead_code, reason = "held, not used")] Vec<PgConnection>);

async fn connect_with_pid(port: u16) -> anyhow::Result<(PgConnection, i32)> {
    let mut connection = connect(port).await?;
    let pid = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut connection)
        .await?;
    Ok((connection, pid))
}

/// Ends every client's session but those of `pids` and this one; how many there were.
async fn end_sessions_but(connection: &mut PgConnection, pids: &[i32]) -> anyhow::Result<i64> {
    let ended = sqlx::query_scalar(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND pid <> ALL($1)",
    )
    .bind(pids)
    .fetch_one(connection)
    .await?;
    Ok(ended)
}

impl Drop for PrivatePostgres {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = remove_folder(&self.folder);
        let _ = std::fs::remove_file(self.folder.with_extension("log"));
    }
}

fn spawn(
    installation: &Installation,
    folder: &std::path::Path,
    port: u16,
    settings: &[String],
) -> anyhow::Result<OwnedProcess> {
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut command = installation.server(folder, port, &settings);
    OwnedProcess::spawn("postgres", &mut command, &folder.with_extension("log"))
}

/// Deletes the clusters of test processes that ended without deleting theirs.
fn remove_orphans(installation: &Installation) -> anyhow::Result<()> {
    let folder = &installation.folder;
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix("private-")?.split('-').next());
        if process.is_some_and(|process| !std::path::Path::new("/proc").join(process).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}
