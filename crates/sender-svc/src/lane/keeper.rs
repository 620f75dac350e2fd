//! The keeper: walks the lane's campaigns again and again, and does for each the next thing.
//!
//! One loop for all campaigns of a lane, so that there is one writer, in order. A walk that fed something
//! is followed by the next at once; otherwise the keeper sleeps until something wakes it.

use super::audience::Audiences;
use super::error::LaneError;
use super::ledger::BATCH_MAX as LEDGER_BATCH_MAX;
use super::limit::Waiting;
use super::silent::SilentMembers;
use super::spacing::{Stock, rest};
use super::{Lane, controls, feed, rounds};
use campaign_core::campaign::{Campaign, CampaignStatus};
use campaign_core::contracts::SnapshotTemplate;
use campaign_core::ids::{CampaignId, Generation, Seq};
use campaign_core::template::Template;
use campaign_store::dispatches::{self, LaneWork, Work};
use campaign_store::{LONG_WORK, campaigns, in_time};
use campaign_streams::StreamId;
use campaign_streams::lane::{LaneControls, OpenCampaign, Survey, Surveyed};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The longest sleep between two walks while campaigns run; hints end it early.
const WALK_EVERY: Duration = Duration::from_millis(250);
/// The longest sleep while there is nothing to do.
const IDLE_WALK_EVERY: Duration = Duration::from_secs(1);
/// How long a campaign is left alone whose step failed.
const FAILED_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How often members, leftovers and opt-outs are looked after.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(2);

/// What the keeper knows of a campaign that it opened in the lane.
pub(super) struct Open {
    pub(super) campaign: Campaign,
    pub(super) template: Template,
    pub(super) generation: Generation,
    pub(super) controls: LaneControls,
    /// Where its stream ends, as far as this owner knows.
    pub(super) last: StreamId,
    /// The last outcome there was when its stream was first seen empty with nothing left to feed.
    pub(super) empty_since: Option<StreamId>,
    /// The last outcome there was, and the time, when it was first asked whether what is uncertain is to be sent again.
    pub(super) resend_asked: Option<(StreamId, DateTime<Utc>)>,
    /// The round is closed; what waits for the next was not due then.
    pub(super) closed: bool,
    /// The last outcome there was when nothing of the cancelled campaign was first seen in anybody's hands.
    pub(super) idle_since: Option<StreamId>,
    /// How far a cancelled campaign's rows are swept.
    pub(super) swept: Seq,
    pub(super) survey: Option<Survey>,
    /// Before its stream was last looked at.
    pub(super) surveyed_at: DateTime<Utc>,
    /// When its stream was last looked at, and what lay there then or was fed since.
    seen: Option<(Instant, u64)>,
    /// The same, against the look before; none while nothing can be fed of it.
    pub(super) stock: Option<Stock>,
    /// The rows of the round before this one are fed or skipped, all of them; none joins them later.
    pub(super) fed_before: Option<Seq>,
    /// Its portfolio's messaging limit was reached.
    pub(super) waiting: Option<Waiting>,
}

impl Open {
    fn surveyed(&mut self, survey: Survey, now: Instant) {
        self.stock = self.seen.map(|(at, left)| Stock {
            left: survey.outstanding,
            used: left.saturating_sub(survey.outstanding),
            within: now.saturating_duration_since(at),
        });
        self.seen = Some((now, survey.outstanding));
        self.survey = Some(survey);
    }

    /// So many were fed.
    pub(super) fn fed(&mut self, messages: u64) {
        if let Some((_, left)) = &mut self.seen {
            *left += messages;
        }
        if let Some(stock) = &mut self.stock {
            stock.left += messages;
        }
    }
}

/// Keeps one lane that is built.
pub(super) struct Keeper<'a> {
    pub(super) lane: &'a Lane,
    pub(super) open: BTreeMap<CampaignId, Open>,
    pub(super) audiences: Audiences,
    pub(super) rate_per_second: u32,
    housekeeping_at: Option<Instant>,
    /// Campaigns whose step failed, and when.
    failed: BTreeMap<CampaignId, Instant>,
    silent: SilentMembers,
    /// Campaigns that this walk has surveyed, and how much was reclaimed of each.
    surveyed: BTreeMap<CampaignId, u64>,
}

