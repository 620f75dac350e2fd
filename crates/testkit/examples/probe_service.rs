//! The smallest service, for testkit's own tests of [`testkit::ServiceProcess`]: ready after
//! `READY_AFTER_MS`, ends with status 0 on `SIGTERM`, or at once with status 3 if `FAIL` is set.

use std::env;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, reason = "its output is what the test looks for")]
async fn main() -> anyhow::Result<()> {
    println!(
        "GREETING is {:?}, USER is {:?}",
        env::var("GREETING"),
        env::var("USER")
    );
    if env::var_os("FAIL").is_some() {
        std::process::exit(3);
    }
    let ready_after = env::var("READY_AFTER_MS").map_or(Ok(0), |value| value.parse())?;
    let ready_at = Instant::now() + Duration::from_millis(ready_after);
    let listener = TcpListener::bind(env::var("LISTEN_ADDR")?).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        let (mut client, _) = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            accepted = listener.accept() => accepted?,
        };
        let mut request = [0; 1024];
        let length = client.read(&mut request).await?;
        let is_ready = Instant::now() >= ready_at && request[..length].starts_with(b"GET /readyz ");
        let status = if is_ready {
            "200 OK"
        } else {
            "503 Service Unavailable"
        };
        client
            .write_all(format!("HTTP/1.0 {status}\r\n\r\n").as_bytes())
            .await?;
    }
}
