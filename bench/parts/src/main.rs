//! The raw parts of the engine's work, each alone: what Redis, Postgres, HTTP and the libraries can do at best.
//!
//! `bench-parts PART COUNT` prepares, says "ready", begins at a line on standard input and says "done" after COUNT
//! operations. The harness measures the time between and what all processes cost, the servers included.

mod http;
mod lane;
mod ledger;

use anyhow::{Context, Result, bail};
use std::io::BufRead;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [part, count] = arguments.as_slice() else {
        bail!("found {} arguments; expected a part and a count", arguments.len());
    };
    let count: i64 = count.parse().context("the count")?;
    match part.as_str() {
        "xadd" => lane::xadd(count).await,
        "feed" => lane::feed(count).await,
        "take-settle" => lane::take_and_settle(count).await,
        "outcomes" => lane::outcomes(count).await,
        "insert" => ledger::insert_all(count).await,
        "update" => ledger::update(count).await,
        "post" => http::post_to_mock(count).await,
        "post-bare" => http::post_to_bare_server(count).await,
        other => bail!("there is no part {other}"),
    }?;
    println!("done");
    Ok(())
}

/// Says that everything is prepared, and waits for the word.
fn wait_for_go() -> Result<()> {
    println!("ready");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(())
}

fn setting(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| name.to_owned())
}
