"""The peers of the OTLP tests are tested themselves, with the OpenTelemetry SDK for Python as the sender: what the
Collector wrote is what was sent, and each fault of the receiver is seen as that fault."""
import functools
import math
import operator
import random
import time
import unittest

from harness import DaemonCase
from peer import need, proto_classes

NS = 10 ** 9
AWKWARD = {"text": "größe 🙂\n\"\\", "empty": "", "yes": True, "no": False, "zero": 0, "least": -2 ** 63,
           "most": 2 ** 63 - 1, "whole": 1.0, "third": 1 / 3, "tiny": 5e-324, "texts": ["a", ""], "numbers": [1, 2],
           "doubles": [1.0, 0.5], "bools": [True, False]}
NOT_RETRIED = ("UNKNOWN", "INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "UNAUTHENTICATED",
               "FAILED_PRECONDITION", "UNIMPLEMENTED", "INTERNAL")
RETRIED = ("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS", "RESOURCE_EXHAUSTED")
TIMEOUT_S = 20
BROKEN = "reset by peer|Broken pipe"  # as it was reading or writing
TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"


class PeerCase(DaemonCase):
    @classmethod
    def setUpClass(cls):
        cls.sdk = need("otlp_sdk")
        cls.otlp = need("otlp")
        cls.receiver = need("otlp_receiver")
        cls.collector_class = need("otlp_collector").Collector
        cls.certificates_class = need("certificates").Certificates
        cls.grpc = need("grpc")

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

    def call(self, target, method, **options):
        """A function that calls a method with bytes."""
        channel = self.grpc.insecure_channel(target, **options)
        self.addCleanup(channel.close)
        return channel.unary_unary(method)

    def stub(self, target, signal="traces", **options):
        """A function that sends a request of the protocol's own class, and returns the response."""
        signal = self.receiver.signals()[signal]
        call = self.call(target, signal.path, **options)
        return lambda request: signal.response.FromString(call(request.SerializeToString(), timeout=TIMEOUT_S))

    def request(self, signal="traces"):
        """An empty request of the protocol's own class."""
        return self.receiver.signals()[signal].request()

    def must_refuse(self, call, *arguments, **options):
        """The error that it raises."""
        with self.assertRaises(self.grpc.RpcError) as refused:
            call(*arguments, **options)
        return refused.exception

    def must_equal(self, got, wanted):
        """Types included. Of two lists the first difference is told."""
        if isinstance(wanted, list):
            self.assertEqual(len(got), len(wanted))
            for one, other in zip(got, wanted):
                self.must_equal(one, other)
        else:
            self.assertEqual(self.otlp.typed(got), self.otlp.typed(wanted))

    def must_send(self, spans, endpoint, **options):
        self.assertEqual(self.sdk.export(spans, endpoint, **options), (True, ""))

    def must_fail(self, endpoint, *wanted, **options):
        """To send a span fails at the first try, and the SDK says so in these words, which are patterns."""
        options.setdefault("retryable_error_codes", [self.grpc.StatusCode.DATA_LOSS])  # none would be all
        succeeded, logged = self.sdk.export(self.sdk.some_spans(), endpoint, **options)
        self.assertFalse(succeeded)
        for words in wanted:
            self.assertRegex(logged, words)


