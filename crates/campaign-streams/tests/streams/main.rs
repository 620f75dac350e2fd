//! The driver on a real Redis: what the protocol promises, tried by breaking what it stands on.
//!
//! Each test, or the file it is in, names the promise it guards: P1 Redis only dispatches, losing it loses and
//! doubles nothing; P2 one row, one message; P3 the sums balance; P4 only what was certainly not sent is sent
//! again; P5 the rate is a ceiling over all replicas, and used; P6 memory does not grow with the campaign;
//! P7 a small campaign never waits for a large one; P8 a hold takes effect at once; P9 every input is bounded
//! and checked, and what is refused says why.

mod consumer_crowds;
mod consumer_faults;
mod consumer_releases;
mod consumer_verdicts;
mod events;
mod ground;
mod lane_declared_keys;
mod lane_feed;
mod lane_identity;
mod lane_memory;
mod lane_outcomes;
mod lane_pace;
mod lane_parking;
mod lane_rate;
mod lane_recovery;
mod lane_settle;
mod lane_shares;
mod lane_survey;
mod lane_survey_crowd;
mod lane_take;
mod queues;
mod ticks;
mod users;
