"""Every client against the same files: tests/data/wire/clients/NAME.ndjson and the frame NAME.hex that a client must
make of it, and against a daemon that shows the same after the client's records as after the lines themselves.

    1. a client's driver reads NDJSON and records it by the client's own calls
    2. with --encode it prints its frame, which is compared byte for byte (proto/WIRE.md, "Conformance")
    3. else it sends: /metrics and /api/v1/models are compared with those of a daemon that was sent the lines

libdwell orders fields and names as is quickest for it, so its batches are compared after decoding.

A class for each client, so that a missing toolchain is a skip of its own. `python -m unittest conformance.Python`.
"""
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

import batch  # noqa: E402  (they lie beside this file)
from harness import BUILD, ROOT, WAIT_S, DaemonCase, environment, sanitizer, until  # noqa: E402

DATA = ROOT / "tests/data/wire/clients"
NAMES = sorted(path.stem for path in DATA.glob("*.ndjson"))
CLIENT_ID = bytes(range(16))
BUILD_S = 10 * WAIT_S  # a first build of a Go program, beside something else

# Says who it is if asked to, as every client does: what a process adds to a gauge then ends with it.
REFERENCE = """
import json, os, socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(os.environ["DWELL_DIR"] + "/ingest.sock")
hello = json.dumps({"type": "hello", "pid": os.getpid()}).encode() + b"\\n" if "hello" in sys.argv else b""
peer.sendall(hello + sys.stdin.buffer.read())
peer.shutdown(socket.SHUT_WR)
sys.stdout.write(peer.recv(65536).decode())
"""

# What differs between two daemons that were told the same: what they say of themselves.
OWN = re.compile(r"^(# \w+ )?(dwelld_|process_|target_info|acgs2_service_info)")


def lines(name):
    return (DATA / f"{name}.ndjson").read_bytes()


def frame(name):
    """The bytes of NAME.hex."""
    text = re.sub(r"#.*", "", (DATA / f"{name}.hex").read_text())
    return bytes.fromhex("".join(text.split()))


def hex_text(data):
    """As the files have it: the length, and 32 bytes a line."""
    rows = [data[:4], *(data[at:at + 32] for at in range(4, len(data), 32))]
    return "".join(row.hex(" ") + "\n" for row in rows)


class Listener:
    """In the daemon's place: keeps what a client sends, and answers its flushes."""

    def __init__(self, directory):
        self.batches = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(directory / "ingest.sock"))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        peer, _ = self._socket.accept()
        with peer:
            data = b""
            while got := peer.recv(65536):
                data += got
                whole, rest = batch.frames(data[4:] if not self.batches else data)
                if whole:
                    self.batches += whole
                    data = rest
                    flushes = sum(name == "flush" for one in whole for name, _ in one)
                    peer.sendall(b"\x02\0\0\0\x08\x01" * flushes)

    def end(self):
        self._thread.join(WAIT_S)
        self._socket.close()
        return self.batches


class Facts(DaemonCase):
    """The files are right: by proto/dwell.proto, by the rules of the page, and by the daemon."""

    def test_every_file_has_its_frame(self):
        self.assertEqual(NAMES, sorted(path.stem for path in DATA.glob("*.hex")))
        self.assertGreater(len(NAMES), 20)

    def test_frames_keep_to_the_layout(self):
        for name in NAMES:
            with self.subTest(name):
                (found,), rest = batch.frames(frame(name))
                self.assertEqual(rest, b"")
                self.assertEqual(found[:3], [("client_id", CLIENT_ID), ("first_sequence", 0), ("dropped", 0)])
                self.assertEqual(len(found) - 3, len(lines(name).splitlines()))
                for kind, fields in found[3:]:
                    self.assertIn(kind, batch.RECORDS)
                    batch.must_ascend(fields, kind.capitalize())
                    self.assertFalse([key for key, _ in fields if key.endswith("_ref")])

    def test_the_daemon_takes_frames_and_lines_alike(self):
        by_lines, by_frame = self.start(), self.start()
        for name in NAMES:
            with self.subTest(name):
                must_take_lines(self, by_lines, lines(name))
                self.assertEqual(by_frame.send_raw(b"DWL1" + frame(name)), b"")
                must_show_the_same(self, by_frame, by_lines)


def must_take_lines(case, daemon, text, *hello):
    """Sends the lines from a process of its own, which has ended afterwards."""
    done = subprocess.run([sys.executable, "-B", "-c", REFERENCE, *hello], input=text, capture_output=True, timeout=WAIT_S,
                          check=False, env=environment(DWELL_DIR=str(daemon.directory)))
    case.assertEqual((done.returncode, done.stdout, done.stderr), (0, b"", b""))


def shown(daemon):
    until(lambda: daemon.metrics().get("dwelld_processes") == 0, "what the process gave to gauges has ended")
    text = daemon.get("/metrics").text
    return [line for line in text.splitlines() if not OWN.match(line)], daemon.get("/api/v1/models").json


