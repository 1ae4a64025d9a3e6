"""All that a Python program needs to send samples to dwelld: a socket and one line of JSON each.

Nothing but the standard library. A real service need not flush; the demo does, to know that every
sample has arrived.
"""

import json
import os
import socket
import time

PAGE_MB = os.sysconf("SC_PAGESIZE") / 2**20


class Client:
    def __init__(self, directory, service_name):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(os.path.join(directory, "ingest.sock"))
        self.replies = self.socket.makefile("r", encoding="utf-8")
        self.memory = open("/proc/self/statm", encoding="ascii", buffering=1)
        self.sent = 0
        self.send({"type": "hello", "service_name": service_name, "pid": os.getpid()})

    def send(self, record):
        self.socket.sendall(json.dumps(record).encode() + b"\n")

    def memory_mb(self):
        self.memory.seek(0)
        return int(self.memory.read().split()[1]) * PAGE_MB

    def track(self, model_name, infer, *arguments):
        """Calls infer, sends what it cost, gives back what it said."""
        begin, begin_cpu = time.perf_counter(), time.thread_time()
        answer = infer(*arguments)
        cpu, wall = time.thread_time() - begin_cpu, time.perf_counter() - begin
        self.send({"model_name": model_name, "execution_time_ms": wall * 1e3,
                   "cpu_percent_during": 100 * cpu / wall, "memory_mb_after": self.memory_mb()})
        self.sent += 1
        return answer

    def flush(self):
        """Waits until everything has been applied; raises when the daemon refused something."""
        self.send({"type": "flush"})
        reply = json.loads(self.replies.readline() or '{"error": "the daemon went away"}')
        if reply != {"flushed": self.sent}:
            raise RuntimeError(f"{self.sent} samples sent, and the daemon says {reply}")
