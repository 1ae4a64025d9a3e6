"""A restart without loss: what was counted goes on, by SIGTERM and by kill -9, and no file can stop a start."""
import json
import os
import pathlib
import random
import resource
import shutil
import subprocess
import sys
import unittest

import wire
from harness import OPENMETRICS, PROTOBUF, WAIT_S, DaemonCase, run, until

UNAVAILABLE = 69
IS_ROOT = os.geteuid() == 0

# Of the process, not of what was counted.
OF_THE_PROCESS = ("acgs2_service_info", "dwelld_connections", "dwelld_http_errors_total", "dwelld_loop_lag_",
                  "dwelld_probe_look_hertz", "dwelld_processes", "dwelld_resident_memory_bytes", "dwelld_scrapes_total",
                  "dwelld_snapshot_", "dwelld_state_")


def counted(exposition):
    """{series: value} of everything that a restart may not change; NaN as text, for it equals nothing."""
    return {key: repr(value) for key, value in exposition.values.items() if not key[0].startswith(OF_THE_PROCESS)}


def trace(number):
    return {"trace_id": f"{number:032x}", "span_id": f"{number:016x}"}


RECORDS = (
    [{"model_name": "plain", "execution_time_ms": 0.1 * i, "cpu_percent_during": 40.0 + i % 3} for i in range(1, 200)]
    + [{"model_name": "full", "execution_time_ms": 12.5, "cpu_percent_during": 80, "memory_mb_after": 20, "queue_ms": 1.5,
        "batch_size": 4, "device": "cuda:0", "labels": {"tier": tier}, "error": True, **trace(7)} for tier in ("gold", "tin")]
    + [{"type": "counter", "name": "jobs", "value": 2.5, "attributes": {"queue": "é \"\\"}, **trace(8)},
       {"type": "gauge", "name": "depth", "value": "NaN"},
       {"type": "gauge", "name": "level", "value": -3.25},
       {"type": "gauge", "name": "workers", "delta": 4, "attributes": {"pool": "a"}},
       {"type": "info", "name": "release", "attributes": {"commit": "abc"}},
       {"type": "budget", "layer": "layer3_policy", "elapsed_ms": 12.5},
       {"type": "budget", "layer": "unheard of", "elapsed_ms": 3},
       {"type": "budget", "layer": "total", "elapsed_ms": 51},
       {"type": "span", "name": "call", "start_time_unix_nano": 1, "end_time_unix_nano": 5000001, **trace(9)}]
    + [{"type": "histogram", "name": "size", "value": 1.5 ** i, "unit": "bytes", **trace(i + 1)} for i in range(-30, 30, 3)]
    + [{"type": "histogram", "name": "drift", "value": -i} for i in range(5)])

STATSD = "page.views:3|c|@0.5|#path:/\nusers:ada|s\nusers:grace|s\nusers:ada|s\n"


def numbered(client, first, count, dropped=0):
    """The frames of a client that numbers its records."""
    records = [wire.sample(model_ref=1, execution_time_ms=5.0)] * count
    hello = wire.batch(hello_message=wire.hello(client="test/1"), client_id=client, first_sequence=first, dropped=dropped)
    return wire.MAGIC + wire.frame(hello) + wire.frame(
        wire.batch(records, strings=["numbered"], client_id=client, first_sequence=first, dropped=dropped))


class StateCase(DaemonCase):
    def setUp(self):
        super().setUp()
        self.place = self.directory()
        self.file = self.place / "state"
        self.aside = self.place / "state.damaged"

    def begin(self, *arguments, sets=None, **options):
        return self.start(*arguments, sets={"state.file": self.file, "profiling.label_keys": ["tier"], **(sets or {})}, **options)

    def fill(self, daemon):
        daemon.send_raw(b"".join(json.dumps(record).encode() + b"\n" for record in [*RECORDS, {"model_name": 5}]))
        daemon.send_raw(STATSD)
        daemon.send_raw(numbered(b"c" * 16, 0, 10))
        daemon.send_raw(numbered(b"c" * 16, 17, 3, dropped=4))

    def must_be_saved(self, daemon):
        """Everything that has been applied so far is on the disk."""
        saves = daemon.metrics()["dwelld_state_saves_total"]
        failures = daemon.metrics()["dwelld_state_save_failures_total"]
        daemon.send({"model_name": "last", "execution_time_ms": 1})
        accepted = daemon.accepted()
        until(lambda: daemon.metrics()["dwelld_state_saves_total"] >= saves + 2, "two saves since")
        self.assertEqual(daemon.metrics()["dwelld_state_save_failures_total"], failures)
        return accepted

    def must_be_set_aside(self, content, says, **options):
        """A file of this content stops nothing, counts for nothing, and is kept."""
        if content is not None:
            self.file.write_bytes(content)
            self.file.chmod(0o600)
        daemon = self.begin(**options)
        daemon.wait_log(says)
        daemon.wait_log(r"set aside as .*/state\.damaged")
        metrics = daemon.metrics()
        self.assertEqual(metrics["dwelld_state_damaged_files_total"], 1)
        self.assertEqual(metrics.get("dwelld_records_total", outcome="accepted", reason=""), 0)
        if content is not None:
            self.assertEqual(self.aside.read_bytes(), content)
        return daemon


