//! The real program against an API that the test plays: what it asks, what it prints, how it exits.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod client;
mod demo;

use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use wiremock::MockServer;

/// No command of these tests takes longer, unless it hangs.
const DONE_WITHIN: Duration = Duration::from_mins(1);

/// How a run of the program ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the program with the words of `line` and what must stay whole in `more`.
pub(crate) async fn run(api_url: &str, line: &str, more: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campaignctl"));
    command
        .args(line.split_whitespace())
        .args(more)
        .env_clear()
        .env("API_URL", api_url)
        .env("API_KEY", "ck_the-key-of-the-test")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(DONE_WITHIN, command.output())
        .await
        .expect("it ends")
        .unwrap();
    Run {
        code: output.status.code().expect("it exits by itself"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// As [`run`], against a server of the test's.
pub(crate) async fn run_at(server: &MockServer, line: &str) -> Run {
    run(&server.uri(), line, &[]).await
}
