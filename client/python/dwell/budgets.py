"""Time budgets of the layers of a request: what each may take, has taken, and what follows from it.

Happy path:
    1. a manager has a budget for each layer, and one for the whole request
    2. `execute_with_budget` and `execute_sync_with_budget` run an operation within its layer's
    3. when the last operation of a layer ends, a record says how long it took; `stop_total` says it of the
       request
    4. `reset_all` (or a new `start_total`) begins the next request

    layer runs   |---op A---|        |-op C-|     elapsed = A and B together + C: repeated ones add up,
                      |--op B--|                  of nested and concurrent ones no time counts twice
    records                    ^            ^     elapsed_ms of C alone, before_ms: A and B

A manager is for one request at a time; requests that run at once have one each. Time over a limit is more
than it. Once the total was started, and until it is reset, no layer has more time left than it.

What can fail: a layer that there is not: ValueError. A strict layer, or the total, that took too long:
LayerTimeoutError. An operation cancelled at the limit of a layer that is not strict: asyncio's
TimeoutError. Errors of the operation pass unchanged, its own TimeoutError too. Nothing else is raised;
without a daemon budgets are kept to.

Threads: all may call everything. One lock, held for some hundred nanoseconds, guards all budgets, and is
made anew in the child of a fork.
"""
from __future__ import annotations

import enum
import inspect
import logging
import math
import os
import struct
import sys
import threading
import time
import types
from typing import Any, Awaitable, Callable, TypeVar

from . import _client, _wire, spans
from ._version import CONSTITUTIONAL_HASH

_T = TypeVar("_T")

TOTAL = "total"
ELAPSED_MAX_MS = 1e12  # what the daemon takes; what is assigned beyond counts as that
HEADS_MAX = 64         # layers that are kept encoded; others are encoded each time
TEXT_BYTES = 256       # of a layer's and an operation's name, as the daemon takes them

_double, _fixed64 = struct.Struct("<d").pack, struct.Struct("<Q").pack
_log = logging.getLogger("dwell")
_now_ns = time.perf_counter_ns
_lock = threading.RLock()  # a signal handler may interrupt its holder


def _begin_in_child() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


class Layer(enum.Enum):
    """What takes part of a request's time."""
    LAYER1_VALIDATION = "layer1_validation"
    LAYER2_DELIBERATION = "layer2_deliberation"
    LAYER3_POLICY = "layer3_policy"
    LAYER4_AUDIT = "layer4_audit"


# (layer, ms, strict), as config/dwelld.json has them.
_STANDARD = ((Layer.LAYER1_VALIDATION, 5.0, True), (Layer.LAYER2_DELIBERATION, 20.0, True),
             (Layer.LAYER3_POLICY, 10.0, True), (Layer.LAYER4_AUDIT, 15.0, False))


def _name(layer: Any) -> Any:
    return layer.value if issubclass(type(layer), enum.Enum) else layer


class LayerTimeoutError(Exception):
    """A layer, or the total, took more than its budget. `operation`: what was done, or None."""

    def __init__(self, layer_name: Any, budget_ms: float, elapsed_ms: float,
                 operation: str | None = None) -> None:
        self.layer_name = _name(layer_name)
        self.budget_ms = budget_ms
        self.elapsed_ms = elapsed_ms
        self.operation = operation
        self.constitutional_hash = CONSTITUTIONAL_HASH
        during = "" if operation is None else f" during {spans.safe_text(operation)}"
        super().__init__(f"{self.layer_name} is over its time budget: "
                         f"{elapsed_ms:.2f}ms > {budget_ms:.2f}ms{during}")

    def to_dict(self) -> dict[str, Any]:
        return {"error": type(self).__name__, "layer_name": self.layer_name, "budget_ms": self.budget_ms,
                "elapsed_ms": self.elapsed_ms, "operation": self.operation,
                "constitutional_hash": self.constitutional_hash}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.layer_name, self.budget_ms, self.elapsed_ms, self.operation)


class _Clock:
    """Time during which at least one operation ran. Called with the lock held."""
    __slots__ = ("elapsed_ns", "recorded_ns", "running", "begun_ns")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.elapsed_ns = 0   # up to the last start or stop
        self.recorded_ns = 0  # of these in a record already
        self.running = 0      # operations
        self.begun_ns: int | None = None

    def start(self) -> None:
        self.running += 1
        if self.begun_ns is None:
            self.begun_ns = _now_ns()

    def stop(self) -> tuple[int, int] | None:
        """(elapsed, before) in nanoseconds for a record, when the last operation has ended; else None."""
        if self.begun_ns is None:
            return None
        now_ns = _now_ns()
        self.elapsed_ns += now_ns - self.begun_ns
        self.running -= 1
        if self.running:
            self.begun_ns = now_ns
            return None
        self.begun_ns = None
        before_ns, self.recorded_ns = self.recorded_ns, self.elapsed_ns
        return self.elapsed_ns - before_ns, before_ns

    def live_ns(self) -> int:
        return self.elapsed_ns + (_now_ns() - self.begun_ns if self.begun_ns is not None else 0)


