"""Counts the HTTP requests of a whole application, under ASGI (FastAPI, Starlette, …) and WSGI (Flask,
Django, …).

Happy path:
    1. `MetricsMiddleware(app, "shop")`, or `instrument_app(app, "shop")`
    2. a request that arrives counts as in progress
    3. when its answer is complete, it is counted by method, endpoint and status, with its seconds

    request -> +1 in progress -> app -> start: status -> body … end -> seconds, total, -1 in progress
                                  |                        |
                                  exception: 500           cancelled, or closed before its end: 499

Endpoints are bounded, since who asks may ask for anything: the route of an application of Starlette or
FastAPI (`/items/{item_id}`), UNMATCHED where none fits; else the path. Past ENDPOINTS_MAX of them it is OTHER.
`endpoint` may be a function from the scope, or from the environ, to a text.

What can fail: nothing of its own. What the application raises passes on; a request inside another
middleware of this kind is counted once, by the outer one.

Threads: an instance serves any number of threads and tasks at once.
"""
import inspect
import time
from typing import Any, Awaitable, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from ._series import drop
from .metrics import HTTP_REQUEST_DURATION, HTTP_REQUESTS_IN_PROGRESS, HTTP_REQUESTS_TOTAL
from .tracking import CANCELLED

__all__ = ["AsgiMetricsMiddleware", "MetricsMiddleware", "WsgiMetricsMiddleware", "instrument_app"]

ENDPOINTS_MAX = 200       # of one middleware: with 9 methods and some statuses each, a family is still small
ENDPOINT_CHARACTERS = 256  # what the daemon takes of a label by default (metrics.max_label_bytes)
PATHS_MAX = 2000          # whose route is remembered; at one over all are forgotten, and matched again
OTHER, UNMATCHED = "(other)", "(unmatched)"

_METHODS = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"))
_COUNTED = "dwell.counted"  # in scope or environ: an outer one counts this request
ROUTERS_MAX = 8  # that lie in one another
_FULL = 2  # starlette.routing.Match.FULL, which is not imported: the application may have no Starlette

Scope = Dict[str, Any]
Message = Dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Endpoint = Callable[[Dict[str, Any]], str]


class _Requests:
    """The requests of one method to one endpoint: `begin` when one arrives, `end` when it is answered."""
    __slots__ = ("_labels", "_totals", "begin", "_done", "_observe")

    def __init__(self, method: str, endpoint: str, service: str) -> None:
        self._labels = (method, endpoint, service)
        self._totals: Dict[object, Callable[[], None]] = {}  # by status: at most 500, as text and as number
        running = HTTP_REQUESTS_IN_PROGRESS.labels(*self._labels)
        self.begin: Callable[[], None] = running.inc
        self._done = running.dec
        self._observe = HTTP_REQUEST_DURATION.labels(*self._labels).observe

    def end(self, status: object, seconds: float) -> None:
        """Status: a number, or its digits."""
        self._observe(seconds)
        try:
            (self._totals.get(status) or self._total(status))()
        except Exception:  # an application's status may be anything
            drop()
        self._done()

    def _total(self, status: Any) -> Callable[[], None]:
        try:
            number = int(status)
        except (TypeError, ValueError):
            number = 0
        known = 100 <= number <= 599
        total = HTTP_REQUESTS_TOTAL.labels(*self._labels, str(number if known else 500)).inc
        if known:
            self._totals[status] = total
        return total


class MetricsMiddleware:
    """Counts the requests of an application: `MetricsMiddleware(app, service_name)`.

    It is an AsgiMetricsMiddleware where calling the application gives a coroutine, else a
    WsgiMetricsMiddleware; who knows better names one of these.

    app: the application. service_name: the label `service`. endpoint: from a scope, or an environ, to the
    label `endpoint`; without one it is the route, or the path.
    """

    def __new__(cls, app: Any, service_name: str = "", endpoint: Optional[Endpoint] = None
                ) -> "MetricsMiddleware":
        if cls is MetricsMiddleware:
            return object.__new__(AsgiMetricsMiddleware if _is_asgi(app) else WsgiMetricsMiddleware)
        return object.__new__(cls)

    def __init__(self, app: Any, service_name: str = "", endpoint: Optional[Endpoint] = None) -> None:
        self.app = app
        self.service_name = service_name
        self._endpoint = endpoint
        self._requests: Dict[Tuple[str, str], _Requests] = {}
        self._endpoints: Dict[str, None] = {}  # those that have a label of their own
        self._routes: Dict[Tuple[str, str], str] = {}  # of method and path

    def _arrived(self, method: str, path: str, about: Dict[str, Any]) -> Optional[_Requests]:
        """Begins a request. None: it cannot be counted, and that is."""
        try:
            endpoint = None
            if self._endpoint is not None:
                endpoint = str(self._endpoint(about))
            requests = self._of(method, self._route(method, path, about) if endpoint is None else endpoint)
            requests.begin()
            return requests
        except Exception:
            drop()
            return None

    def _route(self, method: str, path: str, about: Dict[str, Any]) -> str:
        return path

    def _of(self, method: str, endpoint: str) -> _Requests:
        """The requests that this one belongs to."""
        found = self._requests.get((method, endpoint))
        if found is not None:
            return found
        if method not in _METHODS:
            method = OTHER
        endpoint = endpoint[:ENDPOINT_CHARACTERS]
        if endpoint not in self._endpoints:
            if len(self._endpoints) < ENDPOINTS_MAX:
                self._endpoints[endpoint] = None
            else:
                endpoint = OTHER
        found = self._requests.get((method, endpoint))
        if found is None:
            found = _Requests(method, endpoint, self.service_name)
            self._requests[(method, endpoint)] = found
        return found


