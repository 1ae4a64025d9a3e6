#!/usr/bin/python3
"""Does to a daemon under load what goes wrong in production, and prints what became of every record.

    make chaos [TIMES=50|quick] [ONLY='SIGSTOP; no memory'] [SEED=7]

    1. faults   the rows of faults.py, one after the other, each TIMES times on a daemon of its own
    2. load     three clients that number their records (client.py), before, during and after the fault
    3. account  what the clients know and what the daemon shows are compared to the unit (truth.py)
    4. table    a line for each fault; the status is 1 when a figure is not 0 that is to be

What can fail: a fault that the machine cannot do is skipped, and the table says why. One after which something is
not as stated is told with its seed, with which it is done again.
"""
import argparse
import collections
import os
import pathlib
import random
import re
import signal
import statistics
import sys
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests/integration")]
from faults import FAULTS  # noqa: E402
from world import World  # noqa: E402

TIMES = 5
PAUSE_S, QUICK_PAUSE_S = 30, 1  # of a fault that lasts
DUE = ("rejected", "lost", "twice", "forgotten")  # what is to be 0 where a row does not allow for it
HEAD = "  fault                     times      sent   dropped  rejected      lost  told  twice  forgotten  recovered ms"

Outcome = collections.namedtuple("Outcome", "fault times figures recovered_ms failures skipped")


def once(fault, seed, pause_s):
    """The figures of one time, and how long it took to recover."""
    with World(seed, pause_s, {}, fault.client) as world:
        world.options = fault.options(world)
        world.start()
        fault.apply(world)
        recovered_ms = world.recover()
        world.go_on()
        found = world.finish()
    wrong = [f"{term} {getattr(found, term)}" for term in DUE if term not in fault.may and getattr(found, term) > 0]
    assert not wrong, f"is to be 0: {', '.join(wrong)}"
    return found, recovered_ms


def run(fault, times, seed, pause_s=QUICK_PAUSE_S):
    reason = fault.hindrance()
    if reason:
        return Outcome(fault, 0, [], [], [], reason)
    figures, recovered, failures = [], [], []
    for number in range(times):
        own = f"{seed}.{fault.name}.{number}"
        try:
            found, recovered_ms = once(fault, own, pause_s)
        except Exception as failure:  # whatever it is, the others are to be done
            failures.append(f"{fault.name}, time {number + 1} with SEED={seed}: {type(failure).__name__}: {failure}")
            continue
        figures.append(found)
        recovered.append(recovered_ms)
    return Outcome(fault, times, figures, recovered, failures, None)


# ---- text ----

def line(outcome):
    if outcome.skipped:
        return f"  {outcome.fault.name:<25} skipped: {outcome.skipped}"
    total = {term: sum(getattr(found, term) for found in outcome.figures)
             for term in ("sent", "dropped", "rejected", "lost", "told", "twice", "forgotten")}
    recovered = "-"
    if outcome.recovered_ms:
        recovered = f"{statistics.median(outcome.recovered_ms):.0f}, worst {max(outcome.recovered_ms):.0f}"
    failed = f"  FAILED {len(outcome.failures)}" if outcome.failures else ""
    return (f"  {outcome.fault.name:<25} {outcome.times:>5} {total['sent']:>9} {total['dropped']:>9} {total['rejected']:>9}"
            f" {total['lost']:>9} {total['told']:>5} {total['twice']:>6} {total['forgotten']:>10}  {recovered}{failed}")


def options():
    parser = argparse.ArgumentParser(prog="chaos.py", description="Faults in production, and what they cost.")
    parser.add_argument("--times", default=str(TIMES), metavar="N|quick",
                        help=f"that each fault is done (default {TIMES}); quick: once, and none lasts long")
    parser.add_argument("--only", default="", metavar="NAME;…", help="these faults alone")
    parser.add_argument("--seed", type=int, default=None, help="of an earlier run, to do the same again")
    parser.add_argument("--pause", type=float, default=None, metavar="S", help=f"of a fault that lasts (default {PAUSE_S})")
    parser.add_argument("--list", action="store_true", help="prints the faults and what is stated for each")
    settings = parser.parse_args()
    quick = settings.times == "quick"
    if not quick and not re.fullmatch("[1-9][0-9]{0,3}", settings.times):
        parser.error(f"--times: expects a number from 1 to 9999, or quick, got {settings.times}")
    settings.times = 1 if quick else int(settings.times)
    settings.pause = settings.pause or (QUICK_PAUSE_S if quick else PAUSE_S)
    return settings


def chosen(names):
    wanted = [name.strip() for name in names.split(";") if name.strip()]
    unknown = set(wanted) - {fault.name for fault in FAULTS}
    if unknown:
        sys.exit(f"chaos.py: no fault {', '.join(sorted(unknown))}; --list tells which there are")
    return [fault for fault in FAULTS if not wanted or fault.name in wanted]


def end_by_signal(number, _):
    sys.exit(128 + number)  # by way of everything that is to be stopped


def main():
    signal.signal(signal.SIGTERM, end_by_signal)
    settings = options()
    faults = chosen(settings.only)
    if settings.list:
        for fault in faults:
            print(f"{fault.name:<25} {fault.stated}")
        return 0
    seed = random.SystemRandom().randrange(1 << 32) if settings.seed is None else settings.seed
    print(f"SEED={seed}, {os.cpu_count()} CPUs\n\n{HEAD}", flush=True)
    began, outcomes = time.monotonic(), []
    for fault in faults:
        outcomes.append(run(fault, settings.times, seed, settings.pause))
        print(line(outcomes[-1]), flush=True)
    failures = [failure for outcome in outcomes for failure in outcome.failures]
    skipped = sum(outcome.skipped is not None for outcome in outcomes)
    print(f"\n{len(outcomes)} faults, {skipped} skipped, {len(failures)} times something was not as stated, "
          f"{time.monotonic() - began:.0f} s")
    for failure in failures:
        print(failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
