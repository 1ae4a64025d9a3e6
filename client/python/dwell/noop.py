"""Spans and instruments of which nothing comes, for a process in which dwell is switched off
(DWELL_DISABLED=1).

They have the methods of the recording ones, take any arguments those take, and cost a call each. Any
thread.
"""
from __future__ import annotations

from types import TracebackType
from typing import Any

class NoOpSpan:
    """A span that records nothing. `with NoOpSpan() as span` gives itself; exceptions pass."""
    __slots__ = ()

    def set_attribute(self, key: Any, value: Any) -> None:
        pass

    def set_attributes(self, attributes: Any) -> None:
        pass

    def add_event(self, name: Any, attributes: Any = None, timestamp: int | None = None) -> None:
        pass

    def add_link(self, context: Any, attributes: Any = None) -> None:
        pass

    def record_exception(self, exception: BaseException, attributes: Any = None,
                         timestamp: int | None = None, escaped: bool = False) -> None:
        pass

    def set_status(self, status: Any = None, description: Any = None) -> None:
        pass

    def update_name(self, name: Any) -> None:
        pass

    def end(self, end_time: int | None = None) -> None:
        pass

    def is_recording(self) -> bool:
        return False

    def get_span_context(self) -> None:
        """None: there is nothing to be a child of."""
        return

    def __enter__(self) -> NoOpSpan:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        return None

    async def __aenter__(self) -> NoOpSpan:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        return None


class NoOpTracer:
    """Makes a NoOpSpan each time."""
    __slots__ = ()

    def start_span(self, name: Any = "", *arguments: Any, **options: Any) -> NoOpSpan:
        return NoOpSpan()

    def start_as_current_span(self, name: Any = "", *arguments: Any, **options: Any) -> NoOpSpan:
        return NoOpSpan()


class NoOpCounter:
    __slots__ = ()

    def add(self, amount: Any, attributes: Any = None) -> None:
        pass


class NoOpUpDownCounter:
    __slots__ = ()

    def add(self, amount: Any, attributes: Any = None) -> None:
        pass


class NoOpHistogram:
    __slots__ = ()

    def record(self, value: Any, attributes: Any = None) -> None:
        pass


class NoOpGauge:
    __slots__ = ()

    def set(self, amount: Any, attributes: Any = None) -> None:
        pass


class NoOpMeter:
    """Makes no-op instruments."""
    __slots__ = ()

    def create_counter(self, name: Any = "", unit: str = "", description: str = "") -> NoOpCounter:
        return NoOpCounter()

    def create_histogram(self, name: Any = "", unit: str = "", description: str = "",
                         **options: Any) -> NoOpHistogram:
        return NoOpHistogram()

    def create_up_down_counter(self, name: Any = "", unit: str = "",
                               description: str = "") -> NoOpUpDownCounter:
        return NoOpUpDownCounter()

    def create_gauge(self, name: Any = "", unit: str = "", description: str = "") -> NoOpGauge:
        return NoOpGauge()

    def create_observable_gauge(self, name: Any = "", callbacks: Any = None, unit: str = "",
                                description: str = "") -> None:
        return None
