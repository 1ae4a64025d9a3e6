"""Measures inferences, and asks the daemon what it makes of them.

    profiler = dwell.get_global_profiler()
    with profiler.track("resnet50"):
        infer(image)

    @profiler.profile("resnet50")       # also of coroutine functions, generators and async generators
    def infer(image): ...

    print(profiler.generate_report())

Happy path:
    1. `track` finds the model, which has encoded once what all of its samples share
    2. when the block ends, its time becomes a record, which waits with the client (_client.py)
    3. once the model's inferences have paid for it, one of them also carries evidence (_evidence.py)
    4. `get_metrics`, `generate_report` and their like send what waits, then ask the daemon

An inference that raises is recorded as an error, unless it was cancelled or closed (CancelledError,
GeneratorExit); the exception passes on as it is. Time is that of the monotonic clock.

What can fail: a name whose `str` raises, a time that is no number, memory: the sample is dropped and
counted, and the block runs as without us. No daemon: queries answer as if there were no data, and recording
only counts.

Threads: all may be called from any thread at once. Queries wait for the daemon: 1 s for what is still to be
sent and 5 s for the answer, at most; everything else never waits.
"""
import dataclasses
import datetime
import enum
import functools
import importlib.util
import inspect
import math
import os
import sys
import threading
import time
from typing import (Any, AsyncGenerator, Callable, Dict, Generator, List, Mapping, Optional, Type, TypeVar,
                    Union, cast)

from . import _client, _query, _wire
from ._client import PLACE_BYTES, STEP_MASK, Client
from ._coroutine import like
from ._evidence import NEVER_NS, NONE, Meter, Reading
from ._native import speed as _speed

NO_DATA = "No profiling data collected"
MODELS_MAX = 1024  # kept encoded, as the C client does; the daemon has its own ceiling, 1000 by default
FLUSH_S = 1.0      # that a query waits for what is still to be sent

_now_ns = time.perf_counter_ns
_cpu_ns = time.thread_time_ns if hasattr(time, "thread_time_ns") else time.perf_counter_ns

F = TypeVar("F", bound=Callable[..., Any])


def _psutil_is_there() -> bool:
    try:
        return importlib.util.find_spec("psutil") is not None
    except (ImportError, ValueError):
        return False


PSUTIL_AVAILABLE = _psutil_is_there()  # nothing here needs it


class BottleneckType(enum.Enum):
    COMPUTE_BOUND = "compute_bound"
    MEMORY_BOUND = "memory_bound"
    IO_BOUND = "io_bound"
    UNKNOWN = "unknown"


def _utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


@dataclasses.dataclass
class InferenceMetrics:
    """One inference that was measured elsewhere, for `ModelProfiler.record`.

    CPU in percent of one core, memory in MiB, times in ms. `evidence` holds numbers by their names in
    proto/WIRE.md (`user_ms`, `runqueue_ms`, `thread_id`, …). A timestamp without zone is UTC. Nothing is
    checked here; the daemon judges, and counts what it rejects.
    """
    model_name: str
    execution_time_ms: float
    cpu_percent_before: Optional[float] = None
    cpu_percent_during: Optional[float] = None
    memory_mb_before: Optional[float] = None
    memory_mb_after: Optional[float] = None
    timestamp: datetime.datetime = dataclasses.field(default_factory=_utc_now)
    error: bool = False
    error_text: Optional[str] = None
    device: Optional[str] = None
    queue_ms: Optional[float] = None
    batch_size: Optional[float] = None
    labels: Optional[Mapping[str, str]] = None
    trace_id: Optional[str] = None
    span_id: Optional[str] = None
    evidence: Optional[Mapping[str, float]] = None

    @property
    def memory_delta_mb(self) -> float:
        """0 where one of the two is not known."""
        if self.memory_mb_after is None or self.memory_mb_before is None:
            return 0.0
        return self.memory_mb_after - self.memory_mb_before

    @property
    def cpu_delta(self) -> float:
        """0 where one of the two is not known."""
        if self.cpu_percent_during is None or self.cpu_percent_before is None:
            return 0.0
        return self.cpu_percent_during - self.cpu_percent_before


