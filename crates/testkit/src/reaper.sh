# shellcheck shell=sh
# Kills what a test process leaves behind, however it ended: even SIGKILL closes this pipe.
# Reads "+ PID" for a process that was started and "- PID" for one that has been waited for.
trap '' HUP INT TERM
pids=' '
while read -r change pid; do
    case "$change" in
    +) pids="$pids$pid " ;;
    -) pids="${pids%% "$pid" *} ${pids#* "$pid" }" ;;
    esac
done
for pid in $pids; do
    kill -KILL "$pid" 2>/dev/null
done
