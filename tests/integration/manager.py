"""A service manager as the daemon sees one: it listens at $NOTIFY_SOCKET, keeps descriptors, and hands sockets over.

The exchange is that of sd_notify(3) and sd_listen_fds(3), byte by byte; what systemd does besides is not here.
"""
import array
import contextlib
import os
import pathlib
import shutil
import socket
import sys
import tempfile
import threading
import time

from harness import WAIT_S, Daemon, DaemonCase

# Puts the descriptors where sd_listen_fds(3) has them, and becomes the daemon under the pid that it names.
_HAND_OVER = """
import os, sys
given = [int(fd) for fd in sys.argv[1].split(",") if fd]
aside = [os.dup2(fd, 100 + at) for at, fd in enumerate(given)]
os.closerange(3, 100)
for at, fd in enumerate(aside):
    os.dup2(fd, 3 + at)
    os.close(fd)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


class Manager:
    def __init__(self, keeps=8, watchdog_us=None, **more):
        """`more`: further variables for the daemon."""
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="dwell-manager-"))
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.base / "notify"))
        self.environment = {"NOTIFY_SOCKET": str(self.base / "notify"), **more}
        if keeps:
            self.environment["FDSTORE"] = str(keeps)
        if watchdog_us:
            self.environment["WATCHDOG_USEC"] = str(watchdog_us)
        self.store = {}  # name: descriptor
        self.messages = []  # {NAME: VALUE}, in the order that they came in
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while True:
            data, control, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(16))
            fds = array.array("i")
            for _, _, content in control:
                fds.frombytes(content[:len(content) - len(content) % fds.itemsize])
            message = dict(line.split("=", 1) for line in data.decode().splitlines())
            if message.get("END"):
                return
            with self._news:
                self._file(message, list(fds))
                self.messages.append(message)
                self._news.notify_all()

    def _file(self, message, fds):
        if message.get("FDSTORE") == "1":
            assert len(fds) == 1, message
            self._drop(message["FDNAME"])
            self.store[message["FDNAME"]] = fds[0]
        else:
            assert not fds, message
        if message.get("FDSTOREREMOVE") == "1":
            self._drop(message["FDNAME"])

    def _drop(self, name):
        if name in self.store:
            os.close(self.store.pop(name))

    def hear(self, wanted, after=0):
        """Waits for a message that has this variable, or is this one; returns how many came up to it."""
        deadline = time.monotonic() + WAIT_S
        with self._news:
            at = after
            while True:
                for at in range(at, len(self.messages)):
                    message = self.messages[at]
                    if wanted == message or isinstance(wanted, str) and wanted in message:
                        return at + 1
                at = len(self.messages)
                if not self._news.wait(max(0.0, deadline - time.monotonic())):
                    raise AssertionError(f"the daemon did not say {wanted}: {self.messages}")

    def states(self):
        """What was said of its state, without the signs of life."""
        return [name for message in self.messages for name in message if name in ("READY", "RELOADING", "STOPPING")]

    def start(self, *arguments, given=(), **options):
        """A daemon that gets these (name, socket or descriptor), and then what is kept. The rest is Daemon's."""
        handed = [(name, getattr(each, "fileno", lambda each=each: each)()) for name, each in given] + list(self.store.items())
        environment = {**self.environment, **options.pop("env", {})}
        if handed:
            environment.setdefault("LISTEN_FDS", str(len(handed)))
            environment.setdefault("LISTEN_FDNAMES", ":".join(name for name, _ in handed))
        fds = [fd for _, fd in handed]
        wrapper = (sys.executable, "-SEc", _HAND_OVER, ",".join(map(str, fds)))
        at = len(self.messages)
        daemon = Daemon(*arguments, env=environment, wrapper=wrapper, pass_fds=fds, **options)
        try:
            self.hear("READY", after=at)
        except BaseException:
            daemon.kill()
            raise
        return daemon

    def close(self):
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as end:
            end.sendto(b"END=1", str(self.base / "notify"))
        self._reader.join(WAIT_S)
        self.socket.close()
        for name in list(self.store):
            self._drop(name)
        shutil.rmtree(self.base, ignore_errors=True)


class ManagerCase(DaemonCase):
    """Tests of daemons that have a manager."""

    def manager(self, **options):
        manager = Manager(**options)
        self.addCleanup(manager.close)
        return manager

    def start_by(self, manager, *arguments, **options):
        daemon = manager.start(*arguments, **options)
        self.addCleanup(daemon.stop)
        return daemon
