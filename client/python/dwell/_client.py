"""What waits for the daemon, and the thread that sends it.

Happy path:
    1. a recording call appends one record, bytes already, to `pending`; no lock, no system call
    2. the first of them rings the bell; the thread wakes, and 50 ms later, or when 2048 wait, takes them
    3. they go out in frames of at most 64 kB, as many at once as there are; replies are read
    4. `flush` leaves a ticket; its frame goes out behind what was recorded before, and its answer settles it
    5. at the interpreter's exit: flush, goodbye, within a second

                 append                popleft            frames            write
    application -------> pending (deque) -----> a turn's -------> outbox -------> daemon
                  full: dropped, counted        records   no daemon for KEEP_S: dropped, counted

Two designs were weighed. A lock around a list and a counter is what most libraries have: it costs a call of the lock
on each record, stands still with its holder, and deadlocks in a signal handler. Appends to a deque are atomic in
CPython, and its length tells both what the lock was for: 0 says that the thread sleeps, and a full one has as many
records as places. So one test, `len(pending) & 2047`, leaves the usual record without either. Its price: a thread that
was interrupted between its look and its append steps over the test, and the next one is 2048 places further: with
threads that record without a pause the ceiling is that much higher for each of them, until the thread has looked.

Where records come faster than the thread gets the interpreter, each 2048th call rests for REST_S once half of the
places are taken. To drop at once instead lost one in 300 of four threads that did nothing else; a rest delays one call
in 2048, and none while a daemon is gone. With one that hangs all rests together are 80 ms, until all places are taken.

What can fail: no daemon (all is kept KEEP_S, then recording only counts), one that hangs (the same), one that refuses
us (records wait until it answers), a fork (the child begins anew with nothing of the parent's), no thread (records go
out by the calls themselves), memory (what waits is dropped). Nothing of that reaches the application. A call that was
interrupted between its look at the length and its append may leave a record that nobody rang for: it is found
within IDLE_S.

Threads: every method may be called by any thread at once, and from signal handlers.
"""
from __future__ import annotations

import _thread
import atexit
import bisect
import collections
import itertools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import _locate, _wire
from ._link import Link
from ._native import speed
from ._outbox import Outbox
from ._version import VERSION

BATCH_S = 0.050           # that a record may wait for company
FRAME_BYTES = 64 * 1024   # of a frame, but for a single record that is longer
HEAD_BYTES = 64           # the length and the head of a frame are shorter
RECORD_MAX = 512 * 1024   # of one record; half of what a daemon takes as a frame by default
PLACES = 65536            # that may wait; a record takes one for each PLACE_BYTES, so these are 16 MB
PLACE_BYTES = 256
REST_PLACES = PLACES // 2 # from here on who records at a 2048th place lets the thread go first,
REST_S = 0.005            # for one turn of the interpreter: threads that record without a pause leave it too few
STEP_MASK = 2047          # PLACES is looked at, and the thread rung for, at every 2048th
TURN_BYTES = 1024 * 1024  # that are taken at once. Beside 4 busy threads a turn comes every 20 ms
TURN_PLACES = 4096        # that are taken before TURN_BYTES is looked at
KEEP_S = 10.0             # without a daemon; the daemon's windows go by the time of arrival
EXIT_S = 1.0              # that the end of the interpreter may wait for
JOIN_S = 0.1              # of it, for the thread to end
IDLE_S = 5.0              # the longest sleep without a bell; sleeps double up to it while nothing happens
POLL_S = 0.2              # in subinterpreters, between two looks whether the main thread has ended: not all
                          # versions say so
AGAIN_S = 1.0             # until a thread is asked for again where none could be had
REQUESTS_MAX = 256        # flushes that wait at once
ABOUT_BYTES = 256         # of each text of the hello: the daemon refuses longer ones


clock_s = time.monotonic
beginnings: list[Callable[[], None]] = []  # of other modules: called when a process begins to record; they raise nothing


