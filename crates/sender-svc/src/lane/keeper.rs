//! The keeper: walks the lane's campaigns again and again, and does for each the next thing.
//!
//! One loop for all campaigns of a lane, so that there is one writer, in order. A walk that fed something
//! is followed by the next at once; otherwise the keeper sleeps until something wakes it.

use super::audience::Audiences;
use super::error::LaneError;
use super::limit::Waiting;
use super::silent::SilentMembers;
use super::{Lane, controls, feed, rounds};
use campaign_core::campaign::CampaignStatus;
use campaign_core::contracts::SnapshotTemplate;
use campaign_core::ids::{CampaignId, Generation, Seq};
use campaign_store::dispatches::{self, Work};
use campaign_store::{LONG_WORK, campaigns, in_time, phone_numbers, portfolios};
use campaign_streams::StreamId;
use campaign_streams::lane::{LaneControls, OpenCampaign, Survey};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The longest sleep between two walks while campaigns run; hints end it early.
const WALK_EVERY: Duration = Duration::from_millis(250);
/// The longest sleep while there is nothing to do.
const IDLE_WALK_EVERY: Duration = Duration::from_secs(1);
/// The shortest time before a walk that the ledger asks for: a busy one does with every batch.
const WALK_SPACING: Duration = Duration::from_millis(20);
/// How long a campaign is left alone whose step failed.
const FAILED_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How often members, leftovers and opt-outs are looked after.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(2);

/// What the keeper knows of a campaign that it opened in the lane.
pub(super) struct Open {
    pub(super) generation: Generation,
    pub(super) controls: LaneControls,
    /// Where its stream ends, as far as this owner knows.
    pub(super) last: StreamId,
    /// The last outcome there was when its stream was first seen empty with nothing left to feed.
    pub(super) empty_since: Option<StreamId>,
    /// The round is closed; what waits for the next was not due then.
    pub(super) closed: bool,
    /// How far a cancelled campaign's rows are swept.
    pub(super) swept: Seq,
    pub(super) survey: Option<Survey>,
    /// Its portfolio's messaging limit was reached.
    pub(super) waiting: Option<Waiting>,
}

