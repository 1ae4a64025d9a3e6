"""A load runner for one question: would a GPU help these models?

    python -m dwell.benchmark [--samples N] [--concurrency N] [--warmup N] [--output FILE]
    [[NAME=]MODULE:FUNCTION ...]

    results = GPUBenchmark(models={"scorer": lambda: score(text)}).run()

Happy path:
    1. `run_warmup` calls each model, and counts nothing
    2. `run_sequential_benchmark` calls them one at a time, tracked, with evidence
    3. `run_concurrent_benchmark` calls them from several threads at once, for throughput only: under load
       the models take each other's time, which says nothing about one of them
    4. the daemon is asked for its decision; `save_results` writes the whole as JSON

Latencies are of a closed loop: a worker calls again when it has its answer, so what users would have waited
behind a slow call is in none of them. Quantile q of n is the ceil(q * n)-th smallest.

What can fail: a model that raises is counted as an error and its time left out; without a daemon there is
no decision, which is told as a reason to stay on the CPU, and by exit status 69. Exit status 1 means
EVALUATE_GPU. The daemon judges its whole window: what it saw of a model before the run counts too.
"""
import argparse
import asyncio
import datetime
import importlib
import inspect
import itertools
import json
import math
import os
import platform
import sys
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, NoReturn, Optional, Sequence

from . import _query, _workload
from ._version import VERSION
from .profiler import ModelProfiler

SAMPLES_MAX = 1_000_000  # of each model and stage: 8 MB of latencies
CONCURRENCY_MAX = 256    # above it a load generator measures itself
FLUSH_S = 10.0           # for the daemon to take the last samples, on a machine that does something else
VERDICT_S = 3.0  # that a verdict may come after the last call: the daemon looks at new models once a second
ASK_S = 0.1

KEEP_CPU, EVALUATE_GPU = "KEEP_CPU", "EVALUATE_GPU"
EXIT_EVALUATE, EXIT_USAGE, EXIT_UNAVAILABLE, EXIT_CANNOT_CREATE = 1, 64, 69, 73

Model = Callable[[], Any]
Progress = Callable[[str, int, int], None]  # stage, calls that are over, calls in all


