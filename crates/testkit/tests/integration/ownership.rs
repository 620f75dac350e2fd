//! Nothing outlives a test process, even one that is killed.

use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::{Redis, wait_for, wait_for_ok};

/// Set for the copy of this test binary that is going to be killed: where to write the server's address.
const ADDRESS_FILE: &str = "TESTKIT_ADDRESS_FILE";

#[tokio::test]
async fn a_killed_test_leaves_no_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let address_file = folder.path().join("address");
    let mut victim = Command::new(std::env::current_exe().expect("the test knows its path"))
        .args(["--exact", "ownership::victim", "--ignored"])
        .env(ADDRESS_FILE, &address_file)
        .stdout(Stdio::null())
        .spawn()
        .expect("the test binary runs");
    let address = wait_for(Duration::from_secs(20), "the victim's Redis", async || {
        std::fs::read_to_string(&address_file)
            .ok()
            .filter(|address| !address.is_empty())
    })
    .await;
    assert!(
        tokio::net::TcpStream::connect(&address).await.is_ok(),
        "the victim's Redis runs"
    );

    victim.kill().expect("the victim is killed");
    victim.wait().expect("the victim is gone");
    wait_for(Duration::from_secs(5), "its Redis to be gone", async || {
        tokio::net::TcpStream::connect(&address).await.err()
    })
    .await;
}

/// Not a test of its own: see [`a_killed_test_leaves_no_server`].
#[tokio::test]
#[ignore = "started by another test, to be killed"]
async fn victim() {
    let Some(address_file) = std::env::var_os(ADDRESS_FILE) else {
        return;
    };
    let redis = Redis::start().await;
    std::fs::write(address_file, redis.address()).expect("the address is written");
    tokio::time::sleep(Duration::from_mins(1)).await;
}

#[tokio::test]
#[should_panic(expected = "for the impossible, in vain")]
async fn waiting_in_vain_says_for_what() {
    wait_for(Duration::from_millis(20), "the impossible", async || None::<()>).await;
}

#[tokio::test]
#[should_panic(expected = "last seen: 3 of 5")]
async fn waiting_in_vain_says_what_was_seen() {
    wait_for_ok(Duration::from_millis(20), "all five", async || {
        Err::<(), _>("3 of 5")
    })
    .await;
}
