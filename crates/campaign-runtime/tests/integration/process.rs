//! The example service as a real process: exit codes, signals, `--check-config`, `--healthcheck`.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::http::{self, PATIENCE};

/// `cargo test` builds the examples beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its path");
    let target = test.ancestors().nth(2).expect("it lies in target/…/deps");
    target.join("examples/minimal_service")
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn output(args: &[&str]) -> Output {
    tokio::time::timeout(PATIENCE, command(args).output())
        .await
        .expect("the process ends")
        .expect("`cargo test` has built the example")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

struct Process {
    child: Child,
    log: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts the service on a free port and waits until it listens.
    async fn start(args: &[&str]) -> (Self, SocketAddr) {
        let mut child = command(&[&["--listen-addr=127.0.0.1:0"], args].concat())
            .spawn()
            .expect("`cargo test` has built the example");
        let log = child.stdout.take().expect("it is piped");
        let mut process = Self {
            child,
            log: BufReader::new(log).lines(),
        };
        let line = process.logged("listening").await;
        let address = line["address"].as_str().expect("the address is a field");
        (process, address.parse().expect("an address"))
    }

    /// The first log line from now on with this message.
    async fn logged(&mut self, message: &str) -> serde_json::Value {
        let find = async {
            while let Some(line) = self.log.next_line().await.expect("the log is text") {
                let line: serde_json::Value = serde_json::from_str(&line).expect("JSON lines");
                if line["message"] == message {
                    return line;
                }
            }
            panic!("the process ended before it logged `{message}`");
        };
        tokio::time::timeout(PATIENCE, find)
            .await
            .expect("it logs in time")
    }

    async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it still runs").to_string();
        let sent = Command::new("kill").args([name, &id]).status().await;
        assert!(sent.expect("there is a `kill`").success());
    }

    async fn exit_code(mut self) -> Option<i32> {
        tokio::time::timeout(PATIENCE, self.child.wait())
            .await
            .expect("the process ends")
            .expect("its status is known")
            .code()
    }
}

/// Its threads of that name; one that has only just begun has its parent's.
fn threads_of(process: &Process) -> usize {
    let id = process.child.id().expect("it still runs");
    let tasks = std::fs::read_dir(format!("/proc/{id}/task")).expect("it has threads");
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "minimal-service").count()
}

#[tokio::test]
async fn tasks_run_on_as_many_threads_as_are_asked_for() {
    for threads in [1, 3] {
        let (process, _) = Process::start(&[&format!("--worker-threads={threads}")]).await;
        let begun = async {
            while threads_of(&process) < threads {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, begun)
            .await
            .expect("all of them begin");
        assert_eq!(threads_of(&process), threads);
    }
}

#[tokio::test]
async fn no_threads_at_all_are_refused() {
    let refused = output(&["--worker-threads=0"]).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("WORKER_THREADS: found `0`"));
}

#[tokio::test]
async fn sigterm_finishes_what_is_in_flight_and_exits_0() {
    let (mut process, address) = Process::start(&["--slow-ms=500"]).await;
    let in_flight = tokio::spawn(http::get_owned(address, "/slow"));
    // The request must be inside before the signal comes.
    let inside = async {
        while !http::get(address, "/metrics")
            .await
            .body
            .contains("http_server_connections 2")
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, inside)
        .await
        .expect("both connections are counted");
    process.signal("-TERM").await;
    assert_eq!(process.logged("stopping").await["signal"], "SIGTERM");
    assert_eq!(in_flight.await.expect("answered").body, "done\n");
    assert_eq!(process.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_second_signal_and_the_deadline_stop_what_is_stuck_with_exit_1() {
    let (mut process, _) = Process::start(&["--behaviour=stuck", "--shutdown-deadline-ms=600000"]).await;
    process.signal("-TERM").await;
    process.logged("stopping").await;
    process.signal("-INT").await;
    assert_eq!(process.exit_code().await, Some(1));

    let (process, _) = Process::start(&["--behaviour=stuck", "--shutdown-deadline-ms=100"]).await;
    process.signal("-TERM").await;
    assert_eq!(process.exit_code().await, Some(1));
}

#[tokio::test]
async fn a_task_that_panics_ends_the_process_with_exit_1() {
    let ended = output(&["--listen-addr=127.0.0.1:0", "--behaviour=panic"]).await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(stderr(&ended).contains("task doomed panicked: told to panic"));
    let log = String::from_utf8_lossy(&ended.stdout);
    assert!(log.contains(r#""panic":"told to panic""#), "{log}");
}

#[tokio::test]
async fn check_config_says_everything_that_is_wrong() {
    let valid = output(&["--check-config"]).await;
    assert_eq!(valid.status.code(), Some(0));
    assert_eq!(valid.stdout, b"configuration is valid\n");

    let mut wrong = command(&["--check-config", "--slow-ms=60001"]);
    let wrong = wrong.env("LISTEN_ADDR", "here").env("LOG_FORMAT", "xml");
    let wrong = wrong.output().await.expect("it runs");
    assert_eq!(wrong.status.code(), Some(2));
    let text = stderr(&wrong);
    for line in [
        "LISTEN_ADDR: found `here`; expected another value: invalid socket address syntax",
        "LOG_FORMAT: found `xml`; expected one of json, pretty",
        "MINIMAL_SLOW_MS: found 60001; expected at most 60000",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test]
async fn healthcheck_asks_the_running_service() {
    let (ready, address) = Process::start(&[]).await;
    let asked = format!("--listen-addr=0.0.0.0:{}", address.port());
    let answer = output(&["--healthcheck", &asked]).await;
    assert_eq!(answer.status.code(), Some(0), "{}", stderr(&answer));
    drop(ready);

    let (_unready, address) = Process::start(&["--behaviour=unready"]).await;
    let asked = format!("--listen-addr={address}");
    let answer = output(&["--healthcheck", &asked]).await;
    assert_eq!(answer.status.code(), Some(1));
    assert_eq!(stderr(&answer), "not ready: behaviour: told to be unready\n");
    let second = output(&[&*asked]).await;
    assert_eq!(second.status.code(), Some(1), "the address is taken");
    assert!(stderr(&second).contains("LISTEN_ADDR"));
}
