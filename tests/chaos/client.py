"""A client that numbers its records and remembers what became of each batch, as truth for what a daemon says.

    1. tick      reads answers, then makes the next batch: counts of a series of its own, and samples
    2. written   it went out, with a flush behind it; or the client gave it up, and counted that
    3. answered  the flush's answer has confirmed it: it was applied by the daemon with that pid
    4. end       waits for the last answers and says goodbye with the number of all its calls

What can fail: there is no daemon, or one that does not answer: batches are given up, and told as dropped once it
is back. A connection that breaks leaves what was not confirmed as it is: it is never sent again.

A client waits for nothing but in `end`, and belongs to one thread.
"""
import contextlib
import socket
import struct
import time

import wire
from harness import WAIT_S
from truth import Batch

RECORDS = 10  # of each kind in a batch
WINDOW = 8    # batches that wait for their answers: 8 kB, which any socket holds
CALLS = 2 * RECORDS


class Client:
    def __init__(self, path, number):
        self.path = str(path)
        self.number = number
        self.id = b"chaos" + number.to_bytes(11, "little")
        self.calls = self.dropped = self.confirmed = 0
        self.batches = []  # lists, as their last field changes
        self.waiting = []  # of these, on this connection
        self.socket = None
        self.life = None
        self.is_deaf = False  # the daemon takes no more on this connection; answers may still come
        self.pending = b""

    # ---- the connection ----

    def _connect(self):
        """Says hello, or leaves things as they are."""
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        try:
            sock.connect(self.path)
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            self.life = struct.unpack("3i", credentials)[0]
            self._forget_connection()
            sock.sendall(wire.MAGIC + self._hello())
        except OSError:
            sock.close()
            return
        self.socket, self.is_deaf, self.pending = sock, False, b""

    def _disconnect(self):
        self.socket.close()
        self.socket = None

    def _hello(self):
        """What goes out first on a connection, as bytes."""
        return wire.frame(wire.batch(hello_message=wire.hello(client="chaos/1"), **self._head()))

    def _forget_connection(self):
        """What the last one had not confirmed is never sent again."""
        self.waiting = []

    def _head(self):
        return {"client_id": self.id, "first_sequence": self.calls, "dropped": self.dropped}

    def _read(self):
        """Takes the answers that are there."""
        try:
            while got := self.socket.recv(65536):
                self.pending += got
            ended = True
        except BlockingIOError:
            ended = False
        except OSError:
            ended = True
        self._take_answers()
        if ended:
            self._disconnect()

    def _take_answers(self):
        while len(self.pending) >= 4:
            end = 4 + struct.unpack_from("<I", self.pending)[0]
            if len(self.pending) < end:
                return
            for reply in wire.read_replies(self.pending[:end]):
                self._take_answer(reply)
            self.pending = self.pending[end:]

    def _take_answer(self, reply):
        if "flushed" in reply and self.waiting:
            self._confirm()

    def _confirm(self):
        self.waiting.pop(0)[-1] = True
        self.confirmed += 1

    def _write(self, data):
        """Nothing is ever cut: what waits for answers is far less than a socket holds."""
        try:
            sent = self.socket.send(data, socket.MSG_NOSIGNAL)
            assert sent == len(data), "the socket holds less than WINDOW batches"
        except OSError:
            self.is_deaf = True
        return not self.is_deaf

    # ---- what is sent ----

    def _content(self, number):
        """A batch of that number as it is sent now."""
        series = {"client": str(self.number), "batch": str(number)}
        counts = [wire.metric(series, name="chaos.records", op=wire.COUNT, value=1.0)] * RECORDS
        samples = [wire.sample(model_name=f"chaos-{self.number}", execution_time_ms=2.0, cpu_percent_during=60.0)] * RECORDS
        return wire.batch(samples, metrics=counts, flush=True, **self._head())

    def _wrote(self, batch, _frame, _head):
        self.waiting.append(batch)

    def _enter(self):
        """One more batch that is on its way."""
        batch = [self.number, len(self.batches), self.life, RECORDS, RECORDS, False]
        self.batches.append(batch)
        self.calls += CALLS
        return batch

    def tick(self):
        if self.socket is not None:
            self._read()
        if self.socket is None:
            self._connect()
        may_write = self.socket is not None and not self.is_deaf and len(self.waiting) < WINDOW
        if not (may_write and self._send_next()):
            self.calls += CALLS
            self.dropped += CALLS

    def _send_next(self):
        head, frame = self._head(), wire.frame(self._content(len(self.batches)))
        if self._write(frame):
            self._wrote(self._enter(), frame, head)
        return not self.is_deaf

    def records(self):
        return [Batch(*batch) for batch in self.batches]

    # ---- what goes wrong ----

    def cut(self, part):
        """Ends in the middle of a frame, after `part` of it: as one that is killed then."""
        self._settle(time.monotonic() + WAIT_S)
        frame = wire.frame(self._content(len(self.batches)))
        assert self._write(frame[:max(1, min(len(frame) - 1, int(part * len(frame))))])
        self._enter()
        self._disconnect()

    def spoil(self, garbage):
        """Sends what is no frame; the daemon ends the connection."""
        self._settle(time.monotonic() + WAIT_S)
        self._write(garbage)
        self.socket.setblocking(True)
        with contextlib.suppress(ConnectionResetError):
            while self.socket.recv(65536):
                pass
        self._disconnect()

    def repeat(self):
        """Sends a batch a second time under a new number, which no client may."""
        self._settle(time.monotonic() + WAIT_S)
        assert self._write(wire.frame(self._content(len(self.batches))))
        batch = self._enter()
        self.waiting.append(batch)
        assert self._write(wire.frame(self._content(batch[1])))
        self.calls += CALLS

    def forget(self):
        """Numbers a batch, and never sends it."""
        if self.socket is None:
            self._connect()
        self._enter()

    # ---- the end ----

    def _settle(self, deadline):
        """Waits until everything on a connection is confirmed; makes one where there is none."""
        while self.socket is None or self.waiting or self.is_deaf:
            assert time.monotonic() < deadline, f"client {self.number} waits for {len(self.waiting)} answers"
            if self.socket is None:
                self._forget_connection()
                self._connect()
            else:
                self._read()
            time.sleep(0.001)

    def end(self, deadline):
        """Says goodbye, and waits until the daemon has read that."""
        ended = False
        while not ended:
            self._settle(deadline)
            ended = self._write(wire.frame(wire.batch(goodbye=self.calls, **self._head())))
        self.socket.shutdown(socket.SHUT_WR)
        self.socket.setblocking(True)
        self.socket.settimeout(max(0.1, deadline - time.monotonic()))
        assert self.socket.recv(1) == b"", "the daemon had something to complain about"
        self._disconnect()
