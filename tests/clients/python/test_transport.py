"""How records get to the daemon: batches, the ledger, forks, exits."""
import os
import unittest

from client_case import WAIT_S, ClientCase, until

from dwell import _client, _wire


class Transport(ClientCase):
    def plain(self, client, count, model="m"):
        plain = _wire.Plain(model)
        for _ in range(count):
            client.put(plain.pack(plain.head, 1.5))

    def must_balance(self, sent, dropped=0):
        self.assertEqual(self.ledger(), {"sent": sent, "accepted": sent - dropped, "rejected": 0, "dropped": dropped,
                                         "lost": 0})

    def test_a_flush_makes_what_came_before_visible(self):
        client = self.client()
        self.plain(client, 3)
        self.assertTrue(client.flush())
        self.assertEqual(self.daemon.sample_count("m"), 3)

    def test_records_are_sent_without_a_flush(self):
        self.plain(self.client(), 1)
        until(lambda: self.daemon.sample_count("m") == 1, "the sample is counted")

    def test_more_than_a_frame_arrives_to_the_unit(self):
        client = self.client()
        self.plain(client, 20000)
        self.assertTrue(client.flush())
        self.must_balance(20000)

    def test_every_kind_of_record_is_accepted(self):
        client = self.client()
        for record in (_wire.sample("m", 1, error=True, error_text="no", device="cpu", labels={"a": "b"}, threads=1,
                                    thread_id=7),
                       _wire.metric("a.b", _wire.COUNT, 2, attributes={"x": True}),
                       _wire.metric("q", _wire.SET, 2, aggregation="max"),
                       _wire.span("op", b"1" * 16, b"2" * 8, 10**18, 10**18 + 1, kind=1,
                                  attributes={"l": [1, 2.5, "x", False]}, events=[_wire.event("e", 10**18)],
                                  links=[_wire.link(b"1" * 16, b"3" * 8)], status=2),
                       _wire.budget("layer1_validation", 3, operation="o", before_ms=1)):
            self.assertTrue(client.put(record))
        self.assertTrue(client.flush())
        self.must_balance(5)

    def test_the_last_place_is_taken_and_one_over_is_dropped_and_counted(self):
        client = self.client(directory=str(self.directory() / "none"))
        record = _wire.metric("a", _wire.COUNT, 1)
        put = 0
        while client.put(record):  # the thread holds some of them already
            put += 1
        self.assertEqual(len(client.pending), _client.PLACES)
        self.assertEqual(client.stats(), {**client.stats(), "sent": put + 1, "dropped": 1, "waiting": put})

    def test_a_child_of_a_fork_is_a_client_of_its_own(self):
        client = self.client()
        self.plain(client, 10)
        child = os.fork()
        if child == 0:
            self.plain(client, 3, "child")
            os._exit(0 if client.flush() and client.close(WAIT_S) else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertTrue(client.flush())
        self.assertEqual((self.daemon.sample_count("m"), self.daemon.sample_count("child")), (10, 3))
        self.must_balance(13)

    def test_a_child_may_make_its_client_whoever_held_the_lock(self):
        out = self.must_run("import os, threading, dwell\n"
                            "held, leave = threading.Event(), threading.Event()\n"
                            "def hold():\n"
                            "    with dwell._client._default_lock:\n"
                            "        held.set(); leave.wait()\n"
                            "thread = threading.Thread(target=hold); thread.start(); held.wait()\n"
                            "import warnings; warnings.simplefilter('ignore')\n"
                            "child = os.fork()\n"
                            "if child == 0: os._exit(0 if dwell.client().flush(20) else 1)\n"
                            "print(os.waitpid(child, 0)[1]); leave.set()\n")
        self.assertEqual(out, "0\n")

    def test_the_hello_says_what_the_environment_does(self):
        self.must_run("import dwell; dwell.client().flush(20)", CONSTITUTIONAL_HASH="0" * 16, OTEL_SERVICE_NAME="shop")
        violations = self.daemon.metrics().get("constitutional_violations_total", service="shop",
                                               violation_type="hash_mismatch")
        self.assertEqual(violations, 1)

    def test_the_exit_of_the_interpreter_sends_what_waits(self):
        self.must_run("import dwell\nfrom dwell import _wire\n"
                      "p = _wire.Plain('m')\ndwell.client().put(p.pack(p.head, 1.0))\n")
        self.assertEqual(self.daemon.sample_count("m"), 1)
        self.must_balance(1)

    def test_disabled_takes_nothing_and_starts_nothing(self):
        out = self.must_run("import dwell, threading\nc = dwell.client()\n"
                            "print(c.put(b'x'), c.flush(), threading.active_count())", DWELL_DISABLED="1")
        self.assertEqual(out, "False False 1\n")


if __name__ == "__main__":
    unittest.main()
