//! The network between each pair, cut one way: requests that wait, and answers that are lost.

use crate::{seconds, suffer};
use e2e::{Fault, Plan, Wire};
use testkit::Mode;

async fn cut(name: &str, wire: Wire, mode: Mode) {
    suffer(name, Plan::default().processes(1, 2, 2), |trial| {
        Fault::Wire(wire, mode, trial.scaled(seconds(8), seconds(3)))
    })
    .await;
}

/// Every connection to Postgres falls silent for ever, and nothing says so; new ones are fine.
#[tokio::test]
async fn sender_to_postgres_silent_for_ever() {
    silent_for_ever("sender_to_postgres_silent_for_ever", Wire::SenderToPostgres).await;
}

#[tokio::test]
async fn scheduler_to_postgres_silent_for_ever() {
    silent_for_ever("scheduler_to_postgres_silent_for_ever", Wire::SchedulerToPostgres).await;
}

async fn silent_for_ever(name: &str, wire: Wire) {
    let plan = Plan {
        environment: vec![("DATABASE_STATEMENT_TIMEOUT_MS", "1000".to_owned())],
        // The statement's second, ten for a lock and five for a connection, then the next try.
        ..Plan::default().recovers_within(20)
    };
    suffer(name, plan, |_| Fault::Wire(wire, Mode::Abandon, seconds(1))).await;
}

macro_rules! wires {
    ($($wire:ident: $requests:ident, $replies:ident;)*) => {$(
        #[tokio::test]
        async fn $requests() {
            cut(stringify!($requests), Wire::$wire, Mode::HoldRequests).await;
        }

        #[tokio::test]
        async fn $replies() {
            cut(stringify!($replies), Wire::$wire, Mode::DropReplies).await;
        }
    )*};
}

wires! {
    SchedulerToRedis: scheduler_to_redis_requests_wait, scheduler_to_redis_replies_lost;
    SchedulerToPostgres: scheduler_to_postgres_requests_wait, scheduler_to_postgres_replies_lost;
    SchedulerToErp: scheduler_to_erp_requests_wait, scheduler_to_erp_replies_lost;
    SenderToRedis: sender_to_redis_requests_wait, sender_to_redis_replies_lost;
    SenderToPostgres: sender_to_postgres_requests_wait, sender_to_postgres_replies_lost;
    SenderToErp: sender_to_erp_requests_wait, sender_to_erp_replies_lost;
    MessengerToRedis: messenger_to_redis_requests_wait, messenger_to_redis_replies_lost;
    MessengerToWhatsapp: messenger_to_whatsapp_requests_wait, messenger_to_whatsapp_replies_lost;
    WhatsappToMessenger: whatsapp_to_messenger_requests_wait, whatsapp_to_messenger_replies_lost;
    ErpToRedis: erp_to_redis_requests_wait, erp_to_redis_replies_lost;
}
