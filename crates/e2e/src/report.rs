//! How a campaign ended, from both sides: the ledger's counters and the mock's acceptance log.

use serde_json::Value;

/// The states of a message that WhatsApp is known to have accepted.
pub const ACCEPTED_STATES: [&str; 5] = ["accepted", "sent", "undelivered", "delivered", "read"];

/// A finished campaign.
#[derive(Debug, Clone)]
pub struct Report {
    /// The API's answer for the campaign.
    pub campaign: Value,
    /// The mock's summary of what it accepted for the campaign.
    pub acceptances: Value,
}

impl Report {
    /// Recipients in a state.
    pub fn count(&self, state: &str) -> i64 {
        self.campaign["progress"]["by_state"][state]
            .as_i64()
            .unwrap_or_else(|| panic!("no state {state}"))
    }

    /// Everyone in the audience.
    pub fn total(&self) -> i64 {
        self.campaign["progress"]["total"].as_i64().expect("a total")
    }

    /// Recipients whose message is known to be accepted, whatever came later.
    pub fn accepted(&self) -> i64 {
        ACCEPTED_STATES.iter().map(|state| self.count(state)).sum()
    }

    /// P2, P3 and P4: everyone has a final state, the sums balance, the acceptance log has each recipient
    /// exactly once, and it has exactly those that the ledger has.
    pub fn assert_exactly_once(&self) {
        let states = self.campaign["progress"]["by_state"].as_object().expect("states");
        let sum: i64 = states.values().filter_map(Value::as_i64).sum();
        assert_eq!(sum, self.total(), "P3: the sums balance: {self:?}");
        assert_eq!(
            self.count("pending") + self.count("deferred"),
            0,
            "P2: everyone has a final state: {self:?}"
        );
        let log = |name: &str| {
            self.acceptances[name]
                .as_i64()
                .unwrap_or_else(|| panic!("no {name}"))
        };
        assert_eq!(self.acceptances["overflow"], false, "the log is complete");
        assert_eq!(
            log("accepted"),
            log("unique_recipients"),
            "P4: nobody was accepted twice: {}",
            self.acceptances
        );
        assert_eq!(
            log("accepted"),
            self.accepted(),
            "the ledger has what WhatsApp accepted: {self:?}"
        );
    }
}
