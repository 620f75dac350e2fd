#!/usr/bin/env bash
# Everything that must be clean before a commit, quickest first. Warnings are errors.
# Tools that are not installed are left out, and said so at the end (bootstrap.sh --checks installs them).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

left_out=()

# check TITLE COMMAND...
check() {
    echo "== $1"
    shift
    "$@"
}

# check_if_installed TOOL TITLE COMMAND...
check_if_installed() {
    local tool=$1
    shift
    if command -v "$tool" >/dev/null; then check "$@"; else left_out+=("$1 ($tool)"); fi
}

check "format" cargo fmt --all -- --check
check "structure" deploy/dev/structure.sh
# Scripts that are only sourced are read along with the one that sources them.
mapfile -t scripts < <(find .ci bench/*.sh conformance deploy/dev deploy/redis -type f -executable; find crates -path '*/src/*.sh')
check_if_installed shellcheck "shell scripts" shellcheck -x "${scripts[@]}"
check_if_installed cargo-machete "unused dependencies" cargo machete
check_if_installed cargo-deny "licences, bans and sources" cargo deny --all-features check licenses bans sources
check "lints" cargo clippy --quiet --workspace --all-targets -- -D warnings
# Workspaces of their own, which nothing else builds.
check "the benchmark's parts" cargo check --quiet --locked --all-targets --target-dir target --manifest-path bench/parts/Cargo.toml
for manifest in fuzz/Cargo.toml bench/peers/bullmq-official/Cargo.toml; do
    check "lock file beside $manifest" cargo fetch --quiet --locked --manifest-path "$manifest"
done
check "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps

((${#left_out[@]} == 0)) || printf 'left out, not installed: %s\n' "${left_out[@]}"
echo "all clean"
