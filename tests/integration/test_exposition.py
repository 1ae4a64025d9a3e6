"""/metrics as scrapers see it: Debian's promtool finds nothing to say about any of it, formats and
compression are negotiated, and what counts only grows."""
import gzip
import json
import math
import re
import shutil
import subprocess
import unittest

import wire
from exposition import Exposition
from harness import HASH, OPENMETRICS, PROTOBUF, ROOT, DaemonCase
from protobuf import ProtobufExposition

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"

AWKWARD = [
    'quote " in it', "back\\slash", "new\nline", "tab\tand\rreturn", "{braces}", "le=\"0.1\"", "# HELP x y", "},{",
    "  blanks  ", "модель", "模型-αβ", "🙂", "\u202eright to left", "\u0085next line", "a" * 256, "%2f/..", "\x01\x7f",
    "\\n", "\\\\\"", "NaN", "+Inf", "-", "0", "=", ",",
]

EVIDENCE = {"user_ms": 4, "system_ms": 1, "runqueue_ms": 0.5, "minor_faults": 12, "major_faults": 0,
            "voluntary_switches": 2, "bytes_moved": 1e6, "flops": 1e9, "threads": 1,
            "process_cpu_ms": 6.5, "involuntary_switches": 1, "disk_bytes": 4096, "thread_id": 4711}

MODEL_FAMILIES = {
    "model_inference_latency_seconds": "histogram", "model_inference_total": "counter",
    "model_inference_errors_total": "counter", "model_cpu_percent": "gauge", "model_latency_quantile_seconds": "gauge",
    "model_queue_seconds": "histogram", "model_batch_size": "histogram", "model_memory_bytes": "gauge",
    "model_time_seconds_total": "counter", "model_evidence_inferences_total": "counter",
    "model_evidence_seconds_total": "counter", "model_bottleneck": "gauge", "model_bottleneck_confidence_ratio": "gauge",
    "model_share_ratio": "gauge", "model_gpu_decision": "gauge",
    "model_max_speedup_ratio": "gauge",
}


def sample(name="m", ms=5.0, **more):
    return {"model_name": name, "execution_time_ms": ms, **more}


class ExpositionCase(DaemonCase):
    def must_please_promtool(self, text):
        if shutil.which("promtool") is None:
            self.skipTest("promtool is not installed (package prometheus)")
        judged = subprocess.run(["promtool", "check", "metrics"], input=text.encode(), capture_output=True, timeout=60)
        self.assertEqual((judged.returncode, judged.stdout + judged.stderr), (0, b""))

    def must_be_sound(self, daemon):
        """All formats are read strictly, agree, and promtool is silent. Returns the text one."""
        text = daemon.get("/metrics").text
        self.must_please_promtool(text)
        plain = Exposition(text)
        self.assertFalse(plain.ended)
        open_metrics = daemon.metrics(OPENMETRICS)
        self.assertTrue(open_metrics.ended)
        self.must_agree(plain, open_metrics)
        protobuf = ProtobufExposition(daemon.get("/metrics", Accept=PROTOBUF).body)
        self.must_agree(plain, protobuf)
        self.assertEqual(open_metrics.exemplars, protobuf.exemplars)
        for family, kind in protobuf.types.items():
            if family != "target_info":
                self.assertEqual(plain.types[family], kind)
        for family, kind in plain.types.items():
            self.assertIn(family, plain.helps)
            if kind == "histogram":
                self.must_be_histograms(plain, family)
        return plain

    def must_agree(self, plain, other):
        """The same series with the same values, but for what counts the scrapes themselves, or goes on meanwhile."""
        moving = re.compile(r"dwelld_(scrapes|loop_lag|snapshot|resident|probe)")
        for metrics in (plain, other):
            for (name, _), value in metrics.values.items():
                if name.endswith("_total"):
                    self.assertGreaterEqual(value, 0)
        for key, value in plain.values.items():
            if not moving.match(key[0]):
                same = other.values[key]
                self.assertTrue(value == same or (math.isnan(value) and math.isnan(same)), key)
        # Text 0.0.4 has no rule for the target.
        self.assertEqual(set(plain.values), {key for key in other.values if key[0] != "target_info"})

    def must_be_histograms(self, metrics, family):
        for labels, count in metrics.series(family + "_count"):
            buckets = metrics.buckets(family, **labels)
            bounds = [math.inf if le == "+Inf" else float(le) for le in buckets]
            self.assertEqual(bounds, sorted(bounds))
            self.assertEqual(list(buckets.values()), sorted(buckets.values()))
            self.assertEqual(buckets["+Inf"], count)


