//! What can go wrong between a service and Redis.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum StreamsError {
    /// Redis failed, or could not be reached. Whether the command was carried out may be unknown.
    #[error("redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// No connection could be had in time.
    #[error("redis pool: {0}")]
    Pool(String),
    /// An entry or an answer is not what its contract says.
    #[error("{what} cannot be read: {problem}")]
    Undecodable {
        /// What was read.
        what: &'static str,
        /// What was wrong with it.
        problem: String,
    },
    /// The server's settings would break a promise.
    #[error("{0}")]
    UnsafeSettings(String),
    /// What was named does not exist.
    #[error("no {what} {id}")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        id: String,
    },
}

impl StreamsError {
    /// Whether Redis refused because it is out of memory: nothing was written, or of several commands only those
    /// before it was.
    pub fn is_out_of_memory(&self) -> bool {
        let Self::Redis(error) = self else { return false };
        // The error of a pipeline has no code of its own.
        let refusals = error.clone().into_server_errors();
        refusals.is_some_and(|refusals| refusals.iter().all(|(_, refusal)| refusal.code() == "OOM"))
    }

    pub(crate) fn undecodable(what: &'static str, problem: impl std::fmt::Display) -> Self {
        Self::Undecodable {
            what,
            problem: problem.to_string(),
        }
    }
}

impl From<deadpool_redis::PoolError> for StreamsError {
    fn from(error: deadpool_redis::PoolError) -> Self {
        match error {
            deadpool_redis::PoolError::Backend(error) => Self::Redis(error),
            other => Self::Pool(other.to_string()),
        }
    }
}
