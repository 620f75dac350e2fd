//! A mock on a free port, and the two ways to talk to it.

use std::net::SocketAddr;
use std::time::Duration;

use campaign_runtime::{Runtime, Shutdown};
use serde_json::Value;
use whatsapp_api::send::{Component, Language, Parameter, TemplateMessage};
use whatsapp_api::{ClientConfig, CloudApi, MessageRequest, SendOutcome};
use whatsapp_mock_svc::{FaultProfile, MockSettings, WebhookSettings, app};

pub(crate) const PHONE_NUMBER_ID: &str = "106540352242922";
const TOKEN: &str = "a-token";
/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Mock {
    pub(crate) addr: SocketAddr,
    pub(crate) api: CloudApi,
    http: reqwest::Client,
    shutdown: Shutdown,
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.shutdown.stop_now();
    }
}

impl Mock {
    pub(crate) async fn start(faults: FaultProfile, webhooks: WebhookSettings) -> Self {
        Self::with(faults, webhooks, false).await
    }

    /// As strict as Meta from the start.
    pub(crate) async fn strict(webhooks: WebhookSettings) -> Self {
        Self::with(FaultProfile::default(), webhooks, true).await
    }

    async fn with(faults: FaultProfile, webhooks: WebhookSettings, is_strict: bool) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shutdown = Shutdown::default();
        let settings = MockSettings {
            further_roots: Vec::new(),
            access_token: TOKEN.to_owned().into(),
            verify_token: Some("verify".to_owned().into()),
            seed: 42,
            throughput: 1_000,
            is_strict,
            faults,
            webhooks,
        };
        tokio::spawn(app::serve(
            settings,
            Runtime::for_test(listener, shutdown.clone()),
        ));
        Self {
            addr,
            api: client(addr, TOKEN),
            http: reqwest::Client::builder()
                .no_proxy()
                .tls_certs_only([])
                .build()
                .unwrap(),
            shutdown,
        }
    }

    pub(crate) async fn with_faults(faults: FaultProfile) -> Self {
        Self::start(faults, WebhookSettings::default()).await
    }

    pub(crate) async fn send(&self, message: &MessageRequest) -> SendOutcome {
        self.api.send(PHONE_NUMBER_ID, message).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.call(reqwest::Method::GET, path, None).await.1
    }

    pub(crate) async fn get_text(&self, path: &str) -> String {
        let response = self.http.get(self.url(path)).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        response.text().await.unwrap()
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(reqwest::Method::PUT, path, Some(body)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.call(reqwest::Method::POST, path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) {
        assert_eq!(self.call(reqwest::Method::DELETE, path, None).await.0, 200);
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.http.request(method, self.url(path));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap())
    }

    /// Asks with the token, as other clients than the engine's do.
    pub(crate) async fn graph(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let (status, answer) = self.graph_text(method, path, body).await;
        (status, serde_json::from_str(&answer).unwrap())
    }

    pub(crate) async fn graph_text(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
        let method: reqwest::Method = method.parse().unwrap();
        let mut request = self.http.request(method, self.url(path)).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.text().await.unwrap())
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }
}

pub(crate) fn client(addr: SocketAddr, token: &str) -> CloudApi {
    let mut config = ClientConfig::new(format!("http://{addr}"), "v25.0", token.to_owned().into());
    config.request_timeout = Duration::from_secs(2);
    config.system_proxy = false;
    CloudApi::new(config).unwrap()
}

/// Message `seq` of a campaign, to a recipient of its own.
pub(crate) fn message(campaign: &str, seq: u32) -> MessageRequest {
    let template = TemplateMessage {
        name: "hello".into(),
        language: Language { code: "pt_BR".into() },
        components: vec![Component::Body {
            parameters: vec![Parameter::positional("Ana")],
        }],
    };
    MessageRequest::template(&format!("+55119{seq:08}"), template)
        .with_callback_data(format!("{campaign}:1:{seq}"))
}

/// Waits until `condition` gives something.
pub(crate) async fn wait_for<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
