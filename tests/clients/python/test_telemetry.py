"""Configuration, instruments and the registry: what is sent, under which name it is shown, and its ceilings."""
import asyncio
import os
import sys
import threading
import unittest
from unittest import mock

from telemetry_case import HASH, WAIT_S, Hostile, Keeping, TelemetryCase, Unprintable, dwell, until

from dwell import (MetricsRegistry, NoOpCounter, NoOpHistogram, NoOpMeter, NoOpSpan, NoOpTracer, NoOpUpDownCounter,
                   TelemetryConfig, TracingContext, _client, _meter, _wire, configure_telemetry, get_meter, get_tracer,
                   spans, telemetry)

COUNT, SET, ADD, OBSERVE = 1, 2, 3, 4


class Metrics(TelemetryCase):
    def setUp(self):
        super().setUp()
        self.registry = MetricsRegistry()

    def must_have(self, *expected):
        """(name, op, value, attributes, unit) of the metrics so far."""
        self.assertEqual([(metric["name"], metric["op"], metric["value"], metric.get("attributes", {}), metric.get("unit"))
                          for metric in self.records("metric")], list(expected))

    def shown(self, name, **labels):
        self.assertTrue(self.dwell.flush(WAIT_S))
        return self.daemon.metrics().get(name, **labels)

    def test_the_registry_by_its_old_calls(self):
        registry = self.registry
        self.assertEqual((registry.service_name, MetricsRegistry("x").service_name), ("acgs2-agent-bus", "x"))
        registry.increment_counter("jobs")
        registry.increment_counter("jobs", 2, {"kind": "a"})
        registry.record_latency("call", 12.5, {"kind": "a"})
        registry.set_gauge("depth", 3)
        registry.set_gauge("depth", -1)
        registry.set_gauge_value("level", 7)
        self.must_have(("jobs", COUNT, 1, {}, None), ("jobs", COUNT, 2, {"kind": "a"}, None),
                       ("call", OBSERVE, 12.5, {"kind": "a"}, "ms"), ("depth", ADD, 3, {}, None),
                       ("depth", ADD, -1, {}, None), ("level", SET, 7, {}, None))
        self.assertEqual([self.shown("jobs_total", kind="a"), self.shown("call_seconds_sum", kind="a"),
                          self.shown("depth"), self.shown("level")], [2, 0.0125, 2, 7])

    def test_the_same_object_for_the_same_name(self):
        registry = self.registry
        for get, rest in ((registry.get_counter, ("about",)), (registry.get_histogram, ("s", "about")),
                          (registry.get_gauge, ("about",))):
            first = get("name", *rest)
            self.assertIs(get("name"), first)
            self.assertIsNot(get("other"), first)
        self.assertEqual(registry.get_histogram("name").unit, "s")
        registry.get_counter("name").add(2)
        registry.get_histogram("name").record(3)
        registry.get_gauge("gauge").add(4)
        self.must_have(("name", COUNT, 2, {}, None), ("name", OBSERVE, 3, {}, "s"), ("gauge", ADD, 4, {}, None))

    def test_instruments_that_are_kept_have_a_ceiling(self):
        with mock.patch.object(_meter, "INSTRUMENTS_MAX", 2):
            first, second = (self.registry.get_counter(name) for name in "ab")
            over = self.registry.get_counter("c")
            self.assertIs(self.registry.get_counter("b"), second)
            self.assertIsNot(self.registry.get_counter("c"), over)
            self.registry.increment_counter("c")
        self.must_have(("c", COUNT, 1, {}, None))

    def test_series_that_are_kept_have_a_ceiling(self):
        counter = self.registry.get_counter("jobs")
        with mock.patch.object(_meter, "SERIES_MAX", 2), mock.patch.object(_meter, "_kept", 0):
            for _ in range(2):
                for number in range(3):
                    counter.add(1, {"n": str(number)})
            self.assertEqual(sorted(counter._series), [(("n", "0"),), (("n", "1"),)])
        self.assertEqual([self.shown("jobs_total", n=str(number)) for number in range(3)], [2, 2, 2])

    def test_series_and_kinds_of_much_text_are_not_kept(self):
        registry, counter = MetricsRegistry(), _meter.Counter("c")
        long = _meter.KEPT_CHARACTERS - len("key")
        for attributes, kept in (({"key": "x" * long}, 1), ({"key": "x" * (long + 1)}, 1), ({"k" * 9000: "x"}, 1),
                                 ({"key": 5}, 2), ({"key": 10 ** 2000}, 2)):
            counter.add(1, attributes)
            self.assertEqual(len(counter._series), kept, attributes.keys())
        registry.increment_counter("x" * (_meter.KEPT_CHARACTERS + 1))
        self.assertEqual(len(registry._counters), 0)
        with mock.patch.dict(spans._kinds, clear=True):
            for name, service, kept in (("x" * 1024, None, 1), ("x" * 1025, None, 1), ("x" * 1000, "y" * 24, 2),
                                        ("x" * 1000, "y" * 25, 2)):
                spans.kind_of(name, None, service)
                self.assertEqual(len(spans._kinds), kept)
        self.rejected = 2  # texts that the daemon does not take

    def test_attributes_that_are_equal_and_not_the_same(self):
        counter = self.registry.get_counter("jobs")
        cases = [({"a": 1}, "1"), ({"a": True}, "true"), ({"a": 1.0}, "1.0"), ({"a": "1"}, "1"), ({"a": 0}, "0"),
                 ({"a": False}, "false"), ({"a": None}, None), ({"a": [1]}, "[1]"), ({"a": "é\ud800"}, "é?")]
        for _ in range(2):
            for attributes, text in cases:
                counter.add(1, attributes)
                self.assertEqual(self.records("metric")[-1].get("attributes", {}), {} if text is None else {"a": text})

    def test_values_and_attributes_that_are_none_are_dropped_and_counted(self):
        for value, attributes in (("x", None), (None, None), ([1], None), (1, 7), (1, {"a": Unprintable()}),
                                  (1, {Unprintable(): 1}), (Hostile(), None), (1, Hostile()), (1, {"a": Hostile()})):
            self.registry.increment_counter("jobs", value, attributes)
        self.assertEqual((self.dwell.stats()["dropped"], self.records("metric")), (9, []))

    def test_names_that_cannot_be_looked_up(self):
        for name in ([], 7, None):
            self.registry.increment_counter(name)
            self.registry.record_latency(name, 1)
            self.registry.get_gauge(name).add(1)
            self.registry.set_gauge_value(name, 1)
        self.assertEqual({(metric["name"], metric.get("unit")) for metric in self.records("metric")},
                         {(name, unit) for name in ("[]", "7", "None") for unit in (None, "ms")})
        self.rejected = 6  # a gauge by the name of a counter

    def test_values_out_of_range_are_the_daemons_to_reject(self):
        for value in (-1, float("nan"), float("inf"), 1e301):
            self.registry.increment_counter("jobs", value)
        self.registry.increment_counter("jobs", 10**400)  # no double at all
        self.registry.increment_counter("", 1)
        self.rejected = 5
        self.dwell.flush(WAIT_S)
        self.assertEqual(self.daemon.rejected(), {"out_of_range": 4, "bad_name": 1})

    def test_names_in_every_script(self):
        for name in ("jobs.done", "задачи", "仕事", "\U0001f600", "a\0b", "x" * 256, "x" * 257):
            self.registry.increment_counter(name)
        self.rejected = 2
        self.assertEqual(self.shown("jobs_done_total"), 1)

    def test_an_own_attribute_does_not_replace_the_hash(self):
        self.registry.increment_counter("jobs", 1, {"constitutional_hash": "mine"})
        self.assertEqual(self.shown("jobs_total", exported_constitutional_hash="mine"), 1)

    def test_a_meter_makes_instruments(self):
        meter = get_meter("m")
        meter.create_counter("c", "1", "about").add(1)
        meter.create_histogram("h", unit="s", description="about").record(0.5, {"a": "b"})
        meter.create_up_down_counter("u").add(-2)
        meter.create_gauge("g", unit="By").set(3)
        self.must_have(("c", COUNT, 1, {}, "1"), ("h", OBSERVE, 0.5, {"a": "b"}, "s"), ("u", ADD, -2, {}, None),
                       ("g", SET, 3, {}, "By"))

    def test_observable_gauges_are_asked(self):
        class Observation:
            value, attributes = 2, {"a": "b"}
        cases = [("o1", lambda _: 1), ("o2", lambda _: [Observation]), ("o3", lambda _: iter((3, 4.0))), ("o4", lambda _: None)]
        for name, callback in cases:
            _meter.ObservableGauge(name, [callback]).observe()
        self.must_have(("o1", SET, 1, {}, None), ("o2", SET, 2, {"a": "b"}, None), ("o3", SET, 3, {}, None),
                       ("o3", SET, 4, {}, None))

    def test_an_observable_gauge_is_asked_by_itself(self):
        with mock.patch.object(_meter, "_observer", _meter._Observer()) as observer:
            self.addCleanup(observer._end.set)
            gauge = get_meter().create_observable_gauge("o", [lambda _: 5], unit="1")
            until(lambda: self.records("metric"), "the gauge is asked")
            self.assertEqual(gauge.name, "o")
            observer._end.set()
            observer._thread.join()
        self.assertEqual(self.shown("o"), 5)

    def test_a_child_of_a_fork_asks_gauges_once_it_records_itself(self):
        code = """
import os, dwell
from dwell import _meter
_meter.OBSERVE_S = 3600  # the parent asks once
asked, told = os.pipe(), os.pipe()
def ask(_):
    os.write(asked[1], b"%d " % os.getpid())
dwell.get_meter().create_observable_gauge("o", [ask])
parent = b"%d " % os.getpid()
assert os.read(asked[0], 100) == parent
def threads():
    return len(os.listdir("/proc/self/task"))
def fork(record):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert threads() == 1, threads()
            if record:
                _meter.OBSERVE_S = 0.01
                with dwell.get_global_profiler().track("m"): pass
                assert os.read(asked[0], 100).split()[-1] == b"%d" % os.getpid()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
fork(record=False)
os.set_blocking(asked[0], False)
try:
    print(os.read(asked[0], 100))
except BlockingIOError:
    print("nobody")
os.set_blocking(asked[0], True)
fork(record=True)
"""
        said = self.must_run(code, PYTHONWARNINGS="ignore", DWELL_DIR=str(self.directory()))
        self.assertEqual(said, "nobody\n")

    def test_a_gauge_that_raises_is_told_once(self):
        gauge = _meter.ObservableGauge("o", [lambda _: 1 // 0, lambda _: 7])
        gauge.observe()
        gauge.observe()
        self.must_have(("o", SET, 7, {}, None), ("o", SET, 7, {}, None))
        self.assertEqual(self.log.lines, [f"WARNING [{HASH}] the gauge 'o' cannot be read: ZeroDivisionError"])

    def test_observable_gauges_have_a_ceiling(self):
        observer = _meter._Observer()
        with mock.patch.object(observer, "begin"), mock.patch.object(_meter, "GAUGES_MAX", 1):
            for callbacks in ([], [len], [len]):
                observer.add(_meter.ObservableGauge("o", callbacks))
        self.assertEqual(len(observer.gauges), 1)

    def test_threads_lose_nothing(self):
        threads = [threading.Thread(target=lambda: [self.registry.increment_counter("jobs") for _ in range(500)])
                   for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(self.shown("jobs_total"), 2000)

    def test_without_a_daemon_calls_are_counted(self):
        self.dwell.close()
        self.use(Keeping(directory=str(self.directory() / "none")))
        self.dwell.away = True
        self.registry.increment_counter("jobs")
        self.registry.set_gauge_value("level", 1)
        self.assertEqual((self.dwell.stats()["dropped"], self.dwell.kept), (2, []))
        self.dwell.close()


class Configuration(TelemetryCase):
    def setUp(self):
        super().setUp()
        self.addCleanup(spans.read_environment)
        self.enterContext(mock.patch.object(telemetry, "_complaints", set()))
        self.addCleanup(self.wait_compared)

    def wait_compared(self):
        until(lambda: not telemetry._comparing.locked(), "all has been compared")

    def enterContext(self, manager):  # of Python 3.11
        result = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return result

    def settings(self, config):
        return (config.service_name, config.service_version, config.environment, config.otlp_endpoint,
                config.export_traces, config.export_metrics, config.batch_span_processor, config.constitutional_hash,
                config.trace_sample_rate)

    def test_defaults_come_from_the_environment(self):
        with mock.patch.dict(os.environ, clear=True):
            self.assertEqual(self.settings(TelemetryConfig()), ("acgs2-agent-bus", "2.0.0", "development", "", True, True,
                                                                True, HASH, 1.0))
        said = {"ENVIRONMENT": "test", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4317", "CONSTITUTIONAL_HASH": "0" * 16}
        with mock.patch.dict(os.environ, said, clear=True):
            self.assertEqual(self.settings(TelemetryConfig())[2:8], ("test", "http://x:4317", True, True, True, "0" * 16))

    def test_values_are_kept_as_given(self):
        given = {"service_name": "s", "service_version": "1", "environment": "e", "otlp_endpoint": "x",
                 "export_traces": False, "export_metrics": False, "batch_span_processor": False,
                 "constitutional_hash": "h", "trace_sample_rate": 0.25}
        self.assertEqual(self.settings(TelemetryConfig(**given)), tuple(given.values()))

    def test_configuring_gives_a_tracer_and_a_meter_each_time(self):
        for config in (None, TelemetryConfig(), None):
            tracer, meter = configure_telemetry(config)
            with tracer.start_as_current_span("work"):
                meter.create_counter("jobs").add(1)
        self.assertEqual((len(self.spans()), len(self.records("metric"))), (3, 3))

    def test_the_daemon_learns_who_speaks(self):
        configure_telemetry(TelemetryConfig(service_name="one", constitutional_hash="0" * 16))
        TracingContext("a").__enter__().end()
        self.assertTrue(self.dwell.flush(WAIT_S))
        configure_telemetry(TelemetryConfig(service_name="two", constitutional_hash="1" * 16))
        TracingContext("a").__enter__().end()
        self.assertTrue(self.dwell.flush(WAIT_S))
        metrics = self.daemon.metrics()
        self.assertEqual([metrics.get("constitutional_violations_total", service=service,
                                      violation_type="hash_mismatch") for service in ("one", "two")], [1, 1])

    def test_texts_about_the_service_are_cut(self):
        for text, kept in (("x" * 256, "x" * 256), ("x" * 257, "x" * 256), ("é" * 129, "é" * 128), (7, "7")):
            self.dwell.describe(service_name=text, service_version=None)
            self.assertEqual((self.dwell.about["service_name"], self.dwell.about["service_version"]), (kept, None))

    def test_the_share_of_samples_is_that_of_the_configuration(self):
        for rate, sampled in ((0.0, False), (1.0, True), (7, True), (-1, False)):
            configure_telemetry(TelemetryConfig(trace_sample_rate=rate))
            self.assertIs(spans.is_sampled(b"\x80" * 16, 0), sampled)

    def must_say(self, config, *lines):
        configure_telemetry(config)
        configure_telemetry(config)
        expected = sorted(f"WARNING [{HASH}] {line}" for line in lines)
        until(lambda: len(self.log.lines) >= len(expected), f"{expected}, and not {self.log.lines}")
        self.wait_compared()
        self.assertEqual(sorted(self.log.lines), expected)

    def test_what_differs_is_told_once(self):
        self.must_say(TelemetryConfig(otlp_endpoint="http://x:4317", constitutional_hash="0" * 16, trace_sample_rate=0.5,
                                      batch_span_processor=False),
                      "the application wants export to http://x:4317, but the daemon exports nowhere: set its otlp.endpoint",
                      f"the application's constitutional hash is {'0' * 16}, the daemon's {HASH}",
                      "trace_sample_rate=0.5 is what other services are told; give the daemon the same otlp.sample_rate",
                      "batch_span_processor=False has no effect: records are always sent in batches")

    def test_one_thread_compares_whatever_is_configured(self):
        def compare(*found):
            compared.append(found[0].service_name)
            begun.set()
            leave.wait(WAIT_S)
        compared, begun, leave = [], threading.Event(), threading.Event()
        with mock.patch.object(telemetry, "_compare", compare):
            configure_telemetry(TelemetryConfig(service_name="first"))
            begun.wait(WAIT_S)
            for number in range(20):
                configure_telemetry(TelemetryConfig(service_name=f"number {number}"))
            self.assertEqual(sum(thread.name == "dwell-compare" for thread in threading.enumerate()), 1)
            leave.set()
            self.wait_compared()
        self.assertEqual(compared, ["first", "number 19"])

    def test_what_agrees_is_not_told(self):
        self.must_say(TelemetryConfig())

    def test_a_configuration_that_is_none_is_told_and_no_error(self):
        for config, error in ((7, "AttributeError"), (Hostile(), "RuntimeError"),
                              (TelemetryConfig(trace_sample_rate="much"), "ValueError")):
            self.log.lines.clear()
            tracer, _ = configure_telemetry(config)
            tracer.start_span("op").end()
            self.must_say(config, f"a TelemetryConfig that cannot be used: {error}")

    def test_complaints_have_a_ceiling(self):
        with mock.patch.object(telemetry, "COMPLAINTS_MAX", 2):
            for number in range(3):
                telemetry._complain("number %s", number)
        self.assertEqual(len(self.log.lines), 2)

    def test_an_export_that_nobody_wanted_is_told(self):
        status = {"export": {"traces": {"endpoint": "x"}, "metrics": {"endpoint": "x"}}}
        wanted = TelemetryConfig(export_traces=False, export_metrics=False, otlp_endpoint="x")
        self.assertEqual([difference[1:] for difference in telemetry._differences(wanted, status, HASH)],
                         [("traces", "traces"), ("metrics", "metrics")])

    def test_an_export_to_elsewhere_is_told(self):
        self.daemon = self.start(sets={"otlp.endpoint": "http://127.0.0.1:1", "otlp.metrics_endpoint": "127.0.0.1:2",
                                       "shutdown.timeout_ms": 100})
        self.use(Keeping(directory=str(self.daemon.directory)))
        for wanted, elsewhere in (("http://127.0.0.1:1", [("metrics", "127.0.0.1:2")]),
                                  ("127.0.0.1:2/", [("traces", "http://127.0.0.1:1")]),
                                  ("http://127.0.0.1", [("traces", "http://127.0.0.1:1"), ("metrics", "127.0.0.1:2")])):
            self.log.lines.clear()
            self.must_say(TelemetryConfig(otlp_endpoint=wanted),
                          *(f"the application wants export to {wanted}, but the daemon exports {signal} to {where}: "
                            f"set its otlp.{signal}_endpoint" for signal, where in elsewhere))

    def test_endpoints_that_are_the_same_place(self):
        for one, other, same in (("http://x:4317", "x", True), ("x:4317", "X", True), ("http://x/", "http://x:4317", True),
                                 ("http://x", "https://x", False), ("x:4317", "x:4318", False), ("x", "y", False),
                                 ("[::1]", "[::1]:4317", True), ("unix:/a", "unix:///a", True),
                                 ("unix:/a", "unix:/b", False), (7, "7", True), (None, "x", False)):
            self.assertIs(telemetry._same_place(one, other), same, (one, other))


class Contexts(TelemetryCase):
    def test_a_tracing_context_swallows_no_exception(self):
        for error in (ValueError("no"), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()):
            with self.assertRaises(type(error)) as caught:
                with TracingContext("work", attributes={"a": 1}):
                    raise error
            self.assertIs(caught.exception, error)
        self.assertEqual([(span.get("status", {}).get("code"), span["attributes"].get("cancelled")) for span in self.spans()],
                         [(2, None), (2, None), (None, True), (None, True)])

    def test_a_tracing_context_left_elsewhere(self):
        import contextvars
        entered = TracingContext("work")
        contextvars.copy_context().run(entered.__enter__)
        entered.__exit__(None, None, None)
        self.assertEqual(self.span()["name"], "work")


class NoOps(unittest.TestCase):
    def test_no_ops_take_anything_and_give_themselves(self):
        with NoOpSpan() as span:
            self.assertIs(type(span), NoOpSpan)
            for call in (lambda: span.set_attribute("a", 1), lambda: span.set_attributes({}), lambda: span.add_event("e"),
                         lambda: span.add_event("e", {"a": 1}), lambda: span.record_exception(ValueError()),
                         lambda: span.set_status(object()), span.set_status, span.end, lambda: span.update_name("x"),
                         lambda: span.add_link(None)):
                self.assertIsNone(call())
        self.assertIs(span.is_recording(), False)
        self.assertIs(type(NoOpTracer().start_span("x")), NoOpSpan)
        self.assertIs(type(NoOpTracer().start_as_current_span("x", kind="server", attributes={})), NoOpSpan)
        meter = NoOpMeter()
        self.assertEqual([type(make("n")) for make in (meter.create_counter, meter.create_histogram,
                                                       meter.create_up_down_counter)],
                         [NoOpCounter, NoOpHistogram, NoOpUpDownCounter])
        self.assertIsNone(meter.create_observable_gauge("n"))
        self.assertIsNone(NoOpCounter().add(1, {"a": 1}))
        self.assertIsNone(NoOpUpDownCounter().add(-1))
        self.assertIsNone(NoOpHistogram().record(1, attributes=None))

    def test_no_ops_swallow_no_exception(self):
        with self.assertRaises(ValueError):
            with NoOpSpan():
                raise ValueError

    def test_a_disabled_process_has_no_ops(self):
        client = _client.Client()
        with mock.patch.object(_client, "_default", client), mock.patch.object(client, "disabled", True):
            self.assertEqual([type(one) for one in (get_tracer(), get_meter(), *configure_telemetry())],
                             [NoOpTracer, NoOpMeter, NoOpTracer, NoOpMeter])
            registry = MetricsRegistry()
            self.assertEqual([type(get("n")) for get in (registry.get_counter, registry.get_histogram, registry.get_gauge)],
                             [NoOpCounter, NoOpHistogram, NoOpUpDownCounter])
            registry.increment_counter("n")
            registry.record_latency("n", 1)
            registry.set_gauge("n", 1)
            registry.set_gauge_value("n", 1)
        self.assertEqual(client.stats()["sent"], 0)


class Wire(unittest.TestCase):
    def test_an_attribute_without_a_value_is_not_there(self):
        self.assertEqual(_wire.attributes_of_metric({"a": None, "b": 1}), _wire.attributes_of_metric({"b": 1}))
        self.assertEqual(_wire.key_values(9, {"a": None, "b": 1}), _wire.key_values(9, {"b": 1}))
        self.assertEqual(_wire.any_value([None]), bytes([0x2a, 2, 0x0a, 0]))


class Names(unittest.TestCase):
    def test_every_name_of_the_old_modules_is_there(self):
        for name in ("CONSTITUTIONAL_HASH", "OTEL_AVAILABLE", "Layer", "TelemetryConfig", "configure_telemetry", "get_tracer",
                     "get_meter", "TracingContext", "MetricsRegistry", "SpanContext", "NoOpSpan", "NoOpTracer", "NoOpMeter",
                     "NoOpCounter", "NoOpHistogram", "NoOpUpDownCounter", "traced", "metered", "timed",
                     "LayerTimeoutBudget", "TimeoutBudgetManager", "LayerTimeoutError"):
            self.assertIn(name, dwell.__all__)
            self.assertTrue(hasattr(dwell, name), name)
        self.assertEqual((dwell.CONSTITUTIONAL_HASH, dwell.OTEL_AVAILABLE), (HASH, True))


if __name__ == "__main__":
    sys.exit(unittest.main())
