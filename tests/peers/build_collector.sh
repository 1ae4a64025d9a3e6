#!/bin/sh
# Builds the OpenTelemetry Collector: a program of our own that puts its modules together, which are
# named in collector/go.mod. Built once, from a copy, to which go adds what follows from these.
# DWELL_BUILD: the build directory.
set -eu

here=$(dirname "$0")
build=${DWELL_BUILD:-build}
go_peers=$build/peers-go
collector=$go_peers/collector-module
wanted="$here/collector/go.mod $here/collector/main.go"

# shellcheck disable=SC2086  # the list is meant to be split
if ! cat $wanted | cmp -s - "$collector/installed.txt" && command -v go >/dev/null 2>&1; then
    echo "  PEERS  $go_peers/collector: a real OpenTelemetry Collector, which takes minutes, once"
    rm -rf "$collector" "$go_peers/collector"
    mkdir -p "$collector"
    cp $wanted "$collector"
    if (cd "$collector" && go build -mod=mod -buildvcs=false -o ../collector .) >"$build/peers-collector.log" 2>&1; then
        cat $wanted >"$collector/installed.txt"
    else
        tail -n 3 "$build/peers-collector.log" >&2
    fi
fi
