"""Sockets that come from the service manager: of a socket unit, and kept from one run to the next."""
import contextlib
import json
import os
import pathlib
import signal
import socket
import stat
import unittest

from harness import WAIT_S, Peer, until
from manager import ManagerCase

NAMES = ("ingest.sock", "ingest.dgram", "query.sock", "admin.sock", "http")
UNIX = NAMES[:4]
CONFIGURATION = 78


def sample(name="m", ms=5.0, **more):
    return {"model_name": name, "execution_time_ms": ms, **more}


class InheritedCase(ManagerCase):
    def open_stack(self):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        return stack

    def setUp(self):
        self.place = self.directory() / "d"
        self.place.mkdir(mode=0o700)
        self.sockets = self.open_stack()

    def unix(self, path, kind=socket.SOCK_STREAM, listens=True, credentials=True):
        """A socket as a socket unit opens it."""
        opened = self.sockets.enter_context(socket.socket(socket.AF_UNIX, kind))
        if path:
            opened.bind(path if isinstance(path, bytes) else str(path))
        if kind == socket.SOCK_STREAM and listens:
            opened.listen(64)
        if credentials:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        return opened

    def tcp(self, kind=socket.SOCK_STREAM, listens=True):
        opened = self.sockets.enter_context(socket.socket(socket.AF_INET, kind))
        opened.bind(("127.0.0.1", 0))
        if listens and kind == socket.SOCK_STREAM:
            opened.listen(64)
        return opened

    def unit(self, directory=None, name=None):
        """All that a socket unit may give, as (name, socket); `name`: of all of them."""
        directory = directory or self.place
        kinds = {"ingest.dgram": socket.SOCK_DGRAM}
        given = [(name or each, self.unix(directory / each, kinds.get(each, socket.SOCK_STREAM))) for each in UNIX]
        return given + [(name or "http", self.tcp())]

    def peer(self, path):
        return self.sockets.enter_context(Peer(path))

    def send_datagrams(self, path, count):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(WAIT_S)
            for _ in range(count):
                sender.sendto(json.dumps(sample()).encode(), str(path))

    def must_answer_everywhere(self, daemon):
        self.assertEqual(daemon.send(sample()), [])
        daemon.datagram(json.dumps(sample()))
        until(lambda: daemon.accepted() == 2, "both count")
        self.assertEqual(daemon.get("/healthz", door="query").status, 200)
        self.assertEqual(daemon.reset(), 1)


class TestInheritedOfUnit(InheritedCase):
    def test_inherited_by_the_names_of_their_places(self):
        daemon = self.start_by(self.manager(keeps=0), given=self.unit(), directory=self.place, listen="127.0.0.1:1")
        self.must_answer_everywhere(daemon)
        for name in NAMES:
            daemon.wait_log(f"{name} comes from the service manager")

    def test_inherited_by_their_paths(self):
        """A unit has one name for all its sockets; they may lie elsewhere than the lock."""
        elsewhere = self.directory()
        given = self.unit(elsewhere, "dwelld.socket")
        daemon = self.start_by(self.manager(keeps=0), given=given, directory=self.place)
        self.assertEqual(daemon.directory, elsewhere)
        self.must_answer_everywhere(daemon)
        self.assertEqual(set(daemon.status()["sockets"].values()), {str(elsewhere / name) for name in UNIX})
        self.assertEqual(os.listdir(self.place), ["dwelld.lock"])

    def test_inherited_some_and_others_opened(self):
        given = [("dwelld.socket", self.unix(self.place / "ingest.sock"))]
        daemon = self.start_by(self.manager(keeps=0), given=given, directory=self.place)
        self.must_answer_everywhere(daemon)
        daemon.stop()
        self.assertEqual(sorted(os.listdir(self.place)), ["dwelld.lock", "ingest.sock"])

    def test_inherited_sockets_are_left_alone_at_the_end(self):
        given = self.unit()
        modes = {name: (self.place / name).stat().st_mode for name in UNIX}
        for _ in range(3):
            daemon = self.start_by(self.manager(keeps=0), given=given, directory=self.place)
            address = daemon.address
            self.must_answer_everywhere(daemon)
            daemon.stop()
            self.assertEqual(address, given[-1][1].getsockname())
            self.assertEqual(modes, {name: (self.place / name).stat().st_mode for name in UNIX})

    def test_inherited_what_waits_counts(self):
        """For a daemon that has not been there yet."""
        given = self.unit()
        self.send_datagrams(self.place / "ingest.dgram", 7)
        peers = [self.peer(self.place / "ingest.sock").records(*[sample()] * 10, {"type": "flush"}) for _ in range(50)]
        daemon = self.start_by(self.manager(keeps=0), given=given, directory=self.place,
                               sets={"ingest.allowed_uids": [os.getuid()]})
        for peer in peers:
            self.assertEqual(peer.line(), {"flushed": 10})
        until(lambda: daemon.accepted() == 507, "datagrams count, from whom the kernel says")
        self.assertFalse([line for line in daemon.log if "PassCredentials" in line])

    def test_inherited_datagrams_of_nobody_are_warned_of(self):
        given = [("ingest.dgram", self.unix(self.place / "ingest.dgram", socket.SOCK_DGRAM, credentials=False))]
        daemon = self.start_by(self.manager(keeps=0), given=given, directory=self.place)
        daemon.wait_log("warning ingest.dgram: .* PassCredentials=yes")

    def test_inherited_for_another_process(self):
        """Variables of a parent's are not the daemon's."""
        environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "99", "LISTEN_FDNAMES": "nonsense"}
        self.must_answer_everywhere(self.start(directory=self.place, env=environment))


