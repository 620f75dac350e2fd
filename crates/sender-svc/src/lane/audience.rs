//! The audience: page by page from the ERP into the ledger, each page and the cursor behind it in one
//! transaction.

mod fetches;
mod own_rows;
mod page_rows;

use super::Lane;
use super::error::LaneError;
use campaign_core::audience::{AudienceOptions, AudienceRule, Evaluated};
use campaign_core::campaign::{Audience, Campaign, CampaignStatus, HoldKind};
use campaign_core::customer::Customer;
use campaign_core::ids::Seq;
use campaign_core::segment::Segment;
use campaign_core::template::Template;
use campaign_store::audience::{self as rows, Present};
use campaign_store::dispatches::{self, Dispatch};
use campaign_store::{Connection, StoreError, Transaction, campaigns, commit, counters, holds, suppressions};
use erp_api::ErpError;
pub(super) use fetches::Audiences;
pub(crate) use own_rows::MEMORY_BYTES_MAX as OWN_ROWS_BYTES_MAX;
use own_rows::OwnRows;
use page_rows::{LookUp, count, to_rows};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long an ERP that failed for good is left alone before it is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(15);

/// Binds mapping and template. One that does not fit (which the API refuses) fails the campaign.
async fn rule(
    lane: &Lane,
    campaign: &Campaign,
    template: Template,
) -> Result<Option<AudienceRule>, LaneError> {
    let options = AudienceOptions::for_category(template.category);
    let problem = match template.compile_for_sending() {
        Ok(compiled) => match AudienceRule::new(compiled, &campaign.mapping, options) {
            Ok(rule) => return Ok(Some(rule)),
            Err(problems) => problems
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("; "),
        },
        Err(problems) => problems
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; "),
    };
    tracing::error!(campaign_id = %campaign.id, problem, "the campaign cannot be sent");
    let mut transaction = lane.begin().await?;
    campaigns::set_status(
        &mut transaction,
        campaign.id,
        CampaignStatus::Failed,
        Some(&problem),
    )
    .await?;
    commit(transaction).await?;
    Ok(None)
}

struct Fetch {
    lane: Arc<Lane>,
    campaign: Campaign,
    rule: AudienceRule,
    stop: CancellationToken,
    /// Where it goes on; none if that has to be read.
    next: Option<Cursor>,
    ahead: Option<Ahead>,
}

/// Where a page starts, in the ERP's words; none is the first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor(Option<String>);

/// What the ERP said when it was asked for the page behind one that was being written.
struct Ahead {
    cursor: String,
    page: Result<Page, ErpError>,
}

/// A page, as the campaign needs it.
struct Page {
    customers: Vec<Customer>,
    next_cursor: Option<String>,
}

/// What became of a page.
enum Written {
    /// It was written, and there is another.
    More,
    /// The audience goes on from another place than this.
    Elsewhere,
    Complete,
    /// The campaign is no longer being sent.
    Over,
}

/// A transaction that may move the audience on, or why there is none.
enum Begun {
    Ours(Transaction, Dispatch),
    Not(Written),
}

