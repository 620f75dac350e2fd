//! Puts the parts together and runs them until the service is asked to stop.

use crate::config::Config;
use crate::service::Service;
use crate::{lanes, webhooks};
use anyhow::anyhow;
use campaign_runtime::{HealthHandle, Runtime};
use campaign_streams::wake::Audience;
use campaign_streams::{StreamsError, require_safe_settings};
use std::sync::Arc;
use std::time::Duration;

/// How often the settings of Redis are tried while it is away.
const REQUIREMENTS_EVERY: Duration = Duration::from_millis(500);

/// Runs the service.
pub async fn run(config: Config, runtime: Runtime) -> anyhow::Result<()> {
    let service = Arc::new(Service::new(&config, &runtime)?);
    // The same was checked at start; only a secret's file can have changed since.
    let secrets = config.webhook_secrets().map_err(|problems| {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        anyhow!("{}", problems.join("; "))
    })?;
    tracing::info!(instance = %service.instance, concurrency = service.concurrency, "this is the instance");

    let (redis, sending) = (runtime.health.register("redis"), runtime.health.register("lanes"));
    let listening = service.waker.clone().listen(
        service.streams.clone(),
        Audience::Messages,
        runtime.shutdown.stopping_token(),
    );
    runtime.spawn("wake-ups", async move {
        listening.await;
        Ok(())
    });
    let grace = config.grace();
    let starting = Arc::clone(&service);
    runtime.spawn("lanes", async move {
        let met = Box::pin(meet_requirements(&starting, grace, &redis));
        match starting.shutdown.run_until_stopping(met).await {
            None => Ok(()),
            Some(Err(error)) => Err(error),
            Some(Ok(())) => lanes::follow(Arc::clone(&starting), sending).await,
        }
    });
    runtime.serve(webhooks::router(service, secrets)).await
}

/// Waits until Redis answers, and checks that it is fit to use. Unfit is an error, away is not.
async fn meet_requirements(service: &Service, grace: Duration, health: &HealthHandle) -> anyhow::Result<()> {
    loop {
        match require_safe_settings(&service.streams, grace).await {
            Ok(()) => {
                health.ready();
                return Ok(());
            }
            Err(error @ StreamsError::UnsafeSettings(_)) => return Err(error.into()),
            Err(error) => {
                health.unready(format!("Redis is away: {error}"));
                tokio::time::sleep(REQUIREMENTS_EVERY).await;
            }
        }
    }
}
