"""What counting its requests costs a web service: gunicorn with 4 workers under load, as it is, with
dwell's middleware, and with prometheus_client in multiprocess mode. One JSON line each; exit status 1 when
dwell's throughput is below LIMIT of the plain one, or not above prometheus_client's.

All three servers run all the time, and are loaded in turns, in another order each round: the ratio is the
median of ratios within a round, so that what else the machine does meets all. The load is wrk where it is
installed (Debian's package), else processes of this script. `--rounds N`, `--seconds N`, `--workers N`,
`--class sync|gthread`.

Beside the throughput: the CPU time that a request takes in the server's processes (dwell's with the
daemon's), which hardly depends on what else the machine does; their memory (proportional set size), and how
long a scrape takes.
"""
import argparse
import http.client
import importlib.util
import json
import multiprocessing
import os
import pathlib
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(ROOT / "client/python"), str(ROOT / "tests/integration")]
from harness import Daemon, environment, until  # noqa: E402

LIMIT = 0.97
CONNECTIONS = 8
SCRAPES = 20
LOADED = "/hello"


class Server:
    """gunicorn with one variant of the application."""

    def __init__(self, variant, options, directory, daemon):
        self.variant = variant
        self.extra_pids = [daemon.pid] if variant == "dwell" else []
        multiproc = pathlib.Path(directory) / variant
        multiproc.mkdir()
        more = {"PROMETHEUS_MULTIPROC_DIR": str(multiproc)} if variant == "prometheus" else {}
        self.process = subprocess.Popen(
            [sys.executable, "-B", "-m", "gunicorn", "--bind", "127.0.0.1:0",
             "--workers", str(options.workers), "--worker-class", options.kind,
             "--threads", "1" if options.kind == "sync" else "4", "gunicorn_apps:app"],
            cwd=HERE, stderr=subprocess.PIPE, text=True,
            env=environment(VARIANT=variant, DWELL_DIR=str(daemon.directory),
                            PYTHONPATH=str(ROOT / "client/python"), **more))
        self.port = None
        for line in self.process.stderr:
            if found := re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found.group(1))
                break
        assert self.port, f"gunicorn did not start: {variant}"
        until(lambda: len(self.workers()) == options.workers, "all workers are there")
        self.get(LOADED)

    def workers(self):
        return [int(pid) for pid in pathlib.Path(
            f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200, (path, answer.status)
        return body

    def cpu_s(self):
        """CPU time so far, of all its processes."""
        ticks = 0
        for pid in [self.process.pid, *self.workers(), *self.extra_pids]:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_mb(self):
        total = 0
        for pid in [self.process.pid, *self.workers(), *self.extra_pids]:
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+) kB", text, re.M).group(1))
        return total / 1024

    def scrape_ms(self):
        took = []
        for _ in range(SCRAPES):
            start = time.perf_counter()
            assert b"http_requests_total{" in self.get("/metrics")
            took.append(1000 * (time.perf_counter() - start))
        return statistics.median(took)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.process.stderr.close()


def wrk(port, seconds):
    """Requests a second."""
    done = subprocess.run(["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s",
                           f"http://127.0.0.1:{port}{LOADED}"], capture_output=True, text=True, check=True)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout).group(1))


def ask_on(port, until_s, answered):
    count = 0
    while time.monotonic() < until_s:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", LOADED)
        connection.getresponse().read()
        connection.close()
        count += 1
    answered.put(count)


def processes(port, seconds):
    """The same by processes of our own, which take more of the machine than wrk."""
    answered = multiprocessing.Queue()
    until_s = time.monotonic() + seconds
    askers = [multiprocessing.Process(target=ask_on, args=(port, until_s, answered))
              for _ in range(CONNECTIONS)]
    for asker in askers:
        asker.start()
    total = sum(answered.get() for _ in askers)
    for asker in askers:
        asker.join()
    return total / seconds


def measure(servers, options):
    """Over the rounds, after one that does not count: the load's name, {variant: [requests a second, …]},
    and {variant: CPU microseconds a request}."""
    load = wrk if shutil.which("wrk") else processes
    rates = {server.variant: [] for server in servers}
    spent_s = dict.fromkeys(rates, 0.0)
    for number in range(options.rounds + 1):
        order = servers[:]
        random.shuffle(order)
        for server in order:
            began_s = server.cpu_s()
            rate = load(server.port, options.seconds)
            if number:
                rates[server.variant].append(rate)
                spent_s[server.variant] += server.cpu_s() - began_s
    cpu_us = {variant: 1e6 * spent_s[variant] / (sum(rates[variant]) * options.seconds)
              for variant in rates}
    return load.__name__, rates, cpu_us


def ratio(rates, variant, to):
    return statistics.median(mine / other for mine, other in zip(rates[variant], rates[to]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--class", dest="kind", default="sync", choices=("sync", "gthread"))
    options = parser.parse_args()
    if importlib.util.find_spec("gunicorn") is None:
        print("python_gunicorn: skipped, as gunicorn is not installed", file=sys.stderr)
        return 0
    variants = ["plain", "dwell"]
    if importlib.util.find_spec("prometheus_client") is not None:
        variants.append("prometheus")
    daemon, servers = Daemon(), []
    with tempfile.TemporaryDirectory(prefix="dwell-bench-") as directory:
        try:
            for variant in variants:
                servers.append(Server(variant, options, directory, daemon))
            load, rates, cpu_us = measure(servers, options)
            memory = {server.variant: server.memory_mb() for server in servers}
            scrape = {server.variant: server.scrape_ms() for server in servers if server.variant != "plain"}
            dropped = daemon.metrics().get("dwelld_client_dropped_total", 0, client="dwell-python/0.1.0")
            assert dropped == 0, f"{dropped} records were dropped"
        finally:
            for server in servers:
                server.stop()
            daemon.stop()
    failed = False
    for variant in variants:
        line = {"bench": "python_gunicorn",
                "client": "prometheus_client" if variant == "prometheus" else "python",
                "what": f"{options.workers} {options.kind} workers, {variant}",
                "ns": round(1e9 / statistics.median(rates[variant])),
                "requests_per_s": round(statistics.median(rates[variant])),
                "ratio": round(ratio(rates, variant, "plain"), 4), "ratio_to": "plain", "load": load,
                "cpu_us": round(cpu_us[variant], 1),
                "cpu_ratio": round(cpu_us["plain"] / cpu_us[variant], 4),
                "memory_mb": round(memory[variant], 1)}
        if variant in scrape:
            line["scrape_ms"] = round(scrape[variant], 2)
        if variant == "dwell":
            line["limit_ratio"] = LIMIT
            failed = failed or ratio(rates, "dwell", "plain") < LIMIT
            if "prometheus" in rates:
                line["ratio_to_prometheus_client"] = round(ratio(rates, "dwell", "prometheus"), 4)
                failed = failed or ratio(rates, "dwell", "prometheus") <= 1
        print(json.dumps(line), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
