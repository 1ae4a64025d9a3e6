"""The Python SDK of OpenTelemetry as a sender, without any of its global state."""
import contextlib
import itertools
import logging

import grpc
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

LOGGER = "opentelemetry.exporter.otlp.proto.grpc.exporter"
RESOURCE = {"service.name": "shop", "service.version": "1.2", "answer": 42, "ratio": 0.5, "yes": True,
            "list": ["a", "b"]}
SCOPE = ("shop.lib", "3.4")

_names = itertools.count()


class Tracer:
    """Makes spans; `spans` are those that ended."""

    def __init__(self, **limits):
        self._memory = InMemorySpanExporter()
        provider = TracerProvider(resource=Resource(RESOURCE), sampler=ALWAYS_ON, shutdown_on_exit=False,
                                  span_limits=SpanLimits(**limits))
        provider.add_span_processor(SimpleSpanProcessor(self._memory))
        self._tracer = provider.get_tracer(*SCOPE)

    def start(self, name, **options):
        """The SDK's start_span."""
        return self._tracer.start_span(name, **options)

    @property
    def spans(self):
        return self._memory.get_finished_spans()


def some_spans(count=1):
    """Spans of which nothing is asked but that they arrive; no two have a name in common."""
    tracer = Tracer()
    for _ in range(count):
        tracer.start(f"span {next(_names)}").end()
    return tracer.spans


def credentials(authority, client=None):
    """For TLS. `authority`: Pair of the CA to trust; `client`: Pair to show, if any."""
    return grpc.ssl_channel_credentials(authority.certificate.read_bytes(),
                                        client.key.read_bytes() if client else None,
                                        client.certificate.read_bytes() if client else None)


def export(spans, endpoint, **options):
    """Sends the spans in one call. Returns whether the exporter calls it a success, and what it logged."""
    logged = []
    handler = logging.Handler()
    handler.emit = lambda record: logged.append(record.getMessage())
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    filters, logger.filters = logger.filters, []  # by itself it does not say the same thing twice
    logger.propagate = False
    exporter = OTLPSpanExporter(endpoint, **options)
    try:
        return exporter.export(spans).name == "SUCCESS", "\n".join(logged)
    finally:
        exporter.shutdown()
        logger.removeHandler(handler)
        logger.filters = filters
        logger.propagate = True


class _Recorder(OTLPMetricExporter):
    """Keeps what it exported."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.exported = []

    def export(self, metrics_data, *arguments, **options):
        self.exported.append(metrics_data)
        return super().export(metrics_data, *arguments, **options)


@contextlib.contextmanager
def meter(endpoint, views=(), **options):
    """A Meter, a function that sends what it has measured, and the list of what was sent, as the SDK has it."""
    exporter = _Recorder(endpoint, **options)
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
    provider = MeterProvider([reader], resource=Resource(RESOURCE), views=views, shutdown_on_exit=False)
    try:
        yield provider.get_meter(*SCOPE), provider.force_flush, exporter.exported
    finally:
        provider.shutdown()
