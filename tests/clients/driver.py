"""The Python client under the conformance runner: records the NDJSON of standard input, as an application would.

    driver.py --encode   prints as hex the frame that a client must make of them (proto/WIRE.md, "Conformance")
    driver.py            sends them to the daemon of $DWELL_DIR; exit status 1 when that did not take all

What can fail: a line that is no record of the table below raises, since the files are ours.
"""
import datetime
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "client/python"))

from dwell import _wire  # noqa: E402
from dwell._client import Client  # noqa: E402

CLIENT_ID = bytes(range(16))
OPERATIONS = {"counter": _wire.COUNT, "histogram": _wire.OBSERVE, "info": _wire.INFO}
PARTS = {"span": _wire.WHOLE, "span_start": _wire.START, "span_end": _wire.END}
FLUSH_S = 20


def nanoseconds(text):
    """Of ISO 8601 in UTC, whose fraction may be finer than what datetime has room for."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    at = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.timezone.utc)
    return int(at.timestamp()) * 10**9 + int(fraction.ljust(9, "0"))


def common(line, *renamed):
    """What is spelled otherwise in messages, taken out of the line; None: not given."""
    out = {name: bytes.fromhex(line.pop(name)) for name in ("trace_id", "span_id") if name in line}
    if "timestamp" in line:
        out["timestamp_unix_nano"] = nanoseconds(line.pop("timestamp"))
    for old, new in renamed:
        if old in line:
            out[new] = line.pop(old)
    return out


def sample(line):
    error = line.pop("error", False)
    texts = {"error_text": error} if isinstance(error, str) else {}
    return _wire.sample(line.pop("model_name"), line.pop("execution_time_ms"), error=error is not False, **texts,
                        **common(line), **line)


def metric(kind, line):
    name, value, delta = line.pop("name"), line.pop("value", None), line.pop("delta", None)
    operation = OPERATIONS.get(kind) or (_wire.SET if delta is None else _wire.ADD)
    value = delta if value is None else value
    return _wire.metric(name, operation, None if value is None else float(value), **common(line), **line)


def span(kind, line):
    def mapped(name):
        return line.pop(name, None) or {}

    ids = common(line, ("start_time_unix_nano", "start_unix_nano"), ("end_time_unix_nano", "end_unix_nano"))
    times = {key: int(ids.pop(key)) for key in ("start_unix_nano", "end_unix_nano") if key in ids}
    parent = bytes.fromhex(line.pop("parent_span_id", ""))
    sampled, status = line.pop("sampled", None), mapped("status")
    events = [_wire.event(one["name"], int(one["time_unix_nano"]), one.get("attributes"))
              for one in line.pop("events", ())]
    links = [_wire.link(bytes.fromhex(one["trace_id"]), bytes.fromhex(one["span_id"]), one.get("trace_state", ""),
                        one.get("attributes")) for one in line.pop("links", ())]
    return _wire.span(line.pop("name"), part=PARTS[kind], parent_span_id=parent or None, events=events, links=links,
                      kind=_wire.KINDS[line.pop("kind")] if "kind" in line else 0,
                      status=_wire.STATUSES[status.get("code", "unset")], status_message=status.get("message", ""),
                      flags=None if sampled is None else int(sampled), **ids, **times, **line)


def budget(line):
    sampled = line.pop("sampled", None)
    return _wire.budget(line.pop("layer"), line.pop("elapsed_ms"), flags=None if sampled is None else int(sampled),
                        **common(line), **line)


def record(text):
    """A line of NDJSON as the bytes that the client sends. A key that is null is not there."""
    line = {key: value for key, value in json.loads(text).items() if value is not None}
    kind = line.pop("type", "sample")
    if kind == "sample":
        return sample(line)
    if kind == "budget":
        return budget(line)
    return span(kind, line) if kind in PARTS else metric(kind, line)


def main():
    records = [record(text) for text in sys.stdin.buffer.read().splitlines()]
    if "--encode" in sys.argv:
        print(_wire.frame(CLIENT_ID, 0, 0, records).hex())
        return 0
    client = Client()
    for one in records:
        client.put(one)
    return 0 if client.flush(FLUSH_S) and client.close() and client.stats()["dropped"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
