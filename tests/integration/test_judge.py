"""The classifier `evidence` through the running daemon: samples whose evidence says where their time went, rounds, and
what /api/v1/models, /metrics and the report say of it then."""
import datetime
import threading
import time
import unittest

import wire
from harness import DaemonCase, until

QUICK = {"profiling.round_ms": 250, "profiling.probe": "off"}  # what samples say, and nothing else
ENOUGH = 40  # for a round, and for the window
THE_SAME = ("bottleneck_type", "rule", "reason", "confidence", "shares")


def evidence(name, user_ms, system_ms=0.0, runqueue_ms=0.0, **more):
    return {"model_name": name, "execution_time_ms": 10, "user_ms": user_ms, "system_ms": system_ms,
            "runqueue_ms": runqueue_ms, **more}


def disk(name):
    return evidence(name, 0.5, 0.25, disk_bytes=4e6, voluntary_switches=2)


# What the evidence of one inference says, and what the daemon then does.
CASES = {
    "disk": (disk("disk"), "io_bound", "evidence"),
    "busy": (evidence("busy", 9.75), "unknown", "cpu"),
    "half": (evidence("half", 4.5, disk_bytes=4e6), "unknown", "mixed"),
    "starved": (evidence("starved", 0.25, runqueue_ms=9.5), "unknown", "starved"),
    "waits": (evidence("waits", 0.5), "unknown", "wait"),
    "faults": (evidence("faults", 1, 8.5, minor_faults=4000), "memory_bound", "evidence"),
}


