//! The ledger's task: read from the head, apply in one transaction, admit members, delete what was applied.

use super::{Owner, Stop};
use crate::env::Env;
use crate::ids::{Identity, Instance};
use crate::redis::Outcome;
use std::collections::VecDeque;

/// Most outcomes applied in one transaction.
const BATCH_MAX: usize = 3;

/// Where the ledger stands.
#[derive(Debug, Clone)]
pub(super) enum LedgerTask {
    Idle,
    Read(Vec<(u64, Outcome)>),
    Applied {
        ids: Vec<u64>,
        members: VecDeque<(Instance, Option<Identity>)>,
    },
}

impl Owner {
    /// The ledger's next step.
    pub(crate) fn keep_ledger(&mut self, env: &mut Env) {
        let Some(epoch) = self.epoch else { return };
        if self.step_of_ledger(env, epoch) == Err(Stop::Superseded) {
            self.say(env, || "the lane belongs to another".to_owned());
            self.give_up();
        }
    }

    fn step_of_ledger(&mut self, env: &mut Env, epoch: i64) -> Result<(), Stop> {
        match std::mem::replace(&mut self.ledger, LedgerTask::Idle) {
            LedgerTask::Idle => {
                let batch = env.redis.read_outcomes(BATCH_MAX);
                if !batch.is_empty() {
                    self.say(env, || format!("the ledger reads {} outcomes", batch.len()));
                    self.ledger = LedgerTask::Read(batch);
                }
            }
            LedgerTask::Read(batch) => self.apply(env, epoch, &batch)?,
            LedgerTask::Applied { ids, mut members } => {
                let Some((instance, identity)) = members.pop_front() else {
                    env.redis.delete_outcomes(&ids);
                    self.say(env, || "the ledger deletes what it has applied".to_owned());
                    return Ok(());
                };
                // An unverified lane admits its members when it is verified.
                let admitted = env.redis.set_member(epoch, instance, identity, env.now);
                if let Err(stop @ Stop::Superseded) = admitted.map_err(Stop::from) {
                    return Err(stop);
                }
                self.say(env, || match (identity, admitted) {
                    (_, Err(_)) => format!("{instance} is not admitted, the lane is not built"),
                    (Some(_), Ok(())) => format!("{instance} is admitted"),
                    (None, Ok(())) => format!("{instance} is removed"),
                });
                self.ledger = LedgerTask::Applied { ids, members };
            }
        }
        Ok(())
    }

    fn apply(&mut self, env: &mut Env, epoch: i64, batch: &[(u64, Outcome)]) -> Result<(), Stop> {
        let (now, flaw) = (env.now, env.flaw);
        let rows = env.postgres.fence(epoch)?;
        let mut members = VecDeque::new();
        for (_, outcome) in batch {
            match outcome {
                Outcome::Message(message) => {
                    rows.campaigns[message.key.campaign].apply(message, now, flaw);
                }
                Outcome::Join { instance, identity } => {
                    rows.record_member(*instance, *identity, now);
                    members.push_back((*instance, Some(*identity)));
                }
                Outcome::Left(instance) => {
                    rows.members.remove(instance);
                    members.push_back((*instance, None));
                }
            }
        }
        let ids = batch.iter().map(|(id, _)| *id).collect();
        self.say(env, || format!("the ledger applies {} outcomes", batch.len()));
        self.ledger = LedgerTask::Applied { ids, members };
        Ok(())
    }
}
