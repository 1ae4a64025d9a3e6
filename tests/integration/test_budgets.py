"""Time budgets through the running daemon: records in both formats, what /api/v1/budgets, /metrics and the log say, and
the golden cases."""
import json
import unittest

import wire
from harness import HASH, OPENMETRICS, PROTOBUF, ROOT, DaemonCase, until

CASES = ROOT / "tests" / "data" / "golden" / "budgets"

LAYERS = ["layer1_validation", "layer2_deliberation", "layer3_policy", "layer4_audit"]
FAMILIES = {"acgs2_budget_elapsed_seconds_count": 0, "acgs2_budget_exceeded_total": 0,
            "acgs2_budget_soft_limit_exceeded_total": 0, "acgs2_budget_requests_total": 0}
JUDGED = ("elapsed_ms", "remaining_ms", "is_exceeded", "is_soft_limit_exceeded")
WHOLE = ("total_budget_ms", "total_elapsed_ms", "total_remaining_ms", "constitutional_hash")


def budget(layer, elapsed_ms, **more):
    return {"type": "budget", "layer": layer, "elapsed_ms": elapsed_ms, **more}


class TestBudgets(DaemonCase):
    def budgets(self, daemon, door="tcp"):
        return daemon.get("/api/v1/budgets", door=door).json

    def test_budgets_are_shown_from_the_start(self):
        daemon = self.start()
        for accept in (None, OPENMETRICS):
            metrics = daemon.metrics(accept)
            for name, value in FAMILIES.items():
                shown = {labels["layer"]: got for labels, got in metrics.series(name)}
                self.assertEqual(shown, {layer: value for layer in ["total", *LAYERS]}, name)
        message = daemon.get("/metrics", Accept=PROTOBUF).body
        for name in ("acgs2_budget_elapsed_seconds", "acgs2_budget_exceeded_total"):
            self.assertIn(name.encode(), message)
        self.assertEqual(list(self.budgets(daemon)["layers"]), LAYERS)

    def test_budgets_have_the_same_answer_at_every_door(self):
        daemon = self.start()
        self.assertEqual(daemon.send(budget("total", 12.5), budget("layer1_validation", 4.5)), [])
        answers = [self.budgets(daemon, door) for door in ("tcp", "query", "admin")]
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(answers[0], answers[2])
        self.assertEqual(list(answers[0]), ["total_budget_ms", "total_elapsed_ms", "total_remaining_ms", "total_burn_rate",
                                            "total_burn_rate_short", "objective", "layers", "constitutional_hash"])
        self.assertEqual(answers[0]["layers"]["layer1_validation"], {
            "budget_ms": 5, "elapsed_ms": 4.5, "remaining_ms": 0.5, "is_exceeded": False,
            "is_soft_limit_exceeded": True, "count": 1, "exceeded_count": 0, "soft_limit_exceeded_count": 1,
            "p50_ms": 4.5, "p95_ms": 4.5, "p99_ms": 4.5, "share_of_total": 0.36, "burn_rate": 0, "burn_rate_short": 0})

    def test_a_share_goes_with_the_total(self):
        shares = [{"layer": "half", "budget_share": 0.5}, {"layer": "fixed", "budget_ms": 5}]
        for total_ms, half_ms in ((50, 25), (200, 100)):
            daemon = self.start(sets={"budgets.total_ms": total_ms, "budgets.layers": json.dumps(shares)})
            self.assertEqual(daemon.send(budget("half", half_ms), budget("half", half_ms + 0.5), budget("fixed", 5)), [])
            layers = self.budgets(daemon)["layers"]
            self.assertEqual({name: (layer["budget_ms"], layer["exceeded_count"]) for name, layer in layers.items()},
                             {"half": (half_ms, 1), "fixed": (5, 0)})

    def test_budgets_come_in_every_format(self):
        daemon = self.start()
        batch = wire.batch(budgets=[wire.budget(layer="layer3_policy", elapsed_ms=11, operation="o"),
                                    wire.budget(layer="layer3_policy"), wire.budget(layer="", elapsed_ms=1)])
        daemon.send_raw(b"DWL1" + wire.frame(batch))
        daemon.datagram(b"DWL1" + batch)
        daemon.datagram(json.dumps(budget("layer3_policy", 8.5)) + "\n")
        until(lambda: daemon.accepted() == 3, "the datagrams are read")
        layer = self.budgets(daemon)["layers"]["layer3_policy"]
        self.assertEqual((layer["count"], layer["exceeded_count"], layer["soft_limit_exceeded_count"]), (3, 2, 3))
        self.assertEqual(daemon.rejected(), {"missing_key": 2, "bad_name": 2})

    def test_budgets_are_counted_on_metrics(self):
        daemon = self.start()
        self.assertEqual(daemon.send(*(budget("layer2_deliberation", ms) for ms in (1, 16, 16.5, 20, 20.5, 300))), [])
        metrics = daemon.metrics()
        self.assertEqual(metrics.get("acgs2_budget_exceeded_total", layer="layer2_deliberation"), 2)
        self.assertEqual(metrics.get("acgs2_budget_soft_limit_exceeded_total", layer="layer2_deliberation"), 4)
        buckets = metrics.buckets("acgs2_budget_elapsed_seconds", layer="layer2_deliberation")
        self.assertEqual([buckets[le] for le in ("0.0005", "0.001", "0.016", "0.02", "0.03", "0.25", "0.5", "+Inf")],
                         [0, 1, 2, 4, 5, 5, 6, 6])

    def test_budgets_burn_rates_agree_everywhere(self):
        daemon = self.start(sets={"budgets.objective": "0.9"})
        self.assertEqual(daemon.send(*(budget("total", ms) for ms in (60, 50, 50, 50))), [])
        answer = self.budgets(daemon)
        self.assertEqual((answer["objective"], answer["total_burn_rate"], answer["total_burn_rate_short"]), (0.9, 2.5, 2.5))
        self.assertIsNone(answer["layers"]["layer1_validation"]["burn_rate"])
        metrics = daemon.metrics()
        self.assertEqual(metrics.get("acgs2_budget_objective_ratio"), 0.9)
        shown = {(labels["layer"], labels["window"]): rate for labels, rate in metrics.series("acgs2_budget_burn_rate")}
        self.assertEqual(set(shown), {(layer, window) for layer in ["total", *LAYERS] for window in ("long", "short")})
        self.assertEqual({key for key, rate in shown.items() if rate == 2.5}, {("total", "long"), ("total", "short")})
        self.assertEqual({key[0] for key, rate in shown.items() if rate != rate}, set(LAYERS))
        self.assertRegex(daemon.get("/report").text, r"total +50\.0 ms .* 25\.0 % +2\.50 +2\.50 +-\n")

    def test_budgets_of_a_layer_that_is_entered_twice(self):
        daemon = self.start()
        layer = "layer2_deliberation"  # 20 ms
        self.assertEqual(daemon.send(budget(layer, 15), budget(layer, 6, before_ms=15, request_id="r-17"),
                                     budget("layer1_validation", 3), budget("total", 24), budget(layer, 15),
                                     budget("total", 16)), [])
        answer = self.budgets(daemon)["layers"]
        self.assertEqual((answer[layer]["count"], answer[layer]["exceeded_count"], answer[layer]["elapsed_ms"]), (2, 1, 15))
        self.assertEqual((answer[layer]["share_of_total"], answer["layer1_validation"]["share_of_total"]), (0.9, 0.075))
        metrics = daemon.metrics()
        self.assertEqual(metrics.get("acgs2_budget_requests_total", layer=layer), 2)
        self.assertEqual(metrics.get("acgs2_budget_elapsed_seconds_count", layer=layer), 3)
        self.assertEqual(metrics.get("acgs2_budget_exceeded_total", layer=layer), 1)
        daemon.stop()
        self.assertEqual(len([line for line in daemon.log if "took 21.000 ms of its budget of 20.000 ms" in line]), 1)

    def test_budgets_of_layers_that_nobody_configured(self):
        daemon = self.start(sets={"budgets.layers": "[]", "budgets.total_ms": 2})
        names = [f"free{number}" for number in range(64)]
        self.assertEqual(daemon.send(*(budget(name, 1e6) for name in [*names, "one more", "free0"])), [])
        answer = self.budgets(daemon)
        self.assertEqual(list(answer["layers"]), [*names, "(overflow)"])
        self.assertEqual(answer["layers"]["free0"]["count"], 2)
        for key in ("budget_ms", "remaining_ms"):
            self.assertIsNone(answer["layers"]["free0"][key])
        self.assertFalse(answer["layers"]["free0"]["is_exceeded"])
        self.assertEqual((answer["total_budget_ms"], answer["total_remaining_ms"]), (2, 2))
        metrics = daemon.metrics()
        self.assertEqual(metrics.get("dwelld_overflow_records_total"), 1)
        self.assertEqual(metrics.get("acgs2_budget_elapsed_seconds_count", layer="(overflow)"), 1)
        self.assertIsNone(metrics.get("acgs2_budget_exceeded_total", layer="free0"))

    def test_budgets_over_them_are_told_now_and_then(self):
        daemon = self.start()
        daemon.send(budget("layer1_validation", 5))
        daemon.send(*(budget("layer1_validation", 5.5 + number, operation="check\n", request_id=f"r{number}")
                      for number in range(20)))
        self.assertEqual(self.budgets(daemon)["layers"]["layer1_validation"]["exceeded_count"], 20)
        daemon.stop()
        told = [line for line in daemon.log if "of its budget of" in line]
        self.assertEqual(len(told), 5)
        self.assertIn("layer layer1_validation took 5.500 ms of its budget of 5.000 ms, operation check\\n, request r0",
                      told[0])

    def test_budgets_names_cannot_be_declared_or_counted(self):
        daemon = self.start()
        answers = daemon.send({"type": "counter", "name": "acgs2_budget_exceeded_total", "value": 1,
                               "attributes": {"layer": "total"}})
        self.assertEqual([answer["reason"] for answer in answers], ["name_conflict"])

    def test_budgets_of_another_hash_are_refused_where_it_is_enforced(self):
        daemon = self.start(sets={"service.enforce_hash": "true"})
        answers = daemon.send(budget("total", 60), {"type": "hello", "constitutional_hash": HASH}, budget("total", 70))
        self.assertEqual([answer["reason"] for answer in answers], ["no_hello"])
        self.assertEqual(self.budgets(daemon)["total_elapsed_ms"], 70)


