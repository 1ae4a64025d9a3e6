"""This process's part of gauges that sum up parts: kept here, so that each record tells it whole.

A record of a change would leave the change behind for good where its counterpart was dropped, or went to a
daemon that has ended since.

Happy path:
    1. a change is put behind the others, and what they come to is recorded (`_series`)
    2. the daemon sets the process's part to that (proto/WIRE.md, "Gauges of several processes")

       inc()  [1]        -> SET 1
       inc()  [1, 1]     -> SET 2
       dec()  [1, 1, -1] -> SET 1        past CHANGES_MAX the list becomes [1]

Of two threads the one that changed first may record last: so who has recorded looks whether it still holds,
and else records again. Then the last record holds.

What can fail: past PARTS_MAX a part is not kept, and its changes are recorded. Forks: a child begins at 0.

Threads: any at once, and signal handlers; nothing here waits for a lock. What is set while another thread
changes the same part may be lost to it.
"""
import os
import threading
from typing import Callable, Dict, List, Optional

PARTS_MAX = 10000      # as many series as a daemon takes of one family by default
KEY_BYTES = 1024       # of the key of one that is kept
CHANGES_MAX = 8        # that are added up with each record
ATTEMPTS_MAX = 8       # to record what holds: others change it meanwhile

Part = List[float]

forks = 0              # that this process is away from the one that imported this
_parts: Dict[bytes, Part] = {}
_folding = threading.Lock()


def part_of(key: bytes) -> Optional[Part]:
    """The one of this key; None: it is not kept."""
    found = _parts.get(key)
    if found is None and len(_parts) < PARTS_MAX and len(key) <= KEY_BYTES:
        found = _parts.setdefault(key, [])
    return found


def settle(part: Part, value: float, record: Callable[[float], object]) -> None:
    """`value` has been recorded: records again what holds, if that is another, and adds up the changes."""
    for _ in range(ATTEMPTS_MAX):
        now = sum(part)
        if now == value or now != now:
            break
        value = now
        record(value)
    if len(part) > CHANGES_MAX:
        _fold(part)


def _fold(part: Part) -> None:
    if _folding.acquire(False):  # else somebody is at it
        try:
            count = len(part)
            part[:count] = (sum(part[:count]),)
        finally:
            _folding.release()


def _begin_in_child() -> None:
    global forks, _folding
    forks += 1
    _folding = threading.Lock()
    for part in _parts.values():
        part.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
