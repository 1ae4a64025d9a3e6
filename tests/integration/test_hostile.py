"""What hostile, broken and slow peers can do to the daemon: get the stated error and be counted under
it. Its memory stays bounded and other peers do not notice."""
import contextlib
import json
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import unittest

import wire
from harness import HASH, WAIT_S, DaemonCase, sanitized, until

LINE_MAX = 65536
FRAME_MAX = 1048576
MB = 1024


def line(name="m", **more):
    return json.dumps({"model_name": name, "execution_time_ms": 1, **more})


def padded_line(length):
    start, end = '{"model_name":"m","execution_time_ms":1,"x":"', '"}'
    return start + "x" * (length - len(start) - len(end)) + end


def padded_batch(length):
    """A batch of that many bytes that holds one sample; the rest is an unknown field."""
    content = wire.batch([wire.sample(model_name="m", execution_time_ms=1.0)])
    rest = length - len(content)
    for lengths in range(1, 5):
        padding = rest - lengths - 2
        if len(wire.varint(padding)) == lengths:
            content += wire.field_bytes(100, b"x" * padding)
            assert len(content) == length
            return content
    raise AssertionError


class HostileCase(DaemonCase):
    def answers(self, daemon, data):
        return [json.loads(answer) for answer in daemon.send_raw(data).splitlines()]

    def reasons(self, daemon, data):
        return [answer["reason"] for answer in self.answers(daemon, data)]

    def must_serve(self, daemon):
        """Other peers get all that is theirs."""
        with daemon.peer() as peer:
            peer.send(line("witness") + "\n")
            self.assertEqual(peer.flush(), 1)
        self.assertEqual(daemon.get("/healthz").status, 200)
        self.assertIn("witness", daemon.models())

    @contextlib.contextmanager
    def must_not_grow(self, daemon, by_kb):
        """Resident memory after it is at most so much larger than before."""
        before = daemon.resident_kb()
        yield
        if not sanitized():
            self.assertLess(daemon.resident_kb() - before, by_kb)

    def must_not_lag(self, scenario):
        """No turn of the loop took anything like the time that somebody else was waited for: in one of some tries, each on
        a daemon of its own, as a busy machine may keep the loop from its CPU."""
        def is_quick():
            daemon = scenario()
            return daemon.metrics()["dwelld_loop_lag_max_seconds"] < 0.25
        until(is_quick, "no turn of the loop is late")


