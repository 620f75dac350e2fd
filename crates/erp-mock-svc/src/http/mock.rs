//! `/mock`: what no ERP has, for tests and demonstrations.

use super::customers::apply;
use crate::app::Erp;
use crate::directory::CustomerPatch;
use crate::faults::FaultPlan;
use axum::extract::State;
use campaign_core::customer::Customer;
use campaign_runtime::{Json, Path, Problem};
use serde::Serialize;
use std::sync::Arc;

pub(super) async fn opt_out(
    State(erp): State<Arc<Erp>>,
    Path(id): Path<String>,
) -> Result<Json<Customer>, Problem> {
    let patch = CustomerPatch {
        marketing_consent: Some(false),
        ..CustomerPatch::default()
    };
    apply(&erp, &id, patch).await.map(Json)
}

/// The plan in force and what it has seen.
#[derive(Debug, Serialize)]
pub(super) struct FaultReport {
    plan: FaultPlan,
    requests_seen: u64,
}

pub(super) async fn show_faults(State(erp): State<Arc<Erp>>) -> Json<FaultReport> {
    let (plan, requests_seen) = erp.faults.get();
    Json(FaultReport { plan, requests_seen })
}

pub(super) async fn set_faults(
    State(erp): State<Arc<Erp>>,
    Json(plan): Json<FaultPlan>,
) -> Result<Json<FaultReport>, Problem> {
    let problems = plan.problems();
    if problems.is_empty() {
        erp.faults.set(plan.clone());
        return Ok(Json(FaultReport {
            plan,
            requests_seen: 0,
        }));
    }
    let problem = Problem::unprocessable("this plan of faults cannot be kept");
    Err(problems
        .into_iter()
        .fold(problem, |problem, (field, found, expected)| {
            problem.field(format!("/{field}").trim_end_matches('/'), found, expected)
        }))
}
