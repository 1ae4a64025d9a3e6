"""Reads what the Collector's file exporter wrote: OTLP JSON, one request a line."""
import dataclasses
import json


def _value(value):
    """Of an attribute: what Python has for it."""
    (kind, content), = value.items() or (("none", None),)
    if kind == "arrayValue":
        return [_value(item) for item in content.get("values", [])]
    return int(content) if kind == "intValue" else content


def _attributes(owner):
    return {pair["key"]: _value(pair["value"]) for pair in owner.get("attributes", [])}


@dataclasses.dataclass
class Event:
    name: str
    attributes: dict


@dataclasses.dataclass
class Span:
    name: str
    span_id: str
    parent_id: str  # "": it is a root
    kind: str
    begin_ns: int
    end_ns: int
    failed: bool
    message: str  # of its status
    attributes: dict
    events: list
    resource: dict

    @property
    def milliseconds(self):
        return (self.end_ns - self.begin_ns) / 1e6


_KINDS = ("", "internal", "server", "client", "producer", "consumer")
_ERROR = 2


def _requests(files):
    for path in files:
        # A line that is being written has no end yet.
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            yield json.loads(line)


def spans(files, trace_id):
    """Those of one trace, in the order of their beginning."""
    found = []
    for request in _requests(files):
        for resource in request["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    if span["traceId"] != trace_id:
                        continue
                    status = span.get("status", {})
                    found.append(Span(
                        span["name"], span["spanId"], span.get("parentSpanId", ""), _KINDS[span.get("kind", 0)],
                        int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"]), status.get("code") == _ERROR,
                        status.get("message", ""), _attributes(span),
                        [Event(event["name"], _attributes(event)) for event in span.get("events", [])],
                        _attributes(resource["resource"])))
    return sorted(found, key=lambda span: span.begin_ns)


@dataclasses.dataclass
class ExponentialHistogram:
    """One point. Bucket i of `counts` reaches from base^(offset + i) to base^(offset + i + 1), base being
    2^(2^-scale)."""
    attributes: dict
    count: int
    total: float
    scale: int
    offset: int
    counts: list

    def lower(self, scale):
        """The same with wider buckets: with each step of the scale two become one."""
        counts, offset = self.counts, self.offset
        for _ in range(self.scale - scale):
            if offset % 2:
                counts, offset = [0, *counts], offset - 1
            counts, offset = [sum(counts[at:at + 2]) for at in range(0, len(counts), 2)], offset // 2
        return dataclasses.replace(self, scale=scale, counts=counts, offset=offset)

    def buckets(self):
        """[(lower bound, upper bound, count)]"""
        base = 2 ** 2 ** -self.scale
        return [(base ** (self.offset + at), base ** (self.offset + at + 1), count) for at, count in enumerate(self.counts)]


def exponential_histogram(files, name, **attributes):
    """The newest point of this metric that has these attributes, or None."""
    newest = None
    for request in _requests(files):
        for resource in request["resourceMetrics"]:
            for scope in resource["scopeMetrics"]:
                for metric in scope["metrics"]:
                    if metric["name"] != name:
                        continue
                    for point in metric.get("exponentialHistogram", {}).get("dataPoints", []):
                        if attributes.items() <= _attributes(point).items():
                            positive = point.get("positive", {})
                            newest = ExponentialHistogram(
                                _attributes(point), int(point.get("count", 0)), point.get("sum", 0.0),
                                point.get("scale", 0), positive.get("offset", 0),
                                [int(count) for count in positive.get("bucketCounts", [])])
    return newest