class TestExpositionContent(ExpositionCase):
    def test_exposition_of_an_idle_daemon(self):
        daemon = self.start()
        metrics = self.must_be_sound(daemon)
        for family, kind in MODEL_FAMILIES.items():
            self.assertEqual(metrics.types["acgs2_" + family], kind)
        self.assertEqual(metrics.get("dwelld_records_total", outcome="accepted", reason=""), 0)
        self.assertEqual(metrics.get("dwelld_records_total", outcome="rejected", reason="bad_syntax"), 0)
        (target, _), = daemon.metrics(OPENMETRICS).series("target_info")
        self.assertEqual(target["constitutional_hash"], HASH)
        (info, one), = metrics.series("acgs2_service_info")
        self.assertEqual(one, 1)
        self.assertEqual((info["service_name"], info["version"], info["constitutional_hash"]),
                         ("acgs2-agent-bus", "2.0.0", HASH))

    def test_exposition_escapes_awkward_names(self):
        daemon = self.start()
        self.assertEqual(daemon.send(*(sample(name) for name in AWKWARD)), [])
        metrics = self.must_be_sound(daemon)
        names = [labels["model_name"] for labels, _ in metrics.series("acgs2_model_inference_total")]
        self.assertEqual(sorted(names), sorted(AWKWARD))

    def test_exposition_of_every_family_a_sample_can_fill(self):
        daemon = self.start(sets={"profiling.label_keys": ["region", "tenant_id"]})
        full = {"cpu_percent_during": 80, "memory_mb_after": 64, "queue_ms": 2, "batch_size": 8, "error": True,
                "device": "cuda:0", "labels": {"region": "eu", "tenant_id": 'a"b'}, "trace_id": "ab" * 16,
                "span_id": "cd" * 8, **EVIDENCE}
        self.assertEqual(daemon.send(*(sample(ms=0.05 * 3 ** i, **full) for i in range(10)), sample("bare")), [])
        metrics = self.must_be_sound(daemon)
        for family in MODEL_FAMILIES:
            ending = "_count" if MODEL_FAMILIES[family] == "histogram" else ""
            self.assertTrue(metrics.series(f"acgs2_{family}{ending}"), family)
        labels = {"model_name": "m", "device": "cuda:0", "region": "eu", "tenant_id": 'a"b'}
        self.assertEqual(metrics.get("acgs2_model_inference_total", **labels), 10)
        self.assertEqual(metrics.get("acgs2_model_inference_errors_total", **labels), 10)
        self.assertEqual(metrics.get("acgs2_model_memory_bytes", stat="peak", **labels), 64 * 2 ** 20)
        self.assertEqual(metrics.get("acgs2_model_batch_size_sum", **labels), 80)
        self.assertAlmostEqual(metrics.get("acgs2_model_queue_seconds_sum", **labels), 0.02)
        self.assertEqual(metrics.get("acgs2_model_evidence_inferences_total", **labels), 10)
        self.assertEqual(sum(value for with_decision, value in metrics.series("acgs2_model_gpu_decision")
                             if with_decision["model_name"] == "m"), 0)

    def test_exposition_keeps_labels_that_were_not_asked_for_out(self):
        daemon = self.start(sets={"profiling.label_keys": ["region"]})
        daemon.send(sample(labels={"region": "eu", "model_name": "x", "le": "1"}), sample(labels={"zone": "a"}))
        metrics = self.must_be_sound(daemon)
        self.assertEqual(sorted(tuple(sorted(labels.items())) for labels, _ in metrics.series("acgs2_model_inference_total")),
                         [(("model_name", "m"),), (("model_name", "m"), ("region", "eu"))])

    def test_exposition_of_the_overflow_model(self):
        daemon = self.start(sets={"profiling.max_models": 3})
        self.assertEqual(daemon.send(*(sample(f"m{i % 10}") for i in range(100))), [])
        metrics = self.must_be_sound(daemon)
        self.assertEqual(metrics["dwelld_models"], 4)
        self.assertEqual(metrics["dwelld_overflow_samples_total"], 70)
        overflow = [value for labels, value in metrics.series("acgs2_model_inference_total") if "dwell_overflow" in labels]
        self.assertEqual(overflow, [70])
        self.assertEqual(sum(value for _, value in metrics.series("acgs2_model_inference_total")), 100)

    def test_exposition_of_a_thousand_models(self):
        daemon = self.start()
        daemon.send(*(sample(f"model-{i}", 1 + i / 100, cpu_percent_during=i % 100) for i in range(1000)))
        metrics = self.must_be_sound(daemon)
        self.assertEqual(len(metrics.series("acgs2_model_inference_total")), 1000)

    def test_exposition_other_namespace_and_hash_label(self):
        daemon = self.start(sets={"metrics.namespace": "bus", "metrics.constitutional_hash_label": True})
        daemon.send(sample(trace_id="ab" * 16))
        metrics = self.must_be_sound(daemon)
        self.assertEqual(metrics.get("bus_model_inference_total", model_name="m", constitutional_hash=HASH), 1)
        for (name, labels) in metrics.values:
            self.assertEqual(dict(labels).get("constitutional_hash"), HASH, name)

    def test_exposition_without_namespace(self):
        daemon = self.start(sets={"metrics.namespace": ""})
        daemon.send(sample())
        self.assertEqual(self.must_be_sound(daemon).get("model_inference_total", model_name="m"), 1)

    def test_exposition_of_client_libraries_and_violations(self):
        daemon = self.start()
        for client in ('lib "x"\n1', "", "ünïcode/1", "y" * 300):
            daemon.send({"type": "hello", "client": client[:256], "client_id": "01" * 16, "service_name": client[:40],
                         "constitutional_hash": "other"}, sample())
        metrics = self.must_be_sound(daemon)
        violations = metrics.series("constitutional_violations_total")
        self.assertEqual(sum(value for _, value in violations), 4)
        self.assertEqual({labels["violation_type"] for labels, _ in violations}, {"hash_mismatch"})

    def test_exposition_bottleneck_is_one_of_four(self):
        daemon = self.start()
        daemon.send(sample("compute", cpu_percent_during=80), sample("io", cpu_percent_during=5), sample("unknown"),
                    sample("quick", 0.5, cpu_percent_during=80))
        metrics = self.must_be_sound(daemon)
        found = {}
        for labels, value in metrics.series("acgs2_model_bottleneck"):
            found.setdefault(labels["model_name"], {})[labels["bottleneck"]] = value
        wanted = {"compute": "compute_bound", "io": "io_bound", "unknown": "unknown", "quick": "io_bound"}
        for model, bottleneck in wanted.items():
            self.assertEqual(found[model], {word: float(word == bottleneck) for word in
                                            ("compute_bound", "io_bound", "memory_bound", "unknown")})


