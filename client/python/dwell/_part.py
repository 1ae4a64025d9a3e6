"""This process's part of gauges that sum up parts: kept here, so that each record tells it whole.

A record of a change would leave the change behind for good where its counterpart was dropped, or went to a
daemon that has ended since.

Happy path:
    1. a change is put beside the others, and what they come to is recorded (`_series`)
    2. the daemon sets the process's part to that (proto/WIRE.md, "Gauges of several processes")

                 units     changes   base
       inc()     [1]       []        0       -> SET 1
       inc()     [1, 1]    []        0       -> SET 2
       inc(0.5)  [1, 1]    [0.5]     0       -> SET 2.5
       dec()     [1]       [0.5]     0       -> SET 1.5
       past UNITS_MAX or CHANGES_MAX they are added to the base

A change is one call of a list, which nothing interrupts. Of two threads the one that changed first may
record last: so who has recorded looks whether it still holds, and else records again. Then the last record
holds.

In a subinterpreter nothing is kept: the daemon sums up by process, and each would tell its own as all.

What can fail: past PARTS_MAX a part is not kept, and its changes are recorded. Forks: a child begins at 0.

Threads: any at once, and signal handlers; nothing here waits for a lock. What is set while another thread
changes the same part may be lost to it.
"""
import importlib
import os
import threading
from typing import Callable, Dict, List, Optional

PARTS_MAX = 10000      # as many series as a daemon takes of one family by default
KEY_BYTES = 1024       # of the key of one that is kept
CHANGES_MAX = 16       # that are added up with each record
UNITS_MAX = 1024       # that are counted
ATTEMPTS_MAX = 8       # to record what holds: others change it meanwhile

forks = 0              # that this process is away from the one that imported this


class Part:
    __slots__ = ("units", "changes", "base")

    def __init__(self) -> None:
        self.units: List[int] = []
        self.changes: List[float] = []
        self.base = 0.0

    def value(self) -> float:
        return self.base + len(self.units) + sum(self.changes)

    def full(self) -> bool:
        return len(self.units) > UNITS_MAX or len(self.changes) > CHANGES_MAX

    def set(self, value: float) -> None:
        self.base = value
        self.units.clear()
        self.changes.clear()


def _is_main_interpreter() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):  # since 3.13, before
        try:
            module = importlib.import_module(name)
            return bool(module.get_current() == module.get_main())
        except Exception:  # another implementation
            continue
    return True


is_kept = _is_main_interpreter()
_parts: Dict[bytes, Part] = {}
_folding = threading.Lock()


def part_of(key: bytes) -> Optional[Part]:
    """The one of this key; None: it is not kept."""
    found = _parts.get(key)
    if found is None and len(_parts) < PARTS_MAX and len(key) <= KEY_BYTES:
        found = _parts.setdefault(key, Part())
    return found


def settle(part: Part, value: float, record: Callable[[float], object]) -> None:
    """`value` has been recorded: adds to the base what is too much, and records what holds if that is
    another, or may have looked like another meanwhile."""
    again = part.full()
    if again:
        _fold(part)
    for _ in range(ATTEMPTS_MAX):
        now = part.value()
        if not again and (now == value or now != now):
            break
        value, again = now, False
        record(value)


def _fold(part: Part) -> None:
    if _folding.acquire(False):  # else somebody is at it
        try:
            count = len(part.changes)
            moved = sum(part.changes[:count])
            pop = part.units.pop
            for _ in range(UNITS_MAX):
                try:
                    pop()
                except IndexError:  # others have taken them
                    break
                moved += 1.0
            part.base += moved
            del part.changes[:count]
        finally:
            _folding.release()


def _begin_in_child() -> None:
    global forks, _folding
    forks += 1
    _folding = threading.Lock()
    for part in _parts.values():
        part.set(0.0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
