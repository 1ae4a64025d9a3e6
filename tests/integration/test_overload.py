"""More than can be handled, and peers that take more than their share: each has a ceiling, what goes past it is
stated and counted, and nobody else notices."""
import contextlib
import http.client
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import time

import wire
from harness import DaemonCase, until

# Peers are processes: these are others than the test's own. The first sends over a connection whatever it is
# told, and says what was answered.
TELLER = """
import socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(sys.stdin.buffer.read())
sock.shutdown(socket.SHUT_WR)
while got := sock.recv(65536):
    sys.stdout.buffer.write(got)
"""

FLOOD = """
import json, socket, sys
kind = socket.SOCK_DGRAM if sys.argv[2] == "datagrams" else socket.SOCK_STREAM
sock = socket.socket(socket.AF_UNIX, kind)
sock.connect(sys.argv[1])
lines = [json.dumps({"model_name": "flood", "execution_time_ms": i, "labels": {"a": "b"}}) for i in range(1000)]
data = ("\\n".join(lines) + "\\n").encode()
print("floods", flush=True)
try:
    while True:
        sock.sendall(data)
except OSError:
    pass
"""


LONG_S = 60  # for another process to begin and end, on a machine that does something else


def line(name="m", **more):
    return json.dumps({"model_name": name, "execution_time_ms": 1, **more})


def lines(count, name="m"):
    return (line(name) + "\n") * count


class OverloadCase(DaemonCase):
    def tell(self, daemon, data):
        """What another process is answered, as JSON."""
        data = data if isinstance(data, bytes) else data.encode()
        done = subprocess.run([sys.executable, "-c", TELLER, daemon.ingest], input=data, capture_output=True, timeout=LONG_S, check=True)
        return done.stdout if data.startswith(wire.MAGIC) else [json.loads(answer) for answer in done.stdout.splitlines()]

    def must_serve_others(self, daemon):
        self.assertEqual(self.tell(daemon, lines(3, "other") + '{"type":"flush"}\n'), [{"flushed": 3}])
        self.assertEqual(daemon.get("/healthz").status, 200)

    def cpu_seconds(self, daemon):
        fields = pathlib.Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @contextlib.contextmanager
    def flood(self, daemon, count, kind="lines"):
        path = daemon.directory / ("ingest.dgram" if kind == "datagrams" else "ingest.sock")
        children = [subprocess.Popen([sys.executable, "-c", FLOOD, path, kind], stdout=subprocess.PIPE) for _ in range(count)]
        try:
            for child in children:
                self.assertEqual(child.stdout.readline(), b"floods\n")
            yield
        finally:
            for child in children:
                child.kill()
                child.wait()
                child.stdout.close()


class TestOverloadConnections(OverloadCase):
    def test_overload_connections_of_a_peer_at_the_ceiling_and_one_over(self):
        daemon = self.start(sets={"ingest.max_peer_connections": 3})
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(daemon.peer()) for _ in range(3)]
            for peer in peers:
                self.assertEqual(peer.send(lines(1)).flush(), 1)
            with daemon.peer() as one_more:
                self.assertEqual(json.loads(one_more.rest())["reason"], "limit_reached")
            metrics = daemon.metrics()
            self.assertEqual((metrics["dwelld_connections_refused_total"], metrics["dwelld_peer_connections_refused_total"]), (1, 1))
            self.must_serve_others(daemon)
            self.assertEqual(peers[0].end().rest(), b"")
            until(lambda: daemon.metrics()["dwelld_connections"] == 2, "one is closed")
            with daemon.peer() as again:
                self.assertEqual(again.send(lines(1)).flush(), 1)
        daemon.stop()
        self.assertTrue(any(f"refused a connection of process {os.getpid()}" in text for text in daemon.log))

    def test_overload_without_descriptors_waits_and_recovers(self):
        """Who comes meanwhile waits in the kernel's queue, and what it sent counts."""
        daemon = self.start()
        kept = http.client.HTTPConnection(*daemon.address, timeout=LONG_S)
        self.addCleanup(kept.close)

        def scrape():
            kept.request("GET", "/metrics")
            return kept.getresponse().read().decode()

        with contextlib.ExitStack() as stack:
            early = [stack.enter_context(daemon.peer()) for _ in range(4)]
            for peer in early:
                self.assertEqual(peer.send(lines(1)).flush(), 1)
            self.assertIn("dwelld_connections 4\n", scrape())
            daemon.steady_descriptors()
            highest = max(int(name) for name in os.listdir(f"/proc/{daemon.pid}/fd"))
            _, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (highest + 1, hard))
            late = [stack.enter_context(daemon.peer()) for _ in range(3)]
            for peer in late:
                peer.send(lines(1) + '{"type":"flush"}\n')
            daemon.wait_log("cannot accept connections: Too many open files")
            self.assertEqual(early[0].send(lines(1)).flush(), 2)
            self.assertIn("dwelld_connections 4\n", scrape())
            for peer in early[:3]:
                self.assertEqual(peer.end().rest(), b"")
            self.assertEqual([peer.line() for peer in late], [{"flushed": 1}] * 3)
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (hard, hard))
        self.must_serve_others(daemon)
        self.assertEqual(daemon.accepted(), 4 + 1 + 3 + 3)


