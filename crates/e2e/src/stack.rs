//! Starting the system.

use crate::environment::Environment;
use crate::ports::Ports;
use crate::wires::{Wire, Wires};
use reqwest::Method;
use serde_json::json;
use std::process::Stdio;
use std::time::Duration;
use testkit::{Database, Mode, Postgres, PrivatePostgres, Redis, ServiceProcess, free_port};

/// The development number that sends 1,000 a second.
pub const LANE: &str = "106540352242922";
/// Meta's id of the development account, which has all development numbers and templates.
pub const WABA_ID: &str = "102290129340398";
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
    pub(crate) http: reqwest::Client,
    pub(crate) api_key: String,
    breakable: Option<Breakable>,
    /// Its database.
    pub database: Database,
}

/// What only a breakable system has: a Postgres of its own, and a fault proxy in every connection.
struct Breakable {
    postgres: PrivatePostgres,
    wires: Wires,
}

impl Stack {
    /// Starts everything, and waits until it is ready.
    pub async fn start(options: StackOptions) -> Self {
        Self::start_on(Servers::start().await, options).await
    }

    /// As [`Stack::start`], with everything breakable.
    pub async fn start_breakable(options: StackOptions) -> Self {
        let redis = Redis::options().append_only().start().await;
        let postgres = PrivatePostgres::start().await;
        let database = postgres.database().await;
        let wires = Wires::start(&redis, &database, options.ports).await;
        let breakable = Breakable { postgres, wires };
        Self::assemble(Servers { redis, database }, Some(breakable), options).await
    }

    /// As [`Stack::start`], on servers that the test has started.
    pub async fn start_on(servers: Servers, options: StackOptions) -> Self {
        Self::assemble(servers, None, options).await
    }

    async fn assemble(servers: Servers, breakable: Option<Breakable>, options: StackOptions) -> Self {
        // Another test of this process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let Servers { redis, database } = servers;
        let mut environment = Environment::new(&options, &redis, &database);
        if let Some(breakable) = &breakable {
            breakable.wires.lead(&mut environment);
        }
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
            breakable,
            database,
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

    /// The environment that a program runs in.
    pub fn environment_of(&self, program: &str) -> Vec<(&'static str, &str)> {
        self.environment.of(program)
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
