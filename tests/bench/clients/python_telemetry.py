#!/usr/bin/python3
"""What spans, metrics and budgets of the Python client cost a call: with a daemon, without one, and switched off.

Prints a line of JSON for each: the median over the rounds of the p50 of a call, two readings of the clock around it
taken off, and its ratio to those two readings in the same run. Exit status 1 when a limit is broken or a record lost.
DWELL_BUILD names the build directory.
"""
import json
import os
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "client/python"), str(ROOT / "tests/integration")]

from harness import WAIT_S, Daemon  # noqa: E402

import dwell  # noqa: E402
from dwell import _client  # noqa: E402

ROUNDS = 9    # interleaved, so that a slow moment of the machine is nobody's alone
STATES = {"daemon": "", "away": ", no daemon", "off": ", switched off"}
CALLS = 2000  # of a round: fewer than the client has places for

# Promised; of budgets, which are kept to without a daemon as well, there is no promise.
LIMITS_NS = {("daemon", "traced"): 6000, ("daemon", "increment_counter"): 1500}
LIMITS_NS.update({(state, call): 1000 for state in ("away", "off")
                  for call in ("traced", "increment_counter", "record_latency", "start_as_current_span")})


def p50_ns(call):
    """Of one call between two readings."""
    clock, taken = time.perf_counter_ns, []
    for _ in range(CALLS):
        begun = clock()
        call()
        taken.append(clock() - begun)
    return statistics.median(taken)


def nothing():
    pass


def subjects():
    """{name: a call without arguments}, made for the process's client as it is now."""
    @dwell.traced()
    def traced():
        pass

    @dwell.metered()
    def metered():
        pass

    def span_context():
        with dwell.SpanContext("span"):
            pass

    def current_span():
        with tracer.start_as_current_span("span"):
            pass

    def budget():
        layer.start()
        layer.stop()
    tracer, registry = dwell.get_tracer("bench"), dwell.MetricsRegistry()
    layer = dwell.TimeoutBudgetManager().get_layer_budget(dwell.Layer.LAYER2_DELIBERATION)
    attributes = {"method": "GET", "status": "200"}
    return {"traced": traced, "SpanContext": span_context, "start_as_current_span": current_span, "metered": metered,
            "increment_counter": lambda: registry.increment_counter("jobs"),
            "increment_counter_2_attributes": lambda: registry.increment_counter("jobs", 1, attributes),
            "record_latency": lambda: registry.record_latency("call", 1.5), "budget": budget}


def client_of(state, directory):
    if state == "off":
        os.environ["DWELL_DISABLED"] = "1"
    client = _client.Client(directory=directory if state == "daemon" else "/nonexistent")
    os.environ.pop("DWELL_DISABLED", None)
    client.away = state != "daemon"  # what it comes to by itself after some seconds without one
    return client


def main():
    daemon = Daemon()
    try:
        clients = {state: client_of(state, str(daemon.directory)) for state in STATES}
        taken, pairs = {}, []
        for _ in range(ROUNDS):
            for state, client in clients.items():
                _client._default = client
                for name, call in subjects().items():
                    pair = p50_ns(nothing)
                    pairs.append(pair)
                    taken.setdefault((state, name), []).append(p50_ns(call) - pair)
                    if state == "daemon" and not client.flush(WAIT_S):
                        raise SystemExit("the daemon does not keep up")
        lost = clients["daemon"].stats()["dropped"]
    finally:
        daemon.stop()
    pair_ns, good = statistics.median(pairs), lost == 0
    for (state, name), figures in taken.items():
        cost_ns, limit_ns = statistics.median(figures), LIMITS_NS.get((state, name))
        line = {"bench": "python_telemetry", "client": "python", "what": name + STATES[state], "ns": round(cost_ns),
                "ratio": round(cost_ns / pair_ns, 2), "clock_pair_ns": pair_ns, "dropped": lost}
        if limit_ns is not None:
            line["limit_ns"] = limit_ns
            good = good and cost_ns <= limit_ns
        print(json.dumps(line))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