class TestCollector(PeerCase):
    def names(self, collector):
        return sorted(span["name"] for span in collector.spans())

    def span_of(self, name, span, **more):
        """What the Collector must have written of one of the SDK's spans that has nothing else."""
        context = span.get_span_context()
        return {"resource": self.sdk.RESOURCE, "scope": self.sdk.SCOPE, "name": name, "trace_id": f"{context.trace_id:032x}",
                "span_id": f"{context.span_id:016x}", "parent_span_id": "", "trace_state": "", "kind": 1, "flags": 0x100,
                "start_time_unix_nano": NS, "end_time_unix_nano": 2 * NS, "attributes": {}, "events": [], "links": [],
                "status": {"code": 0, "message": ""}, "dropped_attributes_count": 0, "dropped_events_count": 0,
                "dropped_links_count": 0, **more}

    def test_collector_spans_are_what_was_sent(self):
        trace = need("opentelemetry.trace")
        collector = self.start_collector()
        tracer = self.sdk.Tracer(max_attributes=len(AWKWARD), max_events=2, max_links=1)
        wanted = []

        def end(name, span, **more):
            span.end(2 * NS)
            wanted.append(self.span_of(name, span, **more))

        remote = trace.SpanContext(2 ** 127 + 5, 2 ** 63 + 7, is_remote=True, trace_flags=trace.TraceFlags(1),
                                   trace_state=trace.TraceState([("a", "1"), ("b", "2")]))
        for kind, number in (("INTERNAL", 1), ("SERVER", 2), ("CLIENT", 3), ("PRODUCER", 4), ("CONSUMER", 5)):
            end(kind, tracer.start(kind, kind=trace.SpanKind[kind], start_time=NS), kind=number)
        with self.assertLogs("opentelemetry.attributes"):
            span = tracer.start("attributes", attributes={**AWKWARD, "one too many": 1}, start_time=NS)
        first = next(iter(AWKWARD))  # the SDK forgets the oldest
        kept = {**{key: value for key, value in AWKWARD.items() if key != first}, "one too many": 1}
        end("attributes", span, attributes=kept, dropped_attributes_count=1)
        span = tracer.start("all of them", attributes=AWKWARD, start_time=NS)
        end("all of them", span, attributes=AWKWARD)
        parent = trace.set_span_in_context(trace.NonRecordingSpan(remote))
        end("child", tracer.start("child", context=parent, start_time=NS), flags=0x300,
            parent_span_id="8000000000000007", trace_state="a=1,b=2")
        span = tracer.start("events", start_time=NS)
        for number in range(3):
            span.add_event(f"event {number}", {"number": number, "text": "größe"}, NS + number)
        events = [{"name": f"event {number}", "time_unix_nano": NS + number, "dropped_attributes_count": 0,
                   "attributes": {"number": number, "text": "größe"}} for number in (1, 2)]
        end("events", span, events=events, dropped_events_count=1)
        span = tracer.start("links", links=[trace.Link(remote, {"number": number}) for number in range(2)], start_time=NS)
        # A link's trace state the SDK does not send.
        link = {"trace_id": f"{remote.trace_id:032x}", "span_id": "8000000000000007", "trace_state": "", "flags": 0x300,
                "attributes": {"number": 1}, "dropped_attributes_count": 0}
        end("links", span, links=[link], dropped_links_count=1)
        for code, number, message in (("OK", 1, None), ("ERROR", 2, "es ging schief: 🙂")):
            span = tracer.start(code, start_time=NS)
            span.set_status(trace.Status(trace.StatusCode[code], message))
            end(code, span, status={"code": number, "message": message or ""})

        self.must_send(tracer.spans, collector.endpoint)
        self.must_equal(collector.spans(), wanted)

    def test_collector_metrics_are_what_was_sent(self):
        metrics = need("opentelemetry.metrics")
        view = need("opentelemetry.sdk.metrics.view")
        collector = self.start_collector()
        spread = view.View(instrument_name="spread", aggregation=view.ExponentialBucketHistogramAggregation(
            max_size=160, max_scale=3))
        values = [self.random.lognormvariate(0, 1) for _ in range(1000)]
        with self.sdk.meter(collector.endpoint, [spread]) as (meter, flush, exported):
            meter.create_counter("jobs", "1", "Jobs done.").add(3, {"queue": "größe", "number": 7})
            meter.create_counter("work", "s").add(0.5)
            meter.create_up_down_counter("depth").add(-2)
            meter.create_gauge("level", "By").set(-0.25, {"flat": True})
            meter.create_observable_gauge("seen", [lambda _: [metrics.Observation(2 ** 62, {"a": 1})]])
            times = meter.create_histogram("times", "ms", explicit_bucket_boundaries_advisory=[1, 2.5, 10])
            for value in (0.5, 1, 2.5, 3, 11, 12):
                times.record(value)
            exponential = meter.create_histogram("spread", "ms")
            for value in (0, *values):
                exponential.record(value)
            self.assertTrue(flush())

        sent, = exported
        times_of = {metric.name: [(point.start_time_unix_nano or 0, point.time_unix_nano)
                                  for point in metric.data.data_points]
                    for metric in sent.resource_metrics[0].scope_metrics[0].metrics}

        def metric(name, kind, unit="", description="", attributes=None, **point):
            (start, end), = times_of[name]
            self.assertLess(start, end)
            return {"resource": self.sdk.RESOURCE, "scope": self.sdk.SCOPE, "name": name, "unit": unit, "kind": kind,
                    "description": description, "points": [{
                        "start_time_unix_nano": start, "time_unix_nano": end, "flags": 0, "exemplars": [],
                        "attributes": attributes or {}, **point}]}

        def total(name, *arguments, is_monotonic=True, **point):
            return {**metric(name, "sum", *arguments, **point), "temporality": 2, "is_monotonic": is_monotonic}

        # Bucket i of scale 3 ends at 2^((i + 1) / 8), which belongs to it.
        counts = {}
        for value in values:
            index = math.ceil(math.log2(value) * 8) - 1
            counts[index] = counts.get(index, 0) + 1
        low, high = min(counts), max(counts)
        got = {metric["name"]: metric for metric in collector.metrics()}
        buckets = got["spread"]["points"][0]["positive"]["bucket_counts"]
        while buckets[-1] == 0:  # the SDK sends empty ones at the end
            buckets.pop()
        wanted = [
            total("jobs", "1", "Jobs done.", {"queue": "größe", "number": 7}, value=3),
            total("work", "s", value=0.5),
            total("depth", is_monotonic=False, value=-2),
            metric("level", "gauge", "By", "", {"flat": True}, value=-0.25),
            metric("seen", "gauge", "", "", {"a": 1}, value=2 ** 62),
            {**metric("times", "histogram", "ms", count=6, sum=30.0, min=0.5, max=12.0, bucket_counts=[2, 1, 1, 2],
                      explicit_bounds=[1.0, 2.5, 10.0]), "temporality": 2},
            {**metric("spread", "exponential_histogram", "ms", count=1001, min=0.0, max=max(values),
                      sum=functools.reduce(operator.add, values), scale=3, zero_count=1, zero_threshold=0.0,
                      negative={"offset": 0, "bucket_counts": [0]},
                      positive={"offset": low, "bucket_counts": [counts.get(i, 0) for i in range(low, high + 1)]}),
             "temporality": 2},
        ]
        self.assertEqual(len(collector.metrics()), len(wanted))
        self.must_equal([got[metric["name"]] for metric in wanted], wanted)

    def test_collector_exemplars_are_what_was_sent(self):
        trace = need("opentelemetry.trace")
        collector = self.start_collector()
        span = self.sdk.Tracer().start("span")
        context = span.get_span_context()
        before = time.time_ns()
        with self.sdk.meter(collector.endpoint) as (meter, flush, _):
            histogram = meter.create_histogram("times", explicit_bucket_boundaries_advisory=[1])
            histogram.record(0.5, context=trace.set_span_in_context(span))
            self.assertTrue(flush())
        exemplar, = collector.wait_metric("times")["points"][0]["exemplars"]
        self.assertTrue(before <= exemplar.pop("time_unix_nano") <= time.time_ns())
        self.must_equal(exemplar, {"value": 0.5, "trace_id": f"{context.trace_id:032x}",
                                   "span_id": f"{context.span_id:016x}", "filtered_attributes": {}})

    def fill(self, message, depth=0):
        """Sets every field to something other than its default; where one of several can be set, one."""
        one = self.random
        lengths = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}
        enums = {"kind": 5, "code": 2}
        draw = {
            "string": lambda field: f"größe {one.randrange(10 ** 6)}",
            "bytes": lambda field: one.randbytes(lengths.get(field.name, 5)),
            "bool": lambda field: True,
            "double": lambda field: one.choice((-1, 1)) * one.lognormvariate(0, 50),
            "int64": lambda field: one.choice((-1, 1)) * one.randrange(1, 2 ** 63),
            "uint32": lambda field: one.randrange(1, enums.get(field.name, 2 ** 32 - 1) + 1),
            "uint64": lambda field: one.randrange(1, 2 ** 64),
            "sint32": lambda field: one.choice((-1, 1)) * one.randrange(1, 2 ** 31),
            "enum": lambda field: one.choice(field.enum_type.values[1:]).number,
        }
        kinds = {1: "double", 3: "int64", 4: "uint64", 6: "uint64", 7: "uint32", 8: "bool", 9: "string", 12: "bytes",
                 13: "uint32", 14: "enum", 16: "int64", 17: "sint32"}
        chosen = {oneof.name: one.choice(oneof.fields) for oneof in message.DESCRIPTOR.oneofs}
        for field in message.DESCRIPTOR.fields:
            if field.containing_oneof is not None and field is not chosen[field.containing_oneof.name]:
                continue
            if field.message_type is None:
                count = one.randrange(1, 4) if field.is_repeated else None
                value = draw[kinds[field.type]]
                if count is None:
                    setattr(message, field.name, value(field))
                else:
                    getattr(message, field.name).extend(value(field) for _ in range(count))
            elif not field.is_repeated:
                self.fill(getattr(message, field.name), depth + 1)
                getattr(message, field.name).SetInParent()
            elif depth < 12:
                for _ in range(one.randrange(1, 4)):
                    self.fill(getattr(message, field.name).add(), depth + 1)
        return message

    def must_go_through(self, signal, messages):
        """Requests with everything that proto/otlp.proto has, drawn at random, reach the Collector whole."""
        print(f"seed {self.seed} ", end="", flush=True)
        classes = proto_classes("otlp.proto", self.directory())
        ours = classes(f"otlp.{self.request(signal).DESCRIPTOR.name}")
        collector = self.start_collector()
        send = self.stub(collector.target, signal)
        requests = []
        for _ in range(10):
            drawn = self.fill(ours())
            request = self.request(signal)
            request.ParseFromString(drawn.SerializeToString())
            # Nothing in ours is unknown to theirs.
            self.assertEqual(ours.FromString(request.SerializeToString()), drawn)
            unknown = type(request).FromString(request.SerializeToString())
            unknown.DiscardUnknownFields()
            self.assertEqual(unknown.ByteSize(), request.ByteSize())
            requests.append(request)
            send(request)
        got = messages(collector)
        self.assertEqual(len(got), len(requests))
        for one, request in zip(got, requests):
            self.assertEqual(one.SerializeToString(deterministic=True), request.SerializeToString(deterministic=True))

    def test_collector_keeps_every_field_of_a_span(self):
        self.must_go_through("traces", lambda collector: collector.trace_messages())

    def test_collector_keeps_every_field_of_a_metric(self):
        self.must_go_through("metrics", lambda collector: collector.metric_messages())

    def test_collector_numbers_that_are_none(self):
        collector = self.start_collector()
        request = self.request("metrics")
        points = request.resource_metrics.add().scope_metrics.add().metrics.add(name="m").gauge.data_points
        for value in (math.nan, math.inf, -math.inf, -0.0):
            points.add(as_double=value, time_unix_nano=1)
        points.add(flags=1, time_unix_nano=1)
        self.stub(collector.target, "metrics")(request)
        metric, = collector.metrics()
        self.must_equal([point["value"] for point in metric["points"]], [math.nan, math.inf, -math.inf, -0.0, None])
        self.assertEqual(metric["points"][-1]["flags"], 1)

    def test_collector_says_what_names_become_for_prometheus(self):
        collector = self.start_collector()
        with self.sdk.meter(collector.endpoint) as (meter, flush, _):
            meter.create_counter("jobs.done").add(3, {"queue.name": "q"})
            meter.create_histogram("job.time", "s", explicit_bucket_boundaries_advisory=[1]).record(2)
            meter.create_gauge("memory", "By").set(5)
            meter.create_gauge("load", "1").set(0.5)
            self.assertTrue(flush())
        exposition = collector.exposition()
        self.assertEqual(exposition.types, {"jobs_done_total": "counter", "job_time_seconds": "histogram",
                                            "memory_bytes": "gauge", "load_ratio": "gauge"})
        (labels, value), = exposition.series("jobs_done_total")
        self.assertEqual((labels["queue_name"], labels["job"], value), ("q", "shop", 3))

    def test_collector_that_was_killed_keeps_what_it_has_acknowledged(self):
        collector = self.start_collector()
        port, spans = collector.port, [self.sdk.some_spans() for _ in range(4)]
        self.must_send(spans[0], collector.endpoint)
        collector.kill()
        self.must_fail(collector.endpoint, "StatusCode.UNAVAILABLE")
        collector.restart()
        self.assertEqual(collector.port, port)
        self.must_send(spans[1], collector.endpoint)
        with open(collector.directory / "traces-2", "ab") as file:
            file.write(b'{"resourceSpans":[{"scopeSp')  # as a kill in the middle of it leaves a line
        collector.kill()
        collector.restart()
        self.must_send(spans[2], collector.endpoint)
        collector.stop()
        collector.restart()
        self.must_send(spans[3], collector.endpoint)
        self.assertEqual([span["name"] for span in collector.wait_spans(4)], [span.name for span, in spans])

    def test_collector_may_be_stopped_as_soon_as_it_is_ready(self):
        collector = self.start_collector()
        for _ in range(10):
            collector.stop()
            collector.restart()
        collector.stop()

    def test_collector_over_a_unix_socket(self):
        collector = self.start_collector(unix=self.directory() / "otlp.sock")
        request = self.request()
        request.resource_spans.add().scope_spans.add().spans.add(name="by a socket", trace_id=b"t" * 16, span_id=b"s" * 8)
        self.stub(collector.target, options=[("grpc.default_authority", "localhost")])(request)
        self.assertEqual(self.names(collector), ["by a socket"])

    def test_collector_takes_gzip(self):
        collector = self.start_collector()
        spans = self.sdk.some_spans(100)
        self.must_send(spans, collector.endpoint, compression=self.grpc.Compression.Gzip)
        self.assertEqual(self.names(collector), sorted(span.name for span in spans))

    def test_collector_refuses_what_is_too_long(self):
        collector = self.start_collector(max_recv_msg_size_mib=1)
        send = self.stub(collector.target)
        request = self.request()
        span = request.resource_spans.add().scope_spans.add().spans.add(name="", trace_id=b"t" * 16, span_id=b"s" * 8)
        span.name = "x" * (2 ** 20 - 100)
        span.name += "x" * (2 ** 20 - request.ByteSize())
        self.assertEqual(request.ByteSize(), 2 ** 20)
        send(request)
        span.name += "x"
        self.assertEqual(self.must_refuse(send, request).code().name, "RESOURCE_EXHAUSTED")
        self.assertEqual(len(collector.spans()), 1)


