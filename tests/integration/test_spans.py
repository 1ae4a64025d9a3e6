"""Spans through the real daemon, as far as it shows without a collector: from libdwell in a process that works in
order or is killed, and as lines and datagrams, good and bad."""
import json
import shutil
import signal
import tempfile
import unittest

import span_driver
import wire
from harness import OPENMETRICS, DaemonCase, until
from span_driver import SpanDriver

TRACE, SPAN, OTHER = 32 * "a", 16 * "b", 16 * "c"
DURATION = "acgs2_span_duration_seconds"
START = 1_795_800_000 * 10 ** 9
SECOND = 10 ** 9


def span(**changes):
    """A sound one. A change to None takes the key away."""
    record = {"type": "span", "name": "work", "trace_id": TRACE, "span_id": SPAN, "start_time_unix_nano": START,
              "end_time_unix_nano": START + SECOND, **changes}
    return {key: value for key, value in record.items() if value is not None}


def first_half(number=1, **changes):
    return span(type="span_start", span_id=f"{number:016x}", end_time_unix_nano=None, **changes)


def second_half(number=1, **changes):
    return span(type="span_end", span_id=f"{number:016x}", start_time_unix_nano=None, **changes)


class SpanCase(DaemonCase):
    def durations(self, daemon):
        """{(name, status): count} of the spans that came to their end."""
        return {(labels["span_name"], labels["status_code"]): int(value)
                for labels, value in daemon.metrics().series(f"{DURATION}_count")}

    def must_have(self, daemon, durations, **figures):
        """Of these spans the histogram tells, and of no others; figures are counters without labels."""
        metrics = daemon.metrics()
        self.assertEqual(self.durations(daemon), durations)
        figures = {"open_spans": 0, "cut_off_spans_total": 0, **figures}
        self.assertEqual({name: metrics[f"dwelld_{name}"] for name in figures}, figures)