class TestHostileLines(HostileCase):
    def test_hostile_lines_at_the_ceiling_and_one_over(self):
        daemon = self.start()
        for length, wanted in ((LINE_MAX - 1, []), (LINE_MAX, []), (LINE_MAX + 1, ["too_long"]), (3 * LINE_MAX, ["too_long"])):
            for end in ("\n", "", "\n" + line() + "\n"):
                with self.subTest(length=length, end=end):
                    self.assertEqual(self.reasons(daemon, padded_line(length) + end), wanted)
        self.assertEqual(daemon.rejected(), {"too_long": 6})
        self.assertEqual(daemon.accepted(), 10)

    def test_hostile_line_ceiling_is_the_configured_one(self):
        daemon = self.start(sets={"ingest.max_line_bytes": 256})
        self.assertEqual(self.reasons(daemon, "\n".join(padded_line(n) for n in (256, 257, 256, 300, 10000, 256))),
                         ["too_long"] * 3)
        self.assertEqual(daemon.accepted(), 3)

    def test_hostile_endless_line_takes_no_memory(self):
        daemon = self.start()
        with daemon.peer() as peer, self.must_not_grow(daemon, 2 * MB):
            peer.send('{"model_name":"')
            for _ in range(64):
                peer.send(b"x" * 2 ** 20)
                self.must_serve(daemon)
            self.assertEqual(peer.line()["reason"], "too_long")
            peer.send("\n" + line() + "\n")
            self.assertEqual(peer.flush(), 1)
        self.assertEqual(daemon.rejected(), {"too_long": 1})

    def test_hostile_values(self):
        daemon = self.start()
        cases = {
            "out_of_range": ['"execution_time_ms":-1', '"execution_time_ms":1e13', '"execution_time_ms":1e999',
                             '"execution_time_ms":1,"cpu_percent_during":-0.5', '"execution_time_ms":1,"batch_size":1e300'],
            "bad_syntax": ['"execution_time_ms":NaN', '"execution_time_ms":Infinity', '"execution_time_ms":-Infinity',
                           '"execution_time_ms":01', '"execution_time_ms":+1', '"execution_time_ms":1.', '"execution_time_ms":.5',
                           '"execution_time_ms":0x10', '"execution_time_ms":1 2', '"execution_time_ms":1,', '"a"', "",
                           '"execution_time_ms":"\\x"', '"execution_time_ms":1}}', '"a":"\\ud800"'],
            "wrong_type": ['"execution_time_ms":"1"', '"execution_time_ms":[1]', '"execution_time_ms":{}',
                           '"execution_time_ms":true', '"execution_time_ms":1,"error":1', '"execution_time_ms":1,"labels":[]',
                           '"execution_time_ms":"NaN"'],
            "duplicate_key": ['"execution_time_ms":1,"execution_time_ms":1', '"execution_time_ms":1,"a":1,"a":1',
                              '"execution_time_ms":1,"labels":{"a":"b","a":"b"}', '"execution_time_ms":1,"\\u0061":1,"a":1'],
        }
        for reason, bodies in cases.items():
            for body in bodies:
                with self.subTest(body=body):
                    text = '{"model_name":"m"' + ("," + body if body else ",") + "}"
                    self.assertEqual(self.reasons(daemon, text + "\n" + line()), [reason])
        self.assertEqual(daemon.rejected(), {reason: len(bodies) for reason, bodies in cases.items()})

    def test_hostile_names(self):
        daemon = self.start()
        for name in (b"", b"x" * 257, "ü".encode() * 129, b"\\u0000", b"a\\u0000b"):
            with self.subTest(name=name):
                self.assertEqual(self.reasons(daemon, b'{"model_name":"' + name + b'","execution_time_ms":1}'), ["bad_name"])
        for name in (b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b"a\x00b", b"tab\there", b"\x1b[2J"):
            with self.subTest(name=name):
                reason, = self.reasons(daemon, b'{"model_name":"' + name + b'","execution_time_ms":1}')
                self.assertIn(reason, ("bad_name", "bad_syntax"))
        self.assertEqual(self.reasons(daemon, line("x" * 256) + "\n" + line("ü" * 128)), [])
        self.assertEqual(set(daemon.models()), {"x" * 256, "ü" * 128})

    def test_hostile_nesting(self):
        daemon = self.start()
        for depth, wanted in ((1, []), (8, []), (9, ["too_deep"]), (100, ["too_deep"]), (30000, ["too_deep"])):
            for opening, closing in (("[", "]"), ('{"a":', "}")):
                with self.subTest(depth=depth, opening=opening):
                    text = '{"model_name":"m","execution_time_ms":1,"x":' + opening * depth + "1" + closing * depth + "}"
                    if len(text) <= LINE_MAX:
                        self.assertEqual(self.reasons(daemon, text), wanted)
        self.must_serve(daemon)

    def test_hostile_many_keys(self):
        daemon = self.start()
        for count, wanted in ((64, []), (65, ["limit_reached"]), (3000, ["limit_reached"])):
            self.assertEqual(self.reasons(daemon, line(**{f"k{i}": i for i in range(count)})), wanted)
        self.assertEqual(self.reasons(daemon, line(labels={f"k{i}": "v" for i in range(16)})), [])
        self.assertEqual(self.reasons(daemon, line(labels={f"k{i}": "v" for i in range(17)})), ["out_of_range"])

    def test_hostile_names_cannot_forge_lines(self):
        """Of the log, of the report, of /metrics, of answers."""
        daemon = self.start(sets={"log.level": "debug"})
        forged = f"\n[{HASH}] 2026-01-01T00:00:00.000Z info FORGED\n\r\x1b[31m\u2028\u0085FORGED\u202e"
        daemon.send({"type": "hello", "service_name": forged, "client": forged, "constitutional_hash": forged})
        answers = daemon.send({"model_name": forged, "execution_time_ms": 1, forged: 1}, {"model_name": "m", forged: 1},
                              {"type": forged}, {forged: 1})
        self.assertEqual(len(answers), 3)
        self.reasons(daemon, '{"type":"x\ud83d\ude42'.encode(errors="surrogatepass") + b'\xff\n')
        daemon.datagram(json.dumps({"model_name": "m", forged: 1}))
        until(lambda: daemon.metrics()["dwelld_datagrams_total"] == 1, "the datagram was read")
        report = daemon.get("/report").text
        metrics = daemon.get("/metrics").text
        daemon.stop()
        head = re.compile(rf"^\[{HASH}\] \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z (error|warning|info|debug) ")
        for log_line in daemon.log:
            self.assertRegex(log_line, head)
            self.assertNotRegex(log_line, r"[\x00-\x1f\x7f\x80-\x9f\u2028\u202e]")
        for report_line in report.splitlines():
            self.assertFalse(report_line.startswith(f"[{HASH}]"), report_line)
        self.assertNotRegex(report, r"[\x00-\x09\x0b-\x1f\x7f\x80-\x9f\u2028\u202e]")
        self.assertNotRegex(metrics, r"(?m)^\[")

    def test_hostile_complaints_are_limited(self):
        """A flood of bad records is not a flood of log lines."""
        daemon = self.start()
        self.assertEqual(len(daemon.send_raw("{}\n" * 500).splitlines()), 500)
        daemon.stop()
        self.assertLess(len([log_line for log_line in daemon.log if "rejected" in log_line]), 10)


