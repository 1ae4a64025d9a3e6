"""The load runner: its stages, its results, and the daemon's decision in them."""
import asyncio
import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import threading
import unittest

from client_case import PACKAGE, WAIT_S, ClientCase, environment, until

import dwell
from dwell import benchmark as module
from dwell.benchmark import GPUBenchmark
from dwell.profiler import ModelProfiler

MODELS = '''
import time
def burn():
    end = time.thread_time_ns() + 3_000_000
    while time.thread_time_ns() < end:
        pass
def wait():
    time.sleep(0.003)
def fail():
    raise ValueError("no")
class Kept:
    answer = staticmethod(wait)
number = 5
'''


class BenchmarkCase(ClientCase):
    def setUp(self):
        super().setUp()
        self.calls = []

    def model(self):
        self.calls.append(threading.get_ident())

    def benchmark(self, *numbers, models=None, **options):
        profiler = ModelProfiler(client=self.client(), evidence="cpu", evidence_percent=100)
        return GPUBenchmark(*numbers, models=models or {"m": self.model}, profiler=profiler, **options)


class Stages(BenchmarkCase):
    def test_warm_up_calls_and_counts_nothing(self):
        self.benchmark(5, 2, 7).run_warmup()
        self.assertEqual(len(self.calls), 7)
        self.assertEqual(self.daemon.models(), {})

    def test_sequential_calls_are_tracked_in_this_thread(self):
        def model():
            self.model()
            threading.Event().wait(0.005)  # which pays for evidence
        benchmark = self.benchmark(5, 2, 7, models={"m": model})
        stage = benchmark.run_sequential_benchmark()
        self.assertEqual(self.calls, [threading.get_ident()] * 5)
        self.assertEqual((stage["requests"], stage["errors"]), (5, 0))
        self.assertEqual(benchmark.profiler.get_metrics("m").sample_count, 5)
        self.assertEqual(self.daemon.models()["m"]["time"]["inferences"], 5)  # each with evidence

    def test_concurrent_calls_are_as_many_by_as_many_threads(self):
        together = threading.Barrier(3)
        benchmark = self.benchmark(6, 3, 0, models={"m": lambda: (self.model(), together.wait(WAIT_S))})
        stage = benchmark.run_concurrent_benchmark()
        self.assertEqual((stage["requests"], stage["errors"]), (6, 0))
        self.assertEqual((len(self.calls), len(set(self.calls))), (6, 3))
        self.assertEqual(self.daemon.models(), {})

    def test_a_model_that_raises_is_an_error_and_in_no_time(self):
        def fail_once():
            self.model()
            if len(self.calls) == 1:
                raise RuntimeError
        benchmark = self.benchmark(4, 2, 0, models={"m": fail_once})
        stage = benchmark.run_sequential_benchmark()
        self.assertEqual((stage["requests"], stage["errors"]), (3, 1))
        self.assertEqual(benchmark.profiler.get_metrics("m").errors, 1)

    def test_coroutine_functions_are_awaited(self):
        async def model():
            await asyncio.sleep(0.005)
            self.model()
        results = self.benchmark(3, 2, 1, models={"m": model}).run()
        self.assertEqual(len(self.calls), 1 + 3 + 3)
        self.assertEqual(results["benchmark_info"]["sequential"]["errors"], 0)
        self.assertEqual(self.daemon.models()["m"]["time"]["inferences"], 3)

    def test_progress_counts_to_the_end_of_each_stage(self):
        told = []
        self.benchmark(3, 2, 1, models={"a": self.model, "b": self.model},
                       progress=lambda *step: told.append(step)).run()
        for stage, total in (("warm-up", 2), ("sequential", 6), ("concurrent", 6)):
            self.assertEqual(sorted(step[1:] for step in told if step[0] == stage),
                             [(done, total) for done in range(1, total + 1)])

    def test_numbers_have_limits(self):
        most = {"num_samples": module.SAMPLES_MAX, "concurrency": module.CONCURRENCY_MAX,
                "warmup_samples": module.SAMPLES_MAX}
        for name, limit in most.items():
            for good in (1, limit):
                self.assertEqual(getattr(GPUBenchmark(**{name: good}), name), good)
            for bad in (-1, limit + 1, 1.5, "4", None):
                with self.assertRaises(ValueError, msg=(name, bad)):
                    GPUBenchmark(**{name: bad})
        with self.assertRaises(ValueError):
            GPUBenchmark(models={})
        self.assertEqual(GPUBenchmark(warmup_samples=0).warmup_samples, 0)
        default = dwell.GPUBenchmark()
        self.assertEqual((default.num_samples, default.concurrency, default.warmup_samples), (200, 4, 20))


