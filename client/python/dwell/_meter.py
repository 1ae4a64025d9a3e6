"""Instruments: counters, histograms and gauges, and the registry that finds them by name.

Happy path:
    1. what is the same in all records of one series is encoded once, and found again by its attributes
    2. a record is then one `struct.pack` around its number, handed to the client

       instrument --attributes--> (pack, head, tail, types) --value--> record

Two attributes can be equal and yet not the same text (1, 1.0 and True), so a series that has others than
texts is taken only when the types are those it was made with.

What can fail: a value that is no number, an attribute whose `str` raises: the record is dropped and
counted. A series past SERIES_MAX, of long texts, or with attributes that cannot be looked up, is encoded
each time. What
is out of range is the daemon's to judge. Nothing is raised. Threads: any.
"""
from __future__ import annotations

import logging
import os
import threading
from typing import Any, Callable, Dict, Mapping, Optional, TypeVar

from . import _client, _wire
from ._version import CONSTITUTIONAL_HASH

SERIES_MAX = 8192        # of this process that are kept encoded: some 5 MB
KEPT_CHARACTERS = 1024   # of all texts of a series, or of a name, that is kept
INSTRUMENTS_MAX = 1024   # of a registry and kind that are kept; others work, and are made anew each time
GAUGES_MAX = 256         # observable ones
OBSERVE_S = 10.0         # between two readings of observable gauges: few scrape oftener

Attributes = Optional[Mapping[Any, Any]]

_log = logging.getLogger("dwell")
_PLAIN = frozenset((str, int, float, bool))
_kept = 0                # series so far; a few more than SERIES_MAX when threads make them at once


class Instrument:
    """Changes to one metric. `name` and `unit` are what the application calls them; the daemon makes the
    rest of the name (proto/WIRE.md, "Metrics"). `description` is for readers of the code: the daemon has
    its own."""
    _operation = 0
    _aggregation: str | None = None

    def __init__(self, name: Any, unit: str = "", description: str = "") -> None:
        self.name = name
        self.unit = unit
        self.description = description
        self._series: dict[Any, Any] = {}  # attributes: (pack, head, tail, types)

    def write(self, value: Any, attributes: Attributes = None) -> None:
        """Records one value."""
        client = _client._default or _client.client()
        if client.away:
            client.drop()
            return
        try:
            key = tuple(attributes.items()) if attributes else ()
            found = self._series.get(key)
            if found is None or (found[3] and found[3] != tuple(map(type, (attributes or {}).values()))):
                found = self._find(key, attributes)
            record = found[0](found[1], value, found[2])
        except Exception:
            try:  # attributes that cannot be looked up
                series = self._make(attributes)
                record = series.pack(series.head, value, series.tail)
            except Exception:
                client.drop()
                return
        client.put(record)

    def _make(self, attributes: Attributes) -> _wire.Series:
        return _wire.Series(self.name, self._operation, attributes, self.unit, self._aggregation)

    def _find(self, key: Any, attributes: Attributes) -> Any:
        global _kept
        made = self._make(attributes)
        types = tuple(map(type, attributes.values())) if attributes else ()
        found = (made.pack, made.head, made.tail, types if any(kind is not str for kind in types) else ())
        if (key not in self._series and _kept < SERIES_MAX and all(kind in _PLAIN for kind in types) and
                sum(len(str(text)) for pair in key for text in pair) <= KEPT_CHARACTERS):
            _kept += 1
            self._series[key] = found
        return found


class Counter(Instrument):
    """A total that never falls."""
    _operation = _wire.COUNT

    add = Instrument.write  # 0 or more


class Histogram(Instrument):
    """A distribution of values, counted in `unit`."""
    _operation = _wire.OBSERVE

    record = Instrument.write


class UpDownCounter(Instrument):
    """A figure that is added to and taken from; what a process adds ends with it."""
    _operation = _wire.ADD

    add = Instrument.write


class Gauge(Instrument):
    """A figure that is set; of several processes the last one counts."""
    _operation = _wire.SET

    set = Instrument.write


# ---- observable gauges ----

