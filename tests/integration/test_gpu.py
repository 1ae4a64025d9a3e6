"""Whether a GPU would help, through the running daemon: /api/v1/decision, /report and /metrics; estimates are compared with
a computation of their own, written from the README and not from the code."""
import json
import math
import random
import unittest

from harness import ROOT, DaemonCase, run

KEYS = ["overall_recommendation", "reasons", "action_items", "models", "constants"]


def sample(name="m", ms=25.0, **more):
    return {"model_name": name, "execution_time_ms": ms, **more}


def hinted(name="m", ms=25.0, cpu_ms=24.0, runqueue_ms=0.0, flops=1e8, **more):
    """One whose CPU time is known, and what it computes."""
    return sample(name, ms, cpu_percent_during=90, user_ms=cpu_ms, system_ms=0, runqueue_ms=runqueue_ms, flops=flops, **more)


# --- the formula of the README ---

def batch_ms(constants, model, efficiency, batch):
    compute_s = batch * model["flops"] / (efficiency * constants["peak_tflops"] * 1e12)
    move_s = batch * model["bytes"] / (efficiency * constants["bandwidth_gb"] * 1e9)
    return 1e3 * max(compute_s, move_s) + 1e-3 * (constants["launch_us"] + batch * constants["transfer_us"])


def plan(constants, model, efficiency, batch):
    """(mean ms, p99 ms, machines) of batches of one size."""
    rate = model["rate"] * constants["instances"]
    rest = 1 - model["movable"]
    took = batch_ms(constants, model, efficiency, batch)
    fill = (batch - 1) / rate * 1e3
    on_host = max(0, 1 - model["movable"] * model["mean_ms"] / min(model["cpu_ms"], model["mean_ms"])) * model["cpu_ms"]
    capacity = constants["utilization"] * 1e3 * min(
        batch / took, constants["host_threads"] / on_host if on_host else math.inf)
    return (rest * model["mean_ms"] + took + fill / 2, rest * model["p99_ms"] + took + fill, max(1, rate / capacity))


def best(constants, model, efficiency):
    """The plan with the fewest machines of those that keep p99, and among these the quickest; None without one."""
    limit = constants["max_latency_ms"] or model["p99_ms"]
    sizes = [2 ** n for n in range(20) if 2 ** n <= constants["max_batch"]]
    plans = [(size, *plan(constants, model, efficiency, size)) for size in sizes]
    fit = [found for found in plans if found[2] <= limit]
    return min(fit, key=lambda found: (found[3], found[1]), default=None)


def cpu_machines(constants, model):
    capacity = constants["utilization"] * constants["cpu_threads"] * 1e3 / model["cpu_ms"]
    return max(1, model["rate"] * constants["instances"] / capacity)


def cost(price, machines, model, constants):
    return price * machines / (3600 * model["rate"] * constants["instances"]) * 1000


def saving_probability(constants, model, draws=4000):
    """By drawing; the seed is fixed, so that a run that passes always does."""
    chance = random.Random(17)
    saved = 0
    for _ in range(draws):
        found = best(constants, model, chance.uniform(constants["efficiency_low"], constants["efficiency_high"]))
        gpu = chance.uniform(constants["price_low"], constants["price_high"])
        cpu = chance.uniform(constants["cpu_price_low"], constants["cpu_price_high"])
        saved += found is not None and gpu * found[3] < cpu * cpu_machines(constants, model)
    return saved / draws


class GpuCase(DaemonCase):
    def start(self, *arguments, sets=None, **options):
        """By thresholds: what could move is then known from the samples alone."""
        return super().start(*arguments, sets={"profiling.classifier": "thresholds", **(sets or {})}, **options)

    def decision(self, daemon, door="tcp"):
        answer = daemon.get("/api/v1/decision", door=door)
        self.assertEqual(answer.status, 200)
        return answer.json

    def model(self, daemon, name="m"):
        return next(model for model in self.decision(daemon)["models"] if model["model_name"] == name)