class TestSpansOfClients(SpanCase):
    @classmethod
    def setUpClass(cls):
        base = tempfile.mkdtemp(prefix="dwell-test-")
        cls.addClassCleanup(shutil.rmtree, base)
        cls.program = span_driver.build(base)

    def drive(self, directory, **options):
        driver = SpanDriver(self.program, directory, **options)
        self.addCleanup(driver.end)
        return driver

    def must_balance(self, daemon, **wanted):
        """sent = accepted + rejected + dropped + lost, and these of them; what is not named is 0."""
        ledger = daemon.status()["ledger"]
        ledger["rejected"] = sum(ledger["rejected"].values())
        self.assertEqual(ledger, {**dict.fromkeys(ledger, 0), **wanted})
        self.assertEqual(ledger["sent"], sum(ledger[term] for term in ("accepted", "rejected", "dropped", "lost")))

    def test_spans_nested_in_one_another(self):
        daemon = self.start()
        driver = self.drive(daemon.directory)
        for number, name in enumerate(("request", "model", "kernel")):
            driver.start(number, name)
        request, model, kernel = (driver.do("context", number) for number in range(3))
        self.assertEqual({context["trace_id"] for context in (model, kernel)}, {request["trace_id"]})
        for number in (2, 1, 0):
            driver.do("end", number)
        driver.flush()
        self.must_have(daemon, {("request", "unset"): 1, ("model", "unset"): 1, ("kernel", "unset"): 1})
        self.must_balance(daemon, sent=3, accepted=3)

    def test_spans_of_several_threads(self):
        daemon = self.start()
        driver = self.drive(daemon.directory)
        driver.start(0, "request")
        self.assertEqual(driver.do("threads", 8, 0), 8)
        driver.do("end", 0)
        driver.flush()
        self.must_have(daemon, {("request", "unset"): 1, ("outer", "unset"): 8, ("inner", "unset"): 8})
        self.must_balance(daemon, sent=17, accepted=17)

    def test_spans_with_all_that_one_can_have(self):
        daemon = self.start()
        driver = self.drive(daemon.directory)
        for how in ("", "halves"):
            driver.start(0, "full", "none", how)
            driver.do("text", 0, "größe", "groß 🙂")
            driver.do("int", 0, "batch.size", -8)
            driver.do("lists", 0)
            driver.do("event", 0, "chosen")
            driver.do("link", 0, 0)
            driver.do("exception", 0, "ValueError", "es ging schief", "a.py:1")
            driver.do("end", 0)
        driver.flush()
        self.must_have(daemon, {("full", "error"): 2})
        self.must_balance(daemon, sent=3, accepted=3)
        self.assertEqual(daemon.metrics()["dwelld_unknown_keys_total"], 0)

    def test_spans_of_models_are_inferences(self):
        daemon = self.start()
        driver = self.drive(daemon.directory)
        driver.start(0, "infer")
        driver.do("text", 0, "model_name", "resnet50")
        driver.do("text", 0, "device", "cuda:0")
        driver.do("end", 0)
        driver.start(0, "infer")
        driver.do("text", 0, "model_name", "resnet50")
        driver.do("text", 0, "device", "cuda:0")
        driver.do("fail", 0, "out of memory")
        driver.do("end", 0)
        driver.flush()
        model = daemon.models()["resnet50"]
        self.assertEqual((model["sample_count"], model["errors"], model["labels"]), (2, 1, {"device": "cuda:0"}))
        self.must_have(daemon, {("infer", "unset"): 1, ("infer", "error"): 1}, refused_span_samples_total=0)

    def test_spans_lend_their_ids_to_inferences(self):
        daemon = self.start()
        driver = self.drive(daemon.directory)
        driver.start(0, "request")
        context = driver.do("context", 0)
        driver.do("track", "bert")
        driver.do("end", 0)
        driver.flush()
        exemplars = daemon.metrics(OPENMETRICS).exemplars
        ids = {key: context[key] for key in ("trace_id", "span_id")}
        of_model = [labels for (_, key), (labels, *_) in exemplars.items() if dict(key).get("model_name") == "bert"]
        of_span = [labels for (name, _), (labels, *_) in exemplars.items() if name == f"{DURATION}_bucket"]
        self.assertEqual((of_model, of_span), ([ids], [ids]))

    def test_spans_in_halves(self):
        daemon = self.start()
        driver = self.drive(daemon.directory)
        driver.start(0, "long", how="halves")
        driver.flush()
        self.must_have(daemon, {}, open_spans=1)
        driver.do("end", 0)
        driver.flush()
        self.must_have(daemon, {("long", "unset"): 1})
        self.must_balance(daemon, sent=2, accepted=2)

    def test_spans_of_a_process_that_is_killed(self):
        daemon = self.start()
        victim, survivor = self.drive(daemon.directory), self.drive(daemon.directory)
        for number in range(3):
            victim.start(number, "victim's", how="halves")
        survivor.start(0, "survivor's", how="halves")
        victim.flush()
        survivor.flush()
        self.must_have(daemon, {}, open_spans=4)
        victim.kill()
        until(lambda: daemon.metrics()["dwelld_cut_off_spans_total"] == 3, "its spans are cut off")
        self.must_have(daemon, {("victim's", "error"): 3}, open_spans=1, cut_off_spans_total=3)
        survivor.do("end", 0)
        survivor.flush()
        self.must_have(daemon, {("victim's", "error"): 3, ("survivor's", "unset"): 1}, cut_off_spans_total=3)

    def test_spans_left_open_by_a_process_that_ends_in_order(self):
        daemon = self.start()
        driver = self.drive(daemon.directory)
        driver.start(0, "forgotten", how="halves")
        self.assertEqual(driver.do("close"), span_driver.OK)
        self.must_have(daemon, {}, open_spans=1)  # the process is still there
        driver.end()
        until(lambda: daemon.metrics()["dwelld_cut_off_spans_total"] == 1, "it is cut off")

    def test_spans_open_when_the_daemon_stops(self):
        daemon = self.start()
        driver = self.drive(daemon.directory)
        for number in range(3):
            driver.start(number, "open", how="halves")
        driver.flush()
        self.must_have(daemon, {}, open_spans=3)
        daemon.stop()

    def test_spans_whose_daemon_does_not_know_their_beginning(self):
        directory = self.directory() / "d"
        first = self.start(directory=directory)
        driver = self.drive(directory)
        driver.start(0, "half", how="halves")
        driver.start(1, "whole")
        driver.flush()
        first.send_signal(signal.SIGKILL)
        first.wait()
        first.kill()
        second = self.start(directory=directory)
        driver.do("end", 1)
        driver.do("end", 0)
        until(lambda: driver.do("flush", 1000) == span_driver.OK, "the second daemon has all")
        self.must_have(second, {("whole", "unset"): 1})
        self.assertEqual(second.rejected(), {"missing_key": 1})
        self.must_balance(second, sent=2, accepted=1, rejected=1)

    def test_spans_at_and_past_the_limits_of_a_client(self):
        daemon = self.start()
        driver = self.drive(daemon.directory)
        for length in (256, 257):
            driver.start(0, "n" * length)
            driver.do("fill", 0, "key", 4000)
            driver.do("fill", 0, "k" * length, 1)
            driver.do("end", 0)
        driver.flush()
        self.must_have(daemon, {("n" * 256, "unset"): 2})
        self.must_balance(daemon, sent=2, accepted=2)


