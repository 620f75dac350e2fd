//! Making and starting Postgres clusters: where the binaries are, which user runs them, and a prepared
//! data folder that is copied instead of calling `initdb` (0.05 s instead of a second).
//!
//! Postgres refuses to run as root. Under root the server runs as user `postgres`, and everything lives
//! under `/var/tmp`, in a folder keyed to the checkout: a checkout under a private home is not a place
//! that user can enter. Otherwise it lives in the target folder.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection};

/// How long a cluster may take to accept its first connection, recovery after a crash included.
pub(crate) const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The superuser of every test cluster. It needs no password: clusters listen on loopback only.
pub(crate) const SUPERUSER: &str = "testkit";
/// Longer than any test waits for a connection, so that a wrong test hangs here and not forever.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Settings of every test cluster.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=400",
    "shared_buffers=64MB",
    "max_wal_size=512MB",
    "log_line_prefix=%m [%p] %d ",
];
/// No test pulls the machine's plug, so nothing needs to reach the disk.
pub(crate) const NOT_DURABLE: &[&str] = &["fsync=off", "full_page_writes=off"];

/// Who runs Postgres and where its files are.
#[derive(Debug, Clone)]
pub(crate) struct Installation {
    binaries: PathBuf,
    /// User and group to become; `None` when the tests do not run as root.
    user: Option<(u32, u32)>,
    /// Holds the template, the shared cluster and private ones.
    pub(crate) folder: PathBuf,
}

impl Installation {
    /// Looks for Postgres and makes the folder its clusters live in.
    pub(crate) fn find() -> anyhow::Result<Self> {
        let binaries = find_binaries()?;
        let is_root = rustix::process::geteuid().is_root();
        let user = if is_root { Some(postgres_user()?) } else { None };
        let folder = if is_root {
            folder_for_root()?
        } else {
            profile_folder()?.with_file_name("testkit")
        };
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Self {
            binaries,
            user,
            folder,
        })
    }

    /// A command of Postgres that runs as the right user.
    fn command(&self, binary: &str) -> Command {
        let mut command = Command::new(self.binaries.join(binary));
        command.current_dir("/"); // the test's own folder may be closed to user `postgres`
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    /// The server itself, ready to be spawned.
    pub(crate) fn server(&self, data: &Path, port: u16, settings: &[&str]) -> Command {
        let mut command = self.command("postgres");
        command.arg("-D").arg(data).args(["-p", &port.to_string()]);
        for setting in SETTINGS.iter().chain(settings) {
            command.args(["-c", setting]);
        }
        command
    }

    /// Gives a file to the user that runs the server, for nobody else to read: Postgres insists.
    pub(crate) fn own_privately(&self, file: &Path) -> anyhow::Result<()> {
        fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
        if let Some((user, group)) = self.user {
            chown(file, Some(user), Some(group))?;
        }
        Ok(())
    }

    /// Puts a fresh cluster into `data`, which must not exist.
    pub(crate) fn make_data(&self, data: &Path) -> anyhow::Result<()> {
        let lock = fs::File::create(self.folder.join("template.lock"))?;
        lock.lock()?; // one process prepares the template, the others wait for it
        let template = self.template()?;
        drop(lock);
        run(Command::new("cp")
            .args(["-a", "--reflink=auto"])
            .arg(template)
            .arg(data))
    }

    /// The prepared data folder, one for each version of Postgres.
    fn template(&self) -> anyhow::Result<PathBuf> {
        let answer = Command::new(self.binaries.join("postgres"))
            .arg("--version")
            .output()?;
        let answer = String::from_utf8_lossy(&answer.stdout);
        let version = answer
            .split(' ')
            .nth(2)
            .context("postgres --version names its version")?
            .trim();
        let template = self.folder.join(format!("template-{version}"));
        if template.exists() {
            return Ok(template);
        }
        let unfinished = self.folder.join("template-unfinished");
        remove_folder(&unfinished)?;
        fs::DirBuilder::new().mode(0o700).create(&unfinished)?;
        if let Some((user, group)) = self.user {
            chown(&unfinished, Some(user), Some(group))?;
        }
        run(self
            .command("initdb")
            .args([
                "--username",
                SUPERUSER,
                "--auth",
                "trust",
                "--encoding",
                "UTF8",
                "--locale",
                "C.UTF-8",
            ])
            .arg("--no-sync")
            .arg("-D")
            .arg(&unfinished))?;
        fs::rename(&unfinished, &template)?; // whole or not there
        Ok(template)
    }
}

