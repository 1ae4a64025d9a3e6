"""A real Prometheus, Debian's, scrapes the daemon and answers queries with the right values."""
import math
import random
import shutil
import unittest

from harness import DaemonCase, until
from prometheus import Prometheus, labels


@unittest.skipUnless(shutil.which("prometheus"), "Prometheus is not installed (package prometheus)")
class TestPrometheus(DaemonCase):
    def watch(self, daemon, *features):
        prometheus = Prometheus(self.directory(), [daemon.http_address], *features)
        self.addCleanup(prometheus.stop)
        return prometheus

    def must_come_to(self, prometheus, expression, wanted):
        seen = []

        def is_there():
            seen[:] = [prometheus.query(expression)]
            return seen[0] == wanted

        try:
            until(is_there, expression)
        except AssertionError as failure:
            raise AssertionError(f"{failure}; last: {seen}") from None

    def value(self, prometheus, expression):
        """The one that there is; where a busy machine made a scrape fail, once the next has not."""
        return until(lambda: list(prometheus.query(expression).values()), expression)[0]

    def test_prometheus_answers_with_the_right_values(self):
        daemon = self.start()
        prometheus = self.watch(daemon)
        self.must_come_to(prometheus, "up", {labels(): 1.0})
        self.must_come_to(prometheus, "sum(acgs2_model_inference_total)", {})
        # After the first scrape, so that what follows is an increase that Prometheus has seen.
        daemon.send(*({"model_name": "mod\"el\\\n", "execution_time_ms": 4.0, "cpu_percent_during": 80} for _ in range(300)),
                    *({"model_name": "slow", "execution_time_ms": 40.0 + i, "error": i < 5, "trace_id": f"{i + 1:032x}"}
                      for i in range(100)))
        self.must_come_to(prometheus, "acgs2_model_inference_total",
                          {labels(model_name='mod"el\\\n'): 300.0, labels(model_name="slow"): 100.0})
        self.must_come_to(prometheus, "acgs2_model_inference_errors_total > 0", {labels(model_name="slow"): 5.0})
        self.must_come_to(prometheus, "acgs2_model_bottleneck == 1",
                          {labels(model_name='mod"el\\\n', bottleneck="compute_bound"): 1.0,
                           labels(model_name="slow", bottleneck="unknown"): 1.0})
        self.must_come_to(prometheus, 'acgs2_model_inference_latency_seconds_bucket{le="0.05"}',
                          {labels(model_name='mod"el\\\n', le="0.05"): 300.0, labels(model_name="slow", le="0.05"): 11.0})
        # 100 values in (0.01, 0.05], (0.05, 0.1] and (0.1, 0.5]: rank 50 lies 39/50 up the second.
        quantile = self.value(prometheus, 'histogram_quantile(0.5, acgs2_model_inference_latency_seconds_bucket{model_name="slow"})')
        self.assertAlmostEqual(quantile, 0.05 + 0.05 * 39 / 50)
        mean = self.value(prometheus, 'acgs2_model_inference_latency_seconds_sum{model_name="slow"} / '
                                      'acgs2_model_inference_latency_seconds_count')
        self.assertAlmostEqual(mean, 0.0895)
        p50 = self.value(prometheus, 'acgs2_model_latency_quantile_seconds{model_name="slow",q="0.5"}')
        self.assertAlmostEqual(p50, 0.089, delta=0.089 * 0.0028)

        exemplars = prometheus.exemplars("acgs2_model_inference_latency_seconds_bucket", 0, 4e9)
        for found, value in exemplars:
            self.assertAlmostEqual(value * 1000, 40 + int(found["trace_id"], 16) - 1)
        self.assertGreaterEqual(len(exemplars), 3)

        daemon.send(*({"model_name": "slow", "execution_time_ms": 45.0} for _ in range(50)))
        self.must_come_to(prometheus, "acgs2_model_inference_total{model_name=\"slow\"}", {labels(model_name="slow"): 150.0})
        self.must_come_to(prometheus, "acgs2_service_info",
                          {labels(service_name="acgs2-agent-bus", version="2.0.0", constitutional_hash="cdd01ef066bc6cf2",
                                  start_time=self.start_time(daemon)): 1.0})

        daemon.stop()
        self.must_come_to(prometheus, "up", {labels(): 0.0})

    def test_prometheus_reads_native_histograms_where_it_is_told_to(self):
        daemon = self.start()
        native = self.watch(daemon, "native-histograms")
        classic = self.watch(daemon)
        latency = "acgs2_model_inference_latency_seconds"
        quantiles = (0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999)
        chance = random.Random(20260131)
        times = sorted(chance.lognormvariate(2, 0.5) for _ in range(20000))
        daemon.send(*({"model_name": "m", "execution_time_ms": ms} for ms in times),
                    *({"model_name": "m", "execution_time_ms": 1.0, "trace_id": f"{i + 1:032x}"} for i in range(2)),
                    *({"type": "histogram", "name": "wait", "value": value, "unit": "s"} for value in (-1, 0, 1, 2)))
        self.must_come_to(native, f"histogram_count({latency})", {labels(model_name="m"): 20002.0})
        for q in quantiles:
            got = self.value(native, f"histogram_quantile({q}, {latency})")
            exact = times[math.ceil(q * len(times)) - 1] / 1000
            self.assertAlmostEqual(got, exact, delta=0.015 * exact, msg=f"quantile {q}")
        total = self.value(native, f"histogram_sum({latency})")
        self.assertAlmostEqual(total, (sum(times) + 2) / 1000, places=6)
        self.must_come_to(native, "histogram_count(wait_seconds)", {labels(): 4.0})
        self.must_come_to(native, "histogram_quantile(1, wait_seconds)", {labels(): 2.0})
        self.must_come_to(native, "histogram_quantile(0, wait_seconds)", {labels(): -1.0})
        # What has no native buckets, and everything that is no histogram, is as ever.
        self.must_come_to(native, "acgs2_model_inference_total", {labels(model_name="m"): 20002.0})
        self.must_come_to(native, 'clamp_max(dwelld_loop_lag_seconds_bucket{le="+Inf"}, 1)', {labels(le="+Inf"): 1.0})
        self.must_come_to(native, "count(target_info)", {labels(): 1.0})
        self.assertEqual(native.query(latency + "_bucket"), {})
        self.assertEqual({found["trace_id"] for found, _ in native.exemplars(latency, 0, 4e9)}, {f"{2:032x}"})

        self.must_come_to(classic, f"{latency}_count", {labels(model_name="m"): 20002.0})
        self.must_come_to(classic, f'{latency}_bucket{{le="0.01"}}',
                          {labels(model_name="m", le="0.01"): 2.0 + sum(ms <= 10 for ms in times)})
        self.assertEqual(classic.query(f"histogram_count({latency})"), {})
        self.must_come_to(native, "up", {labels(): 1.0})

    def start_time(self, daemon):
        (info, _), = daemon.metrics().series("acgs2_service_info")
        return info["start_time"]


if __name__ == "__main__":
    unittest.main()
