//! Services as processes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use testkit::{ServiceOptions, ServiceProcess};

const SOON: Duration = Duration::from_secs(10);

/// `examples/probe_service.rs`, which cargo builds along with these tests.
fn probe_service() -> ServiceOptions {
    let test = std::env::current_exe().expect("the test knows its path");
    let profile: PathBuf = test
        .ancestors()
        .nth(2)
        .expect("it is in target/<profile>/deps")
        .into();
    ServiceProcess::options("probe_service").program(profile.join("examples/probe_service"))
}

#[tokio::test]
async fn is_ready_when_the_service_says_so_and_not_before() {
    let begun = Instant::now();
    let mut service = probe_service().env("READY_AFTER_MS", "200").start_ready().await;
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert!(service.is_running());
    assert!(service.peak_memory_kib().expect("it runs") > 100);
}

#[tokio::test]
async fn sees_the_environment_of_the_test_only_as_told() {
    let service = probe_service().env("GREETING", "hello").start_ready().await;
    assert!(
        service.log().contains(r#"GREETING is Ok("hello"), USER is Err"#),
        "log: {}",
        service.log()
    );
}

#[tokio::test]
async fn ends_with_its_own_status_on_sigterm() {
    let mut service = probe_service().start_ready().await;
    let status = service.terminate(SOON).await;
    assert_eq!(status.code(), Some(0));
    assert!(!service.is_running());
}

#[tokio::test]
async fn is_killed_and_restarted_on_the_same_port() {
    let mut service = probe_service().start_ready().await;
    let (url, first) = (service.base_url(), service.pid());
    service.kill();
    assert!(!service.is_running());
    service.restart().await;
    assert_eq!(service.base_url(), url);
    assert_ne!(service.pid(), first);
}

#[tokio::test]
#[should_panic(expected = "ended with exit status: 3")]
async fn a_service_that_ends_while_starting_fails_the_test_at_once() {
    probe_service().env("FAIL", "1").start_ready().await;
}

#[test]
#[should_panic(expected = "is not built: cargo build")]
fn a_binary_that_is_missing_says_how_to_build_it() {
    ServiceProcess::options("no-such-service").start();
}
