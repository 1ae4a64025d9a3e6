#!/usr/bin/python3
"""Ground truth for the verdicts: runs workloads whose bottleneck is known from what they do, asks daemons with
more and less evidence about them, and prints how often they were right.

    make workloads [QUICK=1] [ARGS='--only NAME --level full']

    1. levels     a daemon for each level of evidence; all of them see the same inferences
    2. workloads  one process each (run.c, run.py), first idle and then beside one hog for each CPU
    3. rounds     a model of its own at every daemon, so that no verdict knows the one before
    4. raw        a JSON object a line for each round: the truth, what the process measured, what each daemon said
    5. report     confusion matrices and figures (score.py), a third of the workloads apart

What can fail: a workload that the machine cannot run is skipped and said so; one that breaks is said, too, and
makes the status 1. A run that was cut off, by a signal or else, goes on with --resume.
"""
import argparse
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))
import score  # noqa: E402
from busy import cpu_seconds, tree_seconds  # noqa: E402
from harness import BUILD  # noqa: E402
from levels import LEVELS, Judge, ask  # noqa: E402
from runner import Failed, Hogs, Runner, Skipped  # noqa: E402

RUN = BUILD / "tests/bench/workloads/run"
PLACE = BUILD / "workloads"
LOADS = ("idle", "hogs")
SECONDS, ROUNDS = 2.8, 1  # so that all of it takes an hour
# Rounds before them: a daemon begins to probe a process's memory when a first verdict has needed that, and then
# needs some of these probes, 2 s apart.
SETTLE = 4
QUICK_STEP = 3  # every third of the open workloads: ten minutes
BUSY = 0.25  # of one CPU that others take, above which a round was not what it is called


def options():
    parser = argparse.ArgumentParser(prog="workloads.py", description="Ground truth for the verdicts.")
    parser.add_argument("--only", action="append", metavar="NAME", help="this workload alone; may be repeated")
    parser.add_argument("--level", action="append", choices=LEVELS, help="this level alone; may be repeated")
    parser.add_argument("--load", action="append", choices=LOADS, help="this load alone")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of a round (default {SECONDS:g})")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each workload and load (default {ROUNDS})")
    parser.add_argument("--settle", type=int, default=SETTLE, help=f"rounds before the first that do not count (default {SETTLE})")
    parser.add_argument("--quick", action="store_true", help="some workloads, none of them frozen")
    parser.add_argument("--json", type=pathlib.Path, default=PLACE / "raw.jsonl", metavar="FILE",
                        help="keeps the raw evidence there, a JSON object a line")
    parser.add_argument("--resume", action="store_true", help="goes on with what FILE has")
    parser.add_argument("--report", action="store_true", help="prints the report on FILE and runs nothing")
    parser.add_argument("--list", action="store_true", help="prints the workloads and why their truth is so")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="an option for every daemon")
    return parser.parse_args()


def interpreter_with(module):
    """A Python that has it, from the peers or a place of our own; None when it cannot be had."""
    for place in (BUILD / "peers", PLACE / "venv"):
        python = place / "bin/python"
        if python.exists() and subprocess.run([python, "-c", f"import {module}, onnx, numpy"], capture_output=True,
                                              check=False).returncode == 0:
            return python
    python = PLACE / "venv/bin/python"
    wanted = [line for line in (ROOT / "tests/peers/requirements.txt").read_text().split()
              if line.startswith(("numpy=", "onnx=", "onnxruntime="))]
    print(f"  FETCH {' '.join(wanted)}", flush=True)
    for command in ([sys.executable, "-m", "venv", PLACE / "venv"],
                    [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:",
                     *wanted]):
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            return None
    return python


def listed(command):
    out = subprocess.run([*command, "--list"], capture_output=True, text=True, check=True).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    for row in rows:
        row["command"] = command
        row["also"] = row["also"].split(",") if row.get("also") else []
    return rows


def workloads():
    return listed([str(RUN)]) + listed([sys.executable, "-B", str(HERE / "run.py")])


def chosen(settings):
    rows = workloads()
    if settings.only:
        unknown = set(settings.only) - {row["name"] for row in rows}
        if unknown:
            sys.exit(f"no workload {', '.join(sorted(unknown))}")
        rows = [row for row in rows if row["name"] in settings.only]
    if settings.quick:
        open_rows = [row for row in rows if not score.is_frozen(row["name"])]
        rows = open_rows[::QUICK_STEP]
    return rows


def fetch_interpreters(rows):
    """Names the Python of each workload that needs another; None where there is none."""
    found = {}
    for row in rows:
        module = row.get("interpreter")
        if module is not None:
            if module not in found:
                found[module] = interpreter_with(module)
            row["command"] = found[module] and [str(found[module]), *row["command"][1:]]


# ---- rounds ----

def run_round(runner, model, daemons):
    """What of a raw row only the round tells."""
    begin, all_before, ours_before = time.monotonic(), cpu_seconds(), tree_seconds()
    measured = runner.round()
    foreign = (cpu_seconds() - all_before - tree_seconds() + ours_before) / (time.monotonic() - begin)
    return {"measured": measured, "foreign_cpus": round(max(0.0, foreign), 2),
            "levels": {level: ask(daemon, model, measured["inferences"]) for level, daemon in daemons.items()}}


