"""Records and batches as the bytes of proto/dwell.proto. Pure: no clock, no socket, no state.

Happy path:
    1. what does not change between records of one kind is encoded once (`Plain`, `Series`)
    2. a record is then one `struct.pack` around its number, and carries its own tag and length
    3. `batch` puts a head before some hundred of them, `frame` the length before that

Fields stand in ascending order and names inline, so that a record needs nothing of its batch and the daemon
knows a metric by the bytes around its value (proto/WIRE.md, "The quick way").

What can fail: a value that is no number raises TypeError or struct.error, a text whose `str` raises, whatever
that raises; callers drop the record and count it. Numbers and names out of range are the daemon's to judge.
"""
from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

MAGIC = b"DWL1"

# Longer texts are cut: the daemon takes none of them, and records stay bounded.
TEXT_MAX = 16384

_double = struct.Struct("<d").pack
_fixed64 = struct.Struct("<Q").pack
_fixed32 = struct.Struct("<I").pack

COUNT, SET, ADD, OBSERVE, INFO = 1, 2, 3, 4, 5
AGGREGATIONS = {"last": 1, "sum": 2, "max": 3, "min": 4, "per_pid": 5}
KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
STATUSES = {"unset": 0, "ok": 1, "error": 2}
WHOLE, START, END = 0, 1, 2

# Fields of a sample behind execution_time_ms, by their numbers in dwell.proto.
_SAMPLE_NUMBERS = (
    (4, "cpu_percent_during"), (5, "memory_mb_after"), (6, "cpu_percent_before"), (7, "memory_mb_before"),
    (9, "queue_ms"), (10, "batch_size"), (17, "user_ms"), (18, "system_ms"), (19, "runqueue_ms"),
    (20, "minor_faults"), (21, "major_faults"), (22, "voluntary_switches"), (23, "bytes_moved"), (24, "flops"),
    (25, "threads"), (26, "process_cpu_ms"), (27, "involuntary_switches"), (28, "disk_bytes"))


def varint(number: int) -> bytes:
    """An unsigned number in base 128, least significant group first."""
    if number < 128:
        return _SMALL[number]
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


_SMALL = [bytes([number]) for number in range(128)]


def text(value: object) -> bytes:
    """UTF-8 of any object, cut between two characters; lone surrogates become `?`."""
    data = (value if type(value) is str else str(value))[:TEXT_MAX].encode("utf-8", "replace")
    return data if len(data) <= TEXT_MAX else data[:TEXT_MAX].decode("utf-8", "ignore").encode()


def tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def block(number: int, data: bytes) -> bytes:
    """A field of bytes: a text or a message."""
    return tag(number, 2) + varint(len(data)) + data


def number64(number: int, value: float) -> bytes:
    """A field of 8 bytes that holds a double."""
    return tag(number, 1) + _double(value)


def time64(number: int, nanoseconds: int) -> bytes:
    return tag(number, 1) + _fixed64(nanoseconds)


# ---- samples ----

class Plain:
    """What is the same in all plain samples of a model: `pack(head, ms)` is one, `fail(ms)` a failed one."""
    __slots__ = ("head", "pack", "_failed", "_fail")

    def __init__(self, model_name: object) -> None:
        name = block(1, text(model_name)) + tag(3, 1)
        self.head = tag(8, 2) + varint(len(name) + 8) + name
        self.pack = struct.Struct(f"<{len(self.head)}sd").pack
        self._failed = tag(8, 2) + varint(len(name) + 10) + name
        self._fail = struct.Struct(f"<{len(self._failed)}sd2s").pack

    def fail(self, execution_time_ms: float) -> bytes:
        return self._fail(self._failed, execution_time_ms, b"\x40\x01")


def sample(model_name: object, execution_time_ms: float, *, error: bool = False, error_text: object = None,
           device: object = None, trace_id: bytes | None = None, span_id: bytes | None = None,
           timestamp_unix_nano: int | None = None, labels: Mapping[str, object] | None = None,
           thread_id: int | None = None, **numbers: float | None) -> bytes:
    """A sample with any of its fields; those that are None are not sent."""
    fields = {1: block(1, text(model_name)), 3: number64(3, execution_time_ms)}
    for number, name in _SAMPLE_NUMBERS:
        value = numbers.get(name)
        if value is not None:
            fields[number] = number64(number, value)
    if error:
        fields[8] = b"\x40\x01"
    if device is not None:
        fields[11] = block(11, text(device))
    if trace_id is not None:
        fields[12] = block(12, trace_id)
    if span_id is not None:
        fields[13] = block(13, span_id)
    if timestamp_unix_nano is not None:
        fields[14] = time64(14, timestamp_unix_nano)
    if labels:
        fields[15] = b"".join(block(15, block(1, text(key)) + block(2, text(value)))
                              for key, value in labels.items())
    if error_text is not None:
        fields[16] = block(16, text(error_text))
    if thread_id is not None:
        fields[29] = tag(29, 0) + varint(thread_id)
    return block(8, b"".join(fields[number] for number in sorted(fields)))


