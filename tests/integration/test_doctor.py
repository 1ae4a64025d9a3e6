"""dwell doctor against the real daemon: all that it says of one that is well, and of set-ups that are broken, each
compared as a whole. What differs from run to run (places, ports, processes, times) is a word in capitals."""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import threading
import unittest

from harness import BUILD, WAIT_S, Daemon, until
from test_tool import DWELL, ToolCase, dwell, tool_environment

IS_ROOT = os.geteuid() == 0
SOMEBODY = 54321  # who root can be, and who owns nothing

TRIES = 5  # a machine that holds us up for some seconds shows in clocks, and in turns of the loop

HEAD = "STATE    CHECK         FOUND\n"
WELL_PLACE = """\
ok       environment   DWELL_DIR is not set, DWELL_DISABLED is not 1
ok       place         DIR, named by --dir
ok       directory     mode 0700, of OWNER
ok       ingest.sock   process PID listens, mode 0660, of OWNER
ok       ingest.dgram  somebody listens, mode 0660, of OWNER
ok       query.sock    process PID listens, mode 0660, of OWNER
ok       admin.sock    process PID listens, mode 0600, of OWNER
ok       ingest        a flush was answered in TIME
ok       query         DIR/query.sock answers
ok       ready         it can do its work (/readyz)
ok       http          ADDRESS leads to the same daemon
ok       version       dwelld VERSION, as this tool, up TIME
"""
WELL_RECORDS = """\
ok       clients       none has said who it is
ok       records       0 accepted, none rejected
ok       account       0 sent = 0 accepted + 0 rejected + 0 dropped + 0 lost
"""
WELL_LIMITS = """\
ok       models        0 of at most 1,000
ok       series        N of at most 100,000
ok       connections   N of at most 1,024
ok       loop          N of N turns took over 100 ms, the longest TIME
ok       clock         within 2 s of ours
ok       evidence      all that was asked for could be read
ok       export        off: there is no otlp.endpoint
"""

# Rows on what the machine allows, which differ; and what the sum says of them.
MACHINE = ("descriptors", "backlog", "datagrams", "memory", "cpu")
OF_MACHINE = re.compile(rf"^\w+ +(?:{'|'.join(MACHINE)}) .*\n(?: +→ .*\n)?", re.M)


def without_accidents(text, *places):
    """What was said, with words for what differs; `places`: pairs of a path and its word."""
    for path, word in places:
        text = text.replace(str(path), word)
    text = OF_MACHINE.sub("", text)
    text = re.sub(r" \d+ could not be looked at\.", "", text)
    for pattern, word in ((r"\d+\.\d+\.\d+\.\d+:\d+", "ADDRESS"), (r"process \d+ listens", "process PID listens"),
                          (r"of user \d+ and group \d+", "of OWNER"), (r"dwelld \d+\.\d+\.\d+,", "dwelld VERSION,"),
                          (r"up \d+ \w+", "up TIME"), (r"answered in [\d.]+ \S+", "answered in TIME"),
                          (r"(series|connections)( +)\d+ of", r"\1\2N of"),
                          (r"\d+ of [\d,]+ turns", "N of N turns"), (r"longest [\d.]+ \S+", "longest TIME")):
        text = re.sub(pattern, word, text)
    return text