def run_one(workload, settings, daemons):
    """The raw rows of one workload, under one load after the other. Its models are numbered by rounds."""
    # The richest evidence is outermost: what the others' tracks cost, and whom their threads wake, is in its time, too.
    watchers = [f"{daemon.directory}:{LEVELS[level][0]}" for level, daemon in daemons.items()][::-1]
    if workload["command"] is None:
        raise Skipped(f"{workload['interpreter']} cannot be had")
    between = min(settings.settle, 1)  # for queues and caches; probes of memory go on
    total = settings.settle - between + len(settings.loads) * (between + settings.rounds)
    with Runner(workload, settings.seconds, total, watchers, settings.files, str(RUN)) as runner:
        ran = 0
        for load in settings.loads:
            with Hogs(str(RUN), os.cpu_count() if load == "hogs" else 0):
                for _ in range(between if ran else settings.settle):
                    runner.round()
                    ran += 1
                for number in range(1, settings.rounds + 1):
                    ran += 1
                    yield {"workload": workload["name"], "load": load, "round": number, "truth": workload["truth"],
                           "reason": workload.get("reason"), "also": workload["also"],
                           **run_round(runner, f"{workload['name']}.{ran}", daemons)}


def verdicts(row):
    """One line on what the levels have said."""
    def one(analysis):
        label = analysis["bottleneck_type"]
        return analysis["rule"] if label == "unknown" else label.removesuffix("_bound")
    return " ".join(f"{level}={one(model['analysis'])}" for level, model in row["levels"].items())


def done_before(path):
    """The rows of a run that was cut off."""
    rows = []
    if path.exists():
        for line in path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # the last line may be cut
                rows.append(json.loads(line))
    return rows


def run_all(settings, plan, daemons):
    rows = done_before(settings.json) if settings.resume else []
    last = (settings.loads[-1], settings.rounds)
    complete = {row["workload"] for row in rows if (row["load"], row["round"]) == last}
    rows = [row for row in rows if row["workload"] in complete]
    plan = [workload for workload in plan if workload["name"] not in complete]
    began, skipped, broken = time.monotonic(), {}, []
    settings.json.parent.mkdir(parents=True, exist_ok=True)
    with open(settings.json, "w", encoding="utf-8") as raw:
        raw.writelines(json.dumps(row) + "\n" for row in rows)
        for at, workload in enumerate(plan):
            left_s = (time.monotonic() - began) / at * (len(plan) - at) if at else None
            left = "" if left_s is None else f", {left_s / 60:.0f} min left"
            head = f"[{at + 1}/{len(plan)}{left}] {workload['name']}"
            try:
                for row in run_one(workload, settings, daemons):
                    rows.append(row)
                    raw.write(json.dumps(row) + "\n")
                    raw.flush()
                    busy = f"  (others took {row['foreign_cpus']} CPUs)" if row["foreign_cpus"] > BUSY else ""
                    print(f"{head} {row['load']}: {verdicts(row)}{busy}", flush=True)
            except Skipped as reason:
                skipped[workload["name"]] = str(reason)
                print(f"{head}: skipped, {reason}", flush=True)
            except (Failed, AssertionError) as failure:
                broken.append(f"{workload['name']}: {failure}")
                print(f"{head}: {failure}", flush=True)
    return rows, skipped, broken


def conclude(rows, levels, skipped, broken):
    print(score.report(rows, levels, LOADS))
    disturbed = sum(row["foreign_cpus"] > BUSY for row in rows)
    names = {row["workload"] for row in rows}
    print(f"\n{len(names)} workloads, {len(rows)} rounds; in {disturbed} others took more than {BUSY} of a CPU")
    for name, reason in skipped.items():
        print(f"skipped {name}: {reason}")
    for failure in broken:
        print(f"failed {failure}")


def end_by_signal(number, _):
    sys.exit(128 + number)  # by way of everything that is to be stopped


def main():
    signal.signal(signal.SIGTERM, end_by_signal)
    signal.signal(signal.SIGINT, end_by_signal)
    settings = options()
    if settings.report:
        rows = done_before(settings.json)
        conclude(rows, LEVELS, {}, [])
        return 0
    settings.loads = [load for load in LOADS if load in (settings.load or LOADS)]
    rows = chosen(settings)
    if settings.list:
        for row in rows:
            frozen = "frozen" if score.is_frozen(row["name"]) else ""
            print(f"{row['name']:<34} {row['truth']:<14} {row.get('reason') or '':<8} {frozen:<7} {row['argument']}")
        return 0
    PLACE.mkdir(parents=True, exist_ok=True)
    fetch_interpreters(rows)
    os.environ["DWELL_BUILD"] = str(BUILD)
    with contextlib.ExitStack() as stack:
        settings.files = tempfile.mkdtemp(prefix="files-", dir=PLACE)  # on a disk, which /tmp may not be
        stack.callback(shutil.rmtree, settings.files, ignore_errors=True)
        more = dict(pair.split("=", 1) for pair in settings.set)
        daemons = {level: Judge(level, settings.seconds, more) for level in settings.level or LEVELS}
        for daemon in daemons.values():
            stack.callback(daemon.stop)
        raw, skipped, broken = run_all(settings, rows, daemons)
    conclude(raw, LEVELS, skipped, broken)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