class Ticket:
    """A flush that somebody waits for."""
    __slots__ = ("deadline", "done", "ok", "settled", "goodbye", "places")

    def __init__(self, timeout_s: float, goodbye: bool = False) -> None:
        self.deadline = time.monotonic() + _seconds(timeout_s)
        self.done = _thread.allocate_lock()
        self.done.acquire()
        self.ok = self.settled = False
        self.goodbye = goodbye
        self.places = 0  # that are still to be taken before it

    def settle(self, ok: bool) -> None:
        self.ok = ok
        self.settled = True
        try:
            self.done.release()
        except RuntimeError:
            pass  # settled already

    def wait(self, at_most_s: float = threading.TIMEOUT_MAX) -> bool:
        self.done.acquire(timeout=min(max(0.0, self.deadline - time.monotonic()), at_most_s))
        return self.ok


def _seconds(value: Any) -> float:
    """A timeout that locks take; 0 for what is none."""
    try:
        return min(max(0.0, float(value)), threading.TIMEOUT_MAX / 2) if value == value else 0.0
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _said(about: Mapping[str, object]) -> dict[str, str]:
    """Texts of the hello, cut to what a daemon takes; without those that are None or cannot be had."""
    said: dict[str, str] = {}
    for key, value in about.items():
        try:
            if value is not None:
                said[key] = _wire.text(value)[:ABOUT_BYTES].decode("utf-8", "ignore")
        except Exception:  # of its own __str__
            pass
    return said


