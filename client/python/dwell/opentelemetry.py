"""A bridge from the OpenTelemetry SDK: its spans and metrics go to the sidecar, without an OTLP exporter in
the process. Importable only where `opentelemetry-sdk` is.

    provider.add_span_processor(DwellSpanProcessor())
    MeterProvider([PeriodicExportingMetricReader(DwellMetricExporter())])

Happy path:
    1. a span that ends is encoded and handed to the client at once; nothing is kept here
    2. the SDK's reader collects metrics as deltas; each point becomes one record, a histogram's one for
       each bucket
    3. spans and budgets of this package that begin within a span of the SDK are its children

A distribution. The SDK keeps counts of buckets and not values, so a bucket is sent as one value within it
that stands for as many; the values are moved within their buckets so that their sum is the SDK's.

    bucket   (lo ..... hi]      count 3       middle first, then all by the same share towards lo or hi
                  *  -->        weight 3

What can fail: nothing is raised into the SDK. What cannot be encoded, and points that are no deltas where
they should be, are dropped and counted. Threads: as the SDK's, any.
"""
from __future__ import annotations

import logging
import math
from typing import Any, Iterator

from opentelemetry import trace
from opentelemetry.sdk.metrics import Counter, Histogram, ObservableCounter
from opentelemetry.sdk.metrics.export import (AggregationTemporality, ExponentialHistogram, Gauge,
                                              MetricExporter, MetricExportResult, Sum)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.trace import SpanProcessor

from . import _client, _wire, spans
from ._version import CONSTITUTIONAL_HASH
from .spans import DECIDED, SAMPLED

WEIGHT_MAX = 10**9  # values that one record of a histogram stands for, as the daemon takes them

_log = logging.getLogger("dwell")


def _current() -> spans.TraceContext | None:
    """The SDK's current span, if it is sampled."""
    context = spans.context_of(trace.get_current_span())
    return context if context is not None and context.sampled else None


# ---- spans ----

class DwellSpanProcessor(SpanProcessor):
    """Sends sampled spans as they end. From its making on, spans and budgets of this package that begin
    within a span of the SDK belong to it. `client`: a Client; without, the process's."""

    def __init__(self, client: _client.Client | None = None) -> None:
        self._client = client or _client.client()
        if not self._client.disabled:
            spans.foreign = _current

    def on_end(self, span: Any) -> None:
        client = self._client
        if not span.context.trace_flags & SAMPLED:
            return
        if client.away:
            client.drop()
            return
        try:
            record = _record(span)
        except Exception:
            client.drop()
            return
        client.put(record)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """True when the daemon has all."""
        return self._client.flush(timeout_millis / 1e3)

    def shutdown(self) -> None:
        self._client.flush()


def _record(span: Any) -> bytes:
    context, parent, status = span.context, span.parent, span.status
    attributes = dict(span.attributes or {})
    scope = span.instrumentation_scope
    if scope is not None and scope.name:
        attributes.setdefault("otel.scope.name", scope.name)
        if scope.version:
            attributes.setdefault("otel.scope.version", scope.version)
    taken, left_out = spans._few(attributes, spans.ATTRIBUTES_MAX)
    service = str(span.resource.attributes.get("service.name", ""))
    said = not service.startswith("unknown_service")  # the SDK's word for one that was not
    kind = spans.Kind(span.name, None, span.kind, service if said else None)
    one = _Ended(context, parent, span.start_time)
    extra = spans.Extra(kind)
    extra.attributes, extra.dropped_attributes = taken, left_out + span.dropped_attributes
    for event in span.events[:spans.EVENTS_MAX]:
        few, dropped = spans._few(event.attributes)
        data = _wire.tag(1, 1) + spans._fixed64(event.timestamp) + _wire.block(2, _wire.text(event.name))
        dropped += getattr(event, "dropped_attributes", 0)
        extra.events.append(_wire.block(11, data + spans._fields(3, few) + _wire.count(4, dropped)))
    extra.dropped_events = span.dropped_events + max(0, len(span.events) - spans.EVENTS_MAX)
    for link in span.links[:spans.LINKS_MAX]:
        data = _wire.block(1, link.context.trace_id.to_bytes(16, "big"))
        data += _wire.block(2, link.context.span_id.to_bytes(8, "big"))
        state = link.context.trace_state.to_header()
        few, dropped = spans._few(link.attributes)
        data += (_wire.block(3, _wire.text(state)) if state else b"") + spans._fields(4, few)
        dropped += getattr(link, "dropped_attributes", 0)
        flags = b"\x35" + bytes([link.context.trace_flags & SAMPLED, 0, 0, 0])
        extra.links.append(_wire.block(13, data + _wire.count(5, dropped) + flags))
    extra.dropped_links = span.dropped_links + max(0, len(span.links) - spans.LINKS_MAX)
    extra.status = status.status_code.value
    extra.message = _wire.text(spans.safe_text(status.description)) if status.description else b""
    return kind.full(one, extra, span.end_time)


