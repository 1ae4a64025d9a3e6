"""The parsers of the Prometheus Python client read what /metrics says: the text one, and the strict one
of OpenMetrics, which checks types, order, units, buckets and exemplars against the specification."""
import math
import unittest

from harness import OPENMETRICS, DaemonCase
from peer import need

AWKWARD = ['quote "', "back\\slash", "new\nline", "{}", "# HELP", "модель", "🙂", "x" * 256, "\\n", "=,", " "]

EVIDENCE = {"user_ms": 4, "system_ms": 1, "runqueue_ms": 0.5, "minor_faults": 12, "voluntary_switches": 2}


def sample(name="m", ms=5.0, **more):
    return {"model_name": name, "execution_time_ms": ms, **more}


class TestPrometheusClient(DaemonCase):
    def setUp(self):
        self.text_parser = need("prometheus_client.parser").text_string_to_metric_families
        self.strict_parser = need("prometheus_client.openmetrics.parser").text_string_to_metric_families

    def families(self, daemon):
        """What both parsers read: {family: Metric}. They must agree where they say the same."""
        plain = {family.name: family for family in self.text_parser(daemon.get("/metrics").text)}
        strict = {family.name: family for family in self.strict_parser(daemon.get("/metrics", Accept=OPENMETRICS).text)}
        self.assertEqual(strict.pop("target").type, "info")  # the text format has none
        for name, family in strict.items():
            # The text format has no info type and calls a counter by the name of its samples.
            other = plain.get(name) or plain.get(name + "_info")
            self.assertIsNotNone(other, name)
            self.assertEqual(family.documentation, other.documentation)
            if not name.startswith("dwelld_"):
                self.assertEqual(self.values(family), self.values(other), name)
        return strict

    def values(self, family):
        """Sorted, because histograms may be laid out differently; NaN made comparable."""
        return sorted((sample.name, sorted(sample.labels.items()), "NaN" if math.isnan(sample.value) else sample.value)
                      for sample in family.samples)

    def value(self, families, family, name, **labels):
        found = [sample.value for sample in families[family].samples if (sample.name, sample.labels) == (name, labels)]
        self.assertEqual(len(found), 1, (name, labels))
        return found[0]

    def test_prometheus_client_reads_an_idle_daemon(self):
        families = self.families(self.start())
        self.assertEqual(families["acgs2_model_inference_latency_seconds"].type, "histogram")
        self.assertEqual(families["acgs2_service"].type, "info")
        self.assertEqual(families["acgs2_model_inference"].type, "counter")

    def test_prometheus_client_reads_awkward_names(self):
        daemon = self.start()
        daemon.send(*(sample(name, i + 1) for i, name in enumerate(AWKWARD)))
        families = self.families(daemon)
        for i, name in enumerate(AWKWARD):
            self.assertEqual(self.value(families, "acgs2_model_inference", "acgs2_model_inference_total", model_name=name), 1)
            self.assertAlmostEqual(self.value(families, "acgs2_model_inference_latency_seconds",
                                              "acgs2_model_inference_latency_seconds_sum", model_name=name), (i + 1) / 1000)

    def test_prometheus_client_reads_everything_a_sample_can_bring(self):
        daemon = self.start(sets={"profiling.label_keys": ["region"], "profiling.max_models": 3,
                                  "metrics.constitutional_hash_label": True})
        full = {"cpu_percent_during": 80, "memory_mb_after": 64, "queue_ms": 2, "batch_size": 8, "error": True,
                "device": "cuda:0", "labels": {"region": 'e"u'}, **EVIDENCE}
        daemon.send(*(sample(f"m{i % 5}", 0.01 * 2 ** i, **full) for i in range(30)))
        families = self.families(daemon)
        for name in ("acgs2_model_queue_seconds", "acgs2_model_batch_size", "acgs2_model_time_seconds",
                     "acgs2_model_memory_bytes", "acgs2_model_evidence_seconds"):
            self.assertTrue(families[name].samples, name)
        self.assertEqual(sum(sample.value for sample in families["acgs2_model_inference"].samples), 30)

    def test_prometheus_client_reads_exemplars(self):
        daemon = self.start()
        times = [0.05 * 3 ** i for i in range(10)]
        daemon.send(*(sample(ms=ms, trace_id=f"{i + 1:032x}", span_id=f"{i + 1:016x}") for i, ms in enumerate(times)))
        found = [sample for sample in self.families(daemon)["acgs2_model_inference_latency_seconds"].samples if sample.exemplar]
        self.assertGreaterEqual(len(found), 6)
        for sample_with in found:
            exemplar = sample_with.exemplar
            number = int(exemplar.labels["trace_id"], 16)
            self.assertAlmostEqual(exemplar.value * 1000, times[number - 1])
            self.assertLessEqual(exemplar.value, float(sample_with.labels["le"]))
            self.assertGreater(float(exemplar.timestamp), 1.6e9)

    def test_prometheus_client_reads_metrics_of_ones_own(self):
        daemon = self.start()
        trace = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}
        for shop in AWKWARD:
            attributes = {"shop": shop}
            daemon.send({"type": "counter", "name": "my.orders", "value": 3, "attributes": attributes, **trace},
                        {"type": "gauge", "name": "queue.depth", "value": -2.5, "attributes": attributes},
                        {"type": "histogram", "name": "wait", "value": 30, "unit": "ms", "attributes": attributes, **trace})
        families = self.families(daemon)
        for shop in AWKWARD:
            self.assertEqual(self.value(families, "my_orders", "my_orders_total", shop=shop), 3)
            self.assertEqual(self.value(families, "queue_depth", "queue_depth", shop=shop), -2.5)
            self.assertEqual(self.value(families, "wait_seconds", "wait_seconds_sum", shop=shop), 0.03)
        for family, value in (("my_orders", 3), ("wait_seconds", 0.03)):
            found = [sample.exemplar for sample in families[family].samples if sample.exemplar]
            self.assertEqual(len(found), len(AWKWARD), family)
            for exemplar in found:
                self.assertEqual((exemplar.value, exemplar.labels["trace_id"]), (value, trace["trace_id"]))

    def test_prometheus_client_reads_a_thousand_models_after_a_reset(self):
        daemon = self.start()
        daemon.send(*(sample(f"model-{i}", 1 + i / 10, cpu_percent_during=50, trace_id="ab" * 16) for i in range(1000)))
        daemon.reset()
        families = self.families(daemon)
        self.assertEqual(len(families["acgs2_model_inference"].samples), 1000)
        self.assertTrue(all(math.isnan(sample.value) for sample in families["acgs2_model_latency_quantile_seconds"].samples))


if __name__ == "__main__":
    unittest.main()
