"""What waits for the daemon, and the thread that sends it.

Happy path:
    1. a recording call appends one record, bytes already, to `pending`; no lock, no system call
    2. the first of them rings the bell; the thread wakes, and 50 ms later, or when 2048 wait, takes them
    3. they go out in frames of some 64 kB; replies are read
    4. `flush` hands the thread a ticket and waits until the daemon has applied what came before
    5. at the interpreter's exit: flush, goodbye, within a second

                 append                popleft               write
    application -------> pending (deque) -------> one batch -------> daemon
                  full: dropped, counted       no daemon for KEEP_S: dropped, counted

Two designs were weighed. A lock around a list and a counter is what most libraries have: it costs a call of the lock
on each record, stands still with its holder, and deadlocks in a signal handler. Appends to a deque are atomic in
CPython, and its length tells both what the lock was for: 0 says that the thread sleeps, and a full one has as many
records as places. So one test, `len(pending) & 2047`, leaves the usual record without either.

What can fail: no daemon (all is kept KEEP_S, then recording only counts), one that hangs (the same), a fork (the
child begins anew with nothing of the parent's), no thread (records go out by the calls themselves), memory (the
record is dropped). Nothing of that reaches the application.

Threads: every method may be called by any thread at once, and from signal handlers.
"""
import _thread
import atexit
import collections
import itertools
import os
import sys
import threading
import time
import weakref

from . import _locate, _wire
from ._link import BLOCKED, BROKEN, DONE, Link
from ._version import VERSION

BATCH_S = 0.050           # that a record may wait for company
FRAME_BYTES = 64 * 1024
RECORD_MAX = 512 * 1024   # of one record; half of what a daemon takes as a frame by default
PLACES = 32768            # that may wait; a record takes one for each PLACE_BYTES, so these are 16 MB
PLACE_BYTES = 512
STEP_MASK = 2047          # PLACES is looked at, and the thread rung for, at every 2048th
KEEP_S = 10.0             # without a daemon; the daemon's windows go by the time of arrival
EXIT_S = 1.0              # that the end of the interpreter may wait for
REQUESTS_MAX = 256        # flushes that wait at once


class Ticket:
    """A flush that somebody waits for."""
    __slots__ = ("deadline", "done", "ok", "goodbye")

    def __init__(self, timeout_s, goodbye=False):
        self.deadline = time.monotonic() + timeout_s
        self.done = _thread.allocate_lock()
        self.done.acquire()
        self.ok = False
        self.goodbye = goodbye

    def settle(self, ok):
        self.ok = ok
        try:
            self.done.release()
        except RuntimeError:
            pass  # settled already

    def wait(self):
        self.done.acquire(timeout=max(0.0, self.deadline - time.monotonic()))
        return self.ok


