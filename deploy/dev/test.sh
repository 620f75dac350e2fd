#!/usr/bin/env bash
# Runs every test. Arguments go to the test runner: `test.sh -p campaign-core`, `test.sh some_name`; then the
# conformance check is left out, as with CONFORMANCE=skip.
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

if (($# > 0)) || [[ ${CONFORMANCE:-} == skip ]]; then exit 0; fi
if python3 -c 'import ensurepip, venv' 2>/dev/null; then
    conformance/run.sh
else
    echo "left out, without Python's venv: conformance (bootstrap.sh --checks installs it)"
fi
