//! Faults at random, one after another, while campaign follows campaign; then every recipient of each is compared.
//!
//! `CHAOS_SECONDS` says for how long (the ordinary test run: half a minute), `CHAOS_SEED` repeats the faults and
//! their order.

mod table;

use e2e::{Allowed, Fault, GRACE, LANE, Pace, Part, Plan, Trial, Wire, now_ms, say};
use rand::RngExt;
use rand::seq::IndexedRandom;
use serde_json::json;
use std::time::{Duration, Instant};
use table::{Suffered, Totals};
use testkit::Mode;

/// The calm between two faults.
const CALM_MS: std::ops::Range<u64> = 500..4_000;
/// A fault that leaves less than this to send says nothing about recovery.
const ENOUGH_LEFT: Duration = Duration::from_secs(4);
/// How long a campaign may take after its last fault.
const PATIENCE: Duration = Duration::from_mins(3);
const DEFAULT_SECONDS: u64 = 30;

/// Everything that can be done to a system with two of each service.
fn faults() -> Vec<Fault> {
    let short = Duration::from_secs(2);
    let mut faults = vec![
        Fault::Kill(Part::Scheduler),
        Fault::Kill(Part::Sender),
        Fault::Kill(Part::Messenger),
        Fault::Kill(Part::Erp),
        Fault::RollingRestart,
        Fault::Freeze(Part::Messenger, GRACE + Duration::from_secs(1)),
        Fault::Freeze(Part::Sender, Duration::from_secs(4)),
        Fault::RedisRestart,
        Fault::RedisLosesLastSecond,
        Fault::RedisFlush,
        Fault::RedisAway(short),
        Fault::RedisFull(short),
        Fault::RedisDiskFull(short),
        Fault::PostgresRestart,
        Fault::PostgresEndsSessions,
        Fault::PostgresAway(short),
        Fault::PostgresExhausted(short),
        Fault::BothAway(short),
        Fault::Whatsapp(json!({"errors": [{"code": 131_000, "share": 0.5}]}), short),
        Fault::Whatsapp(json!({"errors": [{"code": 130_429, "share": 1.0}]}), short),
        Fault::Whatsapp(json!({"hang": 0.02}), short),
        Fault::Whatsapp(json!({"reset_before": 0.02, "reset_after": 0.02}), short),
        Fault::Whatsapp(json!({"garbage_before": 0.02, "garbage_after": 0.02}), short),
        Fault::Webhooks(
            json!({"late_share": 0.5, "late_ms": 3_000, "shuffle": true}),
            short,
        ),
        Fault::Webhooks(json!({"repeat_share": 1.0}), short),
        Fault::Erp(
            json!({"server_error_share": 0.5, "repeated_page_share": 0.3}),
            short,
        ),
    ];
    for wire in Wire::ALL {
        for mode in [
            Mode::HoldRequests,
            Mode::DropReplies,
            Mode::Blackhole,
            Mode::Reset,
        ] {
            faults.push(Fault::Wire(wire, mode, short));
        }
    }
    faults
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {value}")),
    )
}

#[tokio::test]
async fn everything_at_random() {
    let seed = setting("CHAOS_SEED").unwrap_or_else(|| rand::random_range(0..1_000_000));
    let seconds = setting("CHAOS_SECONDS").unwrap_or(DEFAULT_SECONDS);
    let plan = Plan {
        customers: (11_400, 11_400),
        rate: (500, 500),
        ..Plan::default().processes(2, 2, 2)
    };
    let mut trial = Trial::prepare_with("everything_at_random", plan, seed).await;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut totals = Totals::default();
    while Instant::now() < until {
        let campaign = trial.stack.create(json!({})).await;
        trial.campaign.clone_from(&campaign);
        trial.stack.schedule(&campaign, None).await;
        suffer_until_finished(&mut trial, until, &mut totals).await;
        let report = trial.stack.finished(&campaign, PATIENCE).await;
        let reckoning = trial.stack.reckon(&campaign, report).await;
        totals.add(&reckoning);
        reckoning.assert(Allowed::default());
        say(&format!(
            "campaign {} of {} recipients is whole",
            totals.campaigns,
            reckoning.report.total()
        ));
    }
    let pace = Pace::of(&trial.stack, LANE).await;
    say(&format!(
        "seed {seed}, {seconds} s\n{}",
        totals.table(&pace, trial.rate)
    ));
    trial.tidy().await;
}

/// Lets faults happen until the campaign is finished, or the time is over.
async fn suffer_until_finished(trial: &mut Trial, until: Instant, totals: &mut Totals) {
    let faults = faults();
    while Instant::now() < until && !trial.stack.is_finished(&trial.campaign).await {
        let calm = trial.chance.random_range(CALM_MS);
        tokio::time::sleep(Duration::from_millis(calm)).await;
        let fault = faults.choose(&mut trial.chance).expect("there are some");
        say(&format!("{fault:?}"));
        fault.happen(&mut trial.stack).await;
        let over_ms = now_ms();
        trial.stack.wait_ready().await;
        totals.suffered.push(Suffered {
            fault: format!("{fault:?}"),
            over_ms,
            tells_recovery: trial.left_to_send().await > ENOUGH_LEFT,
        });
    }
}
