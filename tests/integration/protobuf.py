"""Reads a /metrics answer in Prometheus protobuf (proto/prometheus.proto), with the standard library alone.

It reads strictly: a field that is not in the table of its message is an error.
"""
import math
import struct

VARINT, DOUBLE, BYTES = 0, 1, 2
TYPES = {0: "counter", 1: "gauge", 4: "histogram"}

# message -> field number -> (name, type): a message's name, or how a number is read
MESSAGES = {
    "MetricFamily": {1: ("name", "text"), 2: ("help", "text"), 3: ("type", "uint"), 4: ("metric", "Metric"), 5: ("unit", "text")},
    "Metric": {1: ("label", "LabelPair"), 2: ("gauge", "Scalar"), 3: ("counter", "Scalar"), 7: ("histogram", "Histogram")},
    "LabelPair": {1: ("name", "text"), 2: ("value", "text")},
    "Scalar": {1: ("value", "double"), 2: ("exemplar", "Exemplar"), 3: ("created", "Timestamp")},
    "Histogram": {1: ("count", "uint"), 2: ("sum", "double"), 3: ("bucket", "Bucket"), 5: ("schema", "sint"),
                  6: ("zero_threshold", "double"), 7: ("zero_count", "uint"), 9: ("negative_span", "Span"),
                  10: ("negative_delta", "sint"), 12: ("positive_span", "Span"), 13: ("positive_delta", "sint"),
                  15: ("created", "Timestamp"), 16: ("exemplars", "Exemplar")},
    "Bucket": {1: ("count", "uint"), 2: ("bound", "double"), 3: ("exemplar", "Exemplar")},
    "Span": {1: ("offset", "sint"), 2: ("length", "uint")},
    "Exemplar": {1: ("label", "LabelPair"), 2: ("value", "double"), 3: ("timestamp", "Timestamp")},
    "Timestamp": {1: ("seconds", "uint"), 2: ("nanos", "uint")},
}


def read_varint(data, at):
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return number, at


def read_message(data, kind):
    """{field name: [values]}"""
    fields = {name: [] for name, _ in MESSAGES[kind].values()}
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        name, how = MESSAGES[kind][tag >> 3]
        wire = tag & 7
        if wire == DOUBLE:
            assert how == "double", name
            (value,) = struct.unpack_from("<d", data, at)
            at += 8
        else:
            value, at = read_varint(data, at)
            if wire == BYTES:
                content, at = data[at:at + value], at + value
                assert at <= len(data), f"{name} is cut off"
                value = content.decode() if how == "text" else read_message(content, how)
            else:
                assert wire == VARINT and how in ("uint", "sint"), name
                value = (value >> 1) ^ -(value & 1) if how == "sint" else value
        fields[name].append(value)
    return fields


def labels_of(pairs):
    labels = {pair["name"][0]: pair["value"][0] for pair in pairs}
    assert len(labels) == len(pairs), "a label twice"
    return labels


class ProtobufExposition:
    """As exposition.Exposition, as far as the formats are the same. native: {(family, labels): Histogram}."""

    def __init__(self, data):
        self.types = {}
        self.values = {}
        self.exemplars = {}
        self.native = {}
        at = 0
        while at < len(data):
            length, at = read_varint(data, at)
            assert at + length <= len(data), "a family is cut off"
            self._read_family(read_message(data[at:at + length], "MetricFamily"))
            at += length

    def _read_family(self, family):
        (name,), (kind,) = family["name"], family["type"]
        assert name not in self.types, f"{name} twice"
        assert family["metric"], f"{name} has no series"
        self.types[name] = TYPES[kind]
        for metric in family["metric"]:
            labels = labels_of(metric["label"])
            present = [field for field in ("gauge", "counter", "histogram") if metric[field]]
            assert present == [self.types[name]], name
            (value,) = metric[present[0]]
            if present == ["histogram"]:
                self._read_histogram(name, labels, value)
            else:
                self._put(name, labels, value["value"][0], value["exemplar"])

    def _put(self, name, labels, value, exemplar=()):
        key = (name, frozenset(labels.items()))
        assert key not in self.values, key
        self.values[key] = float(value)
        for found in exemplar:
            time = found["timestamp"][0]
            self.exemplars[key] = (labels_of(found["label"]), found["value"][0],
                                   round(time["seconds"][0] + time["nanos"][0] / 1e9, 3))

    def _read_histogram(self, name, labels, histogram):
        for bucket in histogram["bucket"]:
            (bound,) = bucket["bound"]
            le = "+Inf" if math.isinf(bound) else repr(bound)
            self._put(name + "_bucket", {**labels, "le": le}, bucket["count"][0], bucket["exemplar"])
        self._put(name + "_sum", labels, histogram["sum"][0])
        self._put(name + "_count", labels, histogram["count"][0])
        if histogram["schema"]:
            self.native[(name, frozenset(labels.items()))] = histogram

    def buckets_of(self, family, **labels):
        """(schema, {number of a positive native bucket: count})"""
        histogram = self.native[(family, frozenset(labels.items()))]
        deltas = iter(histogram["positive_delta"])
        number = count = 0
        buckets = {}
        for span in histogram["positive_span"]:
            number += span["offset"][0]
            for _ in range(span["length"][0]):
                count += next(deltas)
                if count:
                    buckets[number] = count
                number += 1
        assert next(deltas, None) is None, "more counts than buckets"
        return histogram["schema"][0], buckets
