#!/bin/bash
# Of the stand-in for the postgres image: options alone are postgres's, root becomes user postgres, and an
# empty data folder becomes a cluster with POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB and POSTGRES_INITDB_ARGS.
set -euo pipefail

case ${1:-} in
-*) set -- postgres "$@" ;;
esac
[[ $1 == postgres ]] || exec "$@"

if ((EUID == 0)); then
    install -d -o postgres -g postgres -m 700 "$PGDATA"
    chown -R postgres:postgres "$PGDATA"
    exec setpriv --reuid postgres --regid postgres --init-groups -- "${BASH_SOURCE[0]}" "$@"
fi

if [[ ! -s $PGDATA/PG_VERSION ]]; then
    : "${POSTGRES_PASSWORD:?is needed to make the cluster}"
    user=${POSTGRES_USER:-postgres}
    database=${POSTGRES_DB:-$user}
    read -ra arguments <<<"${POSTGRES_INITDB_ARGS:-}"
    initdb --username "$user" --pwfile <(printf '%s\n' "$POSTGRES_PASSWORD") --auth-local trust \
        --auth-host scram-sha-256 "${arguments[@]}"
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    # Nobody can reach it before all is there: no address, a socket of its own.
    sockets=$(mktemp -d)
    pg_ctl --wait --options "-c listen_addresses= -c unix_socket_directories=$sockets" start
    [[ $database == postgres ]] ||
        psql --no-psqlrc --host "$sockets" --username "$user" --dbname postgres --set ON_ERROR_STOP=1 \
            --set "database=$database" <<<'CREATE DATABASE :"database";'
    pg_ctl --wait --mode fast stop
fi
exec "$@" -c listen_addresses='*'