class TestExpositionExemplars(ExpositionCase):
    def test_exposition_exemplars_lie_in_their_buckets(self):
        daemon = self.start()
        bounds = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1]
        times = [bound * 1000 * factor for bound in bounds for factor in (0.5, 1, 1.0000001)] + [1e9, 0]
        daemon.send(*(sample(ms=ms, trace_id=f"{i:032x}", span_id=f"{i:016x}") for i, ms in enumerate(times, 1)))
        self.must_be_sound(daemon)
        metrics = daemon.metrics(OPENMETRICS)
        edges = [-1, *bounds, math.inf]
        self.assertEqual(len(metrics.exemplars), 10)
        for (name, labels), (ids, value, when) in metrics.exemplars.items():
            le = float(dict(labels)["le"])
            self.assertEqual(name, "acgs2_model_inference_latency_seconds_bucket")
            self.assertLessEqual(value, le)
            self.assertGreater(value, edges[edges.index(le) - 1])
            self.assertAlmostEqual(times[int(ids["trace_id"], 16) - 1] / 1000, value, places=9)
            self.assertEqual(int(ids["span_id"], 16), int(ids["trace_id"], 16))
            self.assertGreater(when, 1.6e9)

    def test_exposition_exemplars_have_no_span_unless_told(self):
        daemon = self.start()
        daemon.send(sample(trace_id="ab" * 16), sample("n", span_id="cd" * 8))
        (ids, value, _), = daemon.metrics(OPENMETRICS).exemplars.values()
        self.assertEqual((ids, value), ({"trace_id": "ab" * 16}, 0.005))

    def test_exposition_exemplars_bear_the_time_of_the_sample(self):
        daemon = self.start()
        daemon.send(sample(trace_id="ab" * 16, timestamp="2024-02-29T12:00:00.250+01:00"))
        (_, _, when), = daemon.metrics(OPENMETRICS).exemplars.values()
        self.assertEqual(when, 1709204400.25)

    def test_exposition_exemplars_only_in_openmetrics(self):
        daemon = self.start()
        daemon.send(sample(trace_id="ab" * 16))
        self.assertNotIn("trace_id", daemon.get("/metrics").text)

    def test_exposition_exemplars_go_with_a_reset(self):
        daemon = self.start()
        daemon.send(sample(trace_id="ab" * 16))
        daemon.reset()
        self.assertEqual(daemon.metrics(OPENMETRICS).exemplars, {})