class TestHostileFrames(HostileCase):
    def replies(self, daemon, data):
        return wire.read_replies(daemon.send_raw(wire.MAGIC + data))

    def test_hostile_frames_at_the_ceiling_and_one_over(self):
        daemon = self.start()
        for length, reason in ((FRAME_MAX - 1, None), (FRAME_MAX, None), (FRAME_MAX + 1, "too_long"), (2 * FRAME_MAX, "too_long")):
            with self.subTest(length=length):
                replies = self.replies(daemon, wire.frame(padded_batch(length)))
                self.assertEqual([reply["reason"] for reply in replies], [reason] if reason else [])
        self.assertEqual((daemon.accepted(), daemon.rejected()), (2, {"too_long": 2}))

    def test_hostile_frame_ceiling_is_the_configured_one(self):
        daemon = self.start(sets={"ingest.max_frame_bytes": 1024})
        self.assertEqual(self.replies(daemon, wire.frame(padded_batch(1024))), [])
        self.assertEqual([reply["reason"] for reply in self.replies(daemon, wire.frame(padded_batch(1025)))], ["too_long"])
        daemon.datagram(wire.MAGIC + padded_batch(1024))
        daemon.datagram(wire.MAGIC + padded_batch(1025))
        until(lambda: daemon.metrics()["dwelld_datagrams_total"] == 2, "both datagrams were read")
        self.assertEqual((daemon.accepted(), daemon.rejected()), (2, {"too_long": 2}))

    def test_hostile_lengths_reserve_no_memory(self):
        """A length is a promise; memory is used for bytes that came."""
        daemon = self.start()
        with self.must_not_grow(daemon, 4 * MB), contextlib.ExitStack() as stack:
            peers = [stack.enter_context(daemon.peer()) for _ in range(200)]
            for peer in peers:
                peer.send(wire.MAGIC + struct.pack("<I", FRAME_MAX) + b"\x42")
            self.must_serve(daemon)
            for peer in peers:
                self.assertEqual(wire.read_replies(peer.end().rest())[0]["reason"], "bad_frame")
        for length in (FRAME_MAX + 1, 2 ** 31, 2 ** 32 - 1):
            with daemon.peer() as peer:
                peer.send(wire.MAGIC + struct.pack("<I", length))
                self.assertEqual(wire.read_replies(peer.rest())[0]["reason"], "too_long")

    def test_hostile_frames_truncated_at_every_byte(self):
        daemon = self.start()
        whole = wire.frame(wire.batch([wire.sample(model_name="m", execution_time_ms=1.0, device="cpu")] * 2, strings=["a"]))
        for cut in range(1, len(whole)):
            replies = self.replies(daemon, whole + whole[:cut])
            self.assertEqual([reply["reason"] for reply in replies], ["bad_frame"], cut)
        self.assertEqual(daemon.accepted(), 2 * (len(whole) - 1))
        self.assertEqual(daemon.rejected(), {"bad_frame": len(whole) - 1})

    def test_hostile_bit_flips_end_in_an_answer(self):
        daemon = self.start()
        whole = wire.frame(wire.batch([wire.sample(model_name="m", execution_time_ms=1.0, device="cpu", error=1,
                                                   trace_id="ab" * 16, labels={"a": "b"})], strings=["a"], client_id=b"x" * 16))
        for bit in range(8 * len(whole)):
            broken = bytearray(whole)
            broken[bit // 8] ^= 1 << bit % 8
            daemon.send_raw(wire.MAGIC + broken)
        self.must_serve(daemon)

    def test_hostile_string_table(self):
        daemon = self.start()
        samples = [wire.sample(model_ref=ref, execution_time_ms=1.0) for ref in (0, 1, 4096, 4097, 2 ** 32 - 1)]
        self.assertEqual(self.replies(daemon, wire.frame(wire.batch(samples, strings=["s"] * 4096))), [])
        self.assertEqual(daemon.accepted(), 2)
        replies = self.replies(daemon, wire.frame(wire.batch(samples, strings=["s"] * 4097)))
        self.assertEqual([reply["reason"] for reply in replies], ["bad_frame"])

    def test_hostile_models_past_the_ceiling_share_one(self):
        daemon = self.start(sets={"profiling.max_models": 100})
        self.assertEqual(self.replies(daemon, wire.frame(wire.batch(
            wire.sample(model_name=f"m{i}", execution_time_ms=1.0) for i in range(20000)))), [])
        with self.must_not_grow(daemon, 1 * MB):
            self.replies(daemon, wire.frame(wire.batch(
                wire.sample(model_name=f"n{i}", execution_time_ms=1.0) for i in range(20000))))
        metrics = daemon.metrics()
        self.assertEqual((metrics["dwelld_models"], metrics["dwelld_overflow_samples_total"]), (101, 39900))


class TestHostilePeers(HostileCase):
    def test_hostile_slow_peers_delay_nobody(self):
        self.must_not_lag(self.send_slowly)

    def send_slowly(self):
        daemon = self.start()
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(daemon.peer()) for _ in range(20)]
            text = line("slow")
            for at in range(0, len(text)):
                for peer in slow:
                    peer.send(text[at])
                if at % 10 == 0:
                    self.must_serve(daemon)
            for peer in slow:
                self.assertEqual(peer.end().rest(), b"")
        self.assertEqual(daemon.models()["slow"]["sample_count"], 20)
        return daemon

    def test_hostile_connections_at_the_ceiling_and_one_over(self):
        daemon = self.start(sets={"ingest.max_connections": 3})
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(daemon.peer()) for _ in range(3)]
            for peer in peers:
                peer.send(line() + "\n")
                self.assertEqual(peer.flush(), 1)
            with daemon.peer() as one_more:
                self.assertEqual(json.loads(one_more.rest())["reason"], "limit_reached")
            metrics = daemon.metrics()
            self.assertEqual((metrics["dwelld_connections"], metrics["dwelld_connections_refused_total"]), (3, 1))
            for peer in peers:
                peer.send(line() + "\n")
                self.assertEqual(peer.flush(), 2)
            self.assertEqual(peers[0].end().rest(), b"")
            self.must_serve(daemon)
        until(lambda: daemon.metrics()["dwelld_connections"] == 0, "all connections are closed")

    def test_hostile_a_thousand_connections(self):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < 2200:
            self.skipTest(f"only {hard} descriptors may be open")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2200), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        daemon = self.start()
        idle = daemon.steady_descriptors()
        with self.must_not_grow(daemon, 12 * MB), contextlib.ExitStack() as stack:
            peers = [stack.enter_context(daemon.peer()) for _ in range(1000)]
            for peer in peers:
                peer.send(line() + "\n" + '{"half a')
            self.must_serve(daemon)
            self.assertEqual(until(lambda: daemon.metrics()["dwelld_connections"] >= 1000, "all are in"), True)
            self.assertEqual(until(lambda: daemon.sample_count("m") == 1000, "all count"), True)
        until(lambda: daemon.metrics()["dwelld_connections"] == 0, "all connections are closed")
        until(lambda: daemon.descriptors() == idle, "all descriptors are closed")

    def test_hostile_descriptors_are_asked_for(self):
        """A low soft limit is nobody's intention."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        daemon = self.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard)))
        with contextlib.ExitStack() as stack:
            for _ in range(200):
                peer = stack.enter_context(daemon.peer())
                peer.send(line() + "\n")
                self.assertEqual(peer.flush(), 1)

    def test_hostile_too_few_descriptors(self):
        """Without enough of them the ceilings are lower: nobody waits, and HTTP has its share."""
        daemon = self.start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)))
        daemon.wait_log("only 64 descriptors may be open")
        ceiling = daemon.status()["limits"]["ingest.max_connections"]
        self.assertGreater(ceiling, 20)
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(daemon.peer()) for _ in range(100)]
            for number, peer in enumerate(peers):
                if number < ceiling:
                    peer.send(line() + "\n")
                    self.assertEqual(peer.flush(), 1)
                else:
                    self.assertEqual(json.loads(peer.rest())["reason"], "limit_reached")
            self.assertEqual(daemon.get("/report").status, 200)
            self.assertEqual(daemon.metrics(door="query")["dwelld_connections_refused_total"], 100 - ceiling)
        until(lambda: daemon.metrics(door="query")["dwelld_connections"] == 0, "all connections are closed")
        self.must_serve(daemon)

    def test_hostile_peer_that_never_reads_its_answers(self):
        daemon = self.start()
        count = 100000
        with daemon.peer() as deaf, self.must_not_grow(daemon, 3 * MB):
            for _ in range(count // 1000):
                deaf.send("{}\n" * 999 + line() + "\n")
                self.must_serve(daemon)
            metrics = until(lambda: daemon.metrics() if daemon.sample_count("m") == count // 1000 else None,
                            "all lines were read")
            self.assertEqual(daemon.rejected(), {"missing_key": count // 1000 * 999})
            self.assertGreater(metrics["dwelld_lost_replies_total"], count / 2)
            # What it reads late is whole lines, and then it is answered again.
            for _ in range(count // 1000 * 999 - int(metrics["dwelld_lost_replies_total"])):
                self.assertEqual(deaf.line()["reason"], "missing_key")
            self.assertEqual(deaf.end().rest(), b"")

    def test_hostile_peer_that_never_reads_is_let_go_at_its_end(self):
        daemon = self.start()
        with daemon.peer() as deaf:
            deaf.send("{}\n" * 20000).end()
            until(lambda: daemon.rejected() == {"missing_key": 20000}, "all was read")
            until(lambda: daemon.metrics()["dwelld_connections"] == 0, "its time to read is over")

    def test_hostile_peers_that_vanish(self):
        daemon = self.start()
        for number in range(200):
            peer = daemon.peer()
            peer.send(line() + "\n" + "{}\n" * 50)
            # Closing with unread answers resets the connection; what was sent before still counts.
            peer.close()
        until(lambda: daemon.sample_count("m") == 200, "what they sent counts")
        until(lambda: daemon.metrics()["dwelld_connections"] == 0, "all are gone")
        self.must_serve(daemon)

    def test_hostile_idle_peers_are_closed_when_asked_for(self):
        daemon = self.start(sets={"ingest.idle_timeout_ms": 100})
        with daemon.peer() as silent:
            self.assertEqual(silent.rest(), b"")

        def counts():
            """What a silent one had begun; on a busy machine it may be closed before it has."""
            with daemon.peer() as half, contextlib.suppress(BrokenPipeError, ConnectionResetError):
                half.send(line())
                self.assertEqual(half.rest(), b"")
            return daemon.accepted() == 1
        until(counts, "half a line counts when its connection is closed")

    def test_hostile_datagrams_past_the_ceiling(self):
        daemon = self.start()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 ** 21)
            sender.settimeout(WAIT_S)
            for size in (LINE_MAX, LINE_MAX + 1):
                sender.sendto(padded_line(size).encode(), str(daemon.directory / "ingest.dgram"))
        until(lambda: daemon.metrics()["dwelld_datagrams_total"] == 2, "both were read")
        self.assertEqual((daemon.accepted(), daemon.rejected()), (1, {"too_long": 1}))

    def test_hostile_flood_of_datagrams_leaves_http_alive(self):
        daemon = self.start()
        child = subprocess.Popen([sys.executable, "-c", FLOOD, str(daemon.directory / "ingest.dgram")])
        try:
            until(lambda: daemon.metrics()["dwelld_datagrams_total"] > 1000, "the flood runs")
            for _ in range(10):
                self.must_serve(daemon)
        finally:
            child.kill()
            child.wait()


FLOOD = """
import socket, sys
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.connect(sys.argv[1])
while True:
    sock.send(b'{"model_name":"flood","execution_time_ms":1}')
