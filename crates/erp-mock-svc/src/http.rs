//! The HTTP side: the ERP's API under `/v1`, the mock's controls under `/mock`, one key for both.

mod customers;
mod mock;
mod page;

use crate::app::Erp;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use campaign_runtime::Problem;
use secrecy::ExposeSecret;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// Largest body: patches and fault plans are small.
const MAX_BODY_BYTES: usize = 16 * 1024;

pub(crate) fn router(erp: Arc<Erp>) -> Router {
    Router::new()
        .route("/v1/customers", get(customers::list))
        .route(
            "/v1/customers/{id}",
            get(customers::show).patch(customers::change),
        )
        .route("/v1/customers/{id}/contacts", get(customers::contacts))
        .route("/mock/customers/{id}/opt-out", post(mock::opt_out))
        .route("/mock/faults", get(mock::show_faults).put(mock::set_faults))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .route_layer(from_fn_with_state(Arc::clone(&erp), require_key))
        .with_state(erp)
}

async fn require_key(State(erp): State<Arc<Erp>>, request: Request, next: Next) -> Result<Response, Problem> {
    let header = request
        .headers()
        .get(AUTHORIZATION)
        .map_or(&b""[..], |value| value.as_bytes());
    let key = header.strip_prefix(b"Bearer ").unwrap_or_default();
    if bool::from(key.ct_eq(erp.api_key.expose_secret().as_bytes())) {
        Ok(next.run(request).await)
    } else {
        Err(Problem::unauthorized(
            "expected the header `Authorization: Bearer <ERP_API_KEY>`",
        ))
    }
}

/// The index of the customer with this id.
fn find(erp: &Erp, id: &str) -> Result<u64, Problem> {
    let population = erp.directory.population();
    population.index_of(id).ok_or_else(|| {
        let last = crate::population::Population::id_of(population.size() - 1);
        Problem::not_found(format!(
            "no customer has this id; ids go from C00000001 to {last}"
        ))
    })
}
