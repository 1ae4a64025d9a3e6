"""Tracing and metrics by the names of OpenTelemetry, sent to the sidecar.

Happy path:
    1. `configure_telemetry(config)` says who is speaking, and gives a tracer and a meter
    2. `TracingContext`, `traced` and tracers make spans (spans.py), `MetricsRegistry` and meters metrics
       (_meter.py)
    3. the daemon adds the constitutional hash, batches, samples, and exports

Endpoint, environment, sampling of what is exported, and batching are the daemon's configuration. A
TelemetryConfig that wants another export or hash than the daemon's is told so once in the log, and is no
error.

With DWELL_DISABLED=1 tracers and meters are no-ops. Without a daemon records are dropped and counted.
Nothing here raises into the application or blocks it. Any thread.
"""
from __future__ import annotations

import dataclasses
import logging
import os
import threading
from types import TracebackType
from typing import Any, Iterator

from . import _client, _locate, _query, spans
from ._meter import Counter, Gauge, Histogram, Instruments, Meter, UpDownCounter
from ._version import CONSTITUTIONAL_HASH
from .noop import (NoOpCounter, NoOpGauge, NoOpHistogram, NoOpMeter, NoOpSpan, NoOpTracer,
                   NoOpUpDownCounter)
from .spans import Span, Tracer

_log = logging.getLogger("dwell")

# Spans and metrics are recorded; no package of OpenTelemetry is needed for it. False with DWELL_DISABLED=1.
OTEL_AVAILABLE = not _locate.disabled()

DEFAULT_PORT = ":4317"  # of OTLP/gRPC, as the daemon takes it
COMPLAINTS_MAX = 64  # different ones, each logged once; past them there is silence


def _environ(name: str, default: str) -> Any:
    return dataclasses.field(default_factory=lambda: os.environ.get(name) or default)


