"""Faults of the export: its disk, its collector."""
import resource
import signal
import subprocess

import disk
from harness import BUILD, until

NOBODY = "http://127.0.0.1:1"
SINK = BUILD / "tests/bench/otlp_sink"
SPANS = 200


def hindrance():
    if not (BUILD / "dwell_otlp_insecure.so").exists():
        return "the daemon was built without gRPC"
    return None


# ---- spans ----

def send_spans(world, count=SPANS):
    """Spans of some 700 bytes; all are taken when it returns."""
    def span():
        begin = world.random.randrange(1 << 60)
        return {"type": "span", "name": "chaos", "trace_id": world.random.randbytes(16).hex(),
                "span_id": world.random.randbytes(8).hex(), "start_time_unix_nano": begin,
                "end_time_unix_nano": begin + 1000, "attributes": {"text": world.random.randbytes(250).hex()}}
    assert world.daemon.send(*(span() for _ in range(count))) == []


def account(world):
    """That of traces, which must close at every moment."""
    found = world.daemon.status()["export"]["traces"]
    parts = sum(found[term] for term in ("exported", "held", "waiting", "in_flight", "spooled"))
    assert found["accepted"] == parts + sum(found["dropped"].values()), found
    return found


# ---- the disk ----

def spool_options(world):
    return {"sets": {"otlp.endpoint": NOBODY, "otlp.metrics": False, "otlp.spool_directory": world.base / "spool",
                     "otlp.schedule_delay_ms": 50, "otlp.spool_after_ms": 100, "shutdown.timeout_ms": 500}}


def disk_hindrance():
    return hindrance() or disk.hindrance()


def small_disk(world):
    """The spool is a disk of its own, seen by the daemon only, and full."""
    return {**spool_options(world), "wrapper": disk.disk_of_its_own(world.base / "spool")}


def must_fail_and_go_on(world):
    """The spool cannot write, and nobody but the log notices."""
    send_spans(world)
    until(lambda: account(world)["spool_failures"] > 0, "the spool has failed")
    world.go_on()
    send_spans(world)
    found = account(world)
    assert found["spool_works"] == 0 and found["spooled"] == 0, found


def must_work_again(world):
    world.over()
    world.recover()
    until(lambda: account(world)["spool_works"] == 1 and account(world)["spooled"] > 0, "the spool works again")
    assert sum(account(world)["dropped"].values()) == 0, account(world)


def fill_disk(world):
    with disk.fill(f"/proc/{world.daemon.pid}/root{world.base}/spool/ballast"):
        must_fail_and_go_on(world)
    must_work_again(world)


def limit_files(world):
    before = resource.prlimit(world.daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(world.daemon.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    must_fail_and_go_on(world)
    resource.prlimit(world.daemon.pid, resource.RLIMIT_FSIZE, before)
    must_work_again(world)


# ---- the collector ----

class Collector:
    def __init__(self, port=0):
        self.process = subprocess.Popen([SINK, f"127.0.0.1:{port}", "--count"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        word, number = self.process.stdout.readline().split()
        assert word == "port"
        self.port = int(number)

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.communicate()

    def spans(self):
        """Ends it in order; how many it took."""
        said, _ = self.process.communicate()
        word, number = said.split()
        assert word == "spans"
        return int(number)


def collector_hindrance():
    return hindrance() or (None if SINK.exists() else f"{SINK.name} was not built")


def collector_options(world):
    world.collector = Collector()
    world.on_exit(world.collector.kill)
    return {"sets": {"otlp.endpoint": f"http://127.0.0.1:{world.collector.port}", "otlp.metrics": False,
                     "otlp.schedule_delay_ms": 50, "shutdown.timeout_ms": 2000}}


def kill_collector(world):
    send_spans(world)
    until(lambda: account(world)["exported"] == SPANS, "the collector has all")
    world.collector.kill()
    send_spans(world)
    until(lambda: account(world)["failures"] > 0, "it is missed")
    second = Collector(world.collector.port)
    world.on_exit(second.kill)
    world.over()
    until(lambda: account(world)["exported"] == 2 * SPANS, "the next one has the rest")
    assert sum(account(world)["dropped"].values()) == 0, account(world)
    assert second.spans() == SPANS
