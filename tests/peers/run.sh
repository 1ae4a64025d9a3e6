#!/bin/sh
# Runs the tests against software of others: packages from PyPI and npm, programs from Go modules.
# Each kind has a place of its own under the build directory, which is made once. What cannot be
# had is skipped and said so; with REQUIRE_PEERS=1 a skip is a failure.
# DWELL_BUILD: the build directory. PYTHON: who makes it. JOBS: how many test modules at once.
set -eu

here=$(dirname "$0")
build=${DWELL_BUILD:-build}
python=${PYTHON:-/usr/bin/python3}
peers=$build/peers
wanted=$here/requirements.txt
JOBS=${JOBS:-$(nproc)}

mkdir -p "$build"
if ! cmp -s "$wanted" "$peers/installed.txt"; then
    echo "  PEERS  $peers"
    rm -rf "$peers"
    if "$python" -m venv "$peers" >"$build/peers.log" 2>&1; then
        # One by one: what one of them lacks is no reason to do without the others.
        complete=yes
        packages=$(cat "$wanted")
        for package in $packages; do
            if ! "$peers/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: \
                --constraint "$wanted" "$package" >>"$build/peers.log" 2>&1; then
                echo "cannot install $package:" >&2
                tail -n 3 "$build/peers.log" >&2
                complete=no
            fi
        done
        # Only a complete environment is kept for the next time.
        [ "$complete" = no ] || cp "$wanted" "$peers/installed.txt"
    else
        cat "$build/peers.log" >&2
    fi
fi

# Package and version of each line `"name": "version"`.
node_peers=$build/peers-node
node_wanted=$here/node.json
if ! cmp -s "$node_wanted" "$node_peers/installed.json" && command -v npm >/dev/null 2>&1; then
    echo "  PEERS  $node_peers"
    rm -rf "$node_peers"
    mkdir -p "$node_peers"
    packages=$(sed -n 's/.*"\(.*\)": "\(.*\)".*/\1@\2/p' "$node_wanted")
    # shellcheck disable=SC2086  # the list is meant to be split
    if npm install --silent --no-save --prefix "$node_peers" $packages >"$build/peers-node.log" 2>&1; then
        cp "$node_wanted" "$node_peers/installed.json"
    else
        tail -n 3 "$build/peers-node.log" >&2
    fi
fi

# Program and version in each line. Built once: it takes minutes.
go_peers=$build/peers-go
go_wanted=$here/go.txt
if ! cmp -s "$go_wanted" "$go_peers/installed.txt" && command -v go >/dev/null 2>&1; then
    echo "  PEERS  $go_peers"
    mkdir -p "$go_peers"
    complete=yes
    while read -r program version; do
        GOBIN=$(cd "$go_peers" && pwd) go install -tags remove_all_sd "$program@$version" \
            >>"$build/peers-go.log" 2>&1 || complete=no
    done <"$go_wanted"
    if [ "$complete" = yes ]; then
        cp "$go_wanted" "$go_peers/installed.txt"
    else
        tail -n 3 "$build/peers-go.log" >&2
    fi
fi

DWELL_BUILD=$build sh "$here/build_collector.sh"

interpreter=$peers/bin/python
[ -x "$interpreter" ] || interpreter=$python
DWELL_BUILD=$build exec "$interpreter" -B "$here/../integration/run.py" --jobs "$JOBS" "$here"