class _Ended:
    """What `Kind.full` asks of a span."""
    __slots__ = ("trace_id", "span_id", "parent_span_id", "flags", "trace_state", "start_unix_nano")

    def __init__(self, context: Any, parent: Any, start_unix_nano: int) -> None:
        self.trace_id = context.trace_id.to_bytes(16, "big")
        self.span_id = context.span_id.to_bytes(8, "big")
        self.parent_span_id = parent.span_id.to_bytes(8, "big") if parent is not None else None
        self.flags = DECIDED | SAMPLED
        state = context.trace_state.to_header()
        self.trace_state = state if len(state) <= spans.TRACE_STATE_BYTES else ""
        self.start_unix_nano = start_unix_nano


# ---- metrics ----

_DELTA: dict[type, AggregationTemporality] = {
    kind: AggregationTemporality.DELTA for kind in (Counter, ObservableCounter, Histogram)}


class DwellMetricExporter(MetricExporter):
    """For a PeriodicExportingMetricReader: counters and histograms are asked for as deltas, histograms with
    exponential buckets unless a view says otherwise. What a process adds to up-down counters ends with it.
    `client`: as above."""

    def __init__(self, client: _client.Client | None = None) -> None:
        super().__init__(preferred_temporality=dict(_DELTA),
                         preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()})
        self._client = client or _client.client()
        self._complained = False

    def export(self, metrics_data: Any, timeout_millis: float = 10000,
               **_options: Any) -> MetricExportResult:
        """FAILURE: there is no daemon; what was collected is counted as dropped."""
        for resource in metrics_data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        self._send(metric, point)
        return MetricExportResult.FAILURE if self._client.away else MetricExportResult.SUCCESS

    def _send(self, metric: Any, point: Any) -> None:
        try:
            records = list(self._records(metric, point))
        except Exception:
            self._client.drop()
            return
        for record in records:
            if self._client.away:
                self._client.drop()
            else:
                self._client.put(record)

    def _records(self, metric: Any, point: Any) -> Iterator[bytes]:
        data, unit, attributes = metric.data, metric.unit or None, point.attributes
        if isinstance(data, Gauge):
            yield _wire.metric(metric.name, _wire.SET, point.value, attributes=attributes, unit=unit)
        elif isinstance(data, Sum) and not data.is_monotonic:
            yield _wire.metric(metric.name, _wire.SET, point.value, attributes=attributes, unit=unit,
                               aggregation="sum")
        elif data.aggregation_temporality != AggregationTemporality.DELTA:
            if not self._complained:
                self._complained = True
                _log.warning("[%s] the metric %r is collected as a total, and not sent: its reader is not "
                             "this exporter's", CONSTITUTIONAL_HASH, metric.name)
            raise ValueError
        elif isinstance(data, Sum):
            if point.value:
                yield _wire.metric(metric.name, _wire.COUNT, point.value, attributes=attributes, unit=unit)
        else:
            for value, weight in distribution(point, isinstance(data, ExponentialHistogram)):
                while weight > 0:
                    part = min(weight, WEIGHT_MAX)
                    weight -= part
                    yield _wire.metric(metric.name, _wire.OBSERVE, value, attributes=attributes, unit=unit,
                                       weight=part if part > 1 else None)

    def force_flush(self, timeout_millis: float = 10000) -> bool:
        return self._client.flush(timeout_millis / 1e3)

    def shutdown(self, timeout_millis: float = 30000, **_options: Any) -> None:
        self._client.flush(min(timeout_millis / 1e3, 1.0))


def distribution(point: Any, exponential: bool) -> list[tuple[float, int]]:
    """[(value, how many values it stands for)] of a point: as many in each bucket as there were, and with
    their sum."""
    buckets = list(_exponential(point) if exponential else _explicit(point))
    total = sum((low + high) / 2 * count for low, high, count in buckets)
    missing = point.sum - total
    room = sum((high - low) / 2 * count for low, high, count in buckets)
    share = max(-1.0, min(1.0, missing / room)) if room > 0 else 0.0
    found = []
    for low, high, count in buckets:
        value = (low + high) / 2 + share * (high - low) / 2
        if value <= low < high:  # the lower bound is in the bucket below
            value = math.nextafter(low, high)
        found.append((value, count))
    return found


def _cut(low: float, high: float, point: Any) -> tuple[float, float]:
    """A bucket ends where values do, as far as that is known."""
    if point.min <= point.max:
        low, high = max(low, point.min), min(high, point.max)
    return low if math.isfinite(low) else high, high if math.isfinite(high) else low


def _explicit(point: Any) -> Iterator[tuple[float, float, int]]:
    bounds = [-math.inf, *point.explicit_bounds, math.inf]
    for low, high, count in zip(bounds, bounds[1:], point.bucket_counts):
        if count:
            yield (*_cut(low, high, point), count)


def _exponential(point: Any) -> Iterator[tuple[float, float, int]]:
    def bound(index: int) -> float:  # of the bucket (bound(index), bound(index + 1)]
        return float(2.0 ** math.ldexp(index, -point.scale))

    for index, count in enumerate(point.negative.bucket_counts, point.negative.offset):
        if count:
            yield (*_cut(-bound(index + 1), -bound(index), point), count)
    if point.zero_count:
        yield 0.0, 0.0, point.zero_count
    for index, count in enumerate(point.positive.bucket_counts, point.positive.offset):
        if count:
            yield (*_cut(bound(index), bound(index + 1), point), count)
