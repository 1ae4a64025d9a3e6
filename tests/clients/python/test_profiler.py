"""Inferences that are tracked, decorated or recorded, and what the daemon then says of them."""
import asyncio
import inspect
import json
import math
import threading
import time
import types
import unittest
import unittest.mock

from client_case import WAIT_S, ClientCase, until
import test_golden

import dwell
from dwell import profiler as module
from dwell.profiler import BottleneckType, InferenceMetrics, ModelProfiler, ProfilingMetrics


class Unprintable:
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class Unhashable(list):
    def __str__(self):
        return "a list"


class ProfilerCase(ClientCase):
    def setUp(self):
        super().setUp()
        self.own = self.client()
        self.profiler = ModelProfiler(client=self.own, evidence="none")

    def must_have(self, **counts):
        """{model: samples}, or {model: (samples, errors)}."""
        profiles = self.profiler.get_all_metrics()
        got = {name: (profile.sample_count, profile.errors) for name, profile in profiles.items()}
        self.assertEqual(got, {name: count if isinstance(count, tuple) else (count, 0)
                               for name, count in counts.items()})

    def must_balance(self, accepted, rejected=0, dropped=0):
        self.assertTrue(self.own.flush())
        self.own.close(WAIT_S)  # the goodbye tells what was dropped last
        sent = accepted + rejected + dropped
        until(lambda: self.ledger()["sent"] == sent, f"{sent} sent")
        self.assertEqual(self.ledger(), {"sent": sent, "accepted": accepted, "rejected": rejected,
                                         "dropped": dropped, "lost": 0})