class TestDecision(GpuCase):
    def test_decision_is_there_from_the_start(self):
        daemon = self.start()
        answer = self.decision(daemon)
        self.assertEqual(list(answer), KEYS)
        self.assertEqual([answer[key] for key in KEYS[:4]], ["KEEP_CPU", ["no model has sent a sample, so nothing is known yet"], [], []])

    def test_decision_has_the_same_answer_at_every_door(self):
        daemon = self.start()
        daemon.send(sample(cpu_percent_during=99), sample("quick", 0.5))
        answers = [self.decision(daemon, door) for door in ("tcp", "query", "admin")]
        for answer in answers:
            for model in answer["models"]:
                del model["rate_per_second"]  # time goes on
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(answers[0], answers[2])
        self.assertEqual(answers[0]["overall_recommendation"], "EVALUATE_GPU")

    def test_decision_answers_as_all_endpoints_do(self):
        daemon = self.start()
        for method, target, accept, status in (
                ("HEAD", "/api/v1/decision", None, 200), ("GET", "/api/v1/decision", "text/html", 406),
                ("GET", "/api/v1/decision", "application/json;q=0.1", 200), ("GET", "/api/v1/decision", "*/*", 200),
                ("POST", "/api/v1/decision", None, 405), ("DELETE", "/api/v1/decision", None, 405),
                ("GET", "/api/v1/decision/", None, 404), ("GET", "/api/v1/decision/m", None, 404),
                ("GET", "/api/v1/decisions", None, 404)):
            with self.subTest(method=method, target=target, accept=accept):
                answer = daemon.request(method, target, {"Accept": accept} if accept else {})
                self.assertEqual(answer.status, status)
                self.assertEqual(answer.headers["Content-Type"], "application/json")
                if method == "HEAD":
                    self.assertEqual(answer.body, b"")
                elif status != 200:
                    self.assertEqual(list(answer.json), ["error"])
                if status == 405:
                    self.assertEqual(answer.headers["Allow"], "GET, HEAD")

    def test_decision_is_the_same_everywhere(self):
        daemon = self.start()
        daemon.send(sample("busy", cpu_percent_during=99), sample("idle", cpu_percent_during=3), sample("unknown"),
                    sample("away", device="cuda:0"), *(hinted("hinted") for _ in range(100)),
                    *(hinted("starved", cpu_ms=10, runqueue_ms=10) for _ in range(100)))
        wanted = {"busy": "yes", "idle": "no", "unknown": "insufficient", "away": None, "hinted": "no",
                  "starved": "insufficient"}
        found = {model["model_name"]: model["decision"] for model in self.decision(daemon)["models"]}
        self.assertEqual(found, wanted)
        models = daemon.models()
        self.assertEqual({name: model["analysis"]["gpu_decision"] for name, model in models.items()}, wanted)
        metrics = daemon.metrics()
        shown = {labels["model_name"]: labels["decision"] for labels, value in metrics.series("acgs2_model_gpu_decision") if value}
        self.assertEqual(shown, {name: decision for name, decision in wanted.items() if decision})
        report = daemon.get("/report").text
        self.assertRegex(report, r"\n  starved +compute_bound .* insufficient\n")
        self.assertIn("\nTO DO\n  - Free the CPU, or grant more of it, and look again: 1 model\n", report)

    def test_decision_ceiling_is_amdahls(self):
        daemon = self.start()
        for name, cpu_ms, wanted in (("none", 0, 1), ("half", 12.5, 2), ("most", 24, 25), ("all", 25, math.inf), ("more", 60, math.inf)):
            daemon.send(hinted(name, cpu_ms=cpu_ms))
            model = self.model(daemon, name)
            self.assertAlmostEqual(model["movable_share"], min(cpu_ms / 25, 1))
            shown = daemon.metrics().get("acgs2_model_max_speedup_ratio", model_name=name)
            if math.isinf(wanted):  # JSON has no infinity; movable_share tells it from what is not known
                self.assertIsNone(model["max_speedup"])
                self.assertEqual(shown, math.inf)
            else:
                self.assertAlmostEqual(model["max_speedup"], wanted)
                self.assertAlmostEqual(shown, wanted)
        daemon.send(sample("said nothing"))
        self.assertIsNone(self.model(daemon, "said nothing")["max_speedup"])
        self.assertTrue(math.isnan(daemon.metrics().get("acgs2_model_max_speedup_ratio", model_name="said nothing")))

    def test_decision_goes_with_a_reset(self):
        daemon = self.start()
        daemon.send(sample(cpu_percent_during=99))
        self.assertEqual(self.decision(daemon)["overall_recommendation"], "EVALUATE_GPU")
        self.assertEqual(daemon.reset(), 1)
        answer = self.decision(daemon)
        self.assertEqual([answer[key] for key in KEYS[:4]], ["KEEP_CPU", ["no model has sent a sample, so nothing is known yet"], [], []])


