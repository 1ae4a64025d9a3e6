"""Runs the OpenTelemetry Collector of collector/main.go; needs nothing but Python's standard library."""
import json
import os
import pathlib
import re
import signal
import subprocess
import unittest
import urllib.request

from exposition import Exposition
from harness import WAIT_S, until
from prometheus import free_port

PROGRAM = pathlib.Path(os.environ.get("DWELL_BUILD", "build")).resolve() / "peers-go" / "collector"
READY = "Everything is ready"


class CollectorProcess:
    """One that listens on a free port. What it has acknowledged is in its files, a line of JSON for each request: they
    have no buffer.

    `server`: Pair of its certificate, for TLS. `client_ca`: path of a certificate; clients then need one that it
    signed. `unix`: it listens at this path in place of a port. `grpc`: more settings of the OTLP receiver, as the
    Collector names them (max_recv_msg_size_mib, keepalive, …).
    """

    def __init__(self, directory, server=None, client_ca=None, unix=None, **grpc):
        if not PROGRAM.exists():
            raise unittest.SkipTest("the OpenTelemetry Collector could not be built from its Go modules")
        self.directory = directory
        self.scheme = "https" if server else "http"
        self._unix = unix
        self._settings = dict(grpc)
        if server:
            self._settings["tls"] = {"cert_file": str(server.certificate), "key_file": str(server.key)}
            if client_ca:
                self._settings["tls"]["client_ca_file"] = str(client_ca)
        self._starts = 0
        self.process = None
        # Somebody else may take a port before the Collector does: another try then.
        for _ in range(3):
            self.port, self._metrics_port = free_port(), free_port()
            if self._run():
                return
        raise AssertionError(self.log())

    @property
    def target(self):
        """As gRPC names it."""
        return f"unix:{self._unix}" if self._unix else f"127.0.0.1:{self.port}"

    @property
    def endpoint(self):
        """As OTEL_EXPORTER_OTLP_ENDPOINT names it."""
        return f"unix://{self._unix}" if self._unix else f"{self.scheme}://127.0.0.1:{self.port}"

    def _path(self, name):
        """Each start has files of its own, so that a line cut by a kill is the last of its file."""
        return self.directory / f"{name}-{self._starts}"

    def _configuration(self):
        listen = ({"endpoint": str(self._unix), "transport": "unix"} if self._unix else
                  {"endpoint": f"127.0.0.1:{self.port}"})
        # With a rotation, which never comes, the file exporter writes at once.
        files = {f"file/{signal}": {"path": str(self._path(signal)), "rotation": {"max_megabytes": 10000}}
                 for signal in ("traces", "metrics")}
        return {
            "receivers": {"otlp": {"protocols": {"grpc": {**listen, **self._settings}}}},
            "exporters": {**files, "prometheus": {"endpoint": f"127.0.0.1:{self._metrics_port}"}},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {
                    "traces": {"receivers": ["otlp"], "exporters": ["file/traces"]},
                    "metrics": {"receivers": ["otlp"], "exporters": ["file/metrics", "prometheus"]},
                },
            },
        }

    def _run(self):
        """True when it has come to listen, False when it has ended."""
        self._starts += 1
        self._path("config").write_text(json.dumps(self._configuration()))  # YAML has JSON in it
        with open(self._path("log"), "wb") as log:
            self.process = subprocess.Popen([PROGRAM, "--config", self._path("config")], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=log)
        until(lambda: READY in self.log() or self.process.poll() is not None, "the Collector is ready", 60)
        return self.process.poll() is None

    def log(self):
        """Of the last start."""
        return self._path("log").read_text(errors="replace")

    def files(self, signal):
        """What it has written of "traces" or "metrics": the files of all starts, in their order."""
        return sorted(self.directory.glob(f"{signal}-*"), key=lambda path: int(path.name.rpartition("-")[2]))

    def exposition(self):
        """Its own /metrics: what our metrics become for a Prometheus behind it. It is empty before there are any."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=WAIT_S) as response:
            return Exposition(response.read().decode() or "# EOF\n")

    # --- its life ---

    def kill(self):
        """Ends it at once, with whatever it was doing."""
        self.process.kill()
        self.process.wait()

    def restart(self):
        """Starts it again on the same ports, once it has ended."""
        assert self.process.poll() is not None, "it is still running"
        if self._unix:
            pathlib.Path(self._unix).unlink(missing_ok=True)
        assert self._run(), self.log()

    def stop(self):
        """Ends it in order, if it is running. Some milliseconds after it is ready it does not listen for the signal yet,
        and just ends by it: what it has acknowledged is in its files even so."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(WAIT_S)
        finally:
            self.kill()
        assert status in (0, -signal.SIGTERM), self.log()

    def resident_kb(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1))