class ObservableGauge(Gauge):
    """A gauge that is asked: each callback gives, or yields, numbers, or what has `value` and
    `attributes`."""

    def __init__(self, name: Any, callbacks: Any = None, unit: str = "", description: str = "") -> None:
        super().__init__(name, unit, description)
        self._callbacks = list(callbacks or ())
        self._complained = False

    def observe(self) -> None:
        """Asks all callbacks once. One that raises is logged once, and asked again."""
        for callback in self._callbacks:
            try:
                found = callback(None)
                if isinstance(found, (int, float)):
                    found = (found,)
                for one in found or ():
                    if isinstance(one, (int, float)):
                        self.write(one)
                    else:
                        self.write(one.value, one.attributes)
            except Exception as error:
                if not self._complained:
                    self._complained = True
                    _log.warning("[%s] the gauge %r cannot be read: %s", CONSTITUTIONAL_HASH, self.name,
                                 type(error).__name__)


class _Observer:
    """The thread that asks observable gauges, begun with the first of them. Callbacks may block it, and
    nothing else. The child of a fork asks once it records something itself: most only wait for an exec."""

    def __init__(self) -> None:
        self.gauges: list[ObservableGauge] = []
        self._waits = False  # before the first reading
        self._thread: threading.Thread | None = None
        self._end = threading.Event()

    def add(self, gauge: ObservableGauge) -> None:
        if len(self.gauges) < GAUGES_MAX and gauge._callbacks:
            self.gauges.append(gauge)
            self.begin()

    def begin(self) -> None:
        """Where no thread can be had nobody asks."""
        if self.gauges and self._thread is None:
            try:
                self._thread = threading.Thread(target=self._run, name="dwell-observe", daemon=True)
                self._thread.start()
            except (RuntimeError, MemoryError):
                pass

    def _run(self) -> None:
        if self._waits and self._end.wait(OBSERVE_S):
            return
        while True:
            for gauge in tuple(self.gauges):
                gauge.observe()
            if self._end.wait(OBSERVE_S):
                return

    def forget(self) -> None:
        """In the child of a fork."""
        self._thread, self._end, self._waits = None, threading.Event(), True


_observer = _Observer()
_client.beginnings.append(_observer.begin)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_observer.forget)


# ---- by name ----

class Meter:
    """Makes instruments. `name` says whose they are in the application; nothing of it is sent."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name

    def create_counter(self, name: Any, unit: str = "", description: str = "") -> Counter:
        return Counter(name, unit, description)

    def create_histogram(self, name: Any, unit: str = "", description: str = "",
                         **_options: Any) -> Histogram:
        return Histogram(name, unit, description)

    def create_up_down_counter(self, name: Any, unit: str = "", description: str = "") -> UpDownCounter:
        return UpDownCounter(name, unit, description)

    def create_gauge(self, name: Any, unit: str = "", description: str = "") -> Gauge:
        return Gauge(name, unit, description)

    def create_observable_gauge(self, name: Any, callbacks: Any = None, unit: str = "",
                                description: str = "") -> ObservableGauge:
        """Its callbacks are asked every OBSERVE_S, on a thread of their own; GAUGES_MAX gauges are. In the
        child of a fork that begins with its first record."""
        gauge = ObservableGauge(name, callbacks, unit, description)
        _observer.add(gauge)
        return gauge


Made = TypeVar("Made")


class Instruments(Dict[Any, Made]):
    """Instruments of one kind by name, made when they are asked for: `self[name]`."""

    def __init__(self, make: Callable[..., Made], *standard: str) -> None:
        super().__init__()
        self._make = make
        self._standard = standard

    def __missing__(self, name: Any) -> Made:
        return self.named(name, *self._standard)

    def named(self, name: Any, *rest: str) -> Made:
        """The one of that name, or a new one with the rest. Past INSTRUMENTS_MAX, or of a long name, it is not
        kept."""
        try:
            found = self.get(name)
            if found is None:
                found = self._make(name, *rest)
                if len(self) < INSTRUMENTS_MAX and (type(name) is not str or len(name) <= KEPT_CHARACTERS):
                    found = self.setdefault(name, found)
            return found
        except TypeError:  # a name that cannot be looked up
            return self._make(name, *(rest or self._standard))