class Blocks(ProfilerCase):
    def test_a_query_right_after_an_empty_block_sees_it(self):
        with self.profiler.track("m"):
            pass
        profile = self.profiler.get_metrics("m")
        self.assertEqual((profile.sample_count, profile.errors), (1, 0))
        self.assertTrue(0 <= profile.latency_p50_ms < 1000 * WAIT_S)
        self.assertTrue(math.isnan(profile.avg_cpu_percent))  # without evidence there is none
        self.assertIsNone(profile.to_dict()["cpu"]["avg_percent"])

    def test_time_is_that_of_the_block(self):
        waited = threading.Event()
        begun_ns = time.perf_counter_ns()
        with self.profiler.track("m"):
            waited.wait(0.03)
        took_ms = (time.perf_counter_ns() - begun_ns) / 1e6
        profile = self.profiler.get_metrics("m")
        self.assertTrue(30 <= profile.latency_min_ms <= took_ms, profile)

    def test_an_exception_passes_and_is_an_error(self):
        error = KeyError("mine")
        with self.assertRaises(KeyError) as caught, self.profiler.track("m"):
            raise error
        self.assertIs(caught.exception, error)
        self.must_have(m=(1, 1))

    def test_what_ends_an_inference_from_outside_is_no_error(self):
        for kind, errors in ((asyncio.CancelledError, 0), (GeneratorExit, 0), (KeyboardInterrupt, 1), (SystemExit, 1),
                             (StopIteration, 1), (asyncio.TimeoutError, 1)):
            for more in ({}, {"batch_size": 1}):
                name = f"{kind.__name__} {len(more)}"
                with self.subTest(name), self.assertRaises(kind), self.profiler.track(name, **more):
                    raise kind
                self.assertEqual(self.profiler.get_metrics(name).errors, errors, name)

    def test_blocks_nest_and_recur(self):
        def descend(depth):
            with self.profiler.track("deep"):
                if depth:
                    descend(depth - 1)
        descend(20)
        with self.profiler.track("a"), self.profiler.track("b"), self.profiler.track("a"):
            pass
        self.must_have(deep=21, a=2, b=1)

    def test_fields_that_are_given_arrive(self):
        with self.profiler.track("m", device="cuda:0", batch_size=8, queue_ms=2.5, labels={"k": "v"}):
            pass
        self.assertTrue(self.own.flush())
        model = self.daemon.models()["m"]
        self.assertEqual(model["sample_count"], 1)
        metrics = self.daemon.metrics()
        self.assertEqual(metrics.get("acgs2_model_batch_size_sum", model_name="m", device="cuda:0"), 8)
        self.assertEqual(metrics.get("acgs2_model_queue_seconds_sum", model_name="m", device="cuda:0"), 0.0025)

    def test_names_of_every_kind(self):
        names = ("模型", "модель", "🦊", "a b", 'q"\\', "x" * 256, 7, None, True, 2.5, b"raw", ("a", 1), Unhashable())
        for name in names:
            with self.profiler.track(name):
                pass
        self.assertEqual(set(self.profiler.get_all_metrics()), {str(name) for name in names})
        for name in names:
            self.assertEqual(self.profiler.get_metrics(name).sample_count, 1, str(name))
        self.must_balance(len(names))

    def test_names_that_cannot_be_are_rejected_or_dropped(self):
        for name in ("", "x" * 257, "x" * 100000, "a\0b", Unprintable()):
            with self.profiler.track(name):
                pass
        self.must_balance(0, rejected=4, dropped=1)

    def test_fields_that_cannot_be_are_rejected_or_dropped(self):
        for more in ({"batch_size": math.nan}, {"queue_ms": -1}, {"queue_ms": 1e13}, {"labels": {"": "x"}}):
            with self.profiler.track("m", **more):
                pass
        for more in ({"queue_ms": "long"}, {"batch_size": 10**400}, {"device": Unprintable()}, {"labels": 5},
                     {"trace_id": "text"}, {"execution_time_ms": 1}):
            with self.profiler.track("m", **more):
                pass
        self.must_balance(0, rejected=4, dropped=6)

    def test_a_block_that_was_not_entered_raises_nothing(self):
        self.profiler.track("m").__exit__(None, None, None)
        self.profiler.track("m", batch_size=1).__exit__(None, None, None)
        self.must_balance(0, dropped=2)

    def test_the_last_model_is_kept_and_one_over_is_recorded_all_the_same(self):
        for number in range(module.MODELS_MAX + 1):
            with self.profiler.track(str(number)):
                pass
        self.assertEqual(len(self.profiler._models), module.MODELS_MAX)
        self.must_balance(module.MODELS_MAX + 1)

    def test_threads_lose_nothing(self):
        def work(name):
            for _ in range(1000):
                with self.profiler.track(name):
                    pass
                with self.profiler.track("shared"):
                    pass
        threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.must_have(t0=1000, t1=1000, t2=1000, t3=1000, shared=4000)
        self.must_balance(8000)


