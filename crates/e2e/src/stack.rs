//! Starting the system.

use crate::ports::{Ports, port_of};
use crate::wires::{Wire, Wires};
use reqwest::Method;
use serde_json::json;
use std::process::Stdio;
use std::time::Duration;
use testkit::{Database, Mode, Postgres, PrivatePostgres, Redis, ServiceOptions, ServiceProcess, free_port};

/// The development number that sends 1,000 a second.
pub const LANE: &str = "106540352242922";
/// Opens the mock ERP.
pub const ERP_KEY: &str = "e2e-erp-key";
/// Lets one send through the mock of the Cloud API.
pub const ACCESS_TOKEN: &str = "e2e-access-token";
/// Signs webhooks.
pub const APP_SECRET: &str = "e2e-app-secret";
const VERIFY_TOKEN: &str = "e2e-verify-token";

/// How many of each service run, and how.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// Of `scheduler-svc`.
    pub schedulers: usize,
    /// Of `sender-svc`.
    pub senders: usize,
    /// Of `message-svc`.
    pub messengers: usize,
    /// Customers of the ERP.
    pub customers: u64,
    /// Messages a second of [`LANE`].
    pub throughput_per_second: u32,
    /// Further environment variables of every service.
    pub environment: Vec<(&'static str, String)>,
    /// Whether Postgres is its own too, and a fault proxy lies in every connection, so that all of it can be
    /// broken.
    pub breakable: bool,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self {
            schedulers: 1,
            senders: 1,
            messengers: 1,
            customers: 2_000,
            throughput_per_second: 2_000,
            environment: Vec::new(),
            breakable: false,
        }
    }
}

/// A running system. Everything ends with it.
pub struct Stack {
    /// Its Redis.
    pub redis: Redis,
    /// `scheduler-svc`, each.
    pub schedulers: Vec<ServiceProcess>,
    /// `sender-svc`, each.
    pub senders: Vec<ServiceProcess>,
    /// `message-svc`, each.
    pub messengers: Vec<ServiceProcess>,
    /// The mock ERP.
    pub erp: ServiceProcess,
    /// The mock of the Cloud API.
    pub whatsapp: ServiceProcess,
    pub(crate) http: reqwest::Client,
    pub(crate) api_key: String,
    breakable: Option<Breakable>,
    _database: Database,
}

/// What only a breakable system has.
struct Breakable {
    postgres: PrivatePostgres,
    wires: Wires,
}

impl Stack {
    /// Starts everything, and waits until it is ready.
    pub async fn start(options: StackOptions) -> Self {
        // Another test of this process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let redis = Redis::options().append_only().start().await;
        let private = if options.breakable {
            Some(PrivatePostgres::start().await)
        } else {
            None
        };
        let database = match &private {
            Some(postgres) => postgres.database().await,
            None => Postgres::start().await.database().await,
        };
        let api_key = migrate(&database).await;
        let ports = Ports {
            redis: port_of(&redis.url()),
            postgres: port_of(database.url()),
            messenger: free_port(),
            erp: free_port(),
            whatsapp: free_port(),
        };
        let breakable = match private {
            Some(postgres) => Some(Breakable {
                postgres,
                wires: Wires::start(&ports).await,
            }),
            None => None,
        };
        let environment = environment(&options, &redis, &database, &ports);
        let wires = breakable.as_ref().map(|breakable| &breakable.wires);
        let service = |name: &str| service(name, &environment, wires);
        let erp = service("erp-mock-svc").port(ports.erp).start();
        let whatsapp = service("whatsapp-mock-svc").port(ports.whatsapp).start();
        let mut messengers = vec![service("message-svc").port(ports.messenger).start()];
        messengers.extend((1..options.messengers).map(|_| service("message-svc").start()));
        let senders = (0..options.senders)
            .map(|_| service("sender-svc").start())
            .collect();
        let schedulers = (0..options.schedulers)
            .map(|_| service("scheduler-svc").start())
            .collect();
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .build()
            .expect("a client");
        let mut stack = Self {
            redis,
            schedulers,
            senders,
            messengers,
            erp,
            whatsapp,
            http,
            api_key,
            breakable,
            _database: database,
        };
        stack.wait_ready().await;
        let body = json!({"throughput_per_second": options.throughput_per_second});
        stack
            .api(Method::PATCH, &format!("/v1/phone-numbers/{LANE}"), Some(body))
            .await;
        stack
    }

