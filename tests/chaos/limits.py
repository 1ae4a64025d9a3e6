"""Faults of what the system gives: descriptors, memory, time."""
import datetime
import os
import pathlib
import re
import resource
import signal
import struct
import subprocess

from harness import sanitized

DAY_S = 86400
MEMORY_STEP = 256 * 1024
NAMES_MAX = 200000  # of series, by which the memory must be used up
HERE = pathlib.Path(__file__).resolve().parent


# ---- descriptors ----

def exhaust_descriptors(world):
    daemon = world.daemon
    before = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir(f"/proc/{daemon.pid}/fd"))
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (highest + 3, before[1]))
    waiting = [daemon.peer() for _ in range(30)]
    daemon.wait_log(r"cannot accept connections: Too many open files")
    world.go_on()
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, before)
    world.over()
    for peer in waiting:
        peer.records({"model_name": "waited", "execution_time_ms": 1}).end()
        assert peer.lines() == []
        peer.close()
    assert daemon.sample_count("waited") == len(waiting)


# ---- memory ----

def memory_hindrance():
    return "a sanitizer needs more than any limit" if sanitized() else None


def exhaust_memory(world):
    daemon = world.daemon
    status = pathlib.Path(f"/proc/{daemon.pid}/status").read_text(encoding="ascii")
    size = int(re.search(r"VmSize:\s+(\d+) kB", status).group(1)) * 1024
    before = resource.prlimit(daemon.pid, resource.RLIMIT_AS)
    resource.prlimit(daemon.pid, resource.RLIMIT_AS, (size + MEMORY_STEP, before[1]))
    refused = 0
    with daemon.peer() as peer:
        for number in range(0, NAMES_MAX, 100):
            peer.records(*({"type": "counter", "name": f"hog.{number // 10000}", "value": 1, "attributes": {"number": at}}
                           for at in range(number, number + 100)), {"type": "flush"})
            while "flushed" not in (answer := peer.line()):
                assert answer["reason"] == "out_of_memory", answer
                refused += 1
            if refused:
                break
    assert refused, "the limit was never felt"
    resource.prlimit(daemon.pid, resource.RLIMIT_AS, before)
    world.over()
    assert daemon.rejected()["out_of_memory"] >= refused


# ---- time ----

def clock_hindrance():
    return "a sanitizer wants to be loaded first" if sanitized() else None


def clock_options(world):
    """A daemon with our clock in front of the system's, which shows the time that a file says."""
    library = world.base / "clock_shim.so"
    done = subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, HERE / "clock_shim.c"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (world.base / "offset").write_bytes(bytes(8))
    return {"env": {"LD_PRELOAD": str(library), "DWELL_CLOCK_OFFSET": str(world.base / "offset")}}


def write_offset(world, seconds):
    with open(world.base / "offset", "r+b") as file:  # never shorter meanwhile: it is mapped
        file.write(struct.pack("<q", seconds))


def logged_date(world):
    """The date of the line that a reload writes."""
    after = len(world.daemon.log)
    world.daemon.send_signal(signal.SIGHUP)
    return world.daemon.wait_log(r"(\d{4}-\d\d-\d\d)T\S+ info SIGHUP: configuration reloaded", after).group(1)


def dates(seconds):
    """Today's, shifted; two around midnight."""
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return {(now - datetime.timedelta(minutes=1)).date().isoformat(), now.date().isoformat()}


def step_clock(world):
    daemon = world.daemon
    for seconds in (DAY_S, 0, -DAY_S, 0):
        before, uptime_s = daemon.models()["chaos-0"], daemon.status()["uptime_seconds"]
        write_offset(world, seconds)
        world.go_on()
        after = daemon.models()["chaos-0"]
        assert after["window"] == before["window"] == "300s", after["window"]
        assert after["sample_count"] > before["sample_count"], "the window has jumped"
        assert 0 <= daemon.status()["uptime_seconds"] - uptime_s < DAY_S / 2
        assert logged_date(world) in dates(seconds), "the shim does not move the clock"
