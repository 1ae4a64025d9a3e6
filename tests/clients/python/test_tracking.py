"""The `track_*` decorators: what each way to end is counted as, on every kind of function."""
import asyncio
import functools
import gc
import inspect
import types
import unittest
import warnings

from metrics_case import MetricsCase

import dwell


class TrackingCase(MetricsCase):
    request = {"method": "GET", "endpoint": "/cart", "service": "shop"}

    def must_count(self, statuses, method="GET"):
        """{status: requests}, nothing in progress, and as many durations."""
        labels = {**self.request, "method": method}
        self.must_show(*(("http_requests_total", {**labels, "status": status}, count)
                         for status, count in statuses.items()),
                       ("http_request_duration_seconds_count", labels, sum(statuses.values())),
                       ("http_requests_in_progress", labels, 0))
        self.assertEqual(self.daemon.rejected(), {})

    def tracked(self, function):
        return dwell.track_request_metrics("shop", "/cart")(function)

    def in_progress(self):
        self.assertTrue(self.own.flush(20))
        return self.daemon.metrics().get("http_requests_in_progress", 0, **self.request)


class Request(TrackingCase):
    def test_functions_and_coroutines_that_return_and_raise(self):
        @self.tracked
        def plain(fail):
            if fail:
                raise KeyError("no")
            return self.in_progress()

        @self.tracked
        async def later(fail):
            await asyncio.sleep(0)
            if fail:
                raise KeyError("no")
            return self.in_progress()

        for call in (plain, lambda fail: asyncio.run(later(fail))):
            self.assertEqual(call(False), 1)
            with self.assertRaises(KeyError):
                call(True)
        self.must_count({"200": 2, "500": 2})

    def test_cancellation_is_neither_success_nor_error(self):
        begun = []

        @self.tracked
        async def waits():
            begun.append(asyncio.current_task())
            await asyncio.Event().wait()

        async def run():
            task = asyncio.create_task(waits())
            while not begun:
                await asyncio.sleep(0)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        asyncio.run(run())
        self.must_count({"499": 1})

    def test_the_method_is_the_calls_keyword(self):
        @self.tracked
        def handle(*arguments, **named):
            return arguments, named

        self.assertEqual(handle(1, method="POST", x=2), ((1,), {"method": "POST", "x": 2}))
        self.must_count({"200": 1}, method="POST")
        self.assertEqual(handle(method=None), ((), {"method": None}))
        self.must_count({"200": 1}, method="None")

    def test_a_function_that_returns_a_coroutine_has_ended_when_that_has(self):
        async def inner(fail):
            if fail:
                raise KeyError("no")
            return self.in_progress()

        handle = self.tracked(lambda fail: inner(fail))
        self.assertEqual(asyncio.run(handle(False)), 1)
        with self.assertRaises(KeyError):
            asyncio.run(handle(True))
        self.assertEqual(asyncio.run(self.tracked(functools.partial(inner, False))()), 1)
        self.must_count({"200": 2, "500": 1})

    def test_a_coroutine_that_never_begins_has_ended_once_it_cannot_begin(self):
        async def waits():
            await asyncio.sleep(0)

        @self.tracked
        @dwell.track_request_metrics("shop", "/inner")
        def plain():
            return waits()

        async def cancel():
            task = asyncio.ensure_future(plain())
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        def forget():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it was never awaited
                plain()
                gc.collect()

        for number, end in enumerate((lambda: asyncio.run(cancel()), lambda: plain().close(), forget), 1):
            end()
            self.must_count({"499": number})
        asyncio.run(plain())
        self.must_count({"499": 3, "200": 1})
        self.must_balance(4 * 2 * 4)

    def test_generators_that_can_be_awaited_still_can(self):
        @types.coroutine
        def steps(fail):
            yield
            if fail:
                raise KeyError("no")
            return 7

        async def run(function, fail):
            return await function(fail)

        for function in (self.tracked(steps), self.tracked(self.tracked(functools.partial(steps)))):
            self.assertEqual(asyncio.run(run(function, False)), 7)
            with self.assertRaises(KeyError):
                asyncio.run(run(function, True))
        self.must_count({"200": 3, "500": 3})

    def test_generators_end_when_they_do_and_pass_on_what_is_sent_and_thrown(self):
        @self.tracked
        def steps():
            try:
                got = yield 1
            except KeyError:
                got = "thrown"
            yield got
            return "end"

        self.assertEqual(list(steps()), [1, None])
        sent = steps()
        self.assertEqual((next(sent), sent.send("x"), self.in_progress()), (1, "x", 1))
        with self.assertRaises(StopIteration) as ended:
            next(sent)
        self.assertEqual(ended.exception.value, "end")
        thrown = steps()
        next(thrown)
        self.assertEqual(thrown.throw(KeyError()), "thrown")
        thrown.close()
        failed = steps()
        next(failed)
        with self.assertRaises(ValueError):
            failed.throw(ValueError())
        self.must_count({"200": 2, "499": 1, "500": 1})

    def test_asynchronous_generators_too(self):
        @self.tracked
        async def steps():
            try:
                got = yield 1
            except KeyError:
                got = "thrown"
            yield got

        async def run():
            self.assertEqual([step async for step in steps()], [1, None])
            sent = steps()
            self.assertEqual((await sent.__anext__(), await sent.asend("x")), (1, "x"))
            with self.assertRaises(StopAsyncIteration):
                await sent.__anext__()
            thrown = steps()
            await thrown.__anext__()
            self.assertEqual(await thrown.athrow(KeyError()), "thrown")
            await thrown.aclose()
            failed = steps()
            await failed.__anext__()
            with self.assertRaises(ValueError):
                await failed.athrow(ValueError())

        asyncio.run(run())
        self.must_count({"200": 2, "499": 1, "500": 1})

    def test_they_keep_name_docstring_and_kind_and_stack(self):
        def plain():
            """What it does."""

        async def later():
            """What it does."""

        def steps():
            """What it does."""
            yield

        async def later_steps():
            """What it does."""
            yield

        for function, kind in ((plain, inspect.isfunction), (later, inspect.iscoroutinefunction),
                               (steps, inspect.isgeneratorfunction),
                               (later_steps, inspect.isasyncgenfunction)):
            wrapped = self.tracked(dwell.track_message_processing("query")(
                dwell.track_constitutional_validation("policy")(function)))
            self.assertEqual((wrapped.__name__, wrapped.__doc__, kind(wrapped)),
                             (function.__name__, "What it does.", True))

    def test_methods_re_entrance_and_callable_objects(self):
        tracked = self.tracked

        class Handler:
            @tracked
            def depth(self, more):
                return 1 + (self.depth(more - 1) if more else 0)

            def __call__(self):
                return "called"

        self.assertEqual(Handler().depth(3), 4)
        self.assertEqual(tracked(Handler())(), "called")
        self.must_count({"200": 5})