class TestExpositionNative(ExpositionCase):
    LATENCY = "acgs2_model_inference_latency_seconds"

    def native(self, daemon):
        return ProtobufExposition(daemon.get("/metrics", Accept=PROTOBUF).body)

    def test_exposition_native_buckets_of_a_model(self):
        daemon = self.start()
        daemon.send(*(sample(ms=ms) for ms in (0, 1000, 1000, 1000.1, 2000, 500)))
        metrics = self.native(daemon)
        self.assertEqual(metrics.buckets_of(self.LATENCY, model_name="m"), (7, {-128: 1, 0: 2, 1: 1, 128: 1}))
        (histogram,) = (found for (name, _), found in metrics.native.items() if name == self.LATENCY)
        self.assertEqual((histogram["zero_count"], histogram["zero_threshold"]), ([1], [2.0 ** -30]))

    def test_exposition_native_buckets_outlive_resets(self):
        daemon = self.start()
        for turn in range(3):
            daemon.send(sample(ms=1000))
            daemon.reset()
            self.assertEqual(self.native(daemon).buckets_of(self.LATENCY, model_name="m"), (7, {0: turn + 1}))

    def test_exposition_native_buckets_of_clients(self):
        daemon = self.start()
        self.assertEqual(daemon.send(*({"type": "histogram", "name": "job.wait", "value": value, "unit": "s",
                                        "attributes": {"queue": "a"}} for value in (1, 2, 2, 0, -4))), [])
        metrics = self.native(daemon)
        self.assertEqual(metrics.buckets_of("job_wait_seconds", queue="a"), (3, {0: 1, 8: 2}))
        histogram = metrics.native[("job_wait_seconds", frozenset({("queue", "a")}))]
        self.assertEqual((histogram["zero_count"], histogram["negative_delta"], histogram["negative_span"][0]["offset"]),
                         ([1], [1], [16]))
        self.assertEqual(len(histogram["created"]), 1)

    def test_exposition_native_exemplars_are_the_newest(self):
        daemon = self.start()
        times = [0.05 * 3 ** i for i in range(12)]
        daemon.send(*({"type": "histogram", "name": "wait", "value": value, "unit": "s", "trace_id": f"{i + 1:032x}",
                       "timestamp": f"2024-02-29T12:00:{i:02}Z"} for i, value in enumerate([0.0001 * 2.6 ** i for i in range(14)])),
                    *(sample(ms=ms, trace_id=f"{i + 1:032x}") for i, ms in enumerate(times)))
        metrics = self.native(daemon)
        (of_clients,) = (found for (name, _), found in metrics.native.items() if name == "wait_seconds")
        marked = sorted(bucket["exemplar"][0]["timestamp"][0]["seconds"][0] for bucket in of_clients["bucket"] if bucket["exemplar"])
        shown = [exemplar["timestamp"][0]["seconds"][0] for exemplar in of_clients["exemplars"]]
        self.assertEqual(shown, marked[-10:])
        self.assertGreater(len(marked), 10)
        (of_model,) = (found for (name, _), found in metrics.native.items() if name == self.LATENCY)
        self.assertEqual(len(of_model["exemplars"]), sum(bool(bucket["exemplar"]) for bucket in of_model["bucket"]))


