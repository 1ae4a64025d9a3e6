#!/bin/sh
# Runs the tests against software of others: packages from PyPI, in an environment of their own under
# the build directory, which is made once. What cannot be had is skipped and said so; with
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

interpreter=$peers/bin/python
[ -x "$interpreter" ] || interpreter=$python
exec "$interpreter" -B "$here/runner.py"