class TestReceiver(PeerCase):
    def answer(self, *arguments, **options):
        return self.receiver.Answer(*arguments, **options)

    def refusal(self, receiver, signal="traces"):
        """How a call ends, for who reads the standard's trailers: (code, message, RetryInfo's seconds or None)."""
        status_pb2 = need("google.rpc.status_pb2")
        details_pb2 = need("google.rpc.error_details_pb2")
        error, retry_s = self.must_refuse(self.stub(receiver.target, signal), self.request(signal)), None
        trailers = {item.key: item.value for item in error.trailing_metadata() or ()}
        if self.receiver.DETAILS in trailers:
            status = status_pb2.Status.FromString(trailers[self.receiver.DETAILS])
            self.assertEqual((status.code, status.message), (error.code().value[0], error.details()))
            packed, = status.details
            info = details_pb2.RetryInfo()
            self.assertTrue(packed.Unpack(info))
            retry_s = info.retry_delay.ToTimedelta().total_seconds()
        return error.code().name, error.details(), retry_s

    def test_receiver_keeps_what_came(self):
        receiver = self.start_receiver()
        spans = self.sdk.some_spans(3)
        self.must_send(spans, receiver.endpoint, timeout=20, headers={"x-key": "value"})
        self.must_send(spans, receiver.endpoint, compression=self.grpc.Compression.Gzip)
        with self.sdk.meter(receiver.endpoint) as (meter, flush, _):
            meter.create_counter("jobs").add(3)
            self.assertTrue(flush())
        plain, compressed = receiver.calls("traces")
        self.assertEqual((plain.compressed, compressed.compressed), (False, True))
        self.assertEqual((plain.values("x-key"), compressed.values("x-key")), (["value"], []))
        self.assertTrue(plain.values("user-agent")[0].startswith("OTel-OTLP-Exporter-Python/"))
        self.assertTrue(0 < plain.timeout_s < 21, plain.timeout_s)  # gRPC rounds it up
        self.assertEqual(plain.size_bytes, plain.request.ByteSize())
        self.assertNotEqual(compressed.size_bytes, compressed.request.ByteSize())
        self.assertEqual(compressed.request, plain.request)
        self.assertLess(plain.at, compressed.at)
        self.assertEqual([span["name"] for span in receiver.spans()], 2 * [span.name for span in spans])
        metric, = receiver.metrics()
        self.assertEqual((metric["name"], metric["points"][0]["value"]), ("jobs", 3))
        self.assertEqual(receiver.connections, 3)

    def test_receiver_agrees_with_the_collector(self):
        receiver, collector = self.start_receiver(), self.start_collector()
        spans = self.sdk.some_spans(3)
        for endpoint in (receiver.endpoint, collector.endpoint):
            self.must_send(spans, endpoint)
        self.must_equal(receiver.spans(), collector.spans())

    def test_receiver_refuses_for_good(self):
        receiver = self.start_receiver()
        for number, status in enumerate(NOT_RETRIED, 1):
            with self.subTest(status=status):
                receiver.script("traces", self.answer(status, "because of it"))
                self.must_fail(receiver.endpoint, f"error code: StatusCode.{status}, error details: because of it")
                self.assertEqual(len(receiver.calls("traces")), number)
        self.assertEqual(receiver.spans(), [])

    def test_receiver_refuses_for_a_while(self):
        receiver = self.start_receiver()
        for status in RETRIED:
            with self.subTest(status=status):
                before = len(receiver.calls("traces"))
                receiver.script("traces", self.answer(status, "busy", retry_s=0.05,
                                                      retry_trailer=self.receiver.PYTHON_RETRY))
                spans = self.sdk.some_spans()
                succeeded, logged = self.sdk.export(spans, receiver.endpoint)
                self.assertTrue(succeeded)
                self.assertIn(f"Transient error StatusCode.{status} ", logged)
                self.assertIn("retrying in 0.05s. Error details: busy", logged)
                first, second = receiver.calls("traces")[before:]
                self.assertEqual(first.request, second.request)
                self.assertGreaterEqual(second.at - first.at, 0.05)
        self.assertEqual(len(receiver.spans()), len(RETRIED))

    def test_receiver_says_when_to_come_back(self):
        receiver = self.start_receiver()
        for signal in ("traces", "metrics"):
            receiver.script(signal, self.answer("UNAVAILABLE", "later", retry_s=1.25),
                            self.answer("RESOURCE_EXHAUSTED", "full"), self.answer("INVALID_ARGUMENT", retry_s=0))
            self.assertEqual(self.refusal(receiver, signal), ("UNAVAILABLE", "later", 1.25))
            self.assertEqual(self.refusal(receiver, signal), ("RESOURCE_EXHAUSTED", "full", None))
            self.assertEqual(self.refusal(receiver, signal), ("INVALID_ARGUMENT", "", 0))
            self.stub(receiver.target, signal)(self.request(signal))  # at the end of the script it takes

    def test_receiver_always_does_the_same(self):
        receiver = self.start_receiver()
        receiver.always("metrics", self.answer("ABORTED"))
        for _ in range(3):
            self.assertEqual(self.refusal(receiver, "metrics")[0], "ABORTED")
        self.stub(receiver.target)(self.request())

    def test_receiver_takes_a_part(self):
        receiver = self.start_receiver()
        for signal, field in (("traces", "rejected_spans"), ("metrics", "rejected_data_points")):
            receiver.script(signal, self.answer(rejected=3, rejected_message="three of them"), self.answer(rejected=0))
            partial = self.stub(receiver.target, signal)(self.request(signal)).partial_success
            self.assertEqual((getattr(partial, field), partial.error_message), (3, "three of them"))
            response = self.stub(receiver.target, signal)(self.request(signal))
            self.assertTrue(response.HasField("partial_success"))
            response = self.stub(receiver.target, signal)(self.request(signal))
            self.assertFalse(response.HasField("partial_success"))
        receiver.script("traces", self.answer(rejected=1, rejected_message="not that one"))
        self.must_send(self.sdk.some_spans(2), receiver.endpoint)  # for the SDK it is a success, and it is not sent again
        self.assertEqual(len(receiver.calls("traces")), 4)

    def test_receiver_is_too_slow(self):
        receiver = self.start_receiver()
        receiver.script("traces", self.answer(delay_s=self.receiver.HOLD))
        self.must_fail(receiver.endpoint, "StatusCode.DEADLINE_EXCEEDED", timeout=5)  # it must come, on a busy machine
        call, = receiver.calls("traces")
        self.assertFalse(call.answered)
        self.assertEqual(receiver.spans(), [])

    def test_receiver_is_slow(self):
        receiver = self.start_receiver()
        receiver.script("traces", self.answer(delay_s=0.2))
        before = time.monotonic()
        self.must_send(self.sdk.some_spans(), receiver.endpoint)
        self.assertGreaterEqual(time.monotonic() - before, 0.2)
        self.assertTrue(receiver.calls("traces")[0].answered)

    def test_receiver_answers_when_it_is_told_to(self):
        receiver = self.start_receiver()
        receiver.always("traces", self.answer(delay_s=self.receiver.HOLD))
        pending = [self.call(receiver.target, TRACES).future(b"", timeout=TIMEOUT_S) for _ in range(2)]
        self.assertEqual([call.answered for call in receiver.wait_calls("traces", 2)], [False, False])
        self.assertFalse(any(one.done() for one in pending))
        receiver.release()
        self.assertEqual([one.result() for one in pending], [b"", b""])

    def test_receiver_answers_garbage(self):
        receiver = self.start_receiver()
        receiver.script("traces", self.answer(body=b"\xff\xff\xff"))
        self.must_fail(receiver.endpoint, "StatusCode.INTERNAL", "deserializing response")
        self.assertEqual(len(receiver.calls("traces")), 1)

    def test_receiver_cannot_read_garbage(self):
        receiver = self.start_receiver()
        receiver.script("traces", self.answer("ABORTED"))
        send = self.call(receiver.target, TRACES)
        for data in (b"\xff\xff\xff", b"\x1f\x8b\x08\x00cut"):
            self.assertEqual(self.must_refuse(send, data, timeout=TIMEOUT_S).code().name, "INTERNAL")
        self.assertEqual([call.request for call in receiver.calls("traces")], [None, None])
        self.assertEqual(self.must_refuse(send, b"", timeout=TIMEOUT_S).code().name, "ABORTED")  # it was not used up
        logs = self.call(receiver.target, LOGS)
        self.assertEqual(self.must_refuse(logs, b"", timeout=TIMEOUT_S).code().name, "UNIMPLEMENTED")

    def test_receiver_resets_the_connection(self):
        receiver = self.start_receiver()
        receiver.script("traces", self.answer(reset="connection"), self.answer(reset="connection"))
        self.must_fail(receiver.endpoint, "StatusCode.UNAVAILABLE", BROKEN)
        self.assertFalse(receiver.calls("traces")[0].answered)
        succeeded, logged = self.sdk.export(self.sdk.some_spans(), receiver.endpoint)
        self.assertTrue(succeeded)
        self.assertIn("Transient error StatusCode.UNAVAILABLE", logged)
        self.assertEqual((len(receiver.calls("traces")), receiver.connections), (3, 3))
        self.assertEqual(len(receiver.spans()), 1)

    def test_receiver_resets_the_stream(self):
        receiver = self.start_receiver()
        send = self.stub(receiver.target)
        send(self.request())
        for code, status in ((self.receiver.INTERNAL_ERROR, "INTERNAL"), (self.receiver.CANCEL, "CANCELLED"),
                             (self.receiver.REFUSED_STREAM, "UNAVAILABLE"),
                             (self.receiver.ENHANCE_YOUR_CALM, "RESOURCE_EXHAUSTED")):
            with self.subTest(status=status):
                receiver.script("traces", self.answer(reset="stream", reset_code=code))
                error = self.must_refuse(send, self.request())
                self.assertEqual(error.code().name, status)
                self.assertIn("RST_STREAM", error.details())
                self.assertFalse(receiver.calls("traces")[-1].answered)
                receiver.script("traces", self.answer(reset="stream", reset_code=code))
                self.must_fail(receiver.endpoint, f"StatusCode.{status}")
        send(self.request())
        # The stub's connection has outlived them all.
        self.assertEqual(receiver.calls("traces")[0].connection, receiver.calls("traces")[-1].connection)

    def test_receiver_is_away(self):
        receiver = self.start_receiver()
        self.must_send(self.sdk.some_spans(), receiver.endpoint)
        receiver.leave()
        self.must_fail(receiver.endpoint, "StatusCode.UNAVAILABLE", f"refused|{BROKEN}")
        receiver.come_back()
        self.must_send(self.sdk.some_spans(), receiver.endpoint)
        self.assertEqual(len(receiver.calls("traces")), 2)

    def test_receiver_leaves_while_it_is_waited_for(self):
        receiver = self.start_receiver()
        receiver.script("traces", self.answer(delay_s=self.receiver.HOLD))
        pending = self.call(receiver.target, TRACES).future(b"", timeout=TIMEOUT_S)
        receiver.wait_calls("traces", 1)
        receiver.leave()
        self.assertEqual(pending.code(), self.grpc.StatusCode.UNAVAILABLE)

    def test_receiver_refuses_what_is_too_long(self):
        receiver = self.start_receiver(max_bytes=1000)
        request = self.request()
        span = request.resource_spans.add().scope_spans.add().spans.add(name="x")
        span.name = "x" * (1000 - request.ByteSize() - 10)
        span.name += "x" * (1000 - request.ByteSize())
        self.assertEqual(request.ByteSize(), 1000)
        self.stub(receiver.target)(request)
        span.name += "x"
        self.assertEqual(self.must_refuse(self.stub(receiver.target), request).code().name, "RESOURCE_EXHAUSTED")
        self.assertEqual(len(receiver.calls("traces")), 1)


