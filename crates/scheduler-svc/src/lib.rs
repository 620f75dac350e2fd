//! Campaign lifecycle and REST API.
