//! Whom the demo sends to: states of the mock ERP that together have about as many people as asked for.

use serde_json::{Value, json};

/// People who are active, agreed to marketing and have a phone number of their own that can receive, in each
/// state: counted in the mock ERP with its default seed and 100,000 customers. Largest first.
const PEOPLE_BY_STATE: [(&str, u32); 25] = [
    ("SP", 19_987),
    ("MG", 8_276),
    ("RJ", 7_930),
    ("BA", 5_185),
    ("PR", 5_073),
    ("RS", 4_200),
    ("CE", 4_196),
    ("PE", 3_440),
    ("DF", 3_040),
    ("PA", 2_534),
    ("GO", 2_504),
    ("AM", 2_444),
    ("SC", 2_270),
    ("ES", 1_711),
    ("MA", 1_527),
    ("PB", 1_349),
    ("RN", 1_233),
    ("AL", 1_195),
    ("MT", 1_179),
    ("PI", 1_170),
    ("MS", 1_100),
    ("SE", 803),
    ("TO", 662),
    ("RO", 632),
    ("AC", 426),
];

/// Active customers who agreed to marketing, in states that together have at most about `recipients` of them;
/// the smallest state if none is small enough.
pub(super) fn segment(recipients: u32) -> Value {
    json!({ "states": states(recipients), "active": true, "marketing_consent": true })
}

fn states(recipients: u32) -> Vec<&'static str> {
    let mut left = recipients;
    let mut states = Vec::new();
    for (state, people) in PEOPLE_BY_STATE {
        if people <= left {
            left -= people;
            states.push(state);
        }
    }
    if states.is_empty() {
        states.extend(PEOPLE_BY_STATE.last().map(|(state, _)| *state));
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_chosen_to_have_about_as_many_people_as_asked_for() {
        assert_eq!(states(20_000), ["SP"]);
        assert_eq!(states(2_000), ["ES"]);
        assert_eq!(states(1), ["AC"]);
        assert_eq!(states(100_000).len(), PEOPLE_BY_STATE.len());
        for recipients in (500..80_000).step_by(500) {
            let chosen = states(recipients);
            let people = |(state, people): &(&str, u32)| chosen.contains(state).then_some(*people);
            let sum: u32 = PEOPLE_BY_STATE.iter().filter_map(people).sum();
            assert!(
                sum <= recipients && recipients - sum < 500,
                "{recipients}: {sum} in {chosen:?}"
            );
        }
    }

    #[test]
    fn the_segment_is_one_that_the_api_takes() {
        let segment = serde_json::from_value::<campaign_core::segment::Segment>(segment(20_000));
        assert_eq!(segment.expect("a segment").problems(), []);
    }
}
