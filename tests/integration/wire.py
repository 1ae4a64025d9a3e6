"""Writes DWL1 frames and reads replies, from proto/WIRE.md and nothing else.

It knows no socket and no record's meaning: what a test wants to send, however wrong, it writes.
"""
import struct

MAGIC = b"DWL1"

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# Sample: name -> (field number, how it is written)
SAMPLE_FIELDS = {
    "model_name": (1, "text"),
    "model_ref": (2, "varint"),
    "execution_time_ms": (3, "double"),
    "cpu_percent_during": (4, "double"),
    "memory_mb_after": (5, "double"),
    "cpu_percent_before": (6, "double"),
    "memory_mb_before": (7, "double"),
    "error": (8, "varint"),
    "queue_ms": (9, "double"),
    "batch_size": (10, "double"),
    "device": (11, "text"),
    "trace_id": (12, "hex"),
    "span_id": (13, "hex"),
    "timestamp_unix_nano": (14, "fixed64"),
    "error_text": (16, "text"),
    "user_ms": (17, "double"),
    "system_ms": (18, "double"),
    "runqueue_ms": (19, "double"),
    "minor_faults": (20, "double"),
    "major_faults": (21, "double"),
    "voluntary_switches": (22, "double"),
    "bytes_moved": (23, "double"),
    "flops": (24, "double"),
    "threads": (25, "double"),
    "process_cpu_ms": (26, "double"),
    "involuntary_switches": (27, "double"),
    "disk_bytes": (28, "double"),
    "thread_id": (29, "varint"),
}
LABEL_FIELD = 15

METRIC_FIELDS = {
    "name": (1, "text"),
    "name_ref": (2, "varint"),
    "op": (3, "varint"),
    "value": (4, "double"),
    "unit": (6, "text"),
    "aggregation": (7, "varint"),
    "trace_id": (8, "hex"),
    "span_id": (9, "hex"),
    "timestamp_unix_nano": (10, "fixed64"),
    "weight": (11, "varint"),
}
ATTRIBUTE_FIELD = 5
COUNT, SET, ADD, OBSERVE, INFO = range(1, 6)
LAST, SUM, MAX, MIN, PER_PID = range(1, 6)

SPAN_FIELDS = {
    "trace_id": (1, "hex"),
    "span_id": (2, "hex"),
    "name": (5, "text"),
    "start_time_unix_nano": (7, "fixed64"),
    "end_time_unix_nano": (8, "fixed64"),
    "flags": (16, "fixed32"),
    "part": (100, "varint"),
    "service_name": (101, "text"),
}
WHOLE, FIRST_HALF, SECOND_HALF = range(3)

BUDGET_FIELDS = {
    "layer": (1, "text"),
    "elapsed_ms": (2, "double"),
    "operation": (3, "text"),
    "request_id": (4, "text"),
    "trace_id": (5, "hex"),
    "span_id": (6, "hex"),
    "timestamp_unix_nano": (7, "fixed64"),
    "flags": (8, "fixed32"),
    "before_ms": (9, "double"),
}

HELLO_FIELDS = {
    "service_name": (1, "text"),
    "service_version": (2, "text"),
    "pid": (3, "varint"),
    "constitutional_hash": (4, "text"),
    "client": (5, "text"),
    "acknowledge": (6, "varint"),
}

STRINGS, SAMPLE, HELLO, FLUSH, GOODBYE, SPAN, METRIC, BUDGET = 4, 8, 9, 10, 11, 13, 14, 15


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def tag(number, kind):
    return varint(number << 3 | kind)


def field_bytes(number, content):
    return tag(number, BYTES) + varint(len(content)) + content


def field_varint(number, value):
    return tag(number, VARINT) + varint(value)


def _write(number, how, value):
    if how == "double":
        return tag(number, FIXED64) + struct.pack("<d", value)
    if how == "fixed64":
        return tag(number, FIXED64) + struct.pack("<Q", value)
    if how == "fixed32":
        return tag(number, FIXED32) + struct.pack("<I", value)
    if how == "varint":
        return field_varint(number, int(value))
    if how == "hex":
        return field_bytes(number, bytes.fromhex(value))
    return field_bytes(number, value if isinstance(value, bytes) else value.encode())


def sample(labels=None, **fields):
    """The content of a Sample message; text may also be given as bytes."""
    content = b"".join(_write(*SAMPLE_FIELDS[name], value) for name, value in fields.items())
    for key, value in (labels or {}).items():
        content += field_bytes(LABEL_FIELD, field_bytes(1, key.encode()) + field_bytes(2, value.encode()))
    return content


def metric(attributes=None, **fields):
    """The content of a Metric message: fields in their order here, then attributes. A key or value that is a number
    is a reference to the string table."""
    content = b"".join(_write(*METRIC_FIELDS[name], value) for name, value in fields.items())
    for key, value in (attributes or {}).items():
        content += field_bytes(ATTRIBUTE_FIELD, b"".join(
            field_varint(number + 1, text) if isinstance(text, int) else field_bytes(number, text.encode())
            for number, text in ((1, key), (3, value))))
    return content


def span(**fields):
    """The content of a Span message: fields in their order here."""
    return b"".join(_write(*SPAN_FIELDS[name], value) for name, value in fields.items())


def budget(**fields):
    """The content of a Budget message: fields in their order here."""
    return b"".join(_write(*BUDGET_FIELDS[name], value) for name, value in fields.items())


def hello(**fields):
    return b"".join(_write(*HELLO_FIELDS[name], value) for name, value in fields.items())


def batch(samples=(), client_id=None, first_sequence=None, dropped=None, strings=(), constitutional_hash=None,
          hello_message=None, flush=False, goodbye=None, metrics=(), spans=(), budgets=()):
    """The content of a Batch message: head, hello, samples, metrics, spans, budgets, flush, goodbye."""
    out = b""
    if client_id is not None:
        out += field_bytes(1, client_id)
    if first_sequence is not None:
        out += field_varint(2, first_sequence)
    if dropped is not None:
        out += field_varint(3, dropped)
    for text in strings:
        out += field_bytes(STRINGS, text.encode())
    if constitutional_hash is not None:
        out += field_bytes(5, constitutional_hash.encode())
    if hello_message is not None:
        out += field_bytes(HELLO, hello_message)
    out += b"".join(field_bytes(SAMPLE, content) for content in samples)
    out += b"".join(field_bytes(METRIC, content) for content in metrics)
    out += b"".join(field_bytes(SPAN, content) for content in spans)
    out += b"".join(field_bytes(BUDGET, content) for content in budgets)
    if flush:
        out += field_bytes(FLUSH, b"")
    if goodbye is not None:
        out += field_bytes(GOODBYE, field_varint(1, goodbye))
    return out


def frame(content):
    return struct.pack("<I", len(content)) + content


def _read_varint(data, at):
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return number, at


def read_replies(data):
    """The Reply messages in `data`, which must hold whole frames: a list of dicts."""
    names = {1: "flushed", 2: "acknowledged", 3: "error", 4: "reason", 5: "acknowledging"}
    replies = []
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        at += 4
        end = at + length
        assert end <= len(data), "a reply is cut off"
        reply = {}
        while at < end:
            key, at = _read_varint(data, at)
            value, at = _read_varint(data, at)
            if key & 7 == BYTES:
                value, at = data[at:at + value].decode(), at + value
            reply[names[key >> 3]] = value
        replies.append(reply)
    return replies
