"""Runs the real daemon in a directory of its own, and talks to it as clients do.

Nothing here waits for a fixed time: the daemon is ready when it says so, and everything else is
known from an answer, the end of a connection, or a predicate polled against a deadline.
"""
import contextlib
import gzip
import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from exposition import Exposition

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = (ROOT / os.environ.get("DWELL_BUILD", "build")).resolve()
DWELLD = BUILD / "dwelld"
HASH = "cdd01ef066bc6cf2"
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PROTOBUF = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

WAIT_S = 60  # for anything that should take milliseconds, on a machine that does something else

# What sanitizers, assertions and the sandbox say when they find something.
_FAULTS = re.compile(r"Sanitizer|runtime error:|Assertion .* failed|stack smashing|corrupted|the system call .* was refused")

# What would lead the daemon elsewhere than a test wants it.
_FOREIGN = re.compile(r"DWELL_|OTEL_|GRPC_|ENVIRONMENT$|CONSTITUTIONAL_HASH$|RUNTIME_DIRECTORY$|XDG_RUNTIME_DIR$|LISTEN_|NOTIFY_")


def sanitizer():
    """What the daemon was built with, as the compiler calls it; "" when with none."""
    binary = DWELLD.read_bytes()
    return "address,undefined" if b"__asan_init" in binary else "thread" if b"__tsan_init" in binary else ""


def sanitized():
    """True when it has a sanitizer, whose own memory no limit is meant for."""
    return sanitizer() != ""


def environment(**more):
    clean = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
    return {**clean, **more}


def cpu_of_children():
    """Seconds of CPU of all that was started and has ended: what else the machine does is not in it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def until(predicate, what, seconds=WAIT_S):
    """Polls until the predicate gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"in {seconds} s it did not come to this: {what}")
        time.sleep(0.01)


def run(*arguments, env=None, **options):
    """Runs the daemon for what ends by itself."""
    return subprocess.run([DWELLD, *arguments], env=environment(**(env or {})), capture_output=True, text=True,
                          timeout=WAIT_S, stdin=subprocess.DEVNULL, **options)


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.raw = body
        self.body = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body

    @property
    def text(self):
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body, parse_constant=lambda word: (_ for _ in ()).throw(ValueError(word)))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)  # before there is a timeout: a full backlog is waited for, not an error
        self.sock.settimeout(self.timeout)


