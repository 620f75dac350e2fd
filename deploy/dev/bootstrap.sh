#!/usr/bin/env bash
# Installs what this project needs and this machine lacks: a C toolchain, Redis, PostgreSQL and just.
#
#   bootstrap.sh           what building, running and testing need
#   bootstrap.sh --checks  also what `just check` and `just test` use when it is there: shellcheck, cargo-deny,
#                          cargo-machete, Python's venv
#
# Needs Rust, and root or sudo. Nothing that is installed is touched, and no service is started: the
# project runs its own servers, on its own ports and folders. With nothing missing it ends at once.
set -euo pipefail

# PostgreSQL 15 is what the migrations are written for.
minimum_postgres=15
just_version=1.43.0
tool_timeout=20m

say() { echo "bootstrap: $*"; }
die() { echo "bootstrap: $*" >&2; exit 1; }

has() { command -v "$1" >/dev/null 2>&1; }

has_postgres() {
    local folder version
    for folder in /usr/lib/postgresql/*/bin; do
        version=${folder#/usr/lib/postgresql/}
        version=${version%%[./]*}
        [[ -x $folder/initdb && -x $folder/psql && $version =~ ^[0-9]+$ ]] || continue
        ((version < minimum_postgres)) || return 0
    done
    has initdb && has psql || return 1
    version=$(initdb --version | sed -n 's/[^0-9]*\([0-9]*\).*/\1/p')
    ((version >= minimum_postgres))
}

# missing_packages: Debian's names of what is not there, judged by the programs, whoever installed them.
missing_packages() {
    { has cc && has make; } || echo build-essential
    # Without them cargo cannot download a single crate.
    [[ -n ${SSL_CERT_FILE:-}${CARGO_HTTP_CAINFO:-} ]] || ! has apt-get ||
        [[ -e /etc/ssl/certs/ca-certificates.crt ]] || echo ca-certificates
    { has redis-server && has redis-cli; } || echo redis-server
    has_postgres || echo postgresql
    [[ $checks == no ]] || has shellcheck || echo shellcheck
    # For the clients of the conformance check.
    [[ $checks == no ]] || python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        die "need root to run: $*  (become root, or install sudo)"
    fi
}

apt() {
    # The file system of a container may be shared, so wait for another apt instead of failing.
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

install_packages() {
    local packages=("$@")
    if ! has apt-get; then
        die "this is neither Debian nor Ubuntu: please install, by its own means: ${packages[*]}" \
            "(PostgreSQL $minimum_postgres or newer)"
    fi
    say "installing ${packages[*]}"
    apt update
    prevent_services
    apt install -y --no-install-recommends "${packages[@]}"
    allow_services
    has_postgres || die "this release has no PostgreSQL $minimum_postgres; add https://apt.postgresql.org"
}

# Debian's packages start their service and create a cluster when they are installed. Both ask first:
# invoke-rc.d asks policy-rc.d (101: forbidden), postgresql-common its createcluster.conf.
policy=/usr/sbin/policy-rc.d
cluster_configuration=/etc/postgresql-common/createcluster.d/campaign-bootstrap.conf
aside=.before-campaign-bootstrap

prevent_services() {
    trap allow_services EXIT
    [[ ! -e $policy || -e $policy$aside ]] || as_root mv "$policy" "$policy$aside"
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    as_root mkdir -p "${cluster_configuration%/*}"
    echo 'create_main_cluster = false' | as_root tee "$cluster_configuration" >/dev/null
}

allow_services() {
    trap - EXIT
    as_root rm -f "$policy" "$cluster_configuration"
    [[ ! -e $policy$aside ]] || as_root mv "$policy$aside" "$policy"
    as_root rmdir --ignore-fail-on-non-empty "${cluster_configuration%/*}" "${cluster_configuration%/*/*}"
}

# program_folder: a folder for programs, already on PATH where that is possible.
program_folder() {
    local folder
    for folder in "$(dirname "$(command -v cargo)")" /usr/local/bin; do
        # /usr/bin is the distribution's.
        if [[ $folder == */bin && $folder != /usr/bin && -w $folder ]]; then
            echo "$folder"
            return
        fi
    done
    echo "${CARGO_HOME:-$HOME/.cargo}/bin"
}

install_just() {
    say "installing just"
    install_just_by_apt || install_just_by_wheel || install_just_by_cargo ||
        die "could not install just: see https://just.systems"
    has just || die "just is in $(program_folder), which is not on PATH: add it"
}

# From Debian 13 and Ubuntu 24.04 on.
install_just_by_apt() {
    has apt-get && [[ -n $(apt-cache search --names-only '^just$' 2>/dev/null) ]] &&
        apt install -y --no-install-recommends just && has just
}

# PyPI's wheel of just holds the program itself.
install_just_by_wheel() {
    local folder
    has python3 && python3 -m pip --version >/dev/null 2>&1 || return 1
    folder=$(mktemp -d)
    python3 -m pip download -q --no-deps --only-binary :all: -d "$folder" rust-just &&
        python3 -m zipfile -e "$folder"/rust_just-*.whl "$folder" &&
        mkdir -p "$(program_folder)" &&
        install -m 755 "$folder"/rust_just-*.data/scripts/just "$(program_folder)/just"
    local result=$?
    rm -rf "$folder"
    return "$result"
}

install_just_by_cargo() {
    cargo install --quiet --locked "just@$just_version" --root "$(dirname "$(program_folder)")"
}

# Only `just check` uses these, and it goes on without them.
install_check_tools() {
    local tool
    for tool in cargo-machete cargo-deny; do
        has "$tool" && continue
        say "installing $tool (some minutes)"
        timeout "$tool_timeout" cargo install --quiet --locked "$tool" --root "$(dirname "$(program_folder)")" ||
            say "could not install $tool: its check will be left out"
    done
}

checks=no
case ${1:-} in
'') ;;
--checks) checks=yes ;;
*) die "unknown argument $1 (there is only --checks)" ;;
esac

has cargo || die "Rust is missing: https://rustup.rs"
mapfile -t missing < <(missing_packages)
((${#missing[@]} == 0)) || install_packages "${missing[@]}"
has just || install_just
[[ $checks == no ]] || install_check_tools
say "everything is here; next: just demo, or just test"