class TestStateGoesOn(StateCase):
    def test_state_goes_on_after_a_stop(self):
        first = self.begin()
        self.fill(first)
        before, models = first.metrics(OPENMETRICS), first.get("/api/v1/models").json
        budgets, ledger = first.get("/api/v1/budgets").json, first.status()["ledger"]
        native = first.get("/metrics", Accept=PROTOBUF).body.count(b"drift")
        first.stop()
        self.assertEqual(oct(self.file.stat().st_mode & 0o7777), oct(0o600))
        second = self.begin()
        second.wait_log(r"state\.file: \d+ models and \d+ series go on from .*, of \d+\.\d s ago$")
        after = second.metrics(OPENMETRICS)
        self.assertEqual(counted(after), counted(before))
        self.assertEqual(after.exemplars, before.exemplars)
        self.assertEqual((after.types, after.helps, after.units), (before.types, before.helps, before.units))
        self.assertEqual(second.get("/api/v1/models").json, models)
        self.assertEqual(second.get("/api/v1/budgets").json, budgets)
        self.assertEqual(second.status()["ledger"], ledger)
        self.assertEqual(second.get("/metrics", Accept=PROTOBUF).body.count(b"drift"), native)
        self.assertGreater(after["dwelld_scrapes_total"], before["dwelld_scrapes_total"])
        self.assertEqual(after["dwelld_state_left_out_total"], 0)
        self.assertEqual(len(after.series("acgs2_service_info")), 1)

    def test_state_counts_on_where_it_was(self):
        first = self.begin()
        self.fill(first)
        before = first.metrics()
        first.stop()
        second = self.begin()
        self.fill(second)
        after = second.metrics()
        for name, labels in (("jobs_total", {"queue": "é \"\\"}), ("size_bytes_count", {}), ("acgs2_budget_requests_total", {"layer": "total"}),
                             ("acgs2_model_inference_total", {"model_name": "plain"}), ("page_views_total", {"path": "/"})):
            self.assertEqual(after.get(name, **labels), 2 * before.get(name, **labels), name)
        self.assertEqual(after["users"], 2)
        self.assertEqual(second.get("/api/v1/budgets").json["layers"]["layer3_policy"]["count"], 2)

    def test_state_closes_the_ledger_over_a_restart(self):
        first = self.begin()
        first.send_raw(numbered(b"l" * 16, 0, 10))
        first.stop()
        second = self.begin()
        second.send_raw(numbered(b"l" * 16, 5, 5))  # a repetition is known as one
        second.send_raw(numbered(b"l" * 16, 14, 6, dropped=1))
        ledger = second.status()["ledger"]
        self.assertEqual({term: ledger[term] for term in ("sent", "accepted", "dropped", "lost")},
                         {"sent": 20, "accepted": 16, "dropped": 1, "lost": 3})

    def test_state_survives_a_kill(self):
        first = self.begin(sets={"state.interval_ms": 100})
        self.fill(first)
        accepted = self.must_be_saved(first)
        before = first.metrics()
        first.kill()
        second = self.begin()
        self.assertEqual(counted(second.metrics()), counted(before))
        self.assertEqual(second.accepted(), accepted)

    def test_state_keeps_nothing_that_reset_has_forgotten(self):
        first = self.begin()
        first.send({"model_name": "m", "execution_time_ms": 5})
        self.assertEqual(first.reset(), 1)
        first.stop()
        second = self.begin()
        self.assertEqual(second.models(), {})
        self.assertEqual(second.metrics().get("acgs2_model_inference_total", model_name="m"), 1)

    def test_state_without_a_file_writes_none(self):
        daemon = self.start()
        daemon.send({"model_name": "m", "execution_time_ms": 5})
        self.assertEqual(daemon.metrics()["dwelld_state_saves_total"], 0)

    def test_state_is_not_written_again_when_nothing_has_come(self):
        daemon = self.begin(sets={"state.interval_ms": 100, "log.level": "debug"})
        with daemon.peer() as peer:
            peer.records({"model_name": "m", "execution_time_ms": 5}).flush()
            until(self.file.exists, "the first save")
            daemon.wait_log("nothing has come since it was saved")
            before = self.file.stat()
            daemon.wait_log("nothing has come since it was saved", after=len(daemon.log))
            self.assertEqual(self.file.stat(), before)
            peer.records({"model_name": "m", "execution_time_ms": 5}).flush()
            until(lambda: self.file.stat().st_ino != before.st_ino, "the next save")