class TestInheritedRefused(InheritedCase):
    def must_refuse(self, given, *says, **env):
        """The start fails as with any wrong configuration, with one line for all that is wrong; the sockets stay."""
        manager = self.manager(keeps=0)
        with self.assertRaises(AssertionError) as caught:
            manager.start(given=given, directory=self.place, env=env)
        told = str(caught.exception)
        for each in says:
            self.assertRegex(told, each)
        self.assertNotIn("samples to", told)
        self.assertEqual(told.count(" error LISTEN_FDS: "), len(says), told)
        self.assertEqual(manager.states(), [])

    def abstract(self):
        return self.unix(b"\0dwell-test-" + os.urandom(8).hex().encode())

    def test_inherited_what_fits_no_place(self):
        base = self.directory()
        reader, writer = os.pipe()
        self.sockets.callback(os.close, reader)
        self.sockets.callback(os.close, writer)
        file = self.sockets.enter_context(open(base / "file", "w"))
        datagram, no_place = socket.SOCK_DGRAM, "a name or a path that ends in ingest.sock, .*"
        no_socket = "a socket, got Socket operation on non-socket"
        for name, opened, wanted in (
                ("x", self.unix(base / "other.sock"), f"{no_place}, got a Unix stream socket at {base}/other.sock"),
                ("", self.unix(base / "nameless"), f"{no_place}, got a Unix stream socket at "),
                ("x", self.abstract(), f"{no_place}, got a Unix stream socket without a path"),
                ("x", self.tcp(datagram), f"{no_place}, got a network datagram socket"),
                ("ingest.sock", self.abstract(), "a Unix stream socket that has a path .*, got .* without a path"),
                ("ingest.sock", self.unix(base / "a", listens=False), r".* \(Accept=no\), got .*/a that does not listen"),
                ("ingest.sock", self.unix(base / "b", datagram), "a Unix stream .*, got a Unix datagram socket"),
                ("ingest.sock", self.tcp(), "a Unix stream .*, got a network stream socket"),
                ("ingest.sock", file, no_socket), ("ingest.sock", reader, no_socket),
                ("ingest.dgram", self.unix(base / "c"), "a Unix datagram .*, got a Unix stream socket"),
                ("ingest.dgram", self.unix(None, datagram), "a Unix datagram socket that has a path, got .* without a path"),
                ("query.sock", self.unix(base / "d", socket.SOCK_SEQPACKET), "a Unix stream .*, got a Unix socket at "),
                ("http", self.unix(base / "e"), "a TCP socket that listens, got a Unix stream socket"),
                ("http", self.tcp(datagram), "a TCP socket that listens, got a network datagram socket"),
                ("http", self.tcp(listens=False), "a TCP socket that listens, got .* that does not listen")):
            with self.subTest(name=name, wanted=wanted):
                self.must_refuse([(name, opened)], f'descriptor 3, "{name}": expects {wanted}')
        self.assertEqual(os.listdir(self.place), [])

    def test_inherited_all_that_is_wrong_at_once(self):
        good = self.unix(self.place / "ingest.sock")
        self.must_refuse([("a", self.unix(self.place / "a")), ("ingest.sock", good), ("ingest.sock", good), ("c", self.tcp(socket.SOCK_DGRAM))],
                         'descriptor 3, "a"', 'descriptor 5, "ingest.sock": expects one socket for each place', 'descriptor 6, "c"')

    def test_inherited_numbers_that_are_none(self):
        good = [("ingest.sock", self.unix(self.place / "ingest.sock"))]
        for number in ("x", "-1", "65", "99999999999999999999", "1 "):
            self.must_refuse(good, f'LISTEN_FDS: expects a whole number from 0 to 64, got "{number}"', LISTEN_FDS=number)

    def test_inherited_fewer_than_are_told_of(self):
        directory = self.directory()
        good = [("ingest.sock", self.unix(directory / "ingest.sock"))]
        # As many as may come, of which one is there: some of the others may be the interpreter's, and are none of ours.
        with self.assertRaisesRegex(AssertionError, 'descriptor 66, "": expects a socket, got Bad file descriptor'):
            self.manager(keeps=0).start(given=good, directory=self.place, env={"LISTEN_FDS": "64"})


