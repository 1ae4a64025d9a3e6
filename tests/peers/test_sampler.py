"""Which spans arrive is what the Python SDK would say of their trace ids, from the daemon and from libdwell alike;
and what goes against the rate: a decision made before, errors, slow spans."""
import shutil
import tempfile
import unittest

import span_driver
from harness import until
from peer import need
from span_driver import SpanDriver
from test_otlp import NS, START, OtlpCase

IDS = 10000
SPAN = 16 * "b"
LONG_MS, SLOW_MS = 86400000, 1000  # milliseconds: nothing ends by itself; a span that is worth keeping


class SamplerCase(OtlpCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sampler = need("sampler")

    def trace(self, *spans, trace_id=None):
        """Spans of one trace: names, or changes to a span."""
        trace_id = trace_id or f"{self.random.randrange(1, 2 ** 128):032x}"
        return [self.span(**({"name": one} if isinstance(one, str) else one), **{"trace_id": trace_id}) for one in spans]

    def span(self, name="work", **more):
        return {**super().span(name), **more}

    def arrived(self, peer, daemon):
        """The trace ids, sorted, of all that will ever come."""
        daemon.stop()
        return sorted(span["trace_id"] for span in peer.spans())

    def kept(self, rate, ids):
        """Those that the SDK samples, as a peer has them."""
        return sorted(self.sampler.hexadecimal(trace_id)
                      for trace_id, keeps in zip(ids, self.sampler.verdicts(rate, ids)) if keeps)


class TestSamplerParity(SamplerCase):
    """With the SDK, on the same ids. A rate is written as Python writes it, with all its digits."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        base = tempfile.mkdtemp(prefix="dwell-test-")
        cls.addClassCleanup(shutil.rmtree, base)
        cls.program = span_driver.build(base)

    def setUp(self):
        super().setUp()
        print(f"seed {self.seed}", end=" ", flush=True)
        self.ids = self.sampler.random_ids(self.random, IDS)

    def drive(self, directory, **env):
        driver = SpanDriver(self.program, directory, **env)
        self.addCleanup(driver.end)
        return driver

    def must_agree(self, rate, ids):
        receiver = self.start_receiver()
        daemon = self.start_daemon(receiver, sample_rate=rate)
        self.send(daemon, *(self.span(trace_id=self.sampler.hexadecimal(trace_id)) for trace_id in ids))
        self.assertEqual(self.arrived(receiver, daemon), self.kept(rate, ids), f"rate {rate!r}, seed {self.seed}")

    def test_sampler_of_the_daemon_agrees_on_random_ids(self):
        for rate in self.sampler.RATES:
            self.must_agree(rate, self.ids)

    def test_sampler_of_the_daemon_agrees_at_the_edges(self):
        for rate in self.sampler.RATES + self.sampler.TIES:
            self.must_agree(rate, self.sampler.edge_ids(self.random, rate))

    def test_sampler_before_a_collector(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector, sample_rate=1 / 3)
        self.send(daemon, *(self.span(trace_id=self.sampler.hexadecimal(trace_id)) for trace_id in self.ids))
        self.assertEqual(self.arrived(collector, daemon), self.kept(1 / 3, self.ids))

    def test_sampler_of_libdwell_agrees(self):
        """What it hands on of a trace whose decision is left to it; without a daemon, which it does not ask."""
        for rate in self.sampler.RATES + self.sampler.TIES:
            ids = self.sampler.edge_ids(self.random, rate)
            if rate in self.sampler.RATES:
                ids += self.ids
            driver = self.drive("/nonexistent", OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG=repr(rate))
            headers = driver.do_all([("verdict", self.sampler.hexadecimal(trace_id)) for trace_id in ids])
            self.assertEqual({header["b3"][-2:] + header["traceparent"][-3:] for header in headers} - {"-0-00", "-1-01"}, set())
            self.assertEqual([header["b3"].endswith("-1") for header in headers], self.sampler.verdicts(rate, ids),
                             f"rate {rate!r}, seed {self.seed}")

    def test_sampler_of_libdwell_agrees_with_the_daemon(self):
        """What is said to be sampled in headers is what arrives."""
        receiver = self.start_receiver()
        daemon = self.start_daemon(receiver, sample_rate=0.25)
        driver = self.drive(daemon.directory, OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG="0.25")
        headers = driver.do_all([("verdict", self.sampler.hexadecimal(trace_id)) for trace_id in self.ids])
        driver.flush()
        said = sorted(trace_id for trace_id, _, state in (header["b3"].split("-") for header in headers) if state == "1")
        self.assertEqual(driver.do("stats")["dropped"], 0)
        self.assertEqual(self.arrived(receiver, daemon), said)
        self.assertEqual(said, self.kept(0.25, self.ids))


class TestSamplerDecisions(SamplerCase):
    def names_after(self, records, **options):
        """Sends them, and gives the names of what arrives until the daemon has ended."""
        receiver = self.start_receiver()
        daemon = self.start_daemon(receiver, **options)
        self.send(daemon, *records)
        daemon.stop()
        return self.names(receiver)

    def test_sampler_honours_a_decision(self):
        records = [self.span("kept", sampled=True), self.span("given up", sampled=False), self.span("undecided")]
        self.assertEqual(self.names_after(records, sample_rate=0), ["kept"])
        self.assertEqual(self.names_after(records, sample_rate=1), ["kept", "undecided"])

    def test_sampler_decision_against_is_final(self):
        records = [self.span("bad", sampled=False, status={"code": "error"}),
                   self.span("slow", sampled=False, end_time_unix_nano=START + 10 * NS)]
        self.assertEqual(self.names_after(records, sample_rate=1, keep_errors=True, keep_slow_ms=SLOW_MS), [])

    def test_sampler_decision_is_told_to_the_receiver(self):
        receiver = self.start_receiver()
        daemon = self.start_daemon(receiver)
        self.send(daemon, self.span("kept", sampled=True), self.span("undecided"))
        daemon.stop()
        self.assertEqual({span["name"]: span["flags"] & 1 for span in receiver.spans()}, {"kept": 1, "undecided": 0})

    def test_sampler_keeps_the_whole_trace_of_an_error(self):
        records = self.trace("before", {"name": "bad", "status": {"code": "error", "message": "no"}}, "after") + \
            self.trace("another", {"name": "well", "status": {"code": "ok"}})
        self.assertEqual(self.names_after(records, sample_rate=0, keep_errors=True, keep_wait_ms=LONG_MS),
                         ["after", "bad", "before"])
        self.assertEqual(self.names_after(records, sample_rate=0), [])

    def test_sampler_keeps_the_whole_trace_of_a_slow_span(self):
        def lasting(name, nanoseconds):
            return {"name": name, "end_time_unix_nano": START + nanoseconds}

        records = self.trace("before", lasting("slow", SLOW_MS * 10 ** 6), "after") + \
            self.trace("another", lasting("almost", SLOW_MS * 10 ** 6 - 1))
        self.assertEqual(self.names_after(records, sample_rate=0, keep_slow_ms=SLOW_MS, keep_wait_ms=LONG_MS),
                         ["after", "before", "slow"])

    def test_sampler_keeps_errors_beside_what_the_rate_keeps(self):
        low, high = (f"{1:016x}{half:016x}" for half in (0, 2 ** 64 - 1))
        records = self.trace("chosen", trace_id=low) + \
            self.trace("held", {"name": "bad", "status": {"code": "error"}}, trace_id=high)
        self.assertEqual(self.names_after(records, sample_rate=0.5, keep_errors=True), ["bad", "chosen", "held"])

    def test_sampler_waits_so_long(self):
        receiver = self.start_receiver()
        daemon = self.start_daemon(receiver, sample_rate=0, keep_errors=True, keep_wait_ms=1)
        early, = self.trace("early")
        self.send(daemon, early)
        until(lambda: daemon.metrics()["dwelld_held_spans"] == 0, "its time is over")
        bad, late = self.trace({"name": "bad", "status": {"code": "error"}}, "late", trace_id=early["trace_id"])
        self.send(daemon, bad, late)
        daemon.stop()
        self.assertIn("bad", self.names(receiver))
        self.assertNotIn("early", self.names(receiver))

    def test_sampler_waits_for_what_is_in_time(self):
        receiver = self.start_receiver()
        daemon = self.start_daemon(receiver, sample_rate=0, keep_errors=True, keep_wait_ms=LONG_MS)
        early, bad = self.trace("early", {"name": "bad", "status": {"code": "error"}})
        self.send(daemon, early)
        self.assertEqual(daemon.metrics()["dwelld_held_spans"], 1)
        self.assertEqual(receiver.calls("traces"), [])
        self.send(daemon, bad)
        self.assertEqual(daemon.metrics()["dwelld_held_spans"], 0)
        daemon.stop()
        self.assertEqual(self.names(receiver), ["bad", "early"])

    def test_sampler_at_and_past_the_ceiling_of_held_spans(self):
        for held, arrive in ((3, ["bad", "one"]), (2, ["bad"])):
            with self.subTest(max_held_spans=held):
                oldest, bad = self.trace("one", {"name": "bad", "status": {"code": "error"}})
                records = [oldest, *self.trace("two"), *self.trace("three"), bad]
                self.assertEqual(self.names_after(records, sample_rate=0, keep_errors=True, keep_wait_ms=LONG_MS,
                                                  max_held_spans=held), arrive)

    def test_sampler_keeps_a_trace_that_was_cut_off(self):
        """What a client leaves open is an error, and keeps what came of it before."""
        before, = self.trace("before")
        half = {**before, "type": "span_start", "name": "half", "span_id": SPAN}
        del half["end_time_unix_nano"]
        self.assertEqual(self.names_after([before, half], sample_rate=0, keep_errors=True, keep_wait_ms=LONG_MS),
                         ["before", "half"])


if __name__ == "__main__":
    unittest.main()
