"""Coroutines that are made by other means than `async def`, as decorated functions give them.

    a plain function that returns a coroutine      Rest: has ended when that has, also unbegun
    a generator function under types.coroutine     awaitable: what wraps it is so, too
"""
import collections.abc
import functools
import inspect
import types
from typing import Any, Callable, Optional


class Rest(collections.abc.Coroutine):  # type: ignore[type-arg]
    """A coroutine that says when it begins and, once, how it ends: `begin()` and `end(exception or None)`.
    One that is closed or forgotten ends by GeneratorExit."""
    __slots__ = ("_coroutine", "_begin", "_end", "__weakref__")

    def __init__(self, coroutine: Any, end: Callable[[Optional[BaseException]], None],
                 begin: Optional[Callable[[], None]] = None) -> None:
        self._coroutine = coroutine
        self._begin = begin
        self._end: Optional[Callable[[Optional[BaseException]], None]] = end

    def send(self, value: Any) -> Any:
        return self._step(self._coroutine.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._coroutine.throw, *error)

    def close(self) -> None:
        try:
            self._coroutine.close()
        except BaseException as error:
            self._finish(error)
            raise
        self._finish(GeneratorExit())

    def __await__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self._step(self._coroutine.send, None)

    def __getattr__(self, name: str) -> Any:  # cr_frame, __name__, …
        return getattr(self._coroutine, name)

    def __del__(self) -> None:
        self._finish(GeneratorExit())

    def _step(self, step: Callable[..., Any], *given: Any) -> Any:
        begin, self._begin = self._begin, None
        if begin is not None:
            begin()
        try:
            return step(*given)
        except StopIteration:
            self._finish(None)
            raise
        except BaseException as error:
            self._finish(error)
            raise

    def _finish(self, error: Optional[BaseException]) -> None:
        end, self._end = self._end, None
        if end is not None:
            end(error)


def is_coroutine(found: object) -> bool:
    kind = type(found)
    return kind is types.CoroutineType or kind is Rest


def like(function: Any, wrapper: Any) -> Any:
    """The wrapper of a generator function, awaitable where that is."""
    while isinstance(function, functools.partial):
        function = function.func
    for one in (function, getattr(function, "__call__", None)):
        code = getattr(one, "__code__", None)
        if code is not None and code.co_flags & inspect.CO_ITERABLE_COROUTINE:
            return types.coroutine(wrapper)
    return wrapper
