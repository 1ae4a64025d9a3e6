"""The ground truth for verdicts: its arithmetic on counts that are known, and two workloads from end to end."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

from harness import BUILD, ROOT, environment, sanitized, until

PLACE = ROOT / "tests/bench/workloads"
RUN = BUILD / "tests/bench/workloads/run"
sys.path.insert(0, str(PLACE))
import score  # noqa: E402

TAKES_S = 85
ANSWER_S = 300  # for two workloads of a second, on a machine that does something else


def children(parent):
    found = []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):  # some end meanwhile, some are no processes
            fields = pathlib.Path(f"/proc/{int(name)}/stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(name))
    return found


def window(truth, label, rule="evidence", reason=None, also=(), confidence=None, level="full", name="w"):
    return score.Window(name, truth, reason, frozenset(also), label, rule, confidence, level)


def mixed(label, rule, **more):
    return window("unknown", label, rule, reason="mixed", **more)


class TestScore(unittest.TestCase):
    def test_score_outcome_of_each_kind(self):
        cases = (
            (window("io_bound", "io_bound"), "right"),
            (window("io_bound", "compute_bound"), "wrong"),
            (window("io_bound", "unknown", "mixed"), "missed"),
            (window("io_bound", "unknown", "mixed", also=["mixed"]), "reason"),
            (window("io_bound", "memory_bound", also=["memory_bound"]), "right"),
            (window("io_bound", "compute_bound", also=["memory_bound"]), "wrong"),
            (mixed("compute_bound", "evidence"), "wrong"),
            (mixed("compute_bound", "evidence", also=["compute_bound"]), "right"),
            (mixed("unknown", "mixed"), "reason"),
            (mixed("unknown", "lock"), "unreason"),
            (mixed("unknown", "cpu", level="full"), "unreason"),
            (mixed("unknown", "cpu", level="proc"), "reason"),
            (mixed("unknown", "wait", level="proc"), "unreason"),
            (mixed("unknown", "wait", level="rusage"), "reason"),
        )
        for case, expected in cases:
            with self.subTest(case=case):
                self.assertEqual(score.outcome(case), expected)

    def test_score_figures_of_counts_that_are_known(self):
        found = score.figures([
            *[window("compute_bound", "compute_bound", confidence=0.9)] * 6,
            *[window("memory_bound", "compute_bound", confidence=0.81)] * 2,
            window("memory_bound", "compute_bound", confidence=0.8),  # not above
            window("memory_bound", "compute_bound", confidence=None),
            *[window("io_bound", "unknown", "insufficient")] * 3,
            window("io_bound", "io_bound", also=["mixed"]),  # leaves a choice: right, and no matter of coverage
            *[mixed("unknown", "mixed")] * 4,
            mixed("unknown", "starved"),
        ])
        self.assertEqual(found, score.Figures(windows=19, right=7, wrong=4, sure=2, classes=13, covered=10,
                                              unknown=5, reasons=4))
        self.assertEqual(score.figures_text("full", "idle", found).split(),
                         ["full", "idle", "19", "7", "4", "0.636", "0.769", "0.800", "0.182"])

    def test_score_figures_of_nothing(self):
        found = score.figures([])
        self.assertEqual(set(found), {0})
        self.assertEqual(score.figures_text("full", "idle", found).split()[-4:], ["-"] * 4)

    def test_score_matrix_counts_each_window_once(self):
        windows = [window("io_bound", "io_bound"), window("io_bound", "unknown", "moderate"),
                   mixed("unknown", "mixed"), mixed("compute_bound", "evidence", also=["compute_bound"])]
        self.assertEqual(score.matrix(windows), {"io_bound": {"io_bound": 1, "other": 1}, "mixed": {"mixed": 1},
                                                 "mixed ~": {"compute_bound": 1}})
        lines = score.matrix_text(score.matrix(windows)).splitlines()
        self.assertEqual([line.split() for line in lines], [
            ["truth", "compute", "io", "mixed", "other"], ["io", ".", "1", ".", "1"],
            ["mixed", ".", ".", "1", "."], ["mixed", "~", "1", ".", ".", "."]])

    def test_score_reports_the_frozen_part_apart_and_names_nothing_of_it(self):
        def row(name):
            return {"workload": name, "load": "idle", "truth": "io_bound", "levels": {
                "full": {"analysis": {"bottleneck_type": "compute_bound", "rule": "evidence", "confidence": 0.9}}}}
        names = [f"name-{number}" for number in range(300)]
        frozen = [name for name in names if score.is_frozen(name)]
        self.assertTrue(70 < len(frozen) < 130, len(frozen))
        opened = next(name for name in names if name not in frozen)
        text = score.report([row(opened), row(opened), row(frozen[0])], ["full"], ["idle"])
        self.assertIn(f"{opened:<24} is io_bound, not compute_bound 0.90  × 2", text)
        self.assertNotIn(frozen[0], text.replace(opened, ""))
        open_part, frozen_part = text.split("── frozen part")
        self.assertIn("full        idle         2       0     2      0.000     1.000", open_part)
        self.assertIn("full        idle         1       0     1      0.000     1.000", frozen_part)


@unittest.skipIf(sanitized(), "a sanitizer's work is not the workload's")
class TestWorkloads(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        done = subprocess.run(["make", "--no-print-directory", f"BUILD={os.environ.get('DWELL_BUILD', 'build')}",
                               f"{os.environ.get('DWELL_BUILD', 'build')}/tests/bench/workloads/run",
                               f"{os.environ.get('DWELL_BUILD', 'build')}/libdwell.so"],
                              cwd=ROOT, capture_output=True, text=True, timeout=ANSWER_S, check=False)
        assert done.returncode == 0, done.stderr

    def run_driver(self, *arguments, status=0):
        done = subprocess.run([sys.executable, "-B", PLACE / "workloads.py", *arguments], env=environment(DWELL_BUILD=str(BUILD)),
                              capture_output=True, text=True, timeout=ANSWER_S, stdin=subprocess.DEVNULL, check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def listed(self, command):
        done = subprocess.run([*command, "--list"], capture_output=True, text=True, timeout=ANSWER_S, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_workloads_have_a_truth_and_an_argument(self):
        rows = self.listed([RUN]) + self.listed([sys.executable, "-B", PLACE / "run.py"])
        names = [row["name"] for row in rows]
        self.assertEqual(len(names), len(set(names)))
        self.assertGreaterEqual(len(names), 60)
        for row in rows:
            with self.subTest(name=row["name"]):
                self.assertTrue(row["argument"])
                self.assertIn(row["truth"], (*score.CLASSES, "unknown"))
                self.assertEqual(row["truth"] == "unknown", row.get("reason") in ("mixed", "lock", "starved"))

    def test_workloads_two_of_them_from_end_to_end(self):
        with tempfile.TemporaryDirectory(prefix="dwell-test-") as base:
            raw = os.path.join(base, "raw.jsonl")
            arguments = ("--only", "sleep", "--only", "py-sleep", "--level", "thresholds", "--level", "full",
                         "--seconds", "0.2", "--rounds", "2", "--settle", "1", "--json", raw)
            said = self.run_driver(*arguments)
            with open(raw, encoding="utf-8") as file:
                rows = [json.loads(line) for line in file]
            self.assertEqual([(row["workload"], row["load"], row["round"]) for row in rows],
                             [(name, load, number) for name in ("sleep", "py-sleep") for load in ("idle", "hogs")
                              for number in (1, 2)])
            for row in rows:
                self.assertEqual(set(row["levels"]), {"thresholds", "full"})
                for model in row["levels"].values():
                    self.assertEqual(model["sample_count"], row["measured"]["inferences"])
                    self.assertLess(model["cpu"]["avg_percent"], 20)
                self.assertEqual(row["levels"]["thresholds"]["analysis"]["bottleneck_type"], "io_bound")
            self.assertIn("2 workloads, 8 rounds", said)

            # Cut off in the middle of a line: what is complete stays, the rest is run again.
            with open(raw, "w", encoding="utf-8") as file:
                file.write("".join(json.dumps(row) + "\n" for row in rows[:7])[:-20])
            again = self.run_driver(*arguments, "--resume")
            self.assertIn("[1/1] py-sleep hogs", again)
            self.assertNotIn(" sleep ", again)
            self.assertIn("2 workloads, 8 rounds", again)
            self.assertIn("2 workloads, 8 rounds", self.run_driver("--report", "--json", raw))

    def test_workloads_leaves_nothing_running_when_it_is_ended(self):
        with tempfile.TemporaryDirectory(prefix="dwell-test-") as base:
            process = subprocess.Popen([sys.executable, "-B", PLACE / "workloads.py", "--only", "sleep", "--level", "full", "--load",
                                        "hogs", "--seconds", "0.2", "--rounds", "900", "--json", os.path.join(base, "raw.jsonl")],
                                       env=environment(DWELL_BUILD=str(BUILD)), stdout=subprocess.PIPE, text=True,
                                       stdin=subprocess.DEVNULL)
            with process:
                first = next(line for line in process.stdout if line.startswith("["))
                self.assertIn("sleep hogs: full=", first)
                # a daemon, a runner, a hog: between two rounds there are fewer
                family = until(lambda: (lambda found: found if len(found) >= 3 else None)(children(process.pid)), "they run")
                process.terminate()
                self.assertEqual(process.wait(ANSWER_S), 128 + signal.SIGTERM)
            until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in family), "none of them is left")

    def test_workloads_says_what_it_cannot_run(self):
        done = subprocess.run([RUN, "no-such", "m", "1", "1"], capture_output=True, text=True, timeout=ANSWER_S, check=False)
        self.assertEqual((done.returncode, done.stderr), (64, "run: no workload no-such\n"))
        for seconds, rounds in (("0", "1"), ("3601", "1"), ("1", "0"), ("1", "1001")):
            done = subprocess.run([RUN, "spin", "m", seconds, rounds], capture_output=True, timeout=ANSWER_S, check=False)
            self.assertEqual(done.returncode, 64, (seconds, rounds))


if __name__ == "__main__":
    unittest.main()
