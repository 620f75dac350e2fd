//! What became of every recipient, by the ledger's export and by the mock's acceptance log, one by one.

use crate::report::{ACCEPTED_STATES, Report};
use crate::stack::Stack;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A row of the ledger's export.
#[derive(Debug, Clone, Deserialize)]
struct Row {
    seq: i64,
    phone: String,
    state: String,
}

impl Row {
    fn is_accepted(&self) -> bool {
        ACCEPTED_STATES.contains(&self.state.as_str())
    }
}

/// A line of the mock's export.
#[derive(Debug, Clone, Deserialize)]
struct Acceptance {
    recipient: String,
    count: u64,
    callback_data: Option<String>,
}

/// Everyone in the audience of a finished campaign, from both sides.
#[derive(Debug)]
pub struct Reckoning {
    /// The counters.
    pub report: Report,
    rows: BTreeMap<i64, Row>,
    accepted: BTreeMap<i64, Acceptance>,
}

/// What may be otherwise than it should.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Messages that were accepted and whose own webhooks were lost stand as uncertain, for a person.
    pub unknown_acceptances: bool,
    /// WhatsApp refused some for good.
    pub failures: bool,
}

impl Stack {
    /// Reads both sides of a campaign that is finished.
    pub async fn reckon(&self, campaign: &str, report: Report) -> Reckoning {
        let export = self
            .api_text(&format!("/v1/campaigns/{campaign}/messages?format=csv"))
            .await;
        let rows = csv::Reader::from_reader(export.as_bytes())
            .into_deserialize()
            .map(|row| row.expect("a row of the export"))
            .map(|row: Row| (row.seq, row))
            .collect();
        let log = self
            .whatsapp_text(&format!("/mock/acceptances/export?campaign={campaign}"))
            .await;
        let accepted = log.lines().map(|line| acceptance(campaign, line)).collect();
        Reckoning {
            report,
            rows,
            accepted,
        }
    }
}

fn acceptance(campaign: &str, line: &str) -> (i64, Acceptance) {
    let acceptance: Acceptance = serde_json::from_str(line).expect("a line of the acceptance log");
    let data = acceptance.callback_data.as_deref().expect("callback data");
    let seq = data
        .strip_prefix(campaign)
        .and_then(|rest| rest.rsplit(':').next()?.parse().ok());
    (seq.unwrap_or_else(|| panic!("{data} names a row")), acceptance)
}

impl Reckoning {
    /// Recipients that WhatsApp accepted more than once.
    pub fn doubled(&self) -> Vec<&str> {
        let more = self.accepted.values().filter(|acceptance| acceptance.count > 1);
        more.map(|acceptance| acceptance.recipient.as_str()).collect()
    }

    /// Rows without a final state, acceptances that no row knows of, and rows that say the opposite. Uncertain is
    /// final for the engine: a person decides.
    pub fn lost(&self) -> Vec<String> {
        let waiting = self
            .rows
            .values()
            .filter(|row| matches!(row.state.as_str(), "pending" | "deferred"))
            .map(|row| format!("row {} is {}", row.seq, row.state));
        let unknown = self
            .accepted
            .iter()
            .filter(|(seq, acceptance)| {
                self.rows
                    .get(seq)
                    .is_none_or(|row| row.phone != acceptance.recipient)
            })
            .map(|(seq, acceptance)| format!("row {seq} is not {}", acceptance.recipient));
        let opposite = self
            .disagreements()
            .into_iter()
            .filter(|(_, state)| *state != "uncertain")
            .map(|(seq, state)| format!("row {seq} is {state}, and WhatsApp says otherwise"));
        waiting.chain(unknown).chain(opposite).collect()
    }

    /// Rows that say accepted where WhatsApp does not, or the other way round; `(row, state)`.
    pub fn disagreements(&self) -> Vec<(i64, &str)> {
        self.rows
            .values()
            .filter(|row| row.is_accepted() != self.accepted.contains_key(&row.seq))
            .map(|row| (row.seq, row.state.as_str()))
            .collect()
    }

