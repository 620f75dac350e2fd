#!/usr/bin/env bash
# Asks the API everything that its own description (/openapi.json) allows, and much that it does not, with
# schemathesis: no answer is a failure of ours, and every answer is as described. Arguments go to it, for
# example --seed 7 or --max-examples 200.
#
# It runs on a stack of its own, on ports and in a folder apart from `just up`, and leaves nothing running.
# Needs Python 3 with venv, and PyPI the first time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

version=4.32.5
target=$PWD/${CARGO_TARGET_DIR:-target}
[[ ${CARGO_TARGET_DIR:-} != /* ]] || target=$CARGO_TARGET_DIR
environment=$target/schemathesis
export DEV_STATE=$target/schemathesis-stack
export DEV_REDIS_PORT=26379 DEV_POSTGRES_PORT=25432 DEV_SCHEDULER_PORT=28080 DEV_MESSAGE_PORT=28081
export DEV_SENDER_PORT=28082 DEV_ERP_MOCK_PORT=28083 DEV_WHATSAPP_MOCK_PORT=28084
# Enough for each parameter and field to be wrong in several ways, in about two minutes.
examples=20

if ! "$environment/bin/schemathesis" --version 2>/dev/null | grep -qF "$version"; then
    python3 -m venv "$environment"
    "$environment/bin/pip" install --quiet "schemathesis==$version"
fi

trap 'deploy/dev/stack.sh down' EXIT
deploy/dev/stack.sh up
key=$(<"$DEV_STATE/api-key")

# Left out: removing keys, which would end the run when it hits its own; and previews, which wait for their turn
# at the ERP. Of the checks: that every body which fits the schema is taken, since much that is asked of a
# campaign (a template that exists, a time to come) no schema says.
"$environment/bin/schemathesis" run "http://127.0.0.1:$DEV_SCHEDULER_PORT/openapi.json" \
    --header "Authorization: Bearer $key" \
    --exclude-path '/v1/api-keys/{id}' --exclude-path '/v1/campaigns/{id}/preview' \
    --checks all --exclude-checks positive_data_acceptance \
    --max-examples "$examples" --continue-on-failure --request-timeout 40 --no-color "$@"

if grep -h "panicked" "$DEV_STATE"/logs/*.log; then
    echo "schemathesis: a service panicked" >&2
    exit 1
fi