_heads: dict[Any, bytes] = {}  # layer: the fields before its time


def _head(layer: Any) -> bytes:
    head = _wire.block(1, _wire.text(layer)) + b"\x11"
    if len(_heads) < HEADS_MAX:
        _heads[layer] = head
    return head


def _record(layer: Any, spent: tuple[int, int], operation: Any = None) -> None:
    """One budget record, with the current span if that is sampled."""
    client = _client._default or _client.client()
    if client.away:
        client.drop()
        return
    try:
        elapsed_ns, before_ns = spent
        span = spans.shown()
        data = (_heads.get(layer) or _head(layer)) + _double(elapsed_ns / 1e6)
        if operation is not None:
            said = _wire.text(spans.safe_text(operation))
            if len(said) > TEXT_BYTES:
                said = said[:TEXT_BYTES].decode("utf-8", "ignore").encode()
            data += _wire.block(3, said)
        if span is not None and span.trace_id and span.span_id:
            data += b"\x2a\x10" + span.trace_id + b"\x32\x08" + span.span_id
            data += b"\x39" + _fixed64(time.time_ns())
            if span.flags & spans.DECIDED:
                data += b"\x45" + bytes([span.flags & spans.SAMPLED, 0, 0, 0])
        if before_ns:
            data += b"\x49" + _double(before_ns / 1e6)
        record = b"\x7a" + _wire.varint(len(data)) + data
    except Exception:
        client.drop()
        return
    client.put(record)


class LayerTimeoutBudget:
    """What one layer may take, and has taken. Milliseconds. `soft_limit_pct`: the share of the budget past
    which it is warned of, above 0, at most 1. Not `strict_enforcement`: being over it is only said."""

    def __init__(self, layer: Any, budget_ms: float, soft_limit_pct: float = 0.8,
                 strict_enforcement: bool = True) -> None:
        self.layer = layer
        self.budget_ms = budget_ms
        self.soft_limit_pct = soft_limit_pct
        self.strict_enforcement = strict_enforcement
        self._clock = _Clock()
        self._elapsed_ms = 0.0

    @property
    def elapsed_ms(self) -> float:
        """Up to the last stop. What is assigned counts as if it had taken that, and no operation ran."""
        return self._elapsed_ms

    @elapsed_ms.setter
    def elapsed_ms(self, value: Any) -> None:
        try:
            value = min(max(float(value), 0.0), ELAPSED_MAX_MS) if not math.isnan(value) else 0.0
        except (TypeError, ValueError, OverflowError):
            value = 0.0
        with _lock:
            self._elapsed_ms = value
            self._clock.elapsed_ns = self._clock.recorded_ns = round(value * 1e6)

    @property
    def start_time(self) -> float | None:
        """Seconds of `time.perf_counter` at which it began to run; None unless it runs."""
        begun_ns = self._clock.begun_ns
        return None if begun_ns is None else begun_ns / 1e9

    @property
    def remaining_ms(self) -> float:
        return max(0.0, self.budget_ms - self._elapsed_ms)

    @property
    def is_exceeded(self) -> bool:
        return bool(self._elapsed_ms > self.budget_ms)

    @property
    def is_soft_limit_exceeded(self) -> bool:
        return bool(self._elapsed_ms > self.budget_ms * self.soft_limit_pct)

    def start(self) -> None:
        """An operation begins. Each start needs its stop."""
        with _lock:
            self._clock.start()

    def stop(self, operation: Any = None) -> float:
        """One ends: returns what elapsed_ms now is. Sends a record when it was the last that ran; a no-op
        if none does."""
        with _lock:
            before_ns = self._clock.elapsed_ns
            spent = self._clock.stop()
            if self._clock.elapsed_ns != before_ns:  # else what was assigned stays as it is
                self._elapsed_ms = self._clock.elapsed_ns / 1e6
            elapsed_ms = self._elapsed_ms
        if spent is not None:
            _record(_name(self.layer), spent, operation)
        return elapsed_ms

    def reset(self) -> None:
        """Forgets its time, and operations that run."""
        with _lock:
            self._clock.reset()
            self._elapsed_ms = 0.0

    def _left_ms(self) -> float:
        """Now, also while it runs."""
        with _lock:
            return self.budget_ms - self._clock.live_ns() / 1e6

    def _report(self) -> dict[str, Any]:
        return {"budget_ms": self.budget_ms, "elapsed_ms": self.elapsed_ms,
                "remaining_ms": self.remaining_ms, "is_exceeded": self.is_exceeded,
                "is_soft_limit_exceeded": self.is_soft_limit_exceeded}

    def __repr__(self) -> str:
        return f"LayerTimeoutBudget({_name(self.layer)}, {self.elapsed_ms:.2f} of {self.budget_ms:.2f} ms)"


