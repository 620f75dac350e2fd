//! The mock as the tests start it.

use campaign_core::customer::Customer;
use campaign_core::segment::Segment;
use campaign_runtime::{DEFAULT_DEADLINE, Problem, Runtime, Shutdown};
use clap::Parser;
use erp_api::{ErpClient, ErpConfig};
use erp_mock_svc::{app, config::Config};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const KEY: &str = "erp-key";
pub(crate) const CUSTOMERS: u64 = 12_000;

pub(crate) struct Mock {
    pub(crate) base_url: String,
    pub(crate) http: reqwest::Client,
    shutdown: Shutdown,
    service: JoinHandle<anyhow::Result<()>>,
}

impl Mock {
    pub(crate) async fn start(settings: &[&str]) -> Self {
        // The first test installs it; the others find it there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let customers = CUSTOMERS.to_string();
        let fixed = [
            "erp-mock-svc",
            "--erp-api-key",
            KEY,
            "--today",
            "2026-03-01",
            "--customers",
            &customers,
        ];
        let config = Config::parse_from(fixed.iter().chain(settings));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base_url = format!("http://{}", listener.local_addr().expect("bound"));
        let shutdown = Shutdown::new(DEFAULT_DEADLINE);
        let runtime = Runtime::for_test(listener, shutdown.clone());
        let service = tokio::spawn(app::run(config, runtime));
        Self {
            base_url,
            http: reqwest::Client::new(),
            shutdown,
            service,
        }
    }

    pub(crate) fn client(&self) -> ErpClient {
        let config = ErpConfig {
            requests_per_second: NonZeroU32::new(10_000).expect("not zero"),
            max_attempts: NonZeroU32::new(10).expect("not zero"),
            first_delay: Duration::from_millis(2),
            max_delay: Duration::from_millis(10),
            ..ErpConfig::new(&self.base_url, KEY.into())
        };
        ErpClient::new(config).expect("valid settings")
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.base_url))
            .bearer_auth(KEY)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let response = self.request(Method::GET, path).send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.expect("JSON")
    }

    pub(crate) async fn problem(&self, request: RequestBuilder) -> Problem {
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let problem: Problem = response.json().await.expect("problem details");
        assert_eq!(problem.status_code(), status);
        problem
    }

    pub(crate) async fn set_faults(&self, plan: Value) {
        let answer = self
            .request(Method::PUT, "/mock/faults")
            .json(&plan)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{plan}");
    }

    /// Every customer of the segment, by the engine's client; panics if one comes twice.
    pub(crate) async fn all(&self, segment: &Segment, limit: u16) -> Vec<Customer> {
        let client = self.client();
        let (mut all, mut seen, mut cursor) = (Vec::new(), HashSet::new(), None);
        loop {
            let page = client
                .page(segment, cursor.as_deref(), limit)
                .await
                .expect("a page");
            assert!(page.customers.len() <= usize::from(limit));
            for customer in page.customers {
                assert!(seen.insert(customer.id.clone()), "{} came twice", customer.id);
                all.push(customer);
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return all;
            }
        }
    }

    pub(crate) async fn first_of(&self, segment: &Segment) -> Customer {
        let page = self.client().page(segment, None, 1).await.expect("a page");
        page.customers.into_iter().next().expect("somebody")
    }

    pub(crate) async fn stop(self) {
        self.shutdown.stop();
        self.service.await.expect("no panic").expect("a clean end");
    }
}