class Records(ProfilerCase):
    def test_what_was_measured_elsewhere_arrives(self):
        for error in (True, False):
            self.assertTrue(self.profiler.record(InferenceMetrics("m", 12.5, 10.0, 90.0, 100.0, 120.0, error=error)))
        profile = self.profiler.get_metrics("m")
        self.assertEqual((profile.sample_count, profile.errors, profile.latency_max_ms, profile.avg_cpu_percent,
                          profile.peak_memory_mb), (2, 1, 12.5, 90.0, 120.0))
        self.assertIs(profile.bottleneck_type, BottleneckType.COMPUTE_BOUND)
        self.assertTrue(profile.gpu_recommendation)

    def test_times_that_cannot_be_are_rejected_or_dropped(self):
        for ms in (math.nan, math.inf, -1.0, 1e13):
            self.assertTrue(self.profiler.record(InferenceMetrics("m", ms)))
        for metrics in (InferenceMetrics("m", "1"), InferenceMetrics("m", None), InferenceMetrics("m", 10**400),
                        InferenceMetrics(Unprintable(), 1), InferenceMetrics("m", 1, timestamp="now"),
                        InferenceMetrics("m", 1, trace_id="zz"), InferenceMetrics("m", 1, labels={"a": Unprintable()}),
                        None):
            self.assertFalse(self.profiler.record(metrics))
        self.must_balance(0, rejected=4, dropped=8)

    def test_the_old_fields_are_enough_and_the_new_ones_have_defaults(self):
        metrics = InferenceMetrics(model_name="m", execution_time_ms=1.0, cpu_percent_before=10.0,
                                   cpu_percent_during=35.0, memory_mb_before=100.0, memory_mb_after=101.5)
        self.assertEqual((metrics.memory_delta_mb, metrics.cpu_delta), (1.5, 25.0))
        self.assertEqual(metrics.timestamp.utcoffset().total_seconds(), 0)
        profile = ProfilingMetrics(
            model_name="m", sample_count=2, latency_p50_ms=1.23456, latency_p95_ms=2.0, latency_p99_ms=3.0,
            latency_mean_ms=1.5, latency_std_ms=0.5, avg_cpu_percent=12.345, peak_cpu_percent=99.96,
            avg_memory_mb=1.236, peak_memory_mb=2.0, bottleneck_type=BottleneckType.IO_BOUND, gpu_recommendation="no")
        told = profile.to_dict()
        self.assertEqual((told["latency"]["p50_ms"], told["cpu"], told["memory"]),
                         (1.235, {"avg_percent": 12.3, "peak_percent": 100.0}, {"avg_mb": 1.24, "peak_mb": 2.0}))
        self.assertEqual(told["analysis"], {"bottleneck_type": "io_bound", "gpu_recommendation": "no"})
        self.assertEqual(json.loads(json.dumps(told)), told)