@dataclasses.dataclass
class ProfilingMetrics:
    """What the daemon knows of one model in its window, in full precision. A float that is not known is
    NaN, and None in `to_dict`, which rounds times to 3, percentages to 1 and memory to 2 decimals."""
    model_name: str
    sample_count: int
    latency_p50_ms: float
    latency_p95_ms: float
    latency_p99_ms: float
    latency_mean_ms: float
    latency_std_ms: float
    avg_cpu_percent: float
    peak_cpu_percent: float
    avg_memory_mb: float
    peak_memory_mb: float
    bottleneck_type: BottleneckType
    gpu_recommendation: str
    latency_p90_ms: float = math.nan
    latency_p999_ms: float = math.nan
    latency_min_ms: float = math.nan
    latency_max_ms: float = math.nan
    errors: int = 0
    gpu_decision: str = "insufficient"
    reason: str = ""
    window: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> Dict[str, Any]:
        latency = {f"{key}_ms": _rounded(getattr(self, f"latency_{key}_ms"), 3)
                   for key in ("p50", "p90", "p95", "p99", "p999", "mean", "std", "min", "max")}
        return {
            "model_name": self.model_name,
            "sample_count": self.sample_count,
            "errors": self.errors,
            "latency": latency,
            "cpu": {"avg_percent": _rounded(self.avg_cpu_percent, 1),
                    "peak_percent": _rounded(self.peak_cpu_percent, 1)},
            "memory": {"avg_mb": _rounded(self.avg_memory_mb, 2),
                       "peak_mb": _rounded(self.peak_memory_mb, 2)},
            "analysis": {"bottleneck_type": self.bottleneck_type.value,
                         "gpu_recommendation": self.gpu_recommendation}}


def _rounded(value: float, digits: int) -> Optional[float]:
    return None if math.isnan(value) else round(value, digits)


def _number(value: Optional[float]) -> float:
    return math.nan if value is None else float(value)


def _profile_of(model: Mapping[str, Any]) -> ProfilingMetrics:
    """Of a MODEL as /api/v1/models gives it. Raises KeyError, TypeError or ValueError when it is none."""
    latency, cpu, memory, analysis = model["latency"], model["cpu"], model["memory"], model["analysis"]
    return ProfilingMetrics(
        model_name=model["model_name"], sample_count=model["sample_count"], errors=model.get("errors", 0),
        **{f"latency_{key}_ms": _number(latency[f"{key}_ms"])
           for key in ("p50", "p90", "p95", "p99", "p999", "mean", "std", "min", "max")},
        avg_cpu_percent=_number(cpu["avg_percent"]), peak_cpu_percent=_number(cpu["peak_percent"]),
        avg_memory_mb=_number(memory["avg_mb"]), peak_memory_mb=_number(memory["peak_mb"]),
        bottleneck_type=BottleneckType(analysis["bottleneck_type"]),
        gpu_recommendation=analysis.get("gpu_recommendation") or "", gpu_decision=analysis["gpu_decision"],
        reason=analysis.get("reason") or "", window=model["window"], labels=model.get("labels") or {})


# ---- recording ----

def _is_error(kind: Type[BaseException]) -> bool:
    if issubclass(kind, GeneratorExit):
        return False
    exceptions = sys.modules.get("asyncio.exceptions")  # who has not imported it cannot be cancelled
    return exceptions is None or not issubclass(kind, exceptions.CancelledError)


_Account: Any = object if _speed is None else _speed.Account
_Profiler: Any = object if _speed is None else _speed.Profiler


_MODEL_SLOTS = ("name", "client", "meter", "pending", "append", "room", "plain", "head", "pack", "long")


class _Model(_Account):  # type: ignore[misc]
    """What all inferences of one model share."""
    __slots__ = (*_MODEL_SLOTS, *(("since_ns", "due_ns") if _speed is None else ()))

    def __init__(self, name: object, client: Client, meter: Meter) -> None:
        self.name = _wire.text(name).decode()
        self.client = client
        self.meter = meter
        self.pending, self.append, self.room = client.pending, client.pending.append, client.room
        self.plain = _wire.Plain(self.name)
        self.head, self.pack = self.plain.head, self.plain.pack
        self.long = len(self.head) + 16 >= PLACE_BYTES  # its samples take more than a place: for `put`
        if _speed is not None:
            super().__init__(self.head, self.plain._failed, client.pending, self.append, self.room, client.drop,
                             _is_error)
        self.since_ns = 0  # of inferences, since the last evidence
        self.due_ns = NEVER_NS


