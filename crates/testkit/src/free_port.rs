//! Ports for test servers.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;

use crate::or_panic;

/// Below Linux's ephemeral range (32768 and up), so that no outgoing connection takes a port between the
/// moment it is chosen here and the moment the server listens on it.
const TEST_PORTS: Range<u16> = 20_000..32_000;
/// How many ports are tried before giving up: more failures mean that something else is wrong.
const MAX_ATTEMPTS: usize = 200;

/// The claims of the ports handed out by this process. The kernel lets go of a claim when the process ends,
/// however it ends.
static CLAIMS: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A loopback TCP port on which nothing listens, and that no test of this user is given until this process
/// ends: a test may restart a server on its port.
pub fn free_port() -> u16 {
    or_panic("choose a free port", try_free_port())
}

fn try_free_port() -> anyhow::Result<u16> {
    let folder = claims_folder()?;
    for _ in 0..MAX_ATTEMPTS {
        let port = rand::random_range(TEST_PORTS);
        let claim = folder.join(port.to_string());
        let claim = File::create(&claim).with_context(|| format!("create {}", claim.display()))?;
        if claim.try_lock().is_err() || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            continue;
        }
        CLAIMS.lock().unwrap_or_else(PoisonError::into_inner).push(claim);
        return Ok(port);
    }
    anyhow::bail!("{MAX_ATTEMPTS} ports of {TEST_PORTS:?} were tried and none was free")
}

/// One file for each port ever claimed by this user; tests of different users have different folders, and
/// meet only when a server starts.
fn claims_folder() -> anyhow::Result<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    let folder = std::env::temp_dir().join(format!("testkit-ports-{user}"));
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}
