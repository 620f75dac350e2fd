//! A Postgres cluster that belongs to one test, which may crash, freeze and restart it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use rustix::process::Signal;

use crate::owned_process::OwnedProcess;
use crate::postgres::{Database, create_database, prepared_database};
use crate::postgres_cluster::{Installation, NOT_DURABLE, START_TIMEOUT, connect, remove_folder};
use crate::private_ca::ServerCertificate;
use crate::{free_port, or_panic};

/// How long Postgres may take to end after a signal that tells it to end at once.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

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