class TestSpansAsLines(SpanCase):
    def must_reject(self, daemon, record, reason):
        answer, = daemon.send(record)
        self.assertEqual(answer["reason"], reason, f"{record}: {answer}")

    def test_spans_as_lines(self):
        daemon = self.start()
        self.assertEqual(daemon.send(span(), span(status={"code": "error", "message": "no"}), span(status={"code": "ok"}),
                                     first_half(), second_half()), [])
        self.must_have(daemon, {("work", "unset"): 2, ("work", "error"): 1, ("work", "ok"): 1})
        self.assertEqual(daemon.metrics().get(f"{DURATION}_sum", span_name="work", status_code="unset"), 2)
        self.assertEqual(daemon.metrics().buckets(DURATION, span_name="work", status_code="ok")["1.0"], 1)

    def test_spans_that_are_none_are_answered(self):
        daemon = self.start()
        bad = [
            *((span(**{key: None}), "missing_key")
              for key in ("name", "trace_id", "span_id", "start_time_unix_nano", "end_time_unix_nano")),
            (span(name=""), "bad_name"),
            (span(name="a\0b"), "bad_name"),
            (span(name=7), "wrong_type"),
            (span(trace_id=32 * "0"), "out_of_range"),
            (span(trace_id=31 * "a"), "out_of_range"),
            (span(trace_id=31 * "a" + "g"), "out_of_range"),
            (span(span_id=16 * "0"), "out_of_range"),
            (span(end_time_unix_nano=START - 1), "out_of_range"),
            (span(start_time_unix_nano=-1), "out_of_range"),
            (span(start_time_unix_nano="soon"), "wrong_type"),
            (span(kind="servant"), "out_of_range"),
            (span(status={"code": "bad"}), "out_of_range"),
            (span(status="ok"), "wrong_type"),
            (span(attributes=[]), "wrong_type"),
            (span(attributes={"a": {"b": 1}}), "wrong_type"),
            (span(attributes={"": 1}), "out_of_range"),
            (span(events=[{"time_unix_nano": 1}]), "missing_key"),
            (span(links=[{"trace_id": TRACE}]), "missing_key"),
            (span(sampled=1), "wrong_type"),
            (second_half(), "missing_key"),
        ]
        for record, reason in bad:
            with self.subTest(record=record):
                self.must_reject(daemon, record, reason)
        twice = json.dumps(span())[:-1] + ', "name": "again"}\n'
        self.assertEqual(json.loads(daemon.send_raw(twice.encode()))["reason"], "duplicate_key")
        self.assertEqual(sum(daemon.rejected().values()), len(bad) + 1)
        self.must_have(daemon, {})

    def test_spans_that_begin_twice(self):
        daemon = self.start()
        with daemon.peer() as peer:
            peer.records(first_half(), first_half())
            self.assertEqual(peer.line()["reason"], "duplicate_key")
            self.must_have(daemon, {}, open_spans=1)

    def test_spans_that_end_before_they_began(self):
        daemon = self.start()
        with daemon.peer() as peer:
            peer.records(first_half(), second_half(end_time_unix_nano=START - 1))
            self.assertEqual(peer.line()["reason"], "out_of_range")
            self.must_have(daemon, {}, open_spans=1)
            peer.records(second_half(end_time_unix_nano=START))
            self.assertEqual(peer.flush(), 2)
        self.must_have(daemon, {("work", "unset"): 1})

    def test_spans_at_and_past_the_limits_of_a_line(self):
        daemon = self.start()
        for key, good, reason in (("name", 256, "bad_name"), ("service_name", 256, "out_of_range"),
                                  ("trace_state", 512, "out_of_range")):
            with self.subTest(key=key):
                self.assertEqual(daemon.send(span(**{key: "a" * good})), [])
                self.must_reject(daemon, span(**{key: "a" * (good + 1)}), reason)
        self.assertEqual(daemon.send(span(attributes={"k" * 256: 1})), [])
        self.must_reject(daemon, span(attributes={"k" * 257: 1}), "out_of_range")
        # Past these a span is taken without what is too much.
        child = {"trace_id": TRACE, "span_id": SPAN}
        for count in (128, 129):
            numbers = {str(number): number for number in range(count)}
            self.assertEqual(daemon.send(
                span(attributes=numbers),
                span(events=[{"name": "e", "time_unix_nano": START}] * count), span(links=[child] * count),
                span(events=[{"name": "e", "time_unix_nano": START, "attributes": numbers}])), [])

    def test_spans_at_and_past_the_ceiling_of_open_ones(self):
        daemon = self.start(sets={"ingest.max_open_spans": 3})
        with daemon.peer() as peer:
            peer.records(*(first_half(number, name=f"span {number}") for number in range(1, 4)))
            self.assertEqual(peer.flush(), 3)
            self.must_have(daemon, {}, open_spans=3)
            peer.records(first_half(4))
            self.assertEqual(peer.flush(), 4)
            self.must_have(daemon, {("span 1", "error"): 1}, open_spans=3, cut_off_spans_total=1)
        until(lambda: daemon.metrics()["dwelld_cut_off_spans_total"] == 4, "its connection is gone")

    def test_spans_at_and_past_the_ceiling_of_their_bytes(self):
        daemon = self.start(sets={"ingest.max_open_span_bytes": 65536, "ingest.max_line_bytes": 262144})
        with daemon.peer() as peer:
            peer.records(first_half(1, status={"code": "error", "message": "x" * 40000}))
            self.assertEqual(peer.flush(), 1)
            peer.records(first_half(2, status={"code": "error", "message": "x" * 40000}))
            self.assertEqual(peer.flush(), 2)
            self.must_have(daemon, {("work", "error"): 1}, open_spans=1, cut_off_spans_total=1)
            peer.records(first_half(3, status={"code": "error", "message": "x" * 65536}))
            self.assertEqual(peer.line()["reason"], "limit_reached")

    def test_spans_of_a_connection_end_with_it(self):
        daemon = self.start()
        self.assertEqual(daemon.send(first_half()), [])
        until(lambda: daemon.metrics()["dwelld_cut_off_spans_total"] == 1, "it is cut off")
        self.must_have(daemon, {("work", "error"): 1}, cut_off_spans_total=1)

    def test_spans_are_in_the_account_of_a_line_client(self):
        daemon = self.start()
        hello = {"type": "hello", "client": "lines/1", "client_id": 32 * "1", "sequence": 0}
        answers = daemon.send(hello, span(), span(name=""), first_half(), second_half(),
                              {"type": "goodbye", "sequence": 6, "dropped": 1})
        self.assertEqual([answer["reason"] for answer in answers], ["bad_name"])
        metrics = daemon.metrics()
        self.assertEqual({term: metrics.get(f"dwelld_client_{term}_total", client="lines/1")
                          for term in ("sent", "accepted", "rejected", "dropped", "lost")},
                         {"sent": 6, "accepted": 3, "rejected": 1, "dropped": 1, "lost": 1})