class TestOverloadRate(OverloadCase):
    RATE = 10

    def start_limited(self):
        return self.start(sets={"ingest.max_peer_records_per_second": self.RATE})

    def pauses(self, daemon):
        return daemon.metrics()["dwelld_peer_pauses_total"]

    def test_overload_rate_at_the_limit_and_one_over(self):
        """A second's worth may come at once. One more, and the next read waits until the rate allows it."""
        for count, pauses in ((self.RATE, 0), (self.RATE + 1, 1)):
            with self.subTest(count=count):
                daemon = self.start_limited()
                with daemon.peer() as peer:
                    began = time.monotonic()
                    peer.send(lines(count))
                    until(lambda daemon=daemon, count=count: daemon.accepted() == count, "all of it was read")
                    self.assertEqual(self.pauses(daemon), pauses)
                    self.assertEqual(peer.flush(), count)
                    self.assertGreaterEqual(time.monotonic() - began, pauses / self.RATE)
                self.assertEqual(daemon.rejected(), {})

    def test_overload_rate_counts_what_is_rejected(self):
        daemon = self.start_limited()
        self.assertEqual(len(daemon.send_raw("{}\n" * (self.RATE + 1)).splitlines()), self.RATE + 1)
        self.assertEqual(self.pauses(daemon), 1)

    def test_overload_rate_is_of_all_connections_and_of_nobody_else(self):
        daemon = self.start(sets={"ingest.max_peer_records_per_second": 3})  # it waits for more than a minute
        with daemon.peer() as fast, daemon.peer() as same:
            fast.send(lines(200))  # small enough for the kernel to keep in one piece
            until(lambda: daemon.accepted() == 200, "it was read in one go")
            same.send(lines(1))
            self.must_serve_others(daemon)
            self.assertEqual(daemon.accepted(), 203)
            self.assertEqual(daemon.metrics()["dwelld_waiting_connections"], 1)
            self.assertEqual(self.pauses(daemon), 1)
            # What waits is read at the end, and answered.
            fast.send(lines(50) + '{"type":"flush"}\n')
            same.send('{"type":"flush"}\n')
            daemon.send_signal(signal.SIGTERM)
            self.assertEqual((fast.line(), same.line()), ({"flushed": 250}, {"flushed": 1}))
            self.assertEqual((fast.line(), same.line()), (None, None))
        daemon.stop()

    def test_overload_rate_is_not_silence(self):
        """A peer that we do not listen to is not closed for being silent."""
        daemon = self.start(sets={"ingest.max_peer_records_per_second": self.RATE, "ingest.idle_timeout_ms": 100})

        def is_listened_to():
            """A busy machine may make it silent when it is listened to: another try then."""
            before = self.pauses(daemon)
            with daemon.peer() as peer, contextlib.suppress(OSError):
                peer.send(lines(self.RATE * 3 // 2))
                until(lambda: self.pauses(daemon) > before, "it is past its rate")
                peer.send(lines(1) + '{"type":"flush"}\n')
                return peer.line() == {"flushed": self.RATE * 3 // 2 + 1}
            return False
        until(is_listened_to, "it is answered after its pause")

    def test_overload_datagrams_past_the_rate_are_dropped_and_counted(self):
        daemon = self.start_limited()
        client = b"c" * 16

        def batch(first, count):
            samples = [wire.sample(model_name="m", execution_time_ms=1.0)] * count
            return wire.batch(samples, client_id=client, first_sequence=first)

        self.tell(daemon, wire.MAGIC + wire.frame(batch(0, 1)))
        daemon.datagram(lines(1000))
        daemon.datagram(lines(5) + "\n" + "no record at all\n")
        daemon.datagram("a:1|c\nb:2|c")
        daemon.datagram(wire.MAGIC + batch(1, 7))
        until(lambda: daemon.metrics()["dwelld_datagrams_total"] == 4, "all were read")
        metrics = daemon.metrics()
        self.assertEqual((metrics["dwelld_shed_datagrams_total"], metrics["dwelld_shed_records_total"]), (3, 6 + 2 + 7))
        self.assertEqual((daemon.accepted(), daemon.rejected()), (1001, {}))
        # In the account of its client what was dropped is lost, as soon as something comes behind it.
        self.tell(daemon, wire.MAGIC + wire.frame(batch(8, 1)))
        ledger = daemon.status()["ledger"]
        self.assertEqual([ledger[term] for term in ("sent", "accepted", "lost")], [9, 2, 7])
        daemon.stop()
        self.assertTrue(any(f"dropping datagrams of process {os.getpid()}" in text for text in daemon.log))


class TestOverloadBytes(OverloadCase):
    LIMIT = 131072
    SETS = {"ingest.max_peer_bytes": LIMIT, "ingest.max_frame_bytes": 65536}

    def padded(self, length):
        """A frame of a batch of so many bytes, which holds one sample."""
        content = wire.batch([wire.sample(model_name="m", execution_time_ms=1.0)])
        content += wire.field_bytes(100, b"x" * (length - len(content) - 5))
        self.assertEqual(len(content), length)
        return wire.frame(content)

    def test_overload_bytes_of_a_peer_at_the_ceiling_and_one_over(self):
        """The connection that asks for one byte more ends; what others of the process hold stays."""
        daemon = self.start(sets=self.SETS)
        frame = self.padded(60000)
        rest = self.LIMIT - 2 * (len(frame) - 1)
        with daemon.peer() as one, daemon.peer() as two, daemon.peer() as other:
            for peer in (one, two):
                peer.send(wire.MAGIC + frame[:-1])
            other.send(wire.MAGIC + frame[:rest])
            until(lambda: daemon.metrics()["dwelld_received_bytes_total"] == self.LIMIT + 12, "all of it was read")
            self.assertEqual(daemon.metrics()["dwelld_connections"], 3)
            self.assertEqual(daemon.metrics()["dwelld_peer_bytes_exceeded_total"], 0)
            other.send(frame[rest:rest + 1])
            self.assertEqual(wire.read_replies(other.rest())[0]["reason"], "limit_reached")
            for peer in (one, two):
                self.assertEqual(wire.read_replies(peer.send(frame[-1:]).end().rest()), [])
        metrics = daemon.metrics()
        self.assertEqual((daemon.accepted(), daemon.rejected()), (2, {"limit_reached": 1}))
        self.assertEqual(metrics["dwelld_peer_bytes_exceeded_total"], 1)

    def test_overload_bytes_are_given_back(self):
        daemon = self.start(sets=self.SETS)
        frame = self.padded(60000)
        for _ in range(5):
            with daemon.peer() as peer:
                peer.send(wire.MAGIC + frame[:-1])
            with daemon.peer() as peer:
                self.assertEqual(wire.read_replies(peer.send(wire.MAGIC + frame).end().rest()), [])
        self.assertEqual(daemon.metrics()["dwelld_peer_bytes_exceeded_total"], 0)
        self.assertEqual(daemon.accepted(), 5)


class TestOverloadSeries(OverloadCase):
    def test_overload_series_of_a_peer_at_the_ceiling_and_one_over(self):
        """They are the process's, whichever connection or datagram makes them, and stay so when it comes again."""
        daemon = self.start(sets={"metrics.max_series_per_peer": 3})

        def counters(*numbers):
            return [{"type": "counter", "name": "jobs", "value": 1, "attributes": {"n": str(number)}} for number in numbers]

        daemon.send(*counters(1, 2))
        daemon.datagram(json.dumps(*counters(3)))
        until(lambda: daemon.metrics()["dwelld_metric_series"] >= 3, "the third is made")
        made = daemon.metrics()["dwelld_metric_series"]
        self.assertEqual(daemon.metrics()["dwelld_overflow_records_total"], 0)
        daemon.send(*counters(4, 3, 2, 1))
        metrics = daemon.metrics()
        self.assertEqual(metrics["dwelld_metric_series"], made)
        self.assertEqual(metrics["dwelld_overflow_records_total"], 1)
        self.assertEqual(metrics.get("jobs_total", dwell_overflow="true"), 1)
        self.assertEqual(metrics.get("jobs_total", n="3"), 2)
        self.assertEqual(self.tell(daemon, "jobs:1|c|#n:4\njobs:1|c|#n:5\n"), [])
        metrics = daemon.metrics()
        self.assertEqual([metrics.get("jobs_total", n=n) for n in "45"], [1, 1])
        self.assertEqual(metrics["dwelld_metric_series"], made + 2)

    def test_overload_models_of_a_peer_at_the_ceiling_and_one_over(self):
        daemon = self.start(sets={"profiling.max_models_per_peer": 2})
        daemon.send_raw("".join(lines(1, name) for name in "abcab"))
        self.assertEqual(set(daemon.models()), {"a", "b", "(overflow)"})
        self.assertEqual(daemon.metrics()["dwelld_overflow_samples_total"], 1)
        self.assertEqual(self.tell(daemon, lines(1, "c") + lines(1, "d") + lines(1, "e")), [])
        self.assertEqual(set(daemon.models()), {"a", "b", "c", "d", "(overflow)"})
        self.assertEqual(daemon.sample_count("a"), 2)


class TestOverloadFloods(OverloadCase):
    def test_overload_by_floods_is_told_and_delays_nobody(self):
        daemon = self.start()
        with daemon.peer() as good:
            with self.flood(daemon, 4):
                daemon.wait_log(r"more comes in than can be read: \d+ connections of \d+ peers wait")
                for number in range(1, 21):
                    good.send(lines(1, "good"))
                    self.assertEqual(good.flush(), number)
                    self.assertEqual(daemon.sample_count("good"), number)
                metrics = daemon.metrics()
                self.assertGreaterEqual(metrics["dwelld_overloads_total"], 1)
                self.assertLess(metrics["dwelld_loop_lag_max_seconds"], 5)  # a turn is bounded, on any machine
                mark = len(daemon.log)
                daemon.send_signal(signal.SIGHUP)
                daemon.wait_log("configuration reloaded", after=mark)
                self.must_serve_others(daemon)
            daemon.wait_log("all that came in is read again")
            until(lambda: daemon.metrics()["dwelld_waiting_connections"] == 0, "nobody waits")
            # Nothing but the lines that the floods were killed in.
            self.assertLessEqual(set(daemon.rejected()), {"bad_syntax"})
            self.assertLessEqual(daemon.rejected().get("bad_syntax", 0), 4)

    def test_overload_ends_by_a_signal(self):
        daemon = self.start()
        with self.flood(daemon, 4):
            until(lambda: daemon.sample_count("flood") > 10000, "the floods run")
            daemon.stop()

    def test_overload_by_datagrams_drops_those_of_the_greediest(self):
        """With one sender alone none is dropped: it waits for room in the queue."""
        daemon = self.start()
        with self.flood(daemon, 1, "datagrams"):
            until(lambda: daemon.sample_count("flood") > 100000, "the flood runs")
            self.assertEqual(daemon.metrics()["dwelld_shed_datagrams_total"], 0)
            sent = 0

            def is_shed():
                nonlocal sent
                for _ in range(10):
                    daemon.datagram(line("good"))
                sent += 10
                return daemon.metrics()["dwelld_shed_datagrams_total"] > 0
            before, began = self.cpu_seconds(daemon), time.monotonic()
            with contextlib.suppress(AssertionError):
                until(is_shed, "what the greedy one sends is dropped")
            if not is_shed() and self.cpu_seconds(daemon) - before < 0.8 * (time.monotonic() - began):
                self.skipTest("other work keeps the flood from taking the whole of a CPU, so there is no overload")
            until(is_shed, "what the greedy one sends is dropped")
            self.assertGreaterEqual(daemon.metrics()["dwelld_shed_records_total"], 1000)
            until(lambda: daemon.sample_count("good") == sent, "none of the others is")
            daemon.wait_log("dropping datagrams of process")

        def is_over():
            daemon.datagram(line("good"))
            return any("no more datagrams are dropped" in text for text in daemon.log)
        until(is_over, "its end is told")


if __name__ == "__main__":
    import unittest
    unittest.main()