class TestStateKilled(StateCase):
    LIVES = 8

    def test_state_is_whole_whenever_it_is_killed(self):
        """Killed while it saves, again and again: what goes on is never more than was sent, never less than was saved
        the last time, and the ledger closes."""
        seed = int(os.environ.get("DWELL_TEST_SEED", "24301"))
        print(f"kills: seed {seed}")
        chance = random.Random(seed)
        client, sent, least = b"k" * 16, 0, 0
        for life in range(self.LIVES):
            daemon = self.begin(sets={"state.interval_ms": 100})
            ledger = daemon.status()["ledger"]
            self.assertEqual(ledger["sent"], ledger["accepted"] + ledger["lost"])
            self.assertLessEqual(ledger["sent"], sent)
            self.assertGreaterEqual(ledger["sent"], least)
            self.assertEqual(daemon.metrics()["dwelld_state_damaged_files_total"], 0)
            for _ in range(chance.randrange(1, 30)):
                daemon.send_raw(numbered(client, sent, 100))
                sent += 100
            saves = daemon.metrics()["dwelld_state_saves_total"]
            if life % 2 == 0:
                until(lambda: daemon.metrics()["dwelld_state_saves_total"] >= saves + 2, "two saves since")
                least = sent
            daemon.kill()
        last = self.begin()
        last.send_raw(numbered(client, sent, 1))
        ledger = last.status()["ledger"]
        self.assertEqual(ledger["sent"], sent + 1)
        self.assertEqual(ledger["sent"], ledger["accepted"] + ledger["lost"])


