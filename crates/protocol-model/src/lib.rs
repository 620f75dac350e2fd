//! The engine's protocol as a small model, searched for interleavings that break a promise.
//!
//! Real tests try the interleavings that somebody thought of. Here a random search tries thousands that nobody
//! thought of: one lane, a handful of recipients, two `sender-svc`, two or three `message-svc`, and between any two
//! of their steps something may go wrong. The model was written from the scripts
//! (`campaign-streams/src/lane/scripts/`), the owner (`sender-svc/src/lane/`), the member (`message-svc/src/`) and
//! the ledger (`campaign-store/src/`), not from the design, and keeps their names, so the two can be read side by
//! side. What a row does with an event is not modelled at all: it is `MessageRow::apply` of `campaign-core`.
//!
//! # What is modelled
//!
//! - **Steps.** One step is one script, one transaction, one read, one write to the wire: whatever the real code does
//!   between two `await`s that others can see. Appending and recording what was appended are two steps; so are the
//!   write, the answer and the settle, the ledger's commit and its delete, and every stage of a rebuild. Every
//!   process has tasks that take steps on their own: keeper and ledger, or worker, settler and each send.
//! - **Faults.** A process crashes and comes back as a new instance, stands still and goes on believing what it
//!   believed, or is asked to stop. The answer to a step is lost although the step was carried out. Redis loses
//!   everything (with a new identity, or by `FLUSHALL` with the same), goes back to what it was up to 40 changes ago,
//!   or loses one stream. WhatsApp accepts or does not, answers or does not; webhooks come late, twice or never.
//!   Time passes, from a second to five graces. People pause, resume, cancel, and ask for another try.
//! - **The calm.** Then nothing goes wrong any more, and everything must come to its end within a bounded number of
//!   turns.
//!
//! Every change is followed by a look at all promises ([`Promise`]); some can be judged at the end only.
//!
//! # What is simplified, and why that is safe
//!
//! - **All clocks agree.** What the protocol compares across clocks it compares with margins that are checked when a
//!   service starts; the lease check on two clocks has tests of its own.
//! - **Seconds are the smallest time.** More things coincide than in reality, which the search may use.
//! - **No rate, no fair shares, no opt-outs.** They decide how many messages leave and of which campaign, never
//!   whether one leaves twice. A take gives whatever there is.
//! - **A rebuild that must guess takes all that was fed.** The engine takes an upper bound of what vanished members
//!   can have sent, from the rate. That the bound is one is arithmetic, and not shown here.
//! - **Transactions are atomic, Postgres loses nothing.** A Postgres that was rolled back halts the lane for a person.
//! - **Uncertain messages of campaigns that hold them are left alone.** People may have them sent again, and then
//!   accept that they arrive twice. Where a campaign resends by itself, a second message is a violation only if
//!   neither of the two cases explains it that the design admits: the webhook was lost or late, or a process stood
//!   still inside a write for longer than the reclaim idle time leaves.
//! - **One lane.** Lanes share nothing but the 24 h limit, which is not modelled.
//!
//! # How to read a counterexample
//!
//! A search that finds something makes it small and prints three parts. The first line names the promise. Then comes
//! the case: the campaigns, and what happened, one action a line (`Everyone(4)` lets all take four steps in turn).
//! Then every step that somebody took, one a line, with the second in which it happened:
//!
//! ```text
//! 3 s  member 0 (instance 3): parks 0:1-2 until 0 s
//! 3 s  member 0 (instance 3): never hears the answer to that
//! 3 s  member 0 (instance 3): takes 0:1-2
//! 3 s  member 0 (instance 3): writes 0:1-2 to WhatsApp: Accepted
//! 3 s  member 0 (instance 3): parks 0:1-2 until 0 s
//! 3 s  member 1 (instance 4): takes 0:1-2
//! ```
//!
//! `0:1-2` is row 2 of campaign 0 in its round 1. Read it from the end: the last line breaks the promise, and above it
//! stands the step that should not have been possible. Then ask of that step whether the real code would do it too;
//! if not, the model is wrong and is to be corrected. (The steps above were real: a settle is numbered since then,
//! [`Flaw::ParksTwice`].)
//!
//! # How to know that it finds anything
//!
//! [`Flaw`] lists safeguards that can be taken out, one at a time. For each a test demands that the search breaks a
//! promise without it, and says which. Some flaws were no invention: the search found them in the engine.
//!
//! `PROTOCOL_MODEL_CASES` sets how many interleavings are tried, `PROTOCOL_MODEL_SEED` which.

mod action;
mod check;
mod draw;
mod env;
mod flaw;
mod ids;
mod ledger;
mod member;
mod owner;
mod postgres;
mod promise;
mod redis;
mod search;
mod whatsapp;
mod world;

pub use action::{Action, CampaignPlan, Case, Process, Task};
pub use flaw::Flaw;
pub use promise::{Promise, Violation};
pub use search::{Counterexample, replay, search};
pub use whatsapp::Wire;
