//! The whole small world: what happens in it, one action at a time, and how it calms down.

use crate::action::{Action, Case, Process, Task};
use crate::check::Watch;
use crate::env::Env;
use crate::flaw::Flaw;
use crate::ids::{Instance, Time};
use crate::ledger::CampaignRows;
use crate::member::Member;
use crate::owner::Owner;
use crate::postgres::{Postgres, is_over};
use crate::promise::{Promise, Violation};
use crate::redis::{MessageOutcome, Outcome, Redis};
use crate::whatsapp::WhatsApp;
use campaign_core::campaign::CampaignStatus;
use std::collections::BTreeSet;

const SENDERS: usize = 2;
/// Turns of everyone within which the calm must have come to its end.
const CALM_TURNS_MAX: usize = 1_500;
/// Steps of a keeper in one turn of the calm: most walks are shorter.
const CALM_KEEPER_STEPS: usize = 12;
/// Turns without any change after which the calm lets time pass.
const CALM_IDLE_TURNS: usize = 2;
/// Turns after which it does so anyway.
const CALM_BUSY_TURNS: usize = 25;
/// Seconds that pass then.
const CALM_PAUSE: Time = 5;

/// The world.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) env: Env,
    senders: Vec<Owner>,
    pub(crate) members: Vec<Member>,
    instances: u32,
    watch: Watch,
}

impl World {
    pub(crate) fn new(case: &Case, flaw: Option<Flaw>, keep_log: bool) -> Self {
        let rolls_back = |action: &Action| matches!(action, Action::RollBackRedis(_));
        let campaigns = case.campaigns.iter();
        let campaigns = campaigns.map(|plan| CampaignRows::new(plan.pages.clone(), plan.on_uncertain()));
        let mut world = Self {
            env: Env {
                now: 1,
                postgres: Postgres::new(flaw, campaigns.collect()),
                redis: Redis::new(flaw, case.actions.iter().any(rolls_back)),
                whatsapp: WhatsApp {
                    wires: case.wires.clone(),
                    ..WhatsApp::default()
                },
                flaw,
                batch: case.batch,
                window: case.window,
                handed_out: BTreeSet::new(),
                guessed: false,
                violation: None,
                log: keep_log.then(Vec::new),
            },
            senders: Vec::new(),
            members: Vec::new(),
            instances: 0,
            watch: Watch::default(),
        };
        world.senders = (0..SENDERS)
            .map(|number| Owner::new(number, world.next_instance()))
            .collect();
        world.members = (0..case.members)
            .map(|number| Member::new(number, world.next_instance()))
            .collect();
        world
    }

    fn next_instance(&mut self) -> Instance {
        self.instances += 1;
        Instance(self.instances)
    }

    /// Everything that happens, then the calm.
    pub(crate) fn run(&mut self, case: &Case) -> Result<(), Violation> {
        for action in &case.actions {
            self.act(*action)?;
        }
        self.calm_down()
    }

    fn act(&mut self, action: Action) -> Result<(), Violation> {
        match action {
            Action::Run(task, steps) => {
                for _ in 0..steps {
                    self.step(task)?;
                }
                Ok(())
            }
            Action::Everyone(turns) => (0..turns).try_for_each(|_| self.everyone(1)),
            Action::BreakOff(task) => {
                self.break_off(task);
                self.look()
            }
            fault => {
                self.env.say(|| format!("{fault:?}"));
                self.happen(fault);
                self.watch.after_fault(&self.env, &self.members);
                self.look()
            }
        }
    }

    /// What is no step of the protocol.
    fn happen(&mut self, action: Action) {
        let campaigns = self.env.postgres.campaigns.len();
        let campaign = |number: usize| number % campaigns;
        match action {
            Action::Run(..) | Action::Everyone(_) | Action::BreakOff(_) => {}
            Action::Crash(process) => self.crash(process),
            Action::Freeze(process) => *self.frozen(process) = true,
            Action::Thaw(process) => *self.frozen(process) = false,
            Action::Stop(member) => {
                let member = member % self.members.len();
                self.members[member].stop();
            }
            Action::WipeRedis { same_identity } => self.env.redis.wipe(same_identity),
            Action::RollBackRedis(changes) => self.env.redis.roll_back(usize::from(changes)),
            Action::LoseStream(number) => self.env.redis.lose_stream(campaign(number)),
            Action::Wait(seconds) => self.wait(seconds),
            Action::Webhook { nth, comes_again } => self.webhook(nth, comes_again),
            Action::LoseWebhook(nth) => {
                let webhooks = &mut self.env.whatsapp.webhooks;
                if !webhooks.is_empty() {
                    let lost = webhooks[nth % webhooks.len()].key;
                    webhooks.retain(|webhook| webhook.key != lost);
                }
            }
            Action::Cancel(number) => {
                let rows = &mut self.env.postgres.campaigns[campaign(number)];
                if !rows.finished && rows.status.allows(CampaignStatus::Cancelled) {
                    rows.status = CampaignStatus::Cancelled;
                    rows.control_version += 1;
                }
            }
            Action::Pause(number) => self.hold(campaign(number), true),
            Action::Resume(number) => self.hold(campaign(number), false),
            Action::ResendFailed(number) => {
                let rows = &mut self.env.postgres.campaigns[campaign(number)];
                if !is_over(rows.status) {
                    rows.requests += 1;
                }
            }
        }
    }

    fn hold(&mut self, campaign: usize, held: bool) {
        let rows = &mut self.env.postgres.campaigns[campaign];
        if rows.held != held {
            rows.held = held;
            rows.control_version += 1;
        }
    }

