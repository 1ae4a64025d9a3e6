"""The golden profiling cases through the running daemon: NDJSON in, resets through admin.sock, and
what /api/v1/models and /metrics then say. The rules of comparison are those of the cases' README."""
import json
import math
import unittest

from harness import ROOT, DaemonCase

CASES = ROOT / "tests" / "data" / "golden" / "profiling"

QUANTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
KEYS = {"execution_time_ms": "execution_time_ms", "cpu_before": "cpu_percent_before", "cpu_during": "cpu_percent_during",
        "memory_before": "memory_mb_before", "memory_after": "memory_mb_after"}


def close(got, want, tolerance):
    return abs(got - want) <= tolerance * abs(want)


class Case:
    def __init__(self, path):
        self.data = json.loads(path.read_text())
        self.cap = self.data["max_samples_per_model"]
        self.rows = [dict(zip(self.data["columns"], row)) for row in self.data["rows"]]
        self.resets = {reset["after_row"]: reset["model"] for reset in self.data.get("resets", [])}
        self.models = self.data["expected"]["models"]
        self.prometheus = self.data["expected"]["prometheus"]

    def record(self, row):
        return {"model_name": row["model"], **{key: row[column] for column, key in KEYS.items()}}

    def parts(self):
        """Rows between resets, and the reset that follows: [(rows, (model,) or None)]."""
        begin = 0
        for at in sorted(self.resets):
            yield self.rows[begin:at], (self.resets[at],)
            begin = at
        yield self.rows[begin:], None

    def rows_since_reset(self, name):
        kept = []
        for number, row in enumerate(self.rows, 1):
            if row["model"] == name:
                kept.append(row)
            if number in self.resets and self.resets[number] in (None, name):
                kept = []
        return kept


def newest(rows, count):
    """Exact statistics of the newest rows, in the shape of a case's expectations."""
    kept = rows[len(rows) - count:]
    times = sorted(row["execution_time_ms"] for row in kept)
    mean = math.fsum(times) / count
    spread = math.fsum((time - mean) ** 2 for time in times)
    raw = {"latency_mean_ms": mean, "latency_std_ms": math.sqrt(spread / (count - 1)) if count > 1 else 0.0}
    for what, column in (("cpu_percent", "cpu_during"), ("memory_mb", "memory_after")):
        raw[f"avg_{what}"] = math.fsum(row[column] for row in kept) / count
        raw[f"peak_{what}"] = max(row[column] for row in kept)
    ranks = {key: times[math.ceil(q * count) - 1] for key, q in QUANTILES.items()}
    return raw, ranks, times[0], times[-1]


class TestGolden(DaemonCase):
    def check_model(self, case, name, model, want):
        rows = case.rows_since_reset(name)
        if len(rows) <= case.cap:
            self.assertEqual(model["sample_count"], len(rows))
            raw = want["raw"]
            ranks = {key: want["reference"]["nearest_rank"][key[:3]] for key in QUANTILES}
            least, most = want["reference"]["min_ms"], want["reference"]["max_ms"]
        else:
            count = model["sample_count"]
            self.assertGreaterEqual(count, case.cap)
            self.assertLessEqual(count, case.cap if case.cap < 64 else case.cap + case.cap // 8)
            raw, ranks, least, most = newest(rows, count)
        latency, cpu, memory = model["latency"], model["cpu"], model["memory"]
        for key, got in (("latency_mean_ms", latency["mean_ms"]), ("latency_std_ms", latency["std_ms"]),
                         ("avg_cpu_percent", cpu["avg_percent"]), ("peak_cpu_percent", cpu["peak_percent"]),
                         ("avg_memory_mb", memory["avg_mb"]), ("peak_memory_mb", memory["peak_mb"])):
            self.assertTrue(close(got, raw[key], 1e-5), f"{key}: {got}, expected {raw[key]}")
        self.assertEqual((latency["min_ms"], latency["max_ms"]), (least, most))
        for key, rank in ranks.items():
            self.assertTrue(close(latency[key], rank, 0.0028), f"{key}: {latency[key]}, expected {rank}")
        self.assertEqual(model["analysis"]["bottleneck_type"], want["to_dict"]["analysis"]["bottleneck_type"])
        self.assertEqual(model["analysis"]["rule"], want["rule"])

    def check_metrics(self, metrics, name, want):
        family = "acgs2_model_inference_latency_seconds"
        buckets = metrics.buckets(family, model_name=name)
        got = {math.inf if le == "+Inf" else float(le): count for le, count in buckets.items()}
        self.assertEqual(got, {math.inf if le == "+Inf" else float(le): count for le, count in want["buckets"].items()})
        self.assertEqual(metrics.get(f"{family}_count", model_name=name), want["count"])
        self.assertTrue(close(metrics.get(f"{family}_sum", model_name=name), want["sum_seconds"], 1e-9))
        self.assertEqual(metrics.get("acgs2_model_inference_total", model_name=name), want["calls_total"])
        self.assertEqual(metrics.get("acgs2_model_cpu_percent", model_name=name), want["cpu_gauge"])

    def check_case(self, path):
        case = Case(path)
        daemon = self.start(sets={"profiling.max_samples": case.cap})
        refused = sum(row["model"] == "" for row in case.rows)
        answers = []
        for rows, reset in case.parts():
            answers += daemon.send(*(case.record(row) for row in rows))
            if reset is not None:
                name = reset[0]
                self.assertGreaterEqual(daemon.reset("/api/v1/reset" + (f"?name={name}" if name else "")), 1)
        self.assertEqual([answer["reason"] for answer in answers], ["bad_name"] * refused)
        got = daemon.models()
        since_reset = daemon.models(window="all")
        metrics = daemon.metrics()
        for name, want in case.models.items():
            if name == "" or want is None:
                self.assertNotIn(name, got)
                self.assertNotIn(name, since_reset)
                continue
            with self.subTest(model=name):
                self.check_model(case, name, got[name], want)
                self.assertEqual(since_reset[name]["sample_count"], len(case.rows_since_reset(name)))
        self.assertEqual(set(got), {name for name, want in case.models.items() if name and want is not None})
        for name, want in case.prometheus.items():
            if name != "":
                with self.subTest(metrics=name):
                    self.check_metrics(metrics, name, want)
        daemon.stop()


def _add_tests():
    for path in sorted(CASES.glob("*.json")):
        name = "test_golden_" + path.stem.replace("-", "_").replace(".", "_")
        setattr(TestGolden, name, lambda self, path=path: self.check_case(path))


_add_tests()


class TestGoldenSet(unittest.TestCase):
    def test_golden_set_is_complete(self):
        self.assertEqual(len(list(CASES.glob("*.json"))), 40)


if __name__ == "__main__":
    unittest.main()
