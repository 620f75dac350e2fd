//! A Redis server that belongs to one test.
//!
//! Starting one takes a few milliseconds, so tests never share: each may kill, freeze, flush or roll back
//! its server without asking.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::owned_process::OwnedProcess;
use crate::private_ca::ServerCertificate;
use crate::{free_port, or_panic};

/// How long a server may take to answer its first `PING`, its append-only file loaded.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long [`Redis::connection`] waits for any answer: longer than every pause a test makes.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// How a [`Redis`] is to be started.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    append_only: bool,
    /// Who the test is, where the server knows users.
    login: Option<(String, String)>,
    tls: Option<(u16, ServerCertificate)>,
    arguments: Vec<String>,
}

impl RedisOptions {
    /// Keeps data across restarts: every write is in the append-only file before it is answered.
    #[must_use]
    pub fn append_only(mut self) -> Self {
        self.append_only = true;
        self
    }

    /// Refuses writes above this much memory, in Redis's notation (`"32mb"`).
    #[must_use]
    pub fn max_memory(self, limit: &str) -> Self {
        self.argument("--maxmemory", limit)
    }

    /// Knows the users of this ACL file alone. `login`, name and password, is who the test itself is; it must
    /// be allowed everything.
    #[must_use]
    pub fn users(self, acl_file: &Path, login: (&str, &str)) -> Self {
        let mut options = self.argument("--aclfile", &acl_file.display().to_string());
        options.login = Some((login.0.to_owned(), login.1.to_owned()));
        options
    }

    /// Also listens for TLS, on [`Redis::tls_port`].
    #[must_use]
    pub fn tls(mut self, certificate: &ServerCertificate) -> Self {
        self.tls = Some((free_port(), certificate.clone()));
        self
    }

    /// Any other directive of `redis.conf`, such as `("--slowlog-log-slower-than", "1000")`.
    #[must_use]
    pub fn argument(mut self, name: &str, value: &str) -> Self {
        self.arguments.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// Starts the server and waits until it answers.
    pub async fn start(self) -> Redis {
        or_panic("start Redis", self.try_start().await)
    }

    async fn try_start(self) -> anyhow::Result<Redis> {
        let folder = tempfile::Builder::new().prefix("testkit-redis-").tempdir()?;
        fs::create_dir(folder.path().join("data"))?;
        let port = free_port();
        let process = spawn(&self, folder.path(), port)?;
        let mut redis = Redis {
            process,
            port,
            folder,
            options: self,
        };
        redis.wait_until_it_answers().await?;
        Ok(redis)
    }
}

fn spawn(options: &RedisOptions, folder: &Path, port: u16) -> anyhow::Result<OwnedProcess> {
    // Told by a signal that a file may not grow, it would die instead of reporting a full disk.
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"trap "" XFSZ; exec redis-server "$@""#, "redis-server"])
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .arg("--dir")
        .arg(folder.join("data"))
        .args(["--save", "", "--maxmemory-policy", "noeviction"])
        .args(["--appendonly", if options.append_only { "yes" } else { "no" }])
        // Written before each answer all the same, and a killed process loses nothing that it has written: only
        // a machine without power would, which no test can have.
        .args(["--appendfsync", "no"])
        .args(&options.arguments);
    if let Some((port, certificate)) = &options.tls {
        let (certificate, key) = certificate.write_to(folder)?;
        command.args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no"]);
        command.arg("--tls-cert-file").arg(certificate);
        command.arg("--tls-key-file").arg(key);
    }
    OwnedProcess::spawn("redis-server", &mut command, &folder.join("redis.log"))
}

/// A running server. Dropping it kills it and deletes its data.
#[derive(Debug)]
pub struct Redis {
    process: OwnedProcess,
    port: u16,
    folder: TempDir,
    options: RedisOptions,
}

/// A copy of a server's data, to roll it back to.
#[derive(Debug)]
pub struct RedisData(TempDir);

impl Redis {
    /// Starts a server that keeps nothing across restarts; see [`Redis::options`] for the others.
    pub async fn start() -> Self {
        RedisOptions::default().start().await
    }

    /// Options to start a server with.
    pub fn options() -> RedisOptions {
        RedisOptions::default()
    }

    /// `redis://127.0.0.1:<port>/`, the same after every restart.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// [`Redis::url`], as this user.
    pub fn url_of(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@127.0.0.1:{}/", self.port)
    }

    /// Where it listens for TLS, if it was asked to.
    pub fn tls_port(&self) -> Option<u16> {
        self.options.tls.as_ref().map(|(port, _)| *port)
    }

