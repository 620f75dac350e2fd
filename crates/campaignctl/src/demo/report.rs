//! What came out of the demo, and everything that has to be so.

use super::mock::{Acceptances, Duplicate};
use super::prepare::Prepared;
use super::settle::{RECEIPTS_WITHIN, Settled};
use crate::commands::campaign::states;
use crate::failure::Failure;
use crate::output::{Output, thousands};
use crate::progress::{CampaignDetail, Check, balance};
use campaign_core::message::MessageState;
use campaign_core::phone::{Region, canonicalise};
use serde_json::json;

/// Most people named who got more than one message.
const DUPLICATES_SHOWN_MAX: usize = 10;

/// What came out.
pub(super) struct Report {
    name: String,
    throughput_per_second: u32,
    detail: CampaignDetail,
    acceptances: Acceptances,
    /// What has to be so, and whether it is.
    pub(super) checks: Vec<Check>,
}

impl Report {
    pub(super) fn new(prepared: &Prepared, settled: Settled, acceptances: Acceptances) -> Self {
        let Settled {
            detail,
            receipts_left,
        } = settled;
        let mut checks = engine_checks(&detail, receipts_left);
        checks.extend(mock_checks(&detail, &acceptances));
        Self {
            name: prepared.name.clone(),
            throughput_per_second: prepared.throughput_per_second,
            detail,
            acceptances,
            checks,
        }
    }

    /// Seconds from the start to the end, and messages a second at the mock from the first to the last.
    fn durations(&self) -> (Option<f64>, Option<f64>) {
        let campaign = &self.detail.campaign;
        let whole = campaign.started_at.zip(campaign.finished_at);
        let whole = whole.map(|(start, end)| (end - start).num_milliseconds() as f64 / 1_000.0);
        let log = &self.acceptances;
        let sending = log
            .first_at_ms
            .zip(log.last_at_ms)
            .map(|(first, last)| (last - first) as f64 / 1_000.0);
        let rate = sending
            .filter(|seconds| *seconds > 0.0)
            .map(|seconds| log.accepted as f64 / seconds);
        (whole, rate)
    }

    /// For people.
    pub(super) fn text(&self, output: &Output) -> String {
        let (whole, rate) = self.durations();
        let log = &self.acceptances;
        let tables = states(output, &self.detail.progress);
        let facts = output.facts(vec![
            ("campaign", format!("{} ({})", self.name, self.detail.campaign.id)),
            (
                "from start to end",
                whole.map(|seconds| format!("{seconds:.1} s")).unwrap_or_default(),
            ),
            (
                "rate",
                rate.map(|rate| {
                    format!(
                        "{rate:.0}/s of {}/s",
                        thousands(self.throughput_per_second.into())
                    )
                })
                .unwrap_or_default(),
            ),
            ("most in one second", thousands(log.peak_in_one_second)),
            (
                "at the mock",
                format!(
                    "{} messages to {} people",
                    thousands(log.accepted),
                    thousands(log.unique_recipients)
                ),
            ),
        ]);
        let checks = self
            .checks
            .iter()
            .map(|check| format!("{} {} ({})", output.sign(check.is_so), check.what, check.found));
        format!("{tables}\n\n{facts}\n\n{}", checks.collect::<Vec<_>>().join("\n"))
    }

    /// For programs.
    pub(super) fn json(&self) -> Result<String, Failure> {
        let (seconds, rate) = self.durations();
        let progress = &self.detail.progress;
        let report = json!({
            "campaign": self.detail.campaign.id,
            "name": self.name,
            "status": self.detail.campaign.status,
            "audience": progress.total,
            "by_state": progress.by_state,
            "skipped_by": progress.skipped_by,
            "seconds": seconds,
            "rate_per_second": rate,
            "throughput_per_second": self.throughput_per_second,
            "mock": self.acceptances,
            "checks": self.checks,
            "all_is_so": self.checks.iter().all(|check| check.is_so),
        });
        serde_json::to_string_pretty(&report).map_err(|error| Failure::Local(error.to_string()))
    }
}

/// What the engine says about itself.
fn engine_checks(detail: &CampaignDetail, receipts_left: i64) -> Vec<Check> {
    let CampaignDetail {
        campaign, progress, ..
    } = detail;
    let status = match &campaign.status_reason {
        Some(reason) => format!("{}: {reason}", campaign.status),
        None => campaign.status.clone(),
    };
    let uncertain = progress.count(MessageState::Uncertain);
    let complete = if progress.audience_complete {
        "it did"
    } else {
        "there may be more"
    };
    let mut checks = vec![
        Check::new(
            campaign.status == "COMPLETED",
            "the campaign is completed",
            status,
        ),
        Check::new(progress.audience_complete, "the ERP named everybody", complete),
    ];
    checks.extend(balance(progress));
    checks.extend([
        Check::new(
            uncertain == 0,
            "no message is uncertain",
            format!("{} uncertain", thousands(uncertain)),
        ),
        Check::new(
            progress.accepted() > 0,
            "somebody was sent to",
            format!("{} accepted", thousands(progress.accepted())),
        ),
        Check::new(
            receipts_left == 0,
            format!("all receipts were taken within {} s", RECEIPTS_WITHIN.as_secs()),
            format!("{} left", thousands(receipts_left)),
        ),
    ]);
    checks
}

