//! A scheduler for each test, with its own database, Redis and ERP.

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use campaign_core::ids::ApiKeyId;
use campaign_runtime::{Runtime, Shutdown};
use campaign_store::api_keys::{self, ApiRole};
use campaign_store::{PoolConfig, Store, migrate};
use clap::Parser;
use reqwest::{Client, Method, StatusCode};
use scheduler_svc::app;
use scheduler_svc::config::Config;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::{Database, Postgres, Redis};
use tokio::net::TcpListener;
use uuid::Uuid;

/// A number of the test's account.
pub(crate) const LANE: &str = "106540352242922";
/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Everything that a scheduler needs, and a scheduler.
pub(crate) struct Scheduler {
    pub(crate) store: Store,
    pub(crate) redis: Redis,
    pub(crate) customers: Arc<AtomicUsize>,
    database: Database,
    http: Client,
    base_url: String,
    keys: HashMap<&'static str, String>,
    erp_url: String,
    stops: Vec<Shutdown>,
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stops.iter().for_each(Shutdown::stop_now);
    }
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    pub(crate) text: String,
    pub(crate) replayed: bool,
}

impl Answer {
    /// The body of an answer with this status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.body
    }

    /// The fields that a problem names.
    #[track_caller]
    pub(crate) fn fields(&self, status: u16) -> Vec<&str> {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let errors = self.body["errors"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        for error in errors {
            assert!(!error["wrong"].as_str().unwrap().is_empty(), "{error}");
            assert!(!error["expected"].as_str().unwrap().is_empty(), "{error}");
        }
        errors
            .iter()
            .map(|error| error["field"].as_str().unwrap())
            .collect()
    }
}

