"""What the daemon sends by OTLP, as a real OpenTelemetry Collector has read it; and what it does when a receiver
refuses, is slow, breaks off, or is not who it should be."""
import datetime
import math
import random
import time

from harness import HASH, WAIT_S, DaemonCase, until
from peer import need

NS = 10 ** 9
END_S = WAIT_S - 10  # that the end of a daemon may take, so that all goes out
START = 1_795_800_000 * NS
KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
CODES = {"unset": 0, "ok": 1, "error": 2}
RESOURCE = {"service.name": "acgs2-agent-bus", "service.version": "2.0.0", "deployment.environment": "development",
            "constitutional.hash": HASH, "telemetry.sdk.name": "dwell", "telemetry.sdk.language": "c",
            "telemetry.sdk.version": "0.1.0"}
# What holds for a service of another name; its version is nobody's guess.
OTHERS = {key: value for key, value in RESOURCE.items() if key != "service.version"}
RETRIED = ("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS")
NOT_RETRIED = ("INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "INTERNAL", "UNKNOWN",
               "RESOURCE_EXHAUSTED")


class OtlpCase(DaemonCase):
    @classmethod
    def setUpClass(cls):
        cls.otlp = need("otlp")
        cls.receiver = need("otlp_receiver")
        cls.collector_class = need("otlp_collector").Collector
        cls.certificates_class = need("certificates").Certificates

    def setUp(self):
        self.seed = random.randrange(2 ** 32)
        self.random = random.Random(self.seed)

    def start_collector(self, **options):
        collector = self.collector_class(self.directory(), **options)
        self.addCleanup(collector.stop)
        return collector

    def start_receiver(self, **options):
        receiver = self.receiver.Receiver(**options)
        self.addCleanup(receiver.stop)
        return receiver

    def start_daemon(self, peer, **options):
        """One that exports to the peer. Options of otlp by their names; others as `sets`."""
        sets = {"otlp.endpoint": peer.endpoint, "otlp.schedule_delay_ms": 100, "otlp.metric_interval_ms": 100,
                "otlp.metrics": False, "shutdown.timeout_ms": 1000 * END_S, **options.pop("sets", {})}
        return self.start(sets={**sets, **{f"otlp.{name}": value for name, value in options.items()}})

    def span(self, name="work", **more):
        """A record with ids of its own."""
        return {"type": "span", "name": name, "trace_id": f"{self.random.randrange(1, 2 ** 128):032x}",
                "span_id": f"{self.random.randrange(1, 2 ** 64):016x}", "start_time_unix_nano": START,
                "end_time_unix_nano": START + 5, **more}

    def send(self, daemon, *records):
        self.assertEqual(daemon.send(*records), [])

    def must_equal(self, got, wanted):
        self.assertEqual(self.otlp.typed(got), self.otlp.typed(wanted))

    def must_be(self, got, record, resource=None):
        """A span as the peer has read it is the record, and has what each span gets from the daemon."""
        attributes = dict(got["attributes"])
        self.assertEqual(attributes.pop("constitutional.hash", None), HASH)
        timestamp = datetime.datetime.fromisoformat(attributes.pop("timestamp"))
        self.assertEqual(timestamp.utcoffset(), datetime.timedelta(0))
        self.must_equal(attributes, record.get("attributes", {}))
        self.must_equal(got["resource"], resource or RESOURCE)
        status = record.get("status", {})
        wanted = {
            **{key: record[key] for key in ("name", "trace_id", "span_id")},
            "parent_span_id": record.get("parent_span_id", ""),
            "kind": KINDS[record["kind"]] if "kind" in record else 1,
            "start_time_unix_nano": int(record["start_time_unix_nano"]),
            "end_time_unix_nano": int(record["end_time_unix_nano"]),
            "status": {"code": CODES[status.get("code", "unset")], "message": status.get("message", "")},
            "events": [{"attributes": {}, **event, "dropped_attributes_count": 0} for event in record.get("events", [])],
            "links": [{"attributes": {}, **link} for link in record.get("links", [])],
            "dropped_attributes_count": 0, "dropped_events_count": 0, "dropped_links_count": 0,
        }
        self.must_equal({**{key: got[key] for key in wanted}, "links": [
            {key: link[key] for key in ("trace_id", "span_id", "attributes")} for link in got["links"]]}, wanted)

    def must_arrive(self, peer, records, resource=None):
        """All of them, each once, in whatever order."""
        until(lambda: peer.span_count() >= len(records), f"{len(records)} spans have come")
        spans = peer.spans()
        got = {span["span_id"]: span for span in spans}
        self.assertEqual(len(spans), len(records))
        for record in records:
            with self.subTest(span=record["name"]):
                self.must_be(got[record["span_id"]], record, resource)

    def names(self, peer):
        return sorted(span["name"] for span in peer.spans())


