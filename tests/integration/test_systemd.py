"""The units under systemd itself, as process 1 of a machine in namespaces: see machine.py."""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import stat
import unittest

import machine
from harness import BUILD, WAIT_S, Peer, sanitized, until

WHY_NOT = machine.why_not()
CONFIGURATION = 78


def sample(name="m", ms=5.0, **more):
    return {"model_name": name, "execution_time_ms": ms, **more}


@unittest.skipIf(WHY_NOT, WHY_NOT)
@unittest.skipIf(sanitized(), "a sanitizer needs more than the units grant")
class SystemdCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        try:
            cls.machine = machine.Machine()
        except (AssertionError, OSError) as error:  # nothing of ours runs in it yet
            raise unittest.SkipTest(f"systemd does not boot here: {error}") from None
        cls.addClassCleanup(cls.machine.close)

    def setUp(self):
        self.addCleanup(self.clear)

    def clear(self):
        self.systemctl("stop", "dwelld.socket", "dwelld.service", "dwelld@nobody.service")
        self.systemctl("reset-failed")
        for path in self.machine.path("/run/units").glob("dwelld*.d/test.conf"):
            path.unlink()
        self.machine.path("/etc/dwell/dwelld.json").write_text("{}")
        self.systemctl("daemon-reload")
        for path in self.machine.path("/run").glob("dwelld*.log"):
            path.unlink()

    def systemctl(self, *words, check=True):
        return self.machine.call("systemctl", *words, check=check)

    def change(self, unit, *lines):
        """More settings for a unit."""
        (self.machine.path("/run/units") / f"{unit}.d/test.conf").write_text("\n".join(["[Service]", *lines, ""]))
        self.systemctl("daemon-reload")

    def configure(self, configuration):
        self.machine.path("/etc/dwell/dwelld.json").write_text(json.dumps(configuration))

    def show(self, name, unit="dwelld.service"):
        return self.systemctl("show", "--value", f"--property={name}", unit)

    def log(self, unit="dwelld"):
        with contextlib.suppress(FileNotFoundError):
            return self.machine.path(f"/run/{unit}.log").read_text()
        return ""

    def start(self, unit="dwelld.service"):
        self.systemctl("start", unit)
        self.assertEqual(self.systemctl("is-active", unit), "active", self.log())

    def main_pid(self, unit="dwelld.service"):
        """As it is outside."""
        inside = self.show("MainPID", unit)
        for path in pathlib.Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                numbers = re.search(r"^NSpid:\s+(.*)$", path.read_text(), re.M).group(1).split()
                if len(numbers) > 1 and numbers[-1] == inside and (path.parent / "comm").read_text() == "dwelld\n":
                    return int(path.parent.name)
        raise AssertionError(f"{unit} has no process {inside}")

    def place(self, name, directory="/run/dwell"):
        return self.machine.path(f"{directory}/{name}")

    def send(self, *records):
        with Peer(self.place("ingest.sock")) as peer:
            return peer.records(*records).end().lines()

    def send_datagrams(self, count):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(WAIT_S)
            for _ in range(count):
                sender.sendto(json.dumps(sample()).encode(), str(self.place("ingest.dgram")))

    def ask(self, target):
        with socket.socket(socket.AF_UNIX) as asker:
            asker.connect(str(self.place("query.sock")))
            asker.settimeout(WAIT_S)
            asker.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
            return asker.makefile("rb").read().decode().partition("\r\n\r\n")[2]

    def accepted(self):
        return int(re.search(r'^dwelld_records_total\{outcome="accepted",reason=""\} (\d+)$', self.ask("/metrics"), re.M).group(1))


