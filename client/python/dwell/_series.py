"""One series of a counter, gauge, histogram or info: what its records have in common, and how one is
recorded.

Happy path:
    1. a series is made once for its label values: head and tail of its records are bytes from then on
    2. `inc`, `dec`, `set` and `observe` put the value between them, and the record to what waits

       inc(2)                                    observe(0.0125)
          |                                            |
          v                                            v
    [ head | 2.0 | tail ]                   [ head | 0.0125 | tail ]  ->  pending

What can fail: a value that is no number drops the record and counts it; numbers out of range (a negative
increment, an infinite value of a histogram) are sent, and the daemon rejects and counts them. Nothing here
raises.

Threads: everything may be called by any thread and from signal handlers; nothing here takes a lock.
"""
from typing import Any, Callable, Dict, Mapping, Optional, Tuple, Union

from . import _client, _part, _wire
from ._client import client
from ._part import UNITS_MAX

Number = Union[int, float]
Exemplar = Optional[Mapping[str, str]]

# What a record is about: name, attributes, unit, aggregation.
Shape = Tuple[str, Dict[str, str], str, Optional[str]]

CHANGE_MAX = 1e300  # of a gauge: what is beyond, and NaN, the daemon rejects

_EXEMPLAR_IDS = (("trace_id", 16), ("span_id", 8))  # and their bytes, each two hex digits


def refuse(*_: object) -> bytes:
    """In the place of what packs records: there is no series for them."""
    raise ValueError("no such series")


def drop() -> None:
    """Counts a record that there will not be."""
    try:
        client().drop()
    except Exception:  # no memory for a client: then nobody is there to be told
        pass


class Series:
    """What all but an info have. `refuse` makes it one whose records are dropped and counted."""
    __slots__ = ("_shape", "_operation", "_head", "_tail", "_pack")

    def __init__(self, shape: Shape, operation: int) -> None:
        name, attributes, unit, aggregation = self._shape = shape
        packed = _wire.Series(name, operation, attributes, unit, aggregation)
        self._operation, self._head, self._tail = operation, packed.head, packed.tail
        self._pack: Callable[..., bytes] = packed.pack

    def refuse(self) -> None:
        self._pack = refuse

    def packed(self, value: Number) -> bytes:
        """A record, for those who put the same one again and again. Raises what no number does."""
        return self._pack(self._head, value, self._tail)

    def _with_exemplar(self, value: Number, exemplar: Mapping[str, str]) -> bytes:
        """A record with the ids of an exemplar, 32 and 16 hex digits; what else it has is left out."""
        self.packed(value)
        ids: Dict[str, Any] = {}
        for name, size in _EXEMPLAR_IDS:
            try:
                given = bytes.fromhex(exemplar[name])
            except (LookupError, TypeError, ValueError):
                continue
            if len(given) == size:
                ids[name] = given
        name, attributes, unit, aggregation = self._shape
        return _wire.metric(name, self._operation, value, attributes=attributes, unit=unit or None,
                            aggregation=aggregation, **ids)


class CounterSeries(Series):
    """Of a counter."""
    __slots__ = ()

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, _wire.COUNT)

    def inc(self, amount: Number = 1, exemplar: Exemplar = None) -> None:
        """Adds to the total. Below 0 and above 1e300 the daemon rejects it, and counts that. Never
        raises."""
        try:
            if exemplar:
                client().put(self._with_exemplar(amount, exemplar))
            else:
                client().put(self._pack(self._head, amount, self._tail))
        except Exception:
            drop()


class GaugeSeries(Series):
    """Of a gauge. What one adds goes when the process ends; with an aggregation other than "last" the
    record tells all that the process has added (`_part`)."""
    __slots__ = ("_set_head", "_set_pack", "_owns", "_part")

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, _wire.ADD)
        name, attributes, unit, aggregation = shape
        setting = _wire.Series(name, _wire.SET, attributes, unit, aggregation)
        self._set_head = setting.head
        self._set_pack: Callable[..., bytes] = setting.pack
        self._owns = _part.is_kept and aggregation not in (None, "last")
        self._part: Optional[_part.Part] = None

    def refuse(self) -> None:
        self._pack = self._set_pack = refuse
        self._owns = False

    def inc(self, amount: Number = 1) -> None:
        """Adds to this process's part. Never raises."""
        try:
            part = self._part
            if part is None or amount != 1 or part.changes:
                self._add(amount)
                return
            units, base = part.units, part.base
            units.append(1)
            count = len(units)
            (_client._default or client()).put(self._set_pack(self._set_head, base + count, self._tail))
            if len(units) != count or part.base is not base or part.changes or count > UNITS_MAX:
                _part.settle(part, base + count, self._record)
        except Exception:
            drop()

    def dec(self, amount: Number = 1) -> None:
        """Takes from this process's part. Never raises."""
        try:
            part = self._part
            if part is None or amount != 1 or part.changes or not part.units:
                self._add(-amount)
                return
            units, base = part.units, part.base
            try:
                units.pop()
            except IndexError:  # another thread took it
                self._add(-1)
                return
            count = len(units)
            (_client._default or client()).put(self._set_pack(self._set_head, base + count, self._tail))
            if len(units) != count or part.base is not base or part.changes:
                _part.settle(part, base + count, self._record)
        except Exception:
            drop()

    def set(self, value: Number) -> None:
        """Sets it, to any number, NaN and infinities too. Never raises."""
        try:
            record = self._set_pack(self._set_head, value, self._tail)
            part = self._mine()
            if part is not None:
                part.set(float(value))
            client().put(record)
        except Exception:
            drop()

    def _add(self, amount: Number) -> None:
        """The same of any amount."""
        part = self._mine()
        if part is None or not -CHANGE_MAX <= amount <= CHANGE_MAX:
            client().put(self._pack(self._head, amount, self._tail))
            return
        if amount == 1:
            part.units.append(1)
        else:
            part.changes.append(float(amount))
        value = part.value()
        self._record(value)
        if part.value() != value or part.full():
            _part.settle(part, value, self._record)

    def _record(self, value: float) -> None:
        client().put(self._set_pack(self._set_head, value, self._tail))

    def _mine(self) -> Optional[_part.Part]:
        if self._part is None and self._owns:
            self._part = _part.part_of(self._set_head + self._tail)
        return self._part


class HistogramSeries(Series):
    """Of a histogram."""
    __slots__ = ()

    def __init__(self, shape: Shape) -> None:
        super().__init__(shape, _wire.OBSERVE)

    def observe(self, amount: Number, exemplar: Exemplar = None) -> None:
        """Puts in one value. Beyond 1e300 and -1e300 the daemon rejects it, and counts that. Never
        raises."""
        try:
            if exemplar:
                client().put(self._with_exemplar(amount, exemplar))
            else:
                client().put(self._pack(self._head, amount, self._tail))
        except Exception:
            drop()


class InfoSeries:
    """Of an info."""
    __slots__ = ("_name", "_attributes")

    def __init__(self, shape: Shape) -> None:
        self._name: Optional[str] = shape[0]
        self._attributes = shape[1]

    def refuse(self) -> None:
        self._name = None

    def info(self, val: Mapping[str, object]) -> None:
        """Says that these texts hold; what is no text is taken by its `str`. A family that the daemon's
        configuration declares takes exactly its labels. Never raises."""
        try:
            if self._name is None:
                refuse()
            texts = {str(key): str(value) for key, value in val.items()}
            client().put(_wire.metric(self._name, _wire.INFO, attributes={**self._attributes, **texts}))
        except Exception:
            drop()
