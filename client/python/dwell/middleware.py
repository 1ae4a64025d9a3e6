"""Counts the HTTP requests of a whole application, under ASGI (FastAPI, Starlette, …) and WSGI (Flask,
Django, …).

Happy path:
    1. `MetricsMiddleware(app, "shop")`, or `instrument_app(app, "shop")`
    2. a request that arrives counts as in progress
    3. when its answer is complete, it is counted by method, endpoint and status, with its seconds

    request -> +1 in progress -> app -> start: status -> body … end -> seconds, total, -1 in progress
                                  |                        |
                                  exception: 500           cancelled, or closed before its end: 499

What is asked for is anybody's choice, so endpoints are bounded: the route that the framework took
(`/items/{item_id}`, of Starlette, FastAPI, Flask), UNMATCHED where it took none; without a framework that
says so the path, or UNMATCHED where the answer was 404 or 405. Past ENDPOINTS_MAX of them it is OTHER. The
route is known when a request has been routed, so a path that comes the first time is in progress under
OTHER. `endpoint` may be a function from the scope, or from the environ, to a text.

What can fail: nothing of its own. What the application raises passes on; a request inside another
middleware of this kind is counted once, by the outer one.

Threads: an instance serves any number of threads and tasks at once.
"""
import functools
import inspect
import time
from typing import Any, Awaitable, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from . import _part
from ._client import client
from ._series import drop
from .metrics import HTTP_REQUEST_DURATION, HTTP_REQUESTS_IN_PROGRESS, HTTP_REQUESTS_TOTAL
from .tracking import is_cancelled

__all__ = ["AsgiMetricsMiddleware", "MetricsMiddleware", "WsgiMetricsMiddleware", "instrument_app"]

ENDPOINTS_MAX = 200        # of one middleware: with 9 methods and some statuses a family is still small
ENDPOINT_CHARACTERS = 256  # what the daemon takes of a label by default (metrics.max_label_bytes)
PATHS_MAX = 2000           # whose endpoint is remembered; at one over all are forgotten, and learnt again
OTHER, UNMATCHED = "(other)", "(unmatched)"

_METHODS = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"))
_COUNTED = "dwell.counted"  # in scope or environ: an outer one counts this request
_ROUTE = "dwell.route"      # in environ: what a framework said when it began to answer

Scope = Dict[str, Any]
Message = Dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Endpoint = Callable[[Dict[str, Any]], str]


class _Requests:
    """The requests of one method to one endpoint; what is the same in their records is bytes already."""
    __slots__ = ("_labels", "_totals", "running", "seconds")

    def __init__(self, method: str, endpoint: str, service: str) -> None:
        self._labels = (method, endpoint, service)
        self._totals: Dict[object, bytes] = {}  # by status: at most 500, as text and as number
        self.running = HTTP_REQUESTS_IN_PROGRESS.labels(*self._labels)
        self.seconds = HTTP_REQUEST_DURATION.labels(*self._labels).packed

    def total(self, status: object) -> bytes:
        """Status: a number, or its digits."""
        try:
            return self._totals[status]
        except (KeyError, TypeError):
            return self._new_total(status)

    def _new_total(self, status: Any) -> bytes:
        try:
            number = int(status)
        except (TypeError, ValueError):
            number = 0  # what no server can send
        known = 100 <= number <= 599
        total = HTTP_REQUESTS_TOTAL.labels(*self._labels, str(number if known else 500)).packed(1)
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
        self._known: Dict[Tuple[str, str], _Requests] = {}  # by method and path

    def _learn(self, method: str, path: str, about: Dict[str, Any], status: object) -> _Requests:
        """What a request belonged to, now that it has been routed."""
        endpoint = self._route(path, about)
        if endpoint is None:
            endpoint = UNMATCHED if str(status) in ("404", "405") else path
        found = self._of(method, endpoint)
        if endpoint != UNMATCHED and len(path) <= ENDPOINT_CHARACTERS and method in _METHODS:
            if len(self._known) >= PATHS_MAX:
                self._known.clear()
            self._known[(method, path)] = found
        return found

    def _route(self, path: str, about: Dict[str, Any]) -> Optional[str]:
        """The route that the framework took, UNMATCHED where it took none; None: nobody says."""
        raise NotImplementedError

    def _of(self, method: str, endpoint: str) -> _Requests:
        """The requests of a method to an endpoint, within the bounds of both."""
        found = self._requests.get((method, endpoint))
        if found is not None:
            return found
        if method not in _METHODS:
            method = OTHER
        endpoint = endpoint[:ENDPOINT_CHARACTERS]
        if endpoint not in self._endpoints and endpoint not in (OTHER, UNMATCHED):
            if len(self._endpoints) < ENDPOINTS_MAX:
                self._endpoints[endpoint] = None
            else:
                endpoint = OTHER
        found = self._requests.get((method, endpoint))
        if found is None:
            found = _Requests(method, endpoint, self.service_name)
            self._requests[(method, endpoint)] = found
        return found