class Client:
    """Sends records. Make one a process (`dwell.client()` is it); a second one is a client of its own.

    directory: where the daemon's sockets are; looked for as proto/WIRE.md says unless given. keep_s: how long records
    wait for a daemon that is gone, in seconds. Texts are cut at 256 bytes."""

    def __init__(self, directory: str | None = None, service_name: str | None = None,
                 service_version: str | None = None, constitutional_hash: str | None = None,
                 keep_s: float = KEEP_S) -> None:
        # stays the same object, so that callers may keep its `append`
        self.pending: collections.deque[bytes] = collections.deque()
        self.disabled = _locate.disabled()
        about: dict[str, object] = {"service_name": service_name, "service_version": service_version,
                                    "constitutional_hash": constitutional_hash}
        self.about: dict[str, Any] = {**dict.fromkeys(about), **_said(about)}
        self.directory = directory  # as given; None: looked for
        self._keep_s = _seconds(keep_s)
        self.closed = False
        self._begin()
        if not self.disabled:
            _living.add(self)

    def _begin(self) -> None:
        """All but `pending` as it is at first; again in the child of a fork."""
        self._id = os.urandom(16)
        self._pid = os.getpid()
        self._drops = itertools.count()  # next() of it is atomic, which += is not
        self._given_up = 0               # records that had waited and were dropped
        self._sent = 0                   # records in frames that were written as a whole
        self._on_link = 0                # of these, on this connection
        self._taken: list[bytes] = []                 # records in no frame
        self._outbox = Outbox()
        self._bell = _thread.allocate_lock()
        self._bell.acquire()
        self._starting = _thread.allocate_lock()
        self._pumping = _thread.allocate_lock()
        self._thread: threading.Thread | None = None
        self._alone = False              # no thread could be had
        self._again_at = 0.0             # when the next attempt makes sense
        self._followed = self._waited_for = False      # multiprocessing and the interpreter tell us of their end
        self._requests: collections.deque[Ticket] = collections.deque()  # tickets that nobody has seen,
        # those that wait for what was recorded before them,
        self._due: collections.deque[Ticket] = collections.deque()
        # and those whose flush is on its way or with the daemon
        self._asked: collections.deque[Ticket] = collections.deque()
        self._link = Link(self.directory)
        self._greeted = False
        self._news = False               # what the hello says has changed since
        self._out_since: float | None = None           # when the daemon was last seen to be gone
        self._idle_s = BATCH_S
        self._ending = False             # the goodbye is on its way
        self._leaving = False            # the thread is to say it
        self.away = self.disabled or self.closed  # recording only counts

    # ---- recording ----

    def put(self, record: bytes) -> bool:
        """Takes one record. False: it was dropped, and counted."""
        pending = self.pending
        places = len(pending)
        if places & STEP_MASK == 0 and not self.room(places):
            return False
        more = len(record) // PLACE_BYTES
        if more:
            if places + more >= PLACES or len(record) > RECORD_MAX:
                self.drop()
                return False
            pending.append(record)
            pending.extend(itertools.repeat(b"", more))
        else:
            pending.append(record)
        return True

    def drop(self) -> None:
        """Counts a record that there will not be."""
        next(self._drops)

    def room(self, places: int) -> bool:
        """Asked at every 2048th place, the first among them. Wakes the thread, and gives way to it where many records
        wait; False: dropped, and counted."""
        if places >= PLACES or self.away:
            next(self._drops)
            if self._thread is None and not self.disabled and not self.closed and clock_s() >= self._again_at:
                if not self._start():
                    self._pump_here()  # the daemon may be back
            return False
        if self._thread is None and not self._start():
            self._pump_here()
        self._ring()
        if places >= REST_PLACES and self._link.connected:
            self._rest()
        return True

    @staticmethod
    def _rest() -> None:
        time.sleep(REST_S)

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it has rung and was not heard yet

    def describe(self, **about: object) -> None:
        """Says from now on who is speaking: service_name, service_version, constitutional_hash, those that are not
        None. What was recorded before and waits may come under the new name."""
        said = {**self.about, **_said(about)}
        if said != self.about:
            self.about, self._news = said, True

    # ---- asking ----

    def flush(self, timeout_s: float = 1.0) -> bool:
        """True when the daemon has applied everything that was recorded before. False without a daemon, when it takes
        longer, or when 256 flushes wait already. Waits at most that long; without a daemon only as long as one attempt
        to connect takes."""
        ticket = Ticket(timeout_s)
        return self._post(ticket) and self._await(ticket)

    def close(self, timeout_s: float = EXIT_S) -> bool:
        """Flushes, says goodbye, ends the thread. What is recorded afterwards is dropped. True when the daemon has
        applied everything, or there is nothing to close; a second call is a no-op. A subinterpreter that is not
        isolated needs it before its destruction, since it may have no threads then."""
        if self.closed or self.disabled:
            return True
        if not self._has_something_to_say():
            self._end()
            return True
        ticket = Ticket(timeout_s, goodbye=True)
        ok = self._post(ticket) and self._await(ticket)
        self._end()
        self._join(min(JOIN_S, _seconds(timeout_s)))
        return ok

    def stats(self) -> dict[str, Any]:
        """sent: calls so far; dropped: of these given up; waiting: not written yet; connected; error: the last one.
        Figures are read one after the other: they agree exactly only while nobody records or sends."""
        dropped = self._dropped()
        waiting = sum(map(bool, self.pending.copy())) + len(self._taken) + len(self._outbox)
        return {"sent": self._sent + dropped + waiting, "dropped": dropped, "waiting": waiting,
                "connected": self._link.connected, "error": self._link.error}

    def _post(self, ticket: Ticket) -> bool:
        """False: nobody will see to it."""
        waiting = len(self._requests) + len(self._due) + len(self._asked)
        if self.disabled or self.closed or (waiting >= REQUESTS_MAX and not ticket.goodbye):
            return False
        if self._thread is not None and threading.get_ident() == self._thread.ident:
            return False  # a finaliser that runs in our thread cannot wait for it
        self._requests.append(ticket)
        if self._thread is None:
            self._start()
        self._ring()
        return True

    def _await(self, ticket: Ticket) -> bool:
        while self._thread is None and self._alone and not ticket.settled and time.monotonic() < ticket.deadline:
            if not self._pump_here(wait=True):
                ticket.wait(BATCH_S)
        return ticket.wait()

    def _has_something_to_say(self) -> bool:
        return self._thread is not None or bool(self.pending) or self._dropped() > 0

    def _end(self) -> None:
        self.closed = self.away = True
        self._ring()

    def _join(self, timeout_s: float) -> None:
        thread = self._thread
        if thread is not None and thread.ident != threading.get_ident():
            thread.join(timeout_s)

    # ---- the thread ----

    def _start(self) -> bool:
        """False: no thread can be had. Each attempt costs 0.1 ms, so that the next one comes AGAIN_S later."""
        if self._alone and clock_s() < self._again_at:
            return False
        if not self._starting.acquire(False):
            return True  # somebody is at it
        try:
            if self._thread is None:
                self._thread = self._new_thread()
                self._alone = self._thread is None
                self._again_at = clock_s() + AGAIN_S if self._alone else 0.0
        finally:
            self._starting.release()
        for begin in beginnings:
            begin()
        return not self._alone

    def _new_thread(self) -> threading.Thread | None:
        try:
            self._follow_multiprocessing()
        except Exception:  # another thread is importing it just now
            self._followed = False
        # Subinterpreters may have no daemon threads, and wait for others before they call atexit's functions.
        for daemon in (True, False):
            try:
                if not daemon and not self._waited_for:
                    self._waited_for = True
                    getattr(threading, "_register_atexit", atexit.register)(self._leave)
                thread = threading.Thread(target=self._run, name="dwell", daemon=daemon)
                thread.start()
                return thread
            except (RuntimeError, MemoryError):
                continue
        return None

    def _leave(self) -> None:
        """The interpreter waits for the thread to end."""
        self._leaving = True
        self._ring()

    def _run(self) -> None:
        polls = not threading.current_thread().daemon
        farewell = None
        while not self.closed:
            self._hear(min(self._nap_s(), POLL_S) if polls else self._nap_s())
            if farewell is None and (self._leaving or (polls and not threading.main_thread().is_alive())):
                farewell = Ticket(EXIT_S - POLL_S - JOIN_S, goodbye=True)
                self._requests.append(farewell)
            with self._pumping:
                self._pump()
            if farewell is not None and (farewell.settled or time.monotonic() >= farewell.deadline):
                self._end()
        self._link.abandon()

    def _hear(self, nap_s: float) -> None:
        rang = self._bell.acquire(timeout=nap_s) if nap_s > 0 else self._bell.acquire(False)
        if rang and not self._requests and 0 < len(self.pending) <= STEP_MASK and not self._outbox:
            self._bell.acquire(timeout=BATCH_S)

    def _nap_s(self) -> float:
        """How long there is nothing to do unless the bell rings."""
        if self._link.connected:
            now = time.monotonic()
            if self._outbox or any(now < ticket.deadline for ticket in self._asked):
                return 0.0  # what writes and reads waits by itself
            if self.pending or self._taken or self._due or self._asked:
                self._idle_s = BATCH_S
                return BATCH_S
        elif self.pending or self._taken or self._requests or self._due or self.away:
            return self._link.wait_s()
        self._idle_s = min(2 * self._idle_s, IDLE_S)
        return self._idle_s

    def _pump_here(self, wait: bool = False) -> bool:
        """As the thread does, and only with `wait` waiting for the daemon. False: somebody else is at it."""
        if not self._pumping.acquire(False):
            return False
        try:
            self._pump(wait)
        finally:
            self._pumping.release()
        return True

    def _pump(self, wait: bool = True) -> None:
        """Sends what there is and takes answers. Nothing gets out of here: what went wrong with it is dropped."""
        try:
            while self._send(wait):
                pass
        except Exception as error:  # no memory, or a fault of ours
            self._link.break_off(f"{type(error).__name__}: {error}")
            self._lost_link()
            self._give_up()
            self._settle(self._requests, self._due)

    def _send(self, wait: bool) -> bool:
        """One write and one read; False: nothing more can be done now."""
        link = self._link
        self._admit()
        if not (self._outbox or self._taken or self.pending or self._due or self._asked or self.away or
                link.connected):
            return False
        if not link.connected and not self._connect():
            return False
        if not self._outbox:
            self._fill()
        wrote = 0
        if self._outbox:
            wrote = link.send(self._outbox.rest(), wait)
            if wrote < 0:
                return self._lost_link()
            self._written(wrote)
        answered = 0
        if self._asked and wait and not self._outbox:
            until = min(max(ticket.deadline for ticket in self._asked), time.monotonic() + BATCH_S)
            answered = link.read(max(0.0, until - time.monotonic()))
        elif self._asked or not wrote:  # each call lets other threads go first, so none that need not be
            answered = link.read()
        if answered < 0 or not self._answered(answered):
            return self._lost_link()
        if self._outbox or (link.doubt and self._asked):
            self._nobody()  # a daemon that is behind: it may be for ever
            return wrote > 0
        self._out_since = None
        self.away = self._ending or self.closed
        return wrote > 0 or answered > 0

    def _admit(self) -> None:
        """Looks at new tickets, and lets those go for which nobody waits any more."""
        while self._requests:
            ticket = self._requests.popleft()
            ticket.places = len(self.pending)
            self._due.append(ticket)
        now = time.monotonic()
        for _ in range(len(self._due)):
            ticket = self._due.popleft()
            if now < ticket.deadline:
                self._due.append(ticket)
            else:
                ticket.settle(False)

    def _connect(self) -> bool:
        self._greeted = False
        if self._link.connect(at_once=bool(self._due)):
            self._on_link = 0
            return True
        self._settle(self._due)
        return self._nobody()

    def _fill(self) -> None:
        """Lays the next frames: the hello, records, flushes behind what was recorded before them."""
        dropped, before = self._dropped(), b""
        frames: list[tuple[bytes, list[bytes], Any]] = []
        if not self._greeted or self._news:
            before = b"" if self._greeted else _wire.MAGIC
            self._greeted, self._news = True, False
            frames.append((self._control(_wire.hello(pid=self._pid, client=f"dwell-python/{VERSION}", **self.about),
                                         dropped), [], None))
            if self._link.doubt:  # no records before it has answered
                frames.append((self._control(_wire.FLUSH, dropped), [], Ticket(self._keep_s)))
        if not self._link.doubt:
            if not self._taken:
                self._taken = self._take()
            number = self._sent + dropped
            for records in self._cut(self._taken):
                frames.append((_wire.frame(self._id, number, dropped, records), records, None))
                number += len(records)
            while self._due and self._due[0].places <= 0:
                ticket = self._due.popleft()
                frames.append((_wire.frame(self._id, number, dropped, (_wire.FLUSH,)), [], ticket))
                if ticket.goodbye:
                    frames.append(self._goodbye(number - dropped))
            self._outbox.fill(frames, before)
            self._taken = []
        else:
            self._outbox.fill(frames, before)

    def _control(self, message: bytes, dropped: int) -> bytes:
        return _wire.frame(self._id, self._sent + dropped, dropped, (message,))

    def _goodbye(self, records: int) -> tuple[bytes, list[bytes], Any]:
        """Ends recording; what still waits is dropped, and told."""
        self._ending = self.away = True
        while self.pending:
            self._given_up += len(self._take())
        dropped = self._dropped()
        goodbye = _wire.goodbye(records + dropped)
        return _wire.frame(self._id, records + dropped, dropped, (goodbye,)), [], None

    def _take(self) -> list[bytes]:
        """The next records, some TURN_BYTES of them."""
        taken: list[bytes] = []
        size = 0
        while self.pending and size < TURN_BYTES:
            records, more = self._take_places(min(len(self.pending), TURN_PLACES))
            taken += records
            size += more
        return taken

    def _take_places(self, count: int) -> tuple[list[bytes], int]:
        """The records of so many places that are taken, and their bytes."""
        take = self.pending.popleft
        for ticket in self._due:
            ticket.places -= count
        if speed is not None:
            records: list[bytes]
            records, size = speed.take(take, count)
            return records, size
        places = [take() for _ in range(count)]
        return list(filter(None, places)), sum(map(len, places))

    @staticmethod
    def _cut(records: list[bytes]) -> Iterator[list[bytes]]:
        """As many at once as a frame has room for, and at least one."""
        ends = list(itertools.accumulate(map(len, records)))
        at, base = 0, 0
        while at < len(records):
            to = max(bisect.bisect_right(ends, base + FRAME_BYTES - HEAD_BYTES), at + 1)
            yield records[at:to]
            at, base = to, ends[to - 1]

    def _written(self, count: int) -> None:
        for records, ticket in self._outbox.advance(count):
            self._sent += len(records)
            self._on_link += len(records)
            if ticket is not None:
                self._asked.append(ticket)

    def _answered(self, count: int) -> bool:
        """False: more answers than questions."""
        if count > len(self._asked):
            self._link.break_off("an answer without a question")
            return False
        for _ in range(count):
            self._asked.popleft().settle(True)
        return True

    def _lost_link(self) -> bool:
        """The connection is gone: what was not written as a whole is to be framed anew. Always False."""
        records, tickets = self._outbox.take_back()
        self._taken = records + self._taken
        self._settle(self._asked, tickets)
        if self._link.refused:  # none of it was applied, and the daemon has not counted it either
            self._sent -= self._on_link
            self._given_up += self._on_link
        self._on_link = 0
        return self._nobody()

    @staticmethod
    def _settle(*queues: collections.deque[Ticket] | list[Ticket]) -> None:
        for queue in queues:
            for ticket in tuple(queue):
                ticket.settle(False)
            queue.clear()

    def _nobody(self) -> bool:
        """There is no daemon, or it does not read: keeps what there is for a time. Always False."""
        now = time.monotonic()
        if self._out_since is None:
            self._out_since = now
        elif now - self._out_since > self._keep_s:
            self.away = True
            self._give_up()
        over = len(self.pending) - PLACES
        if over > 0:
            self._given_up += len(self._take_places(over)[0])
        return False

    def _give_up(self) -> None:
        """Drops what waits, but not a frame of which a part is written already."""
        records, tickets = self._outbox.take_back(keep_begun=self._link.connected)
        self._given_up += len(records) + len(self._taken)
        self._taken = []
        self._settle(tickets)
        while self.pending:
            self._given_up += len(self._take())

    def _dropped(self) -> int:
        return int(repr(self._drops)[6:-1]) + self._given_up

    # ---- forks and exits ----

    def _after_fork(self) -> None:
        self.pending.clear()
        self._link.abandon()
        self._begin()

    def _follow_multiprocessing(self) -> None:
        """Its children end without atexit, and forget at their start who wanted to know of their end."""
        util = sys.modules.get("multiprocessing.util")
        if util is not None and not self._followed:
            self._followed = True
            util.register_after_fork(self, Client._end_with_multiprocessing)
            self._end_with_multiprocessing()

    def _end_with_multiprocessing(self) -> None:
        process = sys.modules.get("multiprocessing.process")
        if process is not None and process.parent_process() is not None:
            sys.modules["multiprocessing.util"].Finalize(None, _close_all, exitpriority=0)


