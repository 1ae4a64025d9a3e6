#!/usr/bin/python3
"""Runs one workload of Python; options, words and lines are those of run.c.

    run.py --list
    run.py NAME MODEL SECONDS ROUNDS DIRECTORY:EVIDENCE…
"""
import json
import os
import resource
import sys
import time

sys.dont_write_bytecode = True
import models  # noqa: E402

SKIPPED = 77
FLUSH_MS = 20000
TRIES = 3
UNITS_MAX = 1 << 20


def listed():
    for workload in models.WORKLOADS.values():
        row = {key: getattr(workload, key) for key in ("name", "truth", "reason", "also", "argument", "interpreter")}
        print(json.dumps({key: value for key, value in row.items() if value}))


def runqueue_ms():
    """How long this thread has waited for a CPU."""
    with open("/proc/thread-self/schedstat", encoding="ascii") as file:
        return int(file.read().split()[1]) / 1e6


def own_ms():
    """Time without that wait."""
    return time.perf_counter() * 1e3 - runqueue_ms()


def repeat(infer, units):
    for _ in range(units):
        infer()


def count_units(infer, wanted_ms):
    """How often it is to be done to last so long, by the quickest of some tries."""
    if wanted_ms <= 0:
        return 1
    units = 1
    while True:
        took_ms = []
        for _ in range(TRIES):
            begin_ms = own_ms()
            repeat(infer, units)
            took_ms.append(own_ms() - begin_ms)
        if min(took_ms) >= wanted_ms / 2 or units >= UNITS_MAX:
            return max(1, round(units * wanted_ms / min(took_ms)))
        units *= 2


def usage():
    now = resource.getrusage(resource.RUSAGE_THREAD)
    return {"cpu_ms": time.thread_time() * 1e3, "process_cpu_ms": time.process_time() * 1e3,
            "runqueue_ms": runqueue_ms(),
            "minor_faults": now.ru_minflt, "major_faults": now.ru_majflt, "voluntary": now.ru_nvcsw,
            "involuntary": now.ru_nivcsw}


def run_round(infer, units, seconds, dwells):
    before, inferences, slowest = usage(), 0, 0
    begin = now = time.perf_counter()
    while now - begin < seconds:
        for dwell in dwells:
            dwell.begin()
        repeat(infer, units)
        for dwell in reversed(dwells):
            dwell.end()
        last, now = now, time.perf_counter()
        slowest = max(slowest, now - last)
        inferences += 1
    wall_ms = (now - begin) * 1e3
    after = usage()
    return {"inferences": inferences, "wall_ms": wall_ms, "mean_ms": wall_ms / inferences, "max_ms": slowest * 1e3,
            **{key: after[key] - before[key] for key in before}}


def main():
    if sys.argv[1:] == ["--list"]:
        listed()
        return 0
    if len(sys.argv) < 5:
        sys.exit("usage: run.py --list | NAME MODEL SECONDS ROUNDS DIRECTORY:cpu|full…")
    name, model, seconds, rounds = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    workload = models.WORKLOADS[name]
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(workload.threads)
    try:
        infer = workload.prepare()
    except (ImportError, OSError) as error:
        print(f"skipped: {error}", flush=True)
        return SKIPPED
    infer()  # what only the first one does
    units = count_units(infer, workload.ms)
    from dwell import Dwell  # only now: what prepare forks is to have no handle
    dwells = [Dwell(*watched.rsplit(":", 1)) for watched in sys.argv[5:]]
    print("ready", flush=True)
    for number in range(1, rounds + 1):
        if not sys.stdin.readline():
            break
        for dwell in dwells:
            dwell.choose(f"{model}.{number}")
        measured = run_round(infer, units, seconds, dwells)
        for dwell in dwells:
            dwell.flush(FLUSH_MS)
        print(json.dumps(measured), flush=True)
    sys.stdout.flush()
    os._exit(0)  # threads that compute for ever would keep it


if __name__ == "__main__":
    sys.exit(main())
