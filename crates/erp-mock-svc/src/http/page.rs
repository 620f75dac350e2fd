//! A page as JSON, written while its customers are found, so that only the text is ever in memory.

use crate::app::Erp;
use crate::cursor::Cursor;
use crate::paging::{Walk, estimate, page_before as customers_before};
use campaign_core::segment::Segment;
use chrono::Utc;
use erp_api::CustomerPage;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::cell::RefCell;

/// About how long a customer is as JSON, in bytes; only saves moving the text while it grows.
const TYPICAL_CUSTOMER_BYTES: usize = 400;

/// What one request for a page asks.
#[derive(Debug)]
pub(super) struct PageRequest {
    pub(super) segment: Segment,
    pub(super) cursor: Option<Cursor>,
    pub(super) limit: u16,
    /// The page before instead, as a fault.
    pub(super) repeat: bool,
}

pub(super) fn now_ms() -> u64 {
    Utc::now().timestamp_millis().max(0) as u64
}

/// The page that was asked for.
pub(super) fn write_page(erp: &Erp, request: &PageRequest) -> Vec<u8> {
    let mut json = Vec::with_capacity(usize::from(request.limit) * TYPICAL_CUSTOMER_BYTES);
    serde_json::to_writer(&mut json, &WrittenPage { erp, request })
        .expect("customers are always representable in JSON");
    json
}

/// The page before the one that was asked for; it leads back to the very cursor it was asked with.
pub(super) fn page_before(erp: &Erp, request: &PageRequest) -> Vec<u8> {
    let PageRequest {
        segment,
        cursor,
        limit,
        ..
    } = request;
    let before = cursor.map_or(0, |cursor| cursor.next_index);
    let page = CustomerPage {
        customers: customers_before(&erp.directory, segment, before, usize::from(*limit)),
        next_cursor: cursor.map(|cursor| cursor.encode(erp.directory.population(), segment)),
        total_estimate: None,
    };
    serde_json::to_vec(&page).expect("customers are always representable in JSON")
}

/// Serializes as a [`CustomerPage`].
struct WrittenPage<'a> {
    erp: &'a Erp,
    request: &'a PageRequest,
}

impl Serialize for WrittenPage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let directory = &self.erp.directory;
        let PageRequest {
            segment,
            cursor,
            limit,
            ..
        } = self.request;
        let from = cursor.map_or(0, |cursor| cursor.next_index);
        let walk = RefCell::new(Walk::new(directory, segment, from, usize::from(*limit)));

        let mut page = serializer.serialize_struct("CustomerPage", 3)?;
        page.serialize_field("customers", &Found(&walk))?;
        let issued_at_ms = self.erp.cursor_ttl.map_or(0, |_| now_ms());
        let next_cursor = walk.borrow().next_index().map(|next_index| {
            Cursor {
                next_index,
                issued_at_ms,
            }
            .encode(directory.population(), segment)
        });
        page.serialize_field("next_cursor", &next_cursor)?;
        // Once is enough, and it costs about as much as a page of its own.
        let total_estimate = cursor.is_none().then(|| estimate(directory, segment));
        page.serialize_field("total_estimate", &total_estimate)?;
        page.end()
    }
}

/// The customers of a walk that has yet to be made.
struct Found<'a, 'b>(&'a RefCell<Walk<'b>>);

impl Serialize for Found<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&mut *self.0.borrow_mut())
    }
}
