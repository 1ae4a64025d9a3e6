"""Runs a real Prometheus on some targets, and asks it."""
import json
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from harness import WAIT_S, until

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: dwelld
    static_configs: [{{targets: {targets}}}]
{more}"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Prometheus:
    def __init__(self, directory, targets, *features, program="prometheus", more=""):
        """`more`: lines of the scrape configuration, indented by four."""
        (directory / "prometheus.yml").write_text(CONFIG.format(targets=json.dumps(targets), more=more))
        self.log = open(directory / "prometheus.log", "wb+")
        # Somebody else may take the port before Prometheus does: another try then.
        for _ in range(3):
            self.port = free_port()
            self.process = subprocess.Popen(
                [program, f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
                 f"--web.listen-address=127.0.0.1:{self.port}", "--enable-feature=" + ",".join(["exemplar-storage", *features])],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.log)
            if until(lambda: self.is_ready() or self.process.poll() is not None, "Prometheus is ready", 60) and \
                    self.process.poll() is None:
                return
        raise AssertionError(self.read_log())

    def read_log(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def ask(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=WAIT_S) as response:
            return response.read()

    def is_ready(self):
        try:
            return self.ask("/-/ready")
        except (urllib.error.URLError, ConnectionError):
            return None

    def query(self, expression):
        """{labels without those of the target: value}"""
        answer = json.loads(self.ask("/api/v1/query", query=expression))
        assert answer["status"] == "success", answer
        return {frozenset((key, value) for key, value in row["metric"].items()
                          if key not in ("__name__", "job", "instance")): float(row["value"][1])
                for row in answer["data"]["result"] if "value" in row}

    def exemplars(self, expression, start, end):
        answer = json.loads(self.ask("/api/v1/query_exemplars", query=expression, start=start, end=end))
        return [(exemplar["labels"], float(exemplar["value"])) for series in answer["data"]
                for exemplar in series["exemplars"]]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def labels(**named):
    return frozenset(named.items())
