#!/usr/bin/env bash
# The whole-system fault tests in full. `just test` runs them small.
#   faults.sh matrix [SEED]             every fault, one by one, then a table of what each did
#   faults.sh chaos [SECONDS] [SEED]    faults at random, one after another
# A seed repeats the moments; without one, one is drawn.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# run TEST JOBS ARGUMENTS...: one test binary of e2e, so many tests at a time, on the builds that people would run.
run() {
    local test=$1 jobs=$2
    shift 2
    cargo build --quiet --release --workspace --bins
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --release --package e2e --test "$test" --no-fail-fast --test-threads "$jobs" "$@"
    else
        cargo test --quiet --release --package e2e --test "$test" --no-fail-fast -- --test-threads "$jobs"
    fi
}

print_table() {
    sort "$1" | awk -F '\t' '
        BEGIN {
            print "fault                                       recipients  times  recovery ms  lost  doubled  uncertain"
        }
        {
            printf "%-43s %10d %6d %12s %5d %8d %10d\n", $1, $3, $4, $5, $6, $7, $8
            recipients += $3; faults += $4; lost += $6; doubled += $7; uncertain += $8
        }
        END {
            printf "%-43s %10d %6d %12s %5d %8d %10d\n", NR " trials", recipients, faults, "", lost, doubled, uncertain
        }'
}

case ${1:-} in
matrix)
    export MATRIX_SEED=${2:-$RANDOM}
    export MATRIX_RESULTS=$PWD/target/matrix/$MATRIX_SEED
    rm -rf "$MATRIX_RESULTS"
    status=0
    run matrix 3 --profile matrix || status=$?
    [[ ! -s $MATRIX_RESULTS/results.tsv ]] || print_table "$MATRIX_RESULTS/results.tsv"
    echo "seed $MATRIX_SEED"
    exit "$status"
    ;;
chaos)
    export CHAOS_SECONDS=${2:-900}
    [[ -z ${3:-} ]] || export CHAOS_SEED=$3
    # It ends by itself; the time that an ordinary test has is shorter.
    run chaos 1 --no-capture --profile chaos
    ;;
*)
    echo "usage: faults.sh matrix [SEED] | chaos [SECONDS] [SEED]" >&2
    exit 2
    ;;
esac
