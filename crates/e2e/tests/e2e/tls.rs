//! Every connection over TLS, to servers that only a private authority vouches for.

use e2e::{Servers, Stack, StackOptions};
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use testkit::{PrivateCa, PrivatePostgres, Redis, ServerCertificate, ServiceProcess, TlsProxy, wait_for};

/// What the servers' certificates name, and what `STRANGER` is not.
const NAME: &str = "localhost";
/// Another address of the same servers.
const STRANGER: &str = "127.0.0.1";

/// A Redis, a Postgres and proxies before everything that speaks HTTP, all with the same certificate.
struct Ground {
    ca: PrivateCa,
    servers: Option<Servers>,
    postgres: PrivatePostgres,
    options: StackOptions,
    proxies: [TlsProxy; 3],
    redis_port: u16,
}

impl Ground {
    async fn start() -> Self {
        let ca = PrivateCa::new();
        let certificate = ca.certify(&[NAME]);
        let redis = Redis::options().append_only().tls(&certificate).start().await;
        let postgres = PrivatePostgres::start_with_tls(&certificate).await;
        let database = postgres.database().await;
        let options = StackOptions {
            customers: 300,
            ..StackOptions::default()
        };
        let proxies = proxies(&options, &certificate).await;
        Self {
            ca,
            redis_port: redis.tls_port().expect("it was asked for TLS"),
            servers: Some(Servers { redis, database }),
            postgres,
            options,
            proxies,
        }
    }

    /// Where everything is, by this name.
    fn addresses(&self, host: &str, database: &str) -> Vec<(&'static str, String)> {
        let [erp, whatsapp, webhooks] = self.proxies.each_ref().map(TlsProxy::port);
        vec![
            ("DATABASE_URL", self.database_url(host, database)),
            ("REDIS_URL", format!("rediss://{host}:{}/", self.redis_port)),
            ("ERP_BASE_URL", format!("https://{host}:{erp}")),
            ("WHATSAPP_BASE_URL", format!("https://{host}:{whatsapp}")),
            (
                "WEBHOOK_URL",
                format!("https://{host}:{webhooks}/webhooks/whatsapp"),
            ),
        ]
    }

    fn database_url(&self, host: &str, database: &str) -> String {
        let address = self.postgres.address();
        let port = address.rsplit(':').next().expect("an address has a port");
        format!("postgres://testkit@{host}:{port}/{database}?sslmode=verify-full")
    }
}

async fn proxies(options: &StackOptions, certificate: &ServerCertificate) -> [TlsProxy; 3] {
    let to = |port: u16| format!("127.0.0.1:{port}");
    [
        TlsProxy::start(to(options.ports.erp), certificate).await,
        TlsProxy::start(to(options.ports.whatsapp), certificate).await,
        TlsProxy::start(to(options.ports.messenger), certificate).await,
    ]
}

fn trust(ca: &Path) -> (&'static str, String) {
    ("TLS_CA_FILE", ca.display().to_string())
}

#[tokio::test]
async fn a_campaign_goes_from_schedule_to_read_receipts_with_every_connection_over_tls() {
    let mut ground = Ground::start().await;
    let servers = ground.servers.take().expect("they were started");
    let mut options = ground.options.clone();
    options.environment = ground.addresses(NAME, servers.database.name());
    options.environment.push(trust(&ground.ca.file()));
    let stack = Stack::start_on(servers, options).await;
    let id = stack.create(json!({})).await;
    stack.schedule(&id, None).await;
    let report = stack.finished(&id, Duration::from_secs(30)).await;
    report.assert_exactly_once();
    assert_eq!(report.total(), 300, "one row a customer");
    assert!(
        report.count("read") > 0,
        "webhooks came back over TLS: {report:?}"
    );
}

