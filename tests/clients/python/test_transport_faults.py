"""Daemons that are gone, hang, refuse or talk nonsense: nothing raises or blocks, and every record is accounted for."""
import os
import pathlib
import resource
import signal
import subprocess
import sys
import threading
import time
import types
import unittest
import unittest.mock

from client_case import PACKAGE, WAIT_S, ClientCase, environment, until
from fake_daemon import FakeDaemon, batch

from dwell import _client, _link, _wire

AT_ONCE_S = WAIT_S / 2  # what takes next to no time, on a machine that does something else: who waits, waits for WAIT_S
REFUSAL = b'{"error": "no frames here", "reason": "unknown_format"}\n'


class Faults(ClientCase):
    def setUp(self):
        self.place = self.directory()

    def client(self, **options):
        client = _client.Client(**{"directory": str(self.place), **options})
        self.addCleanup(client.close)
        return client

    def run_daemon(self, **options):
        self.daemon = self.start(directory=self.place, **options)
        return self.daemon

    def must_put(self, client, count, model="m"):
        plain = _wire.Plain(model)
        for _ in range(count):
            self.assertTrue(client.put(plain.pack(plain.head, 1.5)))

    def must_not_wait(self, call, *arguments, at_most_s=AT_ONCE_S):
        begin = time.monotonic()
        result = call(*arguments)
        self.assertLess(time.monotonic() - begin, at_most_s)
        return result

    def must_hang(self):
        """The daemon does nothing until the test ends, or it is told to go on."""
        self.daemon.send_signal(signal.SIGSTOP)
        self.addCleanup(self.daemon.send_signal, signal.SIGCONT)
        stat = pathlib.Path(f"/proc/{self.daemon.pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it has stopped")

    def must_arrive(self, client):
        until(client.flush, "the daemon has applied everything")

    def must_balance(self, client, **terms):
        """What the daemon says of us agrees with what we say, and the ledger closes."""
        ledger, stats = self.ledger(), client.stats()
        self.assertEqual(ledger, {**ledger, **terms})
        self.assertEqual(ledger["sent"], ledger["accepted"] + ledger["rejected"] + ledger["dropped"] + ledger["lost"])
        self.assertEqual((stats["waiting"], stats["dropped"]), (0, ledger["dropped"]))

    # ---- no daemon ----

    def test_places_where_no_daemon_is(self):
        plain_file = self.directory()
        (plain_file / "ingest.sock").write_text("")
        directory = self.directory()
        (directory / "ingest.sock").mkdir()
        loop = self.directory()
        (loop / "ingest.sock").symlink_to("ingest.sock")
        for place in (plain_file, directory, loop, "/does/not/exist", "/" + "x" * 200, "a\0b", "\udcff", 7, ""):
            with self.subTest(place):
                client = self.client(directory=place)
                self.must_put(client, 3)
                self.assertFalse(self.must_not_wait(client.flush))
                self.assertEqual(client.stats(), {**client.stats(), "sent": 3, "dropped": 0, "waiting": 3})
                self.assertTrue(client.stats()["error"])

    def test_a_daemon_that_comes_late_gets_what_was_recorded(self):
        client = self.client()
        self.must_put(client, 3)
        self.assertFalse(client.flush())
        self.run_daemon()
        self.must_arrive(client)
        self.must_balance(client, sent=3, accepted=3)

    def test_records_are_kept_for_a_time_and_then_counted(self):
        client = self.client(keep_s=0.01)
        with client._pumping:  # nobody gives up while they are recorded
            self.must_put(client, 10)
        until(lambda: client.away, "there was nobody for long enough")
        until(lambda: client.stats()["dropped"] == 10, "what waited is given up")
        self.assertFalse(client.put(b"x"))
        self.assertEqual(client.stats(), {**client.stats(), "sent": 11, "dropped": 11, "waiting": 0})
        self.run_daemon()
        until(lambda: not client.away, "it has come back by itself")
        self.must_put(client, 2)
        self.must_arrive(client)
        self.must_balance(client, accepted=2, dropped=11, lost=0)

    def test_records_that_are_not_kept_too_long_are_there(self):
        client = self.client(keep_s=1e9)
        self.must_put(client, 10)
        until(lambda: not client.flush() and client._out_since is not None, "it has looked for a daemon")
        self.assertFalse(client.away)
        self.assertEqual(client.stats()["waiting"], 10)

    def test_attempts_to_connect_are_further_and_further_apart(self):
        link = _link.Link(str(self.place))
        waits = []
        with unittest.mock.patch.object(_link, "time", types.SimpleNamespace(monotonic=lambda: 0.0)):
            for _ in range(12):
                self.assertFalse(link.connect(at_once=True))
                waits.append(link.wait_s())
            self.assertFalse(link.connect())  # not before its time
            self.assertEqual(link.wait_s(), waits[-1])
        for number, wait in enumerate(waits):
            longest = min(0.01 * 2**number, 5.0)
            self.assertLessEqual(wait, longest)
            self.assertGreaterEqual(wait, longest / 2)
        self.assertGreater(len(set(waits)), 6)

    def test_without_permission(self):
        """As another user, which only root can try."""
        if os.geteuid() != 0:
            self.skipTest("needs root, to become somebody else")
        self.run_daemon()
        os.chmod(self.place, 0o700)
        code = ("import os, dwell, dwell._wire as w\nc = dwell.Client()\nos.setgid(65534); os.setuid(65534)\n"
                "p = w.Plain('m')\nprint(c.put(p.pack(p.head, 1.0)), c.flush(), c.stats()['error'])")
        self.assertIn("True False [Errno 13]", self.must_run(code))

    def test_without_descriptors(self):
        self.run_daemon()
        code = """
import os, resource, dwell, dwell._wire as w
c, p = dwell.client(), w.Plain("m")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
print(c.put(p.pack(p.head, 1.0)), c.flush(), c.stats()["error"])
for descriptor in held:
    os.close(descriptor)
print(c.flush(20), c.stats()["dropped"])
"""
        said = self.must_run(code).splitlines()
        self.assertRegex(said[0], r"^True False \[Errno 24\]")
        self.assertEqual(said[1], "True 0")
        self.assertEqual(self.ledger()["accepted"], 1)

    def test_without_a_thread(self):
        """Records then go out by the calls themselves."""
        self.run_daemon()
        code = """
import threading, dwell, dwell._wire as w
def refuse(self):
    raise RuntimeError("can't start new thread")
threading.Thread.start = refuse
c, p = dwell.client(), w.Plain("m")
put = [c.put(p.pack(p.head, 1.0)) for _ in range(5000)]
print(all(put), c.flush(20), c.stats()["dropped"], c.close())
"""
        self.assertEqual(self.must_run(code), "True True 0 True\n")
        self.assertEqual(self.ledger(), {"sent": 5000, "accepted": 5000, "rejected": 0, "dropped": 0, "lost": 0})

    def test_without_a_thread_one_is_asked_for_once_a_second(self):
        code = """
import multiprocessing.util, threading, dwell, dwell._wire as w
from dwell import _client
asked, now = [], 100.0
def refuse(self):
    asked.append(self.daemon)
    raise RuntimeError("can't start new thread")
threading.Thread.start, _client.clock_s = refuse, lambda: now
c, p = dwell.Client(keep_s=0), w.Plain("m")
def register():
    return (len(threading._threading_atexits), len(multiprocessing.util._afterfork_registry))
before = register()
while not c.away:
    c.flush(1)
for _ in range(20):
    for _ in range(100):
        c.put(p.pack(p.head, 1.0))
    now += _client.AGAIN_S / 2
grown = [after - first for after, first in zip(register(), before)]
print(len(asked) // 2, *grown, c.stats()["sent"])
"""
        self.run_daemon()
        self.assertEqual(self.must_run(code, DWELL_DIR=str(self.directory())), "10 1 1 2000\n")

    def test_without_a_thread_a_daemon_that_is_back_is_found(self):
        code = """
import threading, dwell, dwell._wire as w
from dwell import _client
def refuse(self):
    raise RuntimeError("can't start new thread")
threading.Thread.start, _client.clock_s = refuse, lambda: now
c, p, now = dwell.client(), w.Plain("m"), 100.0
found = []
for _ in range(2):
    c.put(p.pack(p.head, 1.0))
    found.append(c.flush(20))
    c.away, now = True, now + _client.AGAIN_S
    found += c.put(p.pack(p.head, 1.0)), c.away
print(*found)
"""
        self.run_daemon()
        self.assertEqual(self.must_run(code), "True False False True False False\n")

    # ---- a daemon that ends ----

    def test_a_restart_loses_nothing_that_was_not_sent(self):
        for number, status in ((signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)):
            with self.subTest(number.name):
                client = self.client()
                self.run_daemon()
                self.must_put(client, 5)
                self.must_arrive(client)
                self.must_balance(client, sent=5, accepted=5)
                self.daemon.stop(number, status)
                self.must_put(client, 7)
                self.assertFalse(client.flush())
                self.run_daemon()
                self.must_arrive(client)
                self.must_balance(client, sent=7, accepted=7, dropped=0, lost=0)
                self.daemon.stop()

    def test_an_idle_client_sees_the_end_when_it_records_again(self):
        client = self.client()
        self.run_daemon()
        self.must_arrive(client)
        self.daemon.stop()
        self.run_daemon()
        self.must_put(client, 1)
        until(lambda: self.daemon.sample_count("m") == 1, "the record goes to the new one, without a flush")

    # ---- a daemon that hangs ----

    def test_a_daemon_that_hangs_delays_nobody_and_gets_the_rest_later(self):
        client = self.client(keep_s=0.2)
        self.run_daemon()
        self.must_arrive(client)
        self.must_hang()
        record = _wire.metric("a", _wire.COUNT, 1, attributes={"k": "v" * 200})
        put = 0
        begin = time.monotonic()
        while not client.away:
            put += 1
            client.put(record)
            self.assertLess(time.monotonic() - begin, WAIT_S)
        self.assertFalse(self.must_not_wait(client.flush, 0.05))
        self.assertLess(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 400_000)
        self.daemon.send_signal(signal.SIGCONT)
        self.must_arrive(client)
        until(lambda: not client.away, "it has come back by itself")
        self.must_arrive(client)
        stats = client.stats()
        self.assertEqual(stats["sent"], put)
        self.must_balance(client, sent=put, accepted=put - stats["dropped"], lost=0)

    def test_many_flushes_of_a_daemon_that_hangs(self):
        """The ceiling is 256: one more is refused at once, and all get their answers in the end."""
        client = self.client()
        self.run_daemon()
        self.must_arrive(client)
        self.must_hang()
        results = []
        threads = [threading.Thread(target=lambda: results.append(client.flush(WAIT_S)))
                   for _ in range(_client.REQUESTS_MAX)]
        for thread in threads:
            thread.start()
        waiting = lambda: len(client._requests) + len(client._due) + len(client._asked)  # noqa: E731
        until(lambda: waiting() == _client.REQUESTS_MAX, "all of them wait")
        self.assertFalse(self.must_not_wait(client.flush, WAIT_S))
        self.daemon.send_signal(signal.SIGCONT)
        for thread in threads:
            thread.join(WAIT_S)
        self.assertEqual(results, [True] * _client.REQUESTS_MAX)
        self.assertTrue(client.flush())

    def test_flushes_that_nobody_waits_for_any_more_do_not_count(self):
        client = self.client()
        self.run_daemon()
        self.must_arrive(client)
        self.must_hang()
        for _ in range(20):
            self.assertFalse(client.flush(0.001))
        self.daemon.send_signal(signal.SIGCONT)
        self.must_put(client, 1)
        self.must_arrive(client)
        self.must_balance(client, sent=1, accepted=1)

    def test_more_than_there_are_places_is_given_up_while_a_daemon_hangs(self):
        client = self.client()
        client.pending.extend([b"x"] * (_client.PLACES + 3))  # as threads do that step over the test of the ceiling
        self.assertFalse(client.flush())
        until(lambda: client.stats()["waiting"] == _client.PLACES, "what is over is dropped")
        self.assertEqual(client.stats()["sent"], _client.PLACES + 3)

    def test_who_records_much_faster_than_it_is_sent_rests(self):
        client = self.client()
        rests = []
        client._rest = lambda: rests.append(len(client.pending))
        half = _client.REST_PLACES
        self.assertTrue(client.room(half))
        self.assertEqual(rests, [])  # there is no daemon that anything could be sent to
        self.run_daemon()
        self.must_put(client, 1)
        self.must_arrive(client)
        for places, rested in ((half - 1, 0), (half, 1), (_client.PLACES - 1, 2)):
            self.assertTrue(client.room(places))
            self.assertEqual(len(rests), rested, places)
        self.assertFalse(client.room(_client.PLACES))
        self.assertEqual(len(rests), 2)

    def test_memory_is_bounded_while_a_daemon_hangs(self):
        """Measured in a process of its own, which records without end."""
        self.run_daemon()
        self.must_hang()
        code = """
import resource, dwell, dwell._wire as w
c = dwell.client()
small, large = w.Plain("m"), w.sample("m", 1.0, error_text="x" * 10000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for record in (small.pack(small.head, 1.0), large):
    for _ in range(300000):
        c.put(record[:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
        self.assertLess(int(self.must_run(code, hurried=True)), 64 * 1024)  # kB

    def test_a_full_backlog_is_not_waited_for(self):
        fake = FakeDaemon(self.place, backlog=0, accepts=False)
        links = [_link.Link(str(self.place)) for _ in range(8)]
        while links and links[-1].connect(at_once=True):
            links.insert(0, links.pop())
        client = self.client()
        self.must_put(client, 2)
        self.assertFalse(self.must_not_wait(client.flush, WAIT_S))
        self.assertIn("Resource temporarily unavailable", client.stats()["error"])
        for link in links:
            link.abandon()
        fake.end()
        self.run_daemon()
        self.must_arrive(client)
        self.must_balance(client, sent=2, accepted=2)

    # ---- a daemon that is none of ours ----

    @unittest.mock.patch.object(_link, "LIVED_S", 3600)  # however late it is that its connection ends
    def test_a_daemon_of_another_version_gets_no_records_but_the_first(self):
        fake = FakeDaemon(self.place, REFUSAL)
        client = self.client()
        self.must_put(client, 1)
        until(lambda: client.stats()["dropped"] == 1, "the first one was sent, and refused")
        self.assertIn("unknown_format", client.stats()["error"])
        self.assertEqual(client.stats(), {**client.stats(), "sent": 1, "dropped": 1, "waiting": 0})
        self.must_put(client, 4)
        until(lambda: len(fake.sent) > 3, "it goes on trying")
        for connection in range(1, 3):
            kinds = {name for one in fake.batches(connection) for name, _ in one[3:]}
            self.assertLessEqual(kinds, {"hello", "flush"})
        self.assertEqual(client.stats(), {**client.stats(), "sent": 5, "dropped": 1, "waiting": 4})
        fake.end()
        self.run_daemon()
        self.must_arrive(client)
        self.must_balance(client, accepted=4, dropped=1, lost=0)

    def test_nonsense_for_an_answer(self):
        for answer in (b"\xff" * 64, b"\0" * 64, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x02\0\0\0\x08", b"\x02\0\0\0\x08\x01" * 9,
                       b"\x0c\0\0\0\x08" + b"\xff" * 11, b"{", os.urandom(4096), b""):
            for hold in (False, True):
                with self.subTest(answer[:16], hold=hold):
                    place = self.directory()
                    fake = FakeDaemon(place, answer, hold)
                    client = self.client(directory=str(place))
                    self.must_put(client, 2)
                    self.must_not_wait(client.flush, 0.2)
                    self.assertTrue(client.put(_wire.metric("a", _wire.COUNT, 1)))
                    self.must_not_wait(client.close, 0.2)
                    until(lambda: client.stats()["sent"] == 3, "all are counted")
                    fake.end()

    def test_frames_are_of_64_kb_at_most_but_for_a_single_record(self):
        fake = FakeDaemon(self.place, hold=True)
        client = self.client()
        room = _client.FRAME_BYTES - _client.HEAD_BYTES
        lengths = [100] * 2000 + [room] * 3 + [room + 1] * 3 + [60000] * 3 + [300] * 500 + [100000] * 2
        with client._pumping:  # they go out together
            for length in lengths:
                self.assertTrue(client.put(_padded(length)))
        client.flush(0.2)  # which nobody answers
        until(lambda: client.stats()["waiting"] == 0, "all are written")
        client.close(0)
        fake.wait_end()
        found, rest = [], fake.sent[0][4:]
        while rest:
            length = int.from_bytes(rest[:4], "little") + 4
            kinds = [name for name, _ in batch.read_message(rest[4:length], "Batch")]
            found.append((length, kinds.count("span")))
            rest = rest[length:]
        self.assertEqual(sum(count for _, count in found), len(lengths))
        self.assertLessEqual(max(length for length, count in found if count != 1), _client.FRAME_BYTES)
        self.assertEqual(sum(length > _client.FRAME_BYTES for length, _ in found), 2)
        self.assertLess(len(found), len(lengths) / 40)
        fake.end()

    # ---- the limits of what is given ----

    def test_a_record_at_its_limit_is_taken_and_one_over_dropped(self):
        client = self.client()
        self.run_daemon(sets={"ingest.max_frame_bytes": 1 << 20})
        span = _wire.span("s", b"1" * 16, b"2" * 8, 10**18, 10**18 + 1)[2:]  # without its tag and length
        for length, taken in ((_client.RECORD_MAX, True), (_client.RECORD_MAX + 1, False)):
            filler = _wire.block(50, b"x" * (length - 9 - len(span)))  # a field that the daemon does not know
            record = _wire.block(13, span + filler)
            with self.subTest(length=length):
                self.assertEqual((len(record), client.put(record)), (length, taken))
        self.must_arrive(client)
        self.must_balance(client, sent=2, accepted=1, dropped=1)

    def test_the_last_place_is_taken_and_one_over_is_dropped(self):
        client = self.client()
        client._pumping.acquire()  # the thread takes nothing meanwhile
        self.addCleanup(client._pumping.release)
        large = b"x" * (_client.PLACE_BYTES * 9)
        while client.put(large):
            pass
        self.assertEqual(len(client.pending), _client.PLACES - _client.PLACES % 10)
        while client.put(b"x"):
            pass
        self.assertEqual(len(client.pending), _client.PLACES)
        self.assertEqual(client.stats()["dropped"], 2)

    def test_timeouts_of_any_kind(self):
        client = self.client()
        for timeout in (0, -1, float("nan"), None, "soon", [], -float("inf"), 10**400, 1e300):
            with self.subTest(timeout=timeout):
                self.assertFalse(self.must_not_wait(client.flush, timeout))
        self.run_daemon()
        self.must_arrive(client)
        for timeout in (float("inf"), 1e300, 10, "10"):
            with self.subTest(timeout=timeout):
                self.assertTrue(self.must_not_wait(client.flush, timeout))

    def test_what_is_said_of_itself_may_be_anything(self):
        class Rude:
            def __str__(self):
                raise ValueError("no")
        self.run_daemon()
        for name in ("x" * 256, "x" * 257, "модель", "\udcff", "", Rude(), 7, b"bytes"):
            with self.subTest(repr(type(name))):
                client = self.client(service_name=name, service_version=name)
                self.must_put(client, 1)
                self.must_arrive(client)
                self.assertEqual(client.stats()["dropped"], 0)

    def test_what_is_said_of_itself_may_change(self):
        fake = FakeDaemon(self.place, hold=True)
        client = self.client(service_name="a")
        self.must_put(client, 1)
        until(lambda: client.stats()["waiting"] == 0, "it was sent")
        client.describe(service_name="b", service_version=None)
        client.describe(service_name="b")
        self.must_put(client, 1)
        until(lambda: client.stats()["waiting"] == 0, "it was sent")
        client.close(0)
        fake.wait_end()
        fields = [field for one in fake.batches() for field in one[3:]]
        self.assertEqual([name for name, _ in fields][:4], ["hello", "sample", "hello", "sample"])
        self.assertEqual([dict(value).get("service_name") for name, value in fields if name == "hello"], ["a", "b"])
        fake.end()

    # ---- the end ----

    def test_the_second_close_and_what_comes_after_the_first(self):
        client = self.client()
        self.run_daemon()
        self.must_put(client, 2)
        self.assertTrue(client.close(WAIT_S))
        self.assertTrue(self.must_not_wait(client.close))
        self.assertFalse(client.put(b"x"))
        self.assertFalse(self.must_not_wait(client.flush, WAIT_S))
        self.assertEqual(client.stats(), {**client.stats(), "sent": 3, "dropped": 1, "waiting": 0})
        until(lambda: self.ledger()["accepted"] == 2, "both have come")
        self.assertEqual(self.ledger(), {"sent": 2, "accepted": 2, "rejected": 0, "dropped": 0, "lost": 0})
        client._thread.join(WAIT_S)
        self.assertFalse(client._thread.is_alive())

    def test_a_close_of_nothing(self):
        client = self.client()
        self.assertTrue(self.must_not_wait(client.close, WAIT_S))
        self.assertIsNone(client._thread)
        self.assertFalse(client.put(b"x"))

    def test_a_close_without_a_daemon_does_not_wait(self):
        client = self.client()
        self.must_put(client, 1)
        self.assertFalse(self.must_not_wait(client.close, WAIT_S))

    def test_the_goodbye_says_what_was_dropped_at_the_end(self):
        client = self.client()
        self.run_daemon()
        self.must_put(client, 3)
        client.drop()
        self.assertTrue(client.close(WAIT_S))
        until(lambda: self.ledger()["sent"] == 4, "the goodbye has come")
        self.assertEqual(self.ledger(), {"sent": 4, "accepted": 3, "rejected": 0, "dropped": 1, "lost": 0})

    def test_the_generators_of_the_application_are_left_alone(self):
        code = ("import random\nrandom.seed(7)\nfirst = random.getstate()\nimport dwell\nc = dwell.client()\n"
                "c.put(b'x')\nc.flush(); c.flush()\nprint(random.getstate() == first)")
        done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, timeout=3 * WAIT_S,
                              check=False, env=environment(PYTHONPATH=str(PACKAGE), DWELL_DIR=str(self.place)))
        self.assertEqual((done.stdout, done.stderr), ("True\n", ""))

    def test_a_signal_of_a_broken_pipe_is_not_raised(self):
        self.run_daemon()
        pid = pathlib.Path(self.place / "dwelld.lock").read_text().strip()
        code = f"""
import os, signal, dwell, dwell._wire as w
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
c, p = dwell.client(), w.Plain("m")
print(c.flush(20))
os.kill({pid}, signal.SIGKILL)
while c.stats()["connected"]:
    c.put(p.pack(p.head, 1.0))
print(c.flush())
"""
        self.assertEqual(self.must_run(code), "True\nFalse\n")
        self.daemon.stop(status=-signal.SIGKILL)


def _padded(length):
    """A span of exactly so many bytes."""
    fields = _wire.block(1, b"1" * 16) + _wire.block(2, b"2" * 8)
    for count in range(length, 0, -1):
        record = _wire.block(13, fields + _wire.block(3, b"x" * count))
        if len(record) == length:
            return record
    raise ValueError(length)


if __name__ == "__main__":
    unittest.main()