class Validation(TrackingCase):
    def must_have(self, **results):
        self.must_show(*(("constitutional_validations_total", {"service": "policy", "result": result},
                          count)
                         for result, count in results.items()),
                       ("constitutional_validation_duration_seconds_count", {"service": "policy"},
                        sum(results.values())))

    def test_the_class_of_an_exception_is_the_violation_also_of_coroutines(self):
        @dwell.track_constitutional_validation("policy")
        def plain(error):
            if error:
                raise error
            return False

        @dwell.track_constitutional_validation("policy")
        async def later(error):
            if error:
                raise error
            return False

        for call in (plain, lambda error: asyncio.run(later(error))):
            self.assertIs(call(None), False)
            with self.assertRaises(PermissionError):
                call(PermissionError())
        with self.assertRaises(asyncio.CancelledError):
            asyncio.run(later(asyncio.CancelledError()))
        self.must_have(success=2, failure=2, cancelled=1)
        self.must_show(("constitutional_violations_total",
                        {"service": "policy", "violation_type": "PermissionError"}, 2))
        self.assertEqual(len(self.daemon.metrics().series("constitutional_violations_total")), 1)


class Message(TrackingCase):
    def test_success_error_and_priority(self):
        @dwell.track_message_processing("query")
        def normal(fail):
            return 1 / (0 if fail else 1)

        @dwell.track_message_processing("command", priority="high")
        async def high():
            return "done"

        normal(False)
        with self.assertRaises(ZeroDivisionError):
            normal(True)
        self.assertEqual(asyncio.run(high()), "done")
        query, command = ({"message_type": "query", "priority": "normal"},
                          {"message_type": "command", "priority": "high"})
        self.must_show(("messages_total", {**query, "status": "success"}, 1),
                       ("messages_total", {**query, "status": "error"}, 1),
                       ("messages_total", {**command, "status": "success"}, 1),
                       ("message_processing_duration_seconds_count", query, 2),
                       ("message_processing_duration_seconds_count", command, 1))


class WithoutDaemon(TrackingCase):
    def test_functions_run_as_they_are_whatever_the_labels(self):
        self.daemon.stop()

        @dwell.track_request_metrics(object(), None)
        @dwell.track_message_processing(7)
        @dwell.track_constitutional_validation(None)
        def twice(number, method="x"):
            return 2 * number

        self.assertEqual(twice(4, method=object()), 8)


if __name__ == "__main__":
    unittest.main()