"""


class TestHostileHttp(HostileCase):
    def must_fail(self, daemon, status, method, target, door="tcp", **more):
        answer = daemon.request(method, target, door=door, **more)
        self.assertEqual(answer.status, status, target)
        self.assertEqual(answer.headers["Content-Type"], "application/json")
        self.assertEqual(list(answer.json), ["error"])
        return answer

    def test_hostile_http_addresses(self):
        daemon = self.start()
        for target in ("/metrics%", "/metrics%2", "/%zz", "/api/v1/models/%00", "/api/v1/models/a%00b", "/api/v1/models?name=%00",
                       "/api/v1/models?name=%", "/api/v1/models/%ff", "/api/v1/models?name=%c0%af", "/%ed%a0%80",
                       "/metrics?" + "&".join(f"a{i}=1" for i in range(100))):
            self.must_fail(daemon, 400, "GET", target)
        for target in ("/", "/metric", "/metrics/", "//metrics", "/../etc/passwd", "/api/v1", "/api/v1/models/", "/METRICS",
                       "/api/v1/models/no%20such%20model", "/%2e%2e", "/api/v1/reset", "*"):
            self.must_fail(daemon, 404, "GET", target)
        self.must_fail(daemon, 400, "GET", "/api/v1/models?window=300")
        self.assertEqual(daemon.get("/%6detrics?x=%20&y").status, 200)
        self.assertGreaterEqual(daemon.metrics()["dwelld_http_errors_total"], 20)
        self.must_serve(daemon)

    def test_hostile_http_methods(self):
        daemon = self.start()
        for target in ("/metrics", "/report", "/healthz", "/readyz", "/api/v1/models", "/api/v1/models/x", "/api/v1/budgets", "/api/v1/status"):
            for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"):
                answer = self.must_fail(daemon, 405, method, target)
                self.assertEqual(answer.headers["Allow"], "GET, HEAD")
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            answer = daemon.request(method, "/api/v1/reset", door="admin")
            self.assertEqual((answer.status, answer.headers["Allow"]), (405, "POST"))
        for door in ("tcp", "query"):
            self.must_fail(daemon, 404, "POST", "/api/v1/reset", door=door)

    def test_hostile_http_bodies(self):
        daemon = self.start()
        self.assertEqual(daemon.request("GET", "/healthz", body=b"x" * 4096).status, 200)
        self.must_fail(daemon, 413, "GET", "/healthz", body=b"x" * 4097)
        with contextlib.closing(daemon.raw_http(b"POST /api/v1/reset HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n",
                                                "admin")) as sock:
            self.assertIn(b"413", sock.recv(64))
        for head in ("Content-Length: 99999999999999999999", "Content-Length: -1", "Content-Length: x",
                     "Transfer-Encoding: chunked", "Content-Length: 5\r\nContent-Length: 6"):
            with contextlib.closing(daemon.raw_http(f"GET /healthz HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode())) as sock:
                with contextlib.suppress(OSError):
                    sock.sendall(b"ffff\r\n" + b"x" * 0xffff + b"\r\n")
                    sock.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionError):
                    while sock.recv(65536):
                        pass
        self.must_serve(daemon)

    def test_hostile_http_garbage(self):
        daemon = self.start(sets={"http.timeout_ms": 1000})
        for data in (b"\x00" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 1000, b"GET " + b"/x" * 20000,
                     b"GET /healthz HTTP/1.1\r\n" + b"X: " + b"y" * 100000, b"DWL1\x00\x00\x00\x00", b"\x16\x03\x01\x02\x00",
                     b"GET /healthz HTTP/1.1\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
                     b"GET /metrics?" + b"a=1&" * 1000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
                     b"GET /\x00 HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
            with contextlib.suppress(OSError), contextlib.closing(daemon.raw_http(data)) as sock:
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
        self.must_serve(daemon)

    def test_hostile_http_refused_requests_leave_nothing_behind(self):
        """Also those that the server gives up before the daemon is asked."""
        daemon = self.start()
        targets = ["/metrics?" + "a=1&" * 1000, "/" + "x" * 9000, "/" + "x" * 20000, "/%zz", "/nowhere"]

        def ask(times):
            for target in targets * times:
                with contextlib.closing(daemon.raw_http(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())) as sock:
                    with contextlib.suppress(ConnectionError):
                        while sock.recv(65536):
                            pass
        ask(20)
        with self.must_not_grow(daemon, 1 * MB):
            ask(500)

    def test_hostile_http_half_sent_requests_time_out(self):
        daemon = self.start(sets={"http.timeout_ms": 1000})
        halves = [daemon.raw_http(data) for data in (b"", b"GET /met", b"GET /metrics HTTP/1.1\r\nHost: ",
                                                     b"POST /api/v1/reset HTTP/1.1\r\nContent-Length: 10\r\n\r\nx") * 5]
        self.must_serve(daemon)
        for sock in halves:
            with contextlib.closing(sock), contextlib.suppress(ConnectionError):
                while sock.recv(65536):
                    pass

    def test_hostile_http_connections_past_the_ceiling(self):
        """The ceiling holds for each door: whoever fills the network one cannot lock out the others."""
        daemon = self.start(sets={"http.max_connections": 4, "http.timeout_ms": 1000})
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                stack.enter_context(contextlib.closing(daemon.raw_http(b"GET /")))
            self.assertEqual(daemon.get("/healthz", door="admin").status, 200)
            self.assertEqual(daemon.get("/healthz", door="query").status, 200)
            self.must_ingest(daemon)

        def is_free():
            with contextlib.suppress(OSError):
                return daemon.get("/healthz").status == 200
        until(is_free, "the network door is free again")

    def must_ingest(self, daemon):
        with daemon.peer() as peer:
            peer.send(line("witness") + "\n")
            self.assertEqual(peer.flush(), 1)

    def test_hostile_http_pipelined_and_kept_connections(self):
        daemon = self.start()
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with contextlib.closing(daemon.raw_http(request * 50)) as sock:
            got = b""
            while got.count(b'{"status":"ok"}') < 50:
                got += sock.recv(65536)


# Begins to read an answer, says so, and reads on; prints how much came in all. Over a Unix socket: what
# the kernel keeps for a reader that does not read is far less than the answer there.
SCRAPER = """
import socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
total = len(sock.recv(4096))
print("reading", flush=True)
sys.stdin.readline()
while got := sock.recv(65536):
    total += len(got)
