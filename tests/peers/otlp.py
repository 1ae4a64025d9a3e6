"""Reads OTLP messages into what tests ask about: dictionaries under the names of the protocol.

    {"resource": {key: value}, "scope": (name, version), "trace_id": "0af7…", "name": …, "attributes": {…}, …}

Ids are hex digits, values of attributes what Python has for them: str, bool, int, float, list, dict, bytes, None.
"""
import base64
import json

from google.protobuf import json_format

_IDS = {"traceId", "spanId", "parentSpanId"}


def typed(data):
    """The same with the type of everything, as 1, 1.0 and True are equal in Python, and NaN is not."""
    if isinstance(data, dict):
        return {key: typed(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [typed(value) for value in data]
    return type(data).__name__, repr(data)


# --- messages ---

def _with_base64_ids(data):
    """OTLP writes ids as hex digits, other protobuf JSON as base64."""
    if isinstance(data, list):
        return [_with_base64_ids(item) for item in data]
    if not isinstance(data, dict):
        return data
    return {key: base64.b64encode(bytes.fromhex(item)).decode() if key in _IDS else _with_base64_ids(item)
            for key, item in data.items()}


def _whole(text):
    return -0.0 if text == "-0" else int(text)


def read_json_line(line, message):
    """Reads a line of OTLP JSON into the message, which is returned; what it does not know is an error."""
    return json_format.ParseDict(_with_base64_ids(json.loads(line, parse_int=_whole)), message)


# --- attributes ---

def _value(any_value):
    kind = any_value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(item) for item in any_value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(any_value.kvlist_value.values)
    return getattr(any_value, kind)


def _attributes(pairs):
    read = {pair.key: _value(pair.value) for pair in pairs}
    assert len(read) == len(pairs), f"a key stands twice: {[pair.key for pair in pairs]}"
    return read


def _fields(message, *names):
    return {name: getattr(message, name) for name in names}


def _origin(resource, scope):
    return {"resource": _attributes(resource.attributes), "scope": (scope.name, scope.version)}


# --- traces ---

def _event(event):
    return {**_fields(event, "time_unix_nano", "name", "dropped_attributes_count"),
            "attributes": _attributes(event.attributes)}


def _link(link):
    return {**_fields(link, "trace_state", "dropped_attributes_count", "flags"),
            "trace_id": link.trace_id.hex(), "span_id": link.span_id.hex(), "attributes": _attributes(link.attributes)}


def _span(span):
    return {
        **_fields(span, "trace_state", "name", "kind", "start_time_unix_nano", "end_time_unix_nano", "flags",
                  "dropped_attributes_count", "dropped_events_count", "dropped_links_count"),
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": span.parent_span_id.hex(),
        "attributes": _attributes(span.attributes),
        "events": [_event(event) for event in span.events],
        "links": [_link(link) for link in span.links],
        "status": _fields(span.status, "code", "message"),
    }


def spans(requests):
    """All spans of ExportTraceServiceRequests, or of TracesData."""
    return [{**_origin(resource_spans.resource, scope_spans.scope), **_span(span)}
            for request in requests
            for resource_spans in request.resource_spans
            for scope_spans in resource_spans.scope_spans
            for span in scope_spans.spans]


def span_count(requests):
    """How many spans there are in them."""
    return sum(len(scope_spans.spans) for request in requests for resource_spans in request.resource_spans
               for scope_spans in resource_spans.scope_spans)


# --- metrics ---

def _exemplar(exemplar):
    kind = exemplar.WhichOneof("value")
    return {"time_unix_nano": exemplar.time_unix_nano, "value": getattr(exemplar, kind) if kind else None,
            "trace_id": exemplar.trace_id.hex(), "span_id": exemplar.span_id.hex(),
            "filtered_attributes": _attributes(exemplar.filtered_attributes)}


def _point(point, *names):
    return {**_fields(point, "start_time_unix_nano", "time_unix_nano", "flags", *names),
            "attributes": _attributes(point.attributes),
            "exemplars": [_exemplar(exemplar) for exemplar in point.exemplars]}


def _optional(message, *names):
    """Fields that may be missing, which is not the same as 0."""
    return {name: getattr(message, name) if message.HasField(name) else None for name in names}


def _number(point):
    kind = point.WhichOneof("value")
    return {**_point(point), "value": getattr(point, kind) if kind else None}


def _histogram(point):
    return {**_point(point, "count"), **_optional(point, "sum", "min", "max"),
            "bucket_counts": list(point.bucket_counts), "explicit_bounds": list(point.explicit_bounds)}


def _buckets(buckets):
    return {"offset": buckets.offset, "bucket_counts": list(buckets.bucket_counts)}


def _exponential_histogram(point):
    return {**_point(point, "count", "scale", "zero_count", "zero_threshold"), **_optional(point, "sum", "min", "max"),
            "positive": _buckets(point.positive), "negative": _buckets(point.negative)}


_POINTS = {"gauge": _number, "sum": _number, "histogram": _histogram, "exponential_histogram": _exponential_histogram}


def _metric(metric):
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    read = {**_fields(metric, "name", "description", "unit"), "kind": kind,
            "points": [_POINTS[kind](point) for point in data.data_points]}
    if kind != "gauge":
        read["temporality"] = data.aggregation_temporality
    if kind == "sum":
        read["is_monotonic"] = data.is_monotonic
    return read


def metrics(requests, name=None):
    """All metrics of ExportMetricsServiceRequests, or of MetricsData, or those of a name; a metric's points are a list in
    it."""
    return [{**_origin(resource_metrics.resource, scope_metrics.scope), **_metric(metric)}
            for request in requests
            for resource_metrics in request.resource_metrics
            for scope_metrics in resource_metrics.scope_metrics
            for metric in scope_metrics.metrics if name in (None, metric.name)]
