#!/usr/bin/python3
"""Runs the benches of all clients, one after the other, hands on their lines, and ends with one table of them.

    compare.py              what can be had; DWELL_BUILD names the build directory
    compare.py FILE ...     no bench is run: the table of lines in files

Exit status 1 when a bench failed, broke a limit, or said nothing. A toolchain that is missing is a row that says so.
README.md beside this file has the keys of a line.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BUILD = (ROOT / os.environ.get("DWELL_BUILD", "build")).resolve()
PEERS = BUILD / "peers/bin/python"  # of make integration: it has gunicorn and prometheus_client, to compare with
PYTHON = str(PEERS) if PEERS.exists() else sys.executable
BENCH_S = 900  # the longest has three servers under load, some rounds of it each
HEADS = ("client", "what", "p50", "ratio", "limit", "")
BESIDE = {"bench", "client", "what", "ratio_to", "skipped", "python", "go", "node"}  # texts that do not say what was done
CLOCKS = {"pair", "clock_pair"}  # two readings of the clock, in each line of some benches
UNITS = {"_ns": 1.0, "_us": 1e3, "_ms": 1e6}


def shown(ns):
    """Three digits, in the unit that they are read in."""
    for unit, size in (("ns", 1.0), ("us", 1e3), ("ms", 1e6)):
        if ns < 999.5 * size or unit == "ms":
            return f"{ns / size:.3g} {unit}"
    return ""


def figures(line):
    """(name, ns, ratio, limit, whether it is broken) of each figure in a line; limits as they are shown."""
    if "ns" in line:
        ns, ratio, most, least = line["ns"], line.get("ratio"), line.get("limit_ns"), line.get("limit_ratio")
        if most is not None:
            yield "", ns, ratio, shown(most), ns > most
        elif least is not None:
            yield "", ns, ratio, f"{least:.3g} times", ratio is None or ratio < least
        else:
            yield "", ns, ratio, "", False
        return
    for key, value in line.items():
        stem, unit = key[:-3], key[-3:]
        if unit in UNITS and stem not in CLOCKS and isinstance(value, (int, float)):
            most, ratio_most = line.get(f"{key}_limit"), line.get(f"{stem}_ratio_limit")
            ratio = line.get(f"{stem}_ratio", line.get("ratio") if stem == "p50" else None)
            limit = shown(most * UNITS[unit]) if most is not None else ""
            if ratio_most is not None:
                limit = f"{ratio_most:.3g} times"
            yield (stem, value * UNITS[unit], ratio, limit,
                   (most is not None and value > most) or (ratio_most is not None and ratio > ratio_most))


def rows(line, client):
    """Cells of the table. `client`: whose bench it is, for lines that do not say."""
    client = line.get("client", client)
    what = line.get("what") or " ".join(str(value) for key, value in line.items()
                                        if isinstance(value, str) and key not in BESIDE)
    if "skipped" in line:
        return [(client, what, "", "", "", f"skipped: {line['skipped']}")]
    found = []
    for name, ns, ratio, limit, broken in figures(line):
        to = f" of {line['ratio_to']}" if "ratio_to" in line else ""
        found.append((client, " ".join(part for part in (what, name) if part) or line["bench"], shown(ns),
                      "" if ratio is None else f"{ratio:.3g}{to}", limit, "over its limit" if broken else ""))
    return found or [(client, " ".join((line["bench"], what)).strip(), "", "", "", "")]


def whose(bench):
    """The client of a bench, by its name: python_track, client_go; that of libdwell is `client` alone."""
    return "c" if bench == "client" else bench.removeprefix("client_").partition("_")[0]


def table(cells):
    cells = [HEADS, *cells]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADS))]
    out = []
    for number, row in enumerate(cells):
        aligned = [cell.rjust(width) if column in (2, 4) else cell.ljust(width)
                   for column, (cell, width) in enumerate(zip(row, widths))]
        out.append("  ".join(aligned).rstrip())
        if number == 0:
            out.append("-" * (sum(widths) + 2 * (len(HEADS) - 1)))
    return "\n".join(out) + "\n"


def benches():
    """(client, command, directory, the program that it needs)"""
    for path in sorted(HERE.glob("python_*.py")):
        yield "python", [PYTHON, "-B", str(path)], ROOT, PYTHON
    if (HERE / "go/go.mod").exists():
        yield "go", ["go", "run", "."], HERE / "go", "go"
    if (HERE / "node/bench.mjs").exists():
        yield "node", ["node", str(HERE / "node/bench.mjs")], ROOT, "node"
    yield "c", [str(BUILD / "tests/bench/bench_client")], ROOT, str(BUILD / "tests/bench/bench_client")


def run(client, command, directory, program):
    """(rows, whether all is well)"""
    if shutil.which(program) is None:
        return [(client, " ".join(command), "", "", "", f"skipped: {program} is not there")], True
    done = subprocess.run(command, cwd=directory, stdout=subprocess.PIPE, text=True, timeout=BENCH_S, check=False,
                          env={**os.environ, "DWELL_BUILD": str(BUILD)})
    sys.stdout.write(done.stdout)
    sys.stdout.flush()
    found = [row for line in done.stdout.splitlines() if line.startswith("{") for row in rows(json.loads(line), client)]
    well = done.returncode == 0 and len(found) > 0
    if not well:
        found.append((client, " ".join(map(os.path.basename, command[-2:])), "", "", "",
                      f"exit status {done.returncode}, {len(found)} figures"))
    return found, well


def main(files):
    if files:
        lines = [json.loads(line) for name in files for line in pathlib.Path(name).read_text().splitlines() if line]
        sys.stdout.write(table([row for line in lines for row in rows(line, whose(line["bench"]))]))
        return 0
    cells, well = [], True
    for bench in benches():
        found, good = run(*bench)
        cells += found
        well = well and good
    sys.stdout.write("\n" + table(cells))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