def must_show_the_same(case, daemon, other):
    case.assertEqual(shown(daemon), shown(other))


class Conformance:
    """What is asked of each client. `driver` gives the command that records; `agent` is the client's name."""

    agent = None
    encode = "--encode"
    kinds = batch.RECORDS  # that its calls can be told to record as they are

    def driver(self):
        raise NotImplementedError

    def names(self):
        for name in NAMES:
            (found,), _ = batch.frames(frame(name))
            if {kind for kind, _ in batch.records(found)} <= set(self.kinds):
                yield name

    def run_driver(self, *options, text, **environ):
        command, place = self.driver()
        done = subprocess.run([*command, *options], input=text, capture_output=True, timeout=BUILD_S, check=False,
                              cwd=place, env=environment(**environ))
        self.assertEqual((done.returncode, done.stderr.decode()), (0, ""))
        return done.stdout.decode()

    def must_make(self, name):
        made = bytes.fromhex(self.run_driver(self.encode, text=lines(name)))
        self.assertEqual(hex_text(made), hex_text(frame(name)))

    def test_frames_are_the_same(self):
        for name in self.names():
            with self.subTest(name):
                self.must_make(name)

    def test_the_daemon_shows_the_same(self):
        daemon, other = self.start(), self.start()
        text = b"".join(lines(name) for name in self.names())
        must_take_lines(self, other, text, "hello")
        self.run_driver(text=text, DWELL_DIR=str(daemon.directory))
        must_show_the_same(self, daemon, other)
        count = len(text.splitlines())
        metrics = daemon.metrics()
        ledger = {term: int(metrics.get(f"dwelld_client_{term}_total", 0, client=self.agent))
                  for term in ("sent", "accepted", "rejected", "dropped", "lost")}
        self.assertEqual(ledger, {"sent": count, "accepted": count, "rejected": 0, "dropped": 0, "lost": 0})


class Python(Conformance, DaemonCase):
    agent = "dwell-python/0.1.0"

    def driver(self):
        return [sys.executable, "-B", str(HERE / "driver.py")], ROOT


class C(Conformance, DaemonCase):
    agent = "libdwell/0.1.0"
    kinds = ("sample", "metric")  # spans and budgets are measured by the library

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.place = pathlib.Path(tempfile.mkdtemp(prefix="dwell-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.place, ignore_errors=True)
        if shutil.which("cc") is None:
            raise unittest.SkipTest("cc is not installed (package gcc)")
        checks = [f"-fsanitize={sanitizer()}"] if sanitizer() else []
        subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", *checks, f"-I{ROOT}/client",
                        "-o", cls.place / "driver", HERE / "driver.c", BUILD / "libdwell.a", "-ljansson", "-pthread"],
                       check=True, timeout=BUILD_S)

    def driver(self):
        return [str(self.place / "driver")], ROOT

    def must_make(self, name):
        """After decoding."""
        directory = self.directory()
        listener = Listener(directory)
        self.run_driver(text=lines(name), DWELL_DIR=str(directory))
        made = [record for one in listener.end() for record in batch.records(one)]
        (wanted,), _ = batch.frames(frame(name))
        self.assertEqual(made, batch.records(wanted))


class Go(Conformance, DaemonCase):
    agent = "dwell-go/0.1.0"
    encode = "-encode"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not (ROOT / "client/go/internal/conform").is_dir():
            raise unittest.SkipTest("client/go has no driver")
        if shutil.which("go") is None:
            raise unittest.SkipTest("go is not installed (https://go.dev)")
        cls.place = pathlib.Path(tempfile.mkdtemp(prefix="dwell-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.place, ignore_errors=True)
        subprocess.run(["go", "build", "-o", cls.place / "conform", "./internal/conform"], cwd=ROOT / "client/go",
                       check=True, timeout=BUILD_S)

    def driver(self):
        return [str(self.place / "conform")], ROOT


class Node(Conformance, DaemonCase):
    agent = "dwell-node/0.1.0"
    script = ROOT / "client/node/test/conform.mjs"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not cls.script.exists():
            raise unittest.SkipTest("client/node has no driver")
        if shutil.which("node") is None:
            raise unittest.SkipTest("node is not installed (package nodejs)")

    def driver(self):
        return ["node", str(self.script)], ROOT


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:  # a new NAME.ndjson gets its frame from the Python client, to be looked at
        for missing in NAMES:
            if not (DATA / f"{missing}.hex").exists():
                said = subprocess.run([sys.executable, "-B", HERE / "driver.py", "--encode"], input=lines(missing),
                                      capture_output=True, check=True).stdout
                (DATA / f"{missing}.hex").write_text(hex_text(bytes.fromhex(said.decode())))
    else:
        unittest.main()
