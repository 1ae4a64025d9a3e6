"""Frames on their way to the daemon, in one buffer. Pure: no clock, no socket.

    1. `fill` lays frames one behind the other; each knows its records, and whose flush it is
    2. `rest` is what is still to be written; `advance` says how far it came, and gives the frames that are whole
    3. where the connection broke, `take_back` gives the records that are to be framed anew

     |<--- written as a whole --->|<-- begun ->|<------ not begun ------>|
     | frame | frame |    frame   |   frame    |    frame     |  frame   |
                                       ^ written so far

What was written as a whole is never sent again, and what was not, always: the daemon applies whole frames only.
"""
from __future__ import annotations

import collections
import itertools
from typing import Any


class Outbox:
    def __init__(self) -> None:
        # (where it ends, its records, the ticket of its flush or None)
        self._frames: collections.deque[tuple[int, list[bytes], Any]] = collections.deque()
        self._data = memoryview(b"")
        self._at = 0
        self._whole = 0  # where the last whole frame ends

    def __bool__(self) -> bool:
        return bool(self._frames)

    def __len__(self) -> int:
        """Records that are not written as a whole."""
        return sum(len(records) for _, records, _ in tuple(self._frames))

    @property
    def begun(self) -> bool:
        """A part of a frame is written: on this connection the rest of it must follow."""
        return self._at > self._whole

    def fill(self, frames: list[tuple[bytes, list[bytes], Any]], before: bytes = b"") -> None:
        """Takes [(bytes, records, ticket)]; it must be empty. `before`: bytes that belong to the first frame."""
        ends = itertools.accumulate((len(data) for data, _, _ in frames), initial=len(before))
        laid = [(end, records, ticket) for end, (_, records, ticket) in zip(list(ends)[1:], frames)]
        data = b"".join((before, *(data for data, _, _ in frames)))
        self._data, self._at, self._whole = memoryview(data), 0, 0
        self._frames.extend(laid)

    def rest(self) -> memoryview:
        return self._data[self._at:]

    def advance(self, count: int) -> list[tuple[list[bytes], Any]]:
        """So many more bytes are written. Gives (records, ticket) of the frames that are whole by that."""
        self._at += count
        done = []
        while self._frames and self._frames[0][0] <= self._at:
            self._whole, records, ticket = self._frames.popleft()
            done.append((records, ticket))
        if not self._frames:
            self._data, self._at, self._whole = memoryview(b""), 0, 0
        return done

    def take_back(self, keep_begun: bool = False) -> tuple[list[bytes], list[Any]]:
        """(records, tickets) of all frames that are not whole, in order; with `keep_begun` of those not begun."""
        kept = self._frames.popleft() if keep_begun and self.begun else None
        records = [record for _, of_frame, _ in self._frames for record in of_frame]
        tickets = [ticket for _, _, ticket in self._frames if ticket is not None]
        self._frames.clear()
        if kept is None:
            self._data, self._at, self._whole = memoryview(b""), 0, 0
        else:
            self._frames.append(kept)
            self._data = memoryview(bytes(self._data[:kept[0]]))
        return records, tickets
