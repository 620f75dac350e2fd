//! What the programs of a system are told.

use crate::stack::{ACCESS_TOKEN, APP_SECRET, ERP_KEY, StackOptions, VERIFY_TOKEN};
use testkit::{Database, Redis};

/// Environment variables, of all programs and of single ones.
#[derive(Debug)]
pub(crate) struct Environment {
    of_all: Vec<(&'static str, String)>,
    of_one: Vec<(&'static str, &'static str, String)>,
}

impl Environment {
    pub(crate) fn new(options: &StackOptions, redis: &Redis, database: &Database) -> Self {
        Self {
            of_all: of_all(options, redis, database),
            of_one: options.environment_of.clone(),
        }
    }

    /// What one program is told; what it alone is told stands last, and counts.
    pub(crate) fn of(&self, program: &str) -> Vec<(&'static str, &str)> {
        let own = self.of_one.iter().filter(|(of, ..)| *of == program);
        let own = own.map(|(_, name, value)| (*name, value.as_str()));
        let all = self.of_all.iter().map(|(name, value)| (*name, value.as_str()));
        all.chain(own).collect()
    }

    /// Tells one program something else.
    pub(crate) fn change(
        &mut self,
        program: &'static str,
        name: &'static str,
        change: impl Fn(&str) -> String,
    ) {
        let value = self.of(program).into_iter().rfind(|(of, _)| *of == name);
        let value = value.map(|(_, value)| change(value));
        self.of_one.extend(value.map(|value| (program, name, value)));
    }
}

fn of_all(options: &StackOptions, redis: &Redis, database: &Database) -> Vec<(&'static str, String)> {
    let ports = options.ports;
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