class Peer:
    """A client of the stream socket."""

    def __init__(self, path, timeout=WAIT_S):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))  # before there is a timeout: a full backlog is waited for, not an error
        self.socket.settimeout(timeout)
        self.pending = b""

    def send(self, data):
        self.socket.sendall(data.encode() if isinstance(data, str) else data)
        return self

    def records(self, *records):
        return self.send("".join(json.dumps(record) + "\n" for record in records))

    def end(self):
        """No more input; answers can still be read."""
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def line(self):
        """The next line of answer as JSON; None at the end."""
        while b"\n" not in self.pending:
            got = self.socket.recv(65536)
            if not got:
                assert not self.pending, f"a cut answer: {self.pending!r}"
                return None
            self.pending += got
        line, self.pending = self.pending.split(b"\n", 1)
        return json.loads(line)

    def exactly(self, count):
        while len(self.pending) < count:
            got = self.socket.recv(65536)
            assert got, f"the connection ended after {self.pending!r}"
            self.pending += got
        data, self.pending = self.pending[:count], self.pending[count:]
        return data

    def rest(self):
        """Everything up to the end of the connection. A reset counts as an end."""
        with contextlib.suppress(ConnectionResetError):
            while got := self.socket.recv(65536):
                self.pending += got
        data, self.pending = self.pending, b""
        return data

    def lines(self):
        """All answers up to the end, as JSON."""
        return [json.loads(line) for line in self.rest().splitlines()]

    def flush(self):
        """Asks for and returns the number of records applied; no other answers may wait."""
        self.records({"type": "flush"})
        return self.line()["flushed"]

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Daemon:
    """One running dwelld."""

    def __init__(self, *arguments, sets=None, directory=None, env=None, place=True, listen="127.0.0.1:0", program=DWELLD,
                 wrapper=(), **options):
        """`place`: False leaves the choice of the directory to the daemon. `wrapper`: a command that runs commands, which
        becomes the daemon's own process or hands on its end. The rest is Popen's."""
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="dwell-test-"))
        self.directory = pathlib.Path(directory) if directory else self.base / "d"
        settings = {"http.listen": listen}
        if place:
            settings["ingest.directory"] = self.directory
        settings.update(sets or {})
        command = [*map(str, wrapper), str(program), *arguments]
        for path, value in settings.items():
            command += ["--set", f"{path}={value if isinstance(value, (str, pathlib.Path)) else json.dumps(value)}"]
        self.log = []
        self.stopped = False
        self._news = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(command, env=environment(**(env or {})), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        try:
            self._read_start()
        except BaseException:
            self.kill()
            raise

    def _read_log(self):
        for line in self.process.stderr:
            with self._news:
                self.log.append(line.decode(errors="replace").rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait_log(self, pattern, after=0):
        """Waits for a line of the log that the pattern is found in, and returns the match."""
        deadline = time.monotonic() + WAIT_S
        with self._news:
            at = after
            while True:
                for line in self.log[at:]:
                    if found := re.search(pattern, line):
                        return found
                at = len(self.log)
                if self._ended or not self._news.wait(max(0.0, deadline - time.monotonic())):
                    raise AssertionError(f"no log line like {pattern!r}:\n" + "\n".join(self.log))

    def _read_start(self):
        self.wait_log(r"is ready$")
        self.directory = pathlib.Path(self.wait_log(r"samples to (.*)/ingest\.sock and ").group(1))
        self.http_address = self.wait_log(r"metrics at http://(\S+)/metrics").group(1)
        host, _, port = self.http_address.rpartition(":")
        self.address = (host.strip("[]"), int(port))

    @property
    def ingest(self):
        return self.directory / "ingest.sock"

    @property
    def pid(self):
        return self.process.pid

    # --- the end ---

    def send_signal(self, number):
        self.process.send_signal(number)

    def wait(self):
        """The exit status; the whole log has been read then."""
        status = self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        return status

    def stop(self, number=signal.SIGTERM, status=0):
        """Ends it in order; it must have found nothing wrong with itself."""
        if self.stopped:
            return self
        self.stopped = True
        try:
            if self.process.poll() is None:
                self.send_signal(number)
            got = self.wait()
            log = "\n".join(self.log)
            assert not _FAULTS.search(log), log
            assert got == status, f"exit status {got}, expected {status}:\n{log}"
        finally:
            self.kill()
        return self

    def kill(self):
        self.stopped = True
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(WAIT_S)
        self.process.stderr.close()
        shutil.rmtree(self.base, ignore_errors=True)

    # --- ingest ---

    def peer(self):
        return Peer(self.ingest)

    def send(self, *records):
        """Sends records over a connection of their own; returns the answers once all are applied."""
        with self.peer() as peer:
            return peer.records(*records).end().lines()

    def send_raw(self, data):
        """The same with bytes; returns the bytes that came back. The daemon may end it before all is sent."""
        with self.peer() as peer:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                peer.send(data)
                peer.end()
            return peer.rest()

    def datagram(self, data):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(WAIT_S)
            sender.sendto(data.encode() if isinstance(data, str) else data, str(self.directory / "ingest.dgram"))

    # --- HTTP ---

    def _connection(self, door):
        if door == "tcp":
            return http.client.HTTPConnection(*self.address, timeout=WAIT_S)
        return _UnixConnection(self.directory / f"{door}.sock", WAIT_S)

    def request(self, method, target, headers=None, body=None, door="tcp"):
        with contextlib.closing(self._connection(door)) as connection:
            connection.request(method, target, body=body, headers=headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def get(self, target, door="tcp", **headers):
        """Asks again where a machine that does much else kept the daemon's loop from its CPU for a second."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}

        def answered():
            answer = self.request("GET", target, headers, door=door)
            return None if answer.status == 503 and b"too busy" in answer.body else answer
        return until(answered, f"an answer to GET {target}")

    def raw_http(self, data, door="tcp"):
        """Sends bytes and returns the connected socket."""
        connection = self._connection(door)
        connection.connect()
        sock = connection.sock
        if data:
            sock.sendall(data)
        return sock

    def metrics(self, accept=None, door="tcp"):
        answer = self.get("/metrics", door=door, **({"Accept": accept} if accept else {}))
        assert answer.status == 200, answer.text
        return Exposition(answer.text)

    def sample_count(self, name):
        """Of one model; 0 while it is not known, so that it can be waited for."""
        return self.models().get(name, {"sample_count": 0})["sample_count"]

    def models(self, window=None):
        """{name: MODEL}; for models with one label set."""
        listed = self.get("/api/v1/models" + (f"?window={window}" if window else "")).json["models"]
        return {model["model_name"]: model for model in listed}

    def status(self):
        return self.get("/api/v1/status").json

    def reset(self, target="/api/v1/reset"):
        return self.request("POST", target, door="admin").json["reset"]

    def rejected(self):
        """{reason: count} of what is not 0."""
        return {labels["reason"]: int(value) for labels, value in self.metrics().series("dwelld_records_total")
                if labels["outcome"] == "rejected" and value > 0}

    def accepted(self):
        return int(self.metrics().get("dwelld_records_total", outcome="accepted", reason=""))

    # --- the process ---

    def resident_kb(self):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def steady_descriptors(self):
        """How many there are when nothing is closed or opened any more: the same number several times."""
        seen = []

        def is_steady():
            seen.append(self.descriptors())
            return len(seen) >= 5 and len(set(seen[-5:])) == 1
        until(is_steady, "descriptors stay the same")
        return seen[-1]


class DaemonCase(unittest.TestCase):
    """Tests that run daemons; each is stopped in order at the end, and must end well."""

    maxDiff = None

    def start(self, *arguments, **options):
        daemon = Daemon(*arguments, **options)
        self.addCleanup(daemon.stop)
        return daemon

    def directory(self):
        """A fresh empty directory that goes with the test."""
        base = pathlib.Path(tempfile.mkdtemp(prefix="dwell-test-"))
        self.addCleanup(shutil.rmtree, base, ignore_errors=True)
        return base
