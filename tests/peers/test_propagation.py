"""One trace through two worlds: the OpenTelemetry Python SDK and libdwell hand it to each other in headers, in every
format, and at a real Collector its spans hang together."""
import shutil
import tempfile
import unittest

import span_driver
from peer import need
from span_driver import DEBUG, DECIDED, REMOTE, SAMPLED, SpanDriver
from test_otlp import OtlpCase

NO_PARENT = ""


class PropagationCase(OtlpCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.propagation = need("propagation")
        cls.sdk = need("otlp_sdk")
        base = tempfile.mkdtemp(prefix="dwell-test-")
        cls.addClassCleanup(shutil.rmtree, base)
        cls.program = span_driver.build(base)

    def drive(self, directory="/nonexistent", **options):
        driver = SpanDriver(self.program, directory, **options)
        self.addCleanup(driver.end)
        return driver

    def parent(self, **more):
        return self.propagation.Parent(f"{self.random.randrange(1, 2 ** 128):032x}",
                                       f"{self.random.randrange(1, 2 ** 64):016x}", **more)

    def inject(self, driver, formats, origin="current"):
        """Headers of libdwell, as a server gets them: names in small letters."""
        return {name.lower(): value for name, value in driver.do("inject", formats, origin).items()}

    def continued(self, driver, formats, headers):
        """The span that libdwell begins behind such headers, and what it says of the trace to others."""
        driver.extract(formats, headers)
        driver.start(0, "continued", "extracted", "detached")
        context = driver.do("context", 0)
        headers = self.inject(driver, formats, 0)
        driver.do("end", 0)
        return context, headers


class TestPropagation(PropagationCase):
    def sdk_headers(self, name, span):
        trace = need("opentelemetry.trace")
        headers = {}
        self.propagation.FORMATS[name]().inject(headers, trace.set_span_in_context(span, need("opentelemetry.context").Context()))
        return headers

    def sdk_context(self, name, headers):
        return self.propagation.FORMATS[name]().extract(headers, need("opentelemetry.context").Context())

    def must_hang_together(self, spans, order):
        """Each is the child of the one before it, the first one of none, and all are of one trace."""
        by_name = {span["name"]: span for span in spans}
        self.assertEqual((sorted(by_name), len(spans)), (sorted(order), len(order)))
        self.assertEqual(len({span["trace_id"] for span in spans}), 1)
        parents = [NO_PARENT, *(by_name[name]["span_id"] for name in order)]
        self.assertEqual([by_name[name]["parent_span_id"] for name in order], parents[:-1])
        self.assertEqual({span["flags"] & 1 for span in spans if "continued" in span["name"]} - {1}, set())

    def test_propagation_from_the_sdk_and_back(self):
        for name in self.propagation.FORMATS:
            with self.subTest(format=name):
                collector = self.start_collector()
                daemon = self.start_daemon(collector)
                driver = self.drive(daemon.directory)
                tracer = self.sdk.Tracer()
                first = tracer.start("sdk's first")
                found = driver.extract(name, self.sdk_headers(name, first))
                context = first.get_span_context()
                self.assertEqual((found["trace_id"], found["span_id"], found["flags"]),
                                 (f"{context.trace_id:032x}", f"{context.span_id:016x}", SAMPLED | DECIDED | REMOTE))
                driver.start(0, "continued", "extracted")
                driver.start(1, "continued within")
                last = tracer.start("sdk's last", context=self.sdk_context(name, self.inject(driver, name)))
                for end in (last.end, lambda: driver.do("end", 1), lambda: driver.do("end", 0), first.end):
                    end()
                driver.flush()
                self.assertEqual(self.sdk.export(tracer.spans, collector.endpoint)[0], True)
                spans = collector.wait_spans(4)
                self.must_hang_together(spans, ["sdk's first", "continued", "continued within", "sdk's last"])
                self.assertEqual({span["name"]: span["resource"]["service.name"] for span in spans},
                                 {"sdk's first": "shop", "sdk's last": "shop", "continued": "driver",
                                  "continued within": "driver"})

    def test_propagation_from_libdwell_and_back(self):
        for name in self.propagation.FORMATS:
            with self.subTest(format=name):
                collector = self.start_collector()
                daemon = self.start_daemon(collector)
                here, there = self.drive(daemon.directory, service="here"), self.drive(daemon.directory, service="there")
                tracer = self.sdk.Tracer()
                here.start(0, "first")
                middle = tracer.start("sdk's", context=self.sdk_context(name, self.inject(here, name)))
                there.extract(name, self.sdk_headers(name, middle))
                there.start(0, "last", "extracted")
                there.do("end", 0)
                middle.end()
                here.do("end", 0)
                here.flush()
                there.flush()
                self.assertEqual(self.sdk.export(tracer.spans, collector.endpoint)[0], True)
                spans = collector.wait_spans(3)
                self.must_hang_together(spans, ["first", "sdk's", "last"])

    def test_propagation_of_a_trace_state(self):
        receiver = self.start_receiver()
        daemon = self.start_daemon(receiver)
        driver = self.drive(daemon.directory)
        parent = self.parent(trace_state="congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")
        found = driver.extract("tracecontext", self.propagation.inject("tracecontext", parent))
        self.assertEqual(found["trace_state"], parent.trace_state)
        driver.start(0, "outer", "extracted")
        driver.start(1, "inner")
        onward = self.propagation.extract("tracecontext", self.inject(driver, "tracecontext"))
        self.assertEqual((onward.trace_id, onward.trace_state), (parent.trace_id, parent.trace_state))
        driver.do("end", 1)
        driver.do("end", 0)
        driver.flush()
        daemon.stop()
        self.assertEqual({span["name"]: span["trace_state"] for span in receiver.spans()},
                         {"outer": parent.trace_state, "inner": parent.trace_state})

    def test_propagation_of_a_decision(self):
        """Of the SDK's, in every format: it holds here, against either rate, and for whoever comes next."""
        for name in self.propagation.FORMATS:
            for sampled in (True, False):
                with self.subTest(format=name, sampled=sampled):
                    receiver = self.start_receiver()
                    daemon = self.start_daemon(receiver, sample_rate=0 if sampled else 1)
                    driver = self.drive(daemon.directory)
                    parent = self.parent(sampled=sampled)
                    context, headers = self.continued(driver, name, self.propagation.inject(name, parent))
                    self.assertEqual(context["flags"], DECIDED | sampled)
                    onward = self.propagation.extract(name, headers)
                    self.assertEqual((onward.trace_id, onward.span_id, onward.sampled),
                                     (parent.trace_id, context["span_id"], sampled))
                    driver.flush()
                    daemon.stop()
                    self.assertEqual([(span["trace_id"], span["parent_span_id"], span["flags"] & 1)
                                      for span in receiver.spans()],
                                     [(parent.trace_id, parent.span_id, 1)] if sampled else [])

    def test_propagation_of_headers_good_and_bad(self):
        """What the SDK makes of each is what libdwell makes of it; of bad ones a new trace begins."""
        receiver = self.start_receiver()
        daemon = self.start_daemon(receiver)
        driver = self.drive(daemon.directory)
        wanted, begun = {}, set()
        for name, cases in self.propagation.CASES.items():
            for headers in cases:
                with self.subTest(format=name, headers=headers):
                    theirs = self.propagation.extract(name, headers)
                    context, onward = self.continued(driver, name, headers)
                    if theirs is None:
                        self.assertNotIn(context["trace_id"], {*begun, self.propagation.TRACE, 32 * "0"})
                        begun.add(context["trace_id"])
                        if headers.get("b3") != "0":  # a decision, which is to be kept even so
                            wanted[context["span_id"]] = (context["trace_id"], NO_PARENT, "")
                    else:
                        self.assertEqual(context["trace_id"], theirs.trace_id)
                        if theirs.sampled:
                            wanted[context["span_id"]] = (theirs.trace_id, theirs.span_id, theirs.trace_state)
                        self.assertEqual(self.propagation.extract(name, onward).sampled, theirs.sampled)
        driver.flush()
        daemon.stop()
        self.assertEqual({span["span_id"]: (span["trace_id"], span["parent_span_id"], span["trace_state"])
                          for span in receiver.spans()}, wanted)

    def test_propagation_by_the_environment(self):
        written = {None: ["b3"], "tracecontext": ["traceparent"], "b3multi": ["x-b3-sampled", "x-b3-spanid", "x-b3-traceid"],
                   "b3,tracecontext": ["b3", "traceparent"], "none": []}
        for names, headers in written.items():
            with self.subTest(OTEL_PROPAGATORS=names):
                driver = self.drive(**({"OTEL_PROPAGATORS": names} if names else {}))
                driver.start(0, "first")
                self.assertEqual(sorted(self.inject(driver, "default")), headers)


class TestB3(PropagationCase):
    """What only B3 can say."""

    def setUp(self):
        super().setUp()
        self.trace_id, self.span_id = self.propagation.TRACE, self.propagation.SPAN

    def ids(self, name, state):
        """Headers with these ids and, in single form, this state; in multi form with such headers."""
        if name == "b3":
            return {"b3": "-".join(filter(None, (self.trace_id, self.span_id, state)))}
        more = {"": {}, "d": {"x-b3-flags": "1"}}
        return {"x-b3-traceid": self.trace_id, "x-b3-spanid": self.span_id,
                **more.get(state, {"x-b3-sampled": state})}

    def test_b3_decision_that_is_left_to_us(self):
        """It is made by our own rate, for the span that begins here; the headers that came go on as they were."""
        for name in ("b3", "b3multi"):
            for rate, verdict in (("1", "1"), ("0", "0")):
                with self.subTest(format=name, rate=rate):
                    driver = self.drive(OTEL_TRACES_SAMPLER="traceidratio", OTEL_TRACES_SAMPLER_ARG=rate)
                    self.assertEqual(driver.extract(name, self.ids(name, ""))["flags"], REMOTE)
                    self.assertEqual(self.inject(driver, name, "extracted"), self.ids(name, ""))
                    context, headers = self.continued(driver, name, self.ids(name, ""))
                    self.span_id = context["span_id"]
                    self.assertEqual(headers, self.ids(name, verdict))
                    self.span_id = self.propagation.SPAN

    def test_b3_deferred_decision_is_the_rate_of_the_daemon(self):
        for rate, count in ((0, 0), (1, 1)):
            receiver = self.start_receiver()
            daemon = self.start_daemon(receiver, sample_rate=rate)
            driver = self.drive(daemon.directory)
            self.continued(driver, "b3", self.ids("b3", ""))
            driver.flush()
            daemon.stop()
            self.assertEqual([span["parent_span_id"] for span in receiver.spans()], [self.span_id] * count)

    def test_b3_debug_goes_on_and_means_sampled(self):
        for name in ("b3", "b3multi"):
            with self.subTest(format=name):
                receiver = self.start_receiver()
                daemon = self.start_daemon(receiver, sample_rate=0)
                driver = self.drive(daemon.directory)
                self.assertEqual(driver.extract(name, self.ids(name, "d"))["flags"], SAMPLED | DECIDED | DEBUG | REMOTE)
                driver.start(1, "outer", "extracted")
                driver.start(2, "inner")
                context = driver.do("context", 2)
                self.assertEqual(context["flags"], SAMPLED | DECIDED | DEBUG)
                self.assertEqual(self.inject(driver, "tracecontext")["traceparent"][-3:], "-01")
                self.span_id = context["span_id"]
                self.assertEqual(self.inject(driver, name), self.ids(name, "d"))
                self.span_id = self.propagation.SPAN
                driver.do("end", 2)
                driver.do("end", 1)
                driver.flush()
                daemon.stop()
                self.assertEqual({span["name"]: span["trace_id"] for span in receiver.spans()},
                                 {"outer": self.trace_id, "inner": self.trace_id})

    def test_b3_decision_without_a_span(self):
        """A new trace begins, for which it holds."""
        for state, sampled in (("0", False), ("1", True), ("d", True)):
            for name in ("b3", "b3multi"):
                with self.subTest(format=name, state=state):
                    headers = {"b3": state} if name == "b3" else \
                        {"x-b3-flags": "1"} if state == "d" else {"x-b3-sampled": state}
                    receiver = self.start_receiver()
                    daemon = self.start_daemon(receiver, sample_rate=int(not sampled))
                    driver = self.drive(daemon.directory)
                    context, _ = self.continued(driver, name, headers)
                    self.assertEqual(context["flags"] & SAMPLED, int(sampled))
                    driver.flush()
                    daemon.stop()
                    self.assertEqual([(span["span_id"], span["parent_span_id"]) for span in receiver.spans()],
                                     [(context["span_id"], NO_PARENT)] if sampled else [])

    def test_b3_never_says_the_parent(self):
        driver = self.drive()
        driver.extract("b3multi", {**self.ids("b3multi", "1"), "x-b3-parentspanid": 16 * "e"})
        driver.start(0, "outer", "extracted")
        driver.start(1, "inner")
        self.assertEqual(sorted(self.inject(driver, "b3,b3multi")), ["b3", "x-b3-sampled", "x-b3-spanid", "x-b3-traceid"])
        self.assertEqual(self.inject(driver, "b3")["b3"].count("-"), 2)


if __name__ == "__main__":
    unittest.main()
