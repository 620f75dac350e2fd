//! Pages of a segment: a walk over the customers by index, bounded in what it returns and in what it looks at.

use crate::directory::Directory;
use campaign_core::customer::Customer;
use campaign_core::segment::Segment;

/// Most customers that one page looks at, however few of them match: a fraction of a second.
pub const MAX_SCANNED: u64 = 200_000;
/// Customers that the estimate of a segment's size looks at.
const SAMPLE_SIZE: u64 = 4_096;

/// Up to `limit` customers of a segment, one at a time, so that no page is ever held as customers.
#[derive(Debug)]
pub struct Walk<'a> {
    directory: &'a Directory,
    segment: &'a Segment,
    index: u64,
    end: u64,
    left: usize,
}

impl<'a> Walk<'a> {
    /// Begins at the index `from`.
    pub fn new(directory: &'a Directory, segment: &'a Segment, from: u64, limit: usize) -> Self {
        let end = directory
            .population()
            .size()
            .min(from.saturating_add(MAX_SCANNED));
        Self {
            directory,
            segment,
            index: from,
            end,
            left: limit,
        }
    }

    /// The index that the next page begins at; None at the end of all customers.
    pub fn next_index(&self) -> Option<u64> {
        (self.index < self.directory.population().size()).then_some(self.index)
    }
}

impl Iterator for Walk<'_> {
    type Item = Customer;

    fn next(&mut self) -> Option<Customer> {
        let today = self.directory.population().today();
        while self.left > 0 && self.index < self.end {
            let customer = self.directory.customer(self.index);
            self.index += 1;
            if self.segment.matches(&customer, today) {
                self.left -= 1;
                return Some(customer);
            }
        }
        None
    }
}

/// The page that led to the index `before`: for an ERP that gives a page a second time.
pub fn page_before(directory: &Directory, segment: &Segment, before: u64, limit: usize) -> Vec<Customer> {
    let today = directory.population().today();
    let start = before.saturating_sub(MAX_SCANNED);
    let backwards = (start..before).rev().map(|index| directory.customer(index));
    let mut customers: Vec<_> = backwards
        .filter(|customer| segment.matches(customer, today))
        .take(limit)
        .collect();
    customers.reverse();
    customers
}

/// About how many customers `segment` has; exact for a population that is smaller than the sample.
pub fn estimate(directory: &Directory, segment: &Segment) -> u64 {
    let size = directory.population().size();
    let today = directory.population().today();
    let sample = SAMPLE_SIZE.min(size);
    let matching = (0..sample)
        .map(|n| directory.customer(n * size / sample))
        .filter(|customer| segment.matches(customer, today))
        .count();
    matching as u64 * size / sample
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::Population;
    use chrono::NaiveDate;

    fn directory(size: u64) -> Directory {
        let today = NaiveDate::from_ymd_opt(2026, 3, 1).expect("a valid day");
        Directory::new(Population::new(1, size, today))
    }

    #[test]
    fn pages_together_are_the_segment() {
        let directory = directory(3_000);
        let segment = Segment {
            states: vec!["MG".into()],
            ..Segment::default()
        };
        let today = directory.population().today();
        let all = (0..3_000).map(|index| directory.customer(index));
        let expected: Vec<_> = all.filter(|customer| segment.matches(customer, today)).collect();

        let (mut paged, mut from) = (Vec::new(), Some(0));
        while let Some(index) = from {
            let mut walk = Walk::new(&directory, &segment, index, 7);
            let page: Vec<_> = walk.by_ref().collect();
            from = walk.next_index();
            if page.len() == 7 {
                let again = page_before(&directory, &segment, from.unwrap_or(3_000), 7);
                assert_eq!(again, page, "the page before is the same page");
            }
            paged.extend(page);
        }
        assert!(expected.len() > 100);
        assert_eq!(paged, expected);
        assert_eq!(estimate(&directory, &segment), expected.len() as u64);
    }

    #[test]
    fn a_page_that_finds_nobody_ends_all_the_same() {
        let directory = directory(MAX_SCANNED + 10);
        let nobody = Segment {
            tags_any: vec!["no such tag".into()],
            ..Segment::default()
        };
        let mut first = Walk::new(&directory, &nobody, 0, 10);
        assert_eq!((first.next(), first.next_index()), (None, Some(MAX_SCANNED)));
        let mut last = Walk::new(&directory, &nobody, MAX_SCANNED, 10);
        assert_eq!((last.next(), last.next_index()), (None, None));
    }
}
