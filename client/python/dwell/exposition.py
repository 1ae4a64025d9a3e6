"""What the daemon shows of all metrics, for a service that keeps its own address for it.

Happy path:
    1. Prometheus asks the service for /metrics, in the formats that it can read
    2. what this process has recorded is flushed, so that a scrape sees it
    3. the daemon is asked on `query.sock`, in the same words; its answer is handed on byte for byte

What can fail: no daemon, or one that is too slow. Then the status is 503, so that Prometheus says `up 0`,
and the body has the families without a value. Nothing here raises.

The async forms ask in a thread of the event loop's executor, and never hold up the loop.
"""
import http.client
from typing import Any, Awaitable, Callable, Dict, Iterable, List, Mapping, Tuple

from . import _query
from ._client import client
from .metrics import FAMILIES

__all__ = ["create_metrics_endpoint", "get_metrics", "get_metrics_content_type", "make_asgi_app",
           "make_wsgi_app"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
FLUSH_S = 0.25  # that a scrape waits for this process's own last records

# Of the scraper's request and of the daemon's answer; the rest is each connection's own business.
_ASKED = ("accept", "accept-encoding")
_ANSWERED = ("Content-Type", "Content-Encoding", "Cache-Control", "Vary")

Headers = List[Tuple[str, str]]
Scope = Dict[str, Any]
Send = Callable[[Dict[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Any, Send], Awaitable[None]]
WsgiApp = Callable[[Dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def get_metrics() -> bytes:
    """All metrics of all processes, as Prometheus's text format 0.0.4; what was recorded before is in it.

    Takes at most some seconds, usually milliseconds. Without a daemon: the HELP and TYPE lines alone.
    """
    return _answer({})[2]


def get_metrics_content_type() -> str:
    """The content type of what `get_metrics` returns."""
    return CONTENT_TYPE


def create_metrics_endpoint() -> Callable[[], Awaitable[Any]]:
    """An async function without arguments that answers with all metrics, for `app.get("/metrics")(…)` of
    FastAPI.

    The answer has `body`, `status_code`, `headers` and `media_type`. It is a Response of Starlette where
    that is installed, else a `MetricsAnswer`.
    """
    async def metrics() -> Any:
        status, headers, body = await _answer_later({})
        try:
            from starlette.responses import Response
        except ImportError:
            return MetricsAnswer(status, dict(headers), body)
        return Response(body, status, dict(headers))
    return metrics


class MetricsAnswer:
    """What `create_metrics_endpoint` answers where there is no Starlette; an ASGI application, too."""

    def __init__(self, status_code: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status_code = status_code
        self.headers = headers
        self.body = body
        self.media_type = headers["Content-Type"]

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        await _send_answer(send, self.status_code, list(self.headers.items()), self.body)


def make_asgi_app() -> AsgiApp:
    """An ASGI application that answers every request with all metrics, in the format that the scraper
    prefers."""
    async def app(scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] == "http":
            asked = {name.decode("latin-1").lower(): value.decode("latin-1")
                     for name, value in scope["headers"]}
            await _send_answer(send, *await _answer_later(asked))
    return app


def make_wsgi_app() -> WsgiApp:
    """A WSGI application that answers every request with all metrics, in the format that the scraper
    prefers."""
    def app(environ: Dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = {name: environ[key] for name in _ASKED
                 if (key := "HTTP_" + name.upper().replace("-", "_")) in environ}
        status, headers, body = _answer(asked)
        start_response(f"{status} {http.client.responses.get(status, 'Unknown')}", headers)
        return [body]
    return app


async def _send_answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def _answer_later(asked: Mapping[str, str]) -> Tuple[int, Headers, bytes]:
    import asyncio  # whoever awaits this has it
    return await asyncio.get_running_loop().run_in_executor(None, _answer, asked)


def _answer(asked: Mapping[str, str]) -> Tuple[int, Headers, bytes]:
    """Status, headers and body of the daemon's answer."""
    client().flush(FLUSH_S)
    answer = _query.ask("/metrics", headers={name: asked[name] for name in _ASKED if name in asked})
    if answer is None:
        body = _without_daemon()
        return 503, [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(body)))], body
    status, found, body = answer
    headers = [(name, found[name]) for name in _ANSWERED if name in found]
    return status, [*headers, ("Content-Length", str(len(body)))], body


def _without_daemon() -> bytes:
    lines = ["# There is no answer from dwelld: these are families without values."]
    for family in FAMILIES:
        kind = "gauge" if family.kind == "info" else family.kind
        lines += [f"# HELP {family.name} {family.documentation}", f"# TYPE {family.name} {kind}"]
    return ("\n".join(lines) + "\n").encode()
