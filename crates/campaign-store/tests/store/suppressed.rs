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

/// A word that comes late makes a newer one of its kind no older.
#[tokio::test]
async fn an_old_word_after_a_new_one_changes_nothing() {
    let store = store().await;
    let mut connection = store.connection().await.expect("a connection");
    let at = |seconds| noon() + TimeDelta::seconds(seconds);
    let [stopped, resumed]: [CanonicalPhone; 2] =
        ["+5531970000001", "+5531970000002"].map(|phone| phone.parse().expect("a phone"));
    for seconds in [20, 10] {
        let stop = Suppression {
            created_at: at(seconds),
            ..suppression(stopped)
        };
        suppressions::add(&mut connection, &[stop])
            .await
            .expect("written");
    }
    for (phone, seconds) in [(stopped, 15), (resumed, 20), (resumed, 10)] {
        suppressions::remove(&mut connection, &phone, at(seconds))
            .await
            .expect("written");
    }
    let stop = Suppression {
        created_at: at(15),
        ..suppression(resumed)
    };
    suppressions::add(&mut connection, &[stop])
        .await
        .expect("written");
    let among = suppressions::among(&mut connection, &[stopped, resumed])
        .await
        .expect("read");
    assert_eq!(among.into_iter().collect::<Vec<_>>(), [stopped]);
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