class TestJudge(DaemonCase):
    def model(self, daemon, name):
        answer = daemon.get(f"/api/v1/models/{name}")
        self.assertEqual(answer.status, 200, answer.text)
        return answer.json

    def wait_rounds(self, daemon, name, rounds=1):
        """MODEL once evidence of so many rounds was judged."""
        def judged():
            model = self.model(daemon, name)
            return model if (model["explanation"] or {"rounds": 0})["rounds"] >= rounds else None
        return until(judged, f"{rounds} rounds of {name} are judged")

    def send_round(self, daemon, sample, name):
        """One more round of these samples."""
        explanation = self.model(daemon, name)["explanation"] if daemon.sample_count(name) else None
        daemon.send(*[sample] * ENOUGH)
        return self.wait_rounds(daemon, name, (explanation or {"rounds": 0})["rounds"] + 1)

    def test_evidence_leads_to_its_verdict(self):
        daemon = self.start(sets=QUICK)
        self.assertEqual(daemon.send(*[sample for sample, _, _ in CASES.values() for _ in range(ENOUGH)]), [])
        for name, (_, bottleneck, rule) in CASES.items():
            with self.subTest(name):
                until(lambda name=name: self.model(daemon, name)["explanation"], f"{name} is judged")
                model = self.model(daemon, name)
                analysis = model["analysis"]
                self.assertEqual((analysis["bottleneck_type"], analysis["rule"]), (bottleneck, rule))
                self.assertEqual(analysis["confidence"] is None, bottleneck == "unknown")
                self.assertRegex(analysis["reason"], r"\d")
                if rule != "starved":
                    self.assertAlmostEqual(sum(analysis["shares"].values()), 1, 9)
                inferences = model["explanation"]["evidence"]["inferences"]
                self.assertTrue(20 <= inferences <= ENOUGH, inferences)
                self.assertEqual(model["explanation"]["sources"]["runqueue"], inferences)
                steps = {step["name"]: step for step in model["explanation"]["steps"]}
                self.assertEqual(steps["label"]["value"], bottleneck)
                self.assertEqual(steps["wall"]["value"], 10 * inferences)

    def test_verdict_is_the_same_wherever_it_is_shown(self):
        daemon = self.start(sets=QUICK)
        daemon.send(*[disk("m")] * ENOUGH)
        model = self.wait_rounds(daemon, "m")
        analysis = model["analysis"]
        for window in (None, "all"):
            listed = daemon.models(window)["m"]
            self.assertNotIn("explanation", listed)
            self.assertEqual([listed["analysis"][key] for key in THE_SAME], [analysis[key] for key in THE_SAME])
        metrics = daemon.metrics()
        self.assertEqual(metrics.get("acgs2_model_bottleneck", model_name="m", bottleneck="io_bound"), 1)
        self.assertEqual(metrics.get("acgs2_model_bottleneck_confidence_ratio", model_name="m"),
                         analysis["confidence"])
        for share, value in analysis["shares"].items():
            self.assertEqual(metrics.get("acgs2_model_share_ratio", model_name="m", share=share), value)
        report = " ".join(daemon.get("/report").text.split())
        self.assertIn(f"verdict io_bound: {analysis['reason']}", report)
        self.assertIn(f"; confidence {analysis['confidence']:.2f} ", report)

    def test_binary_batches_carry_evidence_too(self):
        daemon = self.start(sets=QUICK)
        sample = wire.sample(model_name="m", execution_time_ms=10.0, user_ms=0.5, system_ms=0.25, runqueue_ms=0.0,
                             disk_bytes=4e6)
        daemon.send_raw(b"DWL1" + wire.frame(wire.batch(samples=[sample] * ENOUGH)))
        self.assertEqual(self.wait_rounds(daemon, "m")["analysis"]["bottleneck_type"], "io_bound")

    def test_label_changes_when_three_rounds_agree(self):
        daemon = self.start(sets=QUICK)
        model = self.send_round(daemon, disk("m"), "m")
        self.assertEqual(model["analysis"]["bottleneck_type"], "io_bound")
        # What the rounds say by themselves changes with the smoothed shares; the label follows two rounds later.
        said = []
        faults = {**CASES["faults"][0], "model_name": "m"}
        while model["analysis"]["bottleneck_type"] == "io_bound":
            self.assertLess(len(said), 200)
            model = self.send_round(daemon, faults, "m")
            said.append(model["explanation"]["round_bottleneck"])
        self.assertEqual(len(set(said[-3:])), 1, said)
        self.assertNotEqual(said[-1], "io_bound")

    def test_what_the_daemon_sees_joins_the_evidence(self):
        """An inference that waits for an answer, in a thread that says its number."""
        daemon = self.start(sets={"profiling.round_ms": 250})

        def infer():
            begin, used = time.monotonic(), time.thread_time()
            time.sleep(0.02)
            took, used = 1e3 * (time.monotonic() - begin), 1e3 * (time.thread_time() - used)
            return {"model_name": "m", "execution_time_ms": took, "user_ms": min(used, took), "system_ms": 0,
                    "runqueue_ms": 0, "thread_id": threading.get_native_id(), "threads": 1,
                    "timestamp": datetime.datetime.now(datetime.timezone.utc).isoformat()}

        with daemon.peer() as peer:
            def seen():
                peer.records(infer())
                peer.flush()
                model = self.model(daemon, "m")
                said = model["explanation"]
                return (said and said["sources"]["looks"] >= 10 and said["sources"]["process_ms"] > 0
                        and said["evidence"]["looks"]["waits"] > 0 and model["analysis"]["bottleneck_type"] == "io_bound" and said)
            explanation = until(seen, "the thread is looked at, and the process, and both join the verdict")
        self.assertGreater(explanation["evidence"]["resident_bytes"], 1e6)
        self.assertGreater(explanation["machine"]["cpus"], 0)

    def test_few_samples_are_judged_by_thresholds(self):
        daemon = self.start(sets=QUICK)
        daemon.send(*[{**disk("few"), "cpu_percent_during": 80}] * 3)
        daemon.send(*[{**disk("m"), "cpu_percent_during": 80}] * 20)
        self.assertEqual(self.wait_rounds(daemon, "m")["analysis"]["rule"], "evidence")
        self.assertEqual(self.model(daemon, "few")["analysis"]["rule"], "compute")

    def test_thresholds_alone_never_ask_for_evidence(self):
        daemon = self.start(sets={**QUICK, "profiling.classifier": "thresholds"})
        judged = self.start(sets=QUICK)
        for one in (daemon, judged):
            one.send(*[{**disk("m"), "cpu_percent_during": 80}] * ENOUGH)
        self.wait_rounds(judged, "m")  # a daemon that does ask has had the time
        model = self.model(daemon, "m")
        self.assertIsNone(model["explanation"])
        self.assertEqual(model["analysis"]["rule"], "compute")
        self.assertEqual(set(model["analysis"]["shares"].values()), {None})

    def test_reset_forgets_the_evidence(self):
        daemon = self.start(sets=QUICK)
        daemon.send(*[disk("m")] * ENOUGH)
        self.wait_rounds(daemon, "m")
        self.assertEqual(daemon.reset("/api/v1/reset?name=m"), 1)
        self.assertEqual(daemon.get("/api/v1/models/m").status, 404)
        daemon.send(disk("m"))
        self.assertIsNone(self.model(daemon, "m")["explanation"])
        model = self.send_round(daemon, disk("m"), "m")
        self.assertEqual(model["explanation"]["rounds"], 1)


if __name__ == "__main__":
    unittest.main()
