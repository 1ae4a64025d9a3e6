"""A WSGI application whose workers send each request to the sidecar, with nothing but the standard
library. Its configuration is gunicorn_conf.py. DWELL_SOCKET is the stream socket."""
import json
import os
import socket

_connection = None
_LABELS = {"method": "GET", "endpoint": "/", "service": "shop"}


def _send(*records):
    _connection.sendall("".join(json.dumps(record) + "\n" for record in records).encode())


def begin():
    """Each worker has a connection of its own, and says who it is: its gauges end with it."""
    global _connection
    _connection = socket.socket(socket.AF_UNIX)
    _connection.connect(os.environ["DWELL_SOCKET"])
    _send({"type": "hello", "pid": os.getpid(), "client": "gunicorn-app/1.0"},
          {"type": "gauge", "name": "shop.workers", "value": 1, "aggregation": "sum"},
          {"type": "gauge", "name": "shop.worker_up", "value": 1, "aggregation": "per_pid"})


def app(environ, start_response):
    _send({"type": "gauge", "name": "http_requests_in_progress", "delta": 1, "attributes": _LABELS})
    start_response("200 OK", [("Content-Type", "text/plain")])
    _send({"type": "counter", "name": "http_requests_total", "value": 1, "attributes": {**_LABELS, "status": 200}},
          {"type": "histogram", "name": "http_request_duration_seconds", "value": 0.002, "attributes": _LABELS},
          {"type": "gauge", "name": "http_requests_in_progress", "delta": -1, "attributes": _LABELS})
    return [b"ok\n"]