class Client:
    """Sends records. Make one a process (`dwell.client()` is it); a second one is a client of its own."""

    def __init__(self, directory=None, service_name=None, service_version=None, constitutional_hash=None,
                 keep_s=KEEP_S):
        self.pending = collections.deque()  # stays the same object, so that callers may keep its `append`
        self.disabled = _locate.disabled()
        self.about = {"service_name": service_name, "service_version": service_version,
                      "constitutional_hash": constitutional_hash}
        self._directory = directory
        self._keep_s = keep_s
        self._begin()
        if not self.disabled:
            _living.add(self)

    def _begin(self):
        """All but `pending` as it is at first; again in the child of a fork."""
        self._id = os.urandom(16)
        self._pid = os.getpid()
        self._drops = itertools.count()  # next() of it is atomic, which += is not
        self._given_up = 0               # records that had waited and were dropped
        self._sent = 0                   # records in frames that were written as a whole
        self._batch = []                 # taken and not written as a whole
        self._frame = None
        self._bell = _thread.allocate_lock()
        self._bell.acquire()
        self._starting = _thread.allocate_lock()
        self._pumping = _thread.allocate_lock()
        self._thread = None
        self._alone = False              # no thread can be had
        self._requests = collections.deque()
        self._link = Link(self._directory)
        self._greeted = False
        self._out_since = None           # when the daemon was last seen to be gone
        self.away = self.disabled        # recording only counts
        self.closed = False

    # ---- recording ----

    def put(self, record):
        """Takes one record. False: it was dropped, and counted."""
        pending = self.pending
        places = len(pending)
        if places & STEP_MASK == 0 and not self.room(places):
            return False
        more = len(record) // PLACE_BYTES
        if more:
            if places + more > PLACES or len(record) > RECORD_MAX:
                self.drop()
                return False
            pending.append(record)
            pending.extend(itertools.repeat(b"", more))
        else:
            pending.append(record)
        return True

    def drop(self):
        """Counts a record that there will not be."""
        next(self._drops)

    def room(self, places):
        """Asked at every 2048th place, the first among them. Wakes the thread; False: dropped, and counted."""
        if places >= PLACES or self.away:
            next(self._drops)
            if self._thread is None and not self.disabled:
                self._start()
            return False
        if self._thread is None and not self._start():
            self._pump_here()
        self._ring()
        return True

    def _ring(self):
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it has rung and was not heard yet

    # ---- asking ----

    def flush(self, timeout_s=1.0):
        """True when the daemon has applied everything that was recorded before. False without a daemon, or when it
        takes longer. Waits at most that long; without a daemon only as long as one attempt to connect takes."""
        return self._ask(Ticket(timeout_s))

    def close(self, timeout_s=EXIT_S):
        """Flushes, says goodbye, ends the thread. What is recorded afterwards is dropped."""
        if self.closed or self.disabled:
            return True
        ok = self._ask(Ticket(timeout_s, goodbye=True))
        self.closed = self.away = True
        self._ring()
        return ok

    def stats(self):
        """sent: calls so far; dropped: of these given up; waiting: not written yet; connected; error: the last one."""
        dropped = self._dropped()
        waiting = sum(map(bool, tuple(self.pending))) + len(self._batch)
        return {"sent": self._sent + dropped + waiting, "dropped": dropped, "waiting": waiting,
                "connected": self._link.connected, "error": self._link.error}

    def _ask(self, ticket):
        if self.disabled or self.closed or len(self._requests) >= REQUESTS_MAX:
            return False
        self._requests.append(ticket)
        if self._thread is None and not self._start():
            while not ticket.ok and self._requests and time.monotonic() < ticket.deadline:
                self._pump_here()
        elif self._thread is not None and threading.get_ident() == self._thread.ident:
            return False  # a finaliser that runs in our thread cannot wait for it
        self._ring()
        return ticket.wait()

    # ---- the thread ----

    def _start(self):
        """False: no thread can be had."""
        if self._alone or not self._starting.acquire(False):
            return not self._alone
        try:
            if self._thread is None and not self._alone:
                self._thread = self._new_thread()
        finally:
            self._starting.release()
        return not self._alone

    def _new_thread(self):
        # Subinterpreters may have no daemon threads: then it looks itself whether the main thread has ended.
        for daemon in (True, False):
            try:
                thread = threading.Thread(target=self._run, name="dwell", daemon=daemon)
                thread.start()
                return thread
            except RuntimeError:
                continue
        self._alone = True
        return None

    def _run(self):
        polls = not threading.current_thread().daemon
        main = threading.main_thread()
        while not self.closed:
            nap_s = self._nap_s()
            if polls:
                nap_s = min(nap_s, 0.2) if nap_s >= 0 else 0.2
            rang = self._bell.acquire(timeout=nap_s)
            if rang and self.pending and not self._requests:
                self._bell.acquire(timeout=BATCH_S)
            self._pump()
            if polls and not main.is_alive():
                self._farewell()
                break
        self._link.abandon()

    def _nap_s(self):
        """How long there is nothing to do unless the bell rings; -1: for ever."""
        if self._link.writing:
            return 0.0
        if self._batch or self.pending or self._requests or self.away:
            return self._link.wait_s() if not self._link.connected else BATCH_S
        return -1

    def _pump_here(self):
        """As the thread does, without waiting for others who do so."""
        if self._pumping.acquire(False):
            try:
                self._pump()
            finally:
                self._pumping.release()

    def _pump(self):
        try:
            while self._send_one():
                pass
            self._answer()
        except MemoryError:
            self._give_up()

    def _send_one(self):
        """Sends a frame; False: there is none, or nobody who takes it."""
        link = self._link
        if not self._batch:
            self._batch = self._take()
        if not self._batch and not self.away and not self._requests:
            return False
        if not link.connected:
            self._greeted, self._frame = False, None
            if not link.connect(at_once=bool(self._requests)):
                return self._nobody()
        if not self._greeted:
            hello = _wire.hello(pid=self._pid, client=f"dwell-python/{VERSION}", **self.about)
            frame, self._greeted = self._make(hello), True
            self._frame = frame + self._make(*self._batch) if self._batch else frame
        elif self._frame is None:
            if not self._batch:
                self.away = False
                return False
            self._frame = self._make(*self._batch)
        state = link.write(self._frame)
        if state == BLOCKED:
            return self._nobody()
        if state == BROKEN:
            self._greeted, self._frame = False, None
            return self._nobody()
        self._sent += len(self._batch)
        self._batch, self._frame, self._out_since, self.away = [], None, None, False
        return link.read()

    def _make(self, *records):
        dropped = self._dropped()
        return _wire.frame(self._id, self._sent + dropped, dropped, records)

    def _take(self):
        """The next records, some 64 kB of them."""
        records, size, take = [], 0, self.pending.popleft
        try:
            while size < FRAME_BYTES:
                record = take()
                if record:
                    records.append(record)
                    size += len(record)
        except IndexError:
            pass
        return records

    def _nobody(self):
        """There is no daemon, or it does not read: keeps what there is for a time. Always False."""
        now = time.monotonic()
        if self._out_since is None:
            self._out_since = now
        elif now - self._out_since > self._keep_s:
            self.away = True
            self._give_up()
        return False

    def _give_up(self):
        """Drops what waits, but not a frame of which a part is written already."""
        if not self._link.writing:
            self._given_up += len(self._batch)
            self._batch, self._frame = [], None
        while self.pending:
            self._given_up += len(self._take())

    def _dropped(self):
        return int(repr(self._drops)[6:-1]) + self._given_up

    def _answer(self):
        """Flushes for those who wait, each in a batch of its own behind everything."""
        while self._requests:
            ticket = self._requests[0]
            ok = not self._batch and not self.pending and self._flush_now(ticket)
            if not ok and self._link.writing and time.monotonic() < ticket.deadline:
                return  # a slow daemon: the next round goes on
            if not ok and self.pending and self._link.connected and time.monotonic() < ticket.deadline:
                return  # others go on recording
            self._requests.popleft()
            ticket.settle(ok)

    def _flush_now(self, ticket):
        link = self._link
        if not link.connected or not self._greeted:
            return False
        if self._write_all(self._make(_wire.FLUSH), ticket.deadline):
            link.asked += 1
            while link.connected and link.answered < link.asked:
                left_s = ticket.deadline - time.monotonic()
                if left_s <= 0 or not link.read(left_s):
                    return False
            if ticket.goodbye and link.connected:
                self._write_all(self._make(_wire.goodbye(self._sent + self._dropped())), ticket.deadline)
            return link.connected
        return False

    def _write_all(self, frame, deadline):
        state = self._link.write(frame)
        while state == BLOCKED and time.monotonic() < deadline:
            state = self._link.write(frame)
        if state == BLOCKED:
            self._link.break_off("the daemon did not read in time")
        return state == DONE

    def _farewell(self):
        self._requests.append(Ticket(EXIT_S, goodbye=True))
        self._pump()
        self.closed = self.away = True

    # ---- forks and exits ----

    def _after_fork(self):
        self.pending.clear()
        self._link.abandon()
        self._begin()
        util = sys.modules.get("multiprocessing.util")
        if util is not None:  # its children end without atexit
            util.register_after_fork(self, lambda client: util.Finalize(client, client.close, exitpriority=0))


_living = weakref.WeakSet()


def _fork_in_child():
    for client in list(_living):
        client._after_fork()


def _exit():
    for client in list(_living):
        if client._thread is not None or client.pending:
            client.close(EXIT_S)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fork_in_child)
atexit.register(_exit)

# ---- the one of this process ----

_default = None
_default_lock = threading.RLock()


def client():
    """The client of this process, made at its first use."""
    global _default
    if _default is None:
        with _default_lock:
            if _default is None:
                _default = Client(service_name=os.environ.get("OTEL_SERVICE_NAME"))
    return _default