class TestStateProcesses(StateCase):
    def speaker(self, daemon, *records):
        """A process of its own that says its pid, then the records; ends when its input does."""
        code = ("import json, os, socket, sys\n"
                "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
                "for r in [{'type': 'hello', 'pid': os.getpid()}, *json.loads(sys.argv[2]), {'type': 'flush'}]:\n"
                "    s.sendall(json.dumps(r).encode() + b'\\n')\n"
                "print(s.recv(4096).decode(), flush=True)\n"
                "sys.stdin.read()\n")
        process = subprocess.Popen([sys.executable, "-c", code, str(daemon.ingest), json.dumps(records)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stdin.close)
        self.assertIn("flushed", process.stdout.readline())
        return process

    def end(self, process):
        process.stdin.close()
        self.assertEqual(process.wait(WAIT_S), 0)

    def test_state_brings_back_what_living_processes_gave(self):
        records = [{"type": "gauge", "name": "busy", "value": 3, "aggregation": "sum"},
                   {"type": "gauge", "name": "most", "value": 7, "aggregation": "max"},
                   {"type": "info", "name": "worker", "attributes": {"version": "1"}}]
        first = self.begin()
        stays, goes = self.speaker(first, *records), self.speaker(first, *records[:1], {**records[1], "value": 9})
        until(lambda: first.metrics()["busy"] == 6, "both have said theirs")
        first.stop()
        self.end(goes)
        second = self.begin()
        metrics = second.metrics()
        self.assertEqual((metrics["busy"], metrics["most"]), (3, 7))
        self.assertEqual(metrics.get("worker_info", version="1"), 1)
        self.end(stays)
        until(lambda: second.metrics()["busy"] == 0, "the part of the one that stayed has ended with it")
        until(lambda: second.metrics().get("worker_info", version="1") is None, "so has what it said")
        self.assertIsNone(second.metrics().get("most"))


class TestStateDamaged(StateCase):
    def good(self):
        daemon = self.begin()
        self.fill(daemon)
        daemon.stop()
        content = self.file.read_bytes()
        self.file.unlink()
        return content

    def test_state_sets_damaged_files_aside(self):
        good = self.good()
        flipped = bytearray(good)
        flipped[len(good) // 2] ^= 4
        for content, says in ((b"", "is no state file of dwelld"), (b"{}", "is no state file of dwelld"),
                              (good[:-1], "is damaged"), (good[:40], "is damaged"), (good[:17], "is damaged"),
                              (good + b"\0", "is damaged"), (bytes(flipped), "is damaged")):
            with self.subTest(says=says, bytes=len(content)):
                self.must_be_set_aside(content, says).stop()
                self.file.unlink()

    def test_state_sets_foreign_files_aside(self):
        self.file.symlink_to("/etc/passwd")
        self.must_be_set_aside(None, "is a link").stop()
        self.file.unlink()
        self.aside.unlink()
        self.file.mkdir()
        self.must_be_set_aside(None, "is not a regular file").stop()
        self.file.unlink()
        self.aside.rmdir()
        self.file.write_bytes(self.good())
        self.file.chmod(0o622)
        self.must_be_set_aside(None, "others can write").stop()

    @unittest.skipUnless(IS_ROOT, "only root can give a file away")
    def test_state_sets_another_users_file_aside(self):
        self.file.write_bytes(self.good())
        os.chown(self.file, 4711, -1)
        self.must_be_set_aside(None, "belongs to user 4711")


class TestStateDisk(StateCase):
    def test_state_fails_to_save_and_goes_on(self):
        """Files may be of a few bytes only: the write fails, as on a full disk."""
        first = self.begin()
        first.send({"model_name": "m", "execution_time_ms": 5})
        first.stop()
        saved = self.file.read_bytes()
        small = self.begin(sets={"state.interval_ms": 100},
                           preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)))
        small.wait_log(r"state\.file: cannot save: .*/state\.new: File too large")
        until(lambda: small.metrics()["dwelld_state_save_failures_total"] >= 2, "it tries again")
        self.assertEqual(small.sample_count("m"), 1)
        self.assertEqual(sum("cannot save" in line for line in small.log), 1)
        small.stop()
        self.assertEqual(self.file.read_bytes(), saved)
        self.assertEqual(sorted(os.listdir(self.place)), ["state", "state.lock"])

    @unittest.skipUnless(shutil.which("unshare") and subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0,
                         "a file system of one's own takes a user namespace, which is not to be had")
    def test_state_fails_to_save_on_a_full_disk(self):
        """A real one: of 64 KiB, and full but for a page."""
        place = self.place / "disk"
        place.mkdir()
        script = ('mount -t tmpfs -o size=64k none "$1" && head -c 61440 /dev/zero > "$1/filler" && shift && exec "$@"')
        full = self.begin(sets={"state.file": place / "state", "state.interval_ms": 100},
                          wrapper=("unshare", "-rm", "sh", "-c", script, "sh", place))
        full.wait_log(r"state\.file: cannot save: .*/disk/state\.new: No space left on device")
        full.send({"model_name": "m", "execution_time_ms": 5})
        self.assertEqual(full.sample_count("m"), 1)
        (pathlib.Path(f"/proc/{full.pid}/root") / place.relative_to("/") / "filler").unlink()
        full.wait_log(r"state\.file: saves again to .*/disk/state")

    def test_state_directory_may_come_later(self):
        place = self.place / "later"
        daemon = self.begin(sets={"state.file": place / "state", "state.interval_ms": 100})
        daemon.wait_log(r"state\.file: the directory .*/later is missing; nothing is kept until that is mended")
        daemon.wait_log(r"state\.file: cannot save: the directory .*/later is missing")
        self.assertNotIn("is not there yet", "\n".join(daemon.log))
        place.mkdir()
        daemon.wait_log(r"state\.file: saves again to .*/later/state")
        daemon.stop()
        self.assertTrue((place / "state").exists())

    def test_state_is_of_one_daemon(self):
        self.begin()
        ended = run("--set", "http.listen=127.0.0.1:0", "--set", f"ingest.directory={self.directory() / 'd'}",
                    "--set", f"state.file={self.file}")
        self.assertEqual(ended.returncode, UNAVAILABLE)
        self.assertRegex(ended.stderr, r"state\.file: .*/state\.lock: another dwelld has this state file")


if __name__ == "__main__":
    unittest.main()
