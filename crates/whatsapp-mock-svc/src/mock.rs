//! Everything the mock knows, and the one decision it takes about each message.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::Method;
use secrecy::{ExposeSecret, SecretString};

use crate::acceptances::AcceptanceLog;
use crate::accounts::Accounts;
use crate::answer::Refusal;
use crate::check::Endpoint;
use crate::faults::{Fault, FaultMemory, FaultProfile};
use crate::numbers::Numbers;
use crate::person::wa_id;
use crate::pricing::{Price, Rate};
use crate::randomness::Lot;
use crate::request::SendRequest;
use crate::templates::Category;
use crate::webhooks::delivery::Courier;
use crate::webhooks::{Message, Notice, Outbox, WebhookSettings};
use crate::windows::Windows;

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
    /// Whether it knows only the numbers and templates that were set up, and begins with Meta's limits.
    pub is_strict: bool,
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
    pub(crate) is_strict: bool,
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
    pub(crate) accounts: Accounts,
    pub(crate) windows: Windows,
    pub(crate) acceptances: AcceptanceLog,
    pub(crate) fault_memory: FaultMemory,
}

impl Ledger {
    /// Refuses what the number, its account and the template forbid; what the message costs.
    fn check(
        &mut self,
        arrival: &Arrival<'_>,
        request: &SendRequest,
        is_strict: bool,
    ) -> Result<Price, Refusal> {
        let Arrival {
            phone_number_id: id,
            endpoint,
            now_us,
            ..
        } = *arrival;
        let number = self.numbers.known(id, &Method::POST)?;
        number.check_state()?;
        let is_in_window = self.windows.is_open(id, wa_id(arrival.person), now_us);
        let rate = match &request.template {
            Some(template) => {
                let category = self.accounts.check(&number.account_id, template)?;
                check_category(category, endpoint, number.marketing_messages_only)?;
                Rate::of_template(category, endpoint == Endpoint::MarketingMessages)
            }
            None if is_strict && !is_in_window => {
                return Err(Refusal::because(
                    131_047,
                    "Message failed to send because more than 24 hours have passed since the customer last \
                     replied to this number.",
                ));
            }
            None => Rate::Service,
        };
        Ok(Price {
            rate,
            is_in_window,
            has_conversation: arrival.has_conversation,
        })
    }

    /// Counts one message, or refuses it because of a limit. An answer to a person is not counted among
    /// the people that the business writes to of its own accord.
    fn admit(&mut self, id: &str, person: u64, price: Price, now_us: u64) -> Result<(), Refusal> {
        let account_id = self.numbers.identity(id).0;
        let wa_id = wa_id(person);
        if !price.is_in_window {
            self.accounts.check_limit(&account_id, wa_id, now_us)?;
        }
        self.numbers.admit(id, wa_id, now_us)?;
        if !price.is_in_window {
            self.accounts.count(&account_id, wa_id, now_us);
        }
        Ok(())
    }
}

/// Each endpoint takes its own categories. Of a template in no registry, the category is not known.
fn check_category(
    category: Option<Category>,
    endpoint: Endpoint,
    is_marketing_apart: bool,
) -> Result<(), Refusal> {
    match (endpoint, category) {
        (Endpoint::MarketingMessages, Some(Category::Utility | Category::Authentication)) => {
            Err(Refusal::because(
                131_009,
                "/marketing_messages takes templates of category MARKETING only",
            ))
        }
        (Endpoint::Messages, Some(Category::Marketing) | None) if is_marketing_apart => {
            Err(Refusal::because(
                131_063,
                "Marketing templates of this number must be sent through /marketing_messages",
            ))
        }
        _ => Ok(()),
    }
}

/// A message that came, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) phone_number_id: &'a str,
    pub(crate) endpoint: Endpoint,
    pub(crate) person: u64,
    /// Whether the version of the API still tells of conversations.
    pub(crate) has_conversation: bool,
    pub(crate) now_us: u64,
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
            is_strict: settings.is_strict,
            seed: settings.seed,
            faults: RwLock::new(Arc::new(settings.faults)),
            webhooks: RwLock::new(Arc::new(settings.webhooks)),
            ledger: Mutex::new(Ledger {
                numbers: Numbers::new(settings.throughput, settings.is_strict),
                accounts: Accounts::new(settings.is_strict),
                windows: Windows::default(),
                acceptances: AcceptanceLog::default(),
                fault_memory: FaultMemory::default(),
            }),
            // Message ids must differ from those of a mock that ran before.
            outbox: Mutex::new(Outbox::new(clock.now_us())),
            clock,
        }
    }

    /// Decides about a message that is well formed, and remembers it if it is accepted.
    pub(crate) fn decide(&self, arrival: &Arrival<'_>, request: &SendRequest) -> (Verdict, Duration) {
        let data = request.biz_opaque_callback_data.as_deref();
        let Arrival {
            phone_number_id,
            person,
            now_us,
            ..
        } = *arrival;
        let lot = Lot::of(
            self.seed,
            &[
                phone_number_id.as_bytes(),
                &person.to_le_bytes(),
                data.unwrap_or_default().as_bytes(),
            ],
        );
        let profile = self.faults();
        let latency = profile.latency(lot);
        let mut ledger = self.ledger();
        let price = match ledger.check(arrival, request, self.is_strict) {
            Ok(price) => price,
            Err(refusal) => return (Verdict::Refused(refusal), latency),
        };
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
        if let Err(refusal) = ledger.admit(phone_number_id, person, price, now_us) {
            return (Verdict::Refused(refusal), latency);
        }
        let recorded = ledger.acceptances.record(phone_number_id, person, data, now_us);
        drop(ledger);

        let wa_id = wa_id(person);
        let message = Message {
            phone_number_id: recorded.phone_number_id,
            wa_id,
            callback: recorded.callback,
            lot,
            price,
        };
        let message_id = self.outbox().accept(&self.webhooks(), message, now_us);
        let accepted = Verdict::Accepted {
            message_id,
            wa_id,
            fault,
        };
        (accepted, latency)
    }

    /// Plans a notice, if it has anywhere to go; whether it had, and there was room.
    pub(crate) fn tell(&self, notice: Notice) -> bool {
        self.webhooks().is_on() && self.outbox().accept_notice(notice, self.now_us())
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