class Decorators(ProfilerCase):
    def test_a_function_keeps_its_name_result_and_exceptions(self):
        @self.profiler.profile("m")
        def infer(first, *rest, model_name=None, **more):
            """What it does."""
            if more:
                raise LookupError(more)
            return first, rest, model_name
        mark = object()
        self.assertIs(infer(mark)[0], mark)
        self.assertEqual(infer(1, 2, model_name="x"), (1, (2,), "x"))
        with self.assertRaises(LookupError):
            infer(1, other=2)
        self.assertEqual((infer.__name__, infer.__doc__), ("infer", "What it does."))
        self.must_have(m=(3, 1))

    def test_a_coroutine_function_is_measured_until_it_is_done(self):
        async def main():
            @self.profiler.profile("m")
            async def infer(value):
                await asyncio.sleep(0.02)
                return value
            self.assertTrue(inspect.iscoroutinefunction(infer))
            return await infer(5)
        self.assertEqual(asyncio.run(main()), 5)
        self.assertGreaterEqual(self.profiler.get_metrics("m").latency_min_ms, 19)

    def test_an_object_that_is_called_asynchronously_is_one(self):
        class Model:
            async def __call__(self):
                return "yes"
        infer = self.profiler.profile("m")(Model())
        self.assertEqual(asyncio.run(infer()), "yes")
        self.must_have(m=1)

    def test_methods_of_all_kinds(self):
        profile = self.profiler.profile("m")

        class Model:
            @profile
            def own(self):
                return self

            @profile
            @classmethod
            def of_class(cls):
                return cls

            @profile
            @staticmethod
            def of_none():
                return 3
        model = Model()
        self.assertEqual((model.own(), model.of_class(), Model.of_class(), model.of_none()), (model, Model, Model, 3))
        self.must_have(m=4)

    def test_a_function_that_calls_itself_is_several_inferences(self):
        @self.profiler.profile("m")
        def descend(depth):
            return depth and descend(depth - 1)
        self.assertEqual(descend(9), 0)
        self.must_have(m=10)

    def test_decorators_stack(self):
        infer = self.profiler.profile("outer")(self.profiler.profile("inner")(lambda: 1))
        self.assertEqual(infer(), 1)
        self.must_have(outer=1, inner=1)

    def test_profile_async_and_profile_async_call_take_plain_functions(self):
        async def double(value):
            return 2 * value

        async def fail():
            raise OSError("mine")
        self.assertEqual(asyncio.run(self.profiler.profile_async("a")(double)(4)), 8)
        self.assertEqual(asyncio.run(self.profiler.profile_async("a")(lambda value: value)(4)), 4)
        self.assertEqual(asyncio.run(self.profiler.profile_async_call("b", double, value=4)), 8)
        self.assertEqual(asyncio.run(self.profiler.profile_async_call("b", len, "four")), 4)
        with self.assertRaises(OSError):
            asyncio.run(self.profiler.profile_async_call("b", fail))
        self.must_have(a=2, b=(3, 1))

    def test_a_cancelled_task_is_recorded_and_no_error(self):
        async def main():
            task = asyncio.ensure_future(self.profiler.profile_async_call("m", asyncio.sleep, 60))
            await asyncio.sleep(0)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
        asyncio.run(main())
        self.must_have(m=1)

    def test_a_generator_is_the_time_spent_in_it(self):
        @self.profiler.profile("m")
        def count(most):
            got = []
            for number in range(most):
                got.append((yield number))
            return got
        self.assertTrue(inspect.isgeneratorfunction(count))
        self.assertEqual(list(count(3)), [0, 1, 2])
        generator = count(2)
        now_ns = [0]

        def now():
            now_ns[0] += 1000
            return now_ns[0]
        with unittest.mock.patch.object(module, "_now_ns", now):
            self.assertEqual((next(generator), generator.send("x")), (0, 1))
            now_ns[0] += 3600 * 10**9  # that its consumer takes
            with self.assertRaises(StopIteration) as stop:
                generator.send("y")
        self.assertEqual(stop.exception.value, ["x", "y"])
        self.must_have(m=2)
        self.assertLess(self.profiler.get_metrics("m").latency_max_ms, 3600 * 1000)

    def test_a_generator_that_can_be_awaited_still_can(self):
        @types.coroutine
        def steps():
            yield
            return 7

        async def main():
            return await self.profiler.profile("outer")(self.profiler.profile("m")(steps))()
        self.assertEqual(asyncio.run(main()), 7)
        self.must_have(m=1, outer=1)

    def test_a_generator_is_closed_thrown_into_and_left(self):
        seen = []

        @self.profiler.profile("m")
        def careful():
            try:
                yield 1
                yield 2
            except ValueError as error:
                seen.append(error)
                yield 3
            finally:
                seen.append("end")
        error = ValueError()
        generator = careful()
        self.assertEqual((next(generator), generator.throw(error)), (1, 3))
        generator.close()
        self.assertEqual(seen, [error, "end"])
        failing = careful()
        next(failing)
        with self.assertRaises(KeyError):
            failing.throw(KeyError("theirs"))
        careful()  # never begun: no inference
        self.must_have(m=(2, 1))

    def test_an_asynchronous_generator_is_too(self):
        @self.profiler.profile("m")
        async def count(most):
            for number in range(most):
                await asyncio.sleep(0)
                if (yield number) == "stop":
                    raise RuntimeError("stopped")
        self.assertTrue(inspect.isasyncgenfunction(count))

        async def main():
            self.assertEqual([number async for number in count(3)], [0, 1, 2])
            left = count(3)
            self.assertEqual(await left.asend(None), 0)
            await left.aclose()
            failing = count(3)
            await failing.asend(None)
            with self.assertRaises(RuntimeError):
                await failing.asend("stop")
        asyncio.run(main())
        self.must_have(m=(3, 1))


