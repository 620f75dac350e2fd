//! Ports for test servers.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Below Linux's ephemeral range (32768 and up), so that no outgoing connection takes a port between the
/// moment it is chosen here and the moment the server listens on it.
const TEST_PORTS: Range<u16> = 20_000..32_000;
/// How many ports are tried before giving up: more failures mean that something else is wrong.
const MAX_ATTEMPTS: usize = 200;

/// Ports handed out by this process: a test may restart a server on its port, so none is given twice.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A loopback TCP port on which nothing listens, not yet handed out by this process.
///
/// Ports are drawn at random, so that test processes running side by side rarely meet; a server that
/// loses that race fails to start and says so.
pub fn free_port() -> u16 {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..MAX_ATTEMPTS {
        let port = rand::random_range(TEST_PORTS);
        if given.contains(&port) || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
            continue;
        }
        given.insert(port);
        return port;
    }
    panic!("no free port in {TEST_PORTS:?} after {MAX_ATTEMPTS} attempts")
}