impl Fetch {
    /// Until the audience is complete or the campaign over. Says when that was.
    async fn run(mut self) -> Instant {
        let mut own = OwnRows::new(self.lane.sender.own_rows_memory.clone());
        while !self.stop.is_cancelled() {
            match self.next_page(&mut own).await {
                Ok(Written::More | Written::Elsewhere) => {}
                Ok(Written::Complete | Written::Over) => break,
                Err(error) if error.is_over() => break,
                Err(LaneError::Store(error)) if error.is_data_error() => {
                    let reason = format!("a page of the ERP cannot be stored: {error}");
                    if let Err(error) = self.lane.sender.store.in_time(self.hold(&reason)).await {
                        tracing::warn!(%error, "the campaign could not be held");
                    }
                    self.pause(ASK_AGAIN_AFTER).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "the audience waits");
                    self.pause(super::AGAIN_AFTER).await;
                }
            }
        }
        self.lane.look.notify_one();
        Instant::now()
    }

    async fn next_page(&mut self, own: &mut OwnRows) -> Result<Written, LaneError> {
        let store = &self.lane.sender.store;
        let cursor = match self.next.take() {
            Some(cursor) => cursor,
            None => match self.read_cursor().await? {
                Some(cursor) => cursor,
                None => return Ok(Written::Complete),
            },
        };
        let asked = match self.ahead.take() {
            Some(ahead) if cursor.0.as_ref() == Some(&ahead.cursor) => ahead.page,
            _ => tokio::select! {
                () = self.stop.cancelled() => return Ok(Written::Over),
                page = self.ask(cursor.0.as_deref()) => page,
            },
        };
        match asked {
            Ok(page) => {
                let next = page.next_cursor.clone();
                let (written, ahead) = tokio::join!(
                    self.write_and_tell(own, &cursor, page),
                    self.ask_ahead(next.clone())
                );
                self.ahead = ahead;
                let written = written?;
                if let Written::More = written {
                    self.next = Some(Cursor(next));
                }
                Ok(written)
            }
            Err(ErpError::CursorExpired { detail }) => {
                tracing::warn!(
                    detail,
                    "the ERP forgot where it was; starting from its first page"
                );
                let written = store.in_time(self.save_cursor(&cursor, None)).await?;
                self.pause(super::AGAIN_AFTER).await;
                Ok(written)
            }
            Err(error) => {
                store.in_time(self.hold(&error.to_string())).await?;
                self.pause(ASK_AGAIN_AFTER).await;
                Ok(Written::Elsewhere)
            }
        }
    }

    /// As the ledger has it; none if the audience is complete.
    async fn read_cursor(&self) -> Result<Option<Cursor>, LaneError> {
        let store = &self.lane.sender.store;
        let dispatch = store.in_time(async {
            let mut connection = store.connection().await?;
            dispatches::get(&mut connection, self.campaign.id).await
        });
        let dispatch = dispatch.await?;
        Ok((!dispatch.audience_complete).then_some(Cursor(dispatch.erp_cursor)))
    }

    async fn write_and_tell(
        &self,
        own: &mut OwnRows,
        believed: &Cursor,
        page: Page,
    ) -> Result<Written, LaneError> {
        let written = self
            .lane
            .sender
            .store
            .in_time(self.write(own, believed, page))
            .await?;
        self.lane.look.notify_one();
        Ok(written)
    }

    /// None if there is no further page, or the fetch is to stop.
    async fn ask_ahead(&self, cursor: Option<String>) -> Option<Ahead> {
        let cursor = cursor?;
        let page = tokio::select! {
            () = self.stop.cancelled() => return None,
            page = self.ask(Some(&cursor)) => page,
        };
        Some(Ahead { cursor, page })
    }

    async fn ask(&self, cursor: Option<&str>) -> Result<Page, ErpError> {
        let erp = &self.lane.sender.erp;
        match &self.campaign.audience {
            Audience::Segment { segment } => {
                let page = erp.page(segment, cursor, self.lane.sender.erp_page_size).await?;
                Ok(Page {
                    customers: page.customers,
                    next_cursor: page.next_cursor,
                })
            }
            Audience::Test { segment, phones } => {
                let lender = self.first_customer(segment).await?;
                Ok(Page {
                    customers: test_customers(&lender, phones),
                    next_cursor: None,
                })
            }
        }
    }

    async fn first_customer(&self, segment: &Segment) -> Result<Customer, ErpError> {
        let mut cursor: Option<String> = None;
        for _ in 0..TEST_PAGES_MAX {
            let page = self
                .lane
                .sender
                .erp
                .page(segment, cursor.as_deref(), TEST_PAGE)
                .await?;
            let fits =
                |customer: &Customer| matches!(self.rule.evaluate(customer), Evaluated::Recipient { .. });
            if let Some(customer) = page.customers.into_iter().find(fits) {
                return Ok(customer);
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Err(ErpError::BadAnswer {
            detail: "no customer of the segment has a value for every variable".to_owned(),
        })
    }

    /// Writes one page's rows and the cursor behind it, unless the campaign was stopped or the page was
    /// written already.
    async fn write(&self, own: &mut OwnRows, believed: &Cursor, page: Page) -> Result<Written, LaneError> {
        let judged = self.judge(page.customers);
        let (mut transaction, dispatch) = match self.begin(believed).await? {
            Begun::Ours(transaction, dispatch) => (transaction, dispatch),
            Begun::Not(written) => return Ok(written),
        };
        own.compare(dispatch.next_seq);
        let present = self.look_up(&mut transaction, &LookUp::of(&judged, own)).await?;
        let page_rows = to_rows(judged, present, dispatch.next_seq);
        rows::insert(&mut transaction, self.campaign.id, &page_rows).await?;
        let next_seq = Seq(dispatch.next_seq.0 + page_rows.len() as i64);
        let complete = page.next_cursor.is_none();
        let cursor = page.next_cursor.as_deref();
        holds::lift_locked(&mut transaction, self.campaign.id, HoldKind::Erp).await?;
        // The feeder writes to this row too: it is changed as late as the order of locks allows.
        dispatches::save_audience(&mut transaction, self.campaign.id, cursor, complete, next_seq).await?;
        counters::apply(&mut transaction, self.campaign.id, &count(&page_rows)).await?;
        commit(transaction).await?;
        own.wrote(&page_rows, next_seq);
        metrics::counter!("audience_rows_total").increment(page_rows.len() as u64);
        Ok(if complete {
            Written::Complete
        } else {
            Written::More
        })
    }

    fn judge(&self, customers: Vec<Customer>) -> Vec<(Customer, Evaluated)> {
        customers
            .into_iter()
            .map(|customer| {
                let evaluated = self.rule.evaluate(&customer);
                (customer, evaluated)
            })
            .collect()
    }

    async fn look_up(&self, connection: &mut Connection, wanted: &LookUp) -> Result<Present, LaneError> {
        let LookUp {
            customers,
            phones,
            recipients,
        } = wanted;
        metrics::counter!("audience_lookups_total").increment((customers.len() + phones.len()) as u64);
        let mut present = rows::written(&mut *connection, self.campaign.id, customers, phones).await?;
        present.suppressed = suppressions::among(connection, recipients).await?;
        Ok(present)
    }

    async fn save_cursor(&self, believed: &Cursor, cursor: Option<&str>) -> Result<Written, LaneError> {
        let (mut transaction, dispatch) = match self.begin(believed).await? {
            Begun::Ours(transaction, dispatch) => (transaction, dispatch),
            Begun::Not(written) => return Ok(written),
        };
        let campaign = self.campaign.id;
        dispatches::save_audience(&mut transaction, campaign, cursor, false, dispatch.next_seq).await?;
        commit(transaction).await?;
        Ok(Written::Elsewhere)
    }

    /// Locks the campaign and not its dispatch, for which the feeder would wait: whoever says how far the audience is
    /// comes through here, one after the other.
    async fn begin(&self, believed: &Cursor) -> Result<Begun, LaneError> {
        let mut transaction = self.lane.begin().await?;
        let status = campaigns::lock(&mut transaction, self.campaign.id).await?;
        if status != CampaignStatus::Sending {
            return Ok(Begun::Not(Written::Over));
        }
        let dispatch = dispatches::get(&mut transaction, self.campaign.id).await?;
        if dispatch.audience_complete || dispatch.erp_cursor != believed.0 {
            return Ok(Begun::Not(Written::Elsewhere));
        }
        Ok(Begun::Ours(transaction, dispatch))
    }

    /// The ERP gives no page: the campaign is held, with the reason, until it does.
    async fn hold(&self, reason: &str) -> Result<(), LaneError> {
        tracing::error!(reason, "the ERP gives no customers; the campaign is held");
        let mut transaction = self.lane.begin().await?;
        match holds::raise_campaign(
            &mut transaction,
            self.campaign.id,
            HoldKind::Erp,
            reason,
            "sender-svc",
            None,
        )
        .await
        {
            Ok(_) => commit(transaction).await?,
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn pause(&self, duration: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(duration) => {}
        }
    }
}

/// Customers looked through at a time for one that a test can borrow from.
const TEST_PAGE: u16 = 50;
/// Most such pages.
const TEST_PAGES_MAX: usize = 40;

fn test_customers(lender: &Customer, phones: &[String]) -> Vec<Customer> {
    let number = |(index, phone): (usize, &String)| Customer {
        id: format!("test-{}", index + 1),
        phone: Some(phone.clone()),
        ..lender.clone()
    };
    phones.iter().enumerate().map(number).collect()
}
