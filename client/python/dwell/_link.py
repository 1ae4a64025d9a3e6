"""One connection to the daemon: connects, writes whole frames, reads replies. Knows nothing of records or threads;
one thread at a time.

Happy path:
    1. `connect` finds the socket and sends the four bytes that choose the format
    2. `write` writes a frame, over several calls if the daemon is slow
    3. `read` takes replies; `asked` and `answered` say how many flushes are still to be answered

What can fail: no daemon, no permission, no descriptors, a plain file for a socket: `connect` is False and the next
attempt waits, from RETRY_MIN_S doubling to RETRY_MAX_S, each with some randomness so that a restarted daemon does
not meet all clients at once. A connection that breaks: `write` is BROKEN, and the frame is to be made anew.
"""
import random
import socket
import time

from . import _locate, _wire

RETRY_MIN_S, RETRY_MAX_S = 0.010, 5.0
WRITE_S = 0.05  # that one call of `write` may wait for a daemon that is behind

DONE, BLOCKED, BROKEN = "done", "blocked", "broken"


class Link:
    def __init__(self, directory=None):
        self._directory = directory
        self._socket = None
        self._retry_s = RETRY_MIN_S
        self._retry_at = 0.0
        self._frame = None
        self._offset = 0
        self._replies = _wire.Replies()
        self.asked = 0     # flushes, on this connection
        self.answered = 0
        self.error = None

    @property
    def connected(self):
        return self._socket is not None

    @property
    def writing(self):
        """A part of a frame is on its way."""
        return self._frame is not None

    def wait_s(self):
        """Until the next attempt to connect makes sense."""
        return max(0.0, self._retry_at - time.monotonic())

    def connect(self, at_once=False):
        """True when there is a connection. `at_once` does not wait for the next attempt's time."""
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
            connection.settimeout(WRITE_S)
            connection.connect(f"{place}/ingest.sock")
            connection.sendall(_wire.MAGIC)
        except (OSError, ValueError) as error:
            if connection is not None:
                connection.close()
            self.error = str(error)
            self._retry_at = time.monotonic() + self._retry_s * random.uniform(0.5, 1.0)
            self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)
            return False
        self._socket = connection
        self._replies = _wire.Replies()
        self.asked = self.answered = 0
        self.error = None
        return True

    def write(self, frame):
        """Goes on with this frame, or begins with it. BLOCKED: call again with the same one."""
        if self._frame is None:
            self._frame, self._offset = memoryview(frame), 0
        try:
            while self._offset < len(self._frame):
                self._offset += self._socket.send(self._frame[self._offset:])
        except (TimeoutError, socket.timeout, InterruptedError):
            return BLOCKED
        except OSError as error:
            self.break_off(str(error))
            return BROKEN
        self._frame = None
        self._retry_s = RETRY_MIN_S  # it is a daemon that takes what it is sent
        return DONE

    def read(self, wait_s=0.0):
        """Takes the replies that are there, or come within a time. False: the connection is gone."""
        try:
            self._socket.settimeout(wait_s)
            while True:
                data = self._socket.recv(4096)
                if not data:
                    return self.break_off(self._replies.error or "the daemon closed the connection")
                self.answered += len(self._replies.feed(data))
                if self._replies.broken:
                    return self.break_off(self._replies.error or "a reply that is none")
                self._socket.settimeout(0.0)
        except (BlockingIOError, TimeoutError, socket.timeout, InterruptedError):
            self._socket.settimeout(WRITE_S)
            return True
        except OSError as error:
            return self.break_off(str(error))

    def break_off(self, why):
        """Ends the connection; False, so that callers can return it."""
        self.error = why
        self.abandon()
        self._retry_at = time.monotonic() + self._retry_s * random.uniform(0.5, 1.0)
        self._retry_s = min(2 * self._retry_s, RETRY_MAX_S)
        return False

    def abandon(self):
        """Closes our descriptor; in a child after fork the parent's connection goes on."""
        connection, self._socket, self._frame = self._socket, None, None
        if connection is not None:
            try:
                connection.close()
            except OSError:
                pass  # it is gone either way
