# What one does here. `just` alone lists it; `deploy/dev/bootstrap.sh` installs what is needed.

set positional-arguments
set shell := ["bash", "-euo", "pipefail", "-c"]

stack := "deploy/dev/stack.sh"

_list:
    @just --list --unsorted

# Build and start everything on this machine, and wait until it is ready
up *arguments:
    @{{ stack }} up "$@"

# Stop everything that `up` started; the data stays
down:
    @{{ stack }} down

# Show what runs
status:
    @{{ stack }} status

# Follow the logs of all services, or of those named
logs *services:
    @{{ stack }} logs "$@"

# Run a campaign of 20,000 recipients from schedule to report (release build; leaves the stack up)
demo *arguments:
    @{{ stack }} demo "$@"

# Run every test, on real servers that the tests start and stop themselves
test *arguments:
    @deploy/dev/test.sh "$@"

# Let clients that others wrote talk to the WhatsApp mock (part of `test`; needs PyPI and npm the first time)
conformance:
    @conformance/run.sh

# Break everything that can break, one by one, while campaigns of 5,000 to 20,000 run (ten minutes, after a release build)
matrix *seed:
    @deploy/dev/faults.sh matrix "$@"

# Break things at random for SECONDS (900) while campaign follows campaign; SEED repeats a run
chaos *seconds_and_seed:
    @deploy/dev/faults.sh chaos "$@"

# Post status updates by webhook while messages are sent (3,000 a second for 20 s); half must be answered in 50 ms
webhook-load per_second="3000" seconds="20":
    @WEBHOOK_LOAD_PER_SECOND={{ per_second }} WEBHOOK_LOAD_SECONDS={{ seconds }} \
        cargo test --release --package message-svc --test service webhook_load -- --nocapture

# Fuzz the parsers that outsiders reach, each for some seconds (default 30); their seeds are part of `test`
fuzz *arguments:
    @deploy/dev/fuzz.sh "$@"

# Ask the API everything that its description allows, and much that it does not (needs PyPI the first time)
schemathesis *arguments:
    @deploy/dev/schemathesis.sh "$@"

# Measure the engine against BullMQ and the raw parts (--quick: 3 minutes; --help: promises, profile, capacity, micro)
bench *arguments:
    @bench/run.sh "$@"

# Everything that must be clean before a commit: format, lints, docs, licences, structure
check:
    @deploy/dev/check.sh

# Format the code
fmt:
    cargo fmt --all

# Apply the migrations to the development database
migrate:
    @{{ stack }} migrate

# Open psql on the development database
db *arguments:
    @{{ stack }} db "$@"

# Open redis-cli on the development Redis
redis *arguments:
    @{{ stack }} redis "$@"

# Build and start everything in containers instead, with Docker Compose, and wait until it is healthy
up-containers *arguments:
    @deploy/dev/compose.sh start "$@"
