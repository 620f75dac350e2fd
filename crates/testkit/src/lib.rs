//! Real servers and real processes for tests.
//!
//! The promises of this project are about crashes, lost data and slow networks, so its tests run on the
//! servers that production runs on, and break them on purpose:
//!
//! - [`Redis`]: a server of its own for each test, to kill, freeze, roll back or replace.
//! - [`Postgres`]: one shared cluster, a database of its own for each test; [`PrivatePostgres`] is a whole
//!   cluster for tests that crash it.
//! - [`ServiceProcess`]: one of the workspace's binaries, with its log, its signals and its readiness.
//! - [`FaultProxy`]: a TCP proxy that cuts, delays or swallows what passes through it.
//! - [`PrivateCa`] and [`TlsProxy`]: certificates of an authority that nobody trusts unless told to, and TLS
//!   in front of whatever speaks none.
//! - [`wait_for`]: waits on a condition, never on a sleep.
//!
//! Everything listens on free loopback ports, so tests run in parallel, in one process or in many.
//! Nothing outlives the test process, however it ends, except the shared Postgres cluster, which stops by
//! itself once no test has used it for a while.
//!
//! Starting something panics when it cannot be started: to a test that is simply a failure, with the
//! server's last log lines as its message.

mod fault_proxy;
mod free_port;
mod owned_process;
mod postgres;
mod postgres_cluster;
mod private_ca;
mod private_postgres;
mod redis_server;
mod service_process;
mod tls_proxy;
mod wait;

pub use fault_proxy::{FaultProxy, Mode};
pub use free_port::free_port;
pub use postgres::{Database, Postgres};
pub use private_ca::{PrivateCa, ServerCertificate};
pub use private_postgres::{ExhaustedPostgres, PrivatePostgres};
pub use redis_server::{Redis, RedisData, RedisOptions};
pub use service_process::{ServiceOptions, ServiceProcess, built_binary};
pub use tls_proxy::TlsProxy;
pub use wait::{wait_for, wait_for_ok};

/// The value, or a panic that says what was being attempted and the whole chain of causes.
#[track_caller]
fn or_panic<T>(attempt: &str, result: anyhow::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("cannot {attempt}: {error:#}"),
    }
}
