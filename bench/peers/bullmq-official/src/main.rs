//! The engine's work done with `bullmq-official`, the Rust port of BullMQ: one job for each customer, whose
//! worker renders the template and sends.
//!
//! The protocol with the harness is that of `../bullmq/pipeline.mjs`, with `ROLE=both`: says "ready" when
//! connected, begins at "go" on standard input, tells "produced <jobs>" and "done <jobs so far>".

mod audience;
mod ledger;
mod messages;

use anyhow::{Context, Result, bail};
use bullmq::options::RedisConnectionOptions;
use bullmq::types::RemoveOnFinish;
use bullmq::worker::{CancellationToken, WorkerEvent};
use bullmq::{BulkJob, Job, Queue, QueueOptions, Worker, WorkerOptions};
use ledger::Ledger;
use messages::{Message, Sender};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const QUEUE: &str = "messages";
/// How often progress is told. The clock of the harness stops at the last one.
const TELL_EVERY: Duration = Duration::from_millis(10);

#[tokio::main]
async fn main() -> Result<()> {
    let redis =
        RedisConnectionOptions::default().url(format!("redis://127.0.0.1:{}", setting("REDIS_PORT")?));
    let ledger = match std::env::var("DATABASE_URL") {
        Ok(url) => Some(Arc::new(Ledger::connect(&url).await?)),
        Err(_) => None,
    };
    let queue = Queue::with_options(QUEUE, QueueOptions::new().connection(redis.clone())).await?;
    let worker = Arc::new(worker(redis, ledger.clone()).await?);
    let mut commands = BufReader::new(tokio::io::stdin()).lines();
    println!("ready");
    if commands.next_line().await?.is_none() {
        return Ok(());
    }
    let running = Arc::clone(&worker);
    tokio::spawn(async move { running.run().await });
    tokio::spawn(tell_progress(worker));
    produce(&queue, ledger.as_deref()).await?;
    // Until the harness hangs up.
    while commands.next_line().await?.is_some() {}
    std::process::exit(0)
}

async fn produce(queue: &Queue, ledger: Option<&Ledger>) -> Result<()> {
    let mut produced = 0;
    let mut pages = audience::pages()?;
    while let Some(page) = pages.recv().await {
        let page = page?;
        if let Some(ledger) = ledger {
            ledger.insert(&page).await?;
        }
        produced += page.len();
        let jobs = page.iter().map(|message| BulkJob::new("message", message));
        queue.add_bulk(jobs.collect()).await?;
    }
    println!("produced {produced}");
    Ok(())
}

async fn worker(redis: RedisConnectionOptions, ledger: Option<Arc<Ledger>>) -> Result<Worker> {
    let sender = Arc::new(Sender::new(&setting("SEND")?)?);
    let process = move |job: Job, _: CancellationToken| {
        let (sender, ledger) = (Arc::clone(&sender), ledger.clone());
        async move {
            let message: Message = serde_json::from_value(job.data().clone())?;
            let wamid = sender.send(&message).await;
            if let Some(ledger) = ledger {
                ledger.accepted(message.seq, wamid.clone()).await;
            }
            Ok(wamid.into())
        }
    };
    let options = WorkerOptions::new()
        .connection(redis)
        .concurrency(setting("CONCURRENCY")?.parse()?)
        .remove_on_complete(RemoveOnFinish::Bool(true))
        .manual_start();
    Ok(Worker::with_options(QUEUE, process, options).await?)
}

/// Counts what is completed, once BullMQ says that it is.
async fn tell_progress(worker: Arc<Worker>) {
    let done = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&done);
    tokio::spawn(async move {
        let mut told = 0;
        loop {
            tokio::time::sleep(TELL_EVERY).await;
            let now = counted.load(Ordering::Relaxed);
            if now != told {
                println!("done {now}");
                told = now;
            }
        }
    });
    while let Some(event) = worker.next_event().await {
        match event {
            WorkerEvent::Completed { .. } => {
                done.fetch_add(1, Ordering::Relaxed);
            }
            WorkerEvent::Failed { error, .. } => {
                eprintln!("a job failed: {error}");
                std::process::exit(1);
            }
            WorkerEvent::Error(error) => eprintln!("{error}"),
            _ => {}
        }
    }
}

fn setting(name: &str) -> Result<String> {
    match std::env::var(name).context(name.to_owned())? {
        value if value.is_empty() => bail!("{name} is empty"),
        value => Ok(value),
    }
}
