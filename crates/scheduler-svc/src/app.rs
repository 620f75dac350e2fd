//! What the scheduler is made of.

use crate::account_events;
use crate::api::SyncBell;
use crate::api::{self, Api};
use crate::config::Config;
use crate::limits::{self, LimitSync};
use crate::queue_metrics;
use crate::streams::Queues;
use crate::templates::sync::TemplateSync;
use crate::ticks::{self, LastTick};
use crate::upkeep;
use anyhow::anyhow;
use campaign_runtime::{ConfigProblem, Runtime};
use campaign_store::Store;
use campaign_streams::Streams;
use campaign_streams::wake::{Audience, Waker};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// What those share who follow what others report.
pub(crate) struct Scheduler {
    pub(crate) store: Store,
    pub(crate) queues: Queues,
    /// Rung when the listing of templates should be read.
    pub(crate) sync_bell: Arc<Notify>,
}

/// Runs the scheduler until it is told to stop.
pub async fn run(config: Config, runtime: Runtime) -> anyhow::Result<()> {
    let store = Store::lazy(&config.pool().map_err(wrong)?)?;
    let queues = Queues::new(Streams::lazy(config.redis().map_err(wrong)?)?);
    let erp = config.erp().map_err(wrong)?;
    let shutdown = runtime.shutdown.clone();

    let postgres = runtime.health.register("postgres");
    runtime.spawn(
        "count-campaigns",
        upkeep::count_campaigns(store.clone(), postgres, shutdown.clone()),
    );
    runtime.spawn("clean", upkeep::clean(store.clone(), shutdown.clone()));

    let redis = runtime.health.register("redis");
    let last_tick = Arc::new(LastTick::new());
    runtime.spawn(
        "publish-minutes",
        ticks::publish_minutes(queues.clone(), redis, shutdown.clone()),
    );
    runtime.spawn(
        "follow",
        ticks::follow(store.clone(), queues.clone(), last_tick.clone(), shutdown.clone()),
    );
    runtime.spawn(
        "queue-metrics",
        queue_metrics::run(queues.streams().clone(), shutdown.clone()),
    );
    let silence = Duration::from_millis(config.tick_silence_ms);
    let distrust = ticks::distrust_silence(
        store.clone(),
        queues.clone(),
        last_tick,
        silence,
        shutdown.clone(),
    );
    runtime.spawn("distrust-silence", distrust);
    if config.precise_wakeup {
        let waker = Waker::new();
        let (streams, stopping) = (queues.streams().clone(), shutdown.stopping_token());
        let due = ticks::publish_due(store.clone(), queues.clone(), waker.clone(), shutdown);
        runtime.spawn("publish-due", due);
        runtime.spawn("wake-ups", async move {
            waker.listen(streams, Audience::Schedulers, stopping).await;
            Ok(())
        });
    }

    let template_sync = follow_whatsapp(&config, &runtime, &store, &queues)?;
    let control_wait = Duration::from_millis(config.control_wait_ms);
    let api = Api {
        store: store.clone(),
        queues,
        erp,
        control_wait,
        template_sync,
        precise_wakeup: config.precise_wakeup,
    };
    let served = runtime.serve(api::router(api)).await;
    store.close().await;
    served
}

/// Hears what WhatsApp reports, and reads templates and limits if there is a token for it.
fn follow_whatsapp(
    config: &Config,
    runtime: &Runtime,
    store: &Store,
    queues: &Queues,
) -> anyhow::Result<SyncBell> {
    let shutdown = runtime.shutdown.clone();
    let bell = Arc::new(Notify::new());
    let scheduler = Arc::new(Scheduler {
        store: store.clone(),
        queues: queues.clone(),
        sync_bell: bell.clone(),
    });
    runtime.spawn(
        "account-events",
        account_events::consume(scheduler, shutdown.stopping_token()),
    );
    let whatsapp = config.whatsapp().map_err(wrong)?;
    let enabled = whatsapp.is_some();
    if config.limit_sync_seconds == 0 {
        let forget = limits::forget_reports(store.clone(), queues.clone(), shutdown.clone());
        runtime.spawn("forget-limits", forget);
    }
    if let Some(whatsapp) = whatsapp {
        if config.limit_sync_seconds > 0 {
            let sync = LimitSync {
                store: store.clone(),
                queues: queues.clone(),
                whatsapp: whatsapp.clone(),
                every: Duration::from_secs(config.limit_sync_seconds),
            };
            runtime.spawn("limit-sync", sync.run(shutdown.clone()));
        }
        let sync = TemplateSync {
            store: store.clone(),
            queues: queues.clone(),
            whatsapp,
            every: Duration::from_secs(config.template_sync_seconds),
            bell: bell.clone(),
        };
        runtime.spawn("template-sync", sync.run(shutdown));
    } else {
        tracing::warn!("no WHATSAPP_ACCESS_TOKEN: templates are not read from WhatsApp");
    }
    Ok(SyncBell { enabled, bell })
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn wrong(problem: ConfigProblem) -> anyhow::Error {
    anyhow!("{problem}")
}