class Results(BenchmarkCase):
    def test_the_decision_is_the_daemon_s(self):
        names = {}
        exec(MODELS, names)
        self.daemon.send({"model_name": "another", "execution_time_ms": 5, "cpu_percent_during": 100})
        benchmark, answers = self.benchmark(400, 2, 1, models={"burn": names["burn"], "wait": names["wait"]}), []
        ask = benchmark._ask
        benchmark._ask = lambda: answers.append(ask()) or answers[-1]
        results = benchmark.run()
        self.assertEqual(list(results), ["benchmark_info", "throughput", "gpu_decision_matrix", "summary"])
        said = answers[-1]  # a verdict may change a second later
        self.assertEqual(set(said), {"another", "burn", "wait"})
        self.assertEqual([row["model_name"] for row in results["gpu_decision_matrix"]], ["burn", "wait"])
        for row in results["gpu_decision_matrix"]:
            for ours, theirs in (("gpu_decision", "decision"), ("bottleneck_type", "bottleneck_type"),
                                 ("reason", "reason"), ("max_speedup", "max_speedup")):
                self.assertEqual(row[ours], said[row["model_name"]][theirs])
        summary = results["summary"]
        helped = [row["model_name"]
            for row in results["gpu_decision_matrix"] if row["gpu_decision"] == "yes"]
        self.assertEqual(summary["overall_recommendation"], "EVALUATE_GPU" if helped else "KEEP_CPU")
        self.assertIn(results["gpu_decision_matrix"][1]["gpu_decision"], ("no", "insufficient"))  # it may be starved
        throughput = results["throughput"]
        self.assertAlmostEqual(throughput["concurrency_scaling"],
                               throughput["concurrent_rps"] / throughput["sequential_rps"])
        self.assertEqual(json.loads(json.dumps(results, allow_nan=False)), results)

    def test_evaluate_gpu_for_what_computes(self):
        for decision, overall in (("yes", "EVALUATE_GPU"), ("no", "KEEP_CPU"),
                                  ("insufficient", "KEEP_CPU")):
            row = {"model_name": "m", "gpu_decision": decision, "reason": "so it is", "action_item": "Do"}
            self.assertEqual(module._summary([row], True), {"overall_recommendation": overall,
                                                            "reasons": ["m: so it is"], "action_items": ["Do: m"]})

    def test_quantiles_are_exact(self):
        latency = module._latency([number / 1e3 for number in range(20, 0, -1)])
        for key, want in (("p50_ms", 10), ("p90_ms", 18), ("p95_ms", 19), ("p99_ms", 20), ("min_ms", 1), ("max_ms", 20),
                          ("mean_ms", 10.5)):
            self.assertAlmostEqual(latency[key], want, msg=key)
        self.assertEqual(module._latency([0.001])["p99_ms"], 1)
        self.assertEqual(set(module._latency([]).values()), {None})

    def test_without_a_daemon_nothing_is_decided(self):
        profiler = ModelProfiler(client=self.client(directory=str(self.directory())))
        results = GPUBenchmark(2, 1, 0, models={"m": self.model}, profiler=profiler).run()
        self.assertFalse(results["benchmark_info"]["daemon"])
        [row] = results["gpu_decision_matrix"]
        self.assertEqual((row["gpu_decision"], row["bottleneck_type"]), ("insufficient", "unknown"))
        self.assertEqual(results["summary"]["overall_recommendation"], "KEEP_CPU")

    def test_a_model_that_always_fails_has_no_figures(self):
        def fail():
            raise OSError
        results = self.benchmark(2, 2, 1, models={"m": fail}).run()
        self.assertEqual(results["throughput"], {"sequential_rps": None, "concurrent_rps": 0.0,
                                                 "concurrency_scaling": None})
        self.assertEqual(results["benchmark_info"]["concurrent"]["errors"], 2)

    def test_results_go_into_a_file_or_nowhere(self):
        place = self.directory()
        benchmark = self.benchmark(1, 1, 0)
        path = str(place / "r.json")
        self.assertEqual(benchmark.save_results({"a": "é"}, path), path)
        self.assertEqual(json.loads(pathlib.Path(path).read_text(encoding="utf-8")), {"a": "é"})
        before = os.listdir(place)
        self.assertIsNone(benchmark.save_results({"a": 1}))
        self.assertEqual(os.listdir(place), before)
        with self.assertRaises(OSError):
            benchmark.save_results({}, str(place / "none" / "r.json"))


