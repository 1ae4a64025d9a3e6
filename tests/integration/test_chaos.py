"""Each fault once, quickly; that the account finds what it is there to find; and that the README says what the faults do."""
import os
import re
import signal
import subprocess
import sys
import unittest

from harness import BUILD, ROOT
from test_readme import section, table

PLACE = ROOT / "tests/chaos"
sys.path.insert(0, str(PLACE))
import chaos  # noqa: E402
import truth  # noqa: E402
from faults import FAULTS, Fault  # noqa: E402

SEED = 7
LEDGER = {"sent": 0, "accepted": 0, "rejected": {}, "dropped": 0, "lost": 0}
ANSWER_S = 600  # for two faults, on a machine that does something else


def batch(life=2, confirmed=True, number=0, client=1):
    return truth.Batch(client, number, life, 10, 5, confirmed)


class TestTruth(unittest.TestCase):
    def must_find(self, batches, series, models, given_up=0, refused=0, told=0, **wanted):
        """What the last daemon, whose pid is 2, shows and says."""
        ledger = {"accepted": 0, "rejected": {"bad_frame": refused}, "dropped": given_up, "lost": told}
        ledger["sent"] = sum(value for key, value in ledger.items() if key != "rejected") + refused
        found = truth.figures(batches, given_up, truth.Shown(2, series, models, ledger))
        terms = dict(zip(found._fields, found))
        terms.pop("told")
        self.assertEqual({term: value for term, value in terms.items() if value}, wanted)

    def test_truth_of_what_counts(self):
        self.must_find([], {}, {})
        self.must_find([batch()], {(1, 0): 10}, {1: 5}, sent=15, counted=15)
        self.must_find([batch()], {(1, 0): 10}, {1: 5}, given_up=15, sent=30, counted=15, dropped=15)
        self.must_find([batch(), batch(number=1)], {(1, 0): 10, (1, 1): 10}, {1: 10}, sent=30, counted=30)

    def test_truth_of_what_the_last_daemon_has_not(self):
        self.must_find([batch(confirmed=False)], {}, {}, told=15, sent=15, lost=15)
        self.must_find([batch()], {(1, 0): 7}, {1: 5}, refused=3, sent=15, counted=12, rejected=3)
        self.must_find([batch()], {(1, 0): 7}, {1: 5}, told=3, sent=15, counted=12, lost=3)
        self.must_find([batch(), batch(number=1)], {(1, 0): 10}, {1: 5}, told=15, sent=30, counted=15, lost=15)

    def test_truth_of_earlier_daemons(self):
        self.must_find([batch(life=1)], {}, {}, sent=15, forgotten=15)
        self.must_find([batch(life=1, confirmed=False)], {}, {}, sent=15, lost=15)
        # What was kept by them, or came again.
        self.must_find([batch(life=1)], {(1, 0): 10}, {1: 5}, sent=15, counted=15)
        self.must_find([batch(life=1, confirmed=False)], {(1, 0): 10}, {1: 5}, sent=15, counted=15)

    def test_truth_of_what_counts_twice(self):
        self.must_find([batch()], {(1, 0): 20}, {1: 10}, sent=15, counted=15, twice=15)
        self.must_find([batch(life=1)], {(1, 0): 11}, {1: 5}, sent=15, counted=15, twice=1)
        # One that is missing does not hide one that is there twice.
        self.must_find([batch(), batch(number=1)], {(1, 0): 20}, {1: 10}, told=10, sent=30, counted=20, lost=10, twice=10)

    def test_truth_is_not_what_a_ledger_says(self):
        for series, models, ledger in (
                ({(1, 0): 9}, {1: 5}, {}),  # one is missing, and nobody says so
                ({(1, 0): 10}, {1: 5}, {"lost": 1, "sent": 1}),  # one is said to be lost that is not
                ({(1, 0): 10}, {1: 5}, {"dropped": 1, "sent": 1}),
                ({(1, 0): 10}, {1: 5}, {"sent": 1}),  # does not close
                ({(1, 0): 10, (1, 1): 10}, {1: 5}, {})):  # nobody sent it
            with self.subTest(series=series, ledger=ledger), self.assertRaises(AssertionError):
                truth.figures([batch()], 0, truth.Shown(2, series, models, {**LEDGER, **ledger}))


class TestChaos(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        build = os.environ.get("DWELL_BUILD", "build")
        if (BUILD / "dwell_otlp_insecure.so").exists():
            done = subprocess.run(["make", "--no-print-directory", f"BUILD={build}", f"{build}/tests/bench/otlp_sink"], cwd=ROOT,
                                  capture_output=True, text=True, timeout=ANSWER_S, check=False)
            assert done.returncode == 0, done.stderr

    def test_chaos_each_fault_is_as_stated(self):
        for fault in FAULTS:
            with self.subTest(fault.name):
                outcome = chaos.run(fault, 1, SEED)
                if outcome.skipped:
                    self.skipTest(outcome.skipped)
                self.assertEqual(outcome.failures, [])
                print(chaos.line(outcome), flush=True)

    def must_fail(self, apply, words, may=()):
        fault = Fault("planted", apply, "", frozenset(may), lambda world: {}, lambda: None)
        failure, = chaos.run(fault, 1, SEED).failures
        self.assertRegex(failure, words)

    def test_chaos_finds_what_counts_twice(self):
        self.must_fail(lambda world: world.victim().repeat(), "twice 20")

    def test_chaos_finds_what_is_lost(self):
        self.must_fail(lambda world: world.victim().forget(), "lost 20")

    def test_chaos_finds_a_daemon_that_has_ended_badly(self):
        def break_it(world):
            world.daemon.send_signal(signal.SIGABRT)
            world.daemon.wait()
        self.must_fail(break_it, "the daemon has ended with -6")

    def run_driver(self, *arguments, status=0):
        done = subprocess.run([sys.executable, "-B", PLACE / "chaos.py", *arguments], capture_output=True, text=True,
                              timeout=ANSWER_S, stdin=subprocess.DEVNULL, check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_chaos_prints_a_table(self):
        said = self.run_driver("--times", "2", "--seed", "3", "--only", "kill -9, restart;1,000 connects")
        self.assertRegex(said, r"^SEED=3, ")
        head = chaos.HEAD.split()[:9]
        self.assertIn(head, [line.split()[:9] for line in said.splitlines()])
        rows = dict(re.findall(r"^  (.{25}) +(\d+ .*)$", said, re.M))
        self.assertEqual([name.strip() for name in rows], ["kill -9, restart", "1,000 connects"])
        for cells in rows.values():
            self.assertRegex(cells, r"^2 +[1-9]\d* .* \d+, worst \d+$")
        self.assertIn("2 faults, 0 skipped, 0 times something was not as stated", said)

    def test_chaos_says_what_it_does_not_know(self):
        self.assertIn("no fault nonsense", self.run_driver("--only", "nonsense", status=1))

    def test_chaos_is_stated_in_the_readme(self):
        self.assertEqual([row[:2] for row in table(section("Faults"))], [[fault.name, fault.stated] for fault in FAULTS])


if __name__ == "__main__":
    unittest.main()