class TimeoutBudgetManager:
    """The budgets of one request after the other. `total_budget_ms`: of the whole request.

    `layer_shares`: {Layer: share of the total, above 0, at most 1} of layers whose budget is to follow the
    total; the others have their standard budget in milliseconds. `layer_budgets` may be changed and
    replaced."""

    def __init__(self, total_budget_ms: float = 50.0,
                 layer_shares: dict[Layer, float] | None = None) -> None:
        self.constitutional_hash = CONSTITUTIONAL_HASH
        self.layer_budgets: dict[Any, LayerTimeoutBudget] = {
            layer: LayerTimeoutBudget(layer, budget_ms, strict_enforcement=strict)
            for layer, budget_ms, strict in _STANDARD}
        self._shares = dict(layer_shares or {})
        self._clock = _Clock()
        self._stopped_ms: float | None = None  # what stop_total returned
        self._entered = False    # the total was started
        self.total_budget_ms = total_budget_ms

    @property
    def total_budget_ms(self) -> float:
        return self._total_budget_ms

    @total_budget_ms.setter
    def total_budget_ms(self, value: float) -> None:
        self._total_budget_ms = value
        for layer, share in self._shares.items():
            budget = self.layer_budgets.get(layer)
            if budget is None:
                self.layer_budgets[layer] = LayerTimeoutBudget(layer, value * share)
            else:
                budget.budget_ms = value * share

    def get_layer_budget(self, layer: Any) -> LayerTimeoutBudget:
        """ValueError for a layer that is not in layer_budgets."""
        try:
            return self.layer_budgets[layer]
        except Exception:  # it is not in there, or cannot be looked up
            raise ValueError(f"Unknown layer '{spans.safe_text(_name(layer))}'") from None

    # ---- the whole request ----

    def start_total(self) -> None:
        """The request begins. If there was one before, all of that is forgotten, the time of its layers
        too."""
        with _lock:
            if self._entered:
                self.reset_all()
            self._entered = True
            self._clock.start()

    def stop_total(self) -> float:
        """The request is answered: returns the ms it took, and sends a record. 0.0 when it was never
        started."""
        with _lock:
            spent = self._clock.stop()
            elapsed_ms = self._clock.live_ns() / 1e6
            if self._entered:
                self._stopped_ms = elapsed_ms
        if spent is not None:
            _record(TOTAL, spent)
        return elapsed_ms

    @property
    def total_elapsed_ms(self) -> float:
        """Also while it runs."""
        with _lock:
            return self._stopped_ms if self._stopped_ms is not None else self._clock.live_ns() / 1e6

    @property
    def total_remaining_ms(self) -> float:
        return max(0.0, self.total_budget_ms - self.total_elapsed_ms)

    def reset_all(self) -> None:
        """Forgets all times, and operations that run."""
        with _lock:
            self._clock.reset()
            self._stopped_ms, self._entered = None, False
            for budget in list(self.layer_budgets.values()):
                budget.reset()

    def get_budget_report(self) -> dict[str, Any]:
        """The keys of /api/v1/budgets that a client knows; times of layers up to their last stop."""
        elapsed_ms = self.total_elapsed_ms
        return {"total_budget_ms": self.total_budget_ms, "total_elapsed_ms": elapsed_ms,
                "total_remaining_ms": max(0.0, self.total_budget_ms - elapsed_ms),
                "layers": {_name(layer): budget._report()
                           for layer, budget in list(self.layer_budgets.items())},
                "constitutional_hash": self.constitutional_hash}

    # ---- operations ----

    def execute_sync_with_budget(self, layer: Any, operation: Callable[[], _T],
                                 operation_name: str | None = None) -> _T:
        """Runs `operation()` and returns its result; afterwards it is judged: LayerTimeoutError of a strict
        layer or of the total, a line in the log of one that is not strict, or past its soft limit."""
        budget = self.get_layer_budget(layer)
        budget.start()
        try:
            result = operation()
        except BaseException:
            budget.stop(operation_name)
            raise
        budget.stop(operation_name)
        self._judge(budget, operation_name)
        return result

    async def execute_with_budget(self, layer: Any, operation: Callable[[], Awaitable[_T]],
                                  operation_name: str | None = None) -> _T:
        """Awaits `operation()` and returns its result. At the limit of its layer or of the total it is
        cancelled: then LayerTimeoutError, or asyncio's TimeoutError of a layer that is not strict. A
        cancellation from outside passes."""
        budget = self.get_layer_budget(layer)
        budget.start()
        left_ms, limited_by_total = self._left(budget)
        cut = False
        try:
            result: Any = operation()
            if hasattr(type(result), "__await__") or (type(result) is types.GeneratorType
                                                      and inspect.isawaitable(result)):
                result, cut = await _within(result, left_ms / 1e3)
        except BaseException:
            budget.stop(operation_name)
            raise
        budget.stop(operation_name)
        if cut:
            self._cut_off(budget, limited_by_total, operation_name)
        self._judge(budget, operation_name)
        return result  # type: ignore[no-any-return]  # of a plain function, too

    def _left(self, budget: LayerTimeoutBudget) -> tuple[float, bool]:
        """(ms that an operation has, whether it is the total that leaves no more)."""
        left_ms = budget._left_ms()
        with _lock:
            total_left_ms = self.total_budget_ms - self.total_elapsed_ms if self._entered else math.inf
        return max(0.0, min(left_ms, total_left_ms)), total_left_ms < left_ms

    def _judge(self, budget: LayerTimeoutBudget, operation: Any) -> None:
        name, elapsed_ms, budget_ms = _name(budget.layer), budget.elapsed_ms, budget.budget_ms
        if budget.is_exceeded and budget.strict_enforcement:
            raise LayerTimeoutError(name, budget_ms, elapsed_ms, operation)
        if self._entered and self.total_elapsed_ms > self.total_budget_ms:
            raise LayerTimeoutError(TOTAL, self.total_budget_ms, self.total_elapsed_ms, operation)
        if budget.is_exceeded:
            self._say_over(name, elapsed_ms, budget_ms, operation)
        elif budget.is_soft_limit_exceeded:
            _log.warning("[%s] %s is past the soft limit of its time budget: %.2fms of %.2fms%s",
                         self.constitutional_hash, name, elapsed_ms, budget_ms, _during(operation))

    def _cut_off(self, budget: LayerTimeoutBudget, by_total: bool, operation: Any) -> None:
        """Raises what an operation that was cancelled at the limit leads to. A timer may be early by its
        resolution."""
        name, elapsed_ms, budget_ms = _name(budget.layer), budget.elapsed_ms, budget.budget_ms
        if budget.strict_enforcement and (budget.is_exceeded or not by_total):
            raise LayerTimeoutError(name, budget_ms, max(elapsed_ms, budget_ms), operation)
        if by_total:
            total_ms = self.total_budget_ms
            raise LayerTimeoutError(TOTAL, total_ms, max(self.total_elapsed_ms, total_ms), operation)
        self._say_over(name, elapsed_ms, budget_ms, operation)
        raise sys.modules["asyncio"].TimeoutError

    def _say_over(self, name: Any, elapsed_ms: float, budget_ms: float, operation: Any) -> None:
        _log.error("[%s] %s is over its time budget: %.2fms of %.2fms%s", self.constitutional_hash, name,
                   elapsed_ms, budget_ms, _during(operation))


