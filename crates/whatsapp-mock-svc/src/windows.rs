//! Customer service windows: for 24 hours after a person wrote, the business may answer freely.

use std::collections::HashMap;
use std::sync::Arc;

const WINDOW_US: u64 = 24 * 3_600 * 1_000_000;
/// Most windows; while there are so many open ones, no further one opens.
const MAX_WINDOWS: usize = 100_000;

/// When people wrote last, by phone number and `wa_id`.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    wrote_at_us: HashMap<(Arc<str>, u64), u64>,
}

impl Windows {
    /// A person wrote.
    pub(crate) fn open(&mut self, phone_number_id: &str, wa_id: u64, now_us: u64) {
        if self.wrote_at_us.len() >= MAX_WINDOWS {
            self.wrote_at_us.retain(|_, at_us| *at_us + WINDOW_US > now_us);
        }
        let key = (Arc::from(phone_number_id), wa_id);
        if self.wrote_at_us.len() < MAX_WINDOWS || self.wrote_at_us.contains_key(&key) {
            self.wrote_at_us.insert(key, now_us);
        }
    }

    pub(crate) fn is_open(&self, phone_number_id: &str, wa_id: u64, now_us: u64) -> bool {
        if self.wrote_at_us.is_empty() {
            return false;
        }
        let wrote_at_us = self.wrote_at_us.get(&(Arc::from(phone_number_id), wa_id));
        wrote_at_us.is_some_and(|at_us| at_us + WINDOW_US > now_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_open_for_a_day_and_for_one_pair() {
        let mut windows = Windows::default();
        windows.open("1", 55, 1_000);
        assert!(windows.is_open("1", 55, 999 + WINDOW_US));
        assert!(!windows.is_open("1", 55, 1_000 + WINDOW_US));
        assert!(!windows.is_open("2", 55, 2_000) && !windows.is_open("1", 56, 2_000));
    }

    #[test]
    fn windows_are_bounded_and_old_ones_make_room() {
        let mut windows = Windows::default();
        for wa_id in 0..MAX_WINDOWS as u64 {
            windows.open("1", wa_id, 0);
        }
        windows.open("1", u64::MAX, 1);
        assert!(!windows.is_open("1", u64::MAX, 1), "no room");
        windows.open("1", u64::MAX, WINDOW_US);
        assert!(windows.is_open("1", u64::MAX, WINDOW_US) && windows.wrote_at_us.len() == 1);
    }
}