/// Whether a step changed something that the next walk should see at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Made,
    None,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(lane: &'a Lane) -> Self {
        Self {
            lane,
            open: BTreeMap::new(),
            audiences: Audiences::default(),
            rate_per_second: 0,
            housekeeping_at: None,
            failed: BTreeMap::new(),
            silent: SilentMembers::default(),
            surveyed: BTreeMap::new(),
        }
    }

    /// Runs until the lane stops or an error ends this building of it.
    pub(super) async fn run(mut self) -> Result<(), LaneError> {
        let outcome = self.walk_until_stopped().await;
        self.audiences.stop().await;
        outcome
    }

    async fn walk_until_stopped(&mut self) -> Result<(), LaneError> {
        while !self.lane.stop.is_cancelled() {
            let begun = Instant::now();
            let progress = self.walk().await?;
            self.lane.progress.walked(Instant::now());
            if progress == Progress::None {
                self.rest(begun.elapsed()).await;
            }
        }
        Ok(())
    }

    /// Until something was decided or came, and no longer than until the next walk is due anyway. The ledger is
    /// listened to only after a while.
    async fn rest(&self, walk_took: Duration) {
        let longest = if self.open.is_empty() {
            IDLE_WALK_EVERY
        } else {
            WALK_EVERY
        };
        let deaf = rest(walk_took, self.open.values().filter_map(|open| open.stock));
        let soon = async {
            tokio::time::sleep(deaf).await;
            let listening = longest.saturating_sub(deaf);
            let _ = tokio::time::timeout(listening, self.lane.look_soon.notified()).await;
        };
        tokio::select! {
            () = self.lane.stop.cancelled() => {}
            () = self.lane.look.notified() => {}
            () = soon => {}
        }
    }

    async fn walk(&mut self) -> Result<Progress, LaneError> {
        let store = &self.lane.sender.store;
        let begun = Instant::now();
        self.surveyed.clear();
        let work = store.in_time(self.read_work()).await?;
        let current: BTreeSet<CampaignId> = work.iter().map(|work| work.campaign).collect();
        self.open.retain(|campaign, _| current.contains(campaign));
        self.failed.retain(|campaign, _| current.contains(campaign));
        self.audiences.retain(&current);
        self.lane.shares.retain(&current);
        // What people decided comes first, for every campaign: nothing that is slow or fails may delay a pause.
        for work in &work {
            store.in_time(controls::follow(self, work)).await?;
        }
        self.survey(&work).await?;
        store.in_time(self.keep_house(&work, &current)).await?;
        let mut progress = Progress::None;
        for work in &work {
            if self
                .failed
                .get(&work.campaign)
                .is_some_and(|at| at.elapsed() < FAILED_AGAIN_AFTER)
            {
                continue;
            }
            match self.tend(work, begun).await {
                Ok(Progress::Made) => progress = Progress::Made,
                Ok(Progress::None) => {}
                Err(error) if error.concerns_the_lane() => return Err(error),
                Err(error) => self.leave_alone(work.campaign, &error),
            }
        }
        self.say_what_is_parked(&work, begun);
        let nothing_to_reclaim = |work: &Work| work.finished || self.surveyed.get(&work.campaign) == Some(&0);
        if work.iter().all(nothing_to_reclaim) {
            store.in_time(self.silent.forget(self.lane, begun)).await?;
        }
        Ok(progress)
    }

    fn leave_alone(&mut self, campaign: CampaignId, error: &LaneError) {
        tracing::error!(campaign_id = %campaign, %error, "a campaign's step failed");
        self.open.remove(&campaign);
        self.surveyed.remove(&campaign);
        self.failed.insert(campaign, Instant::now());
    }

    /// Whether its step failed; it may lie in the lane all the same.
    pub(super) fn is_left_alone(&self, campaign: CampaignId) -> bool {
        self.failed.contains_key(&campaign)
    }

    fn looked_at_all(&self, work: &[Work]) -> bool {
        let mut unfinished = work.iter().filter(|work| !work.finished);
        unfinished.all(|work| self.surveyed.contains_key(&work.campaign))
    }

    /// Only a walk that has looked at every campaign knows.
    fn say_what_is_parked(&self, work: &[Work], begun: Instant) {
        if self.looked_at_all(work) {
            let surveys = self.open.values().filter_map(|open| open.survey.as_ref());
            self.lane
                .parked
                .seen(begun, surveys.map(|survey| survey.parked).sum());
        }
    }

    /// The number's throughput, its portfolio's limit and whether it may send at all, and then the campaigns: nothing
    /// is fed under old settings.
    async fn read_work(&mut self) -> Result<Vec<Work>, LaneError> {
        let lane = &self.lane.lease.lane;
        let LaneWork {
            settings,
            campaigns: mut work,
            ..
        } = {
            let mut connection = self.lane.sender.store.connection().await?;
            let work = dispatches::work(&mut connection, lane).await?;
            if work.missing.is_empty() {
                work
            } else {
                dispatches::create(&mut connection, &work.missing, lane, "").await?;
                dispatches::work(&mut connection, lane).await?
            }
        };
        self.lane.set_limited_portfolio(settings.limited_portfolio);
        let rate_per_second = u32::try_from(settings.ceiling_per_second).unwrap_or(1).max(1);
        if rate_per_second != self.rate_per_second {
            LaneError::check(self.lane.owner.set_rate(rate_per_second).await?)?;
            self.rate_per_second = rate_per_second;
        }
        for work in &mut work {
            work.held |= !settings.active;
        }
        Ok(work)
    }

    /// The next thing for one campaign, by what was read of it then.
    async fn tend(&mut self, work: &Work, read_at: Instant) -> Result<Progress, LaneError> {
        let store = &self.lane.sender.store;
        if work.requests_waiting {
            in_time(LONG_WORK, rounds::apply_requests(self.lane, work)).await?;
            return Ok(Progress::Made);
        }
        if work.finished {
            return Ok(Progress::None);
        }
        let round = work.dispatch.generation;
        let Some(open) = self
            .open
            .get(&work.campaign)
            .filter(|open| open.generation == round)
        else {
            store.in_time(self.open_in_lane(work)).await?;
            // It is released by what the next walk reads of its holds.
            return Ok(Progress::Made);
        };
        if controls::is_over(work.status) {
            return store.in_time(controls::sweep(self, work)).await;
        }
        if controls::ends(work, Utc::now()) && work.pending + work.deferred > 0 {
            return store.in_time(controls::expire(self, work)).await;
        }
        if work.status == CampaignStatus::Sending && !work.dispatch.audience_complete {
            let fetched = self.audiences.ensure(self.lane, open, work, read_at);
            store.in_time(fetched).await?;
        }
        let step = store.in_time(feed::step(self, work)).await?;
        if step != feed::Step::Drained
            && let Some(open) = self.open.get_mut(&work.campaign)
        {
            // Held, or not at the end of its round any more: what was true when it was asked may be so no longer.
            open.resend_asked = None;
        }
        match step {
            feed::Step::Fed => Ok(Progress::Made),
            feed::Step::Full => Ok(Progress::None),
            feed::Step::Drained => in_time(LONG_WORK, rounds::step(self, work)).await,
        }
    }

    /// Brings the campaign into the lane, held until its holds are applied, and finds out where it stands.
    async fn open_in_lane(&mut self, work: &Work) -> Result<(), LaneError> {
        let (campaign, template) = {
            let mut connection = self.lane.sender.store.connection().await?;
            campaigns::get_with_template(&mut connection, work.campaign).await?
        };
        let controls = LaneControls {
            held: true,
            ..controls::of(work)
        };
        let open = OpenCampaign {
            template: SnapshotTemplate {
                campaign: work.campaign,
                template: template.clone(),
                payload_buttons: campaign.mapping.payload_buttons(),
            },
            generation: work.dispatch.generation,
            start: work.dispatch.round_start_seq,
            controls,
        };
        let opened = LaneError::check(self.lane.owner.open(&open).await?)?;
        let last = feed::reconcile(self.lane, work, opened.last).await?;
        self.open.insert(
            work.campaign,
            Open {
                campaign,
                template,
                generation: work.dispatch.generation,
                controls,
                last,
                empty_since: None,
                resend_asked: None,
                idle_since: None,
                closed: false,
                swept: Seq(0),
                survey: None,
                surveyed_at: Utc::now(),
                seen: None,
                stock: None,
                fed_before: None,
                waiting: None,
            },
        );
        Ok(())
    }

    /// Looks at every campaign that is open in its round.
    ///
    /// After every hold is followed: nothing is taken any more of a campaign that is over, so if nobody has any of it in
    /// hand now, nobody will. And before anything is fed: what is decided from a look lies as far behind it as the steps
    /// of the campaigns before take, and in that time only its own step adds to a campaign's stream. One that was empty
    /// still is, and what it reported is not behind the last outcome there was.
    async fn survey(&mut self, work: &[Work]) -> Result<(), LaneError> {
        let round = |campaign| self.open.get(campaign).map(|open| open.generation);
        let campaigns: Vec<CampaignId> = work
            .iter()
            .filter(|work| !work.finished && round(&work.campaign) == Some(work.dispatch.generation))
            .map(|work| work.campaign)
            .collect();
        let idle = self.lane.sender.reclaim_idle;
        let begun_at = Utc::now();
        let surveyed = LaneError::check(self.lane.owner.survey(&campaigns, idle).await?)?;
        let now = Instant::now();
        let waits_whole = |surveyed: &Surveyed| match surveyed {
            Surveyed::Found(survey) => survey.outcomes >= LEDGER_BATCH_MAX as u64,
            Surveyed::Missing | Surveyed::Broken(_) => false,
        };
        if surveyed.iter().any(waits_whole) {
            self.lane.ledger_due.notify_waiters();
        }
        for (campaign, surveyed) in campaigns.into_iter().zip(surveyed) {
            match surveyed {
                Surveyed::Found(survey) => self.note(campaign, survey, begun_at, now),
                Surveyed::Missing => {
                    return Err(LaneError::Lost(format!("campaign {campaign} has no stream")));
                }
                Surveyed::Broken(problem) => self.leave_alone(campaign, &LaneError::Broken(problem)),
            }
        }
        Ok(())
    }

    fn note(&mut self, campaign: CampaignId, survey: Survey, begun_at: DateTime<Utc>, now: Instant) {
        if survey.reclaimed > 0 {
            tracing::warn!(
                campaign_id = %campaign,
                messages = survey.reclaimed,
                "messages that were taken and never reported became uncertain"
            );
            metrics::counter!("lane_reclaimed_total").increment(survey.reclaimed);
        }
        self.surveyed.insert(campaign, survey.reclaimed);
        if let Some(open) = self.open.get_mut(&campaign) {
            open.surveyed_at = begun_at;
            open.surveyed(survey, now);
        }
    }

    async fn keep_house(&mut self, work: &[Work], current: &BTreeSet<CampaignId>) -> Result<(), LaneError> {
        if self
            .housekeeping_at
            .is_some_and(|at| at.elapsed() < HOUSEKEEPING_EVERY)
        {
            return Ok(());
        }
        self.housekeeping_at = Some(Instant::now());
        self.silent.refuse(self.lane).await?;
        self.drop_leftovers(current).await?;
        if self.looked_at_all(work) {
            self.trim_optouts().await?;
        }
        Ok(())
    }

    /// A campaign is finished in Postgres first; an owner that dies then leaves its keys behind.
    async fn drop_leftovers(&self, current: &BTreeSet<CampaignId>) -> Result<(), LaneError> {
        let mut leftovers = self.lane.owner.campaigns().await?;
        leftovers.retain(|campaign| !current.contains(campaign));
        if !leftovers.is_empty() {
            LaneError::check(self.lane.owner.close(&leftovers).await?)?;
        }
        Ok(())
    }

    /// Opt-outs older than every message in the lane were honoured when those were fed. To be called after a look at
    /// every campaign: what lies in the lane of one that was not looked at may be older than all others.
    async fn trim_optouts(&self) -> Result<(), LaneError> {
        let kept_anyway = Utc::now() - feed::OPTOUTS_KEPT;
        let oldest = self
            .open
            .values()
            .filter_map(|open| open.survey.as_ref()?.oldest_fed_ms)
            .filter_map(DateTime::from_timestamp_millis)
            .map(|fed| fed - feed::OPTOUTS_KEPT)
            .min();
        let before = oldest.map_or(kept_anyway, |oldest| oldest.min(kept_anyway));
        Ok(self.lane.owner.trim_optouts(before).await?)
    }
}
