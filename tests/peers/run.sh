#!/bin/sh
# Runs the tests against software of others: packages from PyPI and npm, in environments of their own
# under the build directory, which are made once. What cannot be had is skipped and said so; with
# REQUIRE_PEERS=1 a skip is a failure. DWELL_BUILD: the build directory. PYTHON: who makes it.
set -eu

here=$(dirname "$0")
build=${DWELL_BUILD:-build}
python=${PYTHON:-/usr/bin/python3}
peers=$build/peers
wanted=$here/requirements.txt

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

interpreter=$peers/bin/python
[ -x "$interpreter" ] || interpreter=$python
exec "$interpreter" -B "$here/runner.py"
