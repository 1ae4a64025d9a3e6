"""The recording span, and which one is current.

Happy path:
    1. what all spans of one kind have in common is encoded once (`Kind`)
    2. a span takes its trace from its parent: the one given, else the current one of this thread or task
    3. attributes, events and links are encoded as they come; most spans have none of their own
    4. `end` packs one record around ids and times, and hands it to the client

       current (contextvars)         encoded once                     encoded as they come
       thread or task --> Span ----> Kind: name, kind, attributes     Extra: attributes, events, links, …

Sampling. A decision of somebody outside (`DECIDED`) goes with the trace. Without one the trace is sampled
when the low half of its id is below rate * 2^64, the rule of OpenTelemetry's TraceIdRatioBased, which the
daemon and all other clients go by: the record says nothing then, only headers do, and samples and budgets
name sampled spans only.

Forks. A span begun before a fork is the parent's to send: ending it in the child only ends it.

What can fail: an attribute whose `str` raises, a key that is none, a part past its limit: it is left out
and counted in the span's dropped counts. No memory, no daemon: the span is dropped and counted. Nothing is
raised.

Threads: a span may be handed on and ended by any thread; it is recorded once. Two threads that set
attributes of one span at the same time are both heard.
"""
from __future__ import annotations

import contextvars
import itertools
import os
import random
import re
import reprlib
import struct
import time
import traceback
from types import TracebackType
from typing import Any, Callable, Dict, Iterator, Mapping, Optional, Tuple

from . import _client, _wire
from .noop import NoOpSpan

# Those of OpenTelemetry, and of the daemon; the environment may lower the first three.
ATTRIBUTES_MAX = EVENTS_MAX = LINKS_MAX = 128
PART_ATTRIBUTES_MAX = 128   # of an event, of a link
NAME_BYTES = 256            # of names and keys: the daemon takes no longer ones
TRACE_STATE_BYTES = 512     # what W3C Trace Context asks to carry at least
LIST_ITEMS_MAX = 1024       # of an attribute that is a list, and of the lists within: records are bounded
LIST_DEPTH_MAX = 8          # the daemon's: deeper ones reject the span
KINDS_MAX = 1024            # names that are kept encoded: some 1 MB; others are encoded each time
KEPT_CHARACTERS = 1024      # of name and service name of one that is kept
STACK_FRAMES_MAX = 32       # of an exception: the innermost

SAMPLED, DECIDED, DEBUG, REMOTE = 1, 2, 4, 8

current: contextvars.ContextVar[Span | TraceContext | None] = contextvars.ContextVar(
    "dwell_span", default=None)

_Token = contextvars.Token["Span | TraceContext | None"]  # of `current`

Taken = Dict[bytes, bytes]  # {name: KeyValue}, as bytes
Attributes = Optional[Mapping[Any, Any]]
_Layout = Tuple[Callable[..., bytes], bytes, bytes, bytes]

_fixed64 = struct.Struct("<Q").pack
_now_ns, _wall_ns = time.monotonic_ns, time.time_ns
_random_bits = random.Random(os.urandom(32)).getrandbits
_NOT_ZERO = 1 << 64 | 1  # in 24 bytes: neither the first 16 nor the last 8 are zero
_sample_bound = 2**64  # a trace without a decision is sampled when the low half of its id is below
_generation = 0  # of this process: how many forks it is away from the one that imported this


def _begin_in_child() -> None:
    global _random_bits, _generation
    _random_bits = random.Random(os.urandom(32)).getrandbits
    _generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


# ---- what OpenTelemetry's variables say; what makes no sense there is as if unset ----

def _limit(name: str) -> int:
    text = os.environ.get(name, "")
    return min(int(text), 128) if text.isascii() and text.isdigit() else 128


def sampler_share() -> float:
    """The share of traces that is sampled, by OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG; else 1.0."""
    word = os.environ.get("OTEL_TRACES_SAMPLER", "")
    word = word[len("parentbased_"):] if word.startswith("parentbased_") else word
    if word != "traceidratio":
        return 0.0 if word == "always_off" else 1.0
    try:
        share = float(os.environ.get("OTEL_TRACES_SAMPLER_ARG", ""))
    except ValueError:
        return 1.0
    return share if 0.0 <= share <= 1.0 else 1.0


