#!/usr/bin/python3
"""Does it stay as it is, for as long as it runs? Many samples from connections that come and go, reloads, scrapers:
memory must not grow, and every sample be accounted for.

    make soak [SOAK_MINUTES=20] [ARGS='--rate 500000 --connections 64']

    1. senders   processes whose connections each live for a while, send numbered batches, ask for the number of
                 records applied, and go; all together so many samples a second
    2. beside    SIGHUP every five seconds, four scrapers every second, the daemon's memory every second
    3. warm-up   a fifth of the time, in which the profile's window fills: until then memory is allowed to grow
    4. the end   what the senders say they sent is compared with the daemon's account, and memory with a line
                 through it

Prints one JSON line. Exit status 1 when a sample is unaccounted for or lost, memory has a slope, a reload or scrape
failed, or the machine did not get LEAST_RATE of the samples through.
What can fail: a sender that the daemon refuses or cuts off ends with its error, and so does the run.
"""
import argparse
import json
import multiprocessing
import os
import pathlib
import platform
import random
import signal
import socket
import sys
import threading
import time

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))
import wire  # noqa: E402
from harness import Daemon  # noqa: E402

SENDERS = 4  # processes
BATCH = 1000  # samples of a frame, some 30 kB
MODELS = 32
SCRAPERS = 4
RELOAD_S = 5
LIFE_S = (0.5, 10)  # of a connection
GROWTH_KB = 1024  # over all of the time that is measured: less than a model, more than an allocator's whim
LEAST_RATE = 0.9


class Client:
    """One connection: numbers its samples, and goes when its time has come."""

    def __init__(self, path, chance, body):
        self.id = chance.randbytes(16)
        self.ends = time.monotonic() + chance.uniform(*LIFE_S)
        self.body = body
        self.sent = 0
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.sendall(wire.MAGIC)

    def send(self):
        head = wire.batch(client_id=self.id, first_sequence=self.sent)
        self.socket.sendall(wire.frame(head + self.body))
        self.sent += BATCH

    def leave(self):
        """The daemon must have applied all of it."""
        self.socket.sendall(wire.frame(wire.batch(client_id=self.id, first_sequence=self.sent, flush=True, goodbye=self.sent)))
        self.socket.shutdown(socket.SHUT_WR)
        answer = b""
        while got := self.socket.recv(65536):
            answer += got
        self.socket.close()
        applied = wire.read_replies(answer)
        assert applied == [{"flushed": self.sent}], f"sent {self.sent}, answered {applied}"
        return self.sent


def send(path, seed, connections, rate, seconds, total, count):
    """One sender: so many connections at a time, so many samples a second."""
    chance = random.Random(seed)
    samples = [wire.sample(model_name=f"model-{i % MODELS}", execution_time_ms=1 + chance.random() * 50, cpu_percent_during=50.0)
               for i in range(BATCH)]
    body = wire.batch(samples)
    clients = [Client(path, chance, body) for _ in range(connections)]
    came, sent, began = connections, 0, time.monotonic()
    while (now := time.monotonic()) < began + seconds:
        due = began + sent / rate
        if due > now:
            time.sleep(due - now)
        at = chance.randrange(connections)
        clients[at].send()
        sent += BATCH
        if time.monotonic() > clients[at].ends:
            clients[at].leave()
            clients[at] = Client(path, chance, body)
            came += 1
    for client in clients:
        client.leave()
    with total.get_lock():
        total.value += sent
    with count.get_lock():
        count.value += came


class Scraper(threading.Thread):
    def __init__(self, daemon, over):
        super().__init__(daemon=True)
        self.target, self.over = daemon, over
        self.scrapes, self.failed, self.slowest_ms = 0, 0, 0.0

    def run(self):
        while not self.over.wait(1):
            began = time.monotonic()
            try:
                self.failed += self.target.request("GET", "/metrics").status != 200
            except OSError:
                self.failed += 1
            self.scrapes += 1
            self.slowest_ms = max(self.slowest_ms, (time.monotonic() - began) * 1000)