/// Deletes a folder if it is there.
pub(crate) fn remove_folder(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("delete {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The address of a database of the cluster on `port`.
pub(crate) fn database_url(port: u16, database: &str) -> String {
    format!("postgres://{SUPERUSER}@127.0.0.1:{port}/{database}")
}

/// A superuser's connection to the database that every cluster has.
pub(crate) async fn connect(port: u16) -> anyhow::Result<PgConnection> {
    let url = database_url(port, "postgres");
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, PgConnection::connect(&url)).await;
    connecting
        .context("Postgres does not answer")?
        .context("connect to Postgres")
}

/// `target/<profile>`, which holds the workspace's binaries, from the path of the running test.
pub(crate) fn profile_folder() -> anyhow::Result<PathBuf> {
    let test = std::env::current_exe().context("find the running test")?;
    let folder = test.parent().context("the test is in a folder")?;
    let folder = if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    Ok(folder.to_owned())
}

/// The newest Debian installation, else what is on `PATH`.
fn find_binaries() -> anyhow::Result<PathBuf> {
    let has_server = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("postgres").exists();
    let version_of =
        |folder: &PathBuf| -> Option<u32> { folder.parent()?.file_name()?.to_str()?.parse().ok() };
    let debian = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = debian
        .map(|version| version.path().join("bin"))
        .filter(has_server)
        .max_by_key(version_of);
    let path = std::env::var_os("PATH").unwrap_or_default();
    newest
        .or_else(|| std::env::split_paths(&path).find(has_server))
        .context("PostgreSQL is not installed: run deploy/dev/bootstrap.sh")
}

/// User and group of `postgres`, which Debian's package creates.
fn postgres_user() -> anyhow::Result<(u32, u32)> {
    let users = BufReader::new(fs::File::open("/etc/passwd")?);
    for line in users.lines() {
        let line = line?;
        if let ["postgres", _, user, group, ..] = line.split(':').collect::<Vec<_>>()[..] {
            return Ok((user.parse()?, group.parse()?));
        }
    }
    bail!("root cannot run Postgres, and there is no user `postgres`: run deploy/dev/bootstrap.sh")
}

/// `/var/tmp/campaign-<key>/testkit`, the key being the checkout's path. Others may write to `/var/tmp`, so
/// a folder that root did not make is refused.
fn folder_for_root() -> anyhow::Result<PathBuf> {
    let checkout = fs::canonicalize(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .unwrap_or_else(|_| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    let key = hex::encode(&Sha256::digest(checkout.as_os_str().as_encoded_bytes())[..6]);
    let folder = PathBuf::from(format!("/var/tmp/campaign-{key}"));
    match fs::DirBuilder::new().mode(0o755).create(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("create {}", folder.display()));
        }
        Err(_) => {}
        // Whatever the umask says, user `postgres` must be able to enter.
        Ok(()) => fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?,
    }
    let found = fs::symlink_metadata(&folder)?;
    ensure!(
        found.is_dir() && found.uid() == 0,
        "{} is not a folder of root's",
        folder.display()
    );
    let folder = folder.join("testkit");
    if !folder.exists() {
        fs::create_dir_all(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    }
    Ok(folder)
}

/// Runs a command to its end; its error output becomes the error.
fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("start {name}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{name} ended with {}: {}",
        output.status,
        error.trim()
    );
    Ok(())
}
