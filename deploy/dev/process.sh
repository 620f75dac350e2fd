# shellcheck shell=bash
# Processes that outlive the script that starts them, found again by pid files: sourced by stack.sh.
#
# A pid file alone proves nothing: the process may have ended and its number may be another's. So a
# process counts as ours only if it runs the program noted beside the pid.

# running_pid NAME: prints the pid of the process NAME if it runs.
running_pid() {
    local pid program
    read -r pid program 2>/dev/null <"$state/run/$1.pid" || return 1
    local found
    found=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 1
    # A binary that was rebuilt meanwhile reads as "<path> (deleted)".
    [[ ${found% (deleted)} == "$program" ]] || return 1
    # A zombie has ended; its exit status is only waiting for its parent.
    [[ $(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null) != Z ]] || return 1
    echo "$pid"
}

# start_process NAME COMMAND...: starts it in a session of its own, logging to logs/NAME.log.
start_process() {
    local name=$1 log=$state/logs/$1.log pid program
    shift
    program=$(realpath "$(program_of "$@")")
    [[ ! -s $log ]] || mv "$log" "$log.1"
    # The lock of this script (descriptor 9) must end with the script.
    (cd / && exec setsid "$@") </dev/null >"$log" 2>&1 9>&- &
    pid=$!
    echo "$pid $program" >"$state/run/$name.pid"
    # Until the last exec it is still a shell, and would not be known as ours.
    local attempt
    for ((attempt = 0; attempt < 200; attempt++)); do
        if running_pid "$name" >/dev/null || ! kill -0 "$pid" 2>/dev/null; then return 0; fi
        sleep 0.01
    done
}

# program_of COMMAND...: the program that will run in the end, behind setpriv.
program_of() {
    if [[ $1 == setpriv ]]; then
        while [[ $1 != -- ]]; do shift; done
        shift
    fi
    command -v "$1"
}

# stop_process NAME SIGNAL SECONDS: asks the process to end, waits, and kills it if it does not.
stop_process() {
    local name=$1 signal=$2 seconds=$3 pid
    if pid=$(running_pid "$name"); then
        kill -s "$signal" "$pid" 2>/dev/null || true
        if ! wait_until "$seconds" is_gone "$name"; then
            echo "$name (pid $pid) did not end within ${seconds}s: killing it" >&2
            kill -s KILL "$pid" 2>/dev/null || true
            wait_until 5 is_gone "$name" || true
        fi
        echo "stopped $name"
    fi
    rm -f "$state/run/$name.pid"
}

is_gone() {
    ! running_pid "$1" >/dev/null
}

# wait_until SECONDS COMMAND...: repeats the command until it succeeds or time is up.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

# port_is_taken PORT: whether something accepts connections there.
port_is_taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# port_owner PORT: "program (pid N)" of whoever listens there, as far as this user may know.
port_owner() {
    local hex inode descriptor pid
    hex=$(printf '%04X' "$1")
    inode=$(awk -v port=":$hex" '$4 == "0A" && substr($2, length($2) - 4) == port { print $10; exit }' \
        /proc/net/tcp /proc/net/tcp6 2>/dev/null)
    for descriptor in ${inode:+/proc/[0-9]*/fd/*}; do
        if [[ $(readlink "$descriptor" 2>/dev/null) == "socket:[$inode]" ]]; then
            pid=${descriptor#/proc/}
            pid=${pid%%/*}
            echo "$(cat "/proc/$pid/comm") (pid $pid)"
            return
        fi
    done
    echo "another process"
}

# require_free_port NAME PORT
require_free_port() {
    ! port_is_taken "$2" ||
        die "port $2, meant for $1, is taken by $(port_owner "$2"). Choose another: $(port_variable "$1")=…"
}

# show_log NAME: the end of its log, on standard error.
show_log() {
    echo "--- end of $state/logs/$1.log" >&2
    tail -n 20 "$state/logs/$1.log" >&2 || true
}

die() {
    echo "error: $*" >&2
    exit 1
}
