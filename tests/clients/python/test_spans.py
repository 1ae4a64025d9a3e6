"""Spans: what is in them, whose children they are, their limits, sampling, headers, forks."""
import asyncio
import contextvars
import os
import sys
import threading
import unittest
from concurrent import futures
from unittest import mock

from client_case import ROOT
from telemetry_case import WAIT_S, Hostile, Keeping, TelemetryCase, Unprintable, UnprintableError, dwell

from dwell import NoOpSpan, TraceContext, TracingContext, _wire, attach, extract, get_current_span, get_tracer, inject, spans

TRACE, SPAN = bytes(range(16)), bytes(range(1, 9))
W3C, B3, MULTI = (["tracecontext"], ["b3"], ["b3multi"])
HEX = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def parent(flags=spans.REMOTE | spans.DECIDED | spans.SAMPLED, **more):
    return TraceContext(TRACE, SPAN, flags, **more)


class Spans(TelemetryCase):
    def setUp(self):
        super().setUp()
        self.tracer = get_tracer("test")

    def must_have(self, **fields):
        """The only span has these fields; None: not there."""
        span = self.span()
        self.assertEqual({name: span.get(name) for name in fields}, fields)

    # ---- what is in one ----

    def test_a_span_has_ids_times_and_nothing_that_was_not_given(self):
        self.tracer.start_span("work").end()
        span = self.span()
        self.assertEqual(sorted(span), ["end_time_unix_nano", "kind", "name", "span_id", "start_time_unix_nano",
                                        "trace_id"])
        self.assertEqual((len(span["trace_id"]), len(span["span_id"]), span["name"], span["kind"]),
                         (16, 8, "work", 1))
        self.assertLessEqual(span["start_time_unix_nano"], span["end_time_unix_nano"])

    def test_attributes_of_any_type(self):
        cases = [("text", "é\u4e16", "é\u4e16"), ("yes", True, True), ("int", -3, -3), ("big", 2**63, str(2**63)),
                 ("least", -2**63, -2**63), ("double", 2.5, 2.5), ("bytes", b"\0\xff", b"\0\xff"),
                 ("list", [1, 2.5, "x", False, None], [1, 2.5, "x", False, None]), ("empty", [], []),
                 ("tuple", ("a",), ["a"]), ("zero", "a\0b", "a\ufffdb"), ("zeros", ["\0"], ["\ufffd"]),
                 ("dict", {"a": 1}, "{'a': 1}"), ("surrogate", "\ud800", "?"), (7, "key", "key")]
        with self.tracer.start_as_current_span("work") as span:
            for key, value, _ in cases:
                span.set_attribute(key, value)
        self.must_have(attributes={str(key): value for key, _, value in cases}, dropped_attributes=None)

    def test_attributes_that_cannot_be_are_left_out_and_counted(self):
        cyclic = []
        cyclic.append(cyclic)
        wrong = [("", 1), ("k" * 257, 1), ("a\0b", 1), ("none", None), ("raises", Unprintable())]
        with self.tracer.start_as_current_span("work", attributes={"k" * 256: 1}) as span:
            for key, value in wrong:
                span.set_attribute(key, value)
            span.set_attributes(7)
            span.set_attribute("cyclic", cyclic)
        found = self.span()
        self.assertEqual(sorted(found["attributes"]), ["cyclic", "k" * 256])
        self.assertEqual(found["dropped_attributes"], len(wrong) + 1)

    def test_a_list_that_holds_itself_is_cut_to_the_items_of_one_list(self):
        def count(value):
            return sum(1 + count(item) for item in value) if isinstance(value, list) else 0
        wide, deep = [], [1]
        wide += [wide] * 30
        for _ in range(2 * spans.LIST_DEPTH_MAX):
            deep = [deep] * 30
        with self.tracer.start_span("op") as span:
            for key, value in (("wide", wide), ("deep", deep), ("long", list(range(2000)))):
                span.set_attribute(key, value)
        attributes = self.span()["attributes"]
        self.assertEqual({key: count(value) for key, value in attributes.items()},
                         dict.fromkeys(("wide", "deep", "long"), spans.LIST_ITEMS_MAX))

    def test_hostile_objects_anywhere(self):
        odd = Hostile()
        with self.tracer.start_as_current_span(odd, context=odd, kind=odd, attributes=odd, links=[odd]) as span:
            span.set_attribute(odd, odd)
            span.set_attributes({"a": odd})
            span.add_event(odd, odd)
            span.add_link(odd, odd)
            span.set_status(odd, odd)
            span.update_name(odd)
        with TracingContext(odd, odd, odd):
            pass
        first, second = self.spans()
        self.assertEqual((first["dropped_attributes"], first["dropped_links"], first.get("status")), (3, 2, None))
        self.assertEqual(second["dropped_attributes"], 1)

    def test_the_bytes_are_those_of_the_general_encoder(self):
        """Whatever a span has or has not: the quick way and the long one write the same layout."""
        for flags in (None, 0, 8, 10, 11):
            for attributes in ({}, {"a": 1, "b": "x"}):
                for own in (False, True):
                    kind = spans.Kind("work", attributes, "server", "shop")
                    span = spans.Span(kind, None if flags is None else parent(flags), self.dwell)
                    if own:
                        span.set_attribute("own", 2.5)
                        span.set_status("error", "no")
                    span.end(span.start_unix_nano + 5)
                    more = {"status": 2, "status_message": "no"} if own else {}
                    self.assertEqual(self.dwell.kept[-1], _wire.span(
                        "work", span.trace_id, span.span_id, span.start_unix_nano, span.start_unix_nano + 5,
                        parent_span_id=span.parent_span_id, kind=_wire.KINDS["server"], service_name="shop",
                        attributes={**attributes, **({"own": 2.5} if own else {})},
                        flags=flags & 1 if flags and flags & spans.DECIDED else None, **more))

    def test_the_last_value_of_a_key_counts(self):
        with self.tracer.start_as_current_span("work", attributes={"a": 1}) as span:
            span.set_attribute("a", 2)
        self.must_have(attributes={"a": 2})

    def test_limits_of_attributes_events_and_links(self):
        with self.tracer.start_as_current_span("work") as span:
            for number in range(129):
                span.set_attribute(f"a{number}", number)
                span.add_event(f"e{number}")
                span.add_link(parent())
        found = self.span()
        self.assertEqual([len(found[part]) for part in ("attributes", "events", "links")], [128] * 3)
        self.assertEqual([found[f"dropped_{part}"] for part in ("attributes", "events", "links")], [1] * 3)

    def test_what_is_set_again_needs_no_place(self):
        with self.tracer.start_as_current_span("work") as span:
            for number in range(128):
                span.set_attribute(f"a{number}", number)
            span.set_attribute("a0", "again")
        self.assertEqual((self.span()["attributes"]["a0"], len(self.span()["attributes"])), ("again", 128))
        self.assertNotIn("dropped_attributes", self.span())

    def test_limits_of_the_environment(self):
        cases = [("1", (1, 1)), ("0", (0, 2)), ("129", (2, None)), ("-1", (2, None)), ("x", (2, None))]
        self.addCleanup(spans.read_environment)
        for text, (kept, dropped) in cases:
            with self.subTest(text), mock.patch.dict(os.environ, {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": text}):
                spans.read_environment()
                with self.tracer.start_as_current_span("work", attributes={"a": 1, "b": 2}):
                    pass
                found = self.spans()[-1]
                self.assertEqual((len(found.get("attributes", ())), found.get("dropped_attributes")), (kept, dropped))

    def test_an_event_and_a_link_have_their_own_limit(self):
        many = {f"a{number}": number for number in range(129)}
        with self.tracer.start_as_current_span("work") as span:
            span.add_event("e", many, timestamp=12)
            span.add_link(parent(trace_state="a=1"), many)
        (event,), (link,) = self.span()["events"], self.span()["links"]
        self.assertEqual((event["name"], event["time_unix_nano"], len(event["attributes"]),
                          event["dropped_attributes"]), ("e", 12, 128, 1))
        self.assertEqual((link["trace_id"], link["span_id"], link["trace_state"], link["flags"],
                          len(link["attributes"]), link["dropped_attributes"]), (TRACE, SPAN, "a=1", 1, 128, 1))

    def test_events_and_links_that_are_none_are_counted(self):
        with self.tracer.start_as_current_span("work") as span:
            span.add_event("e", timestamp="now")
            for context in (None, 7, TraceContext(), TraceContext(TRACE, bytes(8)), TraceContext("x", "y")):
                span.add_link(context)
        self.must_have(dropped_events=1, dropped_links=5, events=None, links=None)

    def test_names(self):
        cases = [("", "unnamed"), ("a" * 257, "a" * 256), ("é" * 129, "é" * 128), ("a" + "é" * 128, "a" + "é" * 127),
                 ("a\0", "a\ufffd"), (None, "None"), (Unprintable(), "<Unprintable that cannot be shown>")]
        for name, expected in cases:
            self.tracer.start_span(name).end()
            self.assertEqual(self.spans()[-1]["name"], expected)

    def test_kinds(self):
        cases = [("internal", 1), ("server", 2), ("client", 3), ("producer", 4), ("consumer", 5), ("CLIENT", 3),
                 (None, 1), ("no such", 1), (Unprintable(), 1)]
        for kind, number in cases:
            self.tracer.start_span("work", kind=kind).end()
            self.assertEqual(self.spans()[-1]["kind"], number)

    def test_names_that_are_kept_have_a_ceiling(self):
        with mock.patch.object(spans, "_kinds", {}), mock.patch.object(spans, "KINDS_MAX", 3):
            for number in range(4):
                self.tracer.start_span(f"n{number}").end()
            self.assertEqual(len(spans._kinds), 3)
            self.assertIs(spans.kind_of("n2"), spans.kind_of("n2"))
            self.assertIsNot(spans.kind_of("n3"), spans.kind_of("n3"))
        self.assertEqual([span["name"] for span in self.spans()], ["n0", "n1", "n2", "n3"])

    # ---- status and exceptions ----

    def test_statuses(self):
        class Status:
            def __init__(self, name, description=None):
                self.status_code = type("Code", (), {"name": name})
                self.description = description
        cases = [([], None), ([("ok",)], {"code": 1}), ([("error", "no")], {"code": 2, "message": "no"}),
                 ([("error", "a"), ("error", "b")], {"code": 2, "message": "b"}), ([("ok",), ("error", "a")], {"code": 1}),
                 ([("error", "a"), ("ok",)], {"code": 1}), ([("error", "a"), ("unset",)], {"code": 2, "message": "a"}),
                 ([(2, Unprintable())], {"code": 2, "message": "<Unprintable that cannot be shown>"}),
                 ([(Status("ERROR", "no"),)], {"code": 2, "message": "no"}), ([(Status("OK"),)], {"code": 1}),
                 ([(Unprintable(),), ("no such",), (None,), (7,)], None)]
        for calls, expected in cases:
            span = self.tracer.start_span("work")
            for call in calls:
                span.set_status(*call)
            span.end()
            self.assertEqual(self.spans()[-1].get("status"), expected, calls)

    def test_an_exception_is_recorded_once_and_passes(self):
        error = KeyError("why")
        with self.assertRaises(KeyError) as caught:
            with self.tracer.start_as_current_span("work") as span:
                try:
                    raise error
                except KeyError as inner:
                    span.record_exception(inner)
                    raise
        self.assertIs(caught.exception, error)
        (event,) = self.span()["events"]
        self.assertEqual((event["name"], event["attributes"]["exception.type"], event["attributes"]["exception.message"]),
                         ("exception", "KeyError", "'why'"))
        self.assertIn("raise error", event["attributes"]["exception.stacktrace"])
        self.assertEqual(self.span()["status"], {"code": 2, "message": "'why'"})

    def test_an_exception_that_cannot_be_shown(self):
        with self.assertRaises(UnprintableError):
            with self.tracer.start_as_current_span("work"):
                raise UnprintableError
        self.assertEqual(self.span()["status"]["message"], "<UnprintableError that cannot be shown>")

    def test_an_exception_from_deep_down_is_cut(self):
        def deep(left):
            return deep(left - 1) if left else 1 // 0
        with self.assertRaises(ZeroDivisionError):
            with self.tracer.start_as_current_span("work"):
                deep(300)
        stack = self.span()["events"][0]["attributes"]["exception.stacktrace"]
        self.assertLessEqual(len(stack), 16384)
        self.assertTrue(stack.rstrip().endswith("ZeroDivisionError: integer division or modulo by zero"), stack[-80:])

    def test_a_span_that_is_too_long_is_dropped_and_counted(self):
        with self.tracer.start_as_current_span("work") as span:
            for number in range(40):
                span.set_attribute(f"a{number}", "x" * 16384)
        self.assertEqual(self.dwell.stats()["dropped"], 1)
        self.dwell.kept.clear()

    # ---- ends ----

    def test_a_span_ends_once_and_then_takes_nothing(self):
        span = self.tracer.start_span("work")
        self.assertTrue(span.is_recording())
        for _ in range(2):
            span.end()
            span.set_attribute("late", 1)
            span.add_event("late")
            span.add_link(parent())
            span.set_status("error")
            span.record_exception(ValueError())
            span.update_name("late")
        self.assertFalse(span.is_recording())
        self.must_have(name="work", attributes=None, events=None, links=None, status=None)

    def test_another_thread_may_end_it(self):
        with self.tracer.start_as_current_span("work") as span:
            self.in_thread(span.end)
        self.must_have(name="work")

    def test_given_times_are_kept_and_an_end_is_not_before_its_start(self):
        for start, end, kept in ((5, 7, (5, 7)), (5, 3, (5, 5)), (1, 1, (1, 1))):
            self.tracer.start_span("work", start_time=start).end(end)
            found = self.spans()[-1]
            self.assertEqual((found["start_time_unix_nano"], found["end_time_unix_nano"]), kept)

    def test_an_end_that_is_no_time_drops_the_span(self):
        self.tracer.start_span("work").end("now")
        self.assertEqual((self.dwell.stats()["dropped"], self.spans()), (1, []))

    def test_a_step_of_the_clock_moves_nothing(self):
        with mock.patch.object(spans, "_wall_ns", lambda: 10**18), mock.patch.object(spans, "_now_ns", lambda: 500):
            span = self.tracer.start_span("work")
        with mock.patch.object(spans, "_wall_ns", lambda: 10**17), mock.patch.object(spans, "_now_ns", lambda: 700):
            span.add_event("later")
            span.end()
        self.must_have(start_time_unix_nano=10**18, end_time_unix_nano=10**18 + 200)
        self.assertEqual(self.span()["events"][0]["time_unix_nano"], 10**18 + 200)

    # ---- whose child ----

    def test_spans_nest(self):
        with self.tracer.start_as_current_span("a") as a:
            with self.tracer.start_as_current_span("b") as b:
                self.assertIs(get_current_span(), b)
                self.tracer.start_span("c").end()
            self.assertIs(get_current_span(), a)
        self.assertIs(type(get_current_span()), NoOpSpan)
        c, b, a = self.spans()
        self.assertEqual({span["trace_id"] for span in (b, c)}, {a["trace_id"]})
        self.assertEqual([span.get("parent_span_id") for span in (a, b, c)], [None, a["span_id"], b["span_id"]])

    def test_a_thread_begins_anew_unless_it_is_given_a_context(self):
        with self.tracer.start_as_current_span("a") as a:
            self.in_thread(lambda: self.tracer.start_span("alone").end())
            self.in_thread(lambda: self.tracer.start_span("given", context=a).end())
            copied = contextvars.copy_context()
            self.in_thread(lambda: copied.run(lambda: self.tracer.start_span("copied").end()))

            def attached():
                with attach(a.get_span_context()):
                    self.tracer.start_span("attached").end()
            self.in_thread(attached)
        self.assertEqual({span["name"]: span.get("parent_span_id") for span in self.spans()},
                         {"a": None, "alone": None, "given": a.span_id, "copied": a.span_id, "attached": a.span_id})

    def test_threads_lose_nothing(self):
        threads = [threading.Thread(target=lambda: [self.tracer.start_span("work").end() for _ in range(500)])
                   for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len({span["span_id"] for span in self.spans()}), 2000)

    def test_tasks_have_their_own_current_span(self):
        async def one(name, mine, other):
            with self.tracer.start_as_current_span(name):
                mine.set()
                await other.wait()
                self.tracer.start_span(f"in {name}").end()

        async def both():
            first, second = asyncio.Event(), asyncio.Event()
            with self.tracer.start_as_current_span("outer"):
                await asyncio.gather(one("a", first, second), one("b", second, first))
        asyncio.run(both())
        by_name = {span["name"]: span for span in self.spans()}
        for child, mother in (("a", "outer"), ("b", "outer"), ("in a", "a"), ("in b", "b")):
            self.assertEqual(by_name[child]["parent_span_id"], by_name[mother]["span_id"])

    def test_attach_of_nothing_begins_a_trace(self):
        with self.tracer.start_as_current_span("a"):
            with attach(None):
                self.tracer.start_span("b").end()
        self.assertNotIn("parent_span_id", self.spans()[0])

    def test_a_block_is_entered_again_and_by_several_threads_and_tasks(self):
        context, both = parent(), threading.Barrier(2)

        def nested(block):
            with block, block:
                self.assertEqual(current_ids(), SPAN)
            self.assertIsNone(spans.current.get())

        def in_thread(block):
            with block:
                both.wait(WAIT_S)
                self.assertEqual(current_ids(), SPAN)
                both.wait(WAIT_S)
            return spans.current.get()

        async def in_task(block):
            with block:
                await asyncio.sleep(0)
            return spans.current.get()

        async def tasks(block):
            return await asyncio.gather(*(in_task(block) for _ in range(2)))

        def current_ids():
            return spans.current.get().span_id

        def span():
            made = self.tracer.start_span("op")
            made.span_id = SPAN
            return made
        for make in (lambda: attach(context), lambda: spans.Current(span(), end_on_exit=False)):
            block = make()
            nested(block)
            with futures.ThreadPoolExecutor(2) as pool:
                self.assertEqual(list(pool.map(in_thread, [block] * 2)), [None] * 2)
                self.assertEqual(list(pool.map(lambda _: spans.current.get(), range(4))), [None] * 4)
            self.assertEqual(asyncio.run(tasks(block)), [None] * 2)
            nested(block)

    def test_a_parent_from_outside(self):
        with attach(parent(trace_state="a=1")):
            self.tracer.start_span("work").end()
        self.must_have(trace_id=TRACE, parent_span_id=SPAN, flags=1, trace_state="a=1")

    def test_contexts_that_are_none_have_no_parent(self):
        for context in (7, "x", Unprintable(), TraceContext(b"short", SPAN), TraceContext(TRACE, SPAN * 2)):
            self.tracer.start_span("work", context=context).end()
            self.assertNotIn("parent_span_id", self.spans()[-1])

    def test_trace_states_that_cannot_go_into_a_header_are_none(self):
        for state, kept in (("a" * 512, "a" * 512), ("a" * 513, ""), ("é", ""), ("a\n", ""), ("", "")):
            self.assertEqual(parent(trace_state=state).trace_state, kept)

    # ---- sampling ----

    def test_sampling_is_by_the_low_half_of_the_trace_id(self):
        self.addCleanup(spans.read_environment)
        half = 2**63
        cases = [(0.5, half - 1, True), (0.5, half, False), (0.0, 0, False), (1.0, 2**64 - 1, True),
                 (1.5 / 2**64, 1, True), (1.5 / 2**64, 2, False), (0.5 / 2**64, 0, False)]
        for rate, low, expected in cases:
            spans.sample(rate)
            trace = b"\xff" * 8 + low.to_bytes(8, "big")
            self.assertIs(spans.is_sampled(trace, 0), expected, (rate, low))
            self.assertIs(spans.is_sampled(trace, spans.DECIDED), False)
            self.assertIs(spans.is_sampled(trace, spans.DECIDED | spans.SAMPLED), True)

    def test_sampling_by_the_environment(self):
        cases = [(None, None, 1.0), ("traceidratio", "0.25", 0.25), ("parentbased_traceidratio", "0.25", 0.25),
                 ("always_off", "0.5", 0.0), ("always_on", "0.5", 1.0), ("traceidratio", "1.5", 1.0),
                 ("traceidratio", "x", 1.0), ("traceidratio", "nan", 1.0), ("traceidratio", None, 1.0)]
        for word, argument, share in cases:
            said = {"OTEL_TRACES_SAMPLER": word, "OTEL_TRACES_SAMPLER_ARG": argument}
            with mock.patch.dict(os.environ, {key: value for key, value in said.items() if value is not None}):
                self.assertEqual(spans.sampler_share(), share, (word, argument))

    def test_a_decision_goes_with_the_trace_and_into_the_record(self):
        cases = [(spans.DECIDED | spans.SAMPLED | spans.REMOTE, 1), (spans.DECIDED | spans.REMOTE, 0),
                 (spans.REMOTE, None), (0, None)]
        for flags, expected in cases:
            with self.tracer.start_as_current_span("a", context=parent(flags)):
                self.tracer.start_span("b").end()
            self.assertEqual([span.get("flags") for span in self.spans()[-2:]], [expected] * 2)

    def test_only_a_sampled_span_is_shown(self):
        self.assertIsNone(spans.shown())
        for flags, is_shown in ((spans.DECIDED | spans.SAMPLED, True), (spans.DECIDED, False)):
            with self.tracer.start_as_current_span("a", context=parent(flags)) as span:
                self.assertIs(spans.shown(), span if is_shown else None)
            with attach(parent(flags)):
                self.assertIsNone(spans.shown())

    # ---- headers ----

    def test_headers_that_are_read(self):
        trace, span = HEX
        cases = [
            (W3C, {"traceparent": f"00-{trace}-{span}-01"}, "1"), (W3C, {"TraceParent": f"00-{trace}-{span}-00"}, "0"),
            (W3C, {"traceparent": f"cc-{trace}-{span}-01-more"}, "1"), (W3C, {"traceparent": f"00-{trace}-{span}-01-"}, None),
            (W3C, {"traceparent": f"ff-{trace}-{span}-01"}, None), (W3C, {"traceparent": f"00-{32 * '0'}-{span}-01"}, None),
            (W3C, {"traceparent": f"00-{trace}-{16 * '0'}-01"}, None),
            (W3C, {"traceparent": f"00-{trace.upper()}-{span}-01"}, None),
            (W3C, {"traceparent": f"00-{trace}-{span}"}, None), (W3C, {"b3": f"{trace}-{span}-1"}, None), (W3C, {}, None),
            (W3C, [(b"traceparent", f"00-{trace}-{span}-01".encode())], "1"),
            (W3C, {"HTTP_TRACEPARENT": f"00-{trace}-{span}-01"}, "1"), (W3C, {"traceparent": [f"00-{trace}-{span}-01"]}, "1"),
            (B3, {"b3": f"{trace}-{span}-1"}, "1"), (B3, {"b3": f"{trace}-{span}-0"}, "0"),
            (B3, {"b3": f"{trace}-{span}-d"}, "d"), (B3, {"b3": f"{trace}-{span}"}, "-"),
            (B3, {"b3": f"{trace}-{span}-1-{span}"}, "1"), (B3, {"b3": f"{trace}-{span}-2"}, None),
            (B3, {"b3": f"{trace}-{span}-D"}, None), (B3, {"b3": f"{trace.upper()}-{span}-1"}, "1"),
            (B3, {"b3": f"{trace[1:]}-{span}-1"}, None), (B3, {"b3": f"{trace}-{16 * '0'}-1"}, None),
            (MULTI, {"X-B3-TraceId": trace, "X-B3-SpanId": span, "X-B3-Sampled": "1"}, "1"),
            (MULTI, {"x-b3-traceid": trace, "x-b3-spanid": span, "x-b3-sampled": "false"}, "0"),
            (MULTI, {"x-b3-traceid": trace, "x-b3-spanid": span, "x-b3-flags": "1"}, "d"),
            (MULTI, {"x-b3-traceid": trace, "x-b3-spanid": span}, "-"),
            (MULTI, {"x-b3-traceid": trace, "x-b3-spanid": f"{span}-1"}, None), (MULTI, {"x-b3-spanid": span}, None)]
        states = {"1": 11, "0": 10, "d": 15, "-": 8}
        for formats, headers, state in cases:
            with self.subTest(headers=headers):
                found = extract(headers, formats)
                expected = None if state is None else TraceContext(*map(bytes.fromhex, HEX), states[state])
                self.assertEqual(found, expected)

    def test_headers_with_a_short_id_a_decision_alone_and_a_state(self):
        trace, span = HEX
        self.assertEqual(extract({"b3": f"{trace[16:]}-{span}-1"}, B3).trace_id.hex(), 16 * "0" + trace[16:])
        for headers, formats in (({"b3": "0"}, B3), ({"x-b3-sampled": "0"}, MULTI)):
            context = extract(headers, formats)
            self.assertEqual((context.trace_id, context.sampled), (None, False))
            self.tracer.start_span("work", context=context).end()
            self.assertEqual((self.spans()[-1].get("parent_span_id"), self.spans()[-1]["flags"]), (None, 0))
        state = {"traceparent": f"00-{trace}-{span}-01", "tracestate": " a=1,b=2 "}
        self.assertEqual(extract(state, W3C).trace_state, "a=1,b=2")
        state["tracestate"] = f"a={'x' * 505},b=2,c=3"
        self.assertEqual(extract(state, W3C).trace_state, f"a={'x' * 505},b=2")

    def test_headers_that_are_none_raise_nothing(self):
        for headers in (None, 7, "text", [1, 2], {1: Unprintable()}, {"b3": Unprintable()}):
            self.assertIsNone(extract(headers, B3 + W3C + MULTI))

    def test_headers_that_are_written(self):
        trace, span = TRACE.hex(), SPAN.hex()
        cases = [(11, W3C, {"traceparent": f"00-{trace}-{span}-01"}), (10, W3C, {"traceparent": f"00-{trace}-{span}-00"}),
                 (8, W3C, {"traceparent": f"00-{trace}-{span}-01"}), (11, B3, {"b3": f"{trace}-{span}-1"}),
                 (10, B3, {"b3": f"{trace}-{span}-0"}), (15, B3, {"b3": f"{trace}-{span}-d"}),
                 (8, B3, {"b3": f"{trace}-{span}"}),
                 (0, B3, {"b3": f"{trace}-{span}-1"}),
                 (11, MULTI, {"X-B3-TraceId": trace, "X-B3-SpanId": span, "X-B3-Sampled": "1"}),
                 (15, MULTI, {"X-B3-TraceId": trace, "X-B3-SpanId": span, "X-B3-Flags": "1"}), (11, ["none"], {})]
        for flags, formats, expected in cases:
            self.assertEqual(inject({}, parent(flags), formats), expected)
        self.assertEqual(inject(context=TraceContext(flags=10), formats=B3), {"b3": "0"})
        self.assertEqual(inject(context=TraceContext(flags=10), formats=W3C), {})
        self.assertEqual(inject(context=parent(trace_state="a=1"), formats=W3C)["tracestate"], "a=1")

    def test_formats_are_those_of_the_environment(self):
        for text, formats in (("", B3), ("tracecontext,b3", W3C + B3), ("b3multi", MULTI), ("none", ["none"]), ("jaeger", B3)):
            with mock.patch.dict(os.environ, {"OTEL_PROPAGATORS": text}):
                self.assertEqual(inject({}, parent()), inject({}, parent(), formats))

    def test_the_current_span_goes_out_and_comes_back(self):
        self.assertEqual(inject(), {})
        with self.tracer.start_as_current_span("here") as here:
            headers = inject(formats=W3C + B3 + MULTI)
        self.in_thread(lambda: self.tracer.start_span("there", context=extract(headers)).end())
        there = self.spans()[-1]
        self.assertEqual((there["trace_id"], there["parent_span_id"]), (here.trace_id, here.span_id))
        self.assertEqual(inject(7, parent()), 7)

    def test_the_readme_hands_a_trace_on(self):
        section = (ROOT / "client/python/README.md").read_text().partition("## Traces, and OpenTelemetry\n")[2]
        names = {"dwell": dwell}
        exec(section.partition("```python\n")[2].partition("```")[0] + "    return headers\n", names)
        request = mock.Mock(headers={"b3": "-".join((*HEX, "1"))})
        headers = names["handle"](request)
        self.must_have(name="handle", trace_id=bytes.fromhex(HEX[0]), parent_span_id=bytes.fromhex(HEX[1]), flags=1,
                       attributes={"size": 8})
        self.assertEqual(headers, {"b3": f"{HEX[0]}-{self.span()['span_id'].hex()}-1"})

    # ---- forks, and no daemon ----

    def test_a_span_from_before_a_fork_is_the_parents(self):
        span = self.tracer.start_span("before")
        child = os.fork()
        if child == 0:
            self.dwell.kept.clear()
            with attach(span):
                self.tracer.start_span("of the child").end()
            span.end()
            good = len(self.dwell.kept) == 1 and self.spans()[0]["parent_span_id"] == span.span_id
            os._exit(0 if good and self.dwell.flush(WAIT_S) and self.dwell.close(WAIT_S) else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        span.end()
        self.dwell.flush(WAIT_S)
        metrics = self.daemon.metrics()
        self.assertEqual({name: metrics.get("acgs2_span_duration_seconds_count", span_name=name, status_code="unset")
                          for name in ("before", "of the child")}, {"before": 1, "of the child": 1})
        self.assertEqual(self.ledger(), {"sent": 2, "accepted": 2, "rejected": 0, "dropped": 0, "lost": 0})
        self.dwell.close()

    def test_a_child_of_a_fork_has_other_ids(self):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, self.tracer.start_span("x").span_id)
            os._exit(0)
        os.waitpid(child, 0)
        self.assertNotEqual(os.read(read, 8), self.tracer.start_span("x").span_id)
        os.close(read)
        os.close(write)

    def test_without_a_daemon_calls_are_counted_and_the_context_stays(self):
        self.dwell.close()
        self.use(Keeping(directory=str(self.directory() / "none"), keep_s=0))
        self.dwell.away = True
        with attach(parent()):
            with self.tracer.start_as_current_span("work") as span:
                self.assertIs(type(span), NoOpSpan)
                self.assertEqual(inject(formats=B3)["b3"], f"{TRACE.hex()}-{SPAN.hex()}-1")
            self.tracer.start_span("work").end()
        self.assertEqual((self.dwell.stats()["dropped"], self.dwell.kept), (2, []))
        self.dwell.close()

    def test_a_disabled_process_has_no_spans(self):
        out = self.must_run("import dwell\n"
                            "with dwell.get_tracer('x').start_as_current_span('y') as span:\n"
                            "    print(type(span).__name__, type(dwell.get_meter()).__name__, dwell.OTEL_AVAILABLE)\n"
                            "with dwell.TracingContext('x') as span: print(type(span).__name__)\n",
                            DWELL_DISABLED="1")
        self.assertEqual(out, "NoOpSpan NoOpMeter False\nNoOpSpan\n")


if __name__ == "__main__":
    sys.exit(unittest.main())
