"""One connection to the daemon: connects, writes bytes, reads replies. Knows nothing of records or threads; one
thread at a time.

Happy path:
    1. `connect` finds the socket
    2. `send` writes what the kernel takes, and waits up to WRITE_S for a daemon that is behind
    3. `read` takes replies, and says how many flushes they answer

What can fail: no daemon, no permission, no descriptors, a plain file for a socket, a full backlog: `connect` is False
and the next attempt waits, from RETRY_MIN_S doubling to RETRY_MAX_S, each with some randomness so that a restarted
daemon does not meet all clients at once. A connection that breaks: `send` and `read` say so. A daemon that refuses us
takes the connection first and ends it then: one that ends within LIVED_S without an answer leaves a `doubt`, with
which no records are entrusted to the next one before it has answered a flush.

Sockets block, with a time limit of the kernel's (SO_SNDTIMEO): one call then writes a whole buffer. Python's own
time limit polls before each piece of 200 kB, and each of these calls gives the interpreter away for 5 ms or more when
other threads compute.
"""
from __future__ import annotations

import os
import select
import socket
import struct
import time

from . import _locate, _wire

RETRY_MIN_S, RETRY_MAX_S = 0.010, 5.0
WRITE_S = 0.050  # that one call of `send` may wait for a daemon that is behind
LIVED_S = 1.0    # a connection that lives so long was taken
READ_BYTES = 4096

_SEND_LIMIT = struct.pack("@ll", 0, int(WRITE_S * 1e6))  # a struct timeval


def _randomly(seconds: float) -> float:
    """Half to all of it. The generators of `random` are the application's: seeded ones are to stay repeatable."""
    return seconds * (0.5 + os.urandom(1)[0] / 510)


class Link:
    def __init__(self, directory: str | None = None) -> None:
        self._directory = directory
        self._socket: socket.socket | None = None
        self._retry_s = RETRY_MIN_S
        self._retry_at = 0.0
        self._since = 0.0
        self._proved = False  # it has answered
        self._replies = _wire.Replies()
        self.doubt = False
        self.refused = False  # the last connection ended with an error line before anything was taken from it
        self.error: str | None = None

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def wait_s(self) -> float:
        """Until the next attempt to connect makes sense."""
        return max(0.0, self._retry_at - time.monotonic())

    def connect(self, at_once: bool = False) -> bool:
        """True when there is a connection. `at_once` does not wait for the next attempt's time. Never waits."""
        if self._socket is not None:
            return True
        if not at_once and time.monotonic() < self._retry_at:
            return False
        connection = None
        try:
            place = _locate.directory(self._directory)
            if place is None:
                raise FileNotFoundError("no directory with ingest.sock")
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.setblocking(False)  # a full backlog is waited for
            connection.connect(f"{place}/ingest.sock")
            connection.setblocking(True)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND_LIMIT)
        except (OSError, ValueError, TypeError) as error:
            if connection is not None:
                connection.close()
            self.error = str(error)
            self._later()
            return False
        self._socket = connection
        self._since = time.monotonic()
        self._replies = _wire.Replies()
        self._proved = self.refused = False
        self.error = None
        return True

    def send(self, data: memoryview, wait: bool = True) -> int:
        """How many bytes were taken; 0: the daemon is behind; -1: the connection broke."""
        flags = socket.MSG_NOSIGNAL | (0 if wait else socket.MSG_DONTWAIT)
        try:
            return self._socket.send(data, flags) if self._socket is not None else -1
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self.read()  # there may be a reason to read
            if self._socket is not None:
                self.break_off(str(error))
            return -1

    def read(self, wait_s: float = 0.0) -> int:
        """How many flushes were answered by the replies that are there, or that begin to come within a time;
        -1: the connection is gone."""
        answered, connection = 0, self._socket
        if connection is None:
            return -1
        try:
            if wait_s > 0:
                poll = select.poll()
                poll.register(connection, select.POLLIN)
                poll.poll(int(wait_s * 1000) + 1)
            while True:
                data = connection.recv(READ_BYTES, socket.MSG_DONTWAIT)
                if not data:
                    self.break_off(self._replies.error or "the daemon closed the connection")
                    return answered or -1
                answered += len(self._replies.feed(data))
                if self._replies.broken:
                    self.refused = self._replies.line and not self._proved
                    self.break_off(self._replies.error or "a reply that is none")
                    return -1
                if answered:
                    self._proved, self.doubt, self._retry_s = True, False, RETRY_MIN_S
                if len(data) < READ_BYTES:
                    return answered
        except (BlockingIOError, InterruptedError):
            return answered
        except (OSError, ValueError) as error:
            self.break_off(str(error))
            return -1

    def break_off(self, why: str) -> None:
        """Ends the connection."""
        self.error = why
        if self._proved or time.monotonic() - self._since >= LIVED_S:
            self._retry_s = RETRY_MIN_S
        else:
            self.doubt = True
        self.abandon()
        self._later()

    def _later(self) -> None:
        self._retry_at = time.monotonic() + _randomly(self._retry_s)
        self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)

    def abandon(self) -> None:
        """Closes our descriptor; in a child after fork the parent's connection goes on."""
        connection, self._socket = self._socket, None
        if connection is not None:
            try:
                connection.close()
            except OSError:
                pass  # it is gone either way