class _Request:
    """One request: `begin` puts a record of it, `end` three. Neither raises."""
    __slots__ = ("_middleware", "_method", "_path", "_about", "_known", "_running", "_began", "_forks")

    def __init__(self, middleware: MetricsMiddleware, about: Dict[str, Any]) -> None:
        self._middleware = middleware
        self._about = about
        self._known: Optional[_Requests] = None
        self._running: Optional[_Requests] = None
        self._began = time.perf_counter()
        self._forks = _part.forks

    def begin(self, method: str, path: str) -> None:
        try:
            middleware = self._middleware
            if middleware._endpoint is not None:
                known: Optional[_Requests] = middleware._of(method, str(middleware._endpoint(self._about)))
            else:
                known = middleware._known.get((method, path))  # None: not before it has been routed
            running = known or middleware._of(method, OTHER)
            running.running.inc()
            self._method, self._path, self._known, self._running = method, path, known, running
        except Exception:  # an endpoint function's
            drop()

    def end(self, status: object, error: Optional[BaseException]) -> None:
        if self._running is None:
            return
        seconds = time.perf_counter() - self._began
        try:
            if self._forks == _part.forks:  # else it is in progress in the parent
                self._running.running.dec()
            if error is not None:
                status = 499 if is_cancelled(error) else 500
            known = self._known or self._middleware._learn(self._method, self._path, self._about, status)
            put = client().put
            put(known.seconds(seconds))
            put(known.total(status))
        except Exception:  # an application's scope may be anything
            drop()


class AsgiMetricsMiddleware(MetricsMiddleware):
    """For ASGI 3. Counts `http`; `websocket` and `lifespan` pass through."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _COUNTED in scope:
            await self.app(scope, receive, send)
            return
        scope[_COUNTED] = True
        request = _Request(self, scope)
        request.begin(scope["method"], scope["path"])
        status = 500  # an application that ends without an answer: the server gives this one

        async def counting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, counting_send)
        except BaseException as error:
            request.end(status, error)
            raise
        request.end(status, None)

    def _route(self, path: str, about: Scope) -> Optional[str]:
        endpoint = about.get("endpoint")
        if endpoint is None and "path_params" not in about:
            return UNMATCHED if "app" in about else None  # Starlette says who it is before it routes
        handlers = (type, functools.partial)
        if endpoint is None or inspect.isroutine(endpoint) or isinstance(endpoint, handlers):
            return _template(path, about.get("path_params") or {})
        # An application that is mounted, such as that of static files, and has not routed in its turn.
        return f"{about['root_path']}/*" if about.get("root_path") else path


def _template(path: str, parameters: Dict[str, Any]) -> str:
    """The path with its parameters by name, from the last to the first, so that `/v1/items/1` is not
    `/v{id}/…`."""
    end = len(path)
    for name, value in reversed(list(parameters.items())):
        text = str(value)
        at = end
        while text and at > 0:  # as a whole part of the path, if it is one
            at = path.rfind("/" + text, 0, at)
            if at >= 0 and path[at + 1 + len(text):end][:1] in ("", "/"):
                break
        at = at + 1 if at >= 0 else path.rfind(text, 0, end)
        if text and at >= 0:
            path = f"{path[:at]}{{{name}}}{path[at + len(text):]}"
            end = at
    return path


class WsgiMetricsMiddleware(MetricsMiddleware):
    """For WSGI (PEP 3333). A request ends with its answer's last part, or when the server closes the
    answer."""

    def __call__(self, environ: Dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if _COUNTED in environ:
            return self.app(environ, start_response)  # type: ignore[no-any-return]
        environ[_COUNTED] = True
        answer = _Answer(self, environ, start_response)
        answer.begin(environ.get("REQUEST_METHOD", "GET"), _path(environ))
        try:
            body = self.app(environ, answer.start)
        except BaseException as error:
            answer.finish(error)
            raise
        if type(body) in (list, tuple) or _is_file(body, environ):
            answer.finish(None)  # it stays what it is: the server asks for its length, or the kernel sends it
            return body  # type: ignore[no-any-return]
        answer.body = body
        return answer

    def _route(self, path: str, about: Dict[str, Any]) -> Optional[str]:
        return about.get(_ROUTE)


class _Answer(_Request):
    """One answer under WSGI, and the iterable that the server takes it from."""
    __slots__ = ("_start_response", "_status", "_finished", "_parts", "body")

    def __init__(self, middleware: MetricsMiddleware, environ: Dict[str, Any],
                 start_response: Callable[..., Any]) -> None:
        super().__init__(middleware, environ)
        self._start_response = start_response
        self._status = "500"
        self._finished = False
        self._parts: Optional[Iterator[bytes]] = None
        self.body: Iterable[bytes] = ()

    def start(self, status: str, headers: List[Tuple[str, str]], exc_info: Any = None) -> Any:
        self._status = status
        if self._known is None:
            self._look_for_route()
        if exc_info is None:
            return self._start_response(status, headers)
        return self._start_response(status, headers, exc_info)

    def _look_for_route(self) -> None:
        """Flask has its request in the environ until it has answered."""
        try:
            request: Any = self._about.get("werkzeug.request")
            if hasattr(request, "url_rule"):
                rule = request.url_rule
                self._about[_ROUTE] = UNMATCHED if rule is None else str(rule.rule)
        except Exception:  # of a request of another kind
            pass

    def finish(self, error: Optional[BaseException]) -> None:
        if not self._finished:
            self._finished = True
            self.end(self._status[:3], error)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._parts is None:
                self._parts = iter(self.body)
            return next(self._parts)
        except StopIteration:
            self.finish(None)
            raise
        except BaseException as error:
            self.finish(error)
            raise

    def close(self) -> None:
        self.finish(GeneratorExit())  # unless it has ended: nobody wants the rest
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
