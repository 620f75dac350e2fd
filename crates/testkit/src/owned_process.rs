//! A child process that never outlives the test process.
//!
//! `Drop` ends it in the ordinary case. A test process that is killed runs no `Drop`, so each one also has
//! a reaper: a small shell that is told of every child through a pipe, and kills those that are left when
//! the pipe closes, which the kernel does however the test process ended. (`PR_SET_PDEATHSIG` would not do:
//! it fires when the *thread* that started the child ends, and test threads come and go.)

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::wait::look_until;

/// How much of a log a failure shows.
const LOG_TAIL_LINES: usize = 30;

static REAPER: LazyLock<Mutex<Child>> = LazyLock::new(|| {
    let reaper = Command::new("sh")
        .args(["-c", include_str!("reaper.sh")])
        .process_group(0) // so that Ctrl-C, or a test runner ending the whole group, spares it
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh can be started");
    Mutex::new(reaper)
});

/// Tells the reaper of a change. Its absence (a test that kills every shell) must not fail the test.
fn tell_reaper(change: char, pid: u32) {
    if let Some(pipe) = REAPER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .stdin
        .as_mut()
    {
        let _ = writeln!(pipe, "{change} {pid}");
    }
}

/// A child with its output in a log file; killed on drop.
#[derive(Debug)]
pub(crate) struct OwnedProcess {
    child: Child,
    name: String,
    log_path: PathBuf,
    exited: Option<ExitStatus>,
}

impl OwnedProcess {
    /// Starts `command` in a process group of its own, with both outputs appended to `log_path`.
    pub(crate) fn spawn(name: &str, command: &mut Command, log_path: &Path) -> anyhow::Result<Self> {
        LazyLock::force(&REAPER);
        let log = File::options()
            .create(true)
            .append(true)
            .open(log_path)
            .with_context(|| format!("open {}", log_path.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {name} ({})", command.get_program().display()))?;
        tell_reaper('+', child.id());
        Ok(Self {
            child,
            name: name.to_owned(),
            log_path: log_path.to_owned(),
            exited: None,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log_path(&self) -> &Path {
        &self.log_path
    }

    /// The exit status if the process has ended.
    pub(crate) fn exit_status(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().context("wait for a child")?;
            if self.exited.is_some() {
                tell_reaper('-', self.child.id());
            }
        }
        Ok(self.exited)
    }

    /// Sends a signal; a process that has ended already is no error.
    pub(crate) fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if self.exit_status()?.is_some() {
            return Ok(());
        }
        let pid = Pid::from_raw(self.child.id() as i32).context("a process id is positive")?;
        kill_process(pid, signal).with_context(|| format!("signal {}", self.name))
    }

    /// Lets no file of the process grow beyond so many bytes; none is no limit.
    pub(crate) fn limit_files(&mut self, bytes: Option<u64>) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.child.id() as i32).context("a process id is positive")?;
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        prlimit(Some(pid), Resource::Fsize, limit)
            .with_context(|| format!("limit the files of {}", self.name))?;
        Ok(())
    }

    /// Kills the process and waits until it is gone. `SIGKILL` ends stopped processes too.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        if self.exit_status()?.is_none() {
            self.child.kill().with_context(|| format!("kill {}", self.name))?;
            self.exited = Some(self.child.wait()?);
            tell_reaper('-', self.child.id());
        }
        Ok(())
    }

    /// Waits until the process ends by itself.
    pub(crate) async fn wait(&mut self, timeout: Duration) -> anyhow::Result<ExitStatus> {
        let ended = look_until(timeout, async || match self.exit_status() {
            Ok(Some(status)) => Ok(Ok(status)),
            Ok(None) => Err(()),
            Err(error) => Ok(Err(error)),
        })
        .await;
        match ended {
            Ok(status) => status,
            Err(_) => bail!("{} still runs after {timeout:?}{}", self.name, self.log_tail()),
        }
    }

    /// Looks until `probe` answers; fails at once when the process ends before that.
    pub(crate) async fn wait_until<T>(
        &mut self,
        timeout: Duration,
        mut probe: impl AsyncFnMut() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let looked = look_until(timeout, async || {
            if let Some(status) = self.exit_status().map_err(Looked::Exited)? {
                return Ok(Err(status));
            }
            probe().await.map(Ok).map_err(Looked::NotYet)
        })
        .await;
        match looked {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(status)) => bail!("{} ended with {status}{}", self.name, self.log_tail()),
            Err(Some(Looked::NotYet(error) | Looked::Exited(error))) => {
                Err(error.context(format!("{} after {timeout:?}{}", self.name, self.log_tail())))
            }
            Err(None) => bail!("{} did not answer for {timeout:?}{}", self.name, self.log_tail()),
        }
    }

    /// The last lines of the log, for messages; empty when there is none.
    pub(crate) fn log_tail(&self) -> String {
        log_tail(&self.log_path)
    }
}

/// Why a look found nothing.
enum Looked {
    NotYet(anyhow::Error),
    Exited(anyhow::Error),
}

impl Drop for OwnedProcess {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// The last [`LOG_TAIL_LINES`] lines of a log, ready to be appended to a message.
pub(crate) fn log_tail(path: &Path) -> String {
    let log = std::fs::read(path).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
    if tail.is_empty() {
        return String::new();
    }
    format!("\n--- end of {} ---\n{}\n---", path.display(), tail.join("\n"))
}
