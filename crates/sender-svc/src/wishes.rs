//! What people say about being messaged: written down, then told to the lanes as it stands.

use campaign_core::contracts::{OptOut, SuppressionEvent};
use campaign_core::phone::CanonicalPhone;
use campaign_store::suppressions::{self, Suppression};
use campaign_store::{Connection, StoreError, messages};

/// What follows from wishes once they are in Postgres.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// Everybody concerned, and whether they are not to be messaged. A wish that came late may have changed nothing.
    pub(crate) standing: Vec<(CanonicalPhone, bool)>,
    /// What the ERP must hear.
    pub(crate) events: Vec<SuppressionEvent>,
}

/// Writes down what WhatsApp told. By number, so that two writers cannot wait for each other; of one person's
/// wishes the latest holds in whatever order.
pub(crate) async fn record(connection: &mut Connection, told: &[OptOut]) -> Result<Wishes, StoreError> {
    if told.is_empty() {
        return Ok(Wishes::default());
    }
    let mut told: Vec<&OptOut> = told.iter().collect();
    told.sort_by_key(|wish| (wish.phone, wish.at));
    let mut phones: Vec<CanonicalPhone> = told.iter().map(|wish| wish.phone).collect();
    phones.dedup();
    let customers = messages::customers_with(connection, &phones).await?;
    for wish in &told {
        if wish.stop {
            let suppression = Suppression {
                phone: wish.phone,
                reason: format!("told by WhatsApp: {}", wish.source),
                source: "whatsapp".to_owned(),
                customer_id: customers.get(&wish.phone).and_then(|ids| ids.first().cloned()),
                created_at: wish.at,
            };
            suppressions::add(connection, &[suppression]).await?;
        } else {
            suppressions::remove(connection, &wish.phone, wish.at).await?;
        }
    }
    let standing = standing(connection, &phones).await?;
    let stops = |phone| standing.contains(&(phone, true));
    let took_effect = told.iter().filter(|wish| wish.stop == stops(wish.phone));
    let ids_of = |phone| customers.get(phone).into_iter().flatten().cloned().collect();
    let events = took_effect.map(|wish| SuppressionEvent {
        phone: wish.phone,
        customer_ids: ids_of(&wish.phone),
        stop: wish.stop,
        source: wish.source.clone(),
        at: wish.at,
    });
    let events = events.collect();
    Ok(Wishes { standing, events })
}

/// Who of these people is not to be messaged.
pub(crate) async fn standing(
    connection: &mut Connection,
    phones: &[CanonicalPhone],
) -> Result<Vec<(CanonicalPhone, bool)>, StoreError> {
    let suppressed = suppressions::among(connection, phones).await?;
    let standing = phones.iter().map(|phone| (*phone, suppressed.contains(phone)));
    Ok(standing.collect())
}
