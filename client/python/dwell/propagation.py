"""A trace's way between processes, in the headers of their messages: W3C Trace Context and B3.

    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
    b3:          0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1
                 |             trace                | span           | sampled

Formats have the names of OTEL_PROPAGATORS: `tracecontext`, `b3` (one header) and `b3multi` (X-B3-…).
Without a choice they are those that it lists, else b3.

What can fail: headers that are damaged say nothing, and the next format is asked. Nothing is raised. Any
thread.
"""
from __future__ import annotations

import os
import re
from typing import Any, Iterator, Sequence

from . import spans
from .spans import DEBUG, DECIDED, REMOTE, SAMPLED, TraceContext

_KNOWN = ("tracecontext", "b3", "b3multi", "none")

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?",
                          re.ASCII | re.DOTALL)
_B3 = re.compile(r"([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d])(?:-[0-9a-f]{16})?)?",
                 re.ASCII | re.IGNORECASE)
_STATES = {"0": DECIDED, "1": DECIDED | SAMPLED, "d": DECIDED | SAMPLED | DEBUG}


def default_formats() -> list[str]:
    """What OTEL_PROPAGATORS lists, as it is now; words that we do not know say nothing."""
    words = re.split(r"[, \t]+", os.environ.get("OTEL_PROPAGATORS", ""))
    return [word for word in words if word in _KNOWN] or ["b3"]


# ---- out ----

def inject(headers: Any = None, context: Any = None, formats: Sequence[str] | None = None) -> Any:
    """Writes headers into a mapping (a new dict without one) and returns it. `context`: a Span or
    TraceContext; without, the current one. Where there is none, nothing is written."""
    headers = {} if headers is None else headers
    try:
        found = spans.context_of(context) if context is not None else spans.mother()
        if found is not None:
            for name, value in _headers(found, formats or default_formats()):
                headers[name] = value
    except Exception:
        pass  # a mapping that takes none
    return headers


def _headers(context: Any, formats: Sequence[str]) -> Iterator[tuple[str, str]]:
    flags, has_span = context.flags, context.trace_id is not None
    unsaid = not flags & DECIDED and (flags & REMOTE or not has_span)
    sampled = spans.is_sampled(context.trace_id, flags) if has_span else bool(flags & SAMPLED)
    state = "" if unsaid else "d" if flags & DEBUG else "1" if sampled else "0"
    if has_span:
        trace, span = context.trace_id.hex(), context.span_id.hex()
        if "tracecontext" in formats:  # it has no word for what B3 leaves open
            yield "traceparent", f"00-{trace}-{span}-0{int(sampled)}"
            if context.trace_state:
                yield "tracestate", context.trace_state
        if "b3" in formats:
            yield "b3", f"{trace}-{span}-{state}" if state else f"{trace}-{span}"
        if "b3multi" in formats:
            yield "X-B3-TraceId", trace
            yield "X-B3-SpanId", span
    elif "b3" in formats and state:
        yield "b3", state
    if "b3multi" in formats and state:
        yield ("X-B3-Flags", "1") if state == "d" else ("X-B3-Sampled", state)


# ---- in ----

def extract(headers: Any, formats: Sequence[str] | None = None) -> TraceContext | None:
    """The TraceContext that the headers tell of, or None. `headers`: a mapping, or pairs as WSGI and ASGI
    servers have them; capitals or not, texts or bytes; of values that are a list the first counts.
    traceparent before b3 before X-B3-…; the first good one counts."""
    try:
        known = _lower(headers)
        formats = formats or default_formats()
        found = _traceparent(known) if "tracecontext" in formats else None
        if found is None and ("b3" in formats or "b3multi" in formats):
            found = _b3(known) or _b3_multi(known)
        return found
    except Exception:
        return None


_NAMES = {"traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"}


def _lower(headers: Any) -> dict[str, str]:
    """{name in small letters: text} of the headers that we know; one that comes several times is joined by
    commas."""
    known: dict[str, str] = {}
    for name, value in headers.items() if hasattr(headers, "items") else headers:
        name = _text(name).lower()
        if name.startswith("http_"):  # WSGI
            name = name[5:].replace("_", "-")
        if name in _NAMES:
            value = value[0] if isinstance(value, (list, tuple)) and value else value
            known[name] = f"{known[name]},{_text(value)}" if name in known else _text(value)
    return known


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _traceparent(headers: dict[str, str]) -> TraceContext | None:
    found = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not int(trace, 16) or not int(span, 16):
        return None
    state = headers.get("tracestate", "").strip(" \t")
    if len(state) > spans.TRACE_STATE_BYTES:  # members are left out from its end
        state = state[:spans.TRACE_STATE_BYTES + 1].rpartition(",")[0].rstrip(" \t")
    return TraceContext(bytes.fromhex(trace), bytes.fromhex(span),
                        REMOTE | DECIDED | int(flags, 16) & SAMPLED, state)


def _b3(headers: dict[str, str]) -> TraceContext | None:
    text = headers.get("b3", "")
    if text in _STATES:
        return TraceContext(flags=REMOTE | _STATES[text])
    found = _B3.fullmatch(text)
    if found is None or (found[3] or "0") not in _STATES:
        return None
    return _ids(found[1], found[2], _STATES.get(found[3], 0))


def _b3_multi(headers: dict[str, str]) -> TraceContext | None:
    sampled = headers.get("x-b3-sampled", "").lower()
    sampled = {"true": "1", "false": "0"}.get(sampled, sampled)  # of senders before the rule
    state = "d" if headers.get("x-b3-flags") == "1" else sampled if sampled in ("0", "1") else ""
    flags = _STATES.get(state, 0)
    found = _B3.fullmatch(f"{headers.get('x-b3-traceid', '')}-{headers.get('x-b3-spanid', '')}")
    context = _ids(found[1], found[2], flags) if found and found[3] is None else None
    return context or (TraceContext(flags=REMOTE | flags) if flags else None)


def _ids(trace: str, span: str, flags: int) -> TraceContext | None:
    """16 digits are the low half of a trace id. None: one of the two is zero."""
    context = TraceContext(bytes.fromhex(trace.rjust(32, "0")), bytes.fromhex(span), REMOTE | flags)
    return context if context.trace_id else None
