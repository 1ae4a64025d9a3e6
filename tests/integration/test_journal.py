"""What was acknowledged is there after kill -9, once: the journal, its replay, what is sent again, and what happens
when it is full, cannot be written, or was cut off."""
import json
import resource
import signal
import struct
import unittest

import wire
from harness import BUILD, DaemonCase, run, until

ID = "000102030405060708090a0b0c0d0e0f"
HELLO = {"type": "hello", "client": "test/1", "client_id": ID, "acknowledge": True}
WILL = {"acknowledging": True}
SPAN = {"type": "span", "name": "s", "trace_id": ID, "span_id": ID[:16], "start_time_unix_nano": 1, "end_time_unix_nano": 2}

# The least ceilings, for a journal that is soon full: its smallest size follows from them.
SMALL = {"ingest.max_frame_bytes": 1024, "ingest.max_line_bytes": 256, "journal.max_bytes": 2600000}


def samples(count, name="m"):
    return [{"model_name": name, "execution_time_ms": 1.5 + i} for i in range(count)]


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


class Frames:
    """A client that speaks frames, and asks."""

    def __init__(self, daemon, client_id=ID):
        self.id = bytes.fromhex(client_id)
        self.peer = daemon.peer().send(wire.MAGIC)

    def hello(self, first_sequence, dropped=0, **fields):
        self.batch(first_sequence, 0, dropped, hello_message=wire.hello(client="test/1", acknowledge=1, **fields))
        return self.reply()

    def batch(self, first_sequence, count, dropped=0, **more):
        content = [wire.sample(model_name="m", execution_time_ms=1.5 + i) for i in range(count)]
        self.peer.send(wire.frame(wire.batch(content, client_id=self.id, first_sequence=first_sequence, dropped=dropped, **more)))

    def reply(self):
        head = self.peer.exactly(4)
        reply, = wire.read_replies(head + self.peer.exactly(struct.unpack("<I", head)[0]))
        return reply


