//! The connections between the parts, each with a fault proxy in it.

use crate::environment::Environment;
use crate::ports::{Ports, address_of};
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::{Database, FaultProxy, Mode, Redis};

/// A connection, named by who opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wire {
    /// From `scheduler-svc` to Redis.
    SchedulerToRedis,
    /// From `scheduler-svc` to Postgres.
    SchedulerToPostgres,
    /// From `scheduler-svc` to the ERP.
    SchedulerToErp,
    /// From `sender-svc` to Redis.
    SenderToRedis,
    /// From `sender-svc` to Postgres.
    SenderToPostgres,
    /// From `sender-svc` to the ERP.
    SenderToErp,
    /// From `message-svc` to Redis.
    MessengerToRedis,
    /// From `message-svc` to WhatsApp.
    MessengerToWhatsapp,
    /// From WhatsApp to `message-svc`: the webhooks.
    WhatsappToMessenger,
    /// From the ERP to Redis.
    ErpToRedis,
}

impl Wire {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::SchedulerToRedis,
        Self::SchedulerToPostgres,
        Self::SchedulerToErp,
        Self::SenderToRedis,
        Self::SenderToPostgres,
        Self::SenderToErp,
        Self::MessengerToRedis,
        Self::MessengerToWhatsapp,
        Self::WhatsappToMessenger,
        Self::ErpToRedis,
    ];

    /// The binary that opens it, and the environment variable that tells it where to.
    fn setting(self) -> (&'static str, &'static str) {
        match self {
            Self::SchedulerToRedis => ("scheduler-svc", "REDIS_URL"),
            Self::SchedulerToPostgres => ("scheduler-svc", "DATABASE_URL"),
            Self::SchedulerToErp => ("scheduler-svc", "ERP_BASE_URL"),
            Self::SenderToRedis => ("sender-svc", "REDIS_URL"),
            Self::SenderToPostgres => ("sender-svc", "DATABASE_URL"),
            Self::SenderToErp => ("sender-svc", "ERP_BASE_URL"),
            Self::MessengerToRedis => ("message-svc", "REDIS_URL"),
            Self::MessengerToWhatsapp => ("message-svc", "WHATSAPP_BASE_URL"),
            Self::WhatsappToMessenger => ("whatsapp-mock-svc", "WEBHOOK_URL"),
            Self::ErpToRedis => ("erp-mock-svc", "REDIS_URL"),
        }
    }

    fn upstream(self, redis: &Redis, database: &Database, ports: Ports) -> String {
        let port = match self {
            Self::SchedulerToRedis | Self::SenderToRedis | Self::MessengerToRedis | Self::ErpToRedis => {
                return redis.address();
            }
            Self::SchedulerToPostgres | Self::SenderToPostgres => return address_of(database.url()),
            Self::SchedulerToErp | Self::SenderToErp => ports.erp,
            Self::MessengerToWhatsapp => ports.whatsapp,
            Self::WhatsappToMessenger => ports.messenger,
        };
        format!("127.0.0.1:{port}")
    }
}

/// Every open connection has noticed a reset by then.
const RESET_FOR: Duration = Duration::from_millis(100);

/// A proxy in every wire.
#[derive(Debug)]
pub(crate) struct Wires(BTreeMap<Wire, (FaultProxy, String)>);

impl Wires {
    pub(crate) async fn start(redis: &Redis, database: &Database, ports: Ports) -> Self {
        let mut wires = BTreeMap::new();
        for wire in Wire::ALL {
            let upstream = wire.upstream(redis, database, ports);
            wires.insert(wire, (FaultProxy::start(upstream.clone()).await, upstream));
        }
        Self(wires)
    }

    /// Tells every program to connect through the proxies.
    pub(crate) fn lead(&self, environment: &mut Environment) {
        for (wire, (proxy, upstream)) in &self.0 {
            let (program, setting) = wire.setting();
            let through = proxy.address().to_string();
            environment.change(program, setting, |value| value.replace(upstream, &through));
        }
    }

    /// Disturbs a wire for a while. Then its connections are reset: no network forgets bytes in the middle of
    /// a connection and lets it go on.
    pub(crate) async fn disturb(&self, wire: Wire, mode: Mode, during: Duration) {
        let (proxy, _) = &self.0[&wire];
        proxy.set(mode).await;
        tokio::time::sleep(during).await;
        if mode == Mode::DropReplies {
            proxy.set(Mode::Reset).await;
            tokio::time::sleep(RESET_FOR).await;
        }
        proxy.set(Mode::Pass).await;
    }
}