class Command(ClientCase):
    def must_exit(self, status, *arguments, **environ):
        place = self.directory()
        (place / "models_of_test.py").write_text(MODELS)
        paths = {"PYTHONPATH": f"{PACKAGE}{os.pathsep}{place}", "DWELL_DIR": str(self.daemon.directory)}
        done = subprocess.run([sys.executable, "-B", "-m", "dwell.benchmark", *arguments], cwd=place, check=False,
                              capture_output=True, text=True, timeout=3 * WAIT_S,
                              env=environment(**{**paths, **environ}))
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def test_a_model_that_waits_keeps_the_cpu(self):
        output = self.directory() / "r.json"
        done = self.must_exit(0, "--samples", "35", "--concurrency", "2", "--warmup", "1", "--output", str(output),
                              "slow=models_of_test:wait")
        self.assertIn("KEEP_CPU", done.stdout)
        self.assertIn("concurrent: 35 of 35\n", done.stderr)
        results = json.loads(output.read_text())
        self.assertEqual(results["benchmark_info"]["models"], ["slow"])
        self.assertEqual(self.daemon.sample_count("slow"), 35)

    def test_a_daemon_that_says_yes_is_exit_status_1(self):
        self.daemon.send(*[{"model_name": "wait", "execution_time_ms": 50, "cpu_percent_during": 100, "user_ms": 50,
                            "system_ms": 0, "runqueue_ms": 0}] * 2000)
        until(lambda: [model["decision"] for model in self.daemon.get("/api/v1/decision").json["models"]] == ["yes"],
              "it has its verdict")
        done = self.must_exit(1, "--samples", "1", "--concurrency", "1", "--warmup", "0", "--json", "--quiet",
                              "models_of_test:wait")
        self.assertEqual(json.loads(done.stdout)["summary"]["overall_recommendation"], "EVALUATE_GPU")
        self.assertEqual(done.stderr, "")

    def test_models_of_the_standard_library_run_without_any_named(self):
        done = self.must_exit(69, "--samples", "1", "--concurrency", "2", "--warmup", "0", "--json", "--quiet",
                              DWELL_DISABLED="1")
        results = json.loads(done.stdout)
        self.assertEqual(results["benchmark_info"]["models"], ["hashing", "sorting", "sleeping", "reading"])
        self.assertEqual(results["benchmark_info"]["concurrent"]["errors"], 0)

    def test_wrong_arguments_are_exit_status_64(self):
        for arguments in (["--samples", "0"], ["--samples", "x"], ["--none"], ["dwell"], ["nothing:wait"],
                          ["dwell:nothing"], ["dwell:__version__"], ["a="], ["--concurrency", "257", "dwell:client"]):
            told = io.StringIO()
            with self.subTest(arguments), self.assertRaises(SystemExit) as left, contextlib.redirect_stderr(told):
                module.main(arguments)
            self.assertEqual(left.exception.code, 64)
            self.assertIn("usage: ", told.getvalue())

    def test_a_file_that_cannot_be_made_is_exit_status_73(self):
        done = self.must_exit(73, "--samples", "1", "--concurrency", "1", "--warmup", "0", "--output",
                              str(self.directory() / "none" / "r.json"), "models_of_test:Kept.answer")
        self.assertIn("No such file or directory", done.stderr)


if __name__ == "__main__":
    unittest.main()
