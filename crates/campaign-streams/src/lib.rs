//! The Redis Streams driver: producers, consumers, lanes, dead letters.
