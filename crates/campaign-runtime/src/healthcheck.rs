//! `--healthcheck`: asks the running service whether it is ready, and exits.
//!
//! Small images hold no curl, so the service's own binary is what a container asks. One request over
//! plain TCP needs no HTTP client.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::health::HealthReport;

/// A service that cannot say within this that it is ready is not.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// More than any readiness report; what is beyond it is not read.
const MAX_ANSWER_BYTES: u64 = 256 * 1024;

/// Asks `/readyz` of the service that listens on `listen_addr` of this machine.
///
/// An error says why the service is not ready, or why it could not be asked.
pub async fn ask_readiness(listen_addr: SocketAddr) -> anyhow::Result<()> {
    let address = reachable(listen_addr);
    tokio::time::timeout(ANSWER_TIMEOUT, ask(address))
        .await
        .with_context(|| format!("{address} did not answer within {ANSWER_TIMEOUT:?}"))?
}

async fn ask(address: SocketAddr) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("cannot connect to {address}"))?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .context("cannot send the request")?;
    let mut answer = String::new();
    stream
        .take(MAX_ANSWER_BYTES)
        .read_to_string(&mut answer)
        .await
        .context("cannot read the answer")?;

    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("{address} does not speak HTTP"))?;
    let status = head.split_whitespace().nth(1).unwrap_or("without a status");
    if status == "200" {
        return Ok(());
    }
    bail!("{}", why(status, body))
}

/// The reasons of the unready checks, or the status alone if the body is not a readiness report.
fn why(status: &str, body: &str) -> String {
    let Ok(report) = serde_json::from_str::<HealthReport>(body) else {
        return format!("not ready: status {status}");
    };
    let reasons: Vec<String> = report
        .checks
        .iter()
        .filter(|check| !check.ready)
        .map(|check| {
            let reason = check.reason.as_deref().unwrap_or("no reason given");
            format!("{}: {reason}", check.name)
        })
        .collect();
    if reasons.is_empty() {
        "not ready: stopping".to_owned()
    } else {
        format!("not ready: {}", reasons.join("; "))
    }
}

/// An address that listens on every interface is asked on the loopback one.
fn reachable(listen_addr: SocketAddr) -> SocketAddr {
    let ip = match listen_addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen_addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_asked_on_loopback() {
        let any: SocketAddr = "0.0.0.0:8082".parse().expect("an address");
        assert_eq!(reachable(any).to_string(), "127.0.0.1:8082");
        let one: SocketAddr = "10.1.2.3:8082".parse().expect("an address");
        assert_eq!(reachable(one), one);
    }

    #[test]
    fn the_reason_names_the_unready_checks() {
        let body = r#"{"ready":false,"checks":[
            {"name":"redis","ready":true,"since":"2026-01-01T00:00:00Z"},
            {"name":"ledger","ready":false,"reason":"behind","since":"2026-01-01T00:00:00Z"}]}"#;
        assert_eq!(why("503", body), "not ready: ledger: behind");
        assert_eq!(why("404", "nothing here"), "not ready: status 404");
    }
}