/// Starts one service that does not trust a server, and answers what it says of it, once it says `expected`.
async fn refusal(name: &str, environment: &[(&'static str, String)], expected: &str) -> String {
    let variables = environment.iter().map(|(name, value)| (*name, value.as_str()));
    let service = ServiceProcess::options(name).envs(variables).start();
    // Another test of this process may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let readiness = format!("{}/readyz", service.base_url());
    let http = reqwest::Client::new();
    wait_for(Duration::from_secs(20), expected, async || {
        let answer = http.get(&readiness).send().await.ok()?;
        let status = answer.status();
        let said = answer.text().await.ok()?;
        (status == 503 && said.contains(expected)).then_some(said)
    })
    .await
}

#[tokio::test]
async fn redis_and_postgres_are_refused_without_the_authority_and_under_another_name() {
    let mut ground = Ground::start().await;
    let servers = ground.servers.take().expect("they were started");
    let database = servers.database.name();
    let ca = trust(&ground.ca.file());
    let plain = [
        ("REDIS_URL", servers.redis.url()),
        ("DATABASE_URL", servers.database.url().to_owned()),
        ("ERP_API_KEY", "key".to_owned()),
        ("TRANSPORT", "simulate".to_owned()),
    ];
    let with = |name: &str, host: &str| {
        let mut environment = plain.to_vec();
        let mut over_tls = ground.addresses(host, database);
        over_tls.retain(|(setting, _)| *setting == name);
        environment.extend(over_tls);
        environment
    };
    for (host, trusted, expected) in [
        (NAME, false, "invalid peer certificate: UnknownIssuer"),
        (
            STRANGER,
            true,
            "invalid peer certificate: certificate not valid for name",
        ),
    ] {
        let trusted = trusted.then(|| ca.clone());
        let environment =
            |setting: &str| -> Vec<_> { with(setting, host).into_iter().chain(trusted.clone()).collect() };
        let (redis, postgres) = (environment("REDIS_URL"), environment("DATABASE_URL"));
        let said = tokio::join!(
            refusal("message-svc", &redis, expected),
            refusal("sender-svc", &redis, expected),
            refusal("scheduler-svc", &redis, expected),
            refusal("sender-svc", &postgres, expected),
            refusal("scheduler-svc", &postgres, expected),
        );
        assert!(said.0.contains("Redis is away"), "{}", said.0);
        assert!(said.3.contains("postgres"), "{}", said.3);
    }
}

#[tokio::test]
async fn who_does_not_trust_the_erp_or_whatsapp_says_so_and_sends_nothing() {
    let ca = PrivateCa::new();
    let certificate = ca.certify(&[NAME]);
    let mut options = StackOptions {
        customers: 50,
        ..StackOptions::default()
    };
    let [erp, whatsapp, _webhooks] = proxies(&options, &certificate).await;
    options.environment = vec![
        ("ERP_BASE_URL", format!("https://{NAME}:{}", erp.port())),
        ("WHATSAPP_BASE_URL", format!("https://{NAME}:{}", whatsapp.port())),
        ("RUST_LOG", "info,message_svc=debug".to_owned()),
    ];
    let (name, file) = trust(&ca.file());
    options.environment_of = vec![("sender-svc", name, file)];
    let stack = Stack::start(options).await;
    let id = stack.create(json!({})).await;

    let (status, preview) = stack
        .try_api(
            reqwest::Method::POST,
            &format!("/v1/campaigns/{id}/preview"),
            None,
        )
        .await;
    assert_eq!(status, 503, "{preview}");
    let detail = preview["detail"].to_string();
    assert!(
        detail.contains("invalid peer certificate: UnknownIssuer"),
        "{detail}"
    );

    stack.schedule(&id, None).await;
    let said = "message-svc to say why it sends nothing";
    wait_for(Duration::from_secs(20), said, async || {
        let log = stack.messengers[0].log();
        log.contains("invalid peer certificate: UnknownIssuer")
            .then_some(())
    })
    .await;
    let path = format!("/mock/acceptances?campaign={id}");
    let acceptances = stack.whatsapp(reqwest::Method::GET, &path, None).await;
    assert_eq!(acceptances["accepted"], 0, "{acceptances}");
    let campaign = stack.campaign(&id).await;
    let failed = &campaign["progress"]["by_state"]["failed"];
    assert_eq!(*failed, 0, "nothing is burnt: {campaign}");
}
