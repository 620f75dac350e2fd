#!/usr/bin/env bash
# Docker Compose, whichever of its two forms this machine has.
#
#   compose.sh start [ARGUMENT...]   build, start, and wait until everything is healthy (arguments: those of
#                                    `up`, such as --scale message-svc=3)
#   compose.sh ARGUMENT...           Compose itself, with these arguments
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# How long everything may take to be healthy, once its images are built.
healthy_seconds=120

if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif command -v docker-compose >/dev/null; then
    compose=(docker-compose)
else
    echo "error: neither \`docker compose\` nor \`docker-compose\` is here: https://docs.docker.com/compose/install/" >&2
    exit 1
fi

# containers: a line for each container of the stack: its service, and how it is.
containers() {
    local state='{{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}} {{.State.ExitCode}}{{end}}'
    "${compose[@]}" ps --all --quiet 2>/dev/null |
        xargs -r docker inspect --format "{{index .Config.Labels \"com.docker.compose.service\"}} $state"
}

# A one-shot command is as it should be when it has succeeded.
not_healthy() {
    containers | grep -vE ' (healthy|exited 0)$' | sort -u
}

wait_healthy() {
    local deadline=$((SECONDS + healthy_seconds)) waiting service
    while waiting=$(not_healthy); do
        if ((SECONDS >= deadline)) || grep -qE ' exited [1-9]' <<<"$waiting"; then
            for service in $(cut -d ' ' -f 1 <<<"$waiting" | uniq); do
                "${compose[@]}" logs --tail 20 "$service" >&2
            done
            printf 'error: not healthy:\n%s\n' "$waiting" >&2
            exit 1
        fi
        sleep 1
    done
}

# address SERVICE PORT: where a port of a service is published on this machine.
address() {
    "${compose[@]}" port "$1" "$2"
}

api_key() {
    "${compose[@]}" run -T --rm --no-deps --entrypoint cat migrate /var/lib/campaign/api-key 2>/dev/null ||
        echo "lost with the volume admin-key; to begin anew: ${compose[*]} down --volumes"
}

welcome() {
    cat <<-END

	The stack is up and healthy.
	  API              http://$(address scheduler-svc 8080)/v1  (described at /openapi.json)
	  mock ERP         http://$(address erp-mock-svc 8083)
	  mock WhatsApp    http://$(address whatsapp-mock-svc 8084)
	  API key          $(api_key)
	Next:
	  ${compose[*]} run --rm campaignctl demo   run a campaign of 20,000 recipients
	  ${compose[*]} ps                          what runs; logs --follow: what it says
	  ${compose[*]} down                        stop everything, keep the data
	END
}

if [[ ${1:-} == start ]]; then
    shift
    # With the tools: `run` would go on using an image that was built from older sources.
    "${compose[@]}" --profile tools build
    "${compose[@]}" up --detach "$@"
    wait_healthy
    welcome
else
    exec "${compose[@]}" "$@"
fi
