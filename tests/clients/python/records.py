"""Reads the records that a client makes, from proto/dwell.proto and nothing else.

It reads strictly: an unknown field, a field out of ascending order and one given twice are errors.
"""
import struct

# message -> field number -> (name, how it is read); a "*" behind the name: repeated
FIELDS = {
    "record": {8: ("sample", "bytes"), 13: ("span", "span"), 14: ("metric", "metric"), 15: ("budget", "budget")},
    "metric": {1: ("name", "text"), 3: ("op", "varint"), 4: ("value", "double"), 5: ("attributes*", "label"),
               6: ("unit", "text"), 7: ("aggregation", "varint"), 11: ("weight", "varint")},
    "label": {1: ("key", "text"), 3: ("value", "text")},
    "budget": {1: ("layer", "text"), 2: ("elapsed_ms", "double"), 3: ("operation", "text"),
               5: ("trace_id", "bytes"), 6: ("span_id", "bytes"), 7: ("timestamp_unix_nano", "fixed64"),
               8: ("flags", "fixed32"), 9: ("before_ms", "double")},
    "span": {1: ("trace_id", "bytes"), 2: ("span_id", "bytes"), 3: ("trace_state", "text"),
             4: ("parent_span_id", "bytes"), 5: ("name", "text"), 6: ("kind", "varint"),
             7: ("start_time_unix_nano", "fixed64"), 8: ("end_time_unix_nano", "fixed64"),
             9: ("attributes*", "key_value"), 10: ("dropped_attributes", "varint"), 11: ("events*", "event"),
             12: ("dropped_events", "varint"), 13: ("links*", "link"), 14: ("dropped_links", "varint"),
             15: ("status", "status"), 16: ("flags", "fixed32"), 101: ("service_name", "text")},
    "key_value": {1: ("key", "text"), 2: ("value", "any")},
    "any": {1: ("text", "text"), 2: ("bool", "bool"), 3: ("int", "int64"), 4: ("double", "double"),
            5: ("list", "list"), 7: ("bytes", "bytes")},
    "list": {1: ("values*", "any")},
    "event": {1: ("time_unix_nano", "fixed64"), 2: ("name", "text"), 3: ("attributes*", "key_value"),
              4: ("dropped_attributes", "varint")},
    "link": {1: ("trace_id", "bytes"), 2: ("span_id", "bytes"), 3: ("trace_state", "text"),
             4: ("attributes*", "key_value"), 5: ("dropped_attributes", "varint"), 6: ("flags", "fixed32")},
    "status": {2: ("message", "text"), 3: ("code", "varint")},
}
_WIRE = {0: "varint", 1: "8 bytes", 2: "block", 5: "4 bytes"}
_TYPES = {"varint": 0, "bool": 0, "int64": 0, "double": 1, "fixed64": 1, "fixed32": 5}
_SCALARS = {"varint": int, "bool": bool, "double": lambda data: struct.unpack("<d", data)[0],
            "int64": lambda number: number - 2**64 if number >= 2**63 else number,
            "fixed64": lambda data: int.from_bytes(data, "little"), "bytes": bytes,
            "fixed32": lambda data: int.from_bytes(data, "little"), "text": lambda data: data.decode("utf-8")}


def _varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


def read(message, data):
    """The message as a dict; attributes as {key: value}; an AnyValue as its value."""
    found, at, last = {}, 0, 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        name, how = FIELDS[message][number]
        assert number > last or (number == last and name.endswith("*")), f"{name} of {message} is out of order"
        assert kind == _TYPES.get(how, 2), f"{name} of {message} is written as {_WIRE[kind]}"
        last = number
        if kind == 0:
            value, at = _varint(data, at)
        else:
            size, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            assert at + size <= len(data), f"{name} of {message} is cut"
            value, at = data[at:at + size], at + size
        value = _SCALARS[how](value) if how in _SCALARS else read(how, value)
        if name.endswith("*"):
            found.setdefault(name[:-1], []).append(value)
        else:
            found[name] = value
    if message == "any":
        assert len(found) <= 1, found
        return next(iter(found.values()), None)
    if message == "list":
        return found.get("values", [])
    if "attributes" in found:
        pairs = [(one["key"], one.get("value")) for one in found["attributes"]]
        found["attributes"] = dict(pairs)
        assert len(pairs) == len(found["attributes"]), f"a key stands twice: {pairs}"
    return found


def read_record(data):
    """(kind of record, the record)."""
    (pair,) = read("record", data).items()
    return pair
