"""Decorators that count requests, validations and messages: plain functions, coroutines, generators of
both kinds.

Happy path:
    1. `@track_request_metrics("shop", "/cart")` around a function
    2. each call counts as in progress, runs with its arguments as they are, and is counted by how it ended
    3. what it returns or raises reaches the caller unchanged

    ended by                        request    validation            message
    a result                        200        success               success
    an exception                    500        failure, violation    error
    cancellation, an early close    499        cancelled             cancelled

What can fail: nothing of its own; what is recorded is dropped and counted where it cannot be (`_series`).

A plain function that returns a coroutine has ended when that has. One that returns another awaitable (a
task, a future) has ended when it returns it: its caller may need the object itself.

Threads: decorated functions may be called by any thread and task at once.
"""
import functools
import inspect
import sys
import time
from typing import Any, AsyncGenerator, Callable, Dict, Generator, Optional, TypeVar, cast

from . import _part
from ._coroutine import Rest, is_coroutine, like
from .metrics import (CONSTITUTIONAL_VALIDATION_DURATION, CONSTITUTIONAL_VALIDATIONS_TOTAL,
                      CONSTITUTIONAL_VIOLATIONS_TOTAL, HTTP_REQUEST_DURATION, HTTP_REQUESTS_IN_PROGRESS,
                      HTTP_REQUESTS_TOTAL, MESSAGE_PROCESSING_DURATION, MESSAGES_TOTAL)

__all__ = ["track_constitutional_validation", "track_message_processing", "track_request_metrics"]

Function = TypeVar("Function", bound=Callable[..., Any])
End = Callable[[Optional[BaseException]], None]
Begin = Callable[[Dict[str, Any]], End]  # is given the keyword arguments of the call


def is_cancelled(error: Optional[BaseException]) -> bool:
    """A task ends with asyncio's CancelledError, a generator that is closed early with GeneratorExit.
    asyncio is not imported for it: that takes longer than all of this package, and who raises its errors
    has it."""
    cancelled = getattr(sys.modules.get("asyncio"), "CancelledError", GeneratorExit)
    return isinstance(error, (GeneratorExit, cancelled))


def track_request_metrics(service: str, endpoint: str) -> Callable[[Function], Function]:
    """Counts calls as HTTP requests: in progress, seconds, and the total by status.

    The method is the call's keyword argument `method`, else GET.
    """
    def begin(named: Dict[str, Any]) -> End:
        method = named.get("method", "GET")
        running = HTTP_REQUESTS_IN_PROGRESS.labels(method, endpoint, service)
        running.inc()
        forks = _part.forks
        start = time.perf_counter()

        def end(error: Optional[BaseException]) -> None:
            HTTP_REQUEST_DURATION.labels(method, endpoint, service).observe(time.perf_counter() - start)
            status = "200" if error is None else "499" if is_cancelled(error) else "500"
            HTTP_REQUESTS_TOTAL.labels(method, endpoint, service, status).inc()
            if forks == _part.forks:  # else it is in progress in the parent
                running.dec()
        return end
    return lambda function: _tracked(function, begin)


def track_constitutional_validation(service: str) -> Callable[[Function], Function]:
    """Counts calls as validations: seconds, the total by result, and an exception as a violation of its
    class."""
    def begin(_: Dict[str, Any]) -> End:
        start = time.perf_counter()

        def end(error: Optional[BaseException]) -> None:
            CONSTITUTIONAL_VALIDATION_DURATION.labels(service).observe(time.perf_counter() - start)
            result = _outcome(error, "failure")
            CONSTITUTIONAL_VALIDATIONS_TOTAL.labels(service, result).inc()
            if result == "failure":
                CONSTITUTIONAL_VIOLATIONS_TOTAL.labels(service, type(error).__name__).inc()
        return end
    return lambda function: _tracked(function, begin)


def track_message_processing(message_type: str, priority: str = "normal") -> Callable[[Function], Function]:
    """Counts calls as messages: seconds, and the total by status."""
    def begin(_: Dict[str, Any]) -> End:
        start = time.perf_counter()

        def end(error: Optional[BaseException]) -> None:
            MESSAGE_PROCESSING_DURATION.labels(message_type, priority).observe(time.perf_counter() - start)
            MESSAGES_TOTAL.labels(message_type, priority, _outcome(error, "error")).inc()
        return end
    return lambda function: _tracked(function, begin)


def _outcome(error: Optional[BaseException], failed: str) -> str:
    return "success" if error is None else "cancelled" if is_cancelled(error) else failed


def _tracked(function: Function, begin: Begin) -> Function:
    if inspect.iscoroutinefunction(function):
        wrapper = _coroutine(function, begin)
    elif inspect.isasyncgenfunction(function):
        wrapper = _async_generator(function, begin)
    elif inspect.isgeneratorfunction(function):
        wrapper = like(function, _generator(function, begin))
    else:
        wrapper = _plain(function, begin)
    return cast(Function, functools.wraps(function)(wrapper))


def _plain(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    def wrapper(*arguments: Any, **named: Any) -> Any:
        end = begin(named)
        try:
            result = function(*arguments, **named)
        except BaseException as error:
            end(error)
            raise
        if is_coroutine(result):
            return Rest(result, end)
        end(None)
        return result
    return wrapper


def _coroutine(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    async def wrapper(*arguments: Any, **named: Any) -> Any:
        end = begin(named)
        try:
            value = await function(*arguments, **named)
        except BaseException as error:
            end(error)
            raise
        end(None)
        return value
    return wrapper


def _generator(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    def wrapper(*arguments: Any, **named: Any) -> Generator[Any, Any, Any]:
        end = begin(named)
        try:
            value = yield from function(*arguments, **named)
        except BaseException as error:
            end(error)
            raise
        end(None)
        return value
    return wrapper


def _async_generator(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    async def wrapper(*arguments: Any, **named: Any) -> AsyncGenerator[Any, Any]:
        end = begin(named)
        try:
            steps = function(*arguments, **named)
            step = steps.__anext__()
            while True:  # there is no `yield from` for these
                try:
                    value = await step
                except StopAsyncIteration:
                    break
                try:
                    sent = yield value
                except GeneratorExit:
                    await steps.aclose()
                    raise
                except BaseException as error:
                    step = steps.athrow(error)
                else:
                    step = steps.asend(sent)
        except BaseException as error:
            end(error)
            raise
        end(None)
    return wrapper