class TestEstimate(GpuCase):
    """A daemon's estimate is that of the formula, at the rate that it tells."""

    def facts(self, daemon, name="m"):
        model = self.model(daemon, name)
        full = daemon.models()[name]
        time = full["time"]
        cpu_ms = sum(time[key] for key in ("user_ms", "system_ms", "fault_ms"))
        movable = cpu_ms / (cpu_ms + time["blocked_ms"])
        mean_ms = full["latency"]["mean_ms"]
        facts = {"movable": movable, "mean_ms": mean_ms, "p99_ms": full["latency"]["p99_ms"],
                 "cpu_ms": max(cpu_ms / time["inferences"], movable * mean_ms), "rate": model["rate_per_second"],
                 "flops": full["hints"]["flops"] or 0, "bytes": full["hints"]["bytes_moved"] or 0}
        return model, facts

    def must_agree(self, daemon, constants, name):
        model, facts = self.facts(daemon, name)
        estimate = model["estimate"]
        near = {"rel_tol": 1e-6}
        middle = (constants["efficiency_low"] + constants["efficiency_high"]) / 2
        size, time_ms, p99_ms, machines = best(constants, facts, middle)
        for key, wanted in (("batch_size", size), ("time_ms", time_ms), ("p99_ms", p99_ms), ("speedup", facts["mean_ms"] / time_ms)):
            self.assertTrue(math.isclose(estimate[key]["point"], wanted, **near), (key, estimate[key], wanted))
        self.assertTrue(math.isclose(estimate["gpu_machines"], machines, **near))
        self.assertTrue(math.isclose(estimate["cpu_machines"], cpu_machines(constants, facts), **near))
        for end, cpu_end in (("low", "cpu_price_low"), ("high", "cpu_price_high")):
            wanted = cost(constants[cpu_end], cpu_machines(constants, facts), facts, constants)
            self.assertTrue(math.isclose(estimate["cpu_cost_per_1000"][end], wanted, **near))
        for end, efficiency in (("low", "efficiency_high"), ("high", "efficiency_low")):
            found = best(constants, facts, constants[efficiency])
            machines = found[3] if found else plan(constants, facts, constants[efficiency], 1)[2]
            wanted = cost(constants[f"price_{end}"], machines, facts, constants)
            self.assertTrue(math.isclose(estimate["gpu_cost_per_1000"][end], wanted, **near), (end, estimate, wanted))
        probability = saving_probability(constants, facts)
        self.assertAlmostEqual(estimate["probability"], probability, delta=0.04)
        wanted = "yes" if estimate["probability"] >= 0.9 else "no" if estimate["probability"] <= 0.1 else "insufficient"
        self.assertEqual(model["decision"], wanted)
        return model, facts

    def test_estimate_is_that_of_the_formula(self):
        daemon = self.start()
        constants = self.decision(daemon)["constants"]
        self.assertEqual(constants, json.loads((ROOT / "config/dwelld.json").read_text())["gpu"])
        decisions = set()
        cases = [(12000, 25.0, {}), (3000, 25.0, {}), (10, 25.0, {}), (8000, 25.0, {"flops": 6e10}),
                 (20000, 25.0, {"flops": 1e10, "bytes_moved": 4e7}), (5000, 3.0, {"cpu_ms": 2.5}),
                 (12000, 25.0, {"cpu_ms": 90.0}), (12000, 25.0, {"cpu_ms": 14.0})]
        for number, (count, ms, more) in enumerate(cases):
            with self.subTest(count=count, **more):
                name = f"m{number}"
                daemon.send(*(hinted(name, ms, **more) for _ in range(count)))
                self.assertEqual(daemon.sample_count(name), count)
                decisions.add(self.must_agree(daemon, constants, name)[0]["decision"])
        self.assertLessEqual({"yes", "no"}, decisions)

    def test_estimate_costs_are_equal_at_the_break_even(self):
        daemon = self.start(sets={"gpu.max_batch": 1})
        constants = self.decision(daemon)["constants"]
        daemon.send(*(hinted() for _ in range(1000)))
        model, facts = self.facts(daemon)
        there = model["estimate"]["break_even_per_second"]
        self.assertEqual(there["low"], 0)  # the cheapest machine with a GPU costs less than the dearest without
        efficiency = (constants["efficiency_low"] + constants["efficiency_high"]) / 2
        price = (constants["price_low"] + constants["price_high"]) / 2
        cpu_price = (constants["cpu_price_low"] + constants["cpu_price_high"]) / 2
        costs = []
        for factor in (0.99, 1, 1.01):
            at = {**facts, "rate": there["point"] * factor}
            machines = plan(constants, at, efficiency, 1)[2]
            costs.append((cost(price, machines, at, constants), cost(cpu_price, cpu_machines(constants, at), at, constants)))
        self.assertGreater(*costs[0])
        self.assertTrue(math.isclose(*costs[1], rel_tol=1e-9))
        self.assertLess(*costs[2])

    def test_estimate_is_not_made_of_nothing(self):
        daemon = self.start()
        daemon.send(sample("no evidence", cpu_percent_during=99, flops=1e9), hinted("no hint", flops=0),
                    sample("io", cpu_percent_during=1, user_ms=1, system_ms=0, flops=1e9))
        found = [(model["model_name"], model["decision"], model["estimate"]) for model in self.decision(daemon)["models"]]
        self.assertEqual(found, [("io", "no", None), ("no evidence", "yes", None), ("no hint", "yes", None)])

    def test_estimate_without_a_rate_is_of_speed(self):
        daemon = self.start(sets={"profiling.max_samples": 100})
        daemon.send(*(hinted() for _ in range(200)))
        model = self.model(daemon)
        self.assertIsNone(model["rate_per_second"])
        estimate = model["estimate"]
        self.assertEqual(estimate["objective"], "latency")
        self.assertIsNone(estimate["gpu_cost_per_1000"]["point"])
        self.assertEqual(model["decision"], "yes")


