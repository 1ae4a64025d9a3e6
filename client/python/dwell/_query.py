"""Questions to the daemon: HTTP over `query.sock`, and over `admin.sock` for what changes something.

What can fail: no daemon, no permission, an answer that is none, or one that takes longer than TIMEOUT_S: None each
time. Callers say what None means for them.
"""
from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

from . import _locate

TIMEOUT_S = 5.0
ANSWER_MAX = 64 << 20  # bytes; /metrics of the most series that a daemon keeps by default


class _Socket(socket.socket):
    """All of its waits together take TIMEOUT_S at most, also with a peer that sends a byte now and then."""
    deadline = 0.0

    def recv_into(self, *arguments: Any) -> int:
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("no answer in time")
        self.settimeout(left_s)
        return super().recv_into(*arguments)

    def sendall(self, data: Any, flags: int = 0) -> None:
        super().sendall(data, flags | socket.MSG_NOSIGNAL)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        connection = _Socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.deadline = time.monotonic() + TIMEOUT_S
        connection.settimeout(TIMEOUT_S)
        self.sock = connection
        self.sock.connect(self._path)


def ask(path: str, method: str = "GET", directory: str | None = None,
        headers: Mapping[str, str] | None = None) -> tuple[int, http.client.HTTPMessage, bytes] | None:
    """(status, headers, body) of the answer, or None where there is none."""
    place = None if _locate.disabled() else _locate.directory(directory)
    if place is None:
        return None
    connection = _Connection(f"{place}/{'query' if method == 'GET' else 'admin'}.sock")
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        if answer.length is None or answer.length > ANSWER_MAX:
            return None  # the head was cut off: the daemon says how long its answers are
        body = answer.read(answer.length)  # Python 3.9 takes memory for as much as it is asked for
        return None if answer.length else (answer.status, answer.headers, body)
    except (OSError, ValueError, TypeError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def ask_json(path: str, **options: Any) -> Any:
    """The object of a good answer, or None."""
    answer = ask(path, **options)
    if answer is None or answer[0] != 200:
        return None
    try:
        return json.loads(answer[2])
    except ValueError:
        return None


def quote(name: str) -> str:
    return urllib.parse.quote(name, safe="")
