//! A deterministic ERP for development and tests.
