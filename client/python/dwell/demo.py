"""Shows that it works: python -m dwell.demo [--help]

Happy path:
    1. the daemon is found as by any client, or it is said how to start it
    2. four models of the standard library's kind (_workload.py) run CALLS times each, tracked
    3. the daemon's report is printed

What can fail, by exit status: 69 no daemon; 1 not everything that was recorded is in the daemon's profiles,
or it would not give them; 2 wrong arguments.
"""
import argparse
import shutil
import sys
from typing import Optional, Sequence, TextIO

from . import _locate, _workload
from ._client import client
from .profiler import get_global_profiler

CALLS = 40  # of each model; from 30 on the daemon judges by evidence
FIND_S = 5.0
EXIT_INCOMPLETE, EXIT_UNAVAILABLE = 1, 69


def main(arguments: Optional[Sequence[str]] = None, out: TextIO = sys.stdout) -> int:
    """Returns the exit status."""
    argparse.ArgumentParser(
        prog="python -m dwell.demo",
        description=f"Runs {len(_workload.MODELS)} small models {CALLS} times each, sends what they took to the daemon "
                    "(dwelld), and prints its report on them.",
        epilog="The daemon is looked for as by any client: in $DWELL_DIR, else $XDG_RUNTIME_DIR/dwell, /run/dwell or "
               "/tmp/dwell-<uid>. Exit status: 0 all is well, 1 not everything was counted, 69 no daemon.",
    ).parse_args(arguments)
    if not client().flush(FIND_S):
        print(_how_to_start(), file=sys.stderr)
        return EXIT_UNAVAILABLE
    profiler = get_global_profiler()
    before = {name: profile.sample_count for name, profile in profiler.get_all_metrics().items()}
    for name, model in _workload.MODELS.items():
        print(f"{name}: {CALLS} calls", file=out, flush=True)
        for _ in range(CALLS):
            with profiler.track(name):
                model()
    profiles = profiler.get_all_metrics()
    print(profiler.generate_report(), file=out)
    stats = client().stats()
    print(f"{stats['sent']} samples recorded, {stats['dropped']} dropped", file=out)
    seen = all(name in profiles and profiles[name].sample_count !=
               before.get(name) for name in _workload.MODELS)
    return 0 if seen and stats["dropped"] == 0 else EXIT_INCOMPLETE


def _how_to_start() -> str:
    if _locate.disabled():
        return "DWELL_DISABLED=1 is set, so nothing is sent. Unset it, and run this again."
    place, error = _locate.directory(), client().stats()["error"]
    looked = place or "$DWELL_DIR, $XDG_RUNTIME_DIR/dwell, /run/dwell or /tmp/dwell-<uid>"
    how = shutil.which("dwelld") or "make run        # in dwell's source tree"
    return (f"No daemon answers in {looked} ({error}).\nStart it in another terminal:\n\n    {how}\n\n"
            "and run this again.")


if __name__ == "__main__":
    sys.exit(main())
