//! One campaign, at whose random moments faults happen, and its verdict.

use crate::fault::Fault;
use crate::reckoning::{Allowed, Pace, Reckoning};
use crate::stack::{LANE, Stack, StackOptions};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Seeds the moments and makes the trials as large as `docs/RELIABILITY.md` says.
const SEED_VARIABLE: &str = "MATRIX_SEED";
/// How long a campaign may take beyond the time that its messages need.
const PATIENCE: Duration = Duration::from_secs(90);
/// The share of the campaign in which faults begin.
const MOMENTS: std::ops::Range<f64> = 0.1..0.6;
/// Members are forgotten after five graces, and what a dead consumer held is claimed after 30 s.
const TIDY_WITHIN: Duration = Duration::from_secs(45);
/// What production has at 10, 15, 30 and 60 seconds, so that a trial sees all of it in a few.
const TIMES: [(&str, &str); 4] = [
    ("HTTP_TIMEOUT_MS", "1000"),
    ("ENTRY_LEASE_MS", "1500"),
    ("RECLAIM_IDLE_MS", "2000"),
    ("GRACE_MS", "3000"),
];
/// How long evidence of an uncertain message is waited for in a trial.
pub const GRACE: Duration = Duration::from_secs(3);

/// A campaign and what is done to it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Customers of the ERP in a full trial, and in one of the ordinary test run.
    pub customers: (u64, u64),
    /// Messages a second, in the same order.
    pub rate: (u32, u32),
    /// Of `scheduler-svc`, `sender-svc` and `message-svc`.
    pub processes: [usize; 3],
    /// Fields of the campaign that differ.
    pub campaign: Value,
    /// What may be otherwise than it should.
    pub allowed: Allowed,
    /// How soon messages must flow again.
    pub recovers_within: Duration,
    /// Further environment variables.
    pub environment: Vec<(&'static str, String)>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            customers: (5_700, 1_400),
            rate: (500, 300),
            processes: [1, 1, 1],
            campaign: json!({}),
            allowed: Allowed::default(),
            recovers_within: GRACE + Duration::from_secs(2),
            environment: Vec::new(),
        }
    }
}

impl Plan {
    /// For faults that meet a process: 20,000 recipients.
    pub fn large() -> Self {
        Self {
            customers: (22_800, 1_400),
            rate: (800, 300),
            ..Self::default()
        }
    }

    /// With so many of each service.
    #[must_use]
    pub fn processes(mut self, schedulers: usize, senders: usize, messengers: usize) -> Self {
        self.processes = [schedulers, senders, messengers];
        self
    }

    /// Which must flow again so soon.
    #[must_use]
    pub fn recovers_within(mut self, seconds: u64) -> Self {
        self.recovers_within = Duration::from_secs(seconds);
        self
    }
}

/// A campaign under way.
pub struct Trial {
    /// The system.
    pub stack: Stack,
    /// The campaign's id.
    pub campaign: String,
    /// Decides what is left to chance.
    pub chance: StdRng,
    /// Whether this is a trial of the full matrix, not of the ordinary test run.
    pub is_full: bool,
    name: String,
    seed: u64,
    plan: Plan,
    customers: u64,
    /// Messages a second.
    pub rate: u32,
    /// When each fault was over, in milliseconds since 1970.
    faults_over: Vec<u64>,
    injected: usize,
}

impl Trial {
    /// Starts a system and a campaign to everyone. `name` is the test's.
    pub async fn start(name: &str, plan: Plan) -> Self {
        let trial = Self::prepare(name, plan).await;
        trial.stack.schedule(&trial.campaign, None).await;
        trial
    }

    /// The same, but the campaign is not scheduled yet.
    pub async fn prepare(name: &str, plan: Plan) -> Self {
        let given = std::env::var(SEED_VARIABLE).ok();
        let given: Option<u64> = given.map(|seed| seed.parse().expect("a number"));
        let seed = given.unwrap_or_else(|| rand::random_range(0..1_000_000));
        Self::set_up(name, plan, seed, given.is_some()).await
    }

    /// The same, with a seed that does not come from the environment.
    pub async fn prepare_with(name: &str, plan: Plan, seed: u64) -> Self {
        Self::set_up(name, plan, seed, false).await
    }

    async fn set_up(name: &str, plan: Plan, seed: u64, is_full: bool) -> Self {
        say(&format!("{name}: seed {seed}"));
        let (customers, rate) = if is_full {
            (plan.customers.0, plan.rate.0)
        } else {
            (plan.customers.1, plan.rate.1)
        };
        let mut environment: Vec<_> = TIMES.map(|(name, value)| (name, value.to_owned())).into();
        environment.extend(plan.environment.iter().cloned());
        let [schedulers, senders, messengers] = plan.processes;
        let stack = Stack::start_breakable(StackOptions {
            schedulers,
            senders,
            messengers,
            customers,
            throughput_per_second: rate,
            environment,
            ..StackOptions::default()
        })
        .await;
        let campaign = stack.create(plan.campaign.clone()).await;
        Self {
            stack,
            campaign,
            chance: StdRng::seed_from_u64(seed ^ hash(name)),
            is_full,
            name: name.to_owned(),
            seed,
            plan,
            customers,
            rate,
            faults_over: Vec::new(),
            injected: 0,
        }
    }