class AsgiMetricsMiddleware(MetricsMiddleware):
    """For ASGI 3. Counts `http`; `websocket` and `lifespan` pass through."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        requests = None
        if scope["type"] == "http" and _COUNTED not in scope:
            scope[_COUNTED] = True
            requests = self._arrived(scope["method"], scope["path"], scope)
        if requests is None:
            await self.app(scope, receive, send)
            return
        status = 500  # an application that ends without an answer: the server gives this one

        async def counting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        start = time.perf_counter()
        try:
            await self.app(scope, receive, counting_send)
        except BaseException as error:
            requests.end(499 if isinstance(error, CANCELLED) else 500, time.perf_counter() - start)
            raise
        requests.end(status, time.perf_counter() - start)

    def _route(self, method: str, path: str, about: Scope) -> str:
        """The route of an application of Starlette's kind, the path of any other."""
        known = self._routes.get((method, path))
        if known is not None:
            return known
        routes = getattr(about.get("app") or self.app, "routes", None)
        if routes is None:
            return path
        found = _match(routes, about, ROUTERS_MAX) or UNMATCHED
        if len(path) <= ENDPOINT_CHARACTERS and method in _METHODS:
            if len(self._routes) >= PATHS_MAX:
                self._routes.clear()
            self._routes[(method, path)] = found
        return found


def _match(routes: Iterable[Any], scope: Scope, depth: int) -> str:
    """The route that this request takes, as the router itself finds it; "" where there is none."""
    other_method = ""
    for route in routes:
        match, more = route.matches(scope)
        if match.value:
            path = str(getattr(route, "path", ""))
            inner = getattr(route, "routes", None)
            if inner and depth:
                path += _match(inner, {**scope, **more}, depth - 1)
            if match.value == _FULL:
                return path
            other_method = other_method or path
    return other_method


class WsgiMetricsMiddleware(MetricsMiddleware):
    """For WSGI (PEP 3333). A request ends with its answer's last part, or when the server closes the
    answer."""

    def __call__(self, environ: Dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        requests = None
        if _COUNTED not in environ:
            environ[_COUNTED] = True
            requests = self._arrived(environ.get("REQUEST_METHOD", "GET"), _path(environ), environ)
        if requests is None:
            return self.app(environ, start_response)  # type: ignore[no-any-return]
        answer = _Answer(requests, start_response)
        try:
            body = self.app(environ, answer.start)
        except BaseException as error:
            answer.end(error)
            raise
        if type(body) in (list, tuple) or _is_file(body, environ):
            answer.end(None)  # it stays what it is: the server asks for its length, or the kernel sends it
            return body  # type: ignore[no-any-return]
        answer.body = body
        return answer


class _Answer:
    """One answer under WSGI, and the iterable that the server takes it from."""
    __slots__ = ("_requests", "_start_response", "_status", "_began", "_ended", "_parts", "body")

    def __init__(self, requests: _Requests, start_response: Callable[..., Any]) -> None:
        self._requests = requests
        self._start_response = start_response
        self._status = "500"
        self._ended = False
        self._parts: Optional[Iterator[bytes]] = None
        self.body: Iterable[bytes] = ()
        self._began = time.perf_counter()

    def start(self, status: str, headers: List[Tuple[str, str]], exc_info: Any = None) -> Any:
        self._status = status
        if exc_info is None:
            return self._start_response(status, headers)
        return self._start_response(status, headers, exc_info)

    def end(self, error: Optional[BaseException]) -> None:
        if not self._ended:
            self._ended = True
            status = self._status[:3] if error is None else "499" if isinstance(error, CANCELLED) else "500"
            self._requests.end(status, time.perf_counter() - self._began)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._parts is None:
                self._parts = iter(self.body)
            return next(self._parts)
        except StopIteration:
            self.end(None)
            raise
        except BaseException as error:
            self.end(error)
            raise

    def close(self) -> None:
        self.end(GeneratorExit())  # unless it has ended: nobody wants the rest
        close = getattr(self.body, "close", None)
        if close is not None:
            close()


def _path(environ: Dict[str, Any]) -> str:
    """The whole path. WSGI has bytes as latin-1."""
    path: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")


def _is_file(body: Any, environ: Dict[str, Any]) -> bool:
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


def _is_asgi(app: Any) -> bool:
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(getattr(app, "__call__", None))


def instrument_app(app: Any, service_name: str, endpoint: Optional[Endpoint] = None) -> Any:
    """Counts all requests of an application; returns the application to serve.

    FastAPI and Starlette get the middleware as their outermost and are returned, Flask likewise. Any other
    application is returned inside a MetricsMiddleware. Raises what `add_middleware` raises: RuntimeError
    for an application that has begun to serve.
    """
    if hasattr(app, "add_middleware"):
        app.add_middleware(AsgiMetricsMiddleware, service_name=service_name, endpoint=endpoint)
        return app
    if hasattr(app, "wsgi_app"):
        app.wsgi_app = WsgiMetricsMiddleware(app.wsgi_app, service_name, endpoint)
        return app
    return MetricsMiddleware(app, service_name, endpoint)