print(total, flush=True)
"""


class TestHostileScrapers(HostileCase):
    def start_with_models(self, count=1000):
        daemon = self.start()
        daemon.send_raw("\n".join(line(f"model-{i}", cpu_percent_during=i % 100) for i in range(count)))
        return daemon

    def scraper(self, daemon):
        """A scraper that has begun to read and waits for a line to go on."""
        child = subprocess.Popen([sys.executable, "-c", SCRAPER, daemon.directory / "query.sock"], text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def end():
            child.kill()
            child.wait()
            child.stdin.close()
            child.stdout.close()
        self.addCleanup(end)
        self.assertEqual(child.stdout.readline(), "reading\n")
        return child

    def must_finish(self, child, least):
        child.stdin.write("\n")
        child.stdin.flush()
        self.assertGreaterEqual(int(child.stdout.readline()), least)
        self.assertEqual(child.wait(WAIT_S), 0)

    def must_count_all(self, daemon, rounds=20):
        """Ingestion goes on, and its figures are right, while somebody else does not read."""
        batch = wire.frame(wire.batch((wire.sample(model_name=f"model-{i}", execution_time_ms=2.0) for i in range(1000)), flush=True))
        with daemon.peer() as peer:
            peer.send(wire.MAGIC)
            for number in range(1, rounds + 1):
                peer.send(batch)
                size, = struct.unpack("<I", peer.exactly(4))
                self.assertEqual(wire.read_replies(struct.pack("<I", size) + peer.exactly(size)), [{"flushed": number * 1000}])
        metrics = daemon.metrics()
        self.assertEqual(metrics.get("acgs2_model_inference_total", model_name="model-7"), rounds + 1)

    def test_hostile_scraper_stopped_in_mid_response(self):
        self.must_not_lag(self.stop_a_scraper)

    def stop_a_scraper(self):
        daemon = self.start_with_models()
        idle = daemon.steady_descriptors()
        whole = len(daemon.get("/metrics").raw)
        until(lambda: daemon.descriptors() == idle, "that connection is closed")
        child = self.scraper(daemon)
        child.send_signal(signal.SIGSTOP)
        self.must_count_all(daemon)
        self.assertEqual(daemon.get("/report", door="query").status, 200)
        self.assertGreater(daemon.descriptors(), idle)
        # It gets the whole answer that was frozen for it, as it was then.
        child.send_signal(signal.SIGCONT)
        self.must_finish(child, whole)
        return daemon

    def test_hostile_scraper_that_never_comes_back_is_let_go(self):
        path = self.directory() / "dwelld.json"
        path.write_text('{"http": {"timeout_ms": 600000}}')
        daemon = self.start("--config", path)
        daemon.send_raw("\n".join(line(f"model-{i}") for i in range(1000)))
        idle = daemon.steady_descriptors()
        self.scraper(daemon).send_signal(signal.SIGSTOP)
        self.assertGreater(daemon.descriptors(), idle)
        path.write_text('{"http": {"timeout_ms": 1000}}')
        daemon.send_signal(signal.SIGHUP)
        until(lambda: daemon.descriptors() == idle, "its connection is closed")
        self.must_count_all(daemon, rounds=2)

    def test_hostile_many_stopped_scrapers_hold_no_snapshot(self):
        """Each holds the text that it was going to get, and no more than that."""
        daemon = self.start_with_models()
        whole_kb = len(daemon.get("/metrics").raw) // 1024
        with self.must_not_grow(daemon, 8 * (2 * whole_kb + 512)):
            children = [self.scraper(daemon) for _ in range(8)]
            self.must_count_all(daemon)
        self.assertEqual(daemon.metrics()["dwelld_snapshots_refused_total"], 0)
        for child in children:
            self.must_finish(child, whole_kb * 1024)

    def test_hostile_two_scrapers_at_once_see_everything(self):
        daemon = self.start_with_models(300)
        requests = [daemon.raw_http(b"GET /metrics HTTP/1.0\r\n\r\n", door) for door in ("tcp", "query", "tcp", "admin")]
        bodies = []
        for sock in requests:
            with contextlib.closing(sock):
                got = b""
                while more := sock.recv(1 << 20):
                    got += more
                bodies.append(got.split(b"\r\n\r\n", 1)[1])
        keep = re.compile(rb"(?m)^acgs2_model.*$")
        self.assertEqual(len({tuple(keep.findall(body)) for body in bodies}), 1)
        self.assertEqual(bodies[0].count(b"acgs2_model_inference_total{"), 300)

    def test_hostile_scrapers_beside_a_writer_lose_nothing(self):
        daemon = self.start_with_models(200)
        children = [self.scraper(daemon) for _ in range(4)]
        for child in children:
            child.stdin.write("\n")
            child.stdin.flush()
        self.must_count_all(daemon, rounds=50)
        for child in children:
            self.assertEqual(child.wait(WAIT_S), 0)
        self.assertEqual(daemon.metrics()["dwelld_snapshots_refused_total"], 0)


if __name__ == "__main__":
    unittest.main()
