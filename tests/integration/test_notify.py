"""What the service manager is told: by a manager that speaks its protocol, and by systemd's own tools."""
import os
import re
import signal
import time
import unittest

from harness import Peer, run
from manager import ManagerCase


def sample(name="m", ms=5.0, **more):
    return {"model_name": name, "execution_time_ms": ms, **more}


class TestNotifyState(ManagerCase):
    def test_notify_ready_when_everything_answers(self):
        """Whoever waits for it finds every socket listening, though nothing was read of the log yet."""
        manager = self.manager()
        directory = self.directory() / "d"
        daemon = self.start_by(manager, directory=directory)
        manager.hear("READY")
        with Peer(directory / "ingest.sock") as peer:
            self.assertEqual(peer.records(sample()).flush(), 1)
        self.assertEqual(daemon.get("/healthz", door="query").status, 200)
        self.assertEqual(manager.states(), ["READY"])

    def test_notify_says_nothing_of_a_start_that_fails(self):
        manager = self.manager()
        first = self.start()
        for status, sets in ((78, ["--set", "http.port=1"]), (69, ["--set", f"http.listen={first.http_address}"])):
            self.assertEqual(run(*sets, env=manager.environment).returncode, status)
        self.start_by(manager)
        manager.hear("READY")
        self.assertEqual(manager.states(), ["READY"])

    def test_notify_reload_is_between_two_messages(self):
        manager = self.manager()
        daemon = self.start_by(manager)
        at = manager.hear("READY")
        for _ in range(3):
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            daemon.send_signal(signal.SIGHUP)
            at = manager.hear("RELOADING", after=at)
            began = int(manager.messages[at - 1]["MONOTONIC_USEC"])
            at = manager.hear("READY", after=at)
            self.assertTrue(before <= began <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)
        self.assertEqual(manager.states(), ["READY"] + ["RELOADING", "READY"] * 3)

    def test_notify_reload_that_is_refused_is_over_as_well(self):
        manager = self.manager()
        path = self.directory() / "dwelld.json"
        path.write_text("{}")
        daemon = self.start_by(manager, "--config", path)
        at = manager.hear("READY")
        path.write_text("{")
        daemon.send_signal(signal.SIGHUP)
        manager.hear("READY", after=manager.hear("RELOADING", after=at))

    def test_notify_end_asks_for_the_time_that_it_may_take(self):
        manager = self.manager()
        daemon = self.start_by(manager, sets={"shutdown.timeout_ms": 2500})
        manager.hear("READY")
        daemon.stop()
        manager.hear({"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "3500000"})
        self.assertEqual(manager.states(), ["READY", "STOPPING"])

    def test_notify_without_the_manager_it_names(self):
        daemon = self.start(env={"NOTIFY_SOCKET": "/nowhere/notify"})
        daemon.wait_log("NOTIFY_SOCKET: cannot reach the service manager at /nowhere/notify")
        self.assertEqual(daemon.send(sample()), [])


class TestNotifyLife(ManagerCase):
    def test_notify_watchdog_is_fed(self):
        manager = self.manager(watchdog_us=20000)
        self.start_by(manager)
        at = 0
        for _ in range(5):
            at = manager.hear({"WATCHDOG": "1"}, after=at)

    def test_notify_watchdog_of_another_process_is_not_fed(self):
        manager = self.manager(watchdog_us=2000, WATCHDOG_PID=str(os.getpid()))
        daemon = self.start_by(manager)
        manager.hear("STATUS")
        daemon.stop()
        manager.hear("STOPPING")
        self.assertFalse([message for message in manager.messages if "WATCHDOG" in message])

    def test_notify_status_says_what_it_does(self):
        manager = self.manager()
        daemon = self.start_by(manager)
        at = manager.hear({"STATUS": "0 models, 0 records a second, 0 clients"})
        with daemon.peer() as peer:
            peer.records(*(sample(f"m{number}") for number in range(3)))
            self.assertEqual(peer.flush(), 3)
            # It looks now and then: also when the client was there, and its records were not.
            wanted = re.compile(r"3 models, \d+ records? a second, 1 client")
            while not wanted.fullmatch(manager.messages[at - 1]["STATUS"]):
                at = manager.hear("STATUS", after=at)


if __name__ == "__main__":
    unittest.main()