def sample(share: float) -> None:
    """From now on `share` of the traces without a decision, 0.0 to 1.0, are said to be sampled."""
    global _sample_bound
    _sample_bound = round(min(1.0, max(0.0, share)) * 2.0**64)


def read_environment() -> None:
    """Limits and sampling as the environment has them now; done once at import."""
    global ATTRIBUTES_MAX, EVENTS_MAX, LINKS_MAX
    ATTRIBUTES_MAX = _limit("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT")
    EVENTS_MAX = _limit("OTEL_SPAN_EVENT_COUNT_LIMIT")
    LINKS_MAX = _limit("OTEL_SPAN_LINK_COUNT_LIMIT")
    sample(sampler_share())


read_environment()


# ---- texts and attributes ----

def safe_text(value: object) -> str:
    """`str` of anything, without zero bytes; what cannot be shown is named by its type."""
    try:
        return str(value).replace("\0", "\ufffd")
    except Exception:
        return f"<{type(value).__name__} that cannot be shown>"


def name_of(value: object) -> bytes:
    """The bytes of a name: at most NAME_BYTES, cut between two characters, never empty."""
    data = _wire.text(safe_text(value))
    if len(data) > NAME_BYTES:
        data = data[:NAME_BYTES].decode("utf-8", "ignore").encode()
    return data or b"unnamed"


_short = reprlib.Repr()  # of a list that lies too deep: what is within may be endless
_short.maxlevel = 1


