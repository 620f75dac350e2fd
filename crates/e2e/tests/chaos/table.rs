//! What is printed at the end.

use e2e::{Pace, Reckoning};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A fault that happened.
#[derive(Debug)]
pub(crate) struct Suffered {
    pub(crate) fault: String,
    /// Milliseconds since 1970.
    pub(crate) over_ms: u64,
    /// Whether enough was left to send to see messages flow again.
    pub(crate) tells_recovery: bool,
}

/// Everything so far.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) campaigns: u64,
    recipients: i64,
    lost: usize,
    doubled: usize,
    uncertain: i64,
    pub(crate) suffered: Vec<Suffered>,
}

impl Totals {
    pub(crate) fn add(&mut self, reckoning: &Reckoning) {
        self.campaigns += 1;
        self.recipients += reckoning.report.total();
        self.lost += reckoning.lost().len();
        self.doubled += reckoning.doubled().len();
        self.uncertain += reckoning.report.count("uncertain");
    }

    /// Faults by name: how often, and the median and longest recovery in milliseconds.
    pub(crate) fn table(&self, pace: &Pace, rate_per_second: u32) -> String {
        let mut by_fault: BTreeMap<&str, (usize, Vec<u64>)> = BTreeMap::new();
        for suffered in &self.suffered {
            let (times, recoveries) = by_fault.entry(&suffered.fault).or_default();
            *times += 1;
            if suffered.tells_recovery {
                recoveries.push(pace.recovery_ms(suffered.over_ms, rate_per_second));
            }
        }
        let mut table = format!("{:>5} {:>9} {:>9}  fault\n", "times", "median ms", "longest");
        for (fault, (times, mut recoveries)) in by_fault {
            recoveries.sort_unstable();
            let shown = |recovery: Option<&u64>| recovery.map_or_else(|| "-".to_owned(), u64::to_string);
            let median = shown(recoveries.get(recoveries.len() / 2));
            let longest = shown(recoveries.last());
            let _ = writeln!(table, "{times:>5} {median:>9} {longest:>9}  {fault}");
        }
        let _ = write!(
            table,
            "{} campaigns, {} recipients, {} faults: {} lost, {} doubled, {} uncertain",
            self.campaigns,
            self.recipients,
            self.suffered.len(),
            self.lost,
            self.doubled,
            self.uncertain
        );
        table
    }
}
