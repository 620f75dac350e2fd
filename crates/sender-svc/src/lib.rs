//! Audience, feeding, rounds and the ledger.