def _plain(value: Any, depth: int = 0, places: Iterator[None] | None = None) -> Any:
    """What `_wire.any_value` may have of a value. `places` are for items that its lists may still have."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd") if "\0" in value else value
    if value is None or isinstance(value, (bool, int, float, bytes)):
        return value
    if isinstance(value, (list, tuple)):
        if depth >= LIST_DEPTH_MAX:
            return _short.repr(list(value[:LIST_ITEMS_MAX])).replace("\0", "\ufffd")
        places = places or itertools.repeat(None, LIST_ITEMS_MAX)
        return [_plain(item, depth + 1, places) for item, _ in zip(value, places)]
    return str(value).replace("\0", "\ufffd")


def key_of(key: object) -> bytes | None:
    """The bytes of a key, or None of one that there cannot be."""
    name = _wire.text(key if type(key) is str else safe_text(key))
    return name if 0 < len(name) <= NAME_BYTES and b"\0" not in name else None


def _put(taken: Taken, limit: int, key: object, value: object) -> bool:
    """Puts {name: KeyValue} into `taken`. False: it is left out."""
    try:
        name = key_of(key)
        if name is None or value is None or (len(taken) >= limit and name not in taken):
            return False
        taken[name] = _wire.block(1, name) + _wire.block(2, _wire.any_value(_plain(value)))
        return True
    except Exception:
        return False


def _few(attributes: Attributes, limit: int = PART_ATTRIBUTES_MAX,
         taken: Taken | None = None) -> tuple[Taken, int]:
    """({name: KeyValue}, how many were left out) of some attributes, put behind those that are there."""
    taken, dropped = dict(taken or {}), 0
    try:
        for key, value in attributes.items() if attributes else ():
            dropped += not _put(taken, limit, key, value)
    except Exception:
        dropped += 1
    return taken, dropped


def _fields(number: int, taken: Taken) -> bytes:
    return b"".join([_wire.block(number, data) for data in taken.values()])


# ---- contexts ----

def is_sampled(trace_id: bytes, flags: int) -> bool:
    """What is said of the trace to others."""
    if flags & DECIDED:
        return bool(flags & SAMPLED)
    return int.from_bytes(trace_id[8:], "big") < _sample_bound


_TRACE_STATE = re.compile(f"[\t -~]{{0,{TRACE_STATE_BYTES}}}")  # its members are others' business


def _is_id(value: object, size: int) -> bool:
    return isinstance(value, bytes) and len(value) == size and any(value)


class TraceContext:
    """Where in a trace something belongs: handed on between threads, tasks and services. Does not change.

    trace_id: 16 bytes, or None where there is a decision and no span; span_id: 8 bytes; flags: SAMPLED,
    DECIDED, DEBUG and REMOTE added up; trace_state: of W3C Trace Context, "" without."""
    __slots__ = ("trace_id", "span_id", "flags", "trace_state")

    def __init__(self, trace_id: bytes | None = None, span_id: bytes | None = None, flags: int = 0,
                 trace_state: str = "") -> None:
        good = _is_id(trace_id, 16) and _is_id(span_id, 8)
        self.trace_id = trace_id if good else None
        self.span_id = span_id if good else None
        self.flags = flags
        self.trace_state = trace_state if trace_state and _TRACE_STATE.fullmatch(trace_state) else ""

    @property
    def sampled(self) -> bool:
        return is_sampled(self.trace_id, self.flags) if self.trace_id else bool(self.flags & SAMPLED)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TraceContext) and self._all() == other._all()

    def __hash__(self) -> int:
        return hash(self._all())

    def _all(self) -> tuple[bytes | None, bytes | None, int, str]:
        return self.trace_id, self.span_id, self.flags, self.trace_state

    def __repr__(self) -> str:
        has_span = self.trace_id is not None and self.span_id is not None
        ids = "no span"
        if self.trace_id is not None and self.span_id is not None:
            ids = f"{self.trace_id.hex()}, {self.span_id.hex()}"
        return f"TraceContext({ids}, flags={self.flags})"


# Another library's current span. Set by opentelemetry.py.
foreign: Callable[[], TraceContext | None] | None = None


def mother() -> Span | TraceContext | None:
    """Whose child a span is that begins now: the current one, else that of another library."""
    found = current.get()
    return found if found is not None or foreign is None else foreign()


def shown() -> Span | TraceContext | None:
    """The current span, if it is one of this process's and its trace is sampled: a Span or a TraceContext,
    which samples and budgets name; else None."""
    span = current.get()
    if span is None:
        return foreign() if foreign is not None else None
    return span if type(span) is Span and is_sampled(span.trace_id, span.flags) else None


# ---- spans ----

class Kind:
    """What is the same in all spans of one name: encoded once. `kind`: as of `Tracer.start_span`."""
    __slots__ = ("name", "attributes", "dropped", "_kind", "_service", "_layouts")

    def __init__(self, name: object, attributes: Attributes = None, kind: object = None,
                 service_name: object = None) -> None:
        self.name = name_of(name)
        self.attributes, self.dropped = _few(attributes, ATTRIBUTES_MAX)  # {name: KeyValue}
        self._kind = b"\x30" + _wire.varint(_kind_number(kind))
        self._service = b"" if service_name is None else _wire.block(101, name_of(service_name))
        self._layouts: dict[int, _Layout] = {}

    def with_attributes(self, attributes: Attributes) -> Kind:
        """The same with more attributes."""
        other = Kind.__new__(Kind)
        other.name, other._kind, other._service, other._layouts = self.name, self._kind, self._service, {}
        other.attributes, dropped = _few(attributes, ATTRIBUTES_MAX, self.attributes)
        other.dropped = self.dropped + dropped
        return other

    def plain(self, span: Span, end_unix_nano: int) -> bytes:
        """The record of a span that has nothing but this and its own ids and times."""
        parent = span.parent_span_id
        shape = span.flags & (SAMPLED | DECIDED) | (4 if parent else 0)
        layout = self._layouts.get(shape)
        if layout is None:
            layout = self._layouts[shape] = self._layout(shape)
        pack, head, middle, tail = layout
        if parent:
            return pack(head, span.trace_id, b"\x12\x08", span.span_id, b"\x22\x08", parent, middle,
                        span.start_unix_nano, b"\x41", end_unix_nano, tail)
        return pack(head, span.trace_id, b"\x12\x08", span.span_id, middle, span.start_unix_nano, b"\x41",
                    end_unix_nano, tail)

    def _layout(self, shape: int) -> _Layout:
        middle = _wire.block(5, self.name) + self._kind + b"\x39"
        tail = _fields(9, self.attributes) + _wire.count(10, self.dropped) + _flags(shape) + self._service
        ids = "16s2s8s2s8s" if shape & 4 else "16s2s8s"
        length = struct.calcsize("<" + ids) + 2 + len(middle) + 8 + 1 + 8 + len(tail)
        head = _wire.tag(13, 2) + _wire.varint(length) + b"\x0a\x10"
        pack = struct.Struct(f"<{len(head)}s{ids}{len(middle)}sQ1sQ{len(tail)}s").pack
        return pack, head, middle, tail

    def full(self, span: Any, extra: Extra, end_unix_nano: int) -> bytes:
        """The record of any span."""
        parts = [b"\x0a\x10", span.trace_id, b"\x12\x08", span.span_id]
        if span.trace_state:
            parts.append(_wire.block(3, span.trace_state.encode("ascii")))
        if span.parent_span_id:
            parts += b"\x22\x08", span.parent_span_id
        parts += (_wire.block(5, extra.name or self.name), self._kind,
                  b"\x39", _fixed64(span.start_unix_nano), b"\x41", _fixed64(end_unix_nano),
                  _fields(9, extra.attributes), _wire.count(10, extra.dropped_attributes),
                  *extra.events, _wire.count(12, extra.dropped_events),
                  *extra.links, _wire.count(14, extra.dropped_links))
        if extra.status:
            message = _wire.block(2, extra.message) if extra.message else b""
            parts.append(_wire.block(15, message + _wire.count(3, extra.status)))
        parts += _flags(span.flags), self._service
        return _wire.block(13, b"".join(parts))


_kinds: dict[Any, Kind] = {}  # (name, kind, service name): Kind


def kind_of(name: object, kind: object = None, service_name: object = None) -> Kind:
    """The Kind of a span without attributes of its own; the same one for the same texts, up to KINDS_MAX of
    them."""
    if type(name) is not str or (service_name is not None and type(service_name) is not str):
        return Kind(name, None, kind, service_name)
    key = (name, _kind_number(kind) if kind is not None else 1, service_name)
    found = _kinds.get(key)
    if found is None:
        found = Kind(name, None, kind, service_name)
        if len(_kinds) < KINDS_MAX and len(name) + len(service_name or "") <= KEPT_CHARACTERS:
            _kinds[key] = found
    return found


def _flags(flags: int) -> bytes:
    """The field `flags`: only where somebody has decided."""
    return b"\x85\x01" + bytes([flags & SAMPLED, 0, 0, 0]) if flags & DECIDED else b""


class Extra:
    """What a span has of its own."""
    __slots__ = ("name", "attributes", "events", "links", "dropped_attributes", "dropped_events",
                 "dropped_links", "status", "message", "exception")

    def __init__(self, kind: Kind) -> None:
        self.name: bytes | None = None
        self.attributes = dict(kind.attributes)
        self.events: list[bytes] = []
        self.links: list[bytes] = []
        self.dropped_attributes, self.dropped_events, self.dropped_links = kind.dropped, 0, 0
        self.status = 0
        self.message = b""
        self.exception: tuple[str, str] | None = None  # type and message of the last one


class Span:
    """One operation of a trace, from its making until `end`. Times are wall clock at the start, and from
    there by the monotonic clock: a step of the clock between moves nothing.

    trace_id: 16 bytes; span_id, parent_span_id (or None): 8 bytes; flags, trace_state: as of a
    TraceContext; start_unix_nano: nanoseconds since 1970. All of them to be read only."""
    trace_id: bytes
    span_id: bytes
    flags: int
    trace_state: str
    __slots__ = ("trace_id", "span_id", "parent_span_id", "flags", "trace_state", "start_unix_nano",
                 "_kind", "_client", "_extra", "_offset_ns", "_of", "_open", "__weakref__")

    def __init__(self, kind: Kind, parent: Span | TraceContext | None, client: _client.Client) -> None:
        self._kind = kind
        self._client = client
        self._extra: Extra | None = None
        self._of = _generation
        self._open = True
        self.trace_state = ""
        if parent is None or parent.trace_id is None:
            ids = (_random_bits(192) | _NOT_ZERO).to_bytes(24, "big")
            self.trace_id = ids[:16]
            self.span_id = ids[16:]
            self.parent_span_id: bytes | None = None
            self.flags = 0 if parent is None else parent.flags & ~REMOTE
        else:
            self.trace_id = parent.trace_id
            self.span_id = (_random_bits(64) or 1).to_bytes(8, "big")
            self.parent_span_id = parent.span_id
            self.flags = parent.flags & ~REMOTE
            if parent.trace_state:
                self.trace_state = parent.trace_state
                self._extra = Extra(kind)
        now_ns = _now_ns()
        wall_ns = self.start_unix_nano = _wall_ns()
        self._offset_ns = wall_ns - now_ns

    def is_recording(self) -> bool:
        """True until it has ended."""
        return hasattr(self, "_open")

    def get_span_context(self) -> TraceContext:
        """What others need to be its children; also after its end."""
        return TraceContext(self.trace_id, self.span_id, self.flags, self.trace_state)

    @property
    def sampled(self) -> bool:
        return is_sampled(self.trace_id, self.flags)

    def now_unix_nano(self) -> int:
        return _now_ns() + self._offset_ns

    def _own(self) -> Extra | None:
        """Its Extra, or None when it has ended."""
        extra = self._extra
        if not hasattr(self, "_open"):
            return None
        if extra is None:
            extra = self._extra = Extra(self._kind)
        return extra

    def set_attribute(self, key: Any, value: Any) -> None:
        """A text, a number, a bool, bytes or a list of these; anything else is its text, None is left out.
        Of a key that is set again the last value counts. Past ATTRIBUTES_MAX it is left out and counted."""
        extra = self._own()
        if extra is not None and not _put(extra.attributes, ATTRIBUTES_MAX, key, value):
            extra.dropped_attributes += 1

    def set_attributes(self, attributes: Any) -> None:
        try:
            for key, value in attributes.items():
                self.set_attribute(key, value)
        except Exception:
            extra = self._own()
            if extra is not None:
                extra.dropped_attributes += 1

    def add_event(self, name: Any, attributes: Any = None, timestamp: int | None = None) -> None:
        """An event that happens now, or at `timestamp`, nanoseconds since 1970."""
        extra = self._own()
        if extra is None:
            return
        try:
            if len(extra.events) >= EVENTS_MAX:
                raise OverflowError
            taken, dropped = _few(attributes)
            data = b"\x09" + _fixed64(self.now_unix_nano() if timestamp is None else timestamp)
            data += _wire.block(2, _wire.text(safe_text(name)))
            data += _fields(3, taken) + _wire.count(4, dropped)
            extra.events.append(_wire.block(11, data))
        except Exception:
            extra.dropped_events += 1

    def add_link(self, context: Any, attributes: Any = None) -> None:
        """Another span that this one has to do with, without being its child: a Span, a TraceContext, or a
        SpanContext of OpenTelemetry."""
        extra = self._own()
        if extra is None:
            return
        try:
            context = context_of(context)
            if len(extra.links) >= LINKS_MAX or context is None or not context.trace_id:
                raise OverflowError
            taken, dropped = _few(attributes)
            data = _wire.block(1, context.trace_id) + _wire.block(2, context.span_id)
            if context.trace_state:
                data += _wire.block(3, context.trace_state.encode("ascii"))
            data += _fields(4, taken) + _wire.count(5, dropped)
            if context.flags & DECIDED:
                data += b"\x35" + bytes([context.flags & SAMPLED, 0, 0, 0])
            extra.links.append(_wire.block(13, data))
        except Exception:
            extra.dropped_links += 1

    def record_exception(self, exception: BaseException, attributes: Any = None,
                         timestamp: int | None = None, escaped: bool = False) -> None:
        """The event `exception` with its type, message and stack. The same type and message again, without
        another in between, is the same exception on its way out, and is not recorded twice. The status
        stays as it is."""
        extra = self._own()
        if extra is not None:
            kind, message = type(exception).__name__, safe_text(exception)
            if extra.exception != (kind, message):
                extra.exception = (kind, message)
                said = {"exception.type": kind, "exception.message": message,
                        "exception.stacktrace": _stack(exception)}
                try:
                    said.update(attributes or {})
                except Exception:
                    extra.dropped_attributes += 1
                self.add_event("exception", said, timestamp)

    def set_status(self, status: Any = None, description: Any = None) -> None:
        """`status`: "unset", "ok", "error", 0 to 2, or what OpenTelemetry has for them. Of errors the last
        one counts, ok is final, unset and what is none of these is ignored. A description goes with errors
        only."""
        extra = self._own()
        if extra is None:
            return
        code = _status_code(status)
        if code and extra.status != 1:
            extra.status = code
            if description is None:
                description = getattr(status, "description", None)
            said = code == 2 and description is not None
            extra.message = _wire.text(safe_text(description)) if said else b""

    def fail(self, exception: BaseException) -> None:
        """Ended by an exception: recorded, and the status is error with its message."""
        self.record_exception(exception)
        self.set_status(2, safe_text(exception))

    def update_name(self, name: Any) -> None:
        extra = self._own()
        if extra is not None:
            extra.name = name_of(name)

    def end(self, end_time: int | None = None) -> None:
        """Ends it and records it. `end_time`: nanoseconds since 1970. What comes after the first call is a
        no-op."""
        self.end_as(self._kind, end_time)

    def end_as(self, kind: Kind, end_time: int | None = None) -> None:
        """The same with what a Kind has, in place of its own."""
        try:
            del self._open  # of two threads one does it
        except AttributeError:
            return
        if self._of != _generation:
            return
        try:
            end_ns = end_time if end_time is not None else _now_ns() + self._offset_ns
            if end_ns < self.start_unix_nano:
                end_ns = self.start_unix_nano
            extra = self._extra
            record = kind.plain(self, end_ns) if extra is None else kind.full(self, extra, end_ns)
        except Exception:
            self._client.drop()
            return
        self._client.put(record)

    def __enter__(self) -> Span:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if error is not None and not is_cancellation(error):
            self.fail(error)
        self.end()

    def __repr__(self) -> str:
        return f"<Span {self._kind.name.decode()!r} {self.trace_id.hex()} {self.span_id.hex()}>"


def _stack(exception: BaseException) -> str | None:
    try:
        lines = traceback.format_exception(type(exception), exception, exception.__traceback__,
                                           -STACK_FRAMES_MAX)
        return "".join(lines).replace("\0", "\ufffd")[-_wire.TEXT_MAX:]
    except Exception:
        return None


_STATUS_CODES = {"unset": 0, "ok": 1, "error": 2}


def _status_code(status: Any) -> int:
    """0 to 2; of what is no status, 0."""
    try:
        status = getattr(status, "status_code", status)  # OpenTelemetry's Status has one, which is an enum
        status = getattr(status, "name", status)
        if isinstance(status, str):
            return _STATUS_CODES.get(status.lower(), 0)
        return status if status in (1, 2) else 0
    except Exception:
        return 0


def is_cancellation(error: BaseException) -> bool:
    """What ends a task or a generator from outside: neither an error nor a wish to end the program."""
    return not isinstance(error, (Exception, KeyboardInterrupt, SystemExit))


def context_of(found: Any) -> TraceContext | None:
    """The TraceContext of a span of any library, or None. Raises nothing for what is none."""
    if found is None or type(found) is TraceContext:  # isinstance would ask the object
        return found
    if type(found) is Span:
        return found.get_span_context()
    try:
        found = found.get_span_context() if hasattr(found, "get_span_context") else found
        trace_id, span_id = found.trace_id, found.span_id
        if isinstance(trace_id, int):  # OpenTelemetry
            trace_id, span_id = trace_id.to_bytes(16, "big"), span_id.to_bytes(8, "big")
        if len(trace_id) != 16 or len(span_id) != 8 or not any(trace_id) or not any(span_id):
            return None
        return TraceContext(trace_id, span_id, DECIDED | int(found.trace_flags) & SAMPLED | REMOTE)
    except Exception:
        return None


# ---- tracers ----

NO_SPAN = NoOpSpan()  # one for all: it has no state


def _kind_number(kind: Any) -> int:
    """The number of a word, or of OpenTelemetry's SpanKind; of anything else that of `internal`."""
    try:
        kind = getattr(kind, "name", kind)
        return _wire.KINDS.get(str(kind).lower(), 1)
    except Exception:
        return 1


