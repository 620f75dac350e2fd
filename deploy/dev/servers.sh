# shellcheck shell=bash
# The stack's own Redis and Postgres: sourced by stack.sh.
#
# They never meet a server that is already running: other ports, other folders, no sockets in shared
# places, no system service.

# Postgres refuses to run as root. Under root it runs as user postgres, with its data in a folder that this
# user can enter, keyed to the checkout (or to DEV_STATE): a checkout under a private home is not such a place.
if ((EUID == 0)); then
    postgres_home=/var/tmp/campaign-$(printf %s "${DEV_STATE:-$checkout}" | sha256sum | cut -c 1-12)
    postgres_data=$postgres_home/postgres
    as_postgres=(setpriv --reuid postgres --regid postgres --init-groups --)
else
    postgres_home=$state
    postgres_data=$state/postgres
    as_postgres=()
fi

# Where Debian puts the programs, newest first; elsewhere they are on PATH.
postgres_bin() {
    local folder
    for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5 -rn); do
        [[ -x $folder/postgres && -x $folder/initdb ]] && echo "$folder" && return
    done
    command -v initdb >/dev/null || die "PostgreSQL is not installed: run deploy/dev/bootstrap.sh"
    dirname "$(realpath "$(command -v initdb)")"
}

start_redis() {
    running_pid redis >/dev/null && return
    command -v redis-server >/dev/null || die "Redis is not installed: run deploy/dev/bootstrap.sh"
    require_free_port redis "$redis_port"
    mkdir -p "$state/redis"
    # noeviction: a queue must refuse a write, never forget one.
    start_process redis redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$state/redis" \
        --appendonly yes --appendfsync everysec --save '' \
        --maxmemory "${DEV_REDIS_MAXMEMORY:-512mb}" --maxmemory-policy noeviction
    wait_for_server redis redis_answers
}

redis_answers() {
    [[ $(redis-cli -p "$redis_port" ping 2>/dev/null) == PONG ]]
}

start_postgres() {
    running_pid postgres >/dev/null && return
    local bin
    bin=$(postgres_bin)
    require_free_port postgres "$postgres_port"
    make_postgres_cluster "$bin"
    clear_postgres_lock
    start_process postgres "${as_postgres[@]}" "$bin/postgres" -D "$postgres_data" -p "$postgres_port" \
        -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=200 \
        -c shared_buffers=256MB -c max_wal_size=2GB -c "log_line_prefix=%m [%p] "
    wait_for_server postgres postgres_answers
    make_database
}

# A server that was killed leaves its lock file, and its sessions may live a moment longer.
clear_postgres_lock() {
    [[ -e $postgres_data/postmaster.pid ]] || return 0
    wait_until 10 nobody_serves_the_data || die "a server that this stack did not start runs on $postgres_data"
    rm -f "$postgres_data/postmaster.pid"
}

# Each process of Postgres works in its data folder.
nobody_serves_the_data() {
    local folder
    for folder in /proc/[0-9]*/cwd; do
        [[ $(readlink "$folder" 2>/dev/null) != "$postgres_data" ]] || return 1
    done
}

# make_postgres_cluster BIN: once. An unfinished one has no PG_VERSION, or was left under another name.
make_postgres_cluster() {
    [[ ! -e $postgres_data/PG_VERSION ]] || return 0
    local unfinished=$postgres_data.unfinished
    mkdir -p "$postgres_home"
    [[ -O $postgres_home && ! -L $postgres_home ]] || die "$postgres_home belongs to somebody else"
    chmod go+x "$postgres_home"
    rm -rf "$unfinished"
    mkdir -m 700 "$unfinished"
    ((EUID != 0)) || chown postgres: "$unfinished"
    echo "creating a Postgres cluster in $postgres_data"
    (cd / && "${as_postgres[@]}" "$1/initdb" -D "$unfinished" --username campaign --encoding UTF8 \
        --locale C.UTF-8 --auth trust >"$state/logs/initdb.log" 2>&1) ||
        { show_log initdb; die "initdb failed"; }
    mv "$unfinished" "$postgres_data"
    rm -f "$ADMIN_KEY_FILE" # it belonged to data that is gone
}

# psql_admin ARGUMENTS...: psql on the cluster's own database, without the user's settings.
psql_admin() {
    "$(postgres_bin)/psql" -X -q -v ON_ERROR_STOP=1 -d "${DATABASE_URL%/*}/postgres" "$@"
}

postgres_answers() {
    psql_admin -c 'SELECT 1' >/dev/null 2>&1
}

make_database() {
    [[ $(psql_admin -At -c "SELECT 1 FROM pg_database WHERE datname = 'campaign'") == 1 ]] ||
        psql_admin -c 'CREATE DATABASE campaign'
}

# wait_for_server NAME PROBE
wait_for_server() {
    local deadline=$((SECONDS + 60))
    until "$2"; do
        if is_gone "$1" || ((SECONDS >= deadline)); then
            show_log "$1"
            die "$1 did not start"
        fi
        sleep 0.1
    done
    echo "started $1"
}
