# shellcheck shell=sh
# Stops the shared Postgres cluster in folder $1 once no test process has used it for $2 seconds.
# The rules of the three lock files are told in postgres.rs.
folder=$1 idle_limit=$2 idle=0
exec 9>"$folder/watchdog.lock"
flock -n 9 || exit 0
pid=$(head -n 1 "$folder/shared/postmaster.pid") || exit 1

stop_if_unused() {
    flock -n 8 && flock -n 7 || return 1
    kill -QUIT "$pid" 2>/dev/null # the data goes away, so there is nothing to shut down in order
    for _ in 1 2 3 4 5; do kill -0 "$pid" 2>/dev/null && sleep 1; done
    rm -rf "$folder/shared" "$folder/shared.port"
} 8>"$folder/cluster.lock" 7>"$folder/clients.lock"

while kill -0 "$pid" 2>/dev/null; do
    sleep 1
    if flock -n "$folder/clients.lock" true; then idle=$((idle + 1)); else idle=0; fi
    if [ "$idle" -ge "$idle_limit" ] && stop_if_unused; then exit 0; fi
done
