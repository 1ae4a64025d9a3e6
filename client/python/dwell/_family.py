"""Families of metrics, declared as with prometheus_client; their store is the daemon.

Happy path:
    1. a declaration names a family and its labels; declared again, it is the same object
    2. `labels` finds the series of these label values, kept for the next time
    3. the series records (`_series`)

    HTTP_REQUESTS_TOTAL.labels("GET", "/", "shop", "200").inc()
                         |
                         v
    {("GET", "/", "shop", "200"): CounterSeries, …}     of all families together SERIES_MAX

What can fail: a second declaration of another kind, or with other labels, raises ValueError, as it runs
when the program starts. What runs with each request never raises: with wrong labels the record is dropped
and counted, and logged once a family.

Threads: everything may be called by any thread and from signal handlers; nothing here takes a lock.
"""
import itertools
import logging
import operator
from typing import Any, Callable, Dict, Generic, Iterable, Mapping, Optional, Sequence, Tuple, Type, TypeVar

from . import _wire
from ._series import (CounterSeries, Exemplar, GaugeSeries, HistogramSeries, InfoSeries, Number)
from ._version import CONSTITUTIONAL_HASH

# Series that are kept, of all families together. As many as a daemon takes of one family by default
# (metrics.max_series_per_family): who has more loses them there before here. At one over all are let go,
# and those in use come back with their next call; that keeps the hot ones without a list of their order.
SERIES_MAX = 10000

# Of all label values of a series that is kept; for longer ones it is made anew with each call.
KEPT_CHARACTERS = 1024

# Families that are remembered. Past it a declaration gives an object that works, is its own, and keeps
# nothing.
FAMILIES_MAX = 1000

LABELS_MAX = 32  # attributes of a metric, as the daemon takes them (proto/WIRE.md, "Limits")

# Words of prometheus_client. Here the part of a process ends with it in every mode, "live" or not.
MULTIPROCESS_MODES = {"all": "per_pid", "liveall": "per_pid", "livemin": "min", "livemax": "max",
                      "livesum": "sum", "mostrecent": "last", "livemostrecent": "last"}

_ENDINGS = {"counter": "_total", "info": "_info"}  # with or without it is one family, as for the daemon

_log = logging.getLogger("dwell")
_families: Dict[str, "Family[Any]"] = {}
_kept = itertools.count()  # next() of it is atomic, which += is not

OneSeries = TypeVar("OneSeries", CounterSeries, GaugeSeries, HistogramSeries, InfoSeries)
Declared = TypeVar("Declared", bound="Family[Any]")


def _let_go() -> None:
    """Forgets all series but the one that is about to be kept."""
    global _kept
    _kept = itertools.count(1)
    for family in list(_families.values()):
        family._series.clear()


class Family(Generic[OneSeries]):
    """One name, its labels, and a series for each choice of their values."""
    kind = ""
    _series_type: Type[OneSeries]
    name: str
    documentation: str
    labelnames: Tuple[str, ...]
    unit: str
    aggregation: Optional[str]
    buckets: Tuple[float, ...]
    _own: OneSeries    # that of a family without labels
    _drops: OneSeries  # in place of one that there is not
    _series: Dict[Tuple[str, ...], OneSeries]
    _in_order: Callable[[Dict[str, object]], Tuple[object, ...]]  # the values of what was given by names
    _remembered: bool
    _told: bool

    @classmethod
    def _declare(cls: Type[Declared], name: str, documentation: str, labelnames: Sequence[str],
                 unit: str = "", aggregation: Optional[str] = None,
                 buckets: Iterable[float] = ()) -> Declared:
        """The family of this name: a new one, or that of an earlier declaration, which must not differ."""
        new = object.__new__(cls)
        new.name, new.documentation = str(name), str(documentation)
        new.unit, new.aggregation = str(unit), aggregation
        new.labelnames = _label_names(name, labelnames)
        new.buckets = tuple(map(float, buckets))
        if not new.name:
            raise ValueError(f"a {cls.kind} needs a name")
        new._series = {}
        pick = operator.itemgetter(*new.labelnames) if new.labelnames else tuple
        new._in_order = pick if len(new.labelnames) != 1 else lambda named: (pick(named),)
        new._remembered = new._told = False
        new._own, new._drops = new._series_of(()), new._series_of(())
        new._drops.refuse()
        key = new.name
        ending = _ENDINGS.get(cls.kind, "")
        if ending and key.endswith(ending):
            key = key[:-len(ending)]
        if key not in _families and len(_families) >= FAMILIES_MAX:
            return new
        family = _families.setdefault(key, new)
        if not isinstance(family, cls) or family._shape() != new._shape():
            raise ValueError(f"{name} is declared as a {family._about()}; this would be a {new._about()}")
        family._remembered = True
        return family

    def _shape(self) -> Tuple[object, ...]:
        return self.kind, self.labelnames, self.unit, self.aggregation, self.buckets

    def _about(self) -> str:
        words = [f"{self.kind} with the labels {list(self.labelnames)}"]
        more = {"unit": self.unit, "aggregation": self.aggregation, "buckets": self.buckets}
        words += [f"{what} {value!r}" for what, value in more.items() if value]
        return ", ".join(words)

    def labels(self, *labelvalues: object, **labelkwargs: object) -> OneSeries:
        """The series of these label values, all by their order or all by their names, each taken by its
        `str`.

        Never raises: with wrong labels what is recorded is dropped and counted, and logged the first time.
        """
        values: Tuple[Any, ...] = labelvalues
        try:
            if labelkwargs:
                if values or len(labelkwargs) != len(self.labelnames):
                    return self._refused("others")
                values = self._in_order(labelkwargs)
            for value in values:
                if type(value) is not str:  # 1, 1.0 and True are one key of a dict, and three label values
                    values = tuple(map(str, values))
                    break
            return self._series[values]
        except KeyError:
            return self._new_series(values)
        except Exception as error:  # of a value's own __str__, for one
            return self._refused(f"a {type(error).__name__}")

    def _new_series(self, values: Tuple[str, ...]) -> OneSeries:
        try:
            if len(values) != len(self.labelnames):
                return self._refused("others")
            if not values:
                return self._own
            series = self._series_of(values)
            if self._remembered and sum(map(len, values)) <= KEPT_CHARACTERS:
                if next(_kept) >= SERIES_MAX:
                    _let_go()
                self._series[values] = series
            return series
        except Exception as error:  # no memory
            return self._refused(f"a {type(error).__name__}")

    def _series_of(self, values: Tuple[str, ...]) -> OneSeries:
        attributes = dict(zip(self.labelnames, values))
        return self._series_type((self.name, attributes, self.unit, self.aggregation))

    def _refused(self, given: str) -> OneSeries:
        """A series whose records are dropped and counted; the first time it is logged."""
        if not self._told:
            self._told = True
            try:
                _log.error("[%s] %s has the labels %s and was given %s: what is recorded so is dropped",
                           CONSTITUTIONAL_HASH, self.name, list(self.labelnames), given)
            except Exception:  # of a handler of the application
                pass
        return self._drops

    def _mine(self) -> OneSeries:
        """The series of a family without labels."""
        return self._refused("none") if self.labelnames else self._own


