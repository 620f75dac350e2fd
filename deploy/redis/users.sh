#!/bin/sh
# Writes users.acl with the hash of each user's password, for `redis-server --aclfile`: to a file, and then
# becomes the command that follows; or, without arguments, to standard output.
#
#   users.sh
#   users.sh /run/users.acl redis-server --aclfile /run/users.acl ...
#
# The password of scheduler-svc is in REDIS_SCHEDULER_SVC_PASSWORD, or in the file that
# REDIS_SCHEDULER_SVC_PASSWORD_FILE names; those of the others likewise. A user without one cannot log in.
set -eu
rules=$(dirname "$0")/users.acl

# password USER
password() {
    variable=REDIS_$(printf '%s' "$1" | tr 'a-z-' 'A-Z_')_PASSWORD
    eval "value=\${$variable:-} file=\${${variable}_FILE:-}"
    if [ -n "$file" ]; then value=$(cat "$file"); fi
    printf '%s' "$value"
}

# Redis takes neither comments nor lines that go on.
users() {
    awk '/^#/ || !NF { next }
        /^[^ ]/ && line != "" { print line; line = "" }
        { sub(/^ +/, ""); line = line (line == "" ? "" : " ") $0 }
        END { print line }' "$rules" | while read -r word name how rest; do
        secret=$(password "$name")
        if [ -n "$secret" ]; then
            how="$how #$(printf '%s' "$secret" | sha256sum | cut -d ' ' -f 1)"
        fi
        printf '%s\n' "$word $name $how $rest"
    done
}

if [ $# -eq 0 ]; then
    users
else
    target=$1
    shift
    (umask 077 && users >"$target")
    exec "$@"
fi
