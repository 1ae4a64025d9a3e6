"""One daemon under load, to which one fault is done: starts it, keeps clients sending, says what became of all.

    1. start     a daemon in a directory that outlives it; clients begin, and some batches are confirmed
    2. (fault)   a row of faults.py does what it does, and says when that is over
    3. recover   a new client's record is sent, and looked for in scrapes until it is there
    4. go_on     every client has some more batches confirmed
    5. finish    clients say goodbye; what the daemon shows is compared with what they know

What can fail: any of these takes longer than it may: AssertionError, which says what was waited for.
"""
import contextlib
import http.client
import pathlib
import random
import re
import shutil
import tempfile
import threading
import time

import truth
from client import Client
from harness import WAIT_S, Daemon, until

CLIENTS = 3
PACE_S = 0.004  # between two batches of a client; with 10000 series a family that is enough for all faults
WARM = 5        # batches of each client that are confirmed before a fault, and after
SERIES_MAX = 100000


class Subject(Daemon):
    """A daemon whose log may stay unread."""

    def __init__(self, *arguments, **options):
        self.unread = threading.Event()
        super().__init__(*arguments, **options)

    def _read_log(self):
        for line in self.process.stderr:
            with self._news:
                self.log.append(line.decode(errors="replace").rstrip("\n"))
                self._news.notify_all()
            if self.unread.is_set():
                return
        with self._news:
            self._ended = True
            self._news.notify_all()

    def stop_reading(self):
        """From the next line on. Returns the pipe."""
        self.unread.set()
        return self.process.stderr

    def read_again(self):
        self._reader.join(WAIT_S)
        self.unread.clear()
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def close_log(self):
        """Nobody will ever read it."""
        self._reader.join(WAIT_S)
        self.process.stderr.close()
        self._ended = True


class World:
    def __init__(self, seed, pause_s, options, client=Client):
        """`pause_s`: how long a fault lasts that lasts. `options`: of the daemon, as harness.Daemon has them.
        `client`: the class of its clients."""
        self.random = random.Random(seed)
        self.pause_s = pause_s
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="dwell-chaos-"))
        self.directory = self.base / "d"
        self.options = options
        self.client = client
        self.daemon = None
        self.ended_ns = self.recovered_ms = None
        self.witnesses = 0
        self._cleanup = contextlib.ExitStack()
        self._cleanup.callback(shutil.rmtree, self.base, ignore_errors=True)
        self._stopping = threading.Event()
        self._failure = None
        self.clients = []
        self.victims = []
        self._thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(WAIT_S)
        if self.daemon is not None:
            self.daemon.kill()
        self._cleanup.close()

    def on_exit(self, call, *arguments):
        self._cleanup.callback(call, *arguments)

    # ---- the daemon ----

    def start_daemon(self):
        sets = {"metrics.max_series_per_family": SERIES_MAX, **self.options.get("sets", {})}
        self.daemon = Subject(directory=self.directory, **{**self.options, "sets": sets})

    def restart(self):
        """A new one in the place of the last, which has ended."""
        self.daemon.kill()
        self.start_daemon()

    def must_run(self):
        status = self.daemon.process.poll()
        assert status is None, f"the daemon has ended with {status}: {self.daemon.log[-3:]}"

    # ---- load ----

    def _send(self):
        try:
            while not self._stopping.wait(PACE_S):
                for client in self.clients:
                    client.tick()
        except BaseException as failure:  # told by finish
            self._failure = failure

    def start(self):
        self.start_daemon()
        self.clients = [self.client(self.directory / "ingest.sock", number) for number in range(CLIENTS)]
        self._thread.start()
        self.go_on()

    def go_on(self):
        """Waits until every client has more batches confirmed."""
        before = [client.confirmed for client in self.clients]

        def went_on():
            self.must_run()
            assert self._failure is None, self._failure
            return all(client.confirmed >= count + WARM for client, count in zip(self.clients, before))
        until(went_on, "every client's batches are confirmed")

    def victim(self):
        """One more client, which the fault drives; its account is kept as well."""
        self.victims.append(Client(self.directory / "ingest.sock", CLIENTS + len(self.victims)))
        return self.victims[-1]

    # ---- recovery ----

    def over(self):
        """The fault is: from now on the time counts. Said again it changes nothing."""
        self.ended_ns = self.ended_ns or time.monotonic_ns()

    def is_visible(self, name):
        """Whether a scrape shows that model; False where there is none."""
        try:
            return self.daemon.metrics().get("acgs2_model_inference_total", model_name=name) == 1
        except (OSError, http.client.HTTPException, AssertionError, KeyError):
            return False

    def recover(self):
        """How long it took until a new client's record was visible, in ms: the first time that it is asked."""
        self.over()
        self.witnesses += 1
        name = f"witness-{self.witnesses}"
        record = {"model_name": name, "execution_time_ms": 1}

        def sent():
            self.must_run()
            with contextlib.suppress(OSError):
                self.daemon.send(record)
                return True
        until(sent, "a new client can send")
        until(lambda: self.is_visible(name), "its record is visible")
        if self.recovered_ms is None:
            self.recovered_ms = (time.monotonic_ns() - self.ended_ns) / 1e6
        return self.recovered_ms

    # ---- the end ----

    def shown(self):
        metrics = self.daemon.metrics()
        series = {(int(labels["client"]), int(labels["batch"])): int(value)
                  for labels, value in metrics.series("chaos_records_total")}
        models = {int(labels["model_name"].removeprefix("chaos-")): int(value)
                  for labels, value in metrics.series("acgs2_model_inference_total")
                  if re.fullmatch(r"chaos-\d+", labels["model_name"])}
        return truth.Shown(self.daemon.pid, series, models, self.daemon.status()["ledger"])

    def finish(self):
        """What became of every record; the daemon has ended in order then."""
        self._stopping.set()
        self._thread.join(WAIT_S)
        assert self._failure is None, self._failure
        clients = self.clients + self.victims
        for client in clients:
            client.end(time.monotonic() + WAIT_S)
        found = truth.figures([batch for client in clients for batch in client.records()],
                              sum(client.dropped for client in clients), self.shown())
        self.daemon.stop()
        return found
