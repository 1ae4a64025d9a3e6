#!/usr/bin/env python3
"""What `with profiler.track("m")` costs in Python, beside two readings of the clock and the old way by psutil.

    DWELL_BUILD=build python3 tests/bench/clients/python_track.py

One JSON line each, of the package in Python and, where it can be built, of its extension; exit status 1 when a limit
is broken. All ways are measured in turns, in rounds of BLOCKS empty
blocks, against one real daemon; a figure is the median over the rounds. `pair_us` is what two readings of the clock
take in the same round, and is contained in each figure. Without psutil its line says so.
"""
import gc
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
PACKAGE = os.environ.get("DWELL_PYTHON_PACKAGE", str(ROOT / "client/python"))
sys.path[:0] = [PACKAGE, str(ROOT / "tests/integration"), str(ROOT / "tests/clients/python")]

import extension  # noqa: E402
from harness import Daemon, until  # noqa: E402

from dwell import profiler as module  # noqa: E402
from dwell._client import Client  # noqa: E402
from dwell.profiler import ModelProfiler  # noqa: E402

try:
    import psutil
except ImportError:
    psutil = None

ROUNDS = 9
BLOCKS = 10_000
OLD_BLOCKS = 500  # of the old way, which takes some 100 times as long
THREADS, THREAD_BLOCKS = 4, 50_000
LIMITS_US = ({"none": 0.7, "cpu": 0.7, "full": 0.7, "no-op": 1.0} if module._speed else
             {"none": 3.0, "cpu": 5.0, "full": 5.0, "no-op": 1.0})
REPORT_P99_LIMIT = 2.0  # times that of no report; a scheduler's tick more or less

now = time.perf_counter_ns