class TestExpositionNegotiation(ExpositionCase):
    def test_exposition_format_follows_accept(self):
        daemon = self.start()
        prometheus = ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                      "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
        for accept, wanted in ((None, TEXT_TYPE), ("", TEXT_TYPE), ("*/*", TEXT_TYPE), ("text/plain", TEXT_TYPE),
                               ("text/plain;version=0.0.4", TEXT_TYPE), ("application/json", TEXT_TYPE),
                               ("text/*", TEXT_TYPE), (prometheus, OPENMETRICS_TYPE),
                               ("application/openmetrics-text; version=1.0.0", OPENMETRICS_TYPE),
                               ("APPLICATION/OpenMetrics-Text;Version=1.0.0", OPENMETRICS_TYPE),
                               ("application/openmetrics-text;q=0.4,text/plain;q=0.5", TEXT_TYPE),
                               ("application/openmetrics-text;q=0,*/*", TEXT_TYPE),
                               (PROTOBUF, PROTOBUF), (PROTOBUF + ";q=0.6," + prometheus.replace(",", ";q=0.5,", 1), PROTOBUF),
                               (PROTOBUF.replace("delimited", "text"), TEXT_TYPE), ("application/*", OPENMETRICS_TYPE),
                               (";;;,,,q=", TEXT_TYPE)):
            with self.subTest(accept=accept):
                answer = daemon.get("/metrics", **({} if accept is None else {"Accept": accept}))
                self.assertEqual((answer.status, answer.headers["Content-Type"]), (200, wanted))
                self.assertEqual(answer.body.endswith(b"# EOF\n"), wanted == OPENMETRICS_TYPE)

    def test_exposition_openmetrics_names_counters_without_total(self):
        daemon = self.start()
        daemon.send(sample())
        text = daemon.get("/metrics", Accept=OPENMETRICS).text
        self.assertIn("# TYPE acgs2_model_inference counter\n", text)
        self.assertIn('acgs2_model_inference_total{model_name="m"} 1\n', text)
        self.assertIn("# TYPE acgs2_service info\n", text)
        self.assertIn('le="1.0"', text)

    def test_exposition_gzip_is_the_same_bytes(self):
        daemon = self.start()
        daemon.send(*(sample(f"m{i}") for i in range(200)))
        answer = daemon.get("/metrics", Accept_Encoding="gzip")
        self.assertEqual(answer.headers["Content-Encoding"], "gzip")
        self.assertLess(len(answer.raw), len(answer.body) / 4)
        self.assertEqual(gzip.decompress(answer.raw), answer.body)
        self.must_agree(Exposition(answer.text), daemon.metrics())

    def test_exposition_gzip_only_where_wanted(self):
        daemon = self.start()
        for encoding, wanted in ((None, None), ("identity", None), ("gzip;q=0", None), ("br", None), ("gzip", "gzip"),
                                 ("deflate, gzip;q=1.0, *;q=0.5", "gzip"), ("*", "gzip"), ("gzip;q=0.2, identity", None)):
            with self.subTest(encoding=encoding):
                answer = daemon.get("/metrics", **({} if encoding is None else {"Accept_Encoding": encoding}))
                self.assertEqual(answer.headers["Content-Encoding"], wanted)

    def test_exposition_head_has_the_headers_alone(self):
        daemon = self.start()
        for target in ("/metrics", "/report", "/healthz", "/api/v1/models"):
            answer = daemon.request("HEAD", target)
            self.assertEqual((answer.status, answer.raw), (200, b""))
            self.assertGreater(int(answer.headers["Content-Length"]), 0)

    def test_exposition_head_says_of_each_format_what_get_does(self):
        daemon = self.start()
        daemon.send(*(sample(f"m{i}") for i in range(20)))
        # Figures of the daemon itself change from answer to answer, and the length with them.
        moving = ("Date", "Content-Length")
        for accept, wanted in ((TEXT_TYPE, TEXT_TYPE), (OPENMETRICS, OPENMETRICS_TYPE), (PROTOBUF, PROTOBUF)):
            for encoding in ("identity", "gzip"):
                with self.subTest(accept=accept, encoding=encoding):
                    headers = {"Accept": accept, "Accept-Encoding": encoding}
                    got = daemon.request("GET", "/metrics", headers)
                    head = daemon.request("HEAD", "/metrics", headers)
                    self.assertEqual(head.headers["Content-Type"], wanted)
                    self.assertEqual(head.headers["Content-Encoding"], "gzip" if encoding == "gzip" else None)
                    self.assertEqual([item for item in head.headers.items() if item[0] not in moving],
                                     [item for item in got.headers.items() if item[0] not in moving])
                    self.assertAlmostEqual(int(head.headers["Content-Length"]), len(got.raw), delta=200)
                    request = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                    raw = daemon.raw_http(f"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{request}\r\n".encode())
                    with raw, raw.makefile("rb") as answer:
                        self.assertTrue(answer.read().endswith(b"\r\n\r\n"))

    def test_exposition_gzip_of_protobuf_is_the_same_bytes(self):
        daemon = self.start()
        daemon.send(*(sample(f"m{i}") for i in range(200)))
        answer = daemon.get("/metrics", Accept=PROTOBUF, Accept_Encoding="gzip")
        self.assertEqual((answer.headers["Content-Type"], answer.headers["Content-Encoding"]), (PROTOBUF, "gzip"))
        self.assertLess(len(answer.raw), len(answer.body) / 4)
        self.must_agree(daemon.metrics(), ProtobufExposition(answer.body))

    def test_exposition_is_on_all_three_doors(self):
        daemon = self.start()
        daemon.send(sample())
        for door in ("tcp", "query", "admin"):
            self.assertEqual(daemon.metrics(door=door).get("acgs2_model_inference_total", model_name="m"), 1)


