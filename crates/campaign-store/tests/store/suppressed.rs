//! Who is not to be messaged, whatever order the wishes come in.

use crate::fixture::{noon, store};
use campaign_core::phone::CanonicalPhone;
use campaign_store::suppressions::{self, Suppression};
use chrono::TimeDelta;

fn suppression(phone: CanonicalPhone) -> Suppression {
    Suppression {
        phone,
        reason: "test".to_owned(),
        source: "whatsapp".to_owned(),
        customer_id: None,
        created_at: noon(),
    }
}

/// The later of a stop and a resume holds, each told up to twice and in any order.
#[tokio::test]
async fn the_later_wish_holds_in_every_order() {
    const ORDERS: [[bool; 3]; 4] = [
        [true, false, true],
        [false, true, false],
        [true, true, false],
        [false, false, true],
    ];
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    let mut people = 0;
    for (resumed_after_s, suppressed) in [(-1, true), (0, false), (1, false)] {
        for order in ORDERS {
            people += 1;
            let phone: CanonicalPhone = format!("+55319{:08}", 80_000_000 + people)
                .parse()
                .expect("a phone");
            for stop in order {
                if stop {
                    let added = suppressions::add(&mut connection, &[suppression(phone)]).await;
                    added.expect("written");
                } else {
                    let at = noon() + TimeDelta::seconds(resumed_after_s);
                    let removed = suppressions::remove(&mut connection, &phone, at).await;
                    removed.expect("written");
                }
            }
            let among = suppressions::among(&mut connection, &[phone])
                .await
                .expect("read");
            assert_eq!(among.contains(&phone), suppressed, "{order:?} {resumed_after_s}");
        }
    }
}