class GPUBenchmark:
    """Runs models under load. `models` are functions without arguments, plain or coroutine functions, by
    name; without any, some of the standard library's kind are run. `progress(stage, done, total)` is called
    after each call, from any of the workers. Raises ValueError for numbers out of range; samples 1 to
    SAMPLES_MAX, concurrency 1 to CONCURRENCY_MAX, warm-up 0 to SAMPLES_MAX. One thread may use it at a
    time."""

    def __init__(self, num_samples: int = 200, concurrency: int = 4, warmup_samples: int = 20, *,
                 models: Optional[Mapping[str, Model]] = None, profiler: Optional[ModelProfiler] = None,
                 progress: Optional[Progress] = None) -> None:
        for name, number, least, most in (("num_samples", num_samples, 1, SAMPLES_MAX),
                                          ("concurrency", concurrency, 1, CONCURRENCY_MAX),
                                          ("warmup_samples", warmup_samples, 0, SAMPLES_MAX)):
            if not isinstance(number, int) or not least <= number <= most:
                raise ValueError(f"{name}: expects {least} to {most}, got {number!r}")
        self.num_samples, self.concurrency, self.warmup_samples = num_samples, concurrency, warmup_samples
        self.models = dict(_workload.MODELS if models is None else models)
        if not self.models:
            raise ValueError("models: expects one or more, got none")
        self.profiler = profiler or ModelProfiler(evidence="cpu", evidence_percent=100)
        self._progress = progress or (lambda stage, done, total: None)

    # ---- stages ----

    def run_warmup(self) -> None:
        """Calls each model `warmup_samples` times. Nothing is recorded, exceptions are not looked at."""
        total, done = self.warmup_samples * len(self.models), itertools.count(1)
        for model in self.models.values():
            with _Caller(model) as call:
                for _ in range(self.warmup_samples):
                    try:
                        call()
                    except Exception:
                        pass  # the stages that count will tell
                    self._progress("warm-up", next(done), total)

    def run_sequential_benchmark(self) -> Dict[str, Any]:
        """`num_samples` calls of each model, one at a time: {"requests", "errors", "elapsed_seconds",
        "rps", "latency"}, the latter by model; rps is over the sum of latencies."""
        total, done = self.num_samples * len(self.models), itertools.count(1)
        times: Dict[str, List[float]] = {name: [] for name in self.models}
        begun = time.perf_counter()
        for name, model in self.models.items():
            with _Caller(model) as call:
                for _ in range(self.num_samples):
                    try:
                        with self.profiler.track(name):
                            start = time.perf_counter()
                            call()
                            taken = time.perf_counter() - start
                        times[name].append(taken)
                    except Exception:
                        pass  # counted by its absence
                    self._progress("sequential", next(done), total)
        elapsed = time.perf_counter() - begun
        requests = sum(map(len, times.values()))
        return {"requests": requests, "errors": total - requests, "elapsed_seconds": elapsed,
                "rps": _ratio(requests, math.fsum(itertools.chain(*times.values()))),
                "latency": {name: _latency(of_model) for name, of_model in times.items()}}

    def run_concurrent_benchmark(self) -> Dict[str, Any]:
        """`num_samples` calls of each model by `concurrency` threads, each taking the next when it is free:
        {"requests", "errors", "elapsed_seconds", "rps"}."""
        names = list(self.models) * self.num_samples
        following, done, went_well = itertools.count(), itertools.count(1), itertools.count()
        start = threading.Barrier(self.concurrency + 1)

        def work(callers: Mapping[str, _Caller]) -> None:
            start.wait()
            for at in following:
                if at >= len(names):
                    break
                try:
                    callers[names[at]]()
                    next(went_well)
                except Exception:
                    pass  # counted by its absence
                self._progress("concurrent", next(done), len(names))
            for caller in callers.values():
                caller.close()
        workers = []
        for number in range(self.concurrency):
            callers = {name: _Caller(model) for name, model in self.models.items()}
            workers.append(threading.Thread(target=work, args=(callers,), name=f"dwell-benchmark-{number}",
                                            daemon=True))
        try:
            for worker in workers:
                worker.start()
            start.wait()
        except BaseException:
            start.abort()  # no thread can be had: those that are there end
            raise
        begun = time.perf_counter()
        for worker in workers:
            worker.join()
        elapsed = time.perf_counter() - begun
        requests = next(went_well)
        return {"requests": requests, "errors": len(names) - requests, "elapsed_seconds": elapsed,
                "rps": _ratio(requests, elapsed)}

    def run(self) -> Dict[str, Any]:
        """All stages, and the daemon's decision: {"benchmark_info", "throughput", "gpu_decision_matrix",
        "summary"}, of which all numbers are finite or None."""
        begun = datetime.datetime.now(datetime.timezone.utc)
        self.run_warmup()
        sequential = self.run_sequential_benchmark()
        concurrent = self.run_concurrent_benchmark() if self.concurrency > 1 else sequential
        decisions = self._decisions()
        matrix = [_row(name, sequential["latency"][name], decisions) for name in self.models]
        return {
            "benchmark_info": {
                "version": VERSION, "started": begun.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "models": list(self.models),
                "samples": self.num_samples, "concurrency": self.concurrency, "warmup": self.warmup_samples,
                "cpus": os.cpu_count(), "python": platform.python_version(), "load_model": "closed",
                "sequential": {key: sequential[key] for key in ("requests", "errors", "elapsed_seconds")},
                "concurrent": {key: concurrent[key] for key in ("requests", "errors", "elapsed_seconds")},
                "daemon": decisions is not None},
            "throughput": {
                "sequential_rps": sequential["rps"], "concurrent_rps": concurrent["rps"],
                "concurrency_scaling": _ratio(concurrent["rps"], sequential["rps"])},
            "gpu_decision_matrix": matrix,
            "summary": _summary(matrix, decisions is not None)}

    def save_results(self, results: Mapping[str, Any], output_path: Optional[str] = None) -> Optional[str]:
        """Writes them as JSON, and returns the path; without one nothing is written. Raises OSError."""
        if output_path is None:
            return None
        with open(output_path, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2, ensure_ascii=False)
            file.write("\n")
        return output_path

    def _decisions(self) -> Optional[Dict[str, Dict[str, Any]]]:
        """What the daemon says of each model, once it has a verdict on all of them or will not soon; None
        without one."""
        self.profiler.client.flush(FLUSH_S)
        deadline = time.monotonic() + VERDICT_S
        decisions = self._ask()
        while decisions is not None and self._waits_for(decisions) and time.monotonic() < deadline:
            time.sleep(ASK_S)
            decisions = self._ask()
        return decisions

    def _ask(self) -> Optional[Dict[str, Dict[str, Any]]]:
        answer = _query.ask_json("/api/v1/decision", directory=self.profiler.client.directory)
        try:
            return {model["model_name"]: model for model in reversed(answer["models"])}
        except (KeyError, TypeError):
            return None

    def _waits_for(self, decisions: Mapping[str, Mapping[str, Any]]) -> bool:
        return any(decisions[name].get("bottleneck_type") == "unknown" for name in self.models if name in decisions)


