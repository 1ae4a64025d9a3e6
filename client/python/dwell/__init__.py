"""dwell: tells the sidecar dwelld what a process's inferences, spans, metrics and time budgets cost.

Without a daemon everything is a no-op. Nothing here raises into the application or blocks it.
"""
from typing import TYPE_CHECKING

from . import exposition, metrics, middleware, tracking
from ._client import Client, client
from ._version import CONSTITUTIONAL_HASH, VERSION as __version__
from .budgets import Layer, LayerTimeoutBudget, LayerTimeoutError, TimeoutBudgetManager
from .decorators import SpanContext, metered, timed, traced
from .exposition import *
from .metrics import *
from .middleware import *
from .noop import NoOpCounter, NoOpHistogram, NoOpMeter, NoOpSpan, NoOpTracer, NoOpUpDownCounter
from .profiler import (BottleneckType, InferenceMetrics, ModelProfiler, ProfilingMetrics, PSUTIL_AVAILABLE,
                       get_global_profiler, profile_async_call, profile_inference)
from .propagation import extract, inject
from .spans import TraceContext, attach, get_current_span
from .telemetry import (OTEL_AVAILABLE, MetricsRegistry, TelemetryConfig, TracingContext,
                        configure_telemetry, get_meter, get_tracer)
from .tracking import *

if TYPE_CHECKING:
    from .benchmark import GPUBenchmark

__all__ = ["Client", "client", "CONSTITUTIONAL_HASH"]
__all__ += ["BottleneckType", "GPUBenchmark", "InferenceMetrics", "ModelProfiler", "ProfilingMetrics",
            "PSUTIL_AVAILABLE", "get_global_profiler", "profile_async_call", "profile_inference"]
__all__ += ["Layer", "LayerTimeoutBudget", "LayerTimeoutError", "TimeoutBudgetManager"]
__all__ += ["SpanContext", "metered", "timed", "traced"]
__all__ += ["NoOpCounter", "NoOpHistogram", "NoOpMeter", "NoOpSpan", "NoOpTracer", "NoOpUpDownCounter"]
__all__ += ["TraceContext", "attach", "extract", "get_current_span", "inject"]
__all__ += ["OTEL_AVAILABLE", "MetricsRegistry", "TelemetryConfig", "TracingContext", "configure_telemetry",
            "get_meter", "get_tracer"]
__all__ += exposition.__all__ + metrics.__all__ + middleware.__all__ + tracking.__all__

if not TYPE_CHECKING:
    def __getattr__(name):
        """What is a program as well is imported when asked for, with modules that services have no use for."""
        if name == "GPUBenchmark":
            from .benchmark import GPUBenchmark
            return GPUBenchmark
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
