#!/usr/bin/env bash
# The benchmark, in one command: installs and builds what is missing, then measures. `just bench` runs this.
#
#   run.sh                    compare with the peers, and measure the raw parts (about an hour)
#   run.sh --quick            the same in under 3 minutes, to see that it works; its numbers mean nothing
#   run.sh SCENARIO...        other promises: scale lanes latency pause idle rate fairness (or all of them: promises)
#   run.sh profile            a flame graph of each service at full speed, and its samples by kind
#   run.sh capacity           what a message costs at several rates
#   run.sh micro [FILTER]     micro-benchmarks of what happens in memory, with allocations counted
#   run.sh --help             everything else
set -euo pipefail

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
checkout=$(dirname "$bench")
target=${CARGO_TARGET_DIR:-$checkout/target}
inferno_version=0.12.8
services=(erp-mock-svc whatsapp-mock-svc scheduler-svc sender-svc message-svc migrate)

say() { echo "bench: $*" >&2; }
die() { echo "bench: $*" >&2; exit 1; }

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "need root to run: $*  (become root, or install sudo)"
    fi
}

# require PROGRAM PACKAGE
require() {
    ! command -v "$1" >/dev/null || return 0
    command -v apt-get >/dev/null || die "$1 is missing: please install it"
    say "installing $2"
    as_root apt-get -q update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "$2"
}

build() {
    local arguments=(build --quiet --locked --profile production --target-dir "$target") package
    for package in "${services[@]}"; do arguments+=(--package "$package"); done
    say "building the services as they are deployed"
    cargo "${arguments[@]}" --manifest-path "$checkout/Cargo.toml"
    say "building the raw parts and the peer in Rust likewise"
    local manifest
    for manifest in "$bench/parts/Cargo.toml" "$bench/peers/bullmq-official/Cargo.toml"; do
        cargo build --quiet --locked --profile production --target-dir "$target" --manifest-path "$manifest"
    done
}

# Samples with perf, draws with inferno.
install_profiler() {
    require perf linux-perf
    [[ -x $target/tools/bin/inferno-flamegraph ]] && return
    say "building inferno, which draws flame graphs"
    cargo install --quiet --locked --version "$inferno_version" --root "$target/tools" inferno
}

# The packages are those of package-lock.json, Node.js itself among them; nothing of them runs while installing.
install_bullmq() {
    local folder=$bench/peers/bullmq
    [[ $folder/node_modules/.package-lock.json -nt $folder/package-lock.json ]] && return
    require npm npm
    say "installing BullMQ"
    npm ci --prefix "$folder" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
}

for argument; do
    if [[ $argument == --help || $argument == -h ]]; then exec python3 "$bench/run.py" --help; fi
done
"$checkout/deploy/dev/bootstrap.sh" >&2
if [[ ${1:-} == micro ]]; then
    shift
    exec cargo bench --quiet --locked --target-dir "$target" --manifest-path "$bench/parts/Cargo.toml" -- "$@"
fi
require python3 python3
[[ " $* " == *" --binaries "* ]] || build
install_bullmq
if [[ " $* " == *" profile "* ]]; then install_profiler; fi
exec python3 "$bench/run.py" --target "$target" "$@"