impl Scheduler {
    /// A scheduler that starts campaigns at their moment.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A scheduler with these flags.
    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        campaign_runtime::install_tls_provider();
        let database = Postgres::start()
            .await
            .prepared_database(&fingerprint(), prepare)
            .await;
        let store = Store::lazy(&PoolConfig::new(database.url(), "scheduler-tests")).unwrap();
        let customers = Arc::new(AtomicUsize::new(12));
        let erp_url = erp(customers.clone()).await;
        let mut scheduler = Self {
            keys: keys(&store).await,
            store,
            redis: Redis::start().await,
            customers,
            database,
            http: Client::new(),
            base_url: String::new(),
            erp_url,
            stops: Vec::new(),
        };
        scheduler.base_url = scheduler.replica(flags).await;
        scheduler.wait_until_ready(&scheduler.base_url).await;
        scheduler
    }

    /// Starts another scheduler beside the first and gives its address.
    pub(crate) async fn replica(&mut self, flags: &[&str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let (redis, erp) = (self.redis.url(), self.erp_url.clone());
        let settings = [
            "scheduler-svc",
            "--database-url",
            self.database.url(),
            "--redis-url",
            &redis,
            "--erp-base-url",
            &erp,
            "--erp-api-key",
            "erp-key",
        ];
        let config = Config::try_parse_from(settings.iter().chain(flags)).unwrap();
        let shutdown = Shutdown::new(Duration::from_secs(5));
        self.stops.push(shutdown.clone());
        tokio::spawn(app::run(config, Runtime::for_test(listener, shutdown)));
        base_url
    }

    /// The environment of a scheduler's process.
    pub(crate) fn settings(&self) -> [(&'static str, String); 4] {
        [
            ("DATABASE_URL", self.database.url().to_owned()),
            ("REDIS_URL", self.redis.url()),
            ("ERP_BASE_URL", self.erp_url.clone()),
            ("ERP_API_KEY", "erp-key".to_owned()),
        ]
    }

    /// Waits until the scheduler at this address is ready.
    pub(crate) async fn wait_until_ready(&self, base_url: &str) {
        let url = format!("{base_url}/readyz");
        testkit::wait_for(PATIENCE, "the scheduler to be ready", async || {
            let answer = self.http.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Asks with the key of a role (`""` for none).
    pub(crate) async fn ask(&self, role: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.ask_with(role, method, path, body, &[]).await
    }

    pub(crate) async fn ask_with(
        &self,
        role: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base_url));
        if let Some(key) = self.keys.get(role) {
            request = request.bearer_auth(key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let (status, replayed) = (
            response.status(),
            response.headers().contains_key("idempotency-replayed"),
        );
        if status.is_client_error() || status.is_server_error() {
            assert_eq!(
                response.headers()["content-type"],
                "application/problem+json",
                "{path}"
            );
        }
        let text = response.text().await.unwrap();
        Answer {
            status,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
            replayed,
        }
    }

    /// Asks as a supervisor.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("supervisor", Method::GET, path, None).await
    }

    /// Posts as a supervisor.
    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("supervisor", Method::POST, path, Some(body)).await
    }

    /// Posts without a body, as a supervisor.
    pub(crate) async fn act(&self, path: &str) -> Answer {
        self.ask("supervisor", Method::POST, path, None).await
    }

    /// An account, an approved template `oferta` and a number.
    pub(crate) async fn with_account(&self) -> Uuid {
        let admin = async |path, body| {
            self.ask("admin", Method::POST, path, Some(body))
                .await
                .expect(201)
        };
        let account = admin(
            "/v1/accounts",
            json!({"waba_id": "102290129340398", "name": "Loja"}),
        )
        .await;
        let template = json!({
            "account_id": account["id"], "name": "oferta", "language": "pt_BR", "category": "MARKETING",
            "parameter_format": "NAMED", "status": "APPROVED",
            "components": [{"type": "BODY", "text": "Olá {{nome}}, de {{cidade}}."}]
        });
        admin("/v1/templates", template).await;
        let number = json!({
            "phone_number_id": LANE, "account_id": account["id"], "display_number": "+55 11 3000-0001",
            "throughput_per_second": 1000
        });
        admin("/v1/phone-numbers", number).await;
        account["id"].as_str().unwrap().parse().unwrap()
    }

    /// A draft of a campaign.
    pub(crate) async fn draft(&self) -> String {
        let created = self.post("/v1/campaigns", campaign()).await.expect(201);
        created["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a campaign shows this status.
    pub(crate) async fn wait_for_status(&self, id: &str, status: &str) -> Value {
        testkit::wait_for_ok(PATIENCE, &format!("the campaign to be {status}"), async || {
            let shown = self.get(&format!("/v1/campaigns/{id}")).await.expect(200);
            if shown["status"] == status {
                Ok(shown)
            } else {
                Err(shown["status"].to_string())
            }
        })
        .await
    }

    /// Runs a statement that stands for what another service would do.
    pub(crate) async fn as_sender(&self, sql: &str) {
        let output = tokio::process::Command::new("psql")
            .args([
                "--no-psqlrc",
                "--quiet",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                self.database.url(),
                "-c",
                sql,
            ])
            .output()
            .await
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// What a campaign is made of.
pub(crate) fn campaign() -> Value {
    json!({
        "name": "Natal",
        "template": {"name": "oferta", "language": "pt_BR"},
        "phone_number_id": LANE,
        "segment": {"states": ["SP"]},
        "mapping": {
            "nome": {"source": "customer.name", "format": "first_name", "fallback": "cliente"},
            "cidade": {"source": "customer.city"},
        },
    })
}

async fn prepare(url: &str) -> anyhow::Result<()> {
    let store = Store::lazy(&PoolConfig::new(url, "scheduler-tests"))?;
    migrate(&mut *store.connection().await?).await?;
    store.close().await;
    Ok(())
}

fn fingerprint() -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        hash.update(std::fs::read(file).unwrap());
    }
    hex::encode(&hash.finalize()[..12])
}

/// One key for each role.
async fn keys(store: &Store) -> HashMap<&'static str, String> {
    let mut connection = store.connection().await.unwrap();
    let mut keys = HashMap::new();
    for (number, role) in ApiRole::ALL.iter().enumerate() {
        let key = api_keys::make_key([number as u8; 32]);
        let (id, name, hash) = (ApiKeyId(Uuid::now_v7()), role.as_str(), api_keys::hash_key(&key));
        api_keys::create(&mut connection, id, name, *role, &hash, "tests")
            .await
            .unwrap();
        keys.insert(name, key);
    }
    keys
}

/// An ERP with so many customers, the third of each four without a city.
async fn erp(customers: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/v1/customers", get(customers_page))
        .with_state(customers);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn customers_page(
    State(customers): State<Arc<AtomicUsize>>,
    Query(query): Query<HashMap<String, String>>,
) -> Json<Value> {
    let total = customers.load(Ordering::Relaxed);
    let start: usize = query.get("cursor").map_or(0, |cursor| cursor.parse().unwrap());
    let limit: usize = query["limit"].parse().unwrap();
    let end = (start + limit).min(total);
    let page: Vec<_> = (start..end).map(customer).collect();
    let next = (end < total).then(|| end.to_string());
    Json(json!({"customers": page, "next_cursor": next, "total_estimate": total}))
}

fn customer(number: usize) -> Value {
    json!({
        "id": format!("c-{number}"), "name": "MARIA da Silva", "phone": format!("1198765{number:04}"),
        "city": if number % 4 == 2 { Value::Null } else { "Santos".into() }, "state": "SP",
        "active": true, "marketing_consent": true, "updated_at": "2026-01-01T00:00:00Z",
    })
}