_living: weakref.WeakSet[Client] = weakref.WeakSet()


def _fork_in_child() -> None:
    global _default_lock
    _default_lock = threading.RLock()  # another thread may have held it
    for client in list(_living):
        client._after_fork()


def _close_all() -> None:
    """Closes all clients that have something to say, in the time of one."""
    deadline = time.monotonic() + EXIT_S
    clients = [client for client in list(_living)
               if not client.closed and client._has_something_to_say()]
    tickets = [Ticket(EXIT_S - JOIN_S, goodbye=True) for _ in clients]
    posted = [client._post(ticket) for client, ticket in zip(clients, tickets)]
    for client, ticket, good in zip(clients, tickets, posted):
        if good:
            client._await(ticket)
    for client in clients:
        client._end()
    for client in clients:
        client._join(max(0.0, deadline - time.monotonic()))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fork_in_child)
atexit.register(_close_all)

# ---- the one of this process ----

_default: Client | None = None
_default_lock = threading.RLock()  # a signal handler may ask while this thread makes it


def client() -> Client:
    """The client of this process, made at its first use."""
    global _default
    if _default is None:
        with _default_lock:
            made = Client(service_name=os.environ.get("OTEL_SERVICE_NAME"),
                          constitutional_hash=os.environ.get("CONSTITUTIONAL_HASH"))
            if _default is None:
                _default = made
    return _default