class TestDoctor(ToolCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        daemon = Daemon()
        cls.addClassCleanup(daemon.stop)
        checks = json.loads(dwell("doctor", "--json", "--dir", daemon.directory).stdout)["checks"]
        wrong = [check for check in checks if check["name"] in MACHINE and check["state"] in ("warn", "fail")]
        if wrong:
            raise unittest.SkipTest(f"this machine has something to mend itself: {wrong}")

    def must_say(self, daemon_or_place, wanted, status, *arguments, env=None, places=()):
        """All that doctor says of a daemon or a directory."""
        place = getattr(daemon_or_place, "directory", daemon_or_place)
        arguments = arguments or ("--dir", place)

        def ask():
            done = dwell("doctor", *arguments, env=env)
            return done.returncode, without_accidents(done.stdout + done.stderr, *places, (place, "DIR"))
        for _ in range(TRIES):
            said = ask()
            if said == (status, HEAD + wanted):
                break
        self.assertEqual(said, (status, HEAD + wanted))

    # --- what is well ---

    def test_doctor_of_a_daemon_that_is_well(self):
        self.must_say(self.start(), WELL_PLACE + WELL_RECORDS + WELL_LIMITS + "\nNothing to mend.\n", 0)

    def test_doctor_sends_a_sample_when_asked(self):
        daemon = self.start()
        said = self.must(0, "doctor", "--send", "--dir", daemon.directory)
        self.assertRegex(said, r"(?m)^ok +ingest +a sample of the model dwell-doctor was counted in ")
        self.assertEqual(daemon.sample_count("dwell-doctor"), 1)
        self.must(0, "doctor", "--dir", daemon.directory)
        self.assertEqual(daemon.sample_count("dwell-doctor"), 1)

    def test_doctor_by_url(self):
        daemon = self.start()
        url = f"http://{daemon.http_address}"
        lines = self.must(0, "doctor", "--url", url).splitlines()
        self.assertEqual(lines[1], f"ok       query         {url} answers")
        self.assertIn("leave out --url", self.must(64, "doctor", "--url", url, "--send"))

    def test_doctor_tells_the_same_as_json(self):
        daemon = self.start()
        told = json.loads(self.must(0, "doctor", "--json", "--dir", daemon.directory))
        self.assertEqual((told["well"], told["checks"][1]),
                         (True, {"name": "place", "state": "ok", "found": f"{daemon.directory}, named by --dir", "mend": None}))
        nothing = self.directory() / "nothing"
        told = json.loads(self.must(1, "doctor", "--json", "--dir", nothing))
        self.assertEqual((told["well"], told["checks"][-1]),
                         (False, {"name": "directory", "state": "fail", "found": "it is not there",
                                  "mend": f"Start it there: dwelld --set ingest.directory={nothing}"}))

    def test_doctor_in_colour_and_within_a_width(self):
        daemon = self.start()
        self.assertNotIn("\x1b", self.must(0, "doctor", "--dir", daemon.directory))
        self.assertIn("\x1b[0;32mok", self.must(0, "doctor", "--dir", daemon.directory, "--color", "always"))
        for columns in (30, 60, 80):
            words = str(daemon.directory).split("/")  # a path is one word, and has a line of its own
            for line in self.must(0, "doctor", "--dir", daemon.directory, env={"COLUMNS": str(columns)}).splitlines():
                self.assertTrue(len(line) <= columns or words[-1] in line, line)

    # --- what is broken ---

    def test_doctor_without_a_daemon(self):
        self.must_say(self.directory() / "nothing", """\
ok       environment   DWELL_DIR is not set, DWELL_DISABLED is not 1
ok       place         DIR, named by --dir
fail     directory     it is not there
                       → Start it there: dwelld --set ingest.directory=DIR

1 thing to mend.
""", 1)

    def test_doctor_of_a_daemon_that_was_killed(self):
        daemon = self.start()
        daemon.process.kill()
        daemon.process.wait()
        daemon.stopped = True
        self.addCleanup(daemon.kill)
        stale = """\
nobody listens: it is left of a daemon that was killed
                       → Start dwelld: it replaces what nobody listens on
"""
        self.must_say(daemon, "\n".join(WELL_PLACE.split("\n")[:3]) + f"""
fail     ingest.sock   {stale}\
fail     ingest.dgram  {stale}\
fail     query.sock    {stale}\
fail     admin.sock    {stale}
4 things to mend.
""", 1)

    def test_doctor_of_sockets_that_may_not_be_opened(self):
        """By nobody, not even their owner: for root this takes a daemon of somebody else's."""
        base = self.directory()
        options = {}
        if IS_ROOT:
            os.chown(base, SOMEBODY, SOMEBODY)
            options = {"user": SOMEBODY, "group": SOMEBODY, "extra_groups": []}
        daemon = self.start(sets={"ingest.mode": "0000"}, directory=base / "d", **options)
        user = os.stat(daemon.directory).st_uid
        done = subprocess.run([DWELL, "doctor", "--dir", daemon.directory], env=tool_environment(), encoding="utf-8",
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=WAIT_S, check=False, **options)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        closed = f"""\
user {user} may not open it: mode 0000, of OWNER
                       → Give its owner the right: set ingest.mode to "0660" and restart dwelld
"""
        self.assertEqual(without_accidents(done.stdout, (daemon.directory, "DIR")),
                         HEAD + "\n".join(WELL_PLACE.split("\n")[:3]) + f"""
fail     ingest.sock   {closed}\
fail     ingest.dgram  {closed}\
fail     query.sock    {closed}\
ok       admin.sock    process PID listens, mode 0600, of OWNER

3 things to mend.
""")

    @unittest.skipUnless(IS_ROOT, "only root can be somebody else")
    def test_doctor_of_a_directory_that_may_not_be_entered(self):
        daemon = self.start()
        daemon.base.chmod(0o755)
        done = subprocess.run([DWELL, "doctor", "--dir", daemon.directory], env=tool_environment(), encoding="utf-8",
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=WAIT_S, check=False,
                              user=SOMEBODY, group=SOMEBODY, extra_groups=[])
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertEqual(without_accidents(done.stdout, (daemon.directory, "DIR")), HEAD + """\
ok       environment   DWELL_DIR is not set, DWELL_DISABLED is not 1
ok       place         DIR, named by --dir
fail     directory     user 54321 may not enter it: mode 0700, of OWNER
                       → Set ingest.group to a group of user 54321's, remove DIR and restart dwelld; or run what sends as user 0

1 thing to mend.
""")

    def test_doctor_of_the_wrong_directory(self):
        runtime, wrong = self.directory(), self.directory()
        self.start(directory=runtime / "dwell")
        self.must_say(wrong, """\
ok       environment   DWELL_DIR is DIR, DWELL_DISABLED is not 1
ok       place         DIR, named by DWELL_DIR
ok       directory     mode 0700, of OWNER
fail     sockets       there are none in it
                       → There is one in RUNTIME/dwell: unset DWELL_DIR, or set it to that

1 thing to mend.
""", 1, "--timeout", 5, env={"DWELL_DIR": str(wrong), "XDG_RUNTIME_DIR": str(runtime)}, places=[(runtime, "RUNTIME")])

    def test_doctor_of_a_daemon_that_loses_records(self):
        daemon = self.start()
        with daemon.peer() as peer:
            peer.records({"type": "hello", "client": "libdwell/0.0.9", "client_id": "ab" * 16, "sequence": 0},
                         {"model_name": "m", "execution_time_ms": 1}, {"modle_name": "m", "execution_time_ms": 1},
                         {"type": "goodbye", "sequence": 10, "dropped": 3}).end()
            self.assertEqual([line["reason"] for line in peer.lines()], ["missing_key"])
        self.assertEqual(len(daemon.send_raw(b"{no JSON\n").splitlines()), 1)
        self.must_say(daemon, WELL_PLACE + """\
warn     clients       libdwell/0.0.9
                       → Upgrade the clients, or the daemon, to one version: an older side leaves out what it does not know
warn     rejected      1 of 3 records: bad_syntax
                       → Send one JSON object, or one metric of StatsD, a line: dwell send shows which lines are no JSON
warn     rejected      1 of 3 records: missing_key
                       → Give each record its required keys, a sample model_name and execution_time_ms: dwell send shows \
which are missing
warn     keys          1 unknown key was ignored; the log names it
                       → Correct the names of keys by proto/WIRE.md, or upgrade dwelld where the client is newer
warn     dropped       3 of 10 records that clients numbered: they found no daemon, or filled their queues
                       → Start dwelld before its clients; where its lag is high give it more CPU
warn     lost          5 of 10 records that clients numbered: they left their client and never came here
                       → Stop dwelld by SIGTERM, which takes in what has come: look for kill -9 and for out of memory, \
journalctl -k
ok       account       10 sent = 1 accepted + 1 rejected + 3 dropped + 5 lost; 1 of clients that do not number them
""" + WELL_LIMITS.replace("0 of at most 1,000\n", "1 of at most 1,000\n") + "\n6 things to mend.\n", 1)

    def test_doctor_of_a_daemon_that_has_lost_records_long_ago(self):
        daemon = self.start()
        self.assertEqual(len(daemon.send_raw(b"{no JSON\n").splitlines()), 1)
        since = daemon.status()["seconds_since"]
        self.assertEqual(list(since["rejected"]), ["bad_syntax"])
        self.assertLess(since["rejected"]["bad_syntax"], WAIT_S)
        self.must_find(1, r"warn +rejected +1 of 1 record: bad_syntax\n", "--dir", daemon.directory)
        since["rejected"]["bad_syntax"] = 7200
        place = self.place_that_says(daemon, seconds_since=since)
        said = dwell("doctor", "--dir", place).stdout
        self.assertRegex(said, r"(?m)^ok +rejected +1 of 1 record: bad_syntax; the last 2 h 0 min ago$")

    # --- and more of it, a row each ---

    def must_find(self, status, row, *arguments, **options):
        said = self.must(status, "doctor", *arguments, **options)
        self.assertRegex(said, "(?m)^" + row)

    def test_doctor_of_a_disabled_environment(self):
        daemon = self.start()
        self.must_find(1, "warn +environment +DWELL_DISABLED is 1: .*\n +→ Take it away: unset DWELL_DISABLED$",
                       "--dir", daemon.directory, env={"DWELL_DISABLED": "1"})

    def test_doctor_of_no_place_at_all(self):
        runtime = self.directory()
        if any(os.path.exists(f"{place}/ingest.sock") for place in ("/run/dwell", f"/tmp/dwell-{os.getuid()}")):
            self.skipTest("a daemon of the machine's own is in the way")
        self.must_find(1, rf"fail +place +there is no ingest.sock in {runtime}/dwell, /run/dwell or /tmp/dwell-{os.getuid()}\n"
                          " +→ Start dwelld, or say where it is", env={"XDG_RUNTIME_DIR": str(runtime)})

    def test_doctor_of_sockets_that_were_removed_or_replaced(self):
        daemon = self.start()
        (daemon.directory / "ingest.dgram").unlink()
        (daemon.directory / "admin.sock").unlink()
        (daemon.directory / "admin.sock").write_text("")
        self.must_find(1, "fail +ingest.dgram +it is not there, although others are: .*\n +→ Restart dwelld",
                       "--dir", daemon.directory)
        self.must_find(1, f"fail +admin.sock +it is no socket\n +→ .*: rm {daemon.directory}/admin.sock$",
                       "--dir", daemon.directory)

    def test_doctor_of_a_daemon_that_is_not_ready(self):
        daemon = self.start()
        (daemon.directory / "ingest.dgram").unlink()
        self.must_find(1, r"fail +ready +no: a socket that .* \(socket_lost\)\n +→ Restart dwelld", "--dir", daemon.directory)

    def test_doctor_of_a_directory_that_others_can_write_to(self):
        daemon = self.start()
        daemon.directory.chmod(0o777)
        self.must_find(1, f"warn +directory +mode 0777, .*\n +→ chmod 0750 {daemon.directory}$", "--dir", daemon.directory)

    def test_doctor_of_a_daemon_that_does_not_answer(self):
        daemon = self.start()
        daemon.send_signal(signal.SIGSTOP)
        try:
            self.must_find(1, r"fail +ingest +no answer in .*\n +→ See what holds the daemon up", "--dir", daemon.directory,
                           "--timeout", 0.2)
            self.must_find(1, r"fail +query +.*no answer in 0\.2 s", "--dir", daemon.directory, "--timeout", 0.2)
        finally:
            daemon.send_signal(signal.SIGCONT)

    def test_doctor_of_a_daemon_that_takes_nothing_from_us(self):
        daemon = self.start(sets={"ingest.allowed_uids": [os.getuid() + 1]})
        self.must_find(1, r"fail +ingest +refused: .* \(not_allowed\)\n +→ Add the sender's user to ingest.allowed_uids",
                       "--dir", daemon.directory)

    def test_doctor_of_a_hash_that_is_not_the_daemons(self):
        daemon = self.start(sets={"service.enforce_hash": True})
        self.must(0, "doctor", "--send", "--dir", daemon.directory)
        self.must_find(1, r"fail +ingest +refused: .* \(hash_mismatch\)\n +→ .*the same CONSTITUTIONAL_HASH$",
                       "--send", "--dir", daemon.directory, env={"CONSTITUTIONAL_HASH": "another"})

    def test_doctor_of_a_daemon_that_has_no_room(self):
        daemon = self.start(sets={"ingest.max_connections": 1})
        with daemon.peer() as peer:
            self.assertEqual(peer.flush(), 0)
            said = self.must(1, "doctor", "--dir", daemon.directory)
        self.assertRegex(said, r"(?m)^fail +ingest +refused: .* \(limit_reached\)\n +→ Raise the ceiling that the log names")
        self.assertRegex(said, r"(?m)^warn +connections +1 of at most 1; [12] connections were refused\n +→ Look into the log")

    def test_doctor_of_an_address_that_leads_to_another_daemon(self):
        """A daemon of another network namespace may have the same address; here a server answers in its place."""
        daemon, other = self.start(), self.start()
        self.must_find(1, rf"fail +http +another daemon answers at {other.http_address}\n +→ Give each daemon an http.listen",
                       "--dir", self.place_that_says(daemon, http_address=other.http_address))

    def test_doctor_of_an_address_that_leads_nowhere(self):
        daemon = self.start()
        self.must_find(1, r"warn +http +no daemon answers at 127\.0\.0\.1:1: .*\n +→ Let Prometheus ask where",
                       "--dir", self.place_that_says(daemon, http_address="127.0.0.1:1"))
        self.must_find(1, "unknown +http +the daemon tells no address$",
                       "--dir", self.place_that_says(daemon, http_address=None))
        self.must_find(1, "unknown +http +.* answers; an older daemon does not tell whether it is this one$",
                       "--dir", self.place_that_says(daemon, process={}))

    def place_that_says(self, daemon, **told):
        """A directory with the daemon's ingest.sock, where something else answers on query.sock."""
        place = self.directory()
        server = OneAnswer(place / "query.sock", json.dumps({**daemon.status(), **told}).encode())
        self.addCleanup(server.close)
        (place / "ingest.sock").symlink_to(daemon.ingest)
        return place

    def test_doctor_of_models_past_their_ceiling(self):
        daemon = self.start(sets={"profiling.max_models": 1})
        daemon.send(*({"model_name": f"m{i}", "execution_time_ms": 1} for i in range(3)))
        self.must_find(1, "warn +models +2 of at most 1; 2 samples of more are counted as one model\n +→ Name models by",
                       "--dir", daemon.directory)

    @unittest.skipUnless(IS_ROOT, "only root can be somebody else")
    def test_doctor_of_evidence_that_another_user_keeps_to_himself(self):
        base = self.directory()
        os.chown(base, SOMEBODY, SOMEBODY)
        daemon = self.start(directory=base / "d", user=SOMEBODY, group=SOMEBODY, extra_groups=[])
        with daemon.peer() as peer:
            peer.records({"model_name": "m", "execution_time_ms": 5, "user_ms": 4, "system_ms": 0,
                          "thread_id": threading.get_native_id()})
            self.assertEqual(peer.flush(), 1)
            until(lambda: "io" in daemon.status()["evidence"]["missing"], "the probe was turned away")
        self.must_find(1, r"warn +evidence +of some process not to be had: .*\bio\b.*; verdicts go without\n"
                          r" +→ Run dwelld as the service's own user", "--dir", daemon.directory)

    @unittest.skipUnless((BUILD / "dwell_otlp_insecure.so").exists(), "it takes the module that exports")
    def test_doctor_of_a_collector_that_is_away(self):
        daemon = self.start(sets={"otlp.endpoint": "http://127.0.0.1:1", "otlp.metric_interval_ms": 100,
                                  "shutdown.timeout_ms": 100})
        until(lambda: daemon.status()["export"]["metrics"]["failing_seconds"], "a call has failed")
        self.must_find(1, r"warn +export +metrics: 0 of [\d,]+ went out to http://127\.0\.0\.1:1; every call has failed for .*\n"
                          r" +→ Bring the collector back", "--dir", daemon.directory)

    @unittest.skipUnless((BUILD / "dwell_otlp_insecure.so").exists(), "it takes the module that exports")
    def test_doctor_of_a_spool_that_cannot_be_opened(self):
        daemon = self.start(sets={"otlp.endpoint": "http://127.0.0.1:1", "shutdown.timeout_ms": 100, "otlp.metrics": False,
                                  "otlp.spool_directory": self.directory() / "not/there"})
        daemon.wait_log("there is no spool")
        self.must_find(1, r"fail +spool +traces: 0 B of at most 256 MB, and it cannot be written to\n"
                          r" +→ See the log for what failed: make the parent of otlp.spool_directory", "--dir", daemon.directory)
        self.assertEqual(daemon.metrics().get("dwelld_export_spool_works", signal="traces"), 0)
        other = self.start(sets={"otlp.endpoint": "http://127.0.0.1:1", "shutdown.timeout_ms": 100})
        self.assertNotRegex(other.get("/metrics").text, r"(?m)^dwelld_export_spool_works")

    def test_doctor_of_a_state_that_cannot_be_saved(self):
        place = self.directory()
        (place / "s").mkdir()
        daemon = self.start(sets={"state.file": place / "s/state", "state.interval_ms": 100, "journal.directory": place / "j"})
        until(lambda: daemon.metrics()["dwelld_state_saves_total"], "it is saved")
        self.assertRegex(self.must(0, "doctor", "--dir", daemon.directory),
                         rf"(?m)^ok +state +\d+ saves? to {place}/s/state, the last of .*\nok +journal +\d.* in {place}/j$")
        (place / "s").rename(place / "gone")
        until(lambda: daemon.metrics()["dwelld_state_save_failures_total"], "a save has failed")
        self.must_find(1, r"warn +state +\d+ saves? to .*; \d+ saves? failed\n +→ .*: make the directory of state\.file",
                       "--dir", daemon.directory)

    def test_doctor_shows_names_without_what_a_terminal_acts_on(self):
        daemon = self.start()
        with daemon.peer() as peer:
            peer.records({"type": "hello", "client": "evil\x1b[2J/1\n", "client_id": "cd" * 16, "sequence": 0})
            peer.flush()
        said = self.must(0, "doctor", "--dir", daemon.directory)
        self.assertNotIn("\x1b", said)
        self.assertRegex(said, r"(?m)^ok +clients +evil\?\[2J/1\?$")


class OneAnswer:
    """An HTTP server on a Unix socket that always says the same."""

    def __init__(self, path, body):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                with peer:
                    if peer.recv(65536):
                        peer.sendall(self.answer)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(WAIT_S)


if __name__ == "__main__":
    unittest.main()