/// What the mock's own log says.
fn mock_checks(detail: &CampaignDetail, log: &Acceptances) -> Vec<Check> {
    let accepted = detail.progress.accepted();
    let people = thousands(log.unique_recipients);
    let once = log.max_per_recipient <= 1
        && log.duplicates.is_empty()
        && !log.more_duplicates
        && log.accepted == log.unique_recipients;
    vec![
        Check::new(
            !log.overflow,
            "the mock's log is complete",
            if log.overflow {
                "it overflowed"
            } else {
                "it did not overflow"
            },
        ),
        Check::new(
            accepted == log.unique_recipients,
            "the database and the mock's log agree",
            format!(
                "{} accepted in the database, {people} people in the log",
                thousands(accepted)
            ),
        ),
        Check::new(
            once,
            "each phone got exactly one message",
            format!(
                "{} messages to {people} people, at most {} to one{}",
                thousands(log.accepted),
                log.max_per_recipient,
                named(&log.duplicates)
            ),
        ),
    ]
}

/// Who got more than one, without telling their numbers.
fn named(duplicates: &[Duplicate]) -> String {
    let shown = duplicates.iter().take(DUPLICATES_SHOWN_MAX).map(|duplicate| {
        let recipient = canonicalise(&duplicate.recipient, Region::Brazil)
            .map_or_else(|_| "•••".to_owned(), |phone| phone.masked());
        let callback = duplicate.callback_data.as_deref().unwrap_or("no callback data");
        format!("; {recipient} got {} (last: {callback})", duplicate.count)
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::progress;
    use uuid::Uuid;

    fn detail() -> CampaignDetail {
        let json = json!({
            "id": Uuid::from_u128(7), "name": "Demo", "status": "COMPLETED", "phone_number_id": "106540352242922",
            "started_at": "2026-12-01T12:00:00Z", "finished_at": "2026-12-01T12:00:20.5Z",
            "template": { "name": "oferta_especial", "language": "pt_BR", "version": 1 },
            "progress": {
                "total": 0, "audience_complete": true, "by_state": {}, "skipped_by": {}, "rounds": 1,
                "rate_per_second": 0.0, "estimated_end_at": null,
            },
        });
        let mut detail: CampaignDetail = serde_json::from_value(json).expect("the API's shape");
        let states = [("read", 12_000), ("delivered", 7_989), ("skipped", 600)];
        detail.progress = progress(&states, &[("duplicate", 380), ("landline", 220)]);
        detail
    }

    fn acceptances() -> Acceptances {
        Acceptances {
            accepted: 19_989,
            unique_recipients: 19_989,
            unique_callback_data: 19_989,
            max_per_recipient: 1,
            first_at_ms: Some(1_000),
            last_at_ms: Some(21_000),
            peak_in_one_second: 1_003,
            ..Acceptances::default()
        }
    }

    fn report(detail: CampaignDetail, receipts_left: i64, acceptances: Acceptances) -> Report {
        let prepared = Prepared {
            campaign: detail.campaign.id,
            name: "Demo".to_owned(),
            throughput_per_second: 1_000,
        };
        Report::new(
            &prepared,
            Settled {
                detail,
                receipts_left,
            },
            acceptances,
        )
    }

    fn failures(detail: CampaignDetail, acceptances: Acceptances) -> Vec<String> {
        Check::failures(&report(detail, 0, acceptances).checks)
    }

    #[test]
    fn a_demo_in_which_all_is_so_says_so() {
        let report = report(detail(), 0, acceptances());
        assert_eq!(Check::failures(&report.checks), Vec::<String>::new());
        insta::assert_snapshot!(report.text(&Output::to(std::io::sink(), false)));
        let json: serde_json::Value = serde_json::from_str(&report.json().expect("JSON")).expect("JSON");
        assert_eq!(json["all_is_so"], true);
    }

    #[test]
    fn a_message_that_the_database_does_not_know_of_is_told() {
        let more = Acceptances {
            accepted: 19_990,
            unique_recipients: 19_990,
            ..acceptances()
        };
        assert_eq!(
            failures(detail(), more),
            [
                "the database and the mock's log agree: 19,989 accepted in the database, 19,990 people in the log"
            ]
        );
    }

    #[test]
    fn somebody_who_got_two_messages_is_told_without_the_number() {
        let twice = Acceptances {
            accepted: 19_990,
            max_per_recipient: 2,
            duplicates: vec![Duplicate {
                recipient: "+5511987654321".into(),
                count: 2,
                callback_data: Some("c:1:7".into()),
            }],
            ..acceptances()
        };
        let failures = failures(detail(), twice);
        let [failure] = &failures[..] else {
            panic!("one thing is not so: {failures:?}")
        };
        assert!(
            failure.starts_with("each phone got exactly one message"),
            "{failure}"
        );
        assert!(
            failure.contains("got 2 (last: c:1:7)") && !failure.contains("987654321"),
            "{failure}"
        );
    }

    #[test]
    fn somebody_who_was_lost_is_told() {
        let mut lost = detail();
        lost.progress.total += 1;
        assert_eq!(
            failures(lost, acceptances()),
            ["the audience is the sum of all states: 20,590 recipients, 20,589 in all states"]
        );
    }

    #[test]
    fn a_log_that_overflowed_a_demo_without_anybody_and_missing_receipts_prove_nothing() {
        let overflow = Acceptances {
            overflow: true,
            ..acceptances()
        };
        assert_eq!(
            failures(detail(), overflow),
            ["the mock's log is complete: it overflowed"]
        );

        let mut nobody = detail();
        nobody.progress = progress(&[("skipped", 600)], &[("opted_out", 600)]);
        assert_eq!(
            failures(nobody, Acceptances::default()),
            ["somebody was sent to: 0 accepted"]
        );

        let waiting = Check::failures(&report(detail(), 12, acceptances()).checks);
        assert_eq!(waiting, ["all receipts were taken within 60 s: 12 left"]);
    }
}