class TestExpositionGrowth(ExpositionCase):
    def counters(self, metrics):
        kinds = {family for family, kind in metrics.types.items() if kind in ("counter", "histogram")}
        return {key: value for key, value in metrics.values.items()
                if re.sub(r"_(bucket|sum|count)$", "", key[0]) in kinds}

    def test_exposition_counters_never_fall_after_resets(self):
        daemon = self.start()
        before = {}
        for turn in range(6):
            daemon.send(*(sample(f"m{i}", 1 + turn, queue_ms=1, batch_size=2, error=i == 2, **EVIDENCE) for i in range(3)))
            if turn % 2:
                daemon.reset("/api/v1/reset" + ("?name=m1" if turn == 3 else ""))
            now = self.counters(self.must_be_sound(daemon))
            for key, value in before.items():
                self.assertGreaterEqual(now[key], value, key)
            before = now
        self.assertEqual(before[("acgs2_model_inference_total", frozenset({("model_name", "m1")}))], 6)

    def test_exposition_series_stay_when_the_window_is_reset(self):
        daemon = self.start()
        daemon.send(sample(cpu_percent_during=80, memory_mb_after=5, **EVIDENCE))
        before = daemon.metrics()
        daemon.reset()
        after = self.must_be_sound(daemon)
        self.assertEqual(set(before.values), set(after.values))
        self.assertTrue(math.isnan(after.get("acgs2_model_latency_quantile_seconds", model_name="m", q="0.5")))
        self.assertEqual(after.get("acgs2_model_bottleneck", model_name="m", bottleneck="unknown"), 1)

    def test_exposition_reading_resets_nothing(self):
        daemon = self.start()
        daemon.send(sample())
        for _ in range(3):
            self.assertEqual(daemon.metrics().get("acgs2_model_inference_total", model_name="m"), 1)
            self.assertEqual(daemon.models()["m"]["sample_count"], 1)


class TestExpositionGolden(ExpositionCase):
    def test_exposition_has_the_golden_families_of_the_profiler(self):
        families = json.loads((ROOT / "tests" / "data" / "golden" / "families.json").read_text())
        families = families["families"]
        ours = [family for family in families if family["family_name"].startswith("acgs2_model_")]
        self.assertEqual(len(ours), 3)
        daemon = self.start()
        daemon.send_raw(wire.MAGIC + wire.frame(wire.batch([wire.sample(model_name="m", execution_time_ms=3.0)])))
        metrics = daemon.metrics()
        for family in ours:
            name = family["family_name"] + ("_total" if family["type"] == "counter" else "")
            self.assertEqual(metrics.types[name], family["type"])
            if family["type"] == "histogram":
                bounds = [float(le) for le in metrics.buckets(name, model_name="m") if le != "+Inf"]
                self.assertEqual(bounds, [float(bound) for bound in family["buckets"] if str(bound) not in ("+Inf", "inf")])


if __name__ == "__main__":
    unittest.main()
