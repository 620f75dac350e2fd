//! What every part of the service uses.

use crate::allow_list::AllowList;
use crate::config::Config;
use crate::lanes::LaneRegistry;
use crate::opt_out_words::OptOutWords;
use crate::transport::Transport;
use campaign_core::ids::InstanceId;
use campaign_runtime::{ConfigProblem, Runtime, Shutdown, Spawner};
use campaign_streams::Streams;
use campaign_streams::wake::Waker;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Outcomes of one lane that may wait for the ledger before no more are written without need: webhooks are
/// refused (and come again), and nothing kept is published once more. About 70 MB of Redis.
pub(crate) const OUTCOMES_MAX: u64 = 200_000;

/// The service's parts and settings.
pub(crate) struct Service {
    /// This process, in every lane: random, so that it is never mistaken for one before it.
    pub(crate) instance: InstanceId,
    pub(crate) streams: Streams,
    pub(crate) transport: Transport,
    pub(crate) allow_list: AllowList,
    pub(crate) opt_out_words: OptOutWords,
    /// One for each message that may be in hand.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) concurrency: u32,
    pub(crate) attempts_max: i32,
    /// Outcomes kept of a lane above which nothing more is taken from it.
    pub(crate) kept_max: usize,
    pub(crate) entry_lease: Duration,
    pub(crate) settle_interval: Duration,
    pub(crate) waker: Waker,
    pub(crate) lanes: LaneRegistry,
    pub(crate) shutdown: Shutdown,
    pub(crate) spawner: Spawner,
}

impl Service {
    pub(crate) fn new(config: &Config, runtime: &Runtime) -> anyhow::Result<Self> {
        let problem = |problem: ConfigProblem| anyhow::anyhow!("{problem}");
        Ok(Self {
            instance: InstanceId(Uuid::new_v4()),
            streams: Streams::lazy(config.redis().map_err(problem)?)?,
            transport: config.transport().map_err(problem)?,
            allow_list: config.allow_list().map_err(problem)?,
            opt_out_words: config.opt_out_words(),
            permits: Arc::new(Semaphore::new(config.concurrency as usize)),
            concurrency: config.concurrency,
            attempts_max: config.attempts_max,
            kept_max: config.kept_outcomes_max as usize,
            entry_lease: config.entry_lease(),
            settle_interval: config.settle_interval(),
            waker: Waker::new(),
            lanes: LaneRegistry::default(),
            shutdown: runtime.shutdown.clone(),
            spawner: runtime.spawner(),
        })
    }
}