class TestJournal(DaemonCase):
    def setUp(self):
        self.base = self.directory()
        self.journal = self.base / "journal"

    def begin(self, **sets):
        return self.start(directory=self.base / "d", sets={"journal.directory": self.journal, **sets})

    def kill(self, daemon):
        daemon.process.kill()
        daemon.process.wait()
        daemon.stopped = True
        self.addCleanup(daemon.kill)

    def again(self, daemon, **sets):
        self.kill(daemon)
        return self.begin(**sets)

    def ask(self, daemon, sequence=0, **more):
        """An NDJSON client that asked, and what it was told of where it stands."""
        peer = daemon.peer().records({**HELLO, "sequence": sequence, **more})
        self.addCleanup(peer.close)
        self.assertEqual(peer.line(), WILL)
        return peer, peer.line()["acknowledged"]

    def must_acknowledge(self, peer, number):
        """The numbers only grow, and end in this one."""
        last = -1
        while last < number:
            got = peer.line()["acknowledged"]
            self.assertGreater(got, last)
            last = got
        self.assertEqual(last, number)

    def must_have(self, daemon, **terms):
        ledger = daemon.status()["ledger"]
        ledger["rejected"] = sum(ledger["rejected"].values())
        self.assertEqual({term: ledger[term] for term in terms}, terms)
        self.assertEqual(ledger["sent"], ledger["accepted"] + ledger["rejected"] + ledger["dropped"] + ledger["lost"])

    def segments(self):
        return sorted(self.journal.glob("*.journal"))

    # --- the exchange ---

    def test_journal_lines_survive_kill_9(self):
        daemon = self.begin()
        peer, stands = self.ask(daemon)
        self.assertEqual(stands, 0)
        peer.records(*samples(100))
        self.must_acknowledge(peer, 100)
        daemon = self.again(daemon)
        self.assertEqual(daemon.sample_count("m"), 100)
        self.must_have(daemon, sent=100, accepted=100, lost=0, unledgered=0)
        self.assertEqual(daemon.accepted(), 100)
        self.assertEqual(daemon.metrics().get("dwelld_client_sent_total", client="test/1"), 100)
        self.assertEqual(daemon.metrics()["dwelld_journal_replayed_records_total"], 100)

    def test_journal_frames_survive_kill_9(self):
        daemon = self.begin()
        client = Frames(daemon)
        self.addCleanup(client.peer.close)
        self.assertEqual(client.hello(0), {"acknowledging": 1})
        self.assertEqual(client.reply(), {"acknowledged": 0})
        client.batch(0, 50)
        client.batch(50, 50)
        acknowledged = 0
        while acknowledged < 100:
            acknowledged = client.reply()["acknowledged"]
        daemon = self.again(daemon)
        self.assertEqual(daemon.sample_count("m"), 100)
        self.must_have(daemon, sent=100, accepted=100, lost=0, unledgered=0)

    def test_journal_hello_and_records_in_one_write(self):
        daemon = self.begin()
        with daemon.peer() as peer:
            answers = peer.send(lines([HELLO, *samples(3), {"type": "goodbye", "sequence": 3}])).end().lines()
        self.assertEqual(answers[0], WILL)
        self.assertEqual(answers[-1], {"acknowledged": 3}, "it is told before the connection ends")
        self.must_have(self.again(daemon), sent=3, accepted=3, lost=0)

    def test_journal_off_is_told(self):
        daemon = self.start()
        with daemon.peer() as peer:
            answers = peer.records(HELLO, *samples(3), {"type": "flush"}).end().lines()
        self.assertEqual(answers, [{"acknowledging": False}, {"flushed": 3}])
        client = Frames(daemon)
        self.addCleanup(client.peer.close)
        self.assertEqual(client.hello(3), {"acknowledging": 0})

    def test_journal_needs_a_client_id(self):
        daemon = self.begin()
        with daemon.peer() as peer:
            answers = peer.records({"type": "hello", "acknowledge": True}, *samples(1)).end().lines()
        self.assertEqual(answers, [{"acknowledging": False}])
        self.assertEqual(self.segments(), [])

    def test_journal_keeps_nothing_of_who_does_not_ask(self):
        daemon = self.begin()
        self.assertEqual(daemon.send({**HELLO, "acknowledge": False}, *samples(10)), [])
        daemon = self.again(daemon)
        self.assertEqual(daemon.accepted(), 0)

    # --- sent again ---

    def test_journal_what_is_sent_again_counts_once(self):
        daemon = self.begin()
        records = samples(10)
        peer, _ = self.ask(daemon)
        peer.records(*records[:6])
        self.must_acknowledge(peer, 6)
        facts = [(0, 4, 6), (0, 6, 6), (3, 7, 7), (6, 10, 10), (0, 10, 10)]  # again from, up to, reached then
        for first, end, reached in facts:
            peer, _ = self.ask(daemon, first)
            peer.records(*records[first:end])
            peer.end().rest()
            self.must_have(daemon, sent=reached, accepted=reached, lost=0, unledgered=0)
        self.assertEqual(daemon.sample_count("m"), 10)
        self.assertEqual(daemon.metrics()["dwelld_duplicate_records_total"], 4 + 6 + 3 + 1 + 10)
        daemon = self.again(daemon)
        self.must_have(daemon, sent=10, accepted=10, lost=0)
        _, stands = self.ask(daemon)
        self.assertEqual(stands, 10)

    def test_journal_a_batch_that_came_in_part_counts_for_the_rest(self):
        daemon = self.begin()
        client = Frames(daemon)
        self.addCleanup(client.peer.close)
        client.hello(0)
        client.batch(0, 10)
        client.batch(7, 10)
        client.batch(0, 17, flush=True)
        until(lambda: "flushed" in client.reply(), "all is read")
        self.must_have(daemon, sent=17, accepted=17, lost=0, unledgered=0)
        self.must_have(self.again(daemon), sent=17, accepted=17, lost=0)

    def test_journal_clients_in_turn_on_one_connection(self):
        """Each is told of its own, though the number is the one that the other was told."""
        other = "ff" * 16
        daemon = self.begin()
        client = Frames(daemon)
        self.addCleanup(client.peer.close)
        client.hello(0)
        client.batch(0, 5)
        until(lambda: client.reply() == {"acknowledged": 5}, "the first is kept")
        client.id = bytes.fromhex(other)
        client.batch(0, 5)
        self.assertEqual(client.reply(), {"acknowledged": 5})
        daemon = self.again(daemon)
        self.must_have(daemon, sent=10, accepted=10, lost=0)
        self.assertEqual(self.ask(daemon, client_id=other)[1], 5)

    def test_journal_clients_in_turn_in_one_read(self):
        daemon = self.begin()
        client = Frames(daemon)
        self.addCleanup(client.peer.close)
        client.hello(0)
        client.batch(0, 5)
        until(lambda: client.reply() == {"acknowledged": 5}, "the first is kept")
        between = wire.batch([wire.sample(model_name="m", execution_time_ms=1)] * 5, client_id=b"f" * 16, first_sequence=0)
        client.peer.send(wire.frame(between) + wire.frame(wire.batch(client_id=client.id, first_sequence=5)))
        self.assertEqual(client.reply(), {"acknowledged": 5})
        self.must_have(self.again(daemon), sent=10, accepted=10, lost=0)

    def test_journal_two_connections_of_a_client_at_once(self):
        daemon = self.begin()
        records = lines(samples(4000))
        first, _ = self.ask(daemon)
        second = daemon.peer()
        self.addCleanup(second.close)
        daemon.process.send_signal(signal.SIGSTOP)
        for peer, said in ((first, records), (second, lines([{**HELLO, "sequence": 0}]) + records)):
            peer.send(said).end()  # its socket holds that much
        daemon.process.send_signal(signal.SIGCONT)
        self.assertEqual([peer.lines()[-1] for peer in (first, second)], [{"acknowledged": 4000}] * 2)
        self.must_have(daemon, sent=4000, accepted=4000, lost=0, unledgered=0)
        self.must_have(self.again(daemon), sent=4000, accepted=4000, lost=0, unledgered=0)

    def test_journal_rejected_records_keep_their_numbers(self):
        daemon = self.begin()
        peer, _ = self.ask(daemon)
        peer.send(lines([*samples(2), {"execution_time_ms": 1}, *samples(1)]) + "nonsense\n" + "x" * 70000 + "\n" + lines(samples(1)))
        while peer.line() != {"acknowledged": 7}:
            pass
        daemon = self.again(daemon)
        self.must_have(daemon, sent=7, accepted=4, rejected=3, lost=0)
        peer, _ = self.ask(daemon)
        peer.send(lines([*samples(2), {"execution_time_ms": 1}]))
        peer.end().rest()
        self.must_have(daemon, sent=7, accepted=4, rejected=3, lost=0)

    def test_journal_gaps_come_back_as_they_were(self):
        daemon = self.begin()
        client = Frames(daemon)
        self.addCleanup(client.peer.close)
        client.hello(3, dropped=3)
        client.batch(3, 5, dropped=3)
        client.batch(12, 5, dropped=5)  # of the gap of 4 two were dropped
        until(lambda: client.reply().get("acknowledged") == 17, "all is kept")
        before = daemon.status()["ledger"]
        self.must_have(daemon, sent=17, accepted=10, dropped=5, lost=2)
        daemon = self.again(daemon)
        self.assertEqual(daemon.status()["ledger"], before)

    def test_journal_brings_back_every_kind_of_record(self):
        daemon = self.begin()
        peer, _ = self.ask(daemon)
        peer.records(*samples(2), {"type": "counter", "name": "c", "value": 2.5}, {"type": "histogram", "name": "h", "value": 3},
                     {"type": "gauge", "name": "g", "value": 7}, {"type": "budget", "layer": "layer1_validation", "elapsed_ms": 9},
                     SPAN)
        self.must_acknowledge(peer, 7)

        def shown(daemon):
            metrics = daemon.metrics()
            return [metrics["c_total"], metrics["h_count"], metrics["h_sum"], metrics["g"],
                    metrics.get("acgs2_budget_exceeded_total", layer="layer1_validation"), daemon.sample_count("m")]

        before = shown(daemon)
        self.assertEqual(shown(self.again(daemon)), before)

    # --- spans ---

    @unittest.skipUnless((BUILD / "dwell_otlp_insecure.so").exists(), "it takes the module that exports")
    def test_journal_spans_are_exported_when_they_come_back(self):
        exports = {"otlp.endpoint": "http://127.0.0.1:1", "otlp.metrics": False, "shutdown.timeout_ms": 500}
        daemon = self.begin(**exports)
        peer, _ = self.ask(daemon)
        peer.records(SPAN, {"type": "budget", "layer": "layer1_validation", "elapsed_ms": 900, "trace_id": ID, "span_id": ID[:16]})
        self.must_acknowledge(peer, 2)
        daemon = self.again(daemon, **exports)
        metrics = daemon.metrics()
        self.assertEqual(metrics["dwelld_journal_replayed_records_total"], 2)
        self.assertEqual(metrics.get("dwelld_export_accepted_total", signal="traces"), 2, "the span, and that of the budget")

    # --- what goes wrong ---

    def test_journal_a_torn_end_is_cut_off(self):
        daemon = self.begin()
        peer, _ = self.ask(daemon)
        for end in (10, 20):
            peer.records(*samples(10))
            self.must_acknowledge(peer, end)
        segment, = self.segments()
        whole = segment.stat().st_size
        self.kill(daemon)
        with segment.open("r+b") as file:
            file.truncate(whole - 1)
        daemon = self.begin()
        daemon.wait_log("ends with [0-9]+ bytes that are no whole entry")
        self.must_have(daemon, sent=10, accepted=10, lost=0)
        peer, stands = self.ask(daemon)
        self.assertEqual(stands, 10)
        peer.records(*samples(20))
        self.must_acknowledge(peer, 20)
        self.must_have(self.again(daemon), sent=20, accepted=20, lost=0)

    def test_journal_damage_ends_its_segment(self):
        daemon = self.begin()
        peer, _ = self.ask(daemon)
        peer.records(*samples(10))
        self.must_acknowledge(peer, 10)
        segment, = self.segments()
        self.kill(daemon)
        data = bytearray(segment.read_bytes())
        data[60] ^= 1
        segment.write_bytes(data)
        daemon = self.begin()
        self.must_have(daemon, sent=0, accepted=0)
        peer, _ = self.ask(daemon)
        peer.records(*samples(10))
        self.must_acknowledge(peer, 10)
        self.must_have(self.again(daemon), sent=10, accepted=10, lost=0)

    def test_journal_foreign_segments_are_set_aside(self):
        self.journal.mkdir(mode=0o700)
        (self.journal / f"{7:020}.journal").write_text("what somebody else has written, of some length")
        daemon = self.begin()
        daemon.wait_log("is set aside as 00000000000000000007.journal.damaged")
        peer, _ = self.ask(daemon)
        peer.records(*samples(1))
        self.must_acknowledge(peer, 1)

    def test_journal_brings_back_what_is_too_long_today(self):
        daemon = self.begin()
        peer, _ = self.ask(daemon)
        peer.records(*samples(1, "long"), {"type": "counter", "name": "c", "value": 1, "attributes": {"a": "x" * 3000}})
        peer.send(lines(samples(1, "wide")).replace("}", " " * 3000 + "}"))
        self.must_acknowledge(peer, 3)
        before = daemon.status()["ledger"]
        daemon = self.again(daemon, **{"ingest.max_line_bytes": 1024, "ingest.max_frame_bytes": 1024})
        self.assertEqual(daemon.status()["ledger"], before)
        self.assertEqual(daemon.sample_count("wide"), 1)

    def test_journal_full_stops_those_who_ask_alone(self):
        daemon = self.begin(**SMALL)
        peer, _ = self.ask(daemon)
        peer.socket.setblocking(False)
        chunk = lines(samples(1000)).encode()
        sent = 0

        def is_full():
            nonlocal sent
            try:
                sent += peer.socket.send(chunk)
            except BlockingIOError:
                pass
            return daemon.metrics()["dwelld_journal_stopped"] == 1 if sent > 2000000 else False

        until(is_full, "the journal is full")
        daemon.wait_log("is full with [0-9]+ bytes")
        kept = sum(path.stat().st_size for path in self.segments())
        self.assertLessEqual(kept, SMALL["journal.max_bytes"] + 1024)
        before = daemon.sample_count("m")
        self.assertEqual(daemon.send(*samples(10, "other")), [])
        self.assertEqual((daemon.sample_count("other"), daemon.sample_count("m")), (10, before))
        with daemon.peer() as late:
            answers = late.records({**HELLO, "client_id": "ff" * 16}, *samples(5, "late")).lines()
        self.assertEqual([answers[0], answers[-1]["reason"]], [WILL, "limit_reached"])
        self.assertEqual(daemon.sample_count("late"), 0)
        daemon = self.again(daemon, **SMALL)
        self.assertEqual(daemon.sample_count("m"), before, "what counted was kept, and nothing else counted")

    def states(self):
        """An hour between two saves: what a test sees was asked for."""
        return {"state.file": self.base / "state", "state.interval_ms": 3600000}

    def fill(self, daemon):
        """What fits the journal and no more; how many records of "m" count then."""
        peer, _ = self.ask(daemon)
        chunk = lines(samples(1000)).encode()
        peer.socket.settimeout(0.1)

        def is_full():
            try:
                peer.socket.send(chunk)
            except TimeoutError:
                pass
            return daemon.metrics()["dwelld_journal_stopped"] == 1

        until(is_full, "the journal is full")
        return daemon.sample_count("m")

    def test_journal_full_has_the_state_saved_at_once(self):
        daemon = self.begin(**SMALL, **self.states())
        peer, _ = self.ask(daemon)
        for end in range(1000, 81000, 1000):  # more than twice what fits
            peer.records(*samples(1000))
            self.must_acknowledge(peer, end)
        daemon.wait_log("is full with [0-9]+ bytes")
        daemon.wait_log("there is room again")
        self.must_have(self.again(daemon, **SMALL, **self.states()), sent=80000, accepted=80000, lost=0)

    def test_journal_full_at_a_start_is_soon_not_full(self):
        daemon = self.begin(**SMALL)
        before = self.fill(daemon)
        daemon = self.again(daemon, **SMALL, **self.states())
        self.assertEqual(daemon.sample_count("m"), before)

        def goes_on():
            with daemon.peer() as peer:
                peer.records({**HELLO, "client_id": "ff" * 16}, *samples(1, "late"))
                return peer.end().lines()[-1] == {"acknowledged": 1}

        until(goes_on, "acknowledgements go on")
        self.assertEqual(daemon.sample_count("late"), 1)

    def test_journal_forgets_at_a_start_what_the_state_has(self):
        daemon = self.begin(**self.states())
        peer, _ = self.ask(daemon)
        peer.records(*samples(10))
        self.must_acknowledge(peer, 10)
        kept = [(path, path.read_bytes()) for path in self.segments()]
        daemon.stop(signal.SIGTERM)
        for path, content in kept:
            path.write_bytes(content)
        daemon = self.begin(**self.states())
        until(lambda: self.segments() == [], "they are removed")
        self.must_have(daemon, sent=10, accepted=10)
        self.assertEqual(daemon.metrics()["dwelld_state_saves_total"], 0, "without a save")

    @staticmethod
    def allow_files(daemon, size):
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def test_journal_full_disk_holds_acknowledgements_back(self):
        daemon = self.begin()
        peer, _ = self.ask(daemon)
        peer.records(*samples(10))
        self.must_acknowledge(peer, 10)
        self.allow_files(daemon, sum(path.stat().st_size for path in self.segments()) + 100)
        peer.records(*samples(10))
        daemon.wait_log("cannot write [0-9]+.journal: File too large")
        until(lambda: daemon.metrics()["dwelld_journal_stopped"] == 1, "it is shown")
        self.assertEqual(daemon.sample_count("m"), 20, "it shows, and is not acknowledged")
        self.allow_files(daemon, resource.RLIM_INFINITY)
        self.must_acknowledge(peer, 20)
        daemon.wait_log("works again")
        until(lambda: daemon.metrics()["dwelld_journal_stopped"] == 0, "it is shown")
        self.must_have(self.again(daemon), sent=20, accepted=20, lost=0)

    def test_journal_that_cannot_be_had_is_a_failed_start(self):
        wide = self.base / "wide"
        wide.mkdir(mode=0o755)
        facts = [({"journal.directory": wide}, 69, "expected 0700"),
                 ({"journal.directory": self.base / "no" / "where"}, 69, "cannot make the directory"),
                 ({"journal.directory": self.journal, "journal.max_bytes": 1048576}, 78, "journal.max_bytes: expects at least")]
        for sets, status, sentence in facts:
            arguments = [word for path, value in {**sets, "ingest.directory": self.base / "d", "http.listen": "127.0.0.1:0"}.items()
                         for word in ("--set", f"{path}={value}")]
            done = run(*arguments)
            self.assertEqual((done.returncode, sentence in done.stderr), (status, True), done.stderr)
            self.assertIn("cannot start: there is no journal, and acknowledgements are promises", done.stderr)

    def test_journal_belongs_to_one_daemon(self):
        self.begin()
        done = run("--set", f"journal.directory={self.journal}", "--set", f"ingest.directory={self.base / 'e'}", "--set",
                   "http.listen=127.0.0.1:0")
        self.assertEqual((done.returncode, "another dwelld has this journal" in done.stderr), (69, True), done.stderr)

    def test_journal_is_whole_after_an_ordered_end(self):
        daemon = self.begin()
        peer, _ = self.ask(daemon)
        peer.records(*samples(10))
        daemon.stop(signal.SIGTERM)
        self.must_have(self.begin(), sent=10, accepted=10, lost=0)


    # --- with a state ---

    def newcomers(self, daemon, count, **hello):
        """So many clients, each with one record: more than the daemon remembers."""
        name = wire.hello(client="test/1", **hello)
        frames = b"".join(wire.frame(wire.batch([wire.sample(model_name="new", execution_time_ms=1)], first_sequence=0,
                                                client_id=struct.pack("<QQ", 7, i), hello_message=name)) for i in range(count))
        daemon.send_raw(wire.MAGIC + frames)
        self.assertEqual(daemon.sample_count("new"), count)

    def test_journal_a_life_without_it_keeps_the_place(self):
        """Whom the ledger remembers or not: what the state holds is not taken from the journal again."""
        state = {"state.file": self.base / "state"}
        daemon = self.begin(**state)
        peer, _ = self.ask(daemon)
        peer.records(*samples(20))
        self.must_acknowledge(peer, 20)
        segment, = self.segments()
        kept = segment.read_bytes()
        daemon.stop()
        segment.write_bytes(kept)  # as it stays where more was written meanwhile
        segment.chmod(0o600)
        daemon = self.begin(**{**state, "journal.directory": ""})
        self.newcomers(daemon, 4200, acknowledge=1)
        daemon.stop()
        self.assertEqual(self.begin(**state).sample_count("m"), 20)

    def test_journal_who_asks_is_not_forgotten_over_a_restart(self):
        """Though the journal has nothing of it any more, and more clients come than are remembered."""
        state = {"state.file": self.base / "state"}
        daemon = self.begin(**state)
        peer, _ = self.ask(daemon)
        peer.records(*samples(5))
        self.must_acknowledge(peer, 5)
        daemon.stop()
        daemon = self.begin(**state)
        self.assertEqual(daemon.metrics()["dwelld_journal_replayed_records_total"], 0)
        self.newcomers(daemon, 4200)
        peer, stands = self.ask(daemon)
        self.assertEqual(stands, 5)
        peer.records(*samples(5))
        peer.end().rest()
        self.assertEqual(daemon.sample_count("m"), 5)


if __name__ == "__main__":
    unittest.main()