class _Tracking:
    """An inference of which only the time is told. Belongs to one block; many of them may be nested."""
    __slots__ = ("model", "start_ns")
    model: _Model
    start_ns: int

    def __enter__(self) -> "_Tracking":
        self.start_ns = _now_ns()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: object, traceback: object) -> None:
        end_ns = _now_ns()
        model = self.model
        try:
            wall_ns = end_ns - self.start_ns
            model.since_ns += wall_ns
            places = len(model.pending)
            if places & STEP_MASK == 0 and not model.room(places):
                return
            if kind is None:
                model.append(model.pack(model.head, wall_ns / 1e6))
            else:
                ms = wall_ns / 1e6
                model.append(model.plain.fail(ms) if _is_error(kind) else model.pack(model.head, ms))
        except Exception:
            model.client.drop()


class _Measured(_Tracking):
    """An inference of which more is told: evidence if it is due, and what the caller knows.

    A reading costs CPU time. The time that passes is no measure of it: the kernel looks whether a thread has had
    its turn when somebody reads its clock, so that beside busy neighbours many readings end with a wait."""
    __slots__ = ("more", "cost_ns", "before")
    more: Dict[str, Any]
    cost_ns: int  # of the first reading
    before: Optional[Reading]

    def __enter__(self) -> "_Tracking":
        model = self.model
        self.before = None
        if model.since_ns >= model.due_ns:
            model.since_ns = 0
            begun_ns = _cpu_ns()
            try:
                self.before = model.meter.begin()
            except Exception:
                pass  # such as a loop that is closed: no evidence
            self.cost_ns = _cpu_ns() - begun_ns
        self.start_ns = _now_ns()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: object, traceback: object) -> None:
        end_ns = _now_ns()
        model = self.model
        try:
            wall_ns = end_ns - self.start_ns
            fields = self.more
            ended_ns = _cpu_ns() if self.before is not None else 0
            if self.before is not None and wall_ns > 0:
                fields = {**(model.meter.end(self.before, wall_ns) or {}), **fields}
            if kind is not None and _is_error(kind):
                fields = {**fields, "error": True}
            model.client.put(_wire.sample(model.name, wall_ns / 1e6, **fields))
            if self.before is not None:
                model.meter.learn(self.cost_ns + _cpu_ns() - ended_ns)
                model.due_ns = model.meter.due_ns
            model.since_ns += wall_ns
        except Exception:
            model.client.drop()


class _Nothing:
    """An inference that is not recorded."""
    __slots__ = ()

    def __enter__(self) -> "_Nothing":
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        pass


_NOTHING = _Nothing()
_NO_FIELDS: Dict[str, Any] = {}


class _Models(Dict[Any, _Model]):
    """By name. Only text is kept as a key, since 1, 1.0 and True are the same one. What is not kept has no
    account of its time, and so no evidence."""

    def __init__(self, client: Client, meter: Meter) -> None:
        super().__init__()
        self.client = client
        self._meter = meter

    def __missing__(self, name: object) -> _Model:
        model = _Model(name, self.client, self._meter)
        if type(name) is str and len(self) < MODELS_MAX and not model.long:
            model.due_ns = 0 if self._meter.level != NONE else NEVER_NS  # the first one has evidence
            self[name] = model
        return model


