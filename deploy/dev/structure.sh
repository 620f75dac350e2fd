#!/usr/bin/env bash
# Keeps the structure that the rest of the project relies on:
#
#   - campaign-core is pure: nothing it is built from knows a runtime, a database, a queue or HTTP.
#   - SQL lives in campaign-store: no other crate but the tests' may depend on sqlx.
#   - Redis commands live in campaign-streams: no other crate but the tests' may depend on a Redis client.
#   - Dependencies point one way: libraries never depend on services, campaign-runtime on neither driver.
#
# Arguments: the folder of the workspace (default: this checkout).
set -euo pipefail
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/../..}"

failures=0
fail() {
    echo "structure: $*" >&2
    failures=$((failures + 1))
}

# tree CRATE EDGES: every package CRATE is built from, one name a line.
tree() {
    cargo tree --locked --quiet --all-features --package "$1" --edges "$2" --prefix none --format '{p}' |
        cut -d ' ' -f 1 | sort -u
}

# direct CRATE: what its Cargo.toml names, of every kind.
direct() {
    cargo tree --locked --quiet --all-features --package "$1" --edges normal,build,dev --depth 1 --prefix none \
        --format '{p}' | cut -d ' ' -f 1 | sort -u
}

# forbid WHERE WHY NAMES NAME...: fails for every NAME that is a line of NAMES.
forbid() {
    local where=$1 why=$2 names=$3 name
    shift 3
    for name; do
        if grep -qx -- "$name" <<<"$names"; then fail "$where depends on $name: $why"; fi
    done
}

members=$(cargo metadata --locked --no-deps --format-version 1 |
    grep -o '"manifest_path":"[^"]*/crates/[^"/]*/Cargo.toml"' | sed 's|.*/crates/\([^/]*\)/.*|\1|' | sort -u)
[[ -n $members ]] || { echo "structure: no crates found" >&2; exit 1; }
services=$(grep -E -- '-svc$|^campaignctl$|^migrate$' <<<"$members")
libraries=$(grep -vE -- '-svc$|^campaignctl$|^migrate$|^e2e$|^testkit$|^fuzz-targets$' <<<"$members")

core=$(tree campaign-core normal)
runtime=$(tree campaign-runtime normal)
forbid campaign-core "it is pure" "$core" \
    tokio redis deadpool-redis sqlx sqlx-core axum reqwest hyper campaign-store campaign-streams campaign-runtime
forbid campaign-runtime "it knows neither Redis nor SQL" "$runtime" \
    redis deadpool-redis sqlx sqlx-core campaign-store campaign-streams

for crate in $members; do
    dependencies=$(direct "$crate" | grep -vx -- "$crate")
    case $crate in
    campaign-store | testkit | e2e) ;;
    *) forbid "$crate" "SQL lives in campaign-store" "$dependencies" sqlx sqlx-core sqlx-postgres tokio-postgres ;;
    esac
    case $crate in
    campaign-streams | testkit | e2e) ;;
    *) forbid "$crate" "Redis commands live in campaign-streams" "$dependencies" redis deadpool-redis fred ;;
    esac
done
for crate in $libraries; do
    # Names are split into words on purpose.
    # shellcheck disable=SC2086
    forbid "$crate" "libraries do not know services" "$(tree "$crate" normal | grep -vx -- "$crate")" $services
done

((failures == 0)) || exit 1
