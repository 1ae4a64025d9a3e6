"""Runs dwelld for a demo, and asks it over its Unix socket."""
import http.client
import json
import os
import socket
import subprocess
import tempfile
import time

from screen import Failed

BUILD = os.environ.get("DWELL_BUILD", "build")
START_SECONDS = 60  # on a machine that does something else
STOP_SECONDS = 60


class UnixHttp(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon:
    def __init__(self, directory):
        self.directory = directory
        self.process = None
        self.log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")

    def start(self, settings=None):
        """With these options, {path: value}; returns the address for HTTP."""
        binary = os.path.join(BUILD, "dwelld")
        if not os.path.exists(binary):
            raise Failed(f"there is no {binary}: run make first, or set DWELL_BUILD")
        command = [binary, "--set", "http.listen=127.0.0.1:0"]
        for path, value in (settings or {}).items():
            command += ["--set", f"{path}={value}"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        end = time.perf_counter() + START_SECONDS
        while time.perf_counter() < end:
            if self.process.poll() is not None:
                raise Failed("it did not start")
            try:
                return self.get_json("/api/v1/status")["http_address"]
            except OSError:
                time.sleep(0.01)
        raise Failed(f"dwelld does not answer after {START_SECONDS} s:\n" + self.said())

    def said(self):
        self.log.seek(0)
        return self.log.read().rstrip()

    def obituary(self):
        """What else there is to say when something failed and the daemon is no more."""
        if self.process is None or self.process.poll() is None:
            return ""
        return f"; dwelld ended with status {self.process.returncode}:\n{self.said()}"

    def get(self, path):
        connection = UnixHttp(os.path.join(self.directory, "query.sock"))
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8")
        finally:
            connection.close()
        if answer.status != 200:
            raise Failed(f"GET {path}: {answer.status} {text.strip()}")
        return text

    def get_json(self, path):
        return json.loads(self.get(path))

    def models(self):
        return {model["model_name"]: model for model in self.get_json("/api/v1/models")["models"]}

    def stop(self):
        """Ends it in order, and says whether that went well."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed(f"dwelld does not end within {STOP_SECONDS} s of SIGTERM") from None
        if status != 0:
            raise Failed(f"dwelld ended with status {status}:\n" + self.said())
