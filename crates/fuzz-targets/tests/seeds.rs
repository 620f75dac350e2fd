//! The fuzzer's targets over its seeds, and over mutations of them: quick, without the fuzzer, every time.

use fuzz_targets::{TARGETS, Target};
use proptest::prelude::*;
use proptest::sample::Index;
use std::fs;
use std::path::PathBuf;

/// Seeds with this prefix are there for the way in which they are refused.
const REFUSED: &str = "refused";
const MUTATIONS: std::ops::Range<usize> = 1..6;
/// What parsers trip over.
const TOKENS: [&[u8]; 12] = [
    b"{{",
    b"}}",
    b"{{1}}",
    b"\0",
    b"\xff\xfe",
    b"null",
    b"1e400",
    b"18446744073709551616",
    b"-9223372036854775808",
    b"\"\\u0000\"",
    b"[[[[[[[[",
    b"\xe2\x80\xa8",
];

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let files = fs::read_dir(&folder).expect("every target has seeds");
    let mut seeds: Vec<_> = files
        .map(|file| {
            let path = file.expect("a readable folder").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            (name, fs::read(&path).expect("a readable seed"))
        })
        .collect();
    seeds.sort();
    seeds
}

#[test]
fn every_seed_is_read_and_holds() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(seeds.len() >= 8, "{name} has {} seeds", seeds.len());
        for (seed, bytes) in seeds {
            let found = target(&bytes);
            assert_eq!(
                found == 0,
                seed.starts_with(REFUSED),
                "{name}/{seed}: {found} things read"
            );
        }
    }
}

#[derive(Debug, Clone)]
enum Mutation {
    Overwrite(Index, u8),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
    Insert(Index, &'static [u8]),
    Truncate(Index),
}

impl Mutation {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = |index: &Index| index.index(bytes.len());
        match self {
            Self::Overwrite(index, byte) => {
                let at = at(index);
                bytes[at] = *byte;
            }
            Self::Remove(index, count) => {
                let at = at(index);
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Self::Repeat(index, count, times) => {
                let at = at(index);
                let part = bytes[at..(at + count).min(bytes.len())].repeat(*times);
                bytes.splice(at..at, part);
            }
            Self::Insert(index, token) => {
                let at = at(index);
                bytes.splice(at..at, token.iter().copied());
            }
            Self::Truncate(index) => bytes.truncate(at(index)),
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>;
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(at, byte)| Mutation::Overwrite(at, byte)),
        (index(), 1..40_usize).prop_map(|(at, count)| Mutation::Remove(at, count)),
        (index(), 1..60_usize, 1..300_usize)
            .prop_map(|(at, count, times)| Mutation::Repeat(at, count, times)),
        (index(), prop::sample::select(&TOKENS[..])).prop_map(|(at, token)| Mutation::Insert(at, token)),
        index().prop_map(Mutation::Truncate),
    ]
}

/// Proptest's cases are small scale models of what the fuzzer does, and shrink to a readable failure.
fn mutated_seeds_hold(name: &str, target: Target) {
    let seeds = seeds(name);
    let cases = (any::<Index>(), prop::collection::vec(mutation(), MUTATIONS));
    let config = ProptestConfig {
        cases: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |((seed, mutations) in cases)| {
        let mut bytes = seed.get(&seeds).1.clone();
        for mutation in &mutations {
            mutation.apply(&mut bytes);
        }
        target(&bytes);
    });
}

#[test]
fn mutated_stream_entries_hold() {
    mutated_seeds_hold("stream_entry", fuzz_targets::stream_entry);
}

#[test]
fn mutated_template_texts_hold() {
    mutated_seeds_hold("template_text", fuzz_targets::template_text);
}

#[test]
fn mutated_webhook_bodies_hold() {
    mutated_seeds_hold("webhook_body", fuzz_targets::webhook_body);
}