def _parts_of_link(link: Any) -> tuple[Any, Any]:
    """(context, attributes) of a Link of OpenTelemetry, or of what is a context itself."""
    try:
        return getattr(link, "context", link), getattr(link, "attributes", None)
    except Exception:
        return None, None


class Tracer:
    """Makes spans. `name` says whose they are in the application; nothing of it is sent."""

    def __init__(self, name: str | None = None, service_name: str | None = None) -> None:
        self.name = name
        self._service_name = service_name

    def start_span(self, name: Any, context: Any = None, kind: Any = None, attributes: Any = None,
                   links: Any = None, start_time: int | None = None, **_options: Any) -> Span | NoOpSpan:
        """Starts a span that does not become current. `context`: whose child it is, a Span or TraceContext;
        without, of the current one. `kind`: "internal", "server", "client", "producer", "consumer".
        `start_time`: nanoseconds since 1970. Without a daemon it is a NoOpSpan, and counted as dropped."""
        client = _client._default or _client.client()
        if client.away:
            client.drop()
            return NO_SPAN
        span = Span(kind_of(name, kind, self._service_name),
                    context_of(context) or mother(), client)
        if type(start_time) is int and 0 < start_time < 2**63:
            span.start_unix_nano = start_time
        if attributes is not None:
            span.set_attributes(attributes)
        for link in links if type(links) in (list, tuple) else ():
            span.add_link(*_parts_of_link(link))
        return span

    def start_as_current_span(self, name: Any, context: Any = None, kind: Any = None,
                              attributes: Any = None, links: Any = None, start_time: int | None = None,
                              record_exception: bool = True, set_status_on_exception: bool = True,
                              end_on_exit: bool = True, **_options: Any) -> Current | NoOpSpan:
        """`with` starts a span that is current in the block and ends with it. An exception is recorded, and
        passes."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        if span is NO_SPAN:
            return NO_SPAN
        return Current(span, record_exception, set_status_on_exception, end_on_exit)


class Current:
    """Makes a span current in a block, sync or async."""
    __slots__ = ("_span", "_tokens", "_records", "_sets_status", "_ends")

    def __init__(self, span: Span | NoOpSpan, record_exception: bool = True,
                 set_status_on_exception: bool = True, end_on_exit: bool = True) -> None:
        self._span = span
        self._tokens: list[_Token] = []
        self._records = record_exception
        self._sets_status = set_status_on_exception
        self._ends = end_on_exit

    def __enter__(self) -> Span | NoOpSpan:
        if isinstance(self._span, Span):
            self._tokens.append(current.set(self._span))
        return self._span

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if isinstance(self._span, Span):
            _leave_last(self._tokens, self._span)
        if error is not None and not is_cancellation(error):
            if self._records:
                self._span.record_exception(error)
            if self._sets_status:
                self._span.set_status(2, safe_text(error))
        if self._ends:
            self._span.end()
        return None

    async def __aenter__(self) -> Span | NoOpSpan:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        self.__exit__(kind, error, trace)


def leave(token: _Token, own: Span | TraceContext | None = None) -> None:
    """Makes current what was before. A block that is left in another context than it was entered in (a
    generator that goes on or is closed elsewhere) has nothing to undo there, unless `own`, what it had made
    current, is so there as well."""
    try:
        current.reset(token)
    except (ValueError, RuntimeError):
        if own is not None and current.get() is own:
            before = token.old_value
            current.set(None if before is contextvars.Token.MISSING else before)


def _leave_last(tokens: list[_Token], own: Span | TraceContext | None) -> None:
    """The same with the last token of this context, of those of all contexts that are in a block."""
    for token in tokens[::-1]:
        try:
            current.reset(token)
        except ValueError:
            continue  # of another one
        tokens.remove(token)
        return
    if tokens:
        leave(tokens.pop(), own)


def get_current_span() -> Span | NoOpSpan:
    """The current span of this thread or task; a NoOpSpan where there is none of ours."""
    span = current.get()
    return span if isinstance(span, Span) else NO_SPAN


class attach:
    """`with attach(context):` makes a TraceContext, or a span, what spans begun in the block are children
    of: in another thread, or behind the headers of a request. None is a block without a parent. Any number
    of threads and tasks may be in the block of one object, each as often as it likes."""

    def __init__(self, context: Any) -> None:
        self._context = context if type(context) is Span else context_of(context)
        self._tokens: list[_Token] = []

    def __enter__(self) -> Span | TraceContext | None:
        self._tokens.append(current.set(self._context))
        return self._context

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        _leave_last(self._tokens, self._context)
        return None
