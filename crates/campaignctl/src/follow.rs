//! Following a campaign until it has ended, with a progress bar for people and lines for logs.

use crate::Context;
use crate::api::Answer;
use crate::failure::Failure;
use crate::output::thousands;
use crate::progress::{CampaignDetail, Progress};
use campaign_core::message::MessageState;
use chrono::Utc;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How often the campaign is looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often a line is written where no bar can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How often in a row the API may not answer while a campaign is followed.
const SILENCES_MAX: u32 = 20;
/// The bar; what is being said stands behind it.
const BAR: &str = "{bar:30} {percent:>3}% {msg}";

/// How a following ended.
#[derive(Debug)]
pub(crate) enum Followed {
    /// The campaign has ended.
    Finished(Box<CampaignDetail>),
    /// The time was over before.
    TimeOver(Box<CampaignDetail>),
}

/// Follows a campaign until it has ended or `limit` is over. `each` gets every look at it.
pub(crate) async fn follow(
    context: &Context,
    id: Uuid,
    limit: Option<Duration>,
    mut each: impl FnMut(&Answer) -> Result<(), Failure>,
) -> Result<Followed, Failure> {
    let _ = context.followed.set(id);
    let begun = Instant::now();
    let mut ticker = Ticker::new();
    let mut silences = 0;
    loop {
        match look(context, id).await {
            Ok((answer, detail)) => {
                silences = 0;
                each(&answer)?;
                ticker.show(
                    detail.progress.settled(),
                    detail.progress.total,
                    &summary(&detail),
                );
                if has_ended(&detail) {
                    return Ok(Followed::Finished(Box::new(detail)));
                }
                if limit.is_some_and(|limit| begun.elapsed() >= limit) {
                    return Ok(Followed::TimeOver(Box::new(detail)));
                }
            }
            Err(failure) if silences < SILENCES_MAX && matches!(failure, Failure::Unreachable { .. }) => {
                silences += 1;
                ticker.say("the API does not answer; asking again");
            }
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A campaign that failed, for example because its time had passed, may never have begun what could finish.
fn has_ended(detail: &CampaignDetail) -> bool {
    detail.campaign.finished_at.is_some() || detail.campaign.status == "FAILED"
}

/// Says that a campaign has not ended in time, what is left, and why if that is known.
pub(crate) fn not_ended(detail: &CampaignDetail, limit: Duration) -> String {
    let CampaignDetail {
        campaign, progress, ..
    } = detail;
    let left = progress.total - progress.settled();
    let holds: Vec<_> = campaign
        .holds
        .iter()
        .map(|hold| format!("; held: {hold}"))
        .collect();
    format!(
        "the campaign ends within {} s: it is {}, {} of {} recipients are left{}; it goes on (campaignctl campaign \
         watch {})",
        limit.as_secs(),
        campaign.status,
        thousands(left),
        thousands(progress.total),
        holds.concat(),
        campaign.id
    )
}

/// One look at a campaign.
pub(crate) async fn look(context: &Context, id: Uuid) -> Result<(Answer, CampaignDetail), Failure> {
    let answer = context
        .api
        .get(&["v1", "campaigns", &id.to_string()], &vec![])
        .await?;
    let detail = answer.read()?;
    Ok((answer, detail))
}

/// How a campaign is doing, in one line.
fn summary(detail: &CampaignDetail) -> String {
    let progress = &detail.progress;
    let of = if progress.audience_complete {
        "of"
    } else {
        "of at least"
    };
    let mut parts = vec![
        format!(
            "{} {of} {}",
            thousands(progress.settled()),
            thousands(progress.total)
        ),
        format!("{:.0}/s", progress.rate_per_second),
    ];
    if let Some(end) = progress.estimated_end_at {
        parts.push(format!("{} left", left((end - Utc::now()).num_seconds().max(0))));
    }
    parts.extend(counters(progress));
    match detail.campaign.holds.first() {
        Some(hold) => parts.push(format!("held: {hold}")),
        None if detail.campaign.started_at.is_none() => parts.push(detail.campaign.status.to_lowercase()),
        None => {}
    }
    parts.join(" · ")
}

/// The counters that say something.
fn counters(progress: &Progress) -> Vec<String> {
    let counts = [
        ("accepted", progress.accepted()),
        (
            "delivered",
            progress.count(MessageState::Delivered) + progress.count(MessageState::Read),
        ),
        ("skipped", progress.count(MessageState::Skipped)),
        ("failed", progress.count(MessageState::Failed)),
        ("uncertain", progress.count(MessageState::Uncertain)),
    ];
    let counted = counts.into_iter().filter(|(_, count)| *count > 0);
    counted
        .map(|(name, count)| format!("{name} {}", thousands(count)))
        .collect()
}

fn left(seconds: i64) -> String {
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A bar on a terminal, now and then a line anywhere else. Both go to the standard error output, so that
/// they are never mixed with an answer.
pub(crate) struct Ticker {
    bar: ProgressBar,
    next_line: Option<Instant>,
}

impl Ticker {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        let next_line = (!std::io::stderr().is_terminal()).then(Instant::now);
        Self { bar, next_line }
    }

    /// Shows how much of what is done.
    pub(crate) fn show(&mut self, done: i64, total: i64, text: &str) {
        self.bar.set_length(total.max(1).unsigned_abs());
        self.bar.set_position(done.max(0).unsigned_abs());
        self.say(text);
    }

    /// Shows what is happening.
    pub(crate) fn say(&mut self, text: &str) {
        self.bar.set_message(text.to_owned());
        if self.next_line.is_some_and(|next| next <= Instant::now()) {
            self.next_line = Some(Instant::now() + LINE_EVERY);
            tell(text);
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A line for people, beside the answer.
pub(crate) fn tell(text: &str) {
    use std::io::Write;
    // Progress that cannot be shown is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::progress;

    #[test]
    fn counters_leave_out_what_did_not_happen() {
        let progress = progress(
            &[
                ("read", 1_000),
                ("accepted", 200),
                ("pending", 10),
                ("skipped", 3),
            ],
            &[],
        );
        assert_eq!(
            counters(&progress),
            ["accepted 1,200", "delivered 1,000", "skipped 3"]
        );
    }

    #[test]
    fn times_are_told_in_units_that_fit() {
        assert_eq!(left(7), "7 s");
        assert_eq!(left(67), "1 min 7 s");
        assert_eq!(left(3_725), "1 h 2 min");
    }
}
