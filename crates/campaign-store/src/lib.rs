//! All SQL, grouped by table.
//!
//! A function takes the connection it runs on, so that its caller decides what is one transaction:
//!
//! ```ignore
//! let mut transaction = store.begin().await?;
//! campaigns::set_status(&mut transaction, id, CampaignStatus::Completed, None).await?;
//! counters::add(&mut transaction, id, &delta).await?;
//! transaction.commit().await?;
//! ```
//!
//! Every statement is a literal that begins with `-- table.function`; that name is what Postgres logs
//! show, and a test prepares each of them against the migrated schema.

pub mod accounts;
pub mod api_keys;
pub mod audience;
pub mod audit;
pub mod campaigns;
pub mod costs;
pub mod counters;
pub mod dispatches;
pub mod holds;
pub mod idempotency;
pub mod lanes;
pub mod messages;
pub mod messaging_limits;
pub mod phone_numbers;
pub mod portfolios;
pub mod reports;
pub mod requests;
pub mod roles;
pub mod rounds;
pub mod suppressions;
pub mod template_syncs;
pub mod templates;

mod error;
mod migrator;
mod pool;
mod read;

pub use error::StoreError;
pub use migrator::{
    PARTITION_MONTHS_AHEAD, ensure_partitions, lock_first_setup, migrate, pending_migrations,
    require_migrated, schema_fingerprint,
};
pub use pool::{Connection, LONG_WORK, PoolConfig, Store, Transaction, commit, in_time};

/// What every function of this crate returns.
pub type Result<T> = std::result::Result<T, StoreError>;