class TestSystemd(SystemdCase):
    def test_systemd_starts_it_and_knows_what_it_does(self):
        self.start()
        until(lambda: self.show("StatusText") == "0 models, 0 records a second, 0 clients", "the status says so")
        self.assertEqual((self.show("SubState"), self.show("NFileDescriptorStore")), ("running", "5"))
        self.systemctl("stop", "dwelld.service")
        self.assertEqual((self.show("Result"), self.show("ExecMainStatus"), self.show("NFileDescriptorStore")), ("success", "0", "0"))

    def test_systemd_takes_everything_from_it_that_it_does_not_need(self):
        self.start()
        status = pathlib.Path(f"/proc/{self.main_pid()}/status").read_text()
        for line in (r"CapEff:\s+0+", r"CapBnd:\s+0+", r"NoNewPrivs:\s+1", r"Seccomp:\s+2"):
            self.assertRegex(status, rf"(?m)^{line}$")
        self.assertNotRegex(status, r"(?m)^Uid:\s+0\b")
        directory = self.place("").stat()
        self.assertEqual((stat.S_IMODE(directory.st_mode), directory.st_uid), (0o750, os.stat(f"/proc/{self.main_pid()}").st_uid))

    def test_systemd_restarts_it_without_loss(self):
        """By command, and after its death: what comes in between waits."""
        for end in ("restart", "kill"):
            with self.subTest(end):
                self.start()
                before = self.main_pid()
                if end == "kill":
                    os.kill(before, signal.SIGKILL)
                else:
                    self.systemctl("--no-block", "restart", "dwelld.service")
                self.send_datagrams(7)
                with contextlib.ExitStack() as stack:
                    peers = [stack.enter_context(Peer(self.place("ingest.sock"))).records(sample()) for _ in range(50)]
                    for peer in peers:
                        self.assertEqual(peer.end().lines(), [])
                until(lambda before=before: self.show("SubState") == "running" and self.main_pid() != before, "it runs again")
                self.assertEqual(self.show("NFileDescriptorStore"), "5")
                self.assertEqual(self.send(sample()), [])
                self.systemctl("stop", "dwelld.service")

    def test_systemd_starts_it_when_somebody_sends(self):
        self.systemctl("start", "dwelld.socket")
        self.assertEqual(self.systemctl("is-active", "dwelld.service", check=False), "inactive")
        self.configure({"ingest": {"allowed_uids": [os.getuid()]}})
        self.send_datagrams(1)
        until(lambda: self.systemctl("is-active", "dwelld.service", check=False) == "active", "it was started")
        self.assertEqual(self.send(sample()), [])
        until(lambda: self.accepted() == 2, "both count, from whom the kernel says")
        self.assertEqual(self.show("NFileDescriptorStore"), "2", "admin.sock and http")
        self.systemctl("stop", "dwelld.service")
        self.assertTrue(self.place("ingest.sock").is_socket())
        self.assertEqual(self.send(sample()), [])
        self.assertEqual(self.systemctl("is-active", "dwelld.service"), "active")
        self.assertEqual(self.accepted(), 1)

    def test_systemd_reloads_it(self):
        self.start()
        self.configure({"log": {"level": "warning"}, "profiling": {"window_seconds": 60}})
        self.systemctl("reload", "dwelld.service")
        until(lambda: "profiling.window_seconds: needs a restart" in self.log(), "the configuration was read")
        until(lambda: self.show("SubState") == "running", "it is ready again")

    def test_systemd_ends_it_when_it_hangs(self):
        # Long enough that no busy machine keeps a daemon that works from saying so.
        self.change("dwelld.service", "WatchdogSec=5s", "TimeoutAbortSec=100ms")
        self.start()
        before = self.main_pid()
        os.kill(before, signal.SIGSTOP)
        self.send_datagrams(5)
        until(lambda: self.show("NRestarts") == "1" and self.show("SubState") == "running", "it was started anew")
        until(lambda: self.accepted() == 5, "what waited counts")

    def test_systemd_does_not_repeat_a_start_that_is_wrong(self):
        self.configure({"http": {"listn": "x"}})
        self.systemctl("start", "dwelld.service", check=False)
        until(lambda: self.show("ActiveState") == "failed", "it has failed")
        self.assertEqual((self.show("ExecMainStatus"), self.show("NRestarts")), (str(CONFIGURATION), "0"))
        self.assertIn("the nearest is http.listen", self.log())

    def test_systemd_lets_it_give_its_sockets_to_a_group(self):
        self.configure({"ingest": {"group": "dwell", "mode": "0620"}})
        self.start()
        self.assertEqual(stat.S_IMODE(self.place("ingest.sock").stat().st_mode), 0o620)
        self.assertEqual(self.place("ingest.sock").stat().st_gid, self.place("").stat().st_gid)

    @unittest.skipUnless((BUILD / "dwell_otlp_insecure.so").exists(), "was built without gRPC")
    def test_systemd_lets_it_export(self):
        """The modules are found and loaded, the spool written."""
        self.configure({"otlp": {"endpoint": "http://127.0.0.1:1", "spool_directory": "/var/lib/dwell/spool", "spool_after_ms": 0,
                                 "schedule_delay_ms": 100}})
        self.start()
        span = {"type": "span", "name": "s", "trace_id": "1" * 32, "span_id": "2" * 16, "start_time_unix_nano": "1",
                "end_time_unix_nano": "2"}
        self.assertEqual(self.send(span), [])
        until(lambda: list(self.machine.path("/var/lib/dwell/spool").glob("*.traces")), "the span is in the spool")

    def test_systemd_runs_it_as_the_user_of_a_service(self):
        unit = "dwelld@nobody.service"
        self.start(unit)
        self.assertEqual(os.stat(f"/proc/{self.main_pid(unit)}").st_uid, 65534)
        directory = self.place("", "/run/dwell-nobody")
        self.assertEqual(stat.S_IMODE(directory.stat().st_mode), 0o700)
        with Peer(directory / "ingest.sock") as peer:
            self.assertEqual(peer.records(sample()).end().lines(), [])
        self.systemctl("restart", unit)
        self.assertEqual(self.show("NFileDescriptorStore", unit), "5")
        self.systemctl("stop", unit)
        self.assertFalse(directory.exists())


if __name__ == "__main__":
    unittest.main()