    /// P1 to P4 for every recipient.
    pub fn assert(&self, allowed: Allowed) {
        assert_eq!(
            self.lost(),
            Vec::<String>::new(),
            "P1, P2: everyone has a final state, and the right one"
        );
        assert_eq!(self.doubled(), Vec::<&str>::new(), "P4: nobody got two messages");
        let disagreements: Vec<_> = self
            .disagreements()
            .into_iter()
            .filter(|_| !allowed.unknown_acceptances)
            .collect();
        assert_eq!(
            disagreements,
            [],
            "P1: evidence reaches every uncertain message that was accepted: the ledger has what WhatsApp accepted; {} of {} were accepted",
            self.accepted.len(),
            self.rows.len()
        );
        assert_eq!(self.counted(), self.counters(), "P3: the counters are the rows");
        if !allowed.failures {
            assert_eq!(
                self.report.count("failed"),
                0,
                "nobody is failed by a fault of ours"
            );
        }
        assert!(
            self.report.accepted() > 0,
            "something was sent: {:?}",
            self.report
        );
    }

    fn counted(&self) -> BTreeMap<&str, i64> {
        let mut counted = BTreeMap::new();
        for row in self.rows.values() {
            *counted.entry(row.state.as_str()).or_default() += 1;
        }
        counted
    }

    fn counters(&self) -> BTreeMap<&str, i64> {
        let states = self.report.campaign["progress"]["by_state"]
            .as_object()
            .expect("states");
        states
            .iter()
            .filter_map(|(state, count)| Some((state.as_str(), count.as_i64().filter(|count| *count > 0)?)))
            .collect()
    }
}

/// When WhatsApp accepted messages, by its own clock.
#[derive(Debug, Clone, Deserialize)]
pub struct Pace {
    first_at_ms: u64,
    bucket_ms: u64,
    counts: Vec<u64>,
}

/// How long messages must flow to be called flowing.
const FLOWING_MS: u64 = 500;
/// And at which share of the number's rate.
const FLOWING_SHARE: f64 = 0.8;

impl Pace {
    /// Of the number that all campaigns of the test send from.
    pub async fn of(stack: &Stack, lane: &str) -> Self {
        let rate: Value = stack
            .whatsapp(Method::GET, &format!("/mock/rate?phone_number_id={lane}"), None)
            .await;
        serde_json::from_value(rate).expect("a histogram")
    }

    /// Milliseconds from `fault_over_ms` (since 1970) until messages flowed at normal speed again, or, if there
    /// were too few left for that, until the last. Normal is the number's rate, or what the machine usually did if
    /// that is less.
    pub fn recovery_ms(&self, fault_over_ms: u64, rate_per_second: u32) -> u64 {
        let buckets = usize::try_from(FLOWING_MS / self.bucket_ms).expect("a few");
        let rated = f64::from(rate_per_second) * FLOWING_MS as f64 / 1_000.0;
        let enough = rated.min(self.usual(buckets)) * FLOWING_SHARE;
        // The bucket in which the fault ended is part of the fault.
        let first = fault_over_ms
            .saturating_sub(self.first_at_ms)
            .div_ceil(self.bucket_ms);
        let after = self
            .counts
            .get(usize::try_from(first).expect("small")..)
            .unwrap_or_default();
        let flowing = after
            .windows(buckets)
            .position(|window| window.iter().sum::<u64>() as f64 >= enough);
        let last = after
            .iter()
            .rposition(|count| *count > 0)
            .map_or(0, |last| last + 1);
        flowing.unwrap_or(last) as u64 * self.bucket_ms
    }

    /// The median of so many buckets, while anything was sent.
    fn usual(&self, buckets: usize) -> f64 {
        let mut sums: Vec<u64> = self
            .counts
            .windows(buckets)
            .map(|window| window.iter().sum())
            .filter(|sum| *sum > 0)
            .collect();
        sums.sort_unstable();
        sums.get(sums.len() / 2).map_or(f64::MAX, |median| *median as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_is_the_time_until_messages_flow() {
        let mut counts = vec![10; 10];
        counts.extend([0; 7]);
        counts.extend([10; 10]);
        let pace = Pace {
            first_at_ms: 1_000,
            bucket_ms: 100,
            counts,
        };
        assert_eq!(
            pace.recovery_ms(2_000, 100),
            600,
            "the window may begin a bucket early"
        );
        assert_eq!(pace.recovery_ms(2_700, 100), 0);
        assert_eq!(pace.recovery_ms(3_500, 100), 200, "until the last one");
        assert_eq!(pace.recovery_ms(9_000, 100), 0, "nothing was left to send");
        assert_eq!(
            pace.recovery_ms(2_000, 1_000),
            600,
            "the machine was never that fast"
        );
    }
}