class TestConstants(GpuCase):
    def test_constants_change_with_a_reload(self):
        path = self.directory() / "dwelld.json"
        path.write_text("{}")
        daemon = self.start("--config", path)
        daemon.send(*(hinted() for _ in range(100)))
        self.assertEqual(self.model(daemon)["decision"], "no")
        self.assertEqual(daemon.metrics().get("acgs2_model_gpu_decision", model_name="m", decision="yes"), 0)
        path.write_text(json.dumps({"gpu": {"price_low": 0.01, "price_high": 0.02, "peak_tflops": 50}}))
        at = len(daemon.log)
        daemon.send_signal(1)
        daemon.wait_log("configuration reloaded", at)
        answer = self.decision(daemon)
        self.assertEqual((answer["constants"]["price_high"], answer["constants"]["peak_tflops"]), (0.02, 50))
        self.assertEqual(answer["models"][0]["decision"], "yes")
        # What was rendered of the model before is not shown again.
        self.assertEqual(daemon.metrics().get("acgs2_model_gpu_decision", model_name="m", decision="yes"), 1)

    def test_constants_that_contradict_each_other_are_refused(self):
        done = run("--check-config", "--set", "gpu.efficiency_low=0.7")
        self.assertEqual(done.returncode, 78)
        self.assertIn("gpu.efficiency_low: expects at most gpu.efficiency_high, which is 0.6, got 0.7", done.stderr)


if __name__ == "__main__":
    unittest.main()