class _Caller:
    """Calls a model; a coroutine function in a loop of its own, so that the thread's figures are the
    model's."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._loop: Any = asyncio.new_event_loop() if inspect.iscoroutinefunction(model) else None

    def __call__(self) -> Any:
        return self._model() if self._loop is None else self._loop.run_until_complete(self._model())

    def __enter__(self) -> "_Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._loop is not None:
            self._loop.close()


# ---- figures ----

def _ratio(part: Optional[float], whole: Optional[float]) -> Optional[float]:
    return part / whole if part is not None and whole else None


def _latency(times_s: Sequence[float]) -> Dict[str, Optional[float]]:
    """In ms; None where no call went well."""
    times, count = sorted(times_s), len(times_s)
    if not count:
        return dict.fromkeys(("p50_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms", "min_ms", "max_ms"))
    told: Dict[str, Optional[float]] = {f"p{percent}_ms": 1e3 * times[-(-percent * count // 100) - 1]
                                        for percent in (50, 90, 95, 99)}
    told.update(mean_ms=1e3 * math.fsum(times) / count, min_ms=1e3 * times[0], max_ms=1e3 * times[-1])
    return told


def _row(name: str, latency: Mapping[str, Optional[float]],
         decisions: Optional[Mapping[str, Any]]) -> Dict[str, Any]:
    said = (decisions or {}).get(name)
    if said is None:
        reason = "no daemon answered" if decisions is None else "the daemon has no sample of it"
        said = {"bottleneck_type": "unknown", "decision": "insufficient", "reason": reason}
    return {"model_name": name, "bottleneck_type": said["bottleneck_type"], "reason": said["reason"],
            "gpu_decision": said["decision"], "action_item": said.get("action_item"),
            "max_speedup": said.get("max_speedup"), "confidence": said.get("confidence"),
            "cpu_percent": said.get("cpu_avg_percent"), **latency}


def _summary(matrix: Sequence[Mapping[str, Any]], daemon: bool) -> Dict[str, Any]:
    if not daemon:
        return {"overall_recommendation": KEEP_CPU,
                "reasons": ["No daemon answered, so nothing says that a GPU would help."],
                "action_items": ["Start dwelld and run it again."]}
    helped = [row for row in matrix if row["gpu_decision"] == "yes"]
    items: Dict[str, List[str]] = {}
    for row in matrix:
        if row["action_item"]:
            items.setdefault(row["action_item"], []).append(row["model_name"])
    return {"overall_recommendation": EVALUATE_GPU if helped else KEEP_CPU,
            "reasons": [f"{row['model_name']}: {row['reason']}" for row in helped or matrix],
            "action_items": [f"{item}: {', '.join(names)}" for item, names in items.items()]}


# ---- the command ----

class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.format_usage()}{self.prog}: {message}\n")


def _model_of(parser: _Parser, words: str) -> "tuple[str, Model]":
    """Of [NAME=]MODULE:FUNCTION."""
    name, _, target = words.rpartition("=")
    module, _, path = target.partition(":")
    if not module or not path:
        parser.error(f"expects [NAME=]MODULE:FUNCTION, got {words!r}")
    try:
        model: Any = importlib.import_module(module)
        for part in path.split("."):
            model = getattr(model, part)
    except Exception as error:
        parser.error(f"{words}: {type(error).__name__}: {error}")
    if not callable(model):
        parser.error(f"{words}: cannot be called")
    return name or path, model


class _ProgressLine:
    """How far it is, on standard error: a line that is written over on a terminal, one a stage
    elsewhere."""
    EVERY_S = 0.1

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._due = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or (self._terminal and now >= self._due):
            self._due = now + self.EVERY_S
            begin, end = ("\r", "\n" if done == total else "") if self._terminal else ("", "\n")
            print(f"{begin}{stage}: {done} of {total}", end=end, file=sys.stderr, flush=True)


def _cell(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.2f}"


def _print_results(results: Mapping[str, Any]) -> None:
    print(f"{'MODEL':<24} {'BOTTLENECK':<14} {'P50 ms':>10} {'P99 ms':>10} {'CPU %':>7}  GPU?")
    for row in results["gpu_decision_matrix"]:
        name = "".join(letter if letter.isprintable() else "?" for letter in row["model_name"])
        print(f"{name:<24} {row['bottleneck_type']:<14} {_cell(row['p50_ms']):>10} "
              f"{_cell(row['p99_ms']):>10} {_cell(row['cpu_percent']):>7}  {row['gpu_decision']}")
    throughput, summary = results["throughput"], results["summary"]
    print(f"\nsequential {_cell(throughput['sequential_rps'])} calls/s, concurrent "
          f"{_cell(throughput['concurrent_rps'])} calls/s: "
          f"{_cell(throughput['concurrency_scaling'])} times as many")
    print(f"\n{summary['overall_recommendation']}")
    for line in (*summary["reasons"], *summary["action_items"]):
        print("  " + "".join(letter if letter.isprintable() else "?" for letter in line))


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = _Parser(prog="python -m dwell.benchmark", description="Would a GPU help these models?")
    parser.add_argument("--samples", type=int, default=200, help="calls of each model and stage (200)")
    parser.add_argument("--concurrency", type=int, default=4, help="threads of the concurrent stage (4)")
    parser.add_argument("--warmup", type=int, default=20, help="calls of each model that do not count (20)")
    parser.add_argument("--output", metavar="FILE", help="where the results go as JSON")
    parser.add_argument("--json", action="store_true", help="print them as JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    parser.add_argument("models", nargs="*", metavar="[NAME=]MODULE:FUNCTION",
                        help="what to call, without arguments; none: work of the standard library")
    options = parser.parse_args(arguments)
    models = dict(_model_of(parser, words) for words in options.models) or None
    try:
        benchmark = GPUBenchmark(options.samples, options.concurrency, options.warmup, models=models,
                                 progress=None if options.quiet else _ProgressLine())
    except ValueError as error:
        parser.error(str(error))
    results = benchmark.run()
    if options.json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
    else:
        _print_results(results)
    try:
        benchmark.save_results(results, options.output)
    except OSError as error:
        print(f"{options.output}: {error.strerror}", file=sys.stderr)
        return EXIT_CANNOT_CREATE
    if not results["benchmark_info"]["daemon"]:
        print("No daemon answered: start dwelld and run it again.", file=sys.stderr)
        return EXIT_UNAVAILABLE
    return EXIT_EVALUATE if results["summary"]["overall_recommendation"] == EVALUATE_GPU else 0


if __name__ == "__main__":
    sys.exit(main())
