#!/usr/bin/env bash
# Runs the whole system on this machine as plain processes: its own Redis and Postgres, the two mocks and
# the three services.
#
#   stack.sh up [--release]      build, start what does not run, wait until all is ready
#   stack.sh down                stop what was started; the data stays
#   stack.sh status              what runs
#   stack.sh logs [NAME...]      follow the logs
#   stack.sh migrate             start Postgres if needed and apply the migrations
#   stack.sh db | redis          open a prompt on the stack's own servers (arguments: psql's, redis-cli's)
#   stack.sh demo [ARGUMENT...]  `up --release`, then run the demo campaign (arguments: campaignctl's)
#   stack.sh run COMMAND...      run a command with the stack's settings in its environment
#
# State (logs, pid files, Redis's data, the API key) is under .dev/ in the checkout; to begin anew: `down`,
# then delete it together with the data folder that `status` prints.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source-path=SCRIPTDIR source=env.sh
source "$here/env.sh"
# shellcheck source-path=SCRIPTDIR source=process.sh
source "$here/process.sh"
# shellcheck source-path=SCRIPTDIR source=servers.sh
source "$here/servers.sh"
cd "$checkout"

# How long a service may take to be ready, and to finish what it has in flight.
ready_seconds=60
stop_seconds=20

profile=debug
binaries() {
    echo "${CARGO_TARGET_DIR:-$checkout/target}/$profile"
}

prepare_state() {
    mkdir -p "$state/run" "$state/logs"
    chmod 700 "$state"
    # Two `up` at once would start everything twice.
    exec 9>"$state/lock"
    flock -w 600 9 || die "another stack.sh has been at work for ten minutes"
}

build() {
    local arguments=(build --quiet)
    [[ $profile == debug ]] || arguments+=(--release)
    local package
    for package in "${services[@]}" migrate campaignctl; do arguments+=(--package "$package"); done
    echo "building the services ($profile)"
    cargo "${arguments[@]}" 9>&-
}

migrate() {
    "$(binaries)/migrate" 9>&- || die "the migrations failed; the database is at $DATABASE_URL"
    [[ ! -e $ADMIN_KEY_FILE ]] || chmod 600 "$ADMIN_KEY_FILE"
}

migrate_only() {
    prepare_state
    cargo build --quiet --package migrate 9>&-
    start_postgres
    migrate
}

# start_service NAME: a service of another build (debug or release) is replaced.
start_service() {
    local name=$1 program
    program=$(realpath "$(binaries)/$name")
    if running_pid "$name" >/dev/null; then
        [[ $(cut -d ' ' -f 2- "$state/run/$name.pid") != "$program" || $program -nt $state/run/$name.pid ]] ||
            return 0
        stop_process "$name" TERM "$stop_seconds"
    fi
    require_free_port "$name" "$(service_port "$name")"
    LISTEN_ADDR=127.0.0.1:$(service_port "$name") start_process "$name" "$program"
}

# wait_ready NAME: asks the service by its own --healthcheck, since curl may be missing.
wait_ready() {
    local name=$1 deadline=$((SECONDS + ready_seconds))
    until LISTEN_ADDR=127.0.0.1:$(service_port "$name") "$(binaries)/$name" --healthcheck \
        >"$state/logs/$name.healthcheck" 2>&1; do
        if is_gone "$name" || ((SECONDS >= deadline)); then
            show_log "$name"
            cat "$state/logs/$name.healthcheck" >&2
            die "$name is not ready"
        fi
        sleep 0.1
    done
}

up() {
    if [[ ${1:-} == --release ]]; then profile=release; fi
    prepare_state
    build
    start_redis
    start_postgres
    migrate
    local name
    for name in "${services[@]}"; do start_service "$name"; done
    for name in "${services[@]}"; do wait_ready "$name"; done
    welcome
}

welcome() {
    cat <<-END

	The stack is up and ready.
	  API              http://127.0.0.1:$scheduler_port/v1  (described at /openapi.json)
	  webhooks         $WEBHOOK_URL
	  mock ERP         $ERP_BASE_URL
	  mock WhatsApp    $WHATSAPP_BASE_URL
	  metrics          http://127.0.0.1:{$scheduler_port,$message_port,$sender_port,$erp_mock_port,$whatsapp_mock_port}/metrics
	  API key          $(api_key)
	Next:
	  just demo        run a campaign of 20,000 recipients
	  just status      what runs; just logs: what it says
	  just down        stop everything, keep the data
	END
}

api_key() {
    if [[ -s $ADMIN_KEY_FILE ]]; then
        echo "$(<"$ADMIN_KEY_FILE")  (kept in ${ADMIN_KEY_FILE#"$checkout"/})"
    else
        echo "lost with $ADMIN_KEY_FILE; to make another: just down, delete $postgres_data, just up"
    fi
}

down() {
    [[ -d $state/run ]] || { echo "nothing runs"; return; }
    prepare_state
    local index
    for ((index = ${#services[@]} - 1; index >= 0; index--)); do
        stop_process "${services[index]}" TERM "$stop_seconds"
    done
    stop_process redis TERM "$stop_seconds"
    stop_process postgres INT "$stop_seconds" # "fast": ends sessions, keeps everything committed
}

demo() {
    up --release
    local result=0
    "$(binaries)/campaignctl" demo "$@" 9>&- || result=$?
    echo "The stack is still up: just status, just logs, just down."
    return "$result"
}

status() {
    local name pid port
    for name in postgres redis "${services[@]}"; do
        case $name in
        redis) port=$redis_port ;;
        postgres) port=$postgres_port ;;
        *) port=$(service_port "$name") ;;
        esac
        if pid=$(running_pid "$name"); then
            printf '%-18s running   port %-6s pid %s\n' "$name" "$port" "$pid"
        else
            printf '%-18s stopped   port %s\n' "$name" "$port"
        fi
    done
    printf '\nlogs %s, data %s and %s\n' "$state/logs" "$postgres_data" "$state/redis"
}

logs() {
    (($# > 0)) || set -- "${services[@]}"
    local files=() name
    for name; do files+=("$state/logs/$name.log"); done
    exec tail -n 20 -F "${files[@]}"
}

case ${1:-} in
up) up "${2:-}" ;;
down) down ;;
demo) shift && demo "$@" ;;
status) status ;;
logs) shift && logs "$@" ;;
migrate) migrate_only ;;
db) shift && exec "$(postgres_bin)/psql" "$DATABASE_URL" "$@" ;;
redis) shift && exec redis-cli -p "$redis_port" "$@" ;;
run) shift && exec "$@" ;;
*) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0" >&2 && exit 2 ;;
esac
