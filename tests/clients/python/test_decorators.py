"""Decorators and SpanContext: every sort of function, every way to end, and nothing changed for the caller."""
import asyncio
import contextvars
import functools
import inspect
import sys
import types
import unittest
from unittest import mock

from telemetry_case import WAIT_S, Hostile, Keeping, TelemetryCase, Unprintable, UnprintableError

from dwell import NoOpSpan, SpanContext, decorators, get_current_span, get_tracer, metered, spans, timed, traced


def collect(generator):
    return list(generator)


async def acollect(generator):
    return [item async for item in generator]


class Decorators(TelemetryCase):
    def must_have(self, *outcomes):
        """The spans so far, by name and outcome: "success", "error" or "cancelled"."""
        found = []
        for span in self.spans():
            attributes = span.get("attributes", {})
            outcome = {True: "success", False: "error"}.get(attributes.get("success"))
            if attributes.get("cancelled"):
                self.assertNotIn("success", attributes)
                outcome = "cancelled"
            self.assertEqual(span.get("status", {}).get("code"), 2 if outcome == "error" else None)
            found.append((span["name"], outcome))
        self.assertEqual(found, list(outcomes))

    # ---- traced ----

    def test_functions_keep_their_name_their_docstring_and_their_arguments(self):
        def function(first, *rest, key=None, **more):
            """What it does."""
            return first, rest, key, more

        async def coroutine(first, *rest, key=None, **more):
            """What it does."""
            return first, rest, key, more
        given = ([], {}), {"key": object(), "function": 1, "args": 2, "self": 3}
        expected = given[0][0], (given[0][1],), given[1]["key"], {"function": 1, "args": 2, "self": 3}
        for decorate in (traced(), metered(), timed(), traced, metered, timed):
            for original in (function, coroutine):
                wrapped = decorate(original)
                self.assertEqual((wrapped.__name__, wrapped.__doc__), (original.__name__, "What it does."))
                self.assertEqual(inspect.iscoroutinefunction(wrapped), original is coroutine)
                result = wrapped(*given[0], **given[1])
                result = asyncio.run(result) if original is coroutine else result
                self.assertEqual(result, expected)
                self.assertIs(result[0], given[0][0])

    def test_outcomes_of_functions(self):
        @traced()
        def work(error=None):
            if error:
                raise error
            return "done"
        self.assertEqual(work(), "done")
        for error in (ValueError("no"), KeyboardInterrupt(), UnprintableError(), asyncio.CancelledError()):
            with self.assertRaises(type(error)) as caught:
                work(error)
            self.assertIs(caught.exception, error)
        self.must_have(("work", "success"), ("work", "error"), ("work", "error"), ("work", "error"), ("work", "cancelled"))
        failed = self.spans()[1]
        self.assertEqual((failed["attributes"]["error.type"], failed["attributes"]["error.message"], failed["status"],
                          len(failed["events"])), ("ValueError", "no", {"code": 2, "message": "no"}, 1))
        self.assertEqual(self.spans()[3]["attributes"]["error.message"], "<UnprintableError that cannot be shown>")

    def test_outcomes_of_coroutines(self):
        @traced("named", attributes={"a": 1})
        async def work(error=None):
            await asyncio.sleep(0)
            self.assertEqual(get_current_span().is_recording(), True)
            if error:
                raise error
            return "done"

        async def all_of_them():
            self.assertEqual(await work(), "done")
            with self.assertRaises(ValueError):
                await work(ValueError("no"))
        asyncio.run(all_of_them())
        self.must_have(("named", "success"), ("named", "error"))
        self.assertEqual([span["attributes"]["a"] for span in self.spans()], [1, 1])

    def test_a_cancelled_task_is_neither_success_nor_error(self):
        @traced()
        async def work():
            await asyncio.Event().wait()

        async def cancel():
            task = asyncio.ensure_future(work())
            await asyncio.sleep(0)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
        asyncio.run(cancel())
        self.must_have(("work", "cancelled"))
        self.assertNotIn("events", self.span())

    def test_generators(self):
        @traced()
        def numbers(error=None):
            """Numbers."""
            mine = get_current_span()
            got = yield 1
            self.assertIs(get_current_span(), mine)
            yield got
            if error:
                raise error
            return "end"
        self.assertTrue(inspect.isgeneratorfunction(numbers))
        self.assertEqual(collect(numbers()), [1, None])
        with self.assertRaises(ValueError):
            collect(numbers(ValueError("no")))
        with get_tracer().start_as_current_span("caller") as caller:
            begun = numbers()
            self.assertEqual((next(begun), begun.send("sent")), (1, "sent"))
            self.assertIs(get_current_span(), caller)
            with self.assertRaises(StopIteration) as stop:
                next(begun)
            self.assertEqual(stop.exception.value, "end")
            closed = numbers()
            next(closed)
            closed.close()
            thrown = numbers()
            next(thrown)
            with self.assertRaises(KeyError):
                thrown.throw(KeyError("in"))
        numbers()  # never begun
        self.must_have(("numbers", "success"), ("numbers", "error"), ("numbers", "success"), ("numbers", "cancelled"),
                       ("numbers", "error"), ("caller", None))

    def test_async_generators(self):
        @traced()
        async def numbers(error=None):
            mine = get_current_span()
            got = yield 1
            await asyncio.sleep(0)
            self.assertIs(get_current_span(), mine)
            yield got
            if error:
                raise error

        async def all_of_them():
            self.assertEqual(await acollect(numbers()), [1, None])
            with self.assertRaises(ValueError):
                await acollect(numbers(ValueError("no")))
            begun = numbers()
            self.assertEqual((await begun.__anext__(), await begun.asend("sent")), (1, "sent"))
            self.assertIs(type(get_current_span()), NoOpSpan)
            await begun.aclose()
            thrown = numbers()
            await thrown.__anext__()
            with self.assertRaises(KeyError):
                await thrown.athrow(KeyError("in"))
        asyncio.run(all_of_them())
        self.must_have(("numbers", "success"), ("numbers", "error"), ("numbers", "cancelled"), ("numbers", "error"))

    def test_what_a_generator_does_when_it_is_closed_belongs_to_its_span(self):
        @traced()
        def numbers():
            try:
                yield 1
            finally:
                get_tracer().start_span("cleaning").end()

        @traced()
        async def anumbers():
            try:
                yield 1
            finally:
                get_tracer().start_span("cleaning").end()

        async def leave():
            begun = anumbers()
            await begun.__anext__()
            await begun.aclose()
        begun = numbers()
        next(begun)
        begun.close()
        asyncio.run(leave())
        first, mother, second, amother = self.spans()
        self.assertEqual((first["parent_span_id"], second["parent_span_id"]), (mother["span_id"], amother["span_id"]))

    def test_a_span_within_a_generator_is_current_until_it_ends(self):
        def inside(name):
            with get_tracer().start_as_current_span(name):
                pass

        @traced()
        def numbers():
            with get_tracer().start_as_current_span("q"):
                yield 1
                inside("in q")
                yield 2
            inside("behind q")
            yield 3
            inside("last")

        @traced()
        async def anumbers():
            for number in numbers.__wrapped__():
                yield number

        def each_in_a_context_of_its_own(generator):
            for _ in range(4):
                contextvars.copy_context().run(next, generator, None)

        for run in (lambda: collect(numbers()), lambda: asyncio.run(acollect(anumbers())),
                    lambda: each_in_a_context_of_its_own(numbers())):
            before = len(self.dwell.kept)
            with get_tracer().start_as_current_span("caller") as caller:
                run()
                self.assertIs(get_current_span(), caller)
            found = {span["name"]: span for span in self.spans()[before:]}
            outer = next(span for name, span in found.items() if name.endswith("numbers"))
            for name, mother in (("q", outer), ("in q", found["q"]), ("behind q", outer), ("last", outer)):
                self.assertEqual(found[name]["parent_span_id"], mother["span_id"], name)

    def test_an_async_generator_that_is_left_behind_ends_cancelled(self):
        @traced()
        async def numbers():
            yield 1
            yield 2

        async def leave():
            async for _ in numbers():
                break
        asyncio.run(leave())
        self.must_have(("numbers", "cancelled"))

    def test_arguments_are_recorded_when_asked(self):
        @traced(record_args=True)
        def work(*args, **kwargs):
            pass
        work(1, Unprintable(), text="t", number=2, yes=True, double=0.5, other=[1], none=None, odd=Unprintable(),
             hostile=Hostile())
        self.assertEqual(self.span()["attributes"], {"args.count": 2, "kwargs.text": "t", "kwargs.number": 2,
                                                     "kwargs.yes": True, "kwargs.double": 0.5, "success": True})
        work(**{f"a{number}": number for number in range(decorators.ARGUMENTS_MAX + 1)})
        self.assertEqual(len(self.spans()[1]["attributes"]), decorators.ARGUMENTS_MAX + 2)

    def test_without_being_asked_no_argument_is(self):
        @traced()
        def work(secret):
            return secret
        self.assertEqual(work(secret="s"), "s")
        self.assertEqual(self.span()["attributes"], {"success": True})

    def test_the_function_may_add_to_its_span(self):
        @traced(attributes={"a": 1})
        def work():
            get_current_span().set_attribute("a", 2)
            get_current_span().add_event("e")
        work()
        self.assertEqual((self.span()["attributes"], len(self.span()["events"])), ({"a": 2, "success": True}, 1))

    def test_attributes_that_are_none_are_counted_in_each_span(self):
        @traced(attributes={"bad": Unprintable(), "good": 1})
        def work():
            pass
        work()
        work()
        self.assertEqual([(span["attributes"], span["dropped_attributes"]) for span in self.spans()],
                         [({"good": 1, "success": True}, 1)] * 2)

    def test_nested_and_recursive_calls_are_children(self):
        @traced()
        def down(left):
            return down(left - 1) if left else 0
        down(2)
        inner, middle, outer = self.spans()
        self.assertEqual([span.get("parent_span_id") for span in (outer, middle, inner)],
                         [None, outer["span_id"], middle["span_id"]])

    def test_a_service_name_is_that_of_the_span(self):
        @traced(service_name="other")
        def work():
            pass
        work()
        self.assertEqual(self.span()["service_name"], "other")

    def test_a_parent_with_a_decision_and_a_state(self):
        from dwell import TraceContext, attach

        @traced()
        def work():
            pass
        with attach(TraceContext(bytes(range(16)), bytes(range(1, 9)), 11, "a=1")):
            work()
        with attach(TraceContext(bytes(range(16)), bytes(range(1, 9)), 11)):
            work()
        self.assertEqual([(span["flags"], span.get("trace_state"), span["attributes"]) for span in self.spans()],
                         [(1, "a=1", {"success": True}), (1, None, {"success": True})])

    def test_methods_static_class_partial_and_callable_objects(self):
        class Thing:
            @traced()
            def method(self):
                return self

            @traced()
            @staticmethod
            def static():
                return "static"

            @traced()
            @classmethod
            def of_class(cls):
                return cls

            async def __call__(self):
                return "called"
        thing = Thing()
        self.assertIs(thing.method(), thing)
        self.assertEqual((Thing.static(), thing.static(), Thing.of_class()), ("static", "static", Thing))
        self.assertEqual(traced()(functools.partial(int, "7"))(), 7)
        self.assertEqual(asyncio.run(traced()(thing)()), "called")
        self.assertEqual([span["name"] for span in self.spans()], ["method", "static", "static", "of_class", "partial",
                                                                   "Thing"])

    def test_a_plain_function_that_returns_a_coroutine_ends_with_it(self):
        async def inner(error=None):
            self.assertTrue(get_current_span().is_recording())
            await asyncio.sleep(0)
            if error:
                raise error
            return "done"

        @traced()
        @metered()
        def work(error=None):
            return inner(error)
        self.assertEqual(asyncio.run(work()), "done")
        with self.assertRaises(ValueError):
            asyncio.run(work(ValueError("no")))
        self.must_have(("work", "success"), ("work", "error"))
        self.assertEqual([metric["attributes"] for metric in self.records("metric") if metric["name"] == "work_calls"],
                         [{"success": "true"}, {"success": "false"}])

    def test_a_coroutine_that_is_cancelled_before_it_begins_ends_cancelled(self):
        async def inner():
            await asyncio.sleep(0)

        @traced()
        @metered()
        def work():
            return inner()

        async def cancel():
            task = asyncio.ensure_future(work())
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertIsNone(spans.current.get())
        asyncio.run(cancel())
        work().close()
        self.must_have(("work", "cancelled"), ("work", "cancelled"))
        self.assertEqual([metric["attributes"] for metric in self.records("metric") if metric["name"] == "work_calls"],
                         [{"success": "cancelled"}] * 2)

    def test_generators_that_can_be_awaited_still_can(self):
        @types.coroutine
        def steps():
            yield
            return 7

        async def run(function):
            return await function()
        for decorate in (traced(), metered(), timed()):
            self.assertEqual(asyncio.run(run(decorate(steps))), 7)
        self.assertEqual(asyncio.run(run(traced("again")(traced("outer")(functools.partial(steps))))), 7)
        self.must_have(("steps", "success"), ("outer", "success"), ("again", "success"))

    def test_a_class_is_called_as_it_is(self):
        @traced()
        class Thing:
            async def __call__(self):
                return "called"
        self.assertEqual(asyncio.run(Thing()()), "called")
        self.must_have(("Thing", "success"))

    def test_stacked_in_any_order(self):
        for order in ((traced, metered, timed), (timed, traced, metered), (metered, timed, traced)):
            def work():
                return "done"

            async def awork():
                return "done"
            for decorate in order:
                work, awork = decorate()(work), decorate()(awork)
            self.assertEqual((work(), asyncio.run(awork())), ("done", "done"))
        self.assertEqual((len(self.spans()), len(self.records("metric"))), (6, 18))

    # ---- metered and timed ----

    def must_count(self, *expected):
        """The metrics so far: (name, op, unit, attributes)."""
        self.assertEqual([(metric["name"], metric["op"], metric.get("unit"), metric.get("attributes", {}))
                          for metric in self.records("metric")], list(expected))

    def test_metered_counts_calls_by_outcome_and_takes_their_time(self):
        @metered()
        def work(error=None):
            if error:
                raise error
        work()
        for error in (ValueError(), asyncio.CancelledError()):
            with self.assertRaises(type(error)):
                work(error)
        latency = ("work_latency_ms", 4, "ms", {})
        self.must_count(("work_calls", 1, None, {"success": "true"}), latency,
                        ("work_calls", 1, None, {"success": "false"}), latency,
                        ("work_calls", 1, None, {"success": "cancelled"}), latency)
        self.dwell.flush(WAIT_S)
        metrics = self.daemon.metrics()
        self.assertEqual([metrics.get("work_calls_total", success=outcome) for outcome in ("true", "false", "cancelled")],
                         [1, 1, 1])
        self.assertEqual(metrics.get("work_latency_seconds_count"), 3)

    def test_metered_and_timed_by_other_names(self):
        @metered("c", "h", "s")
        @timed("t", "s", "us")
        async def work():
            pass
        asyncio.run(work())
        self.must_count(("t", 4, "us", {}), ("c", 1, None, {"success": "true"}), ("h", 4, "ms", {}))

    def test_timed_in_its_unit(self):
        for unit, value in (("ns", 1.5e9), ("us", 1.5e6), ("ms", 1500.0), ("s", 1.5), ("parsec", 1500.0)):
            times = iter((10**9, 10**9 + 1_500_000_000))
            with mock.patch.object(decorators, "_clock_ns", lambda: next(times)):
                timed(unit=unit)(abs)(-1)
            found = self.records("metric")[-1]
            known = unit if unit != "parsec" else "ms"
            self.assertEqual((found["name"], found["value"], found["unit"]), (f"abs_duration_{known}", value, known))
        self.dwell.flush(WAIT_S)
        metrics = self.daemon.metrics()
        self.assertEqual(metrics.get("abs_duration_seconds_sum"), 7.5)

    def test_generators_are_metered_to_their_end(self):
        @metered()
        @timed()
        def numbers():
            yield from (1, 2)
        self.assertEqual(collect(numbers()), [1, 2])
        self.must_count(("numbers_duration_ms", 4, "ms", {}), ("numbers_calls", 1, None, {"success": "true"}),
                        ("numbers_latency_ms", 4, "ms", {}))

    # ---- SpanContext ----

    def test_span_context_is_a_child_sync_and_async(self):
        async def inner():
            async with SpanContext("b", attributes={"n": 1, "yes": True, "t": "x", "d": 0.5}) as span:
                self.assertIs(get_current_span(), span)
        with SpanContext("a", "service") as outer:
            asyncio.run(inner())
            with self.assertRaises(ValueError):
                with SpanContext("c"):
                    raise ValueError("no")
        b, c, a = self.spans()
        self.assertEqual((b["parent_span_id"], c["parent_span_id"], a["service_name"]),
                         (outer.span_id, outer.span_id, "service"))
        self.assertEqual((b["attributes"], c["status"], len(c["events"])),
                         ({"n": 1, "yes": True, "t": "x", "d": 0.5}, {"code": 2, "message": "no"}, 1))

    def test_span_context_may_be_entered_again(self):
        again = SpanContext("a")
        with again as outer:
            with again as inner:
                self.assertIsNot(outer, inner)
        with again:
            pass
        self.assertEqual([span.get("parent_span_id") for span in self.spans()], [outer.span_id, None, None])
        again.__exit__(None, None, None)  # once more than it was entered

    # ---- no daemon ----

    def test_without_a_daemon_generators_run_as_they_are(self):
        self.dwell.close()
        self.use(Keeping(directory=str(self.directory() / "none")))
        self.dwell.away = True

        @traced()
        def numbers():
            got = yield 1
            yield got
            return "end"

        @metered()
        async def anumbers():
            got = yield 1
            yield got
        begun = numbers()
        self.assertEqual((next(begun), begun.send("sent")), (1, "sent"))
        with self.assertRaises(StopIteration) as stop:
            next(begun)
        self.assertEqual(stop.exception.value, "end")

        async def drive():
            begun = anumbers()
            self.assertEqual((await begun.__anext__(), await begun.asend("sent")), (1, "sent"))
            await begun.aclose()
        asyncio.run(drive())
        self.assertEqual((self.dwell.stats()["dropped"], self.dwell.kept), (3, []))
        self.dwell.close()

    def test_without_a_daemon_functions_run_and_calls_are_counted(self):
        self.dwell.close()
        self.use(Keeping(directory=str(self.directory() / "none")))
        self.dwell.away = True

        @traced()
        @metered()
        @timed()
        def work():
            return "done"
        self.assertEqual(work(), "done")
        with SpanContext("a") as span:
            self.assertIs(type(span), NoOpSpan)
        self.assertEqual((self.dwell.stats()["dropped"], self.dwell.kept), (5, []))
        self.dwell.close()


if __name__ == "__main__":
    sys.exit(unittest.main())
