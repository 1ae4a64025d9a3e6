"""/readyz says no where the daemon cannot do its work, with the reason, and only there; /healthz says that it lives."""
import contextlib
import ctypes
import http.client
import os
import re
import resource
import signal
import socket
import unittest

from harness import BUILD, ROOT, WAIT_S, DaemonCase, until
from test_readme import code, section, table

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WAIT_FOR_ANY = 0x40000000  # __WALL

OK = (200, {"status": "ok"})


def ptrace(request, pid):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(request, pid, 0, 0) == -1:
        raise OSError(ctypes.get_errno(), "ptrace")


@contextlib.contextmanager
def loop_stands_still(daemon):
    """Holds the loop's thread, which is the process's first, and no other."""
    try:
        ptrace(PTRACE_SEIZE, daemon.pid)
    except OSError as error:
        raise unittest.SkipTest(f"nobody may be traced here: {error}") from error
    ptrace(PTRACE_INTERRUPT, daemon.pid)
    os.waitpid(daemon.pid, WAIT_FOR_ANY)
    try:
        yield
    finally:
        ptrace(PTRACE_DETACH, daemon.pid)


class TestReadiness(DaemonCase):
    def ask(self, daemon, door="tcp", path="/readyz", may_be_late=False):
        """Asks again where it is late, unless it may be: a busy machine can hold it for a second."""
        def answered():
            answer = daemon.get(path, door=door)
            return answer if may_be_late or answer.json.get("reason") != "loop_late" else None
        answer = until(answered, "the loop turns")
        return answer.status, answer.json

    def must_be_unready(self, daemon, reason):
        status, said = self.ask(daemon, may_be_late=reason == "loop_late")
        self.assertEqual((status, said["status"], said["reason"]), (503, "unready", reason))
        self.assertGreater(len(said["error"]), 10)
        self.assertEqual(self.ask(daemon, path="/healthz"), OK)

    def test_ready_through_every_door(self):
        daemon = self.start()
        for door in ("tcp", "query", "admin"):
            self.assertEqual(self.ask(daemon, door), OK)
        until(lambda: daemon.request("HEAD", "/readyz").status == 200, "without a body, too")

    def test_ready_costs_no_snapshot(self):
        daemon = self.start()
        before = daemon.metrics()["dwelld_snapshot_seconds_count"]
        for _ in range(5):
            self.assertEqual(self.ask(daemon), OK)
        self.assertEqual(daemon.metrics()["dwelld_snapshot_seconds_count"], before + 1)

    def test_ready_without_a_collector_and_past_ceilings(self):
        """What is somebody else's trouble, or a ceiling that does its work, is none of these."""
        daemon = self.start(sets={"otlp.endpoint": "http://127.0.0.1:1", "profiling.max_models": 1, "shutdown.timeout_ms": 100})
        daemon.send(*({"model_name": f"m{i}", "execution_time_ms": 1} for i in range(3)), {"model_name": "rejected"})
        (daemon.directory / "admin.sock").unlink()
        self.assertEqual(self.ask(daemon), OK)

    def test_unready_when_the_loop_is_late(self):
        daemon = self.start()
        with loop_stands_still(daemon):
            self.must_be_unready(daemon, "loop_late")
        until(lambda: self.ask(daemon) == OK, "the loop turns again")

    def test_unready_when_a_socket_is_lost(self):
        for name in ("ingest.sock", "ingest.dgram"):
            with self.subTest(name):
                daemon = self.start()
                path = daemon.directory / name
                path.unlink()
                self.must_be_unready(daemon, "socket_lost")
                with socket.socket(socket.AF_UNIX) as other:
                    other.bind(str(path))
                    self.must_be_unready(daemon, "socket_lost")
                path.unlink()

    def test_unready_when_no_descriptor_is_left(self):
        daemon = self.start()
        with contextlib.closing(http.client.HTTPConnection(*daemon.address, timeout=WAIT_S)) as kept:

            def ask():
                kept.request("GET", "/readyz")
                answer = kept.getresponse()
                return answer.status, answer.read()

            until(lambda: ask()[0] == 200, "it is ready")
            limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
            status, said = until(lambda: (lambda got: None if b"loop_late" in got[1] else got)(ask()), "the loop turns")
            self.assertEqual(status, 503)
            self.assertIn(b'"reason":"no_descriptors"', said)
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
            until(lambda: ask()[0] == 200, "it is ready again")

    @unittest.skipUnless((BUILD / "dwell_otlp_insecure.so").exists(), "it takes the module that exports")
    def test_unready_while_it_ends(self):
        """A collector that takes connections and answers none keeps the daemon for the last export."""
        with socket.create_server(("127.0.0.1", 0)) as collector:
            daemon = self.start(sets={"otlp.endpoint": "http://127.0.0.1:%d" % collector.getsockname()[1],
                                      "shutdown.timeout_ms": 1000 * WAIT_S})
            daemon.send_signal(signal.SIGTERM)
            daemon.wait_log("stopping")
            self.must_be_unready(daemon, "stopping")
            daemon.stop(signal.SIGINT)

    def test_readme_names_every_reason_of_readiness(self):
        known = re.findall(r'    X\([A-Z]+, "(\w+)"', (ROOT / "daemon/io/readiness.h").read_text())
        rows = table(section("Is it ready?"))
        self.assertEqual([word for row in rows if row[1].startswith("503") for word in code(row[1])], known)


if __name__ == "__main__":
    unittest.main()
