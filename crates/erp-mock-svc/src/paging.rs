//! Pages of a segment: a walk over the customers by index, bounded in what it returns and in what it looks at.

use crate::directory::Directory;
use campaign_core::customer::Customer;
use campaign_core::segment::Segment;

/// Most customers that one page looks at, however few of them match: a fraction of a second.
pub const MAX_SCANNED: u64 = 200_000;
/// Customers that the estimate of a segment's size looks at.
const SAMPLE_SIZE: u64 = 4_096;

/// Some customers, and where to go on.
#[derive(Debug)]
pub struct Page {
    /// In the order of their indexes.
    pub customers: Vec<Customer>,
    /// The index to go on at; None at the end.
    pub next_index: Option<u64>,
}

/// Up to `limit` customers of `segment` from the index `from` on.
pub fn page(directory: &Directory, segment: &Segment, from: u64, limit: usize) -> Page {
    let size = directory.population().size();
    let today = directory.population().today();
    let end = size.min(from + MAX_SCANNED);
    let mut customers = Vec::with_capacity(limit);
    let mut index = from;
    while index < end && customers.len() < limit {
        let customer = directory.customer(index);
        if segment.matches(&customer, today) {
            customers.push(customer);
        }
        index += 1;
    }
    Page {
        customers,
        next_index: (index < size).then_some(index),
    }
}

/// The page that led to the index `before`: for an ERP that gives a page a second time.
pub fn page_before(directory: &Directory, segment: &Segment, before: u64, limit: usize) -> Page {
    let today = directory.population().today();
    let start = before.saturating_sub(MAX_SCANNED);
    let backwards = (start..before).rev().map(|index| directory.customer(index));
    let mut customers: Vec<_> = backwards
        .filter(|customer| segment.matches(customer, today))
        .take(limit)
        .collect();
    customers.reverse();
    Page {
        customers,
        next_index: Some(before),
    }
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
            let page = page(&directory, &segment, index, 7);
            let before = page_before(&directory, &segment, page.next_index.unwrap_or(3_000), 7);
            if page.customers.len() == 7 {
                assert_eq!(
                    before.customers, page.customers,
                    "the page before is the same page"
                );
            }
            paged.extend(page.customers);
            from = page.next_index;
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
        let first = page(&directory, &nobody, 0, 10);
        assert_eq!((first.customers.len(), first.next_index), (0, Some(MAX_SCANNED)));
        assert_eq!(page(&directory, &nobody, MAX_SCANNED, 10).next_index, None);
    }
}
