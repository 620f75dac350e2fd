#!/usr/bin/env bash
# Runs every test. Arguments go to the test runner: `test.sh -p campaign-core`, `test.sh some_name`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# The whole-system tests run the real binaries.
cargo build --quiet --workspace --bins
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace "$@"
    cargo test --quiet --workspace --doc # nextest does not run them
else
    cargo test --quiet --workspace "$@"
fi