def slope(points):
    """Of a line through (x, y), by least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def watch(daemon, senders, minutes):
    """Memory every second, a reload every five. Returns [(seconds, kB)] and the number of reloads."""
    memory, reloads, began = [], 0, time.monotonic()
    while any(sender.is_alive() for sender in senders):
        for sender in senders:
            sender.join(1 / len(senders))
        passed = time.monotonic() - began
        memory.append((passed, daemon.resident_kb()))
        if passed // RELOAD_S > reloads:
            reloads += 1
            daemon.send_signal(signal.SIGHUP)
        if passed > minutes * 60 + 60:
            raise SystemExit("soak: the senders do not come to an end")
    return memory, reloads


def options():
    parser = argparse.ArgumentParser(prog="soak.py", description="Runs the daemon under load for long.")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rate", type=int, default=500000, help="samples a second")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seed", type=int, default=random.randrange(2 ** 32))
    return parser.parse_args()


def judge(result):
    return (result["unaccounted"] == 0 and result["lost"] == 0 and result["rejected"] == 0 and result["failed_scrapes"] == 0
            and result["reloads_done"] == result["reloads"] and abs(result["growth_kb"]) <= GROWTH_KB
            and result["samples_a_second"] >= LEAST_RATE * result["rate"])


def main():
    args = options()
    seconds = args.minutes * 60
    window_s = max(6, min(60, int(seconds / 10)))  # full before warm-up is over, from a minute on
    print(f"soak: seed {args.seed}", file=sys.stderr)
    daemon = Daemon(sets={"profiling.window_seconds": window_s})
    total, count = multiprocessing.Value("Q", 0), multiprocessing.Value("Q", 0)
    senders = [multiprocessing.Process(target=send, daemon=True, args=(
        daemon.ingest, args.seed + i, args.connections // SENDERS, args.rate / SENDERS, seconds, total, count))
        for i in range(SENDERS)]
    began = time.monotonic()
    for sender in senders:
        sender.start()
    over = threading.Event()
    scrapers = [Scraper(daemon, over) for _ in range(SCRAPERS)]
    for scraper in scrapers:
        scraper.start()
    memory, reloads = watch(daemon, senders, args.minutes)
    took = time.monotonic() - began
    over.set()
    for scraper in scrapers:
        scraper.join()
    ledger, metrics = daemon.status()["ledger"], daemon.metrics()
    warm = [(at, kb) for at, kb in memory if at >= seconds / 5]
    if any(sender.exitcode != 0 for sender in senders) or len(warm) < 3:
        raise SystemExit("soak: a sender failed, or the time is too short for a line")
    kb_a_second = slope(warm)
    daemon.stop()
    done = sum("configuration reloaded" in line for line in daemon.log)
    result = {
        "bench": "soak", "machine": {"cpus": os.cpu_count(), "kernel": platform.release()}, "seed": args.seed,
        "minutes": args.minutes, "rate": args.rate, "connections": args.connections, "connections_in_all": count.value,
        "sent": total.value, "samples_a_second": round(total.value / took),
        "unaccounted": total.value - ledger["sent"], "lost": ledger["lost"] + ledger["dropped"],
        "rejected": sum(ledger["rejected"].values()), "waiting": int(metrics["dwelld_waiting_connections"]),
        "reloads": reloads, "reloads_done": done,
        "scrapes": sum(scraper.scrapes for scraper in scrapers), "failed_scrapes": sum(scraper.failed for scraper in scrapers),
        "slowest_scrape_ms": round(max(scraper.slowest_ms for scraper in scrapers), 1),
        "lag_max_ms": round(metrics["dwelld_loop_lag_max_seconds"] * 1000, 1),
        "warm_kb": warm[0][1], "end_kb": warm[-1][1], "memory_ratio": round(warm[-1][1] / warm[0][1], 4),
        "slope_kb_a_minute": round(kb_a_second * 60, 2), "growth_kb": round(kb_a_second * (warm[-1][0] - warm[0][0])),
        "growth_kb_limit": GROWTH_KB,
    }
    result["ok"] = judge(result)
    print(json.dumps(result))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
