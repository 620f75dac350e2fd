//! Real Redis and Postgres for tests, process harness, fault proxy.