# ---- metrics ----

def scalar(value: object) -> object:
    """An attribute of a metric as text: what NDJSON would show of it."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    return value


class Series:
    """One series of a counter, gauge or histogram: `pack(head, value, tail)` is a record of it."""
    __slots__ = ("head", "tail", "pack")

    def __init__(self, name: object, operation: int, attributes: Mapping[str, object] | None = None,
                 unit: str | None = None, aggregation: str | None = None) -> None:
        head = block(1, text(name)) + b"\x18" + varint(operation) + b"\x21"
        tail = attributes_of_metric(attributes)
        if unit:
            tail += block(6, text(unit))
        if aggregation:
            tail += b"\x38" + varint(AGGREGATIONS[aggregation])
        self.head = tag(14, 2) + varint(len(head) + 8 + len(tail)) + head
        self.tail = tail
        self.pack = struct.Struct(f"<{len(self.head)}sd{len(tail)}s").pack


def attributes_of_metric(attributes: Mapping[str, object] | None) -> bytes:
    if not attributes:
        return b""
    return b"".join(block(5, block(1, text(key)) + block(3, text(scalar(value))))
                    for key, value in attributes.items() if value is not None)


def metric(name: object, operation: int, value: float | None = None, *,
           attributes: Mapping[str, object] | None = None, unit: str | None = None,
           aggregation: str | None = None, trace_id: bytes | None = None, span_id: bytes | None = None,
           timestamp_unix_nano: int | None = None, weight: int | None = None) -> bytes:
    """A metric with any of its fields."""
    data = block(1, text(name)) + b"\x18" + varint(operation)
    if value is not None:
        data += b"\x21" + _double(value)
    data += attributes_of_metric(attributes)
    if unit is not None:
        data += block(6, text(unit))
    if aggregation is not None:
        data += b"\x38" + varint(AGGREGATIONS[aggregation])
    if trace_id is not None:
        data += block(8, trace_id)
    if span_id is not None:
        data += block(9, span_id)
    if timestamp_unix_nano is not None:
        data += time64(10, timestamp_unix_nano)
    if weight is not None:
        data += b"\x58" + varint(weight)
    return block(14, data)


# ---- budgets ----

def budget(layer: object, elapsed_ms: float, *, operation: object = None, request_id: object = None,
           trace_id: bytes | None = None, span_id: bytes | None = None,
           timestamp_unix_nano: int | None = None, flags: int | None = None,
           before_ms: float | None = None) -> bytes:
    data = block(1, text(layer)) + b"\x11" + _double(elapsed_ms)
    if operation is not None:
        data += block(3, text(operation))
    if request_id is not None:
        data += block(4, text(request_id))
    if trace_id is not None:
        data += block(5, trace_id)
    if span_id is not None:
        data += block(6, span_id)
    if timestamp_unix_nano is not None:
        data += time64(7, timestamp_unix_nano)
    if flags is not None:
        data += b"\x45" + _fixed32(flags)
    if before_ms is not None:
        data += b"\x49" + _double(before_ms)
    return block(15, data)


# ---- spans ----

def any_value(value: object) -> bytes:
    """An AnyValue of OTLP; None, in a list, is one without a value, and what is nothing else is its text."""
    if value is None:
        return b""
    if value is True or value is False:
        return b"\x10" + (b"\x01" if value else b"\x00")
    if isinstance(value, str):
        return block(1, text(value))
    if isinstance(value, int) and -2**63 <= value < 2**63:
        return b"\x18" + varint(value % 2**64)
    if isinstance(value, float):
        return b"\x21" + _double(value)
    if isinstance(value, (list, tuple)):
        return block(5, b"".join(block(1, any_value(item)) for item in value))
    if isinstance(value, bytes):
        return block(7, value[:TEXT_MAX])
    return block(1, text(value))


def key_values(number: int, attributes: Mapping[str, object] | None) -> bytes:
    if not attributes:
        return b""
    return b"".join(block(number, block(1, text(key)) + block(2, any_value(value)))
                    for key, value in attributes.items() if value is not None)


def count(number: int, value: int) -> bytes:
    return tag(number, 0) + varint(value) if value else b""


def event(name: object, time_unix_nano: int, attributes: Mapping[str, object] | None = None,
          dropped: int = 0) -> bytes:
    data = b"\x09" + _fixed64(time_unix_nano) + block(2, text(name)) + key_values(3, attributes) + count(4, dropped)
    return block(11, data)


def link(trace_id: bytes, span_id: bytes, trace_state: str = "",
         attributes: Mapping[str, object] | None = None, dropped: int = 0,
         flags: int | None = None) -> bytes:
    data = block(1, trace_id) + block(2, span_id)
    if trace_state:
        data += block(3, text(trace_state))
    data += key_values(4, attributes) + count(5, dropped)
    if flags is not None:
        data += b"\x35" + _fixed32(flags)
    return block(13, data)


def span(name: object, trace_id: bytes, span_id: bytes, start_unix_nano: int | None = None,
         end_unix_nano: int | None = None, *, parent_span_id: bytes | None = None, trace_state: str = "",
         kind: int = 0, attributes: Mapping[str, object] | None = None, dropped_attributes: int = 0,
         events: Iterable[bytes] = (), dropped_events: int = 0, links: Iterable[bytes] = (),
         dropped_links: int = 0, status: int = 0, status_message: object = "", flags: int | None = None,
         part: int = WHOLE, service_name: object = None) -> bytes:
    """A span. `events` and `links` are what `event` and `link` made; `kind` and `status` are numbers."""
    parts = [block(1, trace_id), block(2, span_id)]
    if trace_state:
        parts.append(block(3, text(trace_state)))
    if parent_span_id:
        parts.append(block(4, parent_span_id))
    parts.append(block(5, text(name)))
    if kind:
        parts.append(b"\x30" + varint(kind))
    if start_unix_nano is not None:
        parts.append(b"\x39" + _fixed64(start_unix_nano))
    if end_unix_nano is not None:
        parts.append(b"\x41" + _fixed64(end_unix_nano))
    parts.append(key_values(9, attributes))
    parts.append(count(10, dropped_attributes))
    parts.extend(events)
    parts.append(count(12, dropped_events))
    parts.extend(links)
    parts.append(count(14, dropped_links))
    if status or status_message:
        message = block(2, text(status_message)) if status_message else b""
        parts.append(block(15, message + count(3, status)))
    if flags is not None:
        parts.append(b"\x85\x01" + _fixed32(flags))
    if part:
        parts.append(b"\xa0\x06" + varint(part))
    if service_name:
        parts.append(block(101, text(service_name)))
    return block(13, b"".join(parts))


# ---- batches ----

def hello(service_name: object = None, service_version: object = None, pid: int | None = None,
          constitutional_hash: object = None, client: object = None) -> bytes:
    data = b""
    texts = {1: service_name, 2: service_version, 4: constitutional_hash, 5: client}
    for number in range(1, 6):
        if number == 3 and pid is not None:
            data += tag(3, 0) + varint(pid)
        elif texts.get(number) is not None:
            data += block(number, text(texts[number]))
    return block(9, data)


FLUSH = block(10, b"")


def goodbye(sequence: int) -> bytes:
    return block(11, b"\x08" + varint(sequence))


def frame(client_id: bytes, first_sequence: int, dropped: int, records: Iterable[bytes]) -> bytes:
    """A whole frame: length, head, records that are bytes already."""
    head = block(1, client_id) + b"\x10" + varint(first_sequence) + b"\x18" + varint(dropped)
    length = len(head) + sum(map(len, records))
    return b"".join((_fixed32(length), head, *records))


# ---- replies ----

class Replies:
    """Takes what the daemon sends, in any split. `feed` gives the counts of flushes that were answered.

    Replies are small, and the daemon keeps 64 kB of them at most: a length above LENGTH_MAX is none of ours, and
    `broken`. A daemon that refuses the connection says so by one line of JSON: `line`."""
    LENGTH_MAX = 64 * 1024

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.broken = False
        self.line = False
        self.error: str | None = None

    def feed(self, data: bytes) -> list[int]:
        self._bytes += data
        flushed: list[int] = []
        while len(self._bytes) >= 4 and not self.broken:
            length = int.from_bytes(self._bytes[:4], "little")
            if length > self.LENGTH_MAX:
                self.broken, self.line = True, self._bytes[:1] == b"{"
                self.error = bytes(self._bytes[:256]).decode("utf-8", "replace").rstrip("\n")
            elif len(self._bytes) < 4 + length:
                break
            else:
                body = bytes(self._bytes[4:4 + length])
                del self._bytes[:4 + length]
                self._take(body, flushed)
        if self.broken:
            self._bytes.clear()
        return flushed

    def _take(self, body: bytes, flushed: list[int]) -> None:
        at = 0
        try:
            while at < len(body):
                key, at = read_varint(body, at)
                if key & 7 == 0:
                    value, at = read_varint(body, at)
                    if key == 1 << 3:
                        flushed.append(value)
                elif key & 7 == 2:
                    length, at = read_varint(body, at)
                    if key == 3 << 3 | 2:
                        self.error = body[at:at + length].decode("utf-8", "replace")
                    at += length
                else:
                    at += {1: 8, 5: 4}[key & 7]
        except (IndexError, KeyError, ValueError):
            self.broken = True
            return
        self.broken = at > len(body)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, where the next one begins)"""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of more than 10 bytes")
