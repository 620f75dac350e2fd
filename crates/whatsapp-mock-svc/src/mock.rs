//! Everything the mock knows, and the one decision it takes about each message.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use secrecy::{ExposeSecret, SecretString};
use whatsapp_api::MessageRequest;

use crate::acceptances::AcceptanceLog;
use crate::answer::Refusal;
use crate::faults::{Fault, FaultMemory, FaultProfile};
use crate::numbers::Numbers;
use crate::randomness::Lot;
use crate::webhooks::delivery::Courier;
use crate::webhooks::{Message, Outbox, WebhookSettings};

/// First area code of Brazil whose older accounts have no ninth digit.
const OLD_ACCOUNTS_FROM_AREA: u64 = 31;

/// How a mock begins; most of it can be changed while it runs.
#[derive(Clone, Debug)]
pub struct MockSettings {
    /// The only token that may send.
    pub access_token: SecretString,
    /// Told to the webhook's endpoint when it is verified.
    pub verify_token: Option<SecretString>,
    /// Authorities that webhooks to `https://` trust besides the system's.
    pub further_roots: Vec<reqwest::Certificate>,
    /// Repeats every chance.
    pub seed: u64,
    /// Throughput of a number that nothing else was said about, messages per second.
    pub throughput: u32,
    /// Latency and faults.
    pub faults: FaultProfile,
    /// Where statuses go, and how.
    pub webhooks: WebhookSettings,
}

/// Everything the mock knows. Shared by all handlers and the webhook pump.
#[derive(Debug)]
pub struct Mock {
    access_token: SecretString,
    pub(crate) verify_token: Option<SecretString>,
    pub(crate) courier: Courier,
    seed: u64,
    clock: Clock,
    faults: RwLock<Arc<FaultProfile>>,
    webhooks: RwLock<Arc<WebhookSettings>>,
    ledger: Mutex<Ledger>,
    outbox: Mutex<Outbox>,
}

/// What was accepted, under one lock, so that limit, log and memory always agree.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) numbers: Numbers,
    pub(crate) acceptances: AcceptanceLog,
    pub(crate) fault_memory: FaultMemory,
}

/// What becomes of one message.
pub(crate) enum Verdict {
    Accepted {
        message_id: String,
        wa_id: u64,
        fault: Fault,
    },
    Refused(Refusal),
    /// Neither accepted nor answered properly.
    Broken(Fault),
}

impl Mock {
    /// A mock that has accepted nothing yet.
    pub fn new(settings: MockSettings) -> Self {
        let clock = Clock::start();
        Self {
            access_token: settings.access_token,
            verify_token: settings.verify_token,
            courier: Courier::new(settings.further_roots),
            seed: settings.seed,
            faults: RwLock::new(Arc::new(settings.faults)),
            webhooks: RwLock::new(Arc::new(settings.webhooks)),
            ledger: Mutex::new(Ledger {
                numbers: Numbers::new(settings.throughput),
                acceptances: AcceptanceLog::default(),
                fault_memory: FaultMemory::default(),
            }),
            // Message ids must differ from those of a mock that ran before.
            outbox: Mutex::new(Outbox::new(clock.now_us())),
            clock,
        }
    }

    /// Decides about a message that is well formed, and remembers it if it is accepted.
    pub(crate) fn decide(
        &self,
        phone_number_id: &str,
        recipient: u64,
        request: &MessageRequest,
        now_us: u64,
    ) -> (Verdict, Duration) {
        let data = request.biz_opaque_callback_data.as_deref();
        let lot = Lot::of(
            self.seed,
            &[
                phone_number_id.as_bytes(),
                &recipient.to_le_bytes(),
                data.unwrap_or_default().as_bytes(),
            ],
        );
        let profile = self.faults();
        let latency = profile.latency(lot);
        let mut ledger = self.ledger();
        if let Err(refusal) = ledger.numbers.check_state(phone_number_id) {
            return (Verdict::Refused(refusal), latency);
        }
        let fault = ledger.fault_memory.draw(&profile, lot);
        match fault {
            Fault::Error(fault) => {
                let refusal = Refusal {
                    is_transient: fault.is_transient,
                    retry_after_s: fault.retry_after_s,
                    ..Refusal::of(fault.code)
                };
                return (Verdict::Refused(refusal), latency);
            }
            Fault::ResetBefore | Fault::GarbageBefore => return (Verdict::Broken(fault), latency),
            _ => {}
        }
        if let Err(refusal) = ledger.numbers.admit(phone_number_id, now_us) {
            return (Verdict::Refused(refusal), latency);
        }
        let recorded = ledger
            .acceptances
            .record(phone_number_id, recipient, data, now_us);
        drop(ledger);

        let wa_id = wa_id(recipient);
        let message = Message {
            phone_number_id: recorded.phone_number_id,
            wa_id,
            callback: recorded.callback,
            lot,
        };
        let message_id = self.outbox().accept(&self.webhooks(), message, now_us);
        (
            Verdict::Accepted {
                message_id,
                wa_id,
                fault,
            },
            latency,
        )
    }

    /// Whether a request carries the right token. Guards nothing, so it need not take constant time.
    pub(crate) fn is_authorised(&self, token: &str) -> bool {
        self.access_token.expose_secret() == token
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    pub(crate) fn faults(&self) -> Arc<FaultProfile> {
        Arc::clone(&self.faults.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_faults(&self, faults: FaultProfile) {
        *self.faults.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(faults);
    }

    pub(crate) fn webhooks(&self) -> Arc<WebhookSettings> {
        Arc::clone(&self.webhooks.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set_webhooks(&self, webhooks: WebhookSettings) {
        *self.webhooks.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(webhooks);
    }

    // Neither lock is held across anything that can fail half-way, so a poisoned one is still good.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brazilian accounts made before the ninth digit keep eight digits in their `wa_id`. Here all of area
/// codes 31 and up do, so that it happens often and always to the same people.
fn wa_id(recipient: u64) -> u64 {
    const BRAZIL_13_DIGITS: std::ops::Range<u64> = 5_500_000_000_000..5_600_000_000_000;
    let (area, subscriber) = (recipient / 1_000_000_000 % 100, recipient % 1_000_000_000);
    let old =
        BRAZIL_13_DIGITS.contains(&recipient) && area >= OLD_ACCOUNTS_FROM_AREA && subscriber >= 900_000_000;
    if old {
        (5_500 + area) * 100_000_000 + subscriber % 100_000_000
    } else {
        recipient
    }
}

/// Microseconds since 1970 that never run backwards.
#[derive(Debug)]
struct Clock {
    begun: Instant,
    begun_us: u64,
}

impl Clock {
    fn start() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            begun: Instant::now(),
            begun_us: since_1970.as_micros() as u64,
        }
    }

    fn now_us(&self) -> u64 {
        self.begun_us + self.begun.elapsed().as_micros() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::wa_id;

    #[test]
    fn older_brazilian_accounts_lose_their_ninth_digit() {
        assert_eq!(wa_id(5_531_987_654_321), 553_187_654_321);
        assert_eq!(wa_id(5_511_987_654_321), 5_511_987_654_321, "area code below 31");
        assert_eq!(wa_id(553_187_654_321), 553_187_654_321, "already without");
        assert_eq!(wa_id(14_155_550_123), 14_155_550_123);
    }
}
