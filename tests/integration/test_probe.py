"""What the daemon sees by itself of a process that sends samples with evidence: this one. Its threads wait for a lock
or for a pipe, stream through memory or compute, and say only what their own clocks show."""
import datetime
import hashlib
import os
import select
import threading
import time
import unittest

from harness import DaemonCase, sanitized, until

RUNS_ALONE = True  # what it sees are this machine's CPUs and memory

QUICK = {"profiling.round_ms": 250}
LONG_MS = 60  # of an inference that waits: longer than looks are apart
MEMORY = 96 << 20


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


class Model(threading.Thread):
    """A thread that runs one model again and again and reports each inference, until it is told to end."""

    def __init__(self, case, daemon, name, infer):
        super().__init__(daemon=True)
        self.case, self.peer, self.model, self.infer = case, daemon.peer(), name, infer
        self.ended = threading.Event()
        case.addCleanup(self.end)
        self.start()

    def run(self):
        while not self.ended.is_set():
            cpu, process, began = time.thread_time(), time.process_time(), time.monotonic()
            self.infer()
            wall = (time.monotonic() - began) * 1e3
            self.report({
                "model_name": self.model, "execution_time_ms": wall, "timestamp": now(),
                "thread_id": threading.get_native_id(), "user_ms": min((time.thread_time() - cpu) * 1e3, wall),
                "system_ms": 0, "process_cpu_ms": (time.process_time() - process) * 1e3})

    def report(self, sample):
        try:
            self.peer.records(sample)
        except OSError:  # the daemon has ended
            self.ended.set()

    def end(self):
        self.ended.set()
        self.join()
        self.peer.close()


class TestProbe(DaemonCase):
    def explanation(self, daemon, name):
        answer = daemon.get(f"/api/v1/models/{name}")
        return answer.json["explanation"] if answer.status == 200 else None

    def wait_seen(self, daemon, name, holds, what):
        """The explanation of a model once something holds of it."""
        def look():
            explanation = self.explanation(daemon, name)
            return explanation if explanation is not None and holds(explanation) else None
        return until(look, what)

    def start_model(self, daemon, name, infer):
        return Model(self, daemon, name, infer)

    def test_probe_tells_a_lock_from_a_pipe(self):
        daemon = self.start(sets=QUICK)
        lock = threading.Lock()
        lock.acquire()
        ends = os.pipe()
        self.addCleanup(lambda: [os.close(end) for end in ends])
        self.start_model(daemon, "lock", lambda: lock.acquire(timeout=LONG_MS / 1e3))
        self.start_model(daemon, "pipe", lambda: select.select([ends[0]], [], [], LONG_MS / 1e3))
        for name, seen, other in (("lock", "futex", "waits"), ("pipe", "waits", "futex")):
            def is_so(said, seen=seen, other=other):
                looks = said["evidence"]["looks"]
                return sum(looks.values()) >= 10 and looks[seen] > 3 * looks[other]
            self.wait_seen(daemon, name, is_so, f"there are looks at {name}, and they see it wait for {seen}")
        until(lambda: daemon.get("/api/v1/models/lock").json["analysis"]["rule"] == "lock", "it is seen that it waits for a lock")
        until(lambda: daemon.get("/api/v1/models/pipe").json["analysis"]["bottleneck_type"] == "io_bound",
              "it is seen that it waits for input")
        metrics = daemon.metrics()
        self.assertGreater(metrics["dwelld_probe_looks_total"], 20)
        self.assertIn(metrics["dwelld_probe_look_hertz"], (1, 2, 5, 10, 20))

    @unittest.skipIf(sanitized(), "a reference that is slowed by a sanitizer says nothing")
    def test_probe_tells_memory_from_computing(self):
        memory = b"\1" * MEMORY  # zeros would be one page, again and again
        cases = {"stream": (lambda: memory.find(b"x"), lambda touch: touch > 0.4),
                 "compute": (lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 20000), lambda touch: touch < 0.2)}

        def touch(said):
            return said["evidence"]["touch_sum"] / said["evidence"]["touch_probes"]
        for name, (infer, is_so) in cases.items():
            daemon = self.start(sets=QUICK)  # one model a process at a time: memory is the process's
            model = self.start_model(daemon, name, infer)
            # A round in which something else had the CPU, and filled its cache, may say otherwise.
            said = self.wait_seen(daemon, name, lambda said, is_so=is_so: said["evidence"]["touch_probes"] >= 2 and is_so(touch(said)),
                                  f"{name} is probed, and is what it is")
            self.assertGreater(said["machine"]["bandwidth_bytes"], 1e8)
            # Read once a second: a round may have none.
            self.wait_seen(daemon, name, lambda said: said["evidence"]["seen_ms"] > 0, f"{name} is read")
            model.end()

    def test_probe_that_is_off_sees_nothing(self):
        daemon = self.start(sets={**QUICK, "profiling.probe": "off"})
        self.start_model(daemon, "m", lambda: time.sleep(0.005))
        said = self.wait_seen(daemon, "m", lambda said: said["rounds"] >= 2, "two rounds are judged")
        self.assertEqual(sum(said["evidence"]["looks"].values()), 0)
        self.assertEqual(said["evidence"]["seen_ms"], 0)
        self.assertEqual(daemon.metrics()["dwelld_probe_looks_total"], 0)
        threads = os.listdir(f"/proc/{daemon.pid}/task")
        self.assertLessEqual(len(threads), 2)  # the loop's, HTTP's

    def test_probe_does_not_touch_what_is_too_large(self):
        daemon = self.start(sets={**QUICK, "profiling.touch_probe_max_mb": 1})
        self.start_model(daemon, "m", lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 20000))
        self.wait_seen(daemon, "m", lambda said: said["evidence"]["seen_ms"] > 0, "the process is read")
        touches = daemon.metrics()["dwelld_probe_touches_total"]
        rounds = self.explanation(daemon, "m")["rounds"]
        self.wait_seen(daemon, "m", lambda said: said["rounds"] >= rounds + 8, "more rounds are judged")
        self.assertEqual(touches + daemon.metrics()["dwelld_probe_touches_total"], 0)

    def test_probe_ends_with_the_daemon(self):
        daemon = self.start(sets=QUICK)
        self.start_model(daemon, "m", lambda: hashlib.pbkdf2_hmac("sha256", b"", b"", 20000))
        until(lambda: daemon.metrics()["dwelld_probe_looks_total"] > 0, "there are looks")
        daemon.stop()


if __name__ == "__main__":
    unittest.main()
