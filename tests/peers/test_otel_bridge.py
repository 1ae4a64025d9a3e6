"""The bridge from the OpenTelemetry SDK for Python: what it sends over the sidecar is what the SDK's own OTLP exporter
sends, and a real Collector has it."""
import bisect
import contextlib
import importlib
import math
import sys
import unittest
from unittest import mock

from harness import HASH, ROOT, WAIT_S
from peer import need
from test_otlp import OtlpCase

sys.path.insert(0, str(ROOT / "client/python"))

ADDED = ("constitutional.hash", "timestamp", "otel.scope.name", "otel.scope.version")
SCOPE = {"otel.scope.name": "shop.lib", "otel.scope.version": "3.4"}


class BridgeCase(OtlpCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sdk = need("otlp_sdk")
        cls.trace = need("opentelemetry.trace")
        cls.sdk_trace = need("opentelemetry.sdk.trace")
        cls.sdk_metrics = need("opentelemetry.sdk.metrics")
        cls.export = need("opentelemetry.sdk.metrics.export")
        cls.view = need("opentelemetry.sdk.metrics.view")
        cls.resource = need("opentelemetry.sdk.resources").Resource(cls.sdk.RESOURCE)
        cls.dwell = importlib.import_module("dwell")  # ours: that it cannot be imported is no reason to skip
        cls.bridge = importlib.import_module("dwell.opentelemetry")

    def client(self, daemon):
        client = self.dwell.Client(directory=str(daemon.directory))
        self.addCleanup(client.close)
        self.enter(mock.patch("dwell._client._default", client))
        self.enter(mock.patch("dwell.spans.foreign", None))
        return client

    def enter(self, manager):
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        return stack.enter_context(manager)

    def tracer(self, client, *processors):
        provider = self.sdk_trace.TracerProvider(resource=self.resource, shutdown_on_exit=False)
        for processor in (self.bridge.DwellSpanProcessor(client), *processors):
            provider.add_span_processor(processor)
        self.provider = provider
        return provider.get_tracer(*self.sdk.SCOPE)

    @contextlib.contextmanager
    def meter(self, client, views=()):
        """A meter, and a function that collects and sends."""
        reader = self.export.PeriodicExportingMetricReader(self.bridge.DwellMetricExporter(client),
                                                           export_interval_millis=math.inf)
        provider = self.sdk_metrics.MeterProvider([reader], resource=self.resource, views=views, shutdown_on_exit=False)
        try:
            yield provider.get_meter(*self.sdk.SCOPE), provider.force_flush
        finally:
            provider.shutdown()

    def must_balance(self, client, daemon, records):
        self.assertTrue(client.flush(WAIT_S))
        metrics = daemon.metrics()
        self.assertEqual({term: metrics.get(f"dwelld_client_{term}_total", 0, client="dwell-python/0.1.0")
                          for term in ("sent", "accepted", "rejected", "dropped", "lost")},
                         {"sent": records, "accepted": records, "rejected": 0, "dropped": 0, "lost": 0})


class TestBridgeSpans(BridgeCase):
    def some_spans(self, tracer):
        """All that the SDK's spans can have: returns how many there are."""
        kinds, status = self.trace.SpanKind, self.trace.Status
        other = tracer.start_span("other")
        attributes = {"text": "größe \U0001f600", "int": -7, "yes": True, "half": 0.5, "list": ["a", "b"],
                      "numbers": [1, 2]}
        with tracer.start_as_current_span("mother", kind=kinds.SERVER, attributes=attributes) as span:
            span.add_event("event", {"n": 1}, timestamp=span.start_time + 5)
            span.add_event("plain", timestamp=span.start_time + 6)
            with tracer.start_as_current_span("child", kind=kinds.CLIENT, links=[
                    self.trace.Link(other.get_span_context(), {"why": "batch"})]) as child:
                child.set_status(status(self.trace.StatusCode.ERROR, "es ging schief"))
        with contextlib.suppress(ValueError), tracer.start_as_current_span("raises", record_exception=True):
            raise ValueError("no")
        tracer.start_span("given", start_time=10**18).end(10**18 + 7)
        other.set_status(status(self.trace.StatusCode.OK))
        other.end()
        return 5

    def plain(self, spans, scope):
        """By name, without what only one of the two ways adds."""
        found = {}
        for span in spans:
            attributes = dict(span["attributes"])
            self.assertEqual(attributes.get("constitutional.hash"), HASH if scope else None)  # the daemon's to add
            self.assertEqual({key: attributes[key] for key in SCOPE if key in attributes}, scope)
            found[span["name"]] = {
                **{key: span[key] for key in ("trace_id", "span_id", "parent_span_id", "kind", "start_time_unix_nano",
                                              "end_time_unix_nano", "status", "events", "dropped_attributes_count")},
                "attributes": {key: value for key, value in attributes.items() if key not in ADDED},
                "links": [{key: link[key] for key in ("trace_id", "span_id", "attributes")} for link in span["links"]],
                "service": span["resource"]["service.name"]}
        return found

    def test_bridge_spans_are_those_of_the_sdks_own_exporter(self):
        near, far = self.start_receiver(), self.start_receiver()
        daemon = self.start_daemon(far)
        client = self.client(daemon)
        exporter = need("opentelemetry.exporter.otlp.proto.grpc.trace_exporter").OTLPSpanExporter(near.endpoint)
        simple = need("opentelemetry.sdk.trace.export").SimpleSpanProcessor(exporter)
        count = self.some_spans(self.tracer(client, simple))
        self.must_balance(client, daemon, count)
        self.provider.shutdown()
        daemon.stop()
        wanted, got = self.plain(near.spans(), {}), self.plain(far.spans(), SCOPE)
        self.assertEqual((len(wanted), len(far.spans())), (count, count))
        self.must_equal(got, wanted)

    def test_bridge_spans_come_to_a_collector(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector)
        client = self.client(daemon)
        count = self.some_spans(self.tracer(client))
        self.must_balance(client, daemon, count)
        spans = collector.wait_spans(count)
        self.assertEqual(sorted(span["name"] for span in spans), ["child", "given", "mother", "other", "raises"])
        self.assertEqual({span["attributes"]["constitutional.hash"] for span in spans}, {HASH})

    def test_bridge_sends_what_is_sampled_and_keeps_it_against_the_rate(self):
        receiver = self.start_receiver()
        daemon = self.start_daemon(receiver, sample_rate=0)
        client = self.client(daemon)
        tracer = self.tracer(client)
        for name, flag in (("kept", 1), ("given up", 0)):
            parent = self.trace.SpanContext(7, 7, True, self.trace.TraceFlags(flag))
            context = self.trace.set_span_in_context(self.trace.NonRecordingSpan(parent))
            tracer.start_span(name, context=context).end()
        self.must_balance(client, daemon, 1)
        daemon.stop()
        self.assertEqual(self.names(receiver), ["kept"])

    def test_bridge_our_spans_and_budgets_belong_to_the_sdks_span(self):
        receiver = self.start_receiver()
        daemon = self.start_daemon(receiver)
        client = self.client(daemon)
        tracer = self.tracer(client)

        @self.dwell.traced()
        def work():
            with self.dwell.SpanContext("within"):
                pass
        with tracer.start_as_current_span("sdk's"):
            work()
            budget = self.dwell.LayerTimeoutBudget(self.dwell.Layer.LAYER1_VALIDATION, 5.0)
            with mock.patch("dwell.budgets._now_ns", iter((0, 6 * 10**6)).__next__):
                budget.start()
                budget.stop()
        work()
        self.must_balance(client, daemon, 6)
        daemon.stop()
        spans = receiver.spans()
        theirs, = (span for span in spans if span["name"] == "sdk's")
        children = sorted(span["name"] for span in spans if span["parent_span_id"] == theirs["span_id"])
        self.assertEqual(len([span for span in spans if span["trace_id"] == theirs["trace_id"]]), 4)
        self.assertIn("work", children)
        self.assertEqual(len(children), 2)  # the other one is the layer over its budget

    def test_bridge_takes_what_cannot_be_encoded_for_dropped(self):
        daemon = self.start_daemon(self.start_receiver())
        client = self.client(daemon)
        self.bridge.DwellSpanProcessor(client).on_end(mock.Mock(context=mock.Mock(trace_flags=1, trace_id="x")))
        self.assertEqual((client.stats()["sent"], client.stats()["dropped"]), (1, 1))


class TestBridgeMetrics(BridgeCase):
    def setUp(self):
        super().setUp()
        print(f"seed {self.seed}", end=" ", flush=True)

    def start_quiet(self):
        daemon = self.start()
        return daemon, self.client(daemon)

    def test_bridge_metrics_are_those_of_the_sdk(self):
        daemon, client = self.start_quiet()
        with self.meter(client) as (meter, send):
            counter, updown = meter.create_counter("jobs", "1"), meter.create_up_down_counter("depth")
            histogram = meter.create_histogram("call", "ms")
            gauge = meter.create_gauge("level", "By")
            meter.create_observable_gauge("seen", [lambda _: [self.metrics_api().Observation(5, {"a": "b"})]])
            for _ in range(2):
                counter.add(2, {"kind": "a"})
                updown.add(3)
                gauge.set(7)
                histogram.record(12.5, {"kind": "a"})
                histogram.record(7.5, {"kind": "a"})
                self.assertTrue(send())
            self.assertTrue(send())  # nothing new
            metrics = daemon.metrics()
        shown = [metrics.get("jobs_total", kind="a"), metrics.get("depth"), metrics.get("level_bytes"),
                 metrics.get("seen", a="b"), metrics.get("call_seconds_count", kind="a")]
        self.assertEqual(shown, [4, 6, 7, 5, 4])
        self.assertAlmostEqual(metrics.get("call_seconds_sum", kind="a"), 0.04, delta=1e-12)
        self.must_balance(client, daemon, client.stats()["sent"])

    def metrics_api(self):
        return need("opentelemetry.metrics")

    def must_be_like(self, values, views=()):
        """The daemon's count and sum are the values'."""
        daemon, client = self.start_quiet()
        with self.meter(client, views) as (meter, send):
            histogram = meter.create_histogram("call", "s")
            for value in values:
                histogram.record(value)
            self.assertTrue(send())
            metrics = daemon.metrics()
        self.assertEqual(metrics.get("call_seconds_count"), len(values), f"seed {self.seed}")
        self.assertAlmostEqual(metrics.get("call_seconds_sum") / math.fsum(values), 1, delta=1e-9, msg=f"seed {self.seed}")
        return metrics.buckets("call_seconds")

    def test_bridge_histograms_keep_count_sum_and_buckets(self):
        values = [self.random.lognormvariate(-3, 1.5) for _ in range(2000)]
        bounds = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
        explicit = self.view.ExplicitBucketHistogramAggregation(bounds)
        buckets = self.must_be_like(values, [self.view.View(instrument_name="call", aggregation=explicit)])
        self.must_be_like(values)
        shared = {float(le): count for le, count in buckets.items() if float(le) in bounds}
        self.assertGreaterEqual(len(shared), 4, buckets)
        self.assertEqual(shared, {bound: sum(value <= bound for value in values) for bound in shared})

    def test_bridge_distributions_are_within_their_buckets(self):
        Point = mock.Mock
        for bounds, values in (((1, 2, 5), (0.5, 1, 1.5, 2, 3, 3, 5, 9)), ((), (4.0,)), ((0,), (-1.0, 0.0, 1.0)),
                               ((1, 2), (1, 1, 1)), ((1, 2), (2.0, 2.0))):
            counts = [0] * (len(bounds) + 1)
            for value in values:
                counts[bisect.bisect_left(bounds, value)] += 1
            for known in (True, False):  # where the SDK does not record minimum and maximum the sum is only near
                least, most = (min(values), max(values)) if known else (math.inf, -math.inf)
                found = self.bridge.distribution(Point(explicit_bounds=bounds, bucket_counts=counts, sum=sum(values),
                                                       min=least, max=most), False)
                again = [0] * len(counts)
                for value, weight in found:
                    again[bisect.bisect_left(bounds, value)] += weight
                if known:
                    self.assertEqual(again, counts)
                    self.assertAlmostEqual(sum(value * weight for value, weight in found), sum(values), places=9)
                self.assertEqual(sum(weight for _, weight in found), len(values))

    def test_bridge_points_that_are_no_deltas_are_dropped_and_told_once(self):
        daemon, client = self.start_quiet()
        exporter = self.bridge.DwellMetricExporter(client)
        reader = self.export.InMemoryMetricReader()
        provider = self.sdk_metrics.MeterProvider([reader], shutdown_on_exit=False)
        provider.get_meter("m").create_counter("jobs").add(1)
        with self.assertLogs("dwell", "WARNING") as log:
            for _ in range(2):
                exporter.export(reader.get_metrics_data())
        self.assertEqual([line.split(":", 2)[2][:18] for line in log.output], [f"[{HASH}]"])
        self.assertEqual((client.stats()["sent"], client.stats()["dropped"]), (2, 2))
        self.assertIsNone(daemon.metrics().get("jobs_total"))

    def test_bridge_says_so_when_there_is_no_daemon(self):
        daemon, client = self.start_quiet()
        client.away = True
        self.assertEqual(self.bridge.DwellMetricExporter(client).export(mock.Mock(resource_metrics=[])),
                         self.export.MetricExportResult.FAILURE)
        tracer = self.tracer(client)
        tracer.start_span("x").end()
        self.assertEqual((client.stats()["sent"], client.stats()["dropped"]), (1, 1))
        self.assertEqual(daemon.metrics().get("dwelld_client_sent_total", 0, client="dwell-python/0.1.0"), 0)

    def test_bridge_weights_past_their_ceiling_are_split(self):
        _, client = self.start_quiet()
        put = self.enter(mock.patch.object(client, "put"))
        exporter = self.bridge.DwellMetricExporter(client)
        point = mock.Mock(attributes={}, explicit_bounds=(), bucket_counts=[5], sum=5.0, min=1.0, max=1.0)
        metric = mock.Mock(unit="s", data=mock.Mock(aggregation_temporality=self.export.AggregationTemporality.DELTA))
        metric.name = "call"
        for ceiling, weights in ((5, [5]), (4, [4, None])):
            with mock.patch.object(self.bridge, "WEIGHT_MAX", ceiling):
                put.reset_mock()
                exporter._send(metric, point)
            wire = self.dwell._wire
            self.assertEqual([call.args[0] for call in put.call_args_list],
                             [wire.metric("call", wire.OBSERVE, 1.0, attributes={}, unit="s", weight=weight)
                              for weight in weights])


class TestParity(BridgeCase):
    """Of headers and of sampling with the SDK, case by case."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.propagation = need("propagation")
        cls.sampler = need("sampler")

    def context(self, parent):
        spans = self.dwell.spans
        flags = spans.REMOTE | spans.DECIDED | (spans.SAMPLED if parent.sampled else 0)
        return self.dwell.TraceContext(bytes.fromhex(parent.trace_id), bytes.fromhex(parent.span_id), flags,
                                       parent.trace_state)

    def test_parity_of_headers_that_are_read(self):
        for name, cases in self.propagation.CASES.items():
            for headers in cases:
                with self.subTest(format=name, headers=headers):
                    theirs, ours = self.propagation.extract(name, headers), self.dwell.extract(headers, [name])
                    if theirs is None:
                        self.assertIsNone(ours and ours.trace_id)
                        continue
                    self.assertEqual((ours.trace_id.hex(), ours.span_id.hex(), ours.trace_state),
                                     (theirs.trace_id, theirs.span_id, theirs.trace_state))
                    decided = self.dwell.spans.DECIDED
                    self.assertEqual(bool(ours.flags & self.dwell.spans.SAMPLED), theirs.sampled and bool(ours.flags & decided))

    def test_parity_of_headers_that_are_written(self):
        for name in self.propagation.FORMATS:
            for sampled in (True, False):
                parent = self.propagation.Parent(32 * "a", 16 * "b", sampled, "a=1" if name == "tracecontext" else "")
                ours = {key.lower(): value for key, value in self.dwell.inject({}, self.context(parent), [name]).items()}
                self.assertEqual(ours, self.propagation.inject(name, parent))

    def test_parity_of_sampling(self):
        self.addCleanup(self.dwell.spans.read_environment)
        for rate in self.sampler.RATES + self.sampler.TIES:
            self.dwell.spans.sample(rate)
            ids = self.sampler.edge_ids(self.random, rate) + self.sampler.random_ids(self.random, 1000)
            ours = [self.dwell.spans.is_sampled(trace_id.to_bytes(16, "big"), 0) for trace_id in ids]
            self.assertEqual(ours, self.sampler.verdicts(rate, ids), f"rate {rate!r}, seed {self.seed}")


if __name__ == "__main__":
    unittest.main()