def machine():
    cpu = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                cpu = line.partition(": ")[2].strip()
                break
    return {"cpu": cpu, "cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


def tell(name, **figures):
    """Prints a line. `limits` are (key, most); False when one is broken."""
    limits = figures.pop("limits", ())
    line = {"bench": name, "machine": machine(), "rounds": ROUNDS, "extension": module._speed is not None}
    line.update({key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in figures.items()})
    ok = True
    for key, most in limits:
        line[f"{key}_limit"] = most
        ok = ok and line[key] <= most
    line["ok"] = ok
    print(json.dumps(line, separators=(",", ":")), flush=True)
    return ok


class Old:
    """A block measured as the old profiler did it: by psutil, of the whole process, under a lock."""

    def __init__(self):
        self.process = psutil.Process()
        self.lock = threading.Lock()
        self.samples = []

    def track(self, name):
        self.name = name
        return self

    def __enter__(self):
        self.cpu = self.process.cpu_percent()
        self.memory = self.process.memory_info().rss
        self.start = time.perf_counter()

    def __exit__(self, *_):
        taken = time.perf_counter() - self.start
        sample = (self.name, taken * 1e3, self.cpu, self.process.cpu_percent(), self.memory,
                  self.process.memory_info().rss)
        with self.lock:
            self.samples.append(sample)


def pair_times(count):
    times = []
    for _ in range(count):
        start = now()
        times.append(now() - start)
    return times


def block_times(profiler, count):
    times = []
    for _ in range(count):
        start = now()
        with profiler.track("m"):
            pass
        times.append(now() - start)
    return times


def quantiles(times):
    times.sort()
    return times[len(times) // 2] / 1e3, times[len(times) * 99 // 100] / 1e3


class Ways:
    """The profilers, by what they are called in the lines."""

    def __init__(self, daemon):
        directory = str(daemon.directory)
        self.clients = {level: Client(directory=directory) for level in ("none", "cpu", "full")}
        nowhere = self.clients["no-op"] = Client(directory=str(daemon.base / "none"), keep_s=0.0)
        self.profilers = {level: ModelProfiler(client=client, evidence=None if level == "no-op" else level)
                          for level, client in self.clients.items()}
        nowhere.put(b"x")
        until(lambda: nowhere.away, "there is no daemon for it")
        if psutil is not None:
            self.profilers["psutil"] = Old()

    def settle(self):
        for client in self.clients.values():
            client.flush(10)

    def close(self):
        for client in self.clients.values():
            client.close()


def bench_blocks(ways):
    figures = {name: [] for name in ways.profilers}
    for _ in range(ROUNDS):
        for name, profiler in ways.profilers.items():
            pair_us, _ = quantiles(pair_times(BLOCKS))
            times = block_times(profiler, OLD_BLOCKS if name == "psutil" else BLOCKS)
            p50_us, p99_us = quantiles(times)
            figures[name].append((p50_us, p99_us, pair_us, p50_us / pair_us))
            ways.settle()
    medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in figures.items()}
    ok = True
    for name, (p50_us, p99_us, pair_us, ratio) in medians.items():
        told = {"way": name, "p50_us": p50_us, "p99_us": p99_us, "pair_us": pair_us, "ratio": ratio}
        if name == "psutil":
            told["to_cpu_ratio"] = p50_us / medians["cpu"][0]
        ok &= tell("python_track", **told, limits=[("p50_us", LIMITS_US[name])] if name in LIMITS_US else ())
    if psutil is None:
        ok &= tell("python_track", way="psutil", skipped="there is no psutil")
    return ok


def blocks_per_second(profiler, threads):
    def work():
        start.wait()
        track = profiler.track
        for _ in range(THREAD_BLOCKS):
            with track("m"):
                pass
    start = threading.Barrier(threads + 1)
    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    start.wait()
    begun = now()
    for worker in workers:
        worker.join()
    return threads * THREAD_BLOCKS / ((now() - begun) / 1e9)


def bench_threads(daemon):
    """Threads that do nothing but record: the interpreter's lock is all that they share."""
    alone, together, sent, dropped = [], [], 0, 0
    for _ in range(3):
        client = Client(directory=str(daemon.directory))
        profiler = ModelProfiler(client=client, evidence="cpu")
        alone.append(blocks_per_second(profiler, 1))
        client.flush(10)
        together.append(blocks_per_second(profiler, THREADS))
        client.flush(10)
        stats = client.stats()
        sent, dropped = sent + stats["sent"], dropped + stats["dropped"]
        client.close()
    alone, together = statistics.median(alone), statistics.median(together)
    return tell("python_track_threads", threads=THREADS, per_second=together, alone_per_second=alone,
                ratio=together / alone, sent=sent, dropped=dropped, dropped_share=dropped / sent,
                limits=[("dropped", 0)])


def bench_report(profiler):
    """Blocks while another thread asks for one report after another."""
    alone, beside, reports = [], [], 0
    for _ in range(ROUNDS):
        alone.append(quantiles(block_times(profiler, BLOCKS))[1])
        stop = threading.Event()

        def report():
            nonlocal reports
            while not stop.is_set():
                assert module.NO_DATA not in profiler.generate_report()
                reports += 1
        reporter = threading.Thread(target=report)
        reporter.start()
        beside.append(quantiles(block_times(profiler, 4 * BLOCKS))[1])
        stop.set()
        reporter.join()
    p99_us, beside_us = statistics.median(alone), statistics.median(beside)
    return tell("python_track_report", p99_us=p99_us, p99_beside_us=beside_us, ratio=beside_us / p99_us,
                reports=reports, limits=[("ratio", REPORT_P99_LIMIT)])


def main():
    gc.disable()  # of the bench's own lists of times
    daemon = Daemon()
    try:
        ways = Ways(daemon)
        ok = bench_blocks(ways)
        ok &= bench_report(ways.profilers["cpu"])
        ways.close()
        ok &= bench_threads(daemon)
    finally:
        daemon.stop()
    if module._speed is None:
        ok &= bench_extension()
    return 0 if ok else 1


def bench_extension():
    """The same again, with the package that has one."""
    if extension.missing():
        return tell("python_track", skipped=extension.missing())
    with tempfile.TemporaryDirectory(prefix="dwell-bench-") as place:
        extension.build(place)
        again = [sys.executable, "-B", __file__]
        return subprocess.run(again, env={**os.environ, "DWELL_PYTHON_PACKAGE": place}, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
