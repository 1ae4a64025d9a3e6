#!/usr/bin/python3
"""How many lines of the daemon's sources the tests have run, by directory.

    coverage.py DIRECTORY [--lines PATH]

    1. data    the .gcda files below DIRECTORY, that programs built with --coverage have left
    2. gcov    reads them; a line counts as run when one of the objects that have it says so
    3. table   a row for each directory of daemon/; status 1 when one is below what LEAST says

A file that no object has is not there at all: every object of the daemon is linked into the unit tests.
`--lines PATH` lists the lines of one file that nothing has run.
"""
import argparse
import collections
import json
import pathlib
import subprocess
import sys

LEAST = {"daemon/wire": 95.0}  # percent of lines: whatever a peer sends comes through here first
AT_ONCE = 200  # files for one call of gcov


def read_data(directory):
    """{path: {line: times}} of the daemon's sources."""
    found = collections.defaultdict(collections.Counter)
    data = sorted(str(path.resolve()) for path in directory.rglob("*.gcda"))
    if not data:
        sys.exit(f"coverage.py: {directory} has no .gcda files")
    for at in range(0, len(data), AT_ONCE):
        done = subprocess.run(["gcov", "--json-format", "--stdout", *data[at:at + AT_ONCE]], capture_output=True, text=True,
                              check=True)
        for line in done.stdout.splitlines():
            for file in json.loads(line)["files"]:
                if file["file"].startswith("daemon/"):
                    for entry in file["lines"]:
                        found[file["file"]][entry["line_number"]] += entry["count"]
    return found


def percent(run, lines):
    return 100 * run / lines if lines else 100.0


def report(found):
    """The table, and what is below its least."""
    totals = collections.defaultdict(lambda: [0, 0])
    for path, lines in found.items():
        if path.endswith(".c"):
            for name in (str(pathlib.PurePath(path).parent), "all"):
                totals[name][0] += sum(count > 0 for count in lines.values())
                totals[name][1] += len(lines)
    rows = [f"  {'directory':<34} {'lines':>7} {'run':>7} {'percent':>8}"]
    rows += [f"  {name:<34} {lines:>7} {run:>7} {percent(run, lines):>8.1f}" for name, (run, lines) in sorted(
        totals.items(), key=lambda item: (item[0] == "all", item[0]))]
    short = [f"{name}: {percent(*totals[name]):.1f} % of its lines are run, {least:g} % must be"
             for name, least in LEAST.items() if percent(*totals[name]) < least]
    return "\n".join(rows), short


def not_run(lines):
    return ", ".join(str(number) for number, count in sorted(lines.items()) if count == 0)


def main():
    parser = argparse.ArgumentParser(prog="coverage.py", description="Lines of the daemon that tests have run.")
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--lines", metavar="PATH", help="lists the lines of this file that nothing has run")
    settings = parser.parse_args()
    found = read_data(settings.directory)
    if settings.lines:
        if settings.lines not in found:
            sys.exit(f"coverage.py: no object has {settings.lines}")
        print(not_run(found[settings.lines]))
        return 0
    table, short = report(found)
    print("\n".join([table, *short]))
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
