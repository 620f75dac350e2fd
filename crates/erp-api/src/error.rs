//! Why the ERP gave no page, in terms of what the caller can do about it.

/// No page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErpError {
    /// The ERP refuses this request, and will until somebody changes something: key, rights, criteria.
    #[error("the ERP refused with status {status}: {detail}")]
    Refused {
        /// The HTTP status, 4xx.
        status: u16,
        /// What the ERP said, shortened.
        detail: String,
    },
    /// The cursor was good once; paging must start again from the first page.
    #[error("the ERP no longer knows this cursor: {detail}")]
    CursorExpired {
        /// What the ERP said, shortened.
        detail: String,
    },
    /// Every attempt failed in a way that passes by itself.
    #[error("the ERP did not answer in {attempts} attempts; the last one: {last}")]
    Unavailable {
        /// How many attempts were made.
        attempts: u32,
        /// How the last one failed.
        last: String,
    },
    /// The ERP answers, but not with a page.
    #[error("the ERP's answer is no page: {detail}")]
    BadAnswer {
        /// What is wrong with it; never its content.
        detail: String,
    },
    /// Every attempt gave a page that leads back to the cursor it was asked with: paging would never end.
    #[error("the ERP repeated a page in each of {attempts} attempts")]
    RepeatedPage {
        /// How many attempts were made.
        attempts: u32,
    },
}

impl ErpError {
    /// Whether the same request may succeed later without anybody changing anything.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::RepeatedPage { .. } | Self::BadAnswer { .. } => true,
            Self::Refused { .. } | Self::CursorExpired { .. } => false,
        }
    }
}