    fn frozen(&mut self, process: Process) -> &mut bool {
        match process {
            Process::Sender(number) => {
                let number = number % self.senders.len();
                &mut self.senders[number].is_frozen
            }
            Process::Member(number) => {
                let number = number % self.members.len();
                &mut self.members[number].is_frozen
            }
        }
    }

    fn crash(&mut self, process: Process) {
        let instance = self.next_instance();
        match process {
            Process::Sender(number) => {
                let number = number % self.senders.len();
                self.senders[number] = Owner::new(number, instance);
            }
            Process::Member(number) => {
                let number = number % self.members.len();
                self.members[number] = Member::new(number, instance);
            }
        }
    }

    /// Time passes second by second, because leases are renewed meanwhile.
    fn wait(&mut self, seconds: Time) {
        for _ in 0..seconds {
            self.env.now += 1;
            for sender in &mut self.senders {
                sender.renew(&mut self.env);
            }
        }
    }

    fn webhook(&mut self, nth: usize, comes_again: bool) {
        let webhooks = &mut self.env.whatsapp.webhooks;
        if webhooks.is_empty() || self.members.iter().all(|member| member.is_frozen) {
            return;
        }
        let nth = nth % webhooks.len();
        let webhook = webhooks[nth];
        if !comes_again {
            webhooks.remove(nth);
        }
        let now = self.env.now;
        let outcome = MessageOutcome {
            key: webhook.key,
            state: webhook.state,
            at: now,
            attempts: None,
            due: None,
        };
        self.env.redis.publish(Outcome::Message(outcome));
    }

    fn step(&mut self, task: Task) -> Result<(), Violation> {
        let env = &mut self.env;
        let (senders, members) = (self.senders.len(), self.members.len());
        match task {
            Task::Keeper(number) => {
                let sender = &mut self.senders[number % senders];
                if !sender.is_frozen {
                    sender.keep(env);
                }
            }
            Task::Ledger(number) => {
                let sender = &mut self.senders[number % senders];
                if !sender.is_frozen {
                    sender.keep_ledger(env);
                }
            }
            Task::Worker(number) | Task::Settler(number) | Task::Send(number, _) => {
                let member = &mut self.members[number % members];
                if member.is_frozen {
                    return Ok(());
                }
                match task {
                    Task::Worker(_) => member.work(env),
                    Task::Send(_, nth) => member.send(env, nth),
                    _ => member.settle(env, true),
                }
                if member.has_left {
                    self.crash(Process::Member(number));
                }
            }
        }
        self.look()
    }

    /// The step is carried out; its task never hears of it.
    fn break_off(&mut self, task: Task) {
        let env = &mut self.env;
        let (senders, members) = (self.senders.len(), self.members.len());
        match task {
            Task::Keeper(number) | Task::Ledger(number) => {
                let sender = &mut self.senders[number % senders];
                if !sender.is_frozen {
                    sender.break_off(env, matches!(task, Task::Ledger(_)));
                }
            }
            Task::Worker(number) | Task::Settler(number) | Task::Send(number, _) => {
                let member = &mut self.members[number % members];
                match task {
                    _ if member.is_frozen => {}
                    Task::Worker(_) => member.break_work(env),
                    Task::Settler(_) => member.settle(env, false),
                    _ => {}
                }
            }
        }
    }

    fn everyone(&mut self, keeper_steps: usize) -> Result<(), Violation> {
        for number in 0..self.senders.len() {
            for _ in 0..keeper_steps {
                self.step(Task::Keeper(number))?;
                if self.senders[number].has_walked() {
                    break;
                }
            }
            for _ in 0..keeper_steps.min(4) {
                self.step(Task::Ledger(number))?;
            }
        }
        for number in 0..self.members.len() {
            self.step(Task::Worker(number))?;
            for nth in 0..self.members[number].in_flight() {
                self.step(Task::Send(number, nth))?;
            }
            self.step(Task::Settler(number))?;
        }
        Ok(())
    }

    fn look(&mut self) -> Result<(), Violation> {
        self.watch.look(&mut self.env, &self.members);
        self.env.violation.take().map_or(Ok(()), Err)
    }

    /// No more faults: every process goes on, every webhook that is left arrives, nobody decides anything.
    fn calm_down(&mut self) -> Result<(), Violation> {
        self.env.say(|| "from here on nothing goes wrong".to_owned());
        for sender in &mut self.senders {
            sender.is_frozen = false;
        }
        for member in &mut self.members {
            member.is_frozen = false;
        }
        for campaign in 0..self.env.postgres.campaigns.len() {
            self.hold(campaign, false);
        }
        let mut idle_turns = 0;
        for turn in 1..=CALM_TURNS_MAX {
            let before = self.env.changes();
            self.webhook(0, false);
            self.everyone(CALM_KEEPER_STEPS)?;
            if self.has_ended() {
                return self.watch.at_the_end(&self.env);
            }
            idle_turns = if self.env.changes() == before {
                idle_turns + 1
            } else {
                0
            };
            if idle_turns >= CALM_IDLE_TURNS || turn % CALM_BUSY_TURNS == 0 {
                self.wait(CALM_PAUSE);
            }
        }
        let unfinished = self
            .env
            .postgres
            .campaigns
            .iter()
            .filter(|rows| !rows.finished)
            .count();
        Err(Violation {
            promise: Promise::EverythingEnds,
            what: format!("{unfinished} campaigns are not finished after {CALM_TURNS_MAX} turns of everyone"),
        })
    }

    fn has_ended(&self) -> bool {
        let env = &self.env;
        let rows = &env.postgres.campaigns;
        rows.iter().all(|rows| rows.finished && rows.requests == 0)
            && env.redis.data.campaigns.is_empty()
            && env.redis.data.outcomes.is_empty()
            && env.whatsapp.webhooks.is_empty()
            && self.members.iter().all(Member::is_idle)
    }
}
