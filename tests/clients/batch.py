"""Reads the bytes that clients send, by the messages of proto/dwell.proto and strictly: what a field is called and
how it is written comes from that file, and a number that it does not have is an error.
"""
import pathlib
import re
import struct

from protobuf import read_varint  # of tests/integration, which those who import this have on their path

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAGIC = b"DWL1"
WIRE_TYPES = {"double": 1, "fixed64": 1, "fixed32": 5, "string": 2, "bytes": 2, "bool": 0, "int64": 0, "uint64": 0,
              "uint32": 0}
FIXED = {"double": "<d", "fixed64": "<Q", "fixed32": "<I"}
RECORDS = ("sample", "span", "metric", "budget")


def read_messages(text):
    """{message: {number: (name, type)}}; the type of an enum is uint64."""
    messages, enums = {}, set(re.findall(r"\benum (\w+)", text))
    for name, body in re.findall(r"^message (\w+) \{\n(.*?)^\}", text, re.M | re.S):
        fields = re.findall(r"^ +(?:optional |repeated )?(\w+) (\w+) = (\d+);", body, re.M)
        messages[name] = {int(number): (field, "uint64" if kind in enums else kind) for kind, field, number in fields}
    return messages


MESSAGES = read_messages((ROOT / "proto/dwell.proto").read_text())


def read_field(data, at, message):
    """(number, name, value, where the next one begins)"""
    tag, at = read_varint(data, at)
    name, kind = MESSAGES[message][tag >> 3]
    wire_type = WIRE_TYPES.get(kind, 2)
    if tag & 7 != wire_type:
        raise ValueError(f"{message}.{name} has wire type {tag & 7}")
    if kind in FIXED:
        (value,) = struct.unpack_from(FIXED[kind], data, at)
        # Bits and not the number: -0 is not 0, and a NaN is itself.
        return tag >> 3, name, data[at:at + 8].hex() if kind == "double" else value, at + struct.calcsize(FIXED[kind])
    value, at = read_varint(data, at)
    if wire_type == 0:
        return tag >> 3, name, value, at
    end = at + value
    if end > len(data):
        raise ValueError(f"{message}.{name} is cut off")
    content = data[at:end]
    if kind == "string":
        content = content.decode()
    elif kind != "bytes":
        content = read_message(content, kind)
    return tag >> 3, name, content, end


def read_message(data, message):
    """[(name, value)] in the order of the bytes."""
    fields, at = [], 0
    while at < len(data):
        _, name, value, at = read_field(data, at, message)
        fields.append((name, value))
    return fields


def must_ascend(fields, message):
    """Fields of a message, and of the messages in it, stand by their numbers."""
    numbers = {name: number for number, (name, _) in MESSAGES[message].items()}
    kinds = {name: kind for name, kind in MESSAGES[message].values()}
    order = [numbers[name] for name, _ in fields]
    assert order == sorted(order), f"the fields of {message} stand as {order}"
    for name, value in fields:
        if isinstance(value, list):
            must_ascend(value, kinds[name])


def frames(data):
    """The batches in whole frames, and what is left."""
    batches, at = [], 0
    while len(data) - at >= 4:
        length = int.from_bytes(data[at:at + 4], "little")
        if len(data) - at - 4 < length:
            break
        batches.append(read_message(data[at + 4:at + 4 + length], "Batch"))
        at += 4 + length
    return batches, data[at:]


def resolve(fields, strings):
    """A message without references, by field numbers, nested ones too; repeated fields keep their order."""
    out = []
    for name, value in fields:
        if name.endswith("_ref"):
            owner = {"model": "model_name"}.get(name[:-4], name[:-4])
            out.append((owner, strings[value - 1]))
        else:
            out.append((name, resolve(value, strings) if isinstance(value, list) else value))
    return sorted(out, key=lambda field: field[0])


def records(batch):
    """[(kind, fields)] of a batch, without references."""
    strings = [value for name, value in batch if name == "strings"]
    return [(name, resolve(value, strings)) for name, value in batch if name in RECORDS]
