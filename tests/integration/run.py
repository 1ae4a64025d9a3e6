"""Runs the test modules of a directory, each in a process of its own, several at once.

    run.py [-j JOBS] DIRECTORY [MODULE …]

    1. modules that say `RUNS_ALONE = True` come last and one by one: they measure what the machine does
    2. of the others those begin that say that they take longest (`TAKES_S = 100`), JOBS at a time
    3. what a module printed is shown when it has ended, whole
    4. the last line sums up; the exit status is 1 when one failed, or nothing ran, or one was skipped and
       REQUIRE_PEERS=1

What can fail: a module that hangs is killed after MODULE_S, with all that it has started, and counts as failed.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

MODULE_S = 3600  # the longest takes some 60 s on two idle CPUs, those with all versions of a language minutes
RAN = re.compile(r"^Ran (\d+) tests? in ", re.M)
SKIPPED = re.compile(r"skipped=(\d+)")


def options():
    parser = argparse.ArgumentParser(prog="run.py", description="Runs test modules, several at once.")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count())
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("modules", nargs="*")
    return parser.parse_args()


def environment():
    """Of the modules: where the harness is, whose own directory need not be theirs."""
    places = [str(pathlib.Path(__file__).resolve().parent), os.environ.get("PYTHONPATH")]
    build = pathlib.Path(os.environ.get("DWELL_BUILD", "build")).resolve()
    return {"GRPC_VERBOSITY": "NONE",  # its complaints are in the errors that it returns
            **os.environ, "DWELL_BUILD": str(build), "PYTHONPATH": os.pathsep.join(filter(None, places))}


def runs_alone(path):
    return re.search(r"^RUNS_ALONE = True", path.read_text(), re.M) is not None


def seconds(path):
    """What a module says that it takes, so that none is left to run alone at the end; by far not exact."""
    said = re.search(r"^TAKES_S = (\d+)", path.read_text(), re.M)
    return int(said.group(1)) if said else 0


def run(path):
    """(tests, skipped, failed) of one module; prints what it said."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-B", "-m", "unittest", "-v", path.stem], cwd=path.parent, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                               errors="replace", start_new_session=True, env=environment())
    try:
        said, _ = process.communicate(timeout=MODULE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said = process.communicate()[0] + f"\nkilled after {MODULE_S} s\n"
    tests = sum(map(int, RAN.findall(said)))
    skipped = sum(map(int, SKIPPED.findall(said[-200:])))
    failed = process.returncode != 0 or tests == 0
    state = "FAILED" if failed else "ok"
    print(f"{said}{path.stem}: {state}, {tests} tests in {time.monotonic() - began:.0f} s\n", flush=True)
    return tests, skipped, failed


def main():
    # Whoever starts jobs in the background has them ignore it, and so would every program under test.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings = options()
    directory = settings.directory.resolve()
    paths = [directory / f"{name}.py" for name in settings.modules] or list(directory.glob("test_*.py"))
    unknown = [path.stem for path in paths if not path.exists()]
    if unknown:
        sys.exit(f"run.py: {settings.directory} has no {', '.join(unknown)}")
    paths.sort(key=lambda path: (-seconds(path), -path.stat().st_size))
    alone = [path for path in paths if runs_alone(path)]
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(max(1, settings.jobs)) as pool:
        results = list(pool.map(run, [path for path in paths if path not in alone]))
    results += [run(path) for path in alone]
    tests, skipped, failed = (sum(column) for column in zip(*results)) if results else (0, 0, 0)
    print(f"{directory.name}: {len(paths)} modules, {tests} tests, {skipped} skipped, {failed} modules failed, "
          f"{time.monotonic() - began:.0f} s")
    must_not_skip = skipped > 0 and os.environ.get("REQUIRE_PEERS") == "1"
    if must_not_skip:
        print(f"REQUIRE_PEERS=1: {skipped} skipped tests count as failures")
    return 1 if failed or tests == 0 or must_not_skip else 0


if __name__ == "__main__":
    sys.exit(main())
