"""Reads a /metrics text, 0.0.4 or OpenMetrics, into what tests ask about.

It reads strictly: a line that it does not understand is an error. It judges nothing else.
"""
import re

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,?)')
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def _read_labels(text, at):
    labels = {}
    while text[at] != "}":
        found = _LABEL.match(text, at)
        assert found, f"not a label: {text[at:]!r}"
        key, value, _ = found.groups()
        assert key not in labels, f"label {key} twice: {text!r}"
        labels[key] = re.sub(r'\\["\\n]', lambda escape: _ESCAPES[escape.group()], value)
        at = found.end()
    return labels, at + 1


class Exposition:
    """values: {(name, frozenset of labels): float}; types, helps and units by family; exemplars as values are."""

    def __init__(self, text):
        self.text = text
        self.types = {}
        self.helps = {}
        self.units = {}
        self.values = {}
        self.exemplars = {}
        self.histograms = {}
        self.families = []
        self.ended = False
        assert text.endswith("\n"), "the last line has no end"
        for line in text[:-1].split("\n"):
            assert not self.ended, f"after # EOF: {line!r}"
            if line.startswith("#"):
                self._read_comment(line)
            else:
                self._read_sample(line)

    def _read_comment(self, line):
        if line == "# EOF":
            self.ended = True
            return
        _, word, name, rest = line.split(" ", 3)
        into = {"TYPE": self.types, "HELP": self.helps, "UNIT": self.units}[word]
        assert name not in into, f"{word} of {name} twice"
        into[name] = rest
        if word == "TYPE":
            self.families.append(name)

    def _read_sample(self, line):
        name = _NAME.match(line)
        assert name, f"not a sample: {line!r}"
        at, labels = name.end(), {}
        if line[at] == "{":
            labels, at = _read_labels(line, at + 1)
        value, _, exemplar = line[at:].partition(" # ")
        key = (name.group(), frozenset(labels.items()))
        assert key not in self.values, f"twice: {line!r}"
        self.values[key] = float(value)
        if (le := labels.pop("le", None)) is not None:
            self.histograms.setdefault((key[0], frozenset(labels.items())), {})[le] = float(value)
        if exemplar:
            ids, at = _read_labels(exemplar, 1)
            self.exemplars[key] = (ids, *(float(number) for number in exemplar[at:].split()))

    def get(self, metric, default=None, **labels):
        return self.values.get((metric, frozenset(labels.items())), default)

    def __getitem__(self, metric):
        """The value of a series without labels."""
        return self.values[(metric, frozenset())]

    def series(self, metric):
        """All series of a name: [(labels, value)]."""
        return [(dict(labels), value) for (name, labels), value in self.values.items() if name == metric]

    def buckets(self, family, **labels):
        """{le: cumulative count} of one histogram, in the order of the lines."""
        return self.histograms.get((family + "_bucket", frozenset(labels.items())), {})
