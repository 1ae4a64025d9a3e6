"""The headers that carry a trace from process to process, as the Python SDK writes and reads them.

The names of the formats are those of OTEL_PROPAGATORS.
"""
import dataclasses

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

FORMATS = {"tracecontext": TraceContextTextMapPropagator, "b3": B3SingleFormat, "b3multi": B3MultiFormat}

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

# Headers to read, good and bad, by format: what `extract` says of each is what another reader should say.
CASES = {
    "tracecontext": [
        {"traceparent": f"00-{TRACE}-{SPAN}-01"},
        {"traceparent": f"00-{TRACE}-{SPAN}-00"},
        {"traceparent": f"00-{TRACE}-{SPAN}-ff"},
        {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "a=1,b=2"},
        {"traceparent": f"cc-{TRACE}-{SPAN}-01"},
        {"traceparent": f"cc-{TRACE}-{SPAN}-01-more"},
        {"traceparent": f"00-{TRACE}-{SPAN}-01-more"},
        {"traceparent": f"ff-{TRACE}-{SPAN}-01"},
        {"traceparent": f"00-{32 * '0'}-{SPAN}-01"},
        {"traceparent": f"00-{TRACE}-{16 * '0'}-01"},
        {"traceparent": f"00-{TRACE}-{SPAN}"},
        {"traceparent": f"00-{TRACE[1:]}-{SPAN}-01"},
        {"traceparent": f"00-{TRACE[1:]}g-{SPAN}-01"},
        {"traceparent": ""},
        {},
    ],
    "b3": [
        {"b3": f"{TRACE}-{SPAN}-1"},
        {"b3": f"{TRACE}-{SPAN}-0"},
        {"b3": f"{TRACE}-{SPAN}-d"},
        {"b3": f"{TRACE}-{SPAN}"},
        {"b3": f"{TRACE}-{SPAN}-1-{SPAN}"},
        {"b3": f"{TRACE[16:]}-{SPAN}-1"},
        {"b3": f"{TRACE.upper()}-{SPAN.upper()}-1"},
        {"b3": "0"},
        {"b3": f"{TRACE[1:]}-{SPAN}-1"},
        {"b3": f"{TRACE}-{SPAN[1:]}-1"},
        {"b3": f"{TRACE}-{SPAN}-1", "x-b3-traceid": 32 * "1", "x-b3-spanid": 16 * "1", "x-b3-sampled": "0"},
        {},
    ],
    "b3multi": [
        {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-sampled": "1"},
        {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-sampled": "0"},
        {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-flags": "1"},
        {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-sampled": "true"},
        {"x-b3-traceid": TRACE[16:], "x-b3-spanid": SPAN, "x-b3-parentspanid": SPAN, "x-b3-sampled": "1"},
        {"x-b3-traceid": TRACE, "x-b3-sampled": "1"},
        {"x-b3-spanid": SPAN, "x-b3-sampled": "1"},
        {"x-b3-traceid": TRACE + "0", "x-b3-spanid": SPAN, "x-b3-sampled": "1"},
        {},
    ],
}


@dataclasses.dataclass(frozen=True)
class Parent:
    """A span in another process."""
    trace_id: str  # 32 hex digits
    span_id: str  # 16
    sampled: bool = True
    trace_state: str = ""  # only tracecontext has it


def inject(name, parent):
    """The headers: {name in lower case: value}."""
    state = trace.TraceState.from_header([parent.trace_state]) if parent.trace_state else None
    context = trace.SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=False,
                                trace_flags=trace.TraceFlags(int(parent.sampled)), trace_state=state)
    headers = {}
    FORMATS[name]().inject(headers, trace.set_span_in_context(trace.NonRecordingSpan(context), Context()))
    return headers


def extract(name, headers):
    """The parent that the headers tell of; None when they tell of none, and a new trace begins."""
    context = trace.get_current_span(FORMATS[name]().extract(headers, Context())).get_span_context()
    if not context.is_valid:
        return None
    assert context.is_remote
    return Parent(trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id),
                  context.trace_flags.sampled, context.trace_state.to_header())