class TestSpansInBatches(SpanCase):
    def batch(self, *spans, **more):
        spans = [{"trace_id": TRACE, "span_id": SPAN, "name": "work", **span} for span in spans]
        return wire.batch(spans=[wire.span(**span) for span in spans], **more)

    def test_spans_in_a_batch(self):
        daemon = self.start()
        whole = {"start_time_unix_nano": START, "end_time_unix_nano": START + SECOND}
        content = self.batch(whole, {**whole, "name": ""}, {**whole, "span_id": 16 * "0"}, whole,
                             {"start_time_unix_nano": START, "part": wire.FIRST_HALF},
                             {"end_time_unix_nano": START, "part": wire.SECOND_HALF}, {**whole, "part": 3},
                             client_id=bytes(16), first_sequence=0, flush=True)
        answer = daemon.send_raw(wire.MAGIC + wire.frame(content))
        self.assertEqual(wire.read_replies(answer), [{"flushed": 4}])
        self.must_have(daemon, {("work", "unset"): 3})
        self.assertEqual(daemon.rejected(), {"bad_name": 1, "out_of_range": 2})
        ledger = daemon.status()["ledger"]
        self.assertEqual((ledger["sent"], ledger["accepted"], ledger["lost"]), (7, 4, 0))

    def test_spans_in_a_batch_as_datagrams(self):
        daemon = self.start()
        daemon.datagram(wire.MAGIC + self.batch({"start_time_unix_nano": START, "part": wire.FIRST_HALF}))
        until(lambda: daemon.metrics()["dwelld_open_spans"] == 1, "it has begun")
        daemon.datagram(wire.MAGIC + self.batch({"end_time_unix_nano": START, "part": wire.SECOND_HALF}))
        until(lambda: daemon.metrics()["dwelld_open_spans"] == 0, "it has ended")
        self.must_have(daemon, {("work", "unset"): 1})


class TestSpansAsDatagrams(SpanCase):
    def datagram(self, daemon, *records):
        daemon.datagram("".join(json.dumps(record) + "\n" for record in records))

    def test_spans_as_datagrams(self):
        daemon = self.start()
        self.datagram(daemon, span(), span(name=""))
        until(lambda: daemon.rejected() == {"bad_name": 1}, "both are judged")
        self.must_have(daemon, {("work", "unset"): 1})

    def test_spans_in_halves_as_datagrams(self):
        daemon = self.start()
        self.datagram(daemon, first_half())
        until(lambda: daemon.metrics()["dwelld_open_spans"] == 1, "it has begun")
        self.datagram(daemon, second_half())
        until(lambda: daemon.metrics()["dwelld_open_spans"] == 0, "it has ended")
        self.must_have(daemon, {("work", "unset"): 1})


if __name__ == "__main__":
    unittest.main()