class ModelProfiler(_Profiler):  # type: ignore[misc]
    """Records inferences and asks for profiles. All profilers of all processes share the daemon's store, so
    a second one sees the same models.

    `enable_prometheus` and `max_samples_per_model` are taken and left: the daemon always serves /metrics,
    and its option profiling.max_samples is the cap. `evidence` is "none", "cpu" or "full" (default:
    DWELL_EVIDENCE, else cpu); `evidence_percent`, more than 0 and at most 100, is the share of a model's
    inference time that evidence may cost (default: DWELL_EVIDENCE_PERCENT, else 1).
    """
    CPU_COMPUTE_THRESHOLD = 50.0    # percent; the daemon's defaults, told here for reference
    CPU_IO_THRESHOLD = 20.0
    LATENCY_GPU_THRESHOLD_MS = 1.0

    def __init__(self, enable_prometheus: bool = True, max_samples_per_model: int = 1000, *,
                 client: Optional[Client] = None, evidence: Optional[str] = None,
                 evidence_percent: Optional[float] = None) -> None:
        self.enable_prometheus = enable_prometheus
        self.max_samples_per_model = max_samples_per_model
        self.client: Any = client if client is not None else _client.client()
        self._models = _Models(self.client, Meter(evidence, evidence_percent))

    # ---- recording ----

    def track(self, model_name: object, **more: Any) -> Union[_Tracking, _Nothing]:
        """A context manager for one inference, its time from begin to end. Of the keywords `device`,
        `batch_size`, `queue_ms` (waited before it began), `labels`, `trace_id`, `span_id` (bytes), `flops`,
        `bytes_moved`, `threads` those given are sent with it. A name that is no text is what `str` makes of
        it."""
        client = self.client
        try:
            if client.away and not client.pending:
                client.room(0)
                return _NOTHING
            model = self._models[model_name]
        except TypeError:  # a key that cannot be one
            return self._track_odd(model_name, more)
        except Exception:
            client.drop()
            return _NOTHING
        if more or model.since_ns >= model.due_ns or model.long:
            measured = _Measured()
            measured.model = model
            measured.more = more or _NO_FIELDS
            return measured
        tracking = _Tracking()
        tracking.model = model
        return tracking

    def _track_odd(self, model_name: object, more: Dict[str, Any]) -> Union[_Tracking, _Nothing]:
        try:
            measured = _Measured()
            measured.model = self._models.__missing__(model_name)
            measured.more = more
            return measured
        except Exception:
            self.client.drop()
            return _NOTHING

    def record(self, metrics: InferenceMetrics) -> bool:
        """Takes an inference that was measured elsewhere. False: it was dropped, and counted."""
        client = self.client
        try:
            return bool(client.put(_record_of(metrics)))
        except Exception:
            client.drop()
            return False

    # ---- decorators ----

    def profile(self, model_name: object) -> Callable[[F], F]:
        """Decorator: each call is an inference. Of a coroutine function that is each awaited call; of a
        generator, plain or asynchronous, each one that was begun, with the time spent in it and not in its
        consumer."""
        def decorate(function: F) -> F:
            if isinstance(function, (classmethod, staticmethod)):
                inner: Any = type(function)(decorate(function.__func__))
                return cast(F, inner)
            return cast(F, self._wrapped(model_name, function))
        return decorate

    def profile_async(self, model_name: object) -> Callable[[F], F]:
        """Decorator whose result is a coroutine function, whatever the function is."""
        def decorate(function: F) -> F:
            return cast(F, self._wrapped_async(model_name, function))
        return decorate

    async def profile_async_call(self, model_name: object, func: Callable[..., Any], *args: Any,
                                 **kwargs: Any) -> Any:
        """Calls, and awaits what can be awaited. One inference."""
        with self.track(model_name):
            result = func(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result

    def _wrapped(self, model_name: object, function: Any) -> Any:
        kinds = (function, getattr(function, "__call__", None))
        if any(map(inspect.iscoroutinefunction, kinds)):
            return self._wrapped_async(model_name, function)
        if any(map(inspect.isasyncgenfunction, kinds)):
            return self._wrapped_async_generator(model_name, function)
        if any(map(inspect.isgeneratorfunction, kinds)):
            return self._wrapped_generator(model_name, function)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.track(model_name):
                return function(*args, **kwargs)
        return call

    def _wrapped_async(self, model_name: object, function: Any) -> Any:
        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            with self.track(model_name):
                result = function(*args, **kwargs)
                return await result if inspect.isawaitable(result) else result
        return call

    def _wrapped_generator(self, model_name: object, function: Any) -> Any:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            steps = _Steps(self, model_name)
            generator = function(*args, **kwargs)
            step, argument = generator.send, None
            try:
                while True:
                    with steps:
                        item = step(argument)
                    try:
                        argument = yield item
                        step = generator.send
                    except GeneratorExit:
                        with steps:
                            generator.close()
                        raise
                    except BaseException as error:  # of the consumer, by `throw`
                        step, argument = generator.throw, error
            except StopIteration as stop:
                steps.kind = None
                return stop.value
            finally:
                steps.record()
        return like(function, call)

    def _wrapped_async_generator(self, model_name: object, function: Any) -> Any:
        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            steps = _Steps(self, model_name)
            generator = function(*args, **kwargs)
            step, argument = generator.asend, None
            try:
                while True:
                    with steps:
                        item = await step(argument)
                    try:
                        argument = yield item
                        step = generator.asend
                    except GeneratorExit:
                        with steps:
                            await generator.aclose()
                        raise
                    except BaseException as error:
                        step, argument = generator.athrow, error
            except StopAsyncIteration:
                steps.kind = None
            finally:
                steps.record()
        return call

    # ---- asking ----

    def get_metrics(self, model_name: str) -> Optional[ProfilingMetrics]:
        """The profile of one model; None when it has no samples, or there is no daemon. Of a model with
        several label sets or devices the first."""
        try:
            found = self._ask(f"/api/v1/models?name={_query.quote(str(model_name))}")
        except Exception:
            return None
        return found[0] if found else None

    def get_all_metrics(self) -> Dict[str, ProfilingMetrics]:
        """All profiles by name; empty without a daemon."""
        profiles: Dict[str, ProfilingMetrics] = {}
        for profile in self._ask("/api/v1/models"):
            profiles.setdefault(profile.model_name, profile)
        return profiles

    def generate_report(self) -> str:
        """The daemon's report as text; contains NO_DATA when there is none, or no daemon."""
        self.client.flush(FLUSH_S)
        answer = _query.ask("/report", directory=self.client.directory)
        if answer is None or answer[0] != 200:
            return NO_DATA
        return str(answer[2], "utf-8", "replace")

    def reset(self, model_name: Optional[str] = None) -> None:
        """Forgets the window of one model, or of all; /metrics goes on. Silent for a model that is not
        known, and where admin.sock is out of reach."""
        try:
            which = "" if model_name is None else f"?name={_query.quote(str(model_name))}"
        except Exception:
            return
        self.client.flush(FLUSH_S)
        _query.ask(f"/api/v1/reset{which}", method="POST", directory=self.client.directory)

    def _ask(self, path: str) -> List[ProfilingMetrics]:
        self.client.flush(FLUSH_S)
        answer = _query.ask_json(path, directory=self.client.directory)
        try:
            return [_profile_of(model) for model in answer["models"]]
        except (KeyError, TypeError, ValueError):
            return []


if _speed is not None:  # its `track` asks this one for what it does not do itself
    ModelProfiler._track_any = ModelProfiler.track
    del ModelProfiler.track


class _Steps:
    """The inference that a generator is: the sum of its steps. As a context manager it measures one of
    them."""

    def __init__(self, profiler: ModelProfiler, model_name: object) -> None:
        self._profiler = profiler
        self._model_name = model_name
        self._sum_ns = 0
        self._start_ns = 0
        self.kind: Optional[Type[BaseException]] = None  # of what ended it

    def __enter__(self) -> None:
        self._start_ns = _now_ns()

    def __exit__(self, kind: Optional[Type[BaseException]], error: object, traceback: object) -> None:
        self._sum_ns += _now_ns() - self._start_ns
        self.kind = kind

    def record(self) -> None:
        client = self._profiler.client
        try:
            failed = self.kind is not None and _is_error(self.kind)
            client.put(_wire.sample(self._model_name, self._sum_ns / 1e6, error=failed))
        except Exception:
            client.drop()


def _record_of(metrics: InferenceMetrics) -> bytes:
    when = metrics.timestamp
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.timezone.utc)
    since = when - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    unix_us = (since.days * 86400 + since.seconds) * 10**6 + since.microseconds
    return bytes(_wire.sample(
        metrics.model_name, metrics.execution_time_ms, cpu_percent_before=metrics.cpu_percent_before,
        cpu_percent_during=metrics.cpu_percent_during, memory_mb_before=metrics.memory_mb_before,
        memory_mb_after=metrics.memory_mb_after, timestamp_unix_nano=unix_us * 1000, error=metrics.error,
        error_text=metrics.error_text, device=metrics.device, queue_ms=metrics.queue_ms,
        batch_size=metrics.batch_size, labels=metrics.labels,
        trace_id=None if metrics.trace_id is None else bytes.fromhex(metrics.trace_id),
        span_id=None if metrics.span_id is None else bytes.fromhex(metrics.span_id),
        **cast(Dict[str, Any], metrics.evidence or {})))


# ---- the one of this process ----

_global: Optional[ModelProfiler] = None
_global_lock = threading.RLock()


def _forked() -> None:
    global _global_lock
    _global_lock = threading.RLock()  # another thread may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def get_global_profiler() -> ModelProfiler:
    """The profiler of this process, made at its first use; always the same object."""
    global _global
    if _global is None:
        with _global_lock:
            if _global is None:
                _global = ModelProfiler()
    return _global


def profile_inference(model_name: object) -> Callable[[F], F]:
    """`profile` of the global profiler."""
    return get_global_profiler().profile(model_name)


async def profile_async_call(model_name: object, func: Callable[..., Any], *args: Any,
                             **kwargs: Any) -> Any:
    """`profile_async_call` of the global profiler."""
    return await get_global_profiler().profile_async_call(model_name, func, *args, **kwargs)