class Questions(ProfilerCase):
    def test_the_report_has_the_models_or_says_that_there_are_none(self):
        self.assertIn("No profiling data collected", self.profiler.generate_report())
        with self.profiler.track("scorer"):
            pass
        report = self.profiler.generate_report()
        self.assertIn("ACGS-2 MODEL PROFILING REPORT", report)
        self.assertIn("scorer", report)
        self.assertNotIn("No profiling data collected", report)

    def test_a_second_profiler_sees_the_same_models(self):
        with self.profiler.track("m"):
            pass
        self.must_have(m=1)
        other = ModelProfiler(True, 10, client=self.client(), evidence="none")
        self.assertEqual(other.get_metrics("m").sample_count, 1)

    def test_reset_of_one_of_all_and_of_none(self):
        for name in ("a", "b", "c"):
            with self.profiler.track(name):
                pass
        self.profiler.reset("a")
        self.profiler.reset("unknown")
        self.assertIsNone(self.profiler.get_metrics("a"))
        self.must_have(b=1, c=1)
        self.profiler.reset()
        self.must_have()

    def test_unknown_models_are_none(self):
        for name in ("never", "", "a/b?c&d=e", "x" * 1000, Unprintable()):
            self.assertIsNone(self.profiler.get_metrics(name))

    def test_reset_without_the_admin_socket_is_silent(self):
        with self.profiler.track("m"):
            pass
        (self.daemon.directory / "admin.sock").unlink()
        self.profiler.reset()
        self.must_have(m=1)


class Without(ClientCase):
    """A daemon, but not for these."""

    def test_without_a_daemon_there_is_no_data(self):
        profiler = ModelProfiler(client=self.client(directory=str(self.directory() / "none")))
        with profiler.track("m"):
            pass
        self.assertIsNone(profiler.get_metrics("m"))
        self.assertEqual(profiler.get_all_metrics(), {})
        self.assertIn("No profiling data collected", profiler.generate_report())
        self.assertIsNone(profiler.reset())

    def test_what_is_recorded_while_it_is_away_is_counted_when_it_is_back(self):
        place = self.directory() / "d"
        client = self.client(directory=str(place), keep_s=0.05)
        profiler = ModelProfiler(client=client, evidence="none")
        with profiler.track("m"):
            pass
        until(lambda: client.away, "it gives up")
        for number in range(10):
            with profiler.track("m", **({"batch_size": 1} if number % 2 else {})):
                pass
        until(lambda: client.stats()["dropped"] == 11, "all are given up")
        daemon = self.start(directory=place)
        until(lambda: not client.away, "it finds the daemon")
        with profiler.track("m"):
            pass
        self.assertEqual(profiler.get_metrics("m").sample_count, 1)
        self.assertEqual(int(daemon.metrics().get("dwelld_client_dropped_total", client="dwell-python/0.1.0")), 11)
        self.assertEqual(int(daemon.metrics().get("dwelld_client_lost_total", client="dwell-python/0.1.0")), 0)

    def test_answers_that_are_none(self):
        for answer in (None, [], 5, "x", {}, {"models": None}, {"models": [1]}, {"models": [{"latency": 3}]}):
            with self.subTest(answer=answer):
                profiler = ModelProfiler(client=self.client())
                saved, module._query.ask_json = module._query.ask_json, lambda *_, answer=answer, **__: answer
                try:
                    self.assertEqual((profiler.get_metrics("m"), profiler.get_all_metrics()), (None, {}))
                finally:
                    module._query.ask_json = saved

    def test_the_global_profiler_by_its_old_names(self):
        out = self.must_run(
            "import asyncio, dwell\n"
            "p = dwell.get_global_profiler()\n"
            "assert p is dwell.get_global_profiler()\n"
            "@dwell.profile_inference('m')\n"
            "def infer(): return 1\n"
            "infer()\n"
            "asyncio.run(dwell.profile_async_call('m', infer))\n"
            "print(p.get_metrics('m').sample_count)\n")
        self.assertEqual(out, "3\n")
        self.assertEqual(self.daemon.sample_count("m"), 3)

    def test_disabled_answers_as_without_a_daemon(self):
        out = self.must_run(
            "import dwell, threading\n"
            "p = dwell.get_global_profiler()\n"
            "with p.track('m'): pass\n"
            "@p.profile('m')\n"
            "def infer(): return 1\n"
            "print(infer(), p.get_metrics('m'), p.get_all_metrics(), p.reset(), threading.active_count())\n"
            "print(p.generate_report())\n", DWELL_DISABLED="1")
        self.assertEqual(out, "1 None {} None 1\nNo profiling data collected\n")

    def test_names_and_constants(self):
        self.assertEqual([(kind.name, kind.value) for kind in BottleneckType],
                         [("COMPUTE_BOUND", "compute_bound"), ("MEMORY_BOUND", "memory_bound"),
                          ("IO_BOUND", "io_bound"), ("UNKNOWN", "unknown")])
        self.assertEqual((ModelProfiler.CPU_COMPUTE_THRESHOLD, ModelProfiler.CPU_IO_THRESHOLD,
                          ModelProfiler.LATENCY_GPU_THRESHOLD_MS), (50.0, 20.0, 1.0))
        self.assertIsInstance(dwell.PSUTIL_AVAILABLE, bool)
        for name in ("BottleneckType", "InferenceMetrics", "ModelProfiler", "ProfilingMetrics", "get_global_profiler",
                     "profile_async_call", "profile_inference"):
            self.assertIn(name, dwell.__all__)
            self.assertIs(getattr(dwell, name), getattr(module, name))


