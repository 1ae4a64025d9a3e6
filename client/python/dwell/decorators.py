"""Decorators that measure functions: `traced` by a span, `metered` and `timed` by metrics; and
`SpanContext`.

Happy path:
    1. `begin` takes the clock before the call, `end` after it, with the exception or without
    2. one wrapper for each sort of function (plain, coroutine, generator, async generator) calls the two

A generator is measured from its first step to its end, and its span is current while it runs, not while its
caller does. What ends a task or generator from outside is a cancellation: neither success nor error.

What can fail: nothing that the function does not do itself: its result, its exception and its arguments
pass untouched. Any thread; decorated functions may be nested, recursive and stacked in any order.
"""
from __future__ import annotations

import functools
import inspect
import time
import types
from typing import Any, Callable, TypeVar, overload

from . import _client, _wire, spans
from ._coroutine import Rest, like
from .spans import Kind, Span
from .telemetry import TracingContext

_F = TypeVar("_F", bound=Callable[..., Any])

_clock_ns = time.perf_counter_ns

ARGUMENTS_MAX = 32  # keyword arguments of a call that are recorded
_SCALARS = (str, int, float, bool)


class SpanContext(TracingContext):
    """`with SpanContext(name):` or `async with`: a child of the current span around a block."""
    __slots__ = ()


# ---- what is measured ----

