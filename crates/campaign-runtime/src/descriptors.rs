//! As many file descriptors as this process may have.
//!
//! Shells and service managers start processes with a soft limit of 1,024, which a listener alone can use up; then
//! neither Redis nor Postgres nor WhatsApp can be connected to. The hard limit is what the operator set.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for everything but the listener's connections: pools, clients, files.
const RESERVED: u64 = 512;

/// Raises the soft limit of open files to the hard one, and warns if `connections` could still use up all.
pub(crate) fn raise_limit(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, soft = limit.current, "the limit of open files cannot be raised");
    }
    let needed = connections as u64 + RESERVED;
    // None is no limit.
    if let Some(available) = getrlimit(Resource::Nofile).current.filter(|most| *most < needed) {
        tracing::warn!(
            available,
            needed,
            "too few open files for HTTP_MAX_CONNECTIONS: raise the limit (ulimit -n), or lower the setting"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        let lowered = Rlimit {
            current: Some(128),
            ..before
        };
        setrlimit(Resource::Nofile, lowered).expect("a lower soft limit is always allowed");
        raise_limit(1);
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    }
}
