"""The present Prometheus, built from its Go module: it scrapes classic and native histograms at once."""
import math
import os
import pathlib

from harness import DaemonCase, until
from prometheus import Prometheus, labels

BOTH = "    scrape_native_histograms: true\n    always_scrape_classic_histograms: true\n"
LATENCY = "acgs2_model_inference_latency_seconds"


class TestPrometheus3(DaemonCase):
    def watch(self, daemon, more=""):
        build = pathlib.Path(os.environ.get("DWELL_BUILD", "build")).resolve()
        program = build / "peers-go" / "prometheus"
        if not program.exists():
            self.skipTest("Prometheus 3 could not be built from its Go module")
        prometheus = Prometheus(self.directory(), [daemon.http_address], program=str(program), more=more)
        self.addCleanup(prometheus.stop)
        return prometheus

    def must_come_to(self, prometheus, expression, wanted):
        until(lambda: prometheus.query(expression) == wanted, expression)

    def fill(self, daemon):
        self.assertEqual(daemon.send(
            *({"model_name": "m", "execution_time_ms": 1 + i / 10, "trace_id": f"{i + 1:032x}"} for i in range(1000)),
            *({"type": "histogram", "name": "job.time", "unit": "ms", "value": 1 + i} for i in range(100)),
            {"type": "counter", "name": "jobs", "value": 3, "attributes": {"queue": "a\"b\\\n"}}), [])

    def test_prometheus3_takes_native_and_classic_histograms(self):
        daemon = self.start()
        self.fill(daemon)
        prometheus = self.watch(daemon, BOTH)
        self.must_come_to(prometheus, f"histogram_count({LATENCY})", {labels(model_name="m"): 1000.0})
        got, = prometheus.query(f"histogram_quantile(0.9, {LATENCY})").values()
        self.assertTrue(math.isclose(got, 0.0909, rel_tol=0.01), got)
        self.assertEqual(prometheus.query(f'{LATENCY}_bucket{{le="0.05"}}'), {labels(model_name="m", le="0.05"): 491.0})
        self.assertEqual(prometheus.query("histogram_count(job_time_seconds)"), {labels(): 100.0})
        self.assertEqual(prometheus.query("jobs_total"), {labels(queue='a"b\\\n'): 3.0})
        self.assertTrue(prometheus.exemplars(LATENCY, 0, 4e9))

    def test_prometheus3_prefers_open_metrics_by_default(self):
        daemon = self.start()
        self.fill(daemon)
        prometheus = self.watch(daemon)
        self.must_come_to(prometheus, "up", {labels(): 1.0})
        self.must_come_to(prometheus, f"{LATENCY}_count", {labels(model_name="m"): 1000.0})
        self.assertEqual(len(prometheus.query("target_info")), 1)
        self.assertEqual(prometheus.query("jobs_total"), {labels(queue='a"b\\\n'): 3.0})