    /// The first admin's key for the REST API.
    pub fn api_key(&self) -> &str {
        &self.api_key
    }

    /// Every process.
    pub fn services(&self) -> impl Iterator<Item = &ServiceProcess> {
        let engine = self
            .schedulers
            .iter()
            .chain(&self.senders)
            .chain(&self.messengers);
        engine.chain([&self.erp, &self.whatsapp])
    }

    /// Waits until every service is ready.
    pub async fn wait_ready(&mut self) {
        for service in self.services_mut() {
            service.wait_ready().await;
        }
    }

    /// Every process.
    pub fn services_mut(&mut self) -> impl Iterator<Item = &mut ServiceProcess> {
        [&mut self.erp, &mut self.whatsapp]
            .into_iter()
            .chain(&mut self.schedulers)
            .chain(&mut self.senders)
            .chain(&mut self.messengers)
    }

    /// The Postgres of a breakable system.
    pub fn postgres(&mut self) -> &mut PrivatePostgres {
        &mut self.breakable.as_mut().expect("the system is breakable").postgres
    }

    /// Disturbs a connection of a breakable system for a while.
    pub async fn disturb(&self, wire: Wire, mode: Mode, during: Duration) {
        let breakable = self.breakable.as_ref().expect("the system is breakable");
        breakable.wires.disturb(wire, mode, during).await;
    }
}

fn service(name: &str, environment: &[(&'static str, String)], wires: Option<&Wires>) -> ServiceOptions {
    environment
        .iter()
        .fold(ServiceProcess::options(name), |options, (setting, value)| {
            let value = wires.map_or_else(|| value.clone(), |wires| wires.lead(name, setting, value));
            options.env(setting, value)
        })
}

fn environment(
    options: &StackOptions,
    redis: &Redis,
    database: &Database,
    ports: &Ports,
) -> Vec<(&'static str, String)> {
    let mut environment = vec![
        ("DATABASE_URL", database.url().to_owned()),
        ("REDIS_URL", redis.url().clone()),
        ("ERP_BASE_URL", format!("http://127.0.0.1:{}", ports.erp)),
        ("ERP_API_KEY", ERP_KEY.to_owned()),
        ("ERP_REQUESTS_PER_SECOND", "1000".to_owned()),
        ("ERP_MOCK_CUSTOMERS", options.customers.to_string()),
        ("ERP_MOCK_TODAY", "2026-03-01".to_owned()),
        (
            "WHATSAPP_BASE_URL",
            format!("http://127.0.0.1:{}", ports.whatsapp),
        ),
        ("WHATSAPP_ACCESS_TOKEN", ACCESS_TOKEN.to_owned()),
        ("WHATSAPP_APP_SECRET", APP_SECRET.to_owned()),
        ("WHATSAPP_VERIFY_TOKEN", VERIFY_TOKEN.to_owned()),
        (
            "WEBHOOK_URL",
            format!("http://127.0.0.1:{}/webhooks/whatsapp", ports.messenger),
        ),
        ("MOCK_LATENCY_MS", "5".to_owned()),
        ("MOCK_JITTER_MS", "5".to_owned()),
        ("MOCK_THROUGHPUT", "10000".to_owned()),
        (
            "MOCK_WEBHOOKS",
            r#"{"sent_ms": 20, "delivered_ms": 60, "read_ms": 120}"#.to_owned(),
        ),
        ("LANE_LEASE_MS", "2000".to_owned()),
    ];
    environment.extend(options.environment.iter().cloned());
    environment
}

/// Applies the migrations, makes the development data, and returns the first admin key.
async fn migrate(database: &Database) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let key_file = folder.path().join("api-key");
    let done = tokio::process::Command::new(testkit::built_binary("migrate"))
        .env("DATABASE_URL", database.url())
        .env("ADMIN_KEY_FILE", &key_file)
        .env("DEV_DATA", "true")
        .stdin(Stdio::null())
        .output()
        .await
        .expect("migrate runs");
    assert!(
        done.status.success(),
        "migrate: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    std::fs::read_to_string(&key_file)
        .expect("migrate wrote the key")
        .trim()
        .to_owned()
}
