# shellcheck shell=bash
# Names, ports and settings of the development stack: sourced by the other scripts in this folder.
#
# Each port can be changed by the variable beside it. Nothing here is secret: the stack listens on
# loopback only, and its keys open nothing but the mocks.

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
state=${DEV_STATE:-$checkout/.dev}

redis_port=${DEV_REDIS_PORT:-16379}
postgres_port=${DEV_POSTGRES_PORT:-15432}
scheduler_port=${DEV_SCHEDULER_PORT:-8080}
message_port=${DEV_MESSAGE_PORT:-8081}
sender_port=${DEV_SENDER_PORT:-8082}
erp_mock_port=${DEV_ERP_MOCK_PORT:-8083}
whatsapp_mock_port=${DEV_WHATSAPP_MOCK_PORT:-8084}

# In the order in which they start: the mocks first, so that no service finds its ERP away.
services=(erp-mock-svc whatsapp-mock-svc sender-svc message-svc scheduler-svc)

# service_port NAME
service_port() {
    case $1 in
    scheduler-svc) echo "$scheduler_port" ;;
    message-svc) echo "$message_port" ;;
    sender-svc) echo "$sender_port" ;;
    erp-mock-svc) echo "$erp_mock_port" ;;
    whatsapp-mock-svc) echo "$whatsapp_mock_port" ;;
    esac
}

# port_variable NAME: the variable that changes the port of a service or server.
port_variable() {
    local name=${1%-svc}
    name=${name//-/_}
    echo "DEV_${name^^}_PORT"
}

# The same names as in every other deployment. Set without regard to what the caller's shell holds, so
# that a DATABASE_URL of another project is never touched.
export DATABASE_URL=postgres://campaign:campaign@127.0.0.1:$postgres_port/campaign
export REDIS_URL=redis://127.0.0.1:$redis_port/
export ERP_BASE_URL=http://127.0.0.1:$erp_mock_port
export ERP_API_KEY=dev-erp-api-key-of-the-local-stack
export WHATSAPP_BASE_URL=http://127.0.0.1:$whatsapp_mock_port
export WHATSAPP_ACCESS_TOKEN=dev-access-token-of-the-local-stack
export WHATSAPP_APP_SECRET=dev-app-secret-of-the-local-stack
export WHATSAPP_VERIFY_TOKEN=dev-verify-token-of-the-local-stack
export WEBHOOK_URL=http://127.0.0.1:$message_port/webhooks/whatsapp
export ADMIN_KEY_FILE=$state/api-key
export API_URL=http://127.0.0.1:$scheduler_port
export API_KEY_FILE=$ADMIN_KEY_FILE
export DEV_DATA=true
export LOG_FORMAT=${LOG_FORMAT:-pretty}
export RUST_LOG=${RUST_LOG:-info}
