//! Starting the system, and talking to it.

use crate::report::Report;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::Duration;
use testkit::{Database, Postgres, Redis, ServiceProcess, free_port, wait_for_ok};

/// The development number that sends 1,000 a second.
pub const LANE: &str = "106540352242922";
/// Opens the ERP.
pub const ERP_KEY: &str = "e2e-erp-key";
/// Opens WhatsApp.
pub const ACCESS_TOKEN: &str = "e2e-access-token";
/// Signs webhooks.
pub const APP_SECRET: &str = "e2e-app-secret";
/// Verifies where webhooks go.
pub const VERIFY_TOKEN: &str = "e2e-verify-token";

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
    /// Where `message-svc` (the first), the ERP and WhatsApp listen.
    pub ports: Ports,
    /// Further environment variables of every program.
    pub environment: Vec<(&'static str, String)>,
    /// Further ones of one program each, named first.
    pub environment_of: Vec<(&'static str, &'static str, String)>,
}

/// Ports that others must know before the programs run.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// Of the first `message-svc`.
    pub messenger: u16,
    /// Of the ERP.
    pub erp: u16,
    /// Of WhatsApp.
    pub whatsapp: u16,
}

/// What a system runs on.
pub struct Servers {
    /// Its Redis.
    pub redis: Redis,
    /// Its database.
    pub database: Database,
}

impl Servers {
    /// A Redis that keeps everything, and a database of the shared Postgres.
    pub async fn start() -> Self {
        Self {
            redis: Redis::options().append_only().start().await,
            database: Postgres::start().await.database().await,
        }
    }
}