class TestGoldenBudgets(DaemonCase):
    """What a layer took is the case's, what follows from it the daemon's; how a client comes to the time is a client's."""

    def options(self, config):
        sets = {}
        if "total_budget_ms" in config:
            sets["budgets.total_ms"] = config["total_budget_ms"]
        if "layers" in config:
            sets["budgets.layers"] = json.dumps(config["layers"])
        return sets

    def check_layers(self, daemon, layers):
        """Tells what each layer took; returns the answer after it, having compared the layers."""
        self.assertEqual(daemon.send(*(budget(name, layer["elapsed_ms"]) for name, layer in layers.items())), [])
        answer = daemon.get("/api/v1/budgets").json
        got = {name: {key: layer[key] for key in JUDGED} for name, layer in answer["layers"].items()}
        self.assertEqual(got, {name: {key: layer[key] for key in JUDGED} for name, layer in layers.items()})
        return answer

    def check_report(self, daemon, report):
        self.assertEqual(daemon.send(budget("total", report["total_elapsed_ms"])), [])
        answer = self.check_layers(daemon, report["layers"])
        self.assertEqual({key: answer[key] for key in WHOLE}, {key: report[key] for key in WHOLE})
        self.assertEqual({name: layer["budget_ms"] for name, layer in answer["layers"].items()},
                         {name: layer["budget_ms"] for name, layer in report["layers"].items()})

    def check_case(self, path):
        case = json.loads(path.read_text())
        daemon = self.start(sets=self.options(case["config"]))
        for number, step in enumerate(case["expected"]["steps"]):
            with self.subTest(step=number):
                self.check_layers(daemon, step["layers_after"])
                returned = step.get("returns")
                if isinstance(returned, dict) and "layers" in returned:
                    self.check_report(daemon, returned)
        self.check_report(daemon, case["expected"]["final_report"])

    def test_golden_budgets_are_complete(self):
        self.assertEqual(len(list(CASES.glob("*.json"))), 18)


def _add_tests():
    for path in sorted(CASES.glob("*.json")):
        name = "test_golden_budgets_" + path.stem.replace("-", "_")
        setattr(TestGoldenBudgets, name, lambda self, path=path: self.check_case(path))


_add_tests()


if __name__ == "__main__":
    unittest.main()