class TestTls(PeerCase):
    def setUp(self):
        super().setUp()
        self.certificates = self.certificates_class(self.directory())

    def peers(self, **options):
        yield "collector", self.start_collector(**options)
        yield "receiver", self.start_receiver(**options)

    def must_distrust(self, peer, **options):
        self.must_fail(peer.endpoint, "StatusCode.UNAVAILABLE", **options)
        self.assertEqual(peer.spans(), [])

    def test_tls_trusts_whom_the_authority_has_signed(self):
        certificates = self.certificates
        for name, peer in self.peers(server=certificates.server):
            with self.subTest(peer=name):
                self.must_distrust(peer, credentials=self.sdk.credentials(certificates.foreign_ca))
                self.must_send(self.sdk.some_spans(), peer.endpoint, credentials=self.sdk.credentials(certificates.ca))
                self.assertEqual(len(peer.spans()), 1)

    def test_tls_distrusts_bad_certificates(self):
        certificates = self.certificates
        for fault in ("expired", "misnamed", "foreign"):
            for name, peer in self.peers(server=getattr(certificates, fault)):
                with self.subTest(fault=fault, peer=name):
                    self.must_distrust(peer, credentials=self.sdk.credentials(certificates.ca))

    def test_tls_of_both_sides(self):
        certificates = self.certificates
        for name, peer in self.peers(server=certificates.server, client_ca=certificates.ca.certificate):
            with self.subTest(peer=name):
                self.must_distrust(peer, credentials=self.sdk.credentials(certificates.ca))
                self.must_distrust(peer, credentials=self.sdk.credentials(certificates.ca, certificates.foreign))
                self.must_send(self.sdk.some_spans(), peer.endpoint,
                               credentials=self.sdk.credentials(certificates.ca, certificates.client))
                self.assertEqual(len(peer.spans()), 1)


if __name__ == "__main__":
    unittest.main()