def _label_names(name: str, labelnames: Sequence[str]) -> Tuple[str, ...]:
    if isinstance(labelnames, str):
        raise ValueError(f"{name}: labelnames is a sequence of names, not the text {labelnames!r}")
    names = tuple(map(str, labelnames))
    if len(set(names)) != len(names) or not all(names):
        raise ValueError(f"{name}: of the label names {names} one is empty or stands twice")
    if len(names) > LABELS_MAX:
        raise ValueError(f"{name}: {len(names)} labels, of at most {LABELS_MAX}")
    return names


def _full_name(namespace: str, subsystem: str, name: str) -> str:
    return "_".join(part for part in (namespace, subsystem, name) if part)


class Counter(Family[CounterSeries]):
    """A total that never falls. The arguments are prometheus_client's; the registry is the daemon, whatever
    `registry` says."""
    kind = "counter"
    _series_type = CounterSeries

    def __new__(cls, name: str, documentation: str = "", labelnames: Sequence[str] = (),
                namespace: str = "", subsystem: str = "", unit: str = "",
                registry: object = None) -> "Counter":
        return cls._declare(_full_name(namespace, subsystem, name), documentation, labelnames, unit)

    def inc(self, amount: Number = 1, exemplar: Exemplar = None) -> None:
        """As that of a series, for a family without labels."""
        self._mine().inc(amount, exemplar)


class Gauge(Family[GaugeSeries]):
    """A figure that rises and falls.

    `aggregation` says how the values of several processes become one: "last", "sum", "max", "min",
    "per_pid". Without it that is the last one that was set, and the sum of what was added.
    `multiprocess_mode` says it in prometheus_client's words.
    """
    kind = "gauge"
    _series_type = GaugeSeries

    def __new__(cls, name: str, documentation: str = "", labelnames: Sequence[str] = (),
                namespace: str = "", subsystem: str = "", unit: str = "", registry: object = None, *,
                multiprocess_mode: Optional[str] = None, aggregation: Optional[str] = None) -> "Gauge":
        if multiprocess_mode is not None:
            aggregation = MULTIPROCESS_MODES.get(multiprocess_mode, multiprocess_mode)
        if aggregation is not None and aggregation not in _wire.AGGREGATIONS:
            raise ValueError(f"{name}: {aggregation!r} is none of {', '.join(_wire.AGGREGATIONS)}")
        return cls._declare(_full_name(namespace, subsystem, name), documentation, labelnames, unit,
                            aggregation=aggregation)

    def inc(self, amount: Number = 1) -> None:
        """As that of a series, for a family without labels."""
        self._mine().inc(amount)

    def dec(self, amount: Number = 1) -> None:
        """As that of a series, for a family without labels."""
        self._mine().dec(amount)

    def set(self, value: Number) -> None:
        """As that of a series, for a family without labels."""
        self._mine().set(value)


class Histogram(Family[HistogramSeries]):
    """A distribution. Which buckets it has is for the daemon's metrics.families_file to say; `buckets` is
    only compared with what other declarations of the family say."""
    kind = "histogram"
    _series_type = HistogramSeries

    def __new__(cls, name: str, documentation: str = "", labelnames: Sequence[str] = (),
                namespace: str = "", subsystem: str = "", unit: str = "", registry: object = None,
                buckets: Iterable[float] = ()) -> "Histogram":
        return cls._declare(_full_name(namespace, subsystem, name), documentation, labelnames, unit,
                            buckets=buckets)

    def observe(self, amount: Number, exemplar: Exemplar = None) -> None:
        """As that of a series, for a family without labels."""
        self._mine().observe(amount, exemplar)


class Info(Family[InfoSeries]):
    """Texts that hold, such as a version."""
    kind = "info"
    _series_type = InfoSeries

    def __new__(cls, name: str, documentation: str = "", labelnames: Sequence[str] = (),
                namespace: str = "", subsystem: str = "", unit: str = "",
                registry: object = None) -> "Info":
        return cls._declare(_full_name(namespace, subsystem, name), documentation, labelnames)

    def info(self, val: Mapping[str, object]) -> None:
        """As that of a series, for a family without labels."""
        self._mine().info(val)
