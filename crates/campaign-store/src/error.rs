//! What can go wrong with the truth.

use campaign_core::campaign::IllegalTransition;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The campaign's state does not allow what was asked for.
    #[error(transparent)]
    IllegalTransition(#[from] IllegalTransition),
    /// What was asked for does not exist.
    #[error("no {what} {id}")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        id: String,
    },
    /// What was to be created exists already, or is in use.
    #[error("{0}")]
    Conflict(String),
    /// Another replica owns the lane now; nothing may be written on its behalf.
    #[error("the lease of lane {lane} passed to another replica (epoch {epoch} is over)")]
    LeaseLost {
        /// The lane.
        lane: String,
        /// The epoch that is over.
        epoch: i64,
    },
    /// A value in the database has no meaning for this program.
    #[error("column {column} holds {found:?}, which this version does not know")]
    Unreadable {
        /// Where.
        column: &'static str,
        /// What.
        found: String,
    },
    /// The schema is not the one this program was built for.
    #[error("migrations: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Postgres has not answered for longer than anything may take.
    #[error("postgres: no answer for {after:?}")]
    Silent {
        /// How long.
        after: std::time::Duration,
    },
    /// Postgres failed, or could not be reached.
    #[error("postgres: {0}")]
    Database(#[from] sqlx::Error),
}

impl StoreError {
    /// Whether the data itself is at fault, so that the same statement will fail again and a batch is
    /// worth splitting. SQLSTATE class 22 (data exception) and 23 (integrity constraint violation).
    pub fn is_data_error(&self) -> bool {
        self.sqlstate()
            .is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
    }

    /// Whether a unique constraint was violated.
    pub fn is_unique_violation(&self) -> bool {
        self.sqlstate().is_some_and(|code| code == "23505")
    }

    /// Whether Postgres could not be reached or had no room, so that the same request may work later.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Silent { .. }
            | Self::Database(
                sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::Io(_)
                | sqlx::Error::Tls(_),
            ) => true,
            // SQLSTATE class 53 is insufficient resources, 57P an operator's intervention (shutdown), 55P03 a
            // lock that was not available in time, 57014 a statement that was cancelled by its timeout, 40 one that
            // was sacrificed to another.
            _ => self.sqlstate().is_some_and(|code| {
                ["53", "57P", "55P03", "57014", "40"]
                    .iter()
                    .any(|class| code.starts_with(class))
            }),
        }
    }

    /// Words a violated unique constraint for people; other errors stay as they are.
    pub(crate) fn or_conflict(self, explanation: &str) -> Self {
        if self.is_unique_violation() {
            Self::Conflict(explanation.to_owned())
        } else {
            self
        }
    }

    fn sqlstate(&self) -> Option<String> {
        match self {
            Self::Database(sqlx::Error::Database(error)) => error.code().map(std::borrow::Cow::into_owned),
            _ => None,
        }
    }
}