@dataclasses.dataclass
class TelemetryConfig:
    """Who is speaking, and what the application would like; values are kept as given.

    service_name, service_version, constitutional_hash, trace_sample_rate are used: they are said to the
    daemon, and sampling is said to other services. environment, otlp_endpoint, export_traces,
    export_metrics and batch_span_processor are the daemon's to decide. trace_sample_rate: 0.0 to 1.0."""
    service_name: str = "acgs2-agent-bus"
    service_version: str = "2.0.0"
    environment: str = _environ("ENVIRONMENT", "development")
    otlp_endpoint: str = _environ("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    export_traces: bool = True
    export_metrics: bool = True
    batch_span_processor: bool = True
    constitutional_hash: str = _environ("CONSTITUTIONAL_HASH", CONSTITUTIONAL_HASH)
    trace_sample_rate: float = dataclasses.field(default_factory=spans.sampler_share)


# ---- what differs ----

_complaints: set[str] = set()


def _complain(what: str, *details: object) -> None:
    """Once for each text."""
    text = what % details
    if text not in _complaints and len(_complaints) < COMPLAINTS_MAX:
        _complaints.add(text)
        _log.warning("[%s] %s", CONSTITUTIONAL_HASH, text)


def _same_place(one: object, other: object) -> bool:
    """Whether two endpoints are the same; where one has no scheme, by what is behind it."""
    schemes, places = zip(*map(_parts_of, (one, other)))
    return places[0] == places[1] and (not all(schemes) or schemes[0] == schemes[1])


def _parts_of(endpoint: object) -> tuple[str, str]:
    """(scheme or "", host and port) of "http://host:4317/" and the like, or ("unix", path)."""
    text = str(endpoint)
    if text.startswith("unix:"):
        return "unix", text[len("unix:"):].replace("///", "/")
    scheme, mark, rest = text.partition("://")
    place = (rest if mark else text).partition("/")[0].lower()
    has_port = ":" in place.rpartition("]")[2]
    return scheme.lower() if mark else "", place if has_port else place + DEFAULT_PORT


def _differences(config: TelemetryConfig, status: dict[str, Any],
                 hash_there: str | None) -> Iterator[tuple[object, ...]]:
    """What the daemon does otherwise than the application wants; `status` is its /api/v1/status."""
    export = status.get("export") or {}
    if config.otlp_endpoint and not export:
        yield ("the application wants export to %s, but the daemon exports nowhere: set its otlp.endpoint",
               config.otlp_endpoint)
    for signal, wanted in (("traces", config.export_traces), ("metrics", config.export_metrics)):
        if signal not in export:
            continue
        where = export[signal].get("endpoint")
        if not wanted:
            yield ("the application wants no export of %s, but the daemon exports them: set its otlp.%s",
                   signal, signal)
        elif config.otlp_endpoint and where and not _same_place(config.otlp_endpoint, where):
            yield ("the application wants export to %s, but the daemon exports %s to %s: set its "
                   "otlp.%s_endpoint", config.otlp_endpoint, signal, where, signal)
    if hash_there and config.constitutional_hash != hash_there:
        yield ("the application's constitutional hash is %s, the daemon's %s",
               config.constitutional_hash, hash_there)


_newest: Any = None  # (TelemetryConfig, directory) that nobody has compared yet
_comparing = threading.Lock()  # held by the one thread that compares


def _begin_in_child() -> None:
    global _comparing
    _comparing = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


def _compare_all() -> None:
    """On a thread of its own, since a daemon that hangs answers late. Of many that come meanwhile the last
    counts."""
    global _newest
    while True:
        while _newest is not None:
            found, _newest = _newest, None
            _compare(*found)
        _comparing.release()
        if _newest is None or not _comparing.acquire(False):  # one may have come just now
            return


def _compare(config: TelemetryConfig, directory: str | None) -> None:
    try:
        status = _query.ask_json("/api/v1/status", directory=directory)
        if status is not None:
            budgets = _query.ask_json("/api/v1/budgets", directory=directory) or {}
            for difference in _differences(config, status, budgets.get("constitutional_hash")):
                _complain(str(difference[0]), *difference[1:])
    except Exception:
        pass  # an answer that is none of ours: nothing can be said


def _say_differences(config: TelemetryConfig, client: _client.Client) -> None:
    global _newest
    if not config.batch_span_processor:
        _complain("batch_span_processor=False has no effect: records are always sent in batches")
    if config.trace_sample_rate != 1.0:
        _complain("trace_sample_rate=%s is what other services are told; give the daemon the same "
                  "otlp.sample_rate", config.trace_sample_rate)
    _newest = config, client.directory
    if _comparing.acquire(False):
        try:
            threading.Thread(target=_compare_all, name="dwell-compare", daemon=True).start()
        except RuntimeError:  # no thread can be had
            _comparing.release()


# ---- entry points ----

def configure_telemetry(config: TelemetryConfig | None = None
                        ) -> tuple[Tracer | NoOpTracer, Meter | NoOpMeter]:
    """(tracer, meter). `config`: a TelemetryConfig; without, one of defaults, of which nothing is
    compared."""
    client = _client.client()
    if client.disabled:
        return NoOpTracer(), NoOpMeter()
    name: Any = None
    if config is not None:
        try:
            name = config.service_name
            spans.sample(float(config.trace_sample_rate))
            client.describe(service_name=config.service_name, service_version=config.service_version,
                            constitutional_hash=config.constitutional_hash)
            _say_differences(config, client)
        except Exception as error:
            _complain("a TelemetryConfig that cannot be used: %s", type(error).__name__)
    else:
        config = TelemetryConfig()
        name = config.service_name
        client.describe(service_name=client.about["service_name"] or config.service_name,
                        service_version=config.service_version,
                        constitutional_hash=config.constitutional_hash)
    return get_tracer(name), get_meter(name)


def get_tracer(name: str | None = None) -> Tracer | NoOpTracer:
    """A tracer: start_span, start_as_current_span."""
    return NoOpTracer() if _client.client().disabled else Tracer(name)


def get_meter(name: str | None = None) -> Meter | NoOpMeter:
    """A meter: create_counter, create_histogram, create_up_down_counter, create_gauge,
    create_observable_gauge."""
    return NoOpMeter() if _client.client().disabled else Meter(name)


class TracingContext:
    """`with TracingContext(name) as span:` a span that is current in the block; `async with` as well. An
    exception is recorded in it, with status error, and passes; a cancellation is neither. `attributes`: of
    any scalar type. `service_name`: without, the process's.
    One object is for one thread or task at a time."""
    __slots__ = ("_name", "_service_name", "_attributes", "_entered")

    def __init__(self, name: Any, service_name: str | None = None,
                 attributes: dict[str, Any] | None = None) -> None:
        self._name = name
        self._service_name = service_name
        self._attributes = attributes
        self._entered: list[Any] = []  # one that is entered again within itself has a span each time

    def __enter__(self) -> Span | NoOpSpan:
        client = _client._default or _client.client()
        if client.away:
            client.drop()
            self._entered.append(None)
            return spans.NO_SPAN
        span = Span(spans.kind_of(self._name, None, self._service_name), spans.mother(), client)
        if self._attributes is not None:
            span.set_attributes(self._attributes)
        self._entered.append((span, spans.current.set(span)))
        return span

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        entered = self._entered.pop() if self._entered else None
        if entered is not None:
            span, token = entered
            spans.leave(token, span)
            if error is not None:
                if spans.is_cancellation(error):
                    span.set_attribute("cancelled", True)
                else:
                    span.fail(error)
            span.end()

    async def __aenter__(self) -> Span | NoOpSpan:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        self.__exit__(kind, error, trace)


def _by_name(instruments: Instruments[Any], name: Any) -> Any:
    try:
        return instruments[name]
    except TypeError:  # a name that cannot be looked up
        return instruments.named(name)


class MetricsRegistry:
    """Counters, histograms and gauges by name, made on first use: the same object for the same name, up to
    INSTRUMENTS_MAX of each kind.

    `service_name` is for the application; metrics are those of the service that the process says it is. The
    hash stands on every point that the daemon exports, and no attribute replaces it."""

    def __init__(self, service_name: str = "acgs2-agent-bus") -> None:
        self.service_name = service_name
        self.meter = get_meter(service_name)
        disabled = isinstance(self.meter, NoOpMeter)
        self._counters: Instruments[Any] = Instruments((lambda *_: NoOpCounter()) if disabled else Counter)
        self._histograms: Instruments[Any] = Instruments(
            (lambda *_: NoOpHistogram()) if disabled else Histogram, "ms")
        self._gauges: Instruments[Any] = Instruments(
            (lambda *_: NoOpUpDownCounter()) if disabled else UpDownCounter)
        self._set_gauges: Instruments[Any] = Instruments((lambda *_: NoOpGauge()) if disabled else Gauge)

    def get_counter(self, name: Any, description: str = "") -> Any:
        return self._counters.named(name, "", description)

    def get_histogram(self, name: Any, unit: str = "ms", description: str = "") -> Any:
        return self._histograms.named(name, unit, description)

    def get_gauge(self, name: Any, description: str = "") -> Any:
        """A gauge that is added to."""
        return self._gauges.named(name, "", description)

    def increment_counter(self, name: Any, amount: float = 1,
                          attributes: dict[str, Any] | None = None) -> None:
        """`amount`: 0 or more."""
        _by_name(self._counters, name).add(amount, attributes)

    def record_latency(self, name: Any, value_ms: float, attributes: dict[str, Any] | None = None) -> None:
        """Into the histogram of that name, milliseconds without another unit of its own."""
        _by_name(self._histograms, name).record(value_ms, attributes)

    def adjust_gauge(self, name: Any, delta: float, attributes: dict[str, Any] | None = None) -> None:
        """Adds to a gauge; what a process adds ends with it."""
        _by_name(self._gauges, name).add(delta, attributes)

    set_gauge = adjust_gauge  # what the name has always done

    def set_gauge_value(self, name: Any, value: float, attributes: dict[str, Any] | None = None) -> None:
        """Sets a gauge."""
        _by_name(self._set_gauges, name).set(value, attributes)