class Golden(ClientCase):
    """The recorded cases: rows through `record`, resets through `reset`, and the daemon's answers as
    profiles."""
    sets = {}

    def setUp(self):
        pass

    def must_match(self, path):
        case = test_golden.Case(path)
        self.daemon = self.start(sets={"profiling.max_samples": case.cap})
        profiler = ModelProfiler(client=self.client())
        for rows, reset in case.parts():
            for row in rows:
                self.assertTrue(profiler.record(InferenceMetrics(
                    row["model"], row["execution_time_ms"], row["cpu_before"], row["cpu_during"],
                    row["memory_before"], row["memory_after"])))
            if reset is not None:
                profiler.reset(reset[0])
        profiles = profiler.get_all_metrics()
        self.assertEqual(set(profiles), {name for name, want in case.models.items() if name and want is not None})
        check = test_golden.TestGolden()
        for name, profile in profiles.items():
            with self.subTest(model=name):
                check.check_model(case, name, as_model(profile), with_rule(case.models[name]))
                self.assertEqual(profiler.get_metrics(name), profile)
        metrics = self.daemon.metrics()
        for name, want in case.prometheus.items():
            if name:
                check.check_metrics(metrics, name, want)
        refused = sum(row["model"] == "" for row in case.rows)
        self.assertEqual(self.ledger(), {"sent": len(case.rows), "accepted": len(case.rows) - refused,
                                         "rejected": refused, "dropped": 0, "lost": 0})


def as_model(profile):
    """In the shape that the daemon's own test compares."""
    latency = {f"{key}_ms": getattr(profile, f"latency_{key}_ms") for key in ("p50", "p95", "p99", "mean", "std", "min",
                                                                              "max")}
    return {"sample_count": profile.sample_count, "latency": latency,
            "cpu": {"avg_percent": profile.avg_cpu_percent, "peak_percent": profile.peak_cpu_percent},
            "memory": {"avg_mb": profile.avg_memory_mb, "peak_mb": profile.peak_memory_mb},
            "analysis": {"bottleneck_type": profile.bottleneck_type.value, "rule": None}}


def with_rule(want):
    """The rule is not part of a profile."""
    return {**want, "rule": None}


def _add_tests():
    for path in sorted(test_golden.CASES.glob("*.json")):
        name = "test_golden_" + path.stem.replace("-", "_").replace(".", "_")
        setattr(Golden, name, lambda self, path=path: self.must_match(path))


_add_tests()


if __name__ == "__main__":
    unittest.main()