class TestSpans(OtlpCase):
    def test_otlp_spans_are_what_was_recorded(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector)
        other = {"trace_id": 32 * "c", "span_id": 16 * "d"}
        records = [
            self.span("least"),
            *(self.span(kind, kind=kind) for kind in KINDS),
            self.span("times as texts", start_time_unix_nano=str(2 ** 63 - 2), end_time_unix_nano=str(2 ** 63 - 1)),
            self.span("no time at all", end_time_unix_nano=START),
            self.span("child", parent_span_id=16 * "a"),
            self.span("größe 🙂 \"\\\n", attributes={
                "text": "größe 🙂\n\"\\", "empty": "", "yes": True, "no": False, "zero": 0, "least": -2 ** 63,
                "most": 2 ** 63 - 1, "half": 0.5, "third": 1 / 3, "texts": ["a", ""], "numbers": [1, -2], "none": []}),
            self.span("events", events=[
                {"name": "first", "time_unix_nano": START + 1},
                {"name": "exception", "time_unix_nano": START + 2, "attributes": {
                    "exception.type": "ValueError", "exception.message": "größe", "exception.stacktrace": "a\nb"}}]),
            self.span("links", links=[other, {**other, "attributes": {"why": "batch", "number": 1}}]),
            *(self.span(code, status={"code": code}) for code in CODES),
            self.span("failed", status={"code": "error", "message": "es ging schief: 🙂"}),
        ]
        self.send(daemon, *records)
        self.must_arrive(collector, records)
        self.assertEqual(daemon.rejected(), {})

    def test_otlp_resource_is_the_service(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector, sets={
            "service.name": "shop", "service.version": "1.2", "service.environment": "test",
            "service.attributes": {"team": "größe"}})
        record = self.span()
        self.send(daemon, record)
        self.must_arrive(collector, [record], {**RESOURCE, "service.name": "shop", "service.version": "1.2",
                                               "deployment.environment": "test", "team": "größe"})

    def test_otlp_spans_of_other_services(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector)
        named = self.span("named", service_name="other")
        self.send(daemon, named)
        self.must_arrive(collector, [named], {**OTHERS, "service.name": "other"})
        greeted = self.span("greeted")
        self.send(daemon, {"type": "hello", "service_name": "third"}, greeted)
        got = collector.wait_spans(2)[-1]
        self.must_be(got, greeted, {**OTHERS, "service.name": "third"})

    def test_otlp_many_spans_each_once(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector)
        records = [self.span(f"span {number}", attributes={"number": number}) for number in range(5000)]
        self.send(daemon, *records)
        self.must_arrive(collector, records)
        self.assertGreaterEqual(len(collector.trace_messages()), 5000 // 512)

    def test_otlp_last_export_at_the_end(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector, schedule_delay_ms=86400000)
        records = [self.span(f"span {number}") for number in range(10)]
        self.send(daemon, *records)
        daemon.stop()
        self.must_arrive(collector, records)

    def test_otlp_collector_that_was_killed_gets_all(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector)
        before, meanwhile, after = self.span("before"), self.span("meanwhile"), self.span("after")
        self.send(daemon, before)
        collector.wait_spans(1)
        collector.kill()
        self.send(daemon, meanwhile)
        collector.restart()
        self.send(daemon, after)
        # The first one may come twice, as its answer may have been on the way.
        until(lambda: set(self.names(collector)) == {"before", "meanwhile", "after"}, "all have come")
        got = {span["span_id"]: span for span in collector.spans()}
        for record in (before, meanwhile, after):
            self.must_be(got[record["span_id"]], record)

    def test_otlp_over_a_unix_socket(self):
        collector = self.start_collector(unix=self.directory() / "otlp.sock")
        daemon = self.start_daemon(collector)
        record = self.span()
        self.send(daemon, record)
        self.must_arrive(collector, [record])

    def test_otlp_packed_and_with_metadata(self):
        receiver = self.start_receiver()
        daemon = self.start_daemon(receiver, compression="gzip", headers={"x-key": "secret"})
        record = self.span("x" * 200)
        self.send(daemon, record)
        self.must_arrive(receiver, [record])
        call, = receiver.calls("traces")
        self.assertTrue(call.compressed)
        self.assertEqual(call.values("x-key"), ["secret"])
        self.assertNotIn("secret", "\n".join(daemon.log))


class TestFaults(OtlpCase):
    def setUp(self):
        super().setUp()
        self.peer = self.start_receiver()
        self.answer = self.receiver.Answer
        self.wanted = []

    def exchange(self, *answers, arrives=True, once=True, **options):
        """A span to a receiver with these answers, and another one once they are used up, which must arrive, as
        must the first unless `arrives` is False; with `once` no span twice. Returns the calls."""
        before = len(self.peer.calls("traces"))
        first, second = (f"{order} of {before}" for order in ("first", "second"))
        self.wanted += [first, second] if arrives else [second]
        self.peer.script("traces", *answers)
        daemon = self.start_daemon(self.peer, **options)
        self.send(daemon, self.span(first))
        self.peer.wait_calls("traces", before + len(answers))
        self.send(daemon, self.span(second))
        until(lambda: set(self.wanted) <= set(self.names(self.peer)), f"{self.wanted} have come")
        daemon.stop()
        names = self.names(self.peer)
        self.assertEqual(names if once else sorted(set(names)), sorted(self.wanted))
        return self.peer.calls("traces")[before:]

    def test_otlp_retries_what_may_pass(self):
        for status in RETRIED:
            with self.subTest(status=status):
                self.exchange(self.answer(status, "busy", retry_s=0))

    def test_otlp_does_not_retry_what_will_not_pass(self):
        for status in NOT_RETRIED:
            with self.subTest(status=status):
                self.exchange(self.answer(status, "never"), arrives=False)

    def test_otlp_comes_back_when_it_is_told_to(self):
        for status in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
            # By itself it would come back within a second.
            first, second, *_ = self.exchange(self.answer(status, retry_s=1.1))
            self.assertGreaterEqual(second.at - first.at, 1.1)

    def test_otlp_splits_what_is_too_much(self):
        self.peer.script("traces", self.answer("RESOURCE_EXHAUSTED", "too large"))
        daemon = self.start_daemon(self.peer)
        records = [self.span(f"span {number}") for number in range(100)]
        self.send(daemon, *records)
        self.must_arrive(self.peer, records)

    def test_otlp_does_not_send_a_part_again(self):
        calls = self.exchange(self.answer(rejected=1, rejected_message="not that one"))
        self.assertEqual(len(calls), 2)

    def test_otlp_cannot_read_the_answer(self):
        calls = self.exchange(self.answer(body=b"\xff\xff\xff"))
        self.assertEqual(len(calls), 2)  # it was taken, and is not sent again

    def test_otlp_answer_that_does_not_come(self):
        # Another answer, too, may come too late on a busy machine: its span is sent again.
        first, *_ = self.exchange(self.answer(delay_s=self.receiver.HOLD), once=False, timeout_ms=1000)
        self.assertFalse(first.answered)

    def test_otlp_connection_that_is_reset(self):
        self.exchange(self.answer(reset="connection"), self.answer(reset="connection"))

    def test_otlp_stream_that_is_reset(self):
        self.exchange(self.answer(reset="stream", reset_code=self.receiver.CANCEL))

    def test_otlp_receiver_that_is_away(self):
        self.peer.leave()
        daemon = self.start_daemon(self.peer)
        self.send(daemon, self.span("first"))
        before = time.monotonic()
        self.assertEqual(daemon.get("/healthz").status, 200)
        self.assertLess(time.monotonic() - before, WAIT_S / 2)
        self.peer.come_back()
        until(lambda: self.names(self.peer) == ["first"], "it has come")

    def test_otlp_ends_in_time_when_nobody_answers(self):
        self.peer.always("traces", self.answer(delay_s=self.receiver.HOLD))
        daemon = self.start_daemon(self.peer, timeout_ms=1000 * WAIT_S, sets={"shutdown.timeout_ms": 1000})
        self.send(daemon, self.span())
        self.peer.wait_calls("traces", 1)
        before = time.monotonic()
        daemon.stop()
        self.assertLess(time.monotonic() - before, WAIT_S / 2)


class TestTls(OtlpCase):
    def setUp(self):
        super().setUp()
        self.certificates = self.certificates_class(self.directory())

    def options(self, client=None):
        options = {"certificate": str(self.certificates.ca.certificate)}
        if client:
            options.update(client_certificate=str(client.certificate), client_key=str(client.key))
        return options

    def must_distrust(self, peer, **options):
        daemon = self.start_daemon(peer, sets={"shutdown.timeout_ms": 100}, **options)
        self.send(daemon, self.span())
        until(lambda: daemon.status()["export"]["traces"]["failures"] > 0, "a call has failed")
        self.assertGreaterEqual(peer.connections, 1)
        self.assertEqual(peer.calls("traces"), [])

    def test_otlp_tls(self):
        collector = self.start_collector(server=self.certificates.server)
        daemon = self.start_daemon(collector, **self.options())
        record = self.span()
        self.send(daemon, record)
        self.must_arrive(collector, [record])

    def test_otlp_tls_of_both_sides(self):
        collector = self.start_collector(server=self.certificates.server, client_ca=self.certificates.ca.certificate)
        daemon = self.start_daemon(collector, **self.options(self.certificates.client))
        record = self.span()
        self.send(daemon, record)
        self.must_arrive(collector, [record])

    def test_otlp_tls_distrusts_bad_certificates(self):
        for fault in ("expired", "misnamed", "foreign"):
            with self.subTest(fault=fault):
                self.must_distrust(self.start_receiver(server=getattr(self.certificates, fault)), **self.options())

    def test_otlp_tls_without_a_certificate_of_its_own(self):
        receiver = self.start_receiver(server=self.certificates.server, client_ca=self.certificates.ca.certificate)
        self.must_distrust(receiver, **self.options())
        until(lambda: receiver.connections >= 2, "it has tried again")
        self.assertEqual(receiver.calls("traces"), [])


class TestMetrics(OtlpCase):
    def fill(self, daemon):
        self.send(
            daemon, {"model_name": "m", "execution_time_ms": 12.5, "cpu_percent_during": 80, "memory_mb_after": 512,
                     "queue_ms": 1, "batch_size": 8}, {"model_name": "m", "execution_time_ms": 2, "error": True},
            {"type": "counter", "name": "jobs.done", "value": 3, "attributes": {"queue": "größe"}},
            {"type": "gauge", "name": "depth", "value": -2},
            {"type": "histogram", "name": "job.time", "unit": "ms", "value": 20})

    def latest(self, collector, name):
        found = collector.metrics(name)
        return found[-1] if found else None

    def test_otlp_metrics_have_the_names_of_our_own_page(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector, metrics=True)
        self.fill(daemon)
        ours = daemon.metrics()
        # NaN is no value for OTLP, and the Collector shows none.
        known = {name for (name, _), value in ours.values.items() if not math.isnan(value)}
        filled = {family for family in ours.types if family.startswith(("acgs2_", "dwelld_"))
                  and not known.isdisjoint((family, f"{family}_count"))}
        self.assertIn("acgs2_model_inference_latency_seconds", filled)
        self.assertIn("dwelld_resident_memory_bytes", filled)
        until(lambda: filled <= set(collector.exposition().types), "all families are behind the Collector")
        theirs = collector.exposition()
        self.assertEqual({family: theirs.types[family] for family in filled},
                         {family: ours.types[family] for family in filled})
        for _, labels in theirs.values:
            self.assertEqual(dict(labels).get("constitutional_hash", HASH), HASH)
        (_, count), = theirs.series("acgs2_model_inference_latency_seconds_count")
        self.assertEqual(count, 2)

    def test_otlp_metrics_are_what_was_recorded(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector, metrics=True)
        self.fill(daemon)
        until(lambda: self.latest(collector, "acgs2.acgs2-agent-bus.job.time"), "the last of them has come")
        jobs = self.latest(collector, "acgs2.acgs2-agent-bus.jobs.done")
        point, = jobs["points"]
        self.must_equal(jobs["resource"], RESOURCE)
        self.assertEqual((jobs["kind"], jobs["is_monotonic"], jobs["temporality"], point["value"]), ("sum", True, 2, 3))
        self.must_equal(point["attributes"], {"queue": "größe", "constitutional_hash": HASH})
        self.assertTrue(0 < point["start_time_unix_nano"] < point["time_unix_nano"] <= time.time_ns())
        depth, = self.latest(collector, "acgs2.acgs2-agent-bus.depth")["points"]
        self.assertEqual(depth["value"], -2)
        times, = self.latest(collector, "acgs2.acgs2-agent-bus.job.time")["points"]
        self.assertEqual((times["count"], sum(times["bucket_counts"])), (1, 1))

    def test_otlp_every_point_has_the_hash(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector, metrics=True)
        self.fill(daemon)
        until(lambda: self.latest(collector, "acgs2.acgs2-agent-bus.jobs.done"), "the counter has come")
        for metric in collector.metrics():
            for point in metric["points"]:
                self.assertEqual(point["attributes"].get("constitutional_hash"), HASH, metric["name"])

    def test_otlp_deltas_are_what_was_added(self):
        receiver = self.start_receiver()
        daemon = self.start_daemon(receiver, metrics=True, temporality="delta")
        for _ in range(3):
            self.send(daemon, {"type": "counter", "name": "jobs", "value": 2})
            before = len(receiver.calls("metrics"))
            receiver.wait_calls("metrics", before + 2)

        def points():
            return [point for metric in receiver.metrics("acgs2.acgs2-agent-bus.jobs") for point in metric["points"]]

        until(lambda: sum(point["value"] for point in points()) >= 6, "all has come")
        self.assertEqual(sum(point["value"] for point in points()), 6)
        for one, other in zip(points(), points()[1:]):
            self.assertGreaterEqual(other["start_time_unix_nano"], one["time_unix_nano"])

    def jobs(self, peer):
        """What the last request has told of the jobs; None: nothing yet."""
        found = self.latest(peer, "acgs2.acgs2-agent-bus.jobs")
        return found and found["points"][0]["value"]

    def test_otlp_last_metrics_at_the_end(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector, metrics=True, metric_interval_ms=86400000)
        self.send(daemon, {"type": "counter", "name": "jobs", "value": 7})
        daemon.stop()
        self.assertEqual(self.jobs(collector), 7)

    def test_otlp_metrics_go_where_they_are_wanted(self):
        certificates = self.certificates_class(self.directory())
        traces, metrics = self.start_receiver(), self.start_receiver(server=certificates.server)
        daemon = self.start_daemon(
            traces, metrics=True, headers={"x-key": "shared"}, metrics_endpoint=metrics.endpoint, metrics_headers={"x-key": "own"},
            metrics_certificate=str(certificates.ca.certificate), metrics_compression="gzip")
        self.send(daemon, self.span("work"), {"type": "counter", "name": "jobs", "value": 7})
        until(lambda: self.jobs(metrics) == 7 and self.names(traces) == ["work"], "both have come")
        self.assertEqual((traces.calls("metrics"), metrics.calls("traces")), ([], []))
        self.assertEqual((metrics.calls("metrics")[0].values("x-key"), metrics.calls("metrics")[0].compressed), (["own"], True))
        self.assertEqual(traces.calls("traces")[0].values("x-key"), ["shared"])

    def test_otlp_metrics_come_when_the_collector_is_back(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector, metrics=True)
        self.send(daemon, {"type": "counter", "name": "jobs", "value": 1})
        until(lambda: self.jobs(collector) == 1, "the first has come")
        collector.kill()
        self.send(daemon, {"type": "counter", "name": "jobs", "value": 1})
        until(lambda: daemon.status()["export"]["metrics"]["dropped"]["replaced"] > 0, "some have given way")
        collector.restart()
        until(lambda: self.jobs(collector) == 2, "both have come")
        account = daemon.status()["export"]["metrics"]
        self.assertEqual(account["accepted"], account["exported"] + account["waiting"] + account["in_flight"]
                         + sum(account["dropped"].values()))

    def test_otlp_metrics_that_are_too_large_become_smaller(self):
        collector = self.start_collector(max_recv_msg_size_mib=1)
        # To read a request of 10,000 points takes a second or more: more often and they come faster than that.
        daemon = self.start_daemon(collector, metrics=True, metric_interval_ms=3000)
        self.send(daemon, {"type": "counter", "name": "jobs", "value": 7},
                  *({"model_name": f"model {number}", "execution_time_ms": 1} for number in range(700)))
        daemon.wait_log(r"a request is too large; the next ones are of at most 1048576 bytes")
        until(lambda: self.jobs(collector) == 7, "it has come")
        until(lambda: len(daemon.metrics().series("acgs2_model_inference_total")) == len(
            collector.exposition().series("acgs2_model_inference_total")), "all models have come")

    def test_otlp_deltas_that_failed_come_again(self):
        receiver = self.start_receiver()
        receiver.script("metrics", *(self.receiver.Answer(status, "never") for status in NOT_RETRIED))
        daemon = self.start_daemon(receiver, metrics=True, temporality="delta")
        self.send(daemon, {"type": "counter", "name": "jobs", "value": 7})
        receiver.wait_calls("metrics", len(NOT_RETRIED) + 3)
        self.assertEqual([point["value"] for metric in receiver.metrics("acgs2.acgs2-agent-bus.jobs")
                          for point in metric["points"]], [7])