class _Measure:
    """Of one function. `begin` gives what `end` needs; `resume` and `suspend` are around what runs in
    between, once or at each step of a generator. While the daemon is away none of them is called, and
    `records` are counted."""
    records = 1

    def begin(self, client: _client.Client, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        raise NotImplementedError

    def end(self, begun: Any, error: BaseException | None) -> None:
        raise NotImplementedError

    def resume(self, begun: Any) -> Any:
        return None

    def suspend(self, resumed: Any) -> None:
        pass

    def hold(self, begun: Any) -> Any:
        """What `resume` is given at the next step of a generator, asked before `suspend`."""
        return begun

    def skip(self, client: _client.Client) -> None:
        for _ in range(self.records):
            client.drop()


class _Traced(_Measure):
    def __init__(self, function: Any, name: str | None, service_name: str | None,
                 attributes: dict[str, Any] | None, record_args: bool) -> None:
        self._kind = Kind(name or _name_of(function), attributes, None, service_name)
        self._well = self._kind.with_attributes({"success": True})
        self._record_args = record_args

    def begin(self, client: _client.Client, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        mother = spans.current.get()
        if mother is None and spans.foreign is not None:
            mother = spans.foreign()
        span = Span(self._kind, mother, client)
        if self._record_args:
            span.set_attribute("args.count", len(args))
            for key, value in list(kwargs.items())[:ARGUMENTS_MAX]:
                if issubclass(type(value), _SCALARS):  # isinstance would ask the object
                    span.set_attribute(f"kwargs.{key}", value)
        return span

    def end(self, span: Span, error: BaseException | None) -> None:
        if error is None:
            if span._extra is not None:
                span.set_attribute("success", True)
            span.end_as(self._well)
        elif spans.is_cancellation(error):
            span.set_attribute("cancelled", True)
            span.end()
        else:
            span.set_attribute("success", False)
            span.set_attribute("error.type", type(error).__name__)
            span.set_attribute("error.message", spans.safe_text(error))
            span.fail(error)
            span.end()

    def hold(self, span: Span) -> Any:
        """What is current, such as a span within."""
        return spans.current.get()

    # No calls of ours in between.
    resume = staticmethod(spans.current.set)  # type: ignore[assignment]
    suspend = staticmethod(spans.leave)  # type: ignore[assignment]


class _Metered(_Measure):
    records = 2

    def __init__(self, function: Any, counter_name: str | None, histogram_name: str | None) -> None:
        name = _name_of(function)
        counter, histogram = counter_name or f"{name}_calls", histogram_name or f"{name}_latency_ms"
        self._well, self._failed, self._cancelled = (
            _wire.Series(counter, _wire.COUNT, {"success": outcome})
            for outcome in (True, False, "cancelled"))
        self._latency = _wire.Series(histogram, _wire.OBSERVE, None, "ms")

    def begin(self, client: _client.Client, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _clock_ns()

    def end(self, begun_ns: int, error: BaseException | None) -> None:
        took_ms = (_clock_ns() - begun_ns) / 1e6
        client = _client.client()
        if client.away:
            self.skip(client)
            return
        calls = self._well
        if error is not None:
            calls = self._cancelled if spans.is_cancellation(error) else self._failed
        client.put(calls.pack(calls.head, 1.0, calls.tail))
        latency = self._latency
        client.put(latency.pack(latency.head, took_ms, latency.tail))


_NS_OF = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}


class _Timed(_Measure):
    def __init__(self, function: Any, histogram_name: str | None, unit: str) -> None:
        self._ns = _NS_OF.get(unit, 1e6)
        known = unit if unit in _NS_OF else "ms"
        self._series = _wire.Series(histogram_name or f"{_name_of(function)}_duration_{known}",
                                    _wire.OBSERVE, None, known)

    def begin(self, client: _client.Client, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _clock_ns()

    def end(self, begun_ns: int, error: BaseException | None) -> None:
        took = (_clock_ns() - begun_ns) / self._ns
        client = _client.client()
        if client.away:
            client.drop()
        else:
            series = self._series
            client.put(series.pack(series.head, took, series.tail))


def _name_of(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


# ---- how a function is wrapped ----

def _plain(function: Any, measure: _Measure) -> Any:
    begin, end, resume, suspend, skip = _methods(measure)

    @functools.wraps(function)
    def measured(*args: Any, **kwargs: Any) -> Any:
        client = _client._default or _client.client()
        if client.away:
            skip(client)
            return function(*args, **kwargs)
        begun = begin(client, args, kwargs)
        resumed = resume(begun)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            suspend(resumed)
            end(begun, error)
            raise
        suspend(resumed)
        if type(result) is types.CoroutineType or type(result) is Rest:
            return rest(begun, result)
        end(begun, None)
        return result

    def rest(begun: Any, coroutine: Any) -> Rest:
        """A plain function that returns a coroutine has ended when that has."""
        resumed: list[Any] = []

        def leave(error: BaseException | None) -> None:
            for one in resumed:
                suspend(one)
            end(begun, error)
        return Rest(coroutine, leave, lambda: resumed.append(resume(begun)))
    return measured


def _coroutine(function: Any, measure: _Measure) -> Any:
    begin, end, resume, suspend, skip = _methods(measure)

    @functools.wraps(function)
    async def measured(*args: Any, **kwargs: Any) -> Any:
        client = _client._default or _client.client()
        if client.away:
            skip(client)
            return await function(*args, **kwargs)
        begun = begin(client, args, kwargs)
        resumed = resume(begun)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            suspend(resumed)
            end(begun, error)
            raise
        suspend(resumed)
        end(begun, None)
        return result
    return measured


def _methods(measure: _Measure) -> tuple[Any, ...]:
    return measure.begin, measure.end, measure.resume, measure.suspend, measure.skip


def _generator(function: Any, measure: _Measure) -> Any:
    begin, end, resume, suspend, skip = _methods(measure)
    hold = measure.hold

    @functools.wraps(function)
    def measured(*args: Any, **kwargs: Any) -> Any:
        client = _client.client()
        if client.away:
            skip(client)
            return (yield from function(*args, **kwargs))
        held = begun = begin(client, args, kwargs)
        error = None
        try:
            inner = function(*args, **kwargs)
            step, given = inner.send, None
            while True:
                resumed = resume(held)
                try:
                    item = step(given)
                except StopIteration as stop:
                    return stop.value
                finally:
                    held = hold(begun)
                    suspend(resumed)
                try:
                    given = yield item
                    step = inner.send
                except GeneratorExit:
                    resumed = resume(held)
                    try:
                        inner.close()
                    finally:
                        suspend(resumed)
                    raise
                except BaseException as thrown:
                    step, given = inner.throw, thrown
        except BaseException as raised:
            error = raised
            raise
        finally:
            end(begun, error)
            del error
    return like(function, measured)


def _async_generator(function: Any, measure: _Measure) -> Any:
    begin, end, resume, suspend, skip = _methods(measure)
    hold = measure.hold

    @functools.wraps(function)
    async def measured(*args: Any, **kwargs: Any) -> Any:
        client = _client.client()
        away = client.away
        if away:
            skip(client)
        held = begun = None if away else begin(client, args, kwargs)
        error = None
        try:
            inner = function(*args, **kwargs)
            step, given = inner.asend, None
            while True:
                resumed = None if away else resume(held)
                try:
                    item = await step(given)
                except StopAsyncIteration:
                    return
                finally:
                    if not away:
                        held = hold(begun)
                        suspend(resumed)
                try:
                    given = yield item
                    step = inner.asend
                except GeneratorExit:
                    resumed = None if away else resume(held)
                    try:
                        await inner.aclose()
                    finally:
                        if not away:
                            suspend(resumed)
                    raise
                except BaseException as thrown:
                    step, given = inner.athrow, thrown
        except BaseException as raised:
            error = raised
            raise
        finally:
            if not away:
                end(begun, error)
            del error
    return measured


def _decorator(make: Callable[[Any], _Measure]) -> Callable[[Any], Any]:
    """`make(function)` gives its measure."""
    def decorate(function: Any) -> Any:
        if isinstance(function, (staticmethod, classmethod)):
            return type(function)(decorate(function.__func__))
        measure = make(function)
        for is_it, wrap in ((inspect.isasyncgenfunction, _async_generator),
                            (inspect.isgeneratorfunction, _generator),
                            (_is_coroutine_function, _coroutine)):
            if is_it(function):
                return wrap(function, measure)
        return _plain(function, measure)
    return decorate


def _is_coroutine_function(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(type(function), "__call__", None))


def _with_or_without(found: Any, make: Callable[[Any, Any], _Measure]) -> Any:
    """A decorator may stand without its parentheses."""
    if callable(found) or isinstance(found, (staticmethod, classmethod)):
        return _decorator(lambda function: make(function, None))(found)
    return _decorator(lambda function: make(function, found))


# ---- decorators ----

@overload
def traced(name: _F) -> _F: ...


@overload
def traced(name: str | None = None, service_name: str | None = None,
           attributes: dict[str, Any] | None = None, record_args: bool = False) -> Callable[[_F], _F]: ...


def traced(name: Any = None, service_name: str | None = None, attributes: dict[str, Any] | None = None,
           record_args: bool = False) -> Any:
    """A span around each call, named like the function without `name`. Attributes: `attributes`; `success`,
    and `error.type` and `error.message` of an exception; `cancelled`; with `record_args` `args.count` and
    `kwargs.NAME` of keyword arguments that are texts, numbers or bools."""
    return _with_or_without(name, lambda function, said: _Traced(function, said, service_name, attributes,
                                                                 record_args))


@overload
def metered(counter_name: _F) -> _F: ...


@overload
def metered(counter_name: str | None = None, histogram_name: str | None = None,
            service_name: str | None = None) -> Callable[[_F], _F]: ...


def metered(counter_name: Any = None, histogram_name: str | None = None,
            service_name: str | None = None) -> Any:
    """Counts calls in `{function}_calls`, with `success` true, false or cancelled, and their time in
    `{function}_latency_ms`. `service_name` is accepted: metrics are the process's."""
    return _with_or_without(counter_name, lambda function, said: _Metered(function, said, histogram_name))


@overload
def timed(histogram_name: _F) -> _F: ...


@overload
def timed(histogram_name: str | None = None, service_name: str | None = None,
          unit: str = "ms") -> Callable[[_F], _F]: ...


def timed(histogram_name: Any = None, service_name: str | None = None, unit: str = "ms") -> Any:
    """The time of each call in `{function}_duration_{unit}`. `unit`: "ns", "us", "ms" or "s"."""
    return _with_or_without(histogram_name, lambda function, said: _Timed(function, said, unit))
