//! One Postgres row for each message, written in batches: inserted with its page, updated when it was sent.

use crate::messages::Message;
use anyhow::Result;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Client, NoTls};

/// Rows in one update, and updates at a time.
const BATCH_MAX: usize = 1_000;
const IN_FLIGHT_MAX: usize = 2;

const INSERT: &str = "INSERT INTO peer_messages (seq, phone, variables) \
    SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::jsonb[])";
const ACCEPTED: &str = "UPDATE peer_messages AS m \
    SET state = CASE WHEN u.wamid IS NULL THEN 'failed' ELSE 'accepted' END, wamid = u.wamid, settled_at = now() \
    FROM UNNEST($1::bigint[], $2::text[]) AS u (seq, wamid) WHERE m.seq = u.seq";

struct Accepted {
    seq: i64,
    wamid: Option<String>,
    committed: oneshot::Sender<()>,
}

pub struct Ledger {
    inserts: Client,
    waiting: mpsc::UnboundedSender<Accepted>,
}

impl Ledger {
    pub async fn connect(url: &str) -> Result<Self> {
        let (waiting, updates) = mpsc::unbounded_channel();
        let updates = std::sync::Arc::new(tokio::sync::Mutex::new(updates));
        for _ in 0..IN_FLIGHT_MAX {
            let client = client(url).await?;
            let updates = std::sync::Arc::clone(&updates);
            tokio::spawn(async move {
                loop {
                    let mut batch = Vec::new();
                    let got = updates.lock().await.recv_many(&mut batch, BATCH_MAX).await;
                    if got == 0 {
                        return;
                    }
                    update(&client, batch).await;
                }
            });
        }
        Ok(Self {
            inserts: client(url).await?,
            waiting,
        })
    }

    pub async fn insert(&self, messages: &[Message]) -> Result<()> {
        let seqs: Vec<i64> = messages.iter().map(|message| message.seq).collect();
        let phones: Vec<&str> = messages.iter().map(|message| message.to.as_str()).collect();
        let values: Vec<Value> = messages.iter().map(|message| json!(message.values)).collect();
        let insert = self.inserts.prepare(INSERT).await?;
        self.inserts.execute(&insert, &[&seqs, &phones, &values]).await?;
        Ok(())
    }

    /// Returns when the row is committed. What comes while updates are under way goes with the next one.
    pub async fn accepted(&self, seq: i64, wamid: Option<String>) {
        let (committed, done) = oneshot::channel();
        let _ = self.waiting.send(Accepted {
            seq,
            wamid,
            committed,
        });
        if done.await.is_err() {
            eprintln!("Postgres did not take an update");
            std::process::exit(1);
        }
    }
}

async fn client(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

async fn update(client: &Client, mut batch: Vec<Accepted>) {
    batch.sort_unstable_by_key(|accepted| accepted.seq);
    let seqs: Vec<i64> = batch.iter().map(|accepted| accepted.seq).collect();
    let wamids: Vec<Option<&str>> = batch.iter().map(|accepted| accepted.wamid.as_deref()).collect();
    // Dropping the batch tells everyone who waits that it failed.
    if let Err(error) = client.execute(ACCEPTED, &[&seqs, &wamids]).await {
        eprintln!("{error}");
        return;
    }
    for accepted in batch {
        let _ = accepted.committed.send(());
    }
}