impl Default for StackOptions {
    fn default() -> Self {
        Self {
            schedulers: 1,
            senders: 1,
            messengers: 1,
            customers: 2_000,
            throughput_per_second: 2_000,
            ports: Ports {
                messenger: free_port(),
                erp: free_port(),
                whatsapp: free_port(),
            },
            environment: Vec::new(),
            environment_of: Vec::new(),
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
    environment: Environment,
    http: reqwest::Client,
    /// The first admin key.
    pub api_key: String,
    /// Its database.
    pub database: Database,
}

impl Stack {
    /// Starts everything, and waits until it is ready.
    pub async fn start(options: StackOptions) -> Self {
        Self::start_on(Servers::start().await, options).await
    }

    /// As [`Stack::start`], on servers that the test has started.
    pub async fn start_on(servers: Servers, options: StackOptions) -> Self {
        // Another test of this process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let Servers { redis, database } = servers;
        let environment = Environment {
            of_all: environment(&options, &redis, &database),
            of_one: options.environment_of.clone(),
        };
        let api_key = migrate(environment.of("migrate")).await;
        let service = |name: &str| ServiceProcess::options(name).envs(environment.of(name));
        let ports = options.ports;
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
            environment,
            http,
            api_key,
            database,
        };
        stack.wait_ready().await;
        let body = json!({"throughput_per_second": options.throughput_per_second});
        stack
            .api(Method::PATCH, &format!("/v1/phone-numbers/{LANE}"), Some(body))
            .await;
        stack
    }

    async fn wait_ready(&mut self) {
        let services = [&mut self.erp, &mut self.whatsapp].into_iter();
        let services = services
            .chain(&mut self.schedulers)
            .chain(&mut self.senders)
            .chain(&mut self.messengers);
        for service in services {
            service.wait_ready().await;
        }
    }

    /// The environment that a program runs in.
    pub fn environment_of(&self, program: &str) -> Vec<(&'static str, &str)> {
        self.environment.of(program)
    }

    /// Every process.
    pub fn services(&self) -> impl Iterator<Item = &ServiceProcess> {
        let mocks = [&self.erp, &self.whatsapp];
        let engine = self
            .schedulers
            .iter()
            .chain(&self.senders)
            .chain(&self.messengers);
        mocks.into_iter().chain(engine)
    }

    /// Calls the REST API of the first scheduler; anything but success panics.
    pub async fn api(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.try_api(method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path}: {status}: {answer}");
        answer
    }

    /// Calls the REST API of the first scheduler.
    pub async fn try_api(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let url = format!("{}{path}", self.schedulers[0].base_url());
        let mut request = self.http.request(method, url).bearer_auth(&self.api_key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the scheduler answers");
        let status = answer.status();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// Calls the control API of the mock of WhatsApp.
    pub async fn whatsapp(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.whatsapp.base_url()));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("the mock answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap_or(Value::Null)
    }

    /// What the ERP knows of the messages to a customer.
    pub async fn erp_contacts(&self, customer: &str) -> Value {
        let url = format!("{}/v1/customers/{customer}/contacts", self.erp.base_url());
        let answer = self
            .http
            .get(url)
            .bearer_auth(ERP_KEY)
            .send()
            .await
            .expect("the ERP answers");
        answer.json().await.expect("JSON")
    }

    /// The most memory that Redis has used, in bytes.
    pub async fn redis_peak_bytes(&self) -> u64 {
        let memory = self.redis.info("memory").await;
        let peak = memory
            .lines()
            .find_map(|line| line.strip_prefix("used_memory_peak:"));
        peak.and_then(|bytes| bytes.trim().parse().ok())
            .expect("Redis tells its peak")
    }

    /// Creates a campaign to every customer; `change` has fields that differ. Returns its id.
    pub async fn create(&self, change: Value) -> String {
        let mut body = json!({
            "name": "e2e", "phone_number_id": LANE, "segment": {},
            "template": {"name": "lembrete_fatura", "language": "pt_BR"},
            "mapping": {
                "nome": {"source": "customer.name", "format": "first_name", "fallback": "cliente"},
                "fatura": {"source": "customer.id", "format": "text"},
                "valor": {"constant": "R$ 10,00"},
                "vencimento": {"constant": "10/12/2026"},
            },
        });
        for (name, value) in change.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        let created = self.api(Method::POST, "/v1/campaigns", Some(body)).await;
        created["id"].as_str().expect("an id").to_owned()
    }

    /// Schedules a campaign, for now unless `when` says otherwise.
    pub async fn schedule(&self, id: &str, when: Option<Value>) {
        self.api(Method::POST, &format!("/v1/campaigns/{id}/schedule"), when)
            .await;
    }

    /// The campaign, with its progress.
    pub async fn campaign(&self, id: &str) -> Value {
        self.api(Method::GET, &format!("/v1/campaigns/{id}"), None).await
    }

    /// Waits until the campaign is as `holds` wants it.
    pub async fn wait_until(
        &self,
        id: &str,
        what: &str,
        within: Duration,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        wait_for_ok(within, what, async || {
            let campaign = self.campaign(id).await;
            if holds(&campaign) {
                Ok(campaign)
            } else {
                Err(format!("{} {}", campaign["status"], campaign["progress"]))
            }
        })
        .await
    }

    /// Waits until the campaign is finished, and until every webhook has arrived and is in the ledger.
    pub async fn finished(&self, id: &str, within: Duration) -> Report {
        self.wait_until(id, "the campaign to finish", within, |campaign| {
            !campaign["finished_at"].is_null()
        })
        .await;
        self.webhooks_drained(within).await;
        let campaign = self.campaign(id).await;
        let acceptances = self
            .whatsapp(Method::GET, &format!("/mock/acceptances?campaign={id}"), None)
            .await;
        Report {
            campaign,
            acceptances,
        }
    }

    /// Waits until the mock has delivered every webhook and the ledger has applied every outcome.
    pub async fn webhooks_drained(&self, within: Duration) {
        wait_for_ok(within, "the webhooks to arrive", async || {
            let webhooks = self.whatsapp(Method::GET, "/mock", None).await["webhooks"].clone();
            let waiting: u64 = ["pending", "ready", "inbound", "delivering"]
                .iter()
                .filter_map(|part| webhooks[part].as_u64())
                .sum();
            if waiting == 0 {
                Ok(())
            } else {
                Err(webhooks.to_string())
            }
        })
        .await;
        wait_for_ok(within, "the ledger to apply every outcome", async || {
            let queues = self.api(Method::GET, "/v1/queues", None).await;
            let lanes = queues["lanes"].as_array().cloned().unwrap_or_default();
            if lanes.iter().all(|lane| lane["outcomes"] == 0) {
                Ok(())
            } else {
                Err(queues.to_string())
            }
        })
        .await;
    }
}

/// What the programs are told.
struct Environment {
    of_all: Vec<(&'static str, String)>,
    of_one: Vec<(&'static str, &'static str, String)>,
}

impl Environment {
    fn of(&self, program: &str) -> Vec<(&'static str, &str)> {
        let own = self.of_one.iter().filter(|(of, ..)| *of == program);
        let own = own.map(|(_, name, value)| (*name, value.as_str()));
        let all = self.of_all.iter().map(|(name, value)| (*name, value.as_str()));
        all.chain(own).collect()
    }
}

fn environment(options: &StackOptions, redis: &Redis, database: &Database) -> Vec<(&'static str, String)> {
    let Ports {
        messenger,
        erp,
        whatsapp,
    } = options.ports;
    let mut environment = vec![
        ("DATABASE_URL", database.url().to_owned()),
        ("REDIS_URL", redis.url().clone()),
        ("ERP_BASE_URL", format!("http://127.0.0.1:{erp}")),
        ("ERP_API_KEY", ERP_KEY.to_owned()),
        ("ERP_REQUESTS_PER_SECOND", "1000".to_owned()),
        ("ERP_MOCK_CUSTOMERS", options.customers.to_string()),
        ("ERP_MOCK_TODAY", "2026-03-01".to_owned()),
        ("WHATSAPP_BASE_URL", format!("http://127.0.0.1:{whatsapp}")),
        ("WHATSAPP_ACCESS_TOKEN", ACCESS_TOKEN.to_owned()),
        ("WHATSAPP_APP_SECRET", APP_SECRET.to_owned()),
        ("WHATSAPP_VERIFY_TOKEN", VERIFY_TOKEN.to_owned()),
        (
            "WEBHOOK_URL",
            format!("http://127.0.0.1:{messenger}/webhooks/whatsapp"),
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
async fn migrate(environment: Vec<(&str, &str)>) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let key_file = folder.path().join("api-key");
    let done = tokio::process::Command::new(testkit::built_binary("migrate"))
        .envs(environment)
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
