#!/usr/bin/env bash
# Fuzzes the parsers that outsiders reach, each for some seconds: fuzz.sh [SECONDS [TARGET...]], default 30, all.
#
# Inputs that reach new code are kept in fuzz/corpus/, and the next run goes on from them. One that breaks a
# promise is written to fuzz/artifacts/ and named in the output. The seeds alone are part of `just test`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

seconds=${1:-30}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "fuzz: how many seconds? found $seconds" >&2; exit 2; }
targets=("${@:2}")
((${#targets[@]})) || mapfile -t targets < <(cd fuzz/seeds && ls)

# Longest input: a webhook may have 3 MB, but what is new in it is found in little.
max_bytes=65536
# A parser that takes longer than this for one input is broken too, and one that takes this much memory.
input_seconds=10
memory_mb=1024

command -v c++ >/dev/null || { echo "fuzz: a C++ compiler is needed: deploy/dev/bootstrap.sh" >&2; exit 1; }
cargo fuzz --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-fuzz

# The instrumentation needs flags that the stable compiler keeps to itself. The sanitizers would need the nightly
# one, and find nothing more where unsafe code is forbidden.
export RUSTC_BOOTSTRAP=1
for target in "${targets[@]}"; do
    cargo fuzz build --sanitizer none "$target"
done
for target in "${targets[@]}"; do
    echo "== $target for $seconds s"
    mkdir -p "fuzz/corpus/$target"
    cargo fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len="$max_bytes" -timeout="$input_seconds" -rss_limit_mb="$memory_mb" \
        -dict=fuzz/dictionary -print_final_stats=1 -verbosity=0 -print_funcs=0
done
echo "nothing found"
