//! Every metric of the service, by name, in one place.

use campaign_core::ids::LaneId;
use std::time::Duration;

/// A message left this process's hands, by how it ended.
pub(crate) fn sent(class: &'static str) {
    metrics::counter!("sends_total", "class" => class).increment(1);
}

/// From the call of the transport to its answer.
pub(crate) fn send_took(elapsed: Duration) {
    metrics::histogram!("send_seconds").record(elapsed);
}

/// One round trip of a take, and how many messages it brought.
pub(crate) fn took(elapsed: Duration, messages: usize) {
    metrics::histogram!("take_seconds").record(elapsed);
    if messages > 0 {
        metrics::histogram!("take_messages").record(messages as f64);
    }
}

/// Takes, recoveries and settles that failed.
pub(crate) fn redis_failed(operation: &'static str) {
    metrics::counter!("redis_failures_total", "operation" => operation).increment(1);
}

/// One round trip of a settle, and how many steps it carried out.
pub(crate) fn settled(elapsed: Duration, steps: usize) {
    metrics::histogram!("settle_seconds").record(elapsed);
    metrics::histogram!("settle_steps").record(steps as f64);
}

/// Messages came into this process's hands.
pub(crate) fn in_hand(messages: usize) {
    metrics::gauge!("in_flight").increment(messages as f64);
}

/// Messages that are no longer in this process's hands.
pub(crate) fn landed(messages: usize) {
    if messages > 0 {
        metrics::gauge!("in_flight").decrement(messages as f64);
    }
}

/// A message goes again.
pub(crate) fn retried(reason: &'static str) {
    metrics::counter!("retries_total", "reason" => reason).increment(1);
}

/// Messages given back unsent.
pub(crate) fn handed_back(reason: &'static str, messages: usize) {
    metrics::counter!("handed_back_total", "reason" => reason).increment(messages as u64);
}

/// Entries found after a broken reply that nobody had heard of.
pub(crate) fn recovered(messages: usize) {
    metrics::counter!("recovered_total").increment(messages as u64);
}

/// Outcomes of a lane that the ledger has not applied.
pub(crate) fn kept(lane: &LaneId, outcomes: usize) {
    metrics::gauge!("kept_outcomes", "lane" => lane.to_string()).set(outcomes as f64);
}

/// A join was published.
pub(crate) fn joined() {
    metrics::counter!("joins_total").increment(1);
}

/// Whether a lane holds back because WhatsApp does not answer.
pub(crate) fn breaker_open(lane: &LaneId, open: bool) {
    metrics::gauge!("lane_breaker_open", "lane" => lane.to_string()).set(if open { 1.0 } else { 0.0 });
}

/// One update of a webhook that was understood.
pub(crate) fn webhook_update(kind: &'static str) {
    metrics::counter!("webhook_updates_total", "kind" => kind).increment(1);
}

/// One update of a webhook that concerns nothing here, and why.
pub(crate) fn webhook_unknown(reason: &'static str, updates: usize) {
    metrics::counter!("webhook_unknown_total", "reason" => reason).increment(updates as u64);
}

/// From a webhook's last byte to the moment that everything in it is in Redis.
pub(crate) fn webhook_taken(elapsed: Duration) {
    metrics::histogram!("webhook_seconds").record(elapsed);
}

/// A webhook that was not answered 200, and why.
pub(crate) fn webhook_refused(reason: &'static str) {
    metrics::counter!("webhook_refused_total", "reason" => reason).increment(1);
}
