#!/usr/bin/env bash
# Docker Compose, whichever of its two forms this machine has.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if docker compose version >/dev/null 2>&1; then
    exec docker compose "$@"
elif command -v docker-compose >/dev/null; then
    exec docker-compose "$@"
fi
echo "error: neither \`docker compose\` nor \`docker-compose\` is here: https://docs.docker.com/compose/install/" >&2
exit 1