class TestInheritedKept(InheritedCase):
    def start_kept(self, manager, **options):
        return self.start_by(manager, directory=options.pop("directory", self.place), **options)

    def must_keep(self, manager, *names):
        self.assertEqual(sorted(name.split("@")[0] for name in manager.store), sorted(names))

    def end(self, daemon, number=signal.SIGKILL):
        if number == signal.SIGTERM:
            daemon.stop()
            return
        daemon.send_signal(number)
        self.assertEqual(daemon.wait(), -number)
        daemon.stopped = True
        daemon.kill()

    def test_inherited_kept_before_it_is_ready(self):
        manager = self.manager()
        self.start_kept(manager)
        self.must_keep(manager, *NAMES)
        for name in UNIX:
            at = (self.place / name).stat()
            self.assertIn(f"{name}@{at.st_dev}-{at.st_ino}", manager.store)

    def test_inherited_kept_over_any_end(self):
        """Nothing that waits is lost: in backlogs, among datagrams, or for an answer by HTTP."""
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT):
            with self.subTest(number):
                manager = self.manager()
                directory = self.directory() / "d"
                first = self.start_kept(manager, directory=directory)
                self.assertEqual(first.send(sample()), [])
                self.end(first, number)
                self.send_datagrams(directory / "ingest.dgram", 7)
                peers = [self.peer(directory / "ingest.sock").records(*[sample()] * 10, {"type": "flush"}) for _ in range(50)]
                scrape = self.sockets.enter_context(socket.create_connection(first.address, WAIT_S))
                scrape.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                second = self.start_kept(manager, directory=directory)
                self.assertEqual(second.address, first.address)
                for peer in peers:
                    self.assertEqual(peer.line(), {"flushed": 10})
                until(lambda second=second: second.accepted() == 507, "all count")
                self.assertRegex(scrape.makefile("rb").read(), rb"^HTTP/1.[01] 200 ")
                for name in NAMES:
                    second.wait_log(f"{name} was kept by the service manager")
                self.must_keep(manager, *NAMES)
                second.stop()

    def test_inherited_kept_what_a_hung_daemon_had_not_read(self):
        """As when the watchdog ends it: what the kernel holds is not the process's."""
        manager = self.manager()
        first = self.start_kept(manager)
        self.assertEqual(first.send(sample()), [])
        first.send_signal(signal.SIGSTOP)
        until(lambda: pathlib.Path(f"/proc/{first.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T", "it is stopped")
        self.send_datagrams(self.place / "ingest.dgram", 9)
        peers = [self.peer(self.place / "ingest.sock").records(sample(), {"type": "flush"}) for _ in range(20)]
        self.end(first)
        second = self.start_kept(manager)
        for peer in peers:
            self.assertEqual(peer.line(), {"flushed": 1})
        until(lambda: second.accepted() == 29, "all count")

    def test_inherited_kept_again_and_again(self):
        manager = self.manager()
        opened = set()
        for number in (signal.SIGKILL, signal.SIGTERM) * 3:
            daemon = self.start_kept(manager)
            opened.add(daemon.steady_descriptors())
            self.must_answer_everywhere(daemon)
            self.must_keep(manager, *NAMES)
            self.end(daemon, number)
        self.assertEqual(len([message for message in manager.messages if "FDSTORE" in message]), len(NAMES))
        self.assertEqual(len(opened), 1, opened)

    def test_inherited_kept_without_a_manager_is_removed(self):
        for keeps in (0, 4):
            manager = self.manager(keeps=keeps)
            daemon = self.start_kept(manager)
            self.assertEqual(manager.store, {})
            if keeps:
                daemon.wait_log("keeps fewer than 5 sockets")
            daemon.stop()
            self.assertEqual(os.listdir(self.place), ["dwelld.lock"])

    def test_inherited_kept_of_as_many_as_there_are(self):
        manager = self.manager(keeps=5)
        self.start_kept(manager)
        self.must_keep(manager, *NAMES)

    def test_inherited_kept_gets_mode_and_group_of_the_configuration(self):
        manager = self.manager()
        self.end(self.start_kept(manager))
        daemon = self.start_kept(manager, sets={"ingest.mode": "0600"})
        self.assertEqual({stat.S_IMODE((self.place / name).stat().st_mode) for name in UNIX}, {0o600})
        self.must_answer_everywhere(daemon)

    def restart_elsewhere(self, change, says, names, **options):
        """Restarts after a change: these are opened anew, and their old ones are dead and forgotten."""
        manager = self.manager()
        first = self.start_kept(manager)
        before = dict(manager.store)
        change(first)
        self.end(first)
        waiting = self.peer(self.place / "ingest.sock") if "ingest.sock" in names and (self.place / "ingest.sock").is_socket() else None
        second = self.start_kept(manager, **options)
        self.must_answer_everywhere(second)
        for name in names:
            second.wait_log(rf"{name}@\d+-\d+, which the service manager kept, is opened anew: {says}")
        self.must_keep(manager, *NAMES)
        same = {name.split("@")[0] for name in before if manager.store.get(name) == before[name]}
        self.assertEqual(same, set(NAMES) - set(names))
        if waiting:
            self.assertEqual(waiting.rest(), b"")
        return first, second

    def test_inherited_kept_of_another_directory(self):
        self.restart_elsewhere(lambda first: None, "it is not where the directory has it", UNIX, directory=self.directory() / "d")

    def test_inherited_kept_whose_file_is_gone(self):
        self.restart_elsewhere(lambda first: (self.place / "ingest.dgram").unlink(), "it is not where", ["ingest.dgram"])

    def test_inherited_kept_whose_file_is_another(self):
        def replace(first):
            (self.place / "ingest.sock").rename(self.place / "old")
            with socket.socket(socket.AF_UNIX) as other:
                other.bind(str(self.place / "ingest.sock"))

        manager = self.manager()
        first = self.start_kept(manager)
        replace(first)
        self.end(first)
        second = self.start_kept(manager)
        second.wait_log("ingest.sock@.* is opened anew: it is not where")
        self.must_answer_everywhere(second)

    def test_inherited_kept_of_another_address(self):
        """Though the port is the same, and the manager may still have its copy."""
        manager = self.manager()
        first = self.start_kept(manager)
        self.end(first)
        port = first.address[1]
        second = self.start_kept(manager, listen=f"0.0.0.0:{port}")
        second.wait_log("http@0-0, which the service manager kept, is opened anew: http.listen is another address")
        self.assertEqual(second.http_address, f"0.0.0.0:{port}")
        self.must_answer_everywhere(second)
        self.end(second)
        third = self.start_kept(manager, listen=f"0.0.0.0:{port}")
        third.wait_log("http was kept by the service manager")

    def test_inherited_kept_though_a_socket_unit_has_one_now(self):
        manager = self.manager()
        self.end(self.start_kept(manager))
        (self.place / "ingest.sock").unlink()
        given = [("dwelld.socket", self.unix(self.place / "ingest.sock"))]
        daemon = self.start_kept(manager, given=given)
        daemon.wait_log("ingest.sock@.* is opened anew: a socket unit has one")
        self.must_answer_everywhere(daemon)
        self.must_keep(manager, *NAMES[1:])

    def test_inherited_kept_by_another_version(self):
        manager = self.manager()
        manager.store["shared.memory@1-2"] = os.dup(self.unix(self.place / "other").fileno())
        manager.store["ingest.sock@1-2"] = os.dup(self.tcp().fileno())
        daemon = self.start_kept(manager)
        for name in ("shared.memory", "ingest.sock"):
            daemon.wait_log(f"{name}@1-2, .* is of no use any more")
        self.must_answer_everywhere(daemon)
        self.must_keep(manager, *NAMES)


if __name__ == "__main__":
    unittest.main()