    /// `full` in a trial of the full matrix, else `small`.
    pub fn scaled<T>(&self, full: T, small: T) -> T {
        if self.is_full { full } else { small }
    }

    /// Lets a fault happen at a random moment of the campaign.
    pub async fn suffer(&mut self, fault: Fault) {
        self.suffer_all(vec![fault]).await;
    }

    /// Lets faults happen at as many random moments, in order.
    pub async fn suffer_all(&mut self, faults: Vec<Fault>) {
        let mut moments: Vec<f64> = faults.iter().map(|_| self.chance.random_range(MOMENTS)).collect();
        moments.sort_by(f64::total_cmp);
        for (fault, moment) in faults.iter().zip(moments) {
            self.reach(moment).await;
            fault.happen(&mut self.stack).await;
            self.fault_is_over();
        }
    }

    /// Waits until this share of the campaign has been accepted.
    pub async fn reach(&self, share: f64) {
        let messages = (self.customers as f64 * share) as u64;
        self.stack
            .sent_at_least(&self.campaign, messages, PATIENCE + self.sending_time())
            .await;
    }

    /// How long sending the rest of the campaign takes at the number's rate.
    pub async fn left_to_send(&self) -> Duration {
        let sent = self.stack.accepted_by_whatsapp(&self.campaign).await;
        // About a tenth of the customers cannot be sent to.
        let left = (self.customers * 9 / 10).saturating_sub(sent);
        Duration::from_secs_f64(left as f64 / f64::from(self.rate))
    }

    /// Recovery is counted from now.
    pub fn fault_is_over(&mut self) {
        self.faults_over.push(now_ms());
        self.injected += 1;
    }

    fn sending_time(&self) -> Duration {
        Duration::from_secs(self.customers / u64::from(self.rate))
    }

    /// Waits for the end, and judges it: P1 to P4 for every recipient, recovery, and that nothing is left behind,
    /// in Redis or of the processes.
    pub async fn verdict(mut self) {
        self.stack.wait_ready().await;
        let report = self
            .stack
            .finished(&self.campaign, PATIENCE + self.sending_time())
            .await;
        let reckoning = self.stack.reckon(&self.campaign, report).await;
        let pace = Pace::of(&self.stack, LANE).await;
        let recoveries: Vec<u64> = self
            .faults_over
            .iter()
            .map(|over| pace.recovery_ms(*over, self.rate))
            .collect();
        self.record(&reckoning, &recoveries);
        reckoning.assert(self.plan.allowed);
        self.tidy().await;
        let slowest = recoveries.iter().copied().max().unwrap_or(0);
        // The ordinary test run shares its machine with other tests, so its times say nothing.
        assert!(
            !self.is_full || Duration::from_millis(slowest) <= self.plan.recovers_within,
            "messages flow again within {:?}, not after {recoveries:?} ms",
            self.plan.recovers_within
        );
    }

    /// Nothing is left behind, and every process goes on by itself.
    pub async fn tidy(&mut self) {
        self.stack.nothing_left_behind(TIDY_WITHIN).await;
        for service in self.stack.services_mut() {
            assert!(service.is_running(), "{} goes on by itself", service.name());
            let log = service.log_path().display().to_string();
            let panicked = service.log().contains("panicked at");
            assert!(!panicked, "{} panicked: {log}", service.name());
        }
    }

    /// Adds a line to the table of results.
    fn record(&self, reckoning: &Reckoning, recoveries: &[u64]) {
        let slowest = recoveries
            .iter()
            .max()
            .map_or_else(|| "-".to_owned(), ToString::to_string);
        let line = format!(
            "{}\t{}\t{}\t{}\t{slowest}\t{}\t{}\t{}\n",
            self.name,
            self.seed,
            reckoning.report.total(),
            self.injected,
            reckoning.lost().len(),
            reckoning.doubled().len(),
            reckoning.report.count("uncertain"),
        );
        say(line.trim_end());
        let folder = results_folder();
        fs::create_dir_all(&folder).expect("a folder for results");
        let file = File::options()
            .create(true)
            .append(true)
            .open(folder.join("results.tsv"));
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the results can be written");
    }
}

/// `target/matrix`, or what `MATRIX_RESULTS` says.
fn results_folder() -> PathBuf {
    std::env::var_os("MATRIX_RESULTS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/matrix"),
        PathBuf::from,
    )
}

/// To the test's output, which the runner shows when it fails.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("it is later than 1970").as_millis() as u64
}

/// FNV-1a, the same on every machine.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
