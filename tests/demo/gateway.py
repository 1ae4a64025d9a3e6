"""A gateway in Python that traces a request with nothing but the standard library: a span is one line of JSON.

    gateway.py MODEL_SERVER

It asks the program MODEL_SERVER, hands it the trace in the header b3, and prints {"trace_id": …, "spans": …,
"inferences": …}, those of the program included.
"""
import contextlib
import json
import os
import secrets
import subprocess
import sys
import time

from client import Client


class Tracer:
    """Spans of one trace, each a child of the one around it."""

    def __init__(self, client):
        self.client = client
        self.trace_id = secrets.token_hex(16)
        self.open = []
        self.spans = 0

    @contextlib.contextmanager
    def span(self, name, kind="internal", **attributes):
        span = {"type": "span", "name": name, "trace_id": self.trace_id, "span_id": secrets.token_hex(8), "kind": kind,
                "attributes": attributes, "start_time_unix_nano": time.time_ns()}
        if self.open:
            span["parent_span_id"] = self.open[-1]["span_id"]
        self.open.append(span)
        yield span
        self.open.pop()
        span["end_time_unix_nano"] = time.time_ns()
        self.client.send(span)
        self.client.sent += 1
        self.spans += 1

    def header(self):
        """b3, for whoever is asked next."""
        return f"{self.trace_id}-{self.open[-1]['span_id']}-1"


def handle(tracer, server):
    """One request."""
    with tracer.span("POST /ask", "server", **{"http.request.method": "POST", "user": "größe"}) as request:
        with tracer.span("look into the cache", **{"cache.hit": False}):
            time.sleep(0.001)  # it has a network between
        with tracer.span("ask model-server", "client"):
            server.stdin.write(f"b3: {tracer.header()}\n")
            server.stdin.flush()
            if server.stdout.readline() != "answered\n":
                raise RuntimeError("the model server has no answer")
        request["status"] = {"code": "ok"}


def main():
    tracer = Tracer(Client(os.environ["DWELL_DIR"], "gateway"))
    with subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        handle(tracer, server)
        spans, inferences = map(int, server.stdout.readline().split())
    if server.returncode != 0:
        raise RuntimeError(f"the model server ended with status {server.returncode}")
    tracer.client.flush()
    print(json.dumps({"trace_id": tracer.trace_id, "spans": tracer.spans + spans, "inferences": inferences}))


if __name__ == "__main__":
    main()