/// Keeps one lane that is built.
pub(super) struct Keeper<'a> {
    pub(super) lane: &'a Lane,
    pub(super) open: BTreeMap<CampaignId, Open>,
    pub(super) audiences: Audiences,
    pub(super) rate_per_second: u32,
    active: bool,
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
            active: true,
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
            let progress = self.walk().await?;
            self.lane.progress.walked(Instant::now());
            if progress == Progress::Made {
                continue;
            }
            let pause = if self.open.is_empty() {
                IDLE_WALK_EVERY
            } else {
                WALK_EVERY
            };
            let soon = async {
                tokio::time::sleep(WALK_SPACING).await;
                let _ = tokio::time::timeout(pause, self.lane.look_soon.notified()).await;
            };
            tokio::select! {
                () = self.lane.stop.cancelled() => {}
                () = self.lane.look.notified() => {}
                () = soon => {}
            }
        }
        Ok(())
    }

    async fn walk(&mut self) -> Result<Progress, LaneError> {
        let store = &self.lane.sender.store;
        let begun = Instant::now();
        self.surveyed.clear();
        store.in_time(self.follow_number()).await?;
        let work = store.in_time(self.read_work()).await?;
        let current: BTreeSet<CampaignId> = work.iter().map(|work| work.campaign).collect();
        store.in_time(self.keep_house(&current)).await?;
        self.open.retain(|campaign, _| current.contains(campaign));
        self.failed.retain(|campaign, _| current.contains(campaign));
        self.audiences.retain(&current);
        self.lane.shares.retain(&current);
        // What people decided comes first, for every campaign: nothing that is slow or fails may delay a pause.
        for work in &work {
            store.in_time(controls::follow(self, work)).await?;
        }
        let mut progress = Progress::None;
        for work in &work {
            if self
                .failed
                .get(&work.campaign)
                .is_some_and(|at| at.elapsed() < FAILED_AGAIN_AFTER)
            {
                continue;
            }
            match self.tend(work).await {
                Ok(Progress::Made) => progress = Progress::Made,
                Ok(Progress::None) => {}
                Err(error) if error.concerns_the_lane() => return Err(error),
                Err(error) => {
                    tracing::error!(campaign_id = %work.campaign, %error, "a campaign's step failed");
                    self.open.remove(&work.campaign);
                    self.failed.insert(work.campaign, Instant::now());
                }
            }
        }
        self.say_what_is_parked(&work, begun);
        let nothing_to_reclaim = |work: &Work| work.finished || self.surveyed.get(&work.campaign) == Some(&0);
        if work.iter().all(nothing_to_reclaim) {
            store.in_time(self.silent.forget(self.lane, begun)).await?;
        }
        Ok(progress)
    }

    /// Only a walk that has looked at every campaign knows.
    fn say_what_is_parked(&self, work: &[Work], begun: Instant) {
        let mut unfinished = work.iter().filter(|work| !work.finished);
        if unfinished.all(|work| self.surveyed.contains_key(&work.campaign)) {
            let surveys = self.open.values().filter_map(|open| open.survey.as_ref());
            self.lane
                .parked
                .seen(begun, surveys.map(|survey| survey.parked).sum());
        }
    }

    async fn read_work(&self) -> Result<Vec<Work>, LaneError> {
        let mut connection = self.lane.sender.store.connection().await?;
        let missing = dispatches::missing(&mut connection, &self.lane.lease.lane).await?;
        for campaign in missing {
            dispatches::create(&mut connection, campaign, &self.lane.lease.lane, "").await?;
        }
        let mut work = dispatches::work(&mut connection, &self.lane.lease.lane).await?;
        for work in &mut work {
            work.held |= !self.active;
        }
        Ok(work)
    }

    /// The next thing for one campaign.
    async fn tend(&mut self, work: &Work) -> Result<Progress, LaneError> {
        let store = &self.lane.sender.store;
        if work.requests_waiting {
            in_time(LONG_WORK, rounds::apply_requests(self.lane, work)).await?;
            return Ok(Progress::Made);
        }
        if work.finished {
            return Ok(Progress::None);
        }
        let opened = self.open.get(&work.campaign).map(|open| open.generation);
        if opened != Some(work.dispatch.generation) {
            store.in_time(self.open_in_lane(work)).await?;
            // It is released by what the next walk reads of its holds.
            return Ok(Progress::Made);
        }
        self.survey(work).await?;
        if controls::is_over(work.status) {
            return store.in_time(controls::sweep(self, work)).await;
        }
        if controls::ends(work, Utc::now()) && work.pending + work.deferred > 0 {
            return store.in_time(controls::expire(self, work)).await;
        }
        if work.status == CampaignStatus::Sending && !work.dispatch.audience_complete {
            store.in_time(self.audiences.ensure(self.lane, work)).await?;
        }
        match store.in_time(feed::step(self, work)).await? {
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
                template,
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
                generation: work.dispatch.generation,
                controls,
                last,
                empty_since: None,
                closed: false,
                swept: Seq(0),
                survey: None,
                waiting: None,
            },
        );
        Ok(())
    }

    async fn survey(&mut self, work: &Work) -> Result<(), LaneError> {
        let survey = LaneError::check(
            self.lane
                .owner
                .survey(work.campaign, self.lane.sender.reclaim_idle)
                .await?,
        )?
        .ok_or_else(|| LaneError::Lost(format!("campaign {} has no stream", work.campaign)))?;
        if survey.reclaimed > 0 {
            tracing::warn!(
                campaign_id = %work.campaign,
                messages = survey.reclaimed,
                "messages that were taken and never reported became uncertain"
            );
            metrics::counter!("lane_reclaimed_total").increment(survey.reclaimed);
        }
        self.surveyed.insert(work.campaign, survey.reclaimed);
        if let Some(open) = self.open.get_mut(&work.campaign) {
            open.survey = Some(survey);
        }
        Ok(())
    }

    /// The number's throughput, its portfolio's limit and whether it may send at all: before anything is fed under old settings.
    async fn follow_number(&mut self) -> Result<(), LaneError> {
        let (number, limited) = {
            let mut connection = self.lane.sender.store.connection().await?;
            (
                phone_numbers::get(&mut connection, &self.lane.lease.lane).await?,
                portfolios::limited(&mut connection, &self.lane.lease.lane).await?,
            )
        };
        self.lane.set_limited_portfolio(limited);
        self.active = number.active;
        let rate_per_second = u32::try_from(number.ceiling_per_second()).unwrap_or(1).max(1);
        if rate_per_second != self.rate_per_second {
            LaneError::check(self.lane.owner.set_rate(rate_per_second).await?)?;
            self.rate_per_second = rate_per_second;
        }
        Ok(())
    }

    async fn keep_house(&mut self, current: &BTreeSet<CampaignId>) -> Result<(), LaneError> {
        if self
            .housekeeping_at
            .is_some_and(|at| at.elapsed() < HOUSEKEEPING_EVERY)
        {
            return Ok(());
        }
        self.housekeeping_at = Some(Instant::now());
        self.silent.refuse(self.lane).await?;
        self.drop_leftovers(current).await?;
        self.trim_optouts().await
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

    /// Opt-outs older than every message in the lane were honoured when those were fed.
    async fn trim_optouts(&self) -> Result<(), LaneError> {
        let surveyed: Option<Vec<&Survey>> = self.open.values().map(|open| open.survey.as_ref()).collect();
        let Some(surveyed) = surveyed else { return Ok(()) };
        let kept_anyway = Utc::now() - feed::OPTOUTS_KEPT;
        let oldest = surveyed
            .iter()
            .filter_map(|survey| survey.oldest_fed_ms)
            .filter_map(DateTime::from_timestamp_millis)
            .map(|fed| fed - feed::OPTOUTS_KEPT)
            .min();
        let before = oldest.map_or(kept_anyway, |oldest| oldest.min(kept_anyway));
        Ok(self.lane.owner.trim_optouts(before).await?)
    }
}