    /// `127.0.0.1:<port>`, for a [`crate::FaultProxy`].
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A connection for the test's own looks at the data.
    pub async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connection = async {
            let url = match &self.options.login {
                Some((user, password)) => self.url_of(user, password),
                None => self.url(),
            };
            let client = redis::Client::open(url)?;
            client.get_multiplexed_async_connection_with_config(&config).await
        };
        or_panic("connect to Redis", connection.await.map_err(anyhow::Error::from))
    }

    /// Deletes every key (`FLUSHALL`); the server's identity stays.
    pub async fn flush(&self) {
        let flushed = redis::cmd("FLUSHALL")
            .exec_async(&mut self.connection().await)
            .await;
        or_panic("flush Redis", flushed.map_err(anyhow::Error::from));
    }

    /// Changes a setting while the server runs (`CONFIG SET`).
    pub async fn set(&self, setting: &str, value: &str) {
        let set = redis::cmd("CONFIG")
            .arg("SET")
            .arg(setting)
            .arg(value)
            .exec_async(&mut self.connection().await)
            .await;
        or_panic("change a setting of Redis", set.map_err(anyhow::Error::from));
    }

    /// Runs one command, as the test's own look at, or blow to, the data.
    pub async fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let answer = command.query_async(&mut self.connection().await).await;
        or_panic("run a command of Redis", answer.map_err(anyhow::Error::from))
    }

    /// What `INFO` says about one section.
    pub async fn info(&self, section: &str) -> String {
        let info = redis::cmd("INFO")
            .arg(section)
            .query_async(&mut self.connection().await)
            .await;
        or_panic("ask Redis", info.map_err(anyhow::Error::from))
    }

    /// Kills the server with `SIGKILL`; its port refuses connections until a restart.
    pub fn kill(&mut self) {
        or_panic("kill Redis", self.process.kill());
    }

    /// Kills the server if it runs and starts it on the same port, with the data it kept.
    pub async fn restart(&mut self) {
        or_panic("restart Redis", self.try_restart().await);
    }

    /// As [`Redis::restart`], with all data lost.
    pub async fn restart_empty(&mut self) {
        self.kill();
        or_panic("delete the data of Redis", self.replace_data(None));
        self.restart().await;
    }

    /// A copy of the data as it is now, for [`Redis::restart_with`]. The server is frozen meanwhile.
    pub fn copy_data(&mut self) -> RedisData {
        self.pause();
        let copied = tempfile::tempdir()
            .map_err(anyhow::Error::from)
            .and_then(|copy| copy_folder(&self.folder.path().join("data"), copy.path()).map(|()| copy));
        self.resume();
        RedisData(or_panic("copy the data of Redis", copied))
    }

    /// As [`Redis::restart`], with the data of an earlier moment: what an old backup or a failover to a
    /// replica that lagged behind does.
    pub async fn restart_with(&mut self, data: &RedisData) {
        self.kill();
        or_panic("replace the data of Redis", self.replace_data(Some(data)));
        self.restart().await;
    }

    /// Freezes the server (`SIGSTOP`): connections stay open and nothing answers.
    pub fn pause(&mut self) {
        or_panic("freeze Redis", self.process.signal(Signal::STOP));
    }

    /// Lets a frozen server go on.
    pub fn resume(&mut self) {
        or_panic("thaw Redis", self.process.signal(Signal::CONT));
    }

    /// No write to the append-only file succeeds any more, as on a full disk; Redis then refuses writes.
    pub fn fill_disk(&mut self) {
        or_panic("fill the disk of Redis", self.process.limit_files(Some(0)));
    }

    /// There is room on the disk again.
    pub fn free_disk(&mut self) {
        or_panic("free the disk of Redis", self.process.limit_files(None));
    }

    async fn try_restart(&mut self) -> anyhow::Result<()> {
        self.process.kill()?;
        self.process = spawn(&self.options, self.folder.path(), self.port)?;
        self.wait_until_it_answers().await
    }

    fn replace_data(&self, with: Option<&RedisData>) -> anyhow::Result<()> {
        let data = self.folder.path().join("data");
        fs::remove_dir_all(&data)?;
        fs::create_dir(&data)?;
        with.map_or(Ok(()), |copy| copy_folder(copy.0.path(), &data))
    }

    async fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        let address = self.address();
        self.process
            .wait_until(START_TIMEOUT, async || ping(&address).await)
            .await
    }
}

/// One `PING` without a client library, so that "loading" is an answer like any other.
async fn ping(address: &str) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer[..length]);
    // Where it knows users, asking who this is means that it is ready.
    let ready = answer.starts_with("+PONG") || answer.starts_with("-NOAUTH");
    ensure!(ready, "Redis answered {answer:?}");
    Ok(())
}

/// Copies a folder and the folders in it (`appendonlydir`), one level deep as Redis makes them.
fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
