//! One of the workspace's binaries, run as it runs in production: a process with an environment, a port and
//! signals.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::owned_process::OwnedProcess;
use crate::postgres_cluster::profile_folder;
use crate::{free_port, or_panic};

/// How long [`ServiceProcess::wait_ready`] waits; a service that finds its servers is ready in milliseconds.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// Answers of `/readyz` are short; what is longer is cut.
const MAX_ANSWER_BYTES: u64 = 16 * 1024;
/// What a service inherits from the test. Everything else is said by the test, so that a developer's own
/// `DATABASE_URL` never reaches a service under test.
const INHERITED: [&str; 6] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "LLVM_PROFILE_FILE",
];

static NEXT_LOG: AtomicU32 = AtomicU32::new(0);

/// How a [`ServiceProcess`] is to be started.
#[derive(Debug, Clone)]
pub struct ServiceOptions {
    name: String,
    environment: BTreeMap<String, OsString>,
    arguments: Vec<String>,
    port: u16,
    program: Option<PathBuf>,
}

impl ServiceOptions {
    /// Runs this program instead of the workspace's binary of that name.
    #[must_use]
    pub fn program(mut self, path: impl Into<PathBuf>) -> Self {
        self.program = Some(path.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Sets many environment variables.
    #[must_use]
    pub fn envs<'a>(self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        variables
            .into_iter()
            .fold(self, |options, (name, value)| options.env(name, value))
    }

    /// Appends a command-line argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Listens on this loopback port instead of a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Starts the process, without waiting for anything.
    pub fn start(self) -> ServiceProcess {
        let started = spawn(&self);
        ServiceProcess {
            process: or_panic(&format!("start {}", self.name), started),
            options: self,
        }
    }

    /// Starts the process and waits until it is ready.
    pub async fn start_ready(self) -> ServiceProcess {
        let mut service = self.start();
        service.wait_ready().await;
        service
    }
}

/// A running service. Dropping it kills it.
#[derive(Debug)]
pub struct ServiceProcess {
    process: OwnedProcess,
    options: ServiceOptions,
}

impl ServiceProcess {
    /// Options for the workspace's binary `name`, on a free port, which is told to it as `LISTEN_ADDR`.
    pub fn options(name: &str) -> ServiceOptions {
        ServiceOptions {
            name: name.to_owned(),
            environment: BTreeMap::new(),
            arguments: Vec::new(),
            port: free_port(),
            program: None,
        }
    }

    /// The binary's name.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// `http://127.0.0.1:<port>`, the same after every restart.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.options.port)
    }

    /// Where it listens, the same after every restart.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.options.port).into()
    }

    /// Where both of its outputs are written.
    pub fn log_path(&self) -> &Path {
        self.process.log_path()
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The process id of the running (or last) process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits until `/readyz` answers 200; panics with the end of the log when the process ends before, or
    /// is not ready in time.
    pub async fn wait_ready(&mut self) {
        let address = format!("127.0.0.1:{}", self.options.port);
        let ready = self
            .process
            .wait_until(READY_TIMEOUT, async || ask_ready(&address).await)
            .await;
        or_panic(&format!("wait until {} is ready", self.options.name), ready);
    }

    /// Whether the process has not ended.
    pub fn is_running(&mut self) -> bool {
        or_panic("look at a process", self.process.exit_status()).is_none()
    }

    /// Kills the process with `SIGKILL`, as a crash or the kernel's out-of-memory killer would.
    pub fn kill(&mut self) {
        or_panic(&format!("kill {}", self.options.name), self.process.kill());
    }

    /// Asks the process to end (`SIGTERM`) and waits for its exit status.
    pub async fn terminate(&mut self, timeout: Duration) -> ExitStatus {
        or_panic(
            &format!("stop {}", self.options.name),
            self.process.signal(Signal::TERM),
        );
        self.wait_exit(timeout).await
    }

    /// Waits until the process ends by itself.
    pub async fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        or_panic(
            &format!("wait for {}", self.options.name),
            self.process.wait(timeout).await,
        )
    }

    /// Freezes the process (`SIGSTOP`), as a stalled machine would.
    pub fn pause(&mut self) {
        or_panic(
            &format!("freeze {}", self.options.name),
            self.process.signal(Signal::STOP),
        );
    }

    /// Lets a frozen process go on.
    pub fn resume(&mut self) {
        or_panic(
            &format!("thaw {}", self.options.name),
            self.process.signal(Signal::CONT),
        );
    }

    /// Kills the process if it runs, starts it again as before, and waits until it is ready. Its log goes on
    /// in the same file.
    pub async fn restart(&mut self) {
        self.kill();
        let log_path = self.process.log_path().to_owned();
        let started = spawn_with_log(&self.options, &log_path);
        self.process = or_panic(&format!("restart {}", self.options.name), started);
        self.wait_ready().await;
    }

    /// The largest resident memory so far, in KiB (`VmHWM`); `None` once the process has ended.
    pub fn peak_memory_kib(&self) -> Option<u64> {
        self.status_kib("VmHWM:")
    }

    /// The resident memory now, in KiB (`VmRSS`); `None` once the process has ended.
    pub fn memory_kib(&self) -> Option<u64> {
        self.status_kib("VmRSS:")
    }

    fn status_kib(&self, field: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    }
}

fn spawn(options: &ServiceOptions) -> anyhow::Result<OwnedProcess> {
    let folder = profile_folder()?.join("test-logs");
    std::fs::create_dir_all(&folder)?;
    let number = NEXT_LOG.fetch_add(1, Ordering::Relaxed);
    let log_path = folder.join(format!("{}-{}-{number}.log", options.name, std::process::id()));
    let _ = std::fs::remove_file(&log_path); // of an earlier process with the same id
    spawn_with_log(options, &log_path)
}

fn spawn_with_log(options: &ServiceOptions, log_path: &Path) -> anyhow::Result<OwnedProcess> {
    let program = options
        .program
        .clone()
        .map_or_else(|| binary(&options.name), Ok)?;
    let inherited = INHERITED
        .iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(inherited)
        .env("LISTEN_ADDR", format!("127.0.0.1:{}", options.port))
        .envs(&options.environment)
        .args(&options.arguments);
    OwnedProcess::spawn(&options.name, &mut command, log_path)
}

/// The path of one of the workspace's binaries, built in the same profile as the running test.
pub fn built_binary(name: &str) -> PathBuf {
    or_panic("find a binary", binary(name))
}

fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let binary = profile_folder()?.join(name);
    ensure!(
        binary.exists(),
        "{} is not built: cargo build --workspace --bins",
        binary.display()
    );
    Ok(binary)
}

/// Asks `/readyz` over HTTP/1.0, which needs no client: one answer, then the connection closes.
async fn ask_ready(address: &str) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await.context("connect")?;
    let request = format!("GET /readyz HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).unwrap_or_default();
    ensure!(status == "200", "/readyz answered {}", answer.trim());
    Ok(())
}