def _during(operation: Any) -> str:
    """On one line, in any script: a name cannot forge another line."""
    if operation is None:
        return ""
    text = spans.safe_text(operation)[:TEXT_BYTES]
    return " during " + "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii")
                                for one in text)


async def _within(awaitable: Awaitable[_T], seconds: float) -> tuple[_T | None, bool]:
    """(result, False), or (None, True) when the awaitable was cancelled because its time was over. What it
    raises passes; so does a cancellation from outside."""
    import asyncio  # whoever awaits has it
    if hasattr(asyncio, "timeout"):
        limit = asyncio.timeout(seconds)
        cancelled = False
        try:
            async with limit:
                try:
                    return await awaitable, False
                except asyncio.CancelledError:
                    cancelled = True
                    raise
        except TimeoutError:
            if cancelled and limit.expired():
                return None, True
            raise  # the operation's own
    # Before Python 3.11 a task cannot tell who cancelled it, so the operation has one of its own.
    task = asyncio.ensure_future(awaitable)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        await _ended(task)
        _ = task.cancelled() or task.exception()  # seen, so that asyncio does not complain of it
        raise
    if not done:
        task.cancel()
        await _ended(task)
        if task.cancelled():
            return None, True
    return task.result(), False


async def _ended(task: Any) -> None:
    """Waits until it has ended, however it does."""
    import asyncio
    while not task.done():
        await asyncio.wait({task})
