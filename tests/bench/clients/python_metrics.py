"""What a counter, a gauge and a histogram of the Python client cost a caller, and prometheus_client's
beside them where that is installed. One JSON line each; exit status 1 when a limit is broken.

Each call is timed with two clock readings, alternately by dwell and by prometheus_client, so that what else
the machine does meets both; the cost of the readings themselves, measured likewise, is taken off.
"""
import json
import os
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "client/python"), str(ROOT / "tests/integration")]
from harness import Daemon  # noqa: E402

ROUNDS, CALLS = 40, 1000  # fewer calls than records that may wait: none is dropped
LIMIT_NS = 1500  # of what is called on a series; with `labels` before it: not slower than prometheus_client
LABELS = ("GET", "/", "shop", "200")
NAMED = dict(zip(("method", "endpoint", "service", "status"), LABELS))


def p50_ns(call, clock=time.perf_counter_ns):
    """Of CALLS calls, the median one."""
    took = []
    for _ in range(CALLS):
        start = clock()
        call()
        took.append(clock() - start)
    return statistics.median(took)


def calls_of(counter, histogram, gauge):
    total, running = counter.labels(*LABELS), gauge.labels(*LABELS[:3])
    seconds = histogram.labels(*LABELS[:3])
    return {"counter inc": total.inc, "histogram observe": lambda: seconds.observe(0.0125),
            "gauge inc": running.inc,
            "counter labels, inc": lambda: counter.labels(*LABELS).inc(),
            "counter labels by name, inc": lambda: counter.labels(**NAMED).inc()}


def prometheus_calls():
    """Those of prometheus_client, or none of them."""
    try:
        import prometheus_client
    except ImportError:
        return {}
    registry = prometheus_client.CollectorRegistry()
    names = list(NAMED)
    return calls_of(prometheus_client.Counter("c", "", names, registry=registry),
                    prometheus_client.Histogram("h", "", names[:3], registry=registry),
                    prometheus_client.Gauge("g", "", names[:3], registry=registry))


def main():
    daemon = Daemon()
    try:
        os.environ["DWELL_DIR"] = str(daemon.directory)
        import dwell
        ours = calls_of(dwell.HTTP_REQUESTS_TOTAL, dwell.HTTP_REQUEST_DURATION,
                        dwell.HTTP_REQUESTS_IN_PROGRESS)
        theirs = prometheus_calls()
        took = {what: ([], []) for what in ours}
        empty = []
        for _ in range(ROUNDS):
            for what in ours:
                empty.append(p50_ns(lambda: None))
                took[what][0].append(p50_ns(ours[what]))
                dwell.client().flush(10)
                if what in theirs:
                    took[what][1].append(p50_ns(theirs[what]))
        assert dwell.client().stats()["dropped"] == 0, "records were dropped: too many for a round"
    finally:
        daemon.stop()
    failed = False
    for what, (mine, other) in took.items():
        ns = statistics.median(mine) - statistics.median(empty)
        line = {"bench": "python_metrics", "client": "python", "what": what, "ns": round(ns)}
        if "labels" not in what:
            line["limit_ns"] = LIMIT_NS
            failed = failed or ns > LIMIT_NS
        if other:
            theirs_ns = statistics.median(other) - statistics.median(empty)
            line.update(ratio=round(theirs_ns / ns, 2), ratio_to="prometheus_client",
                        prometheus_client_ns=round(theirs_ns))
            if "labels" in what:
                line["limit_ratio"] = 1
                failed = failed or theirs_ns < ns
        else:
            line.update(ratio=round(ns / statistics.median(empty), 2), ratio_to="two clock readings")
        print(json.dumps(line), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
