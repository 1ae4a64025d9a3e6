"""The benches under load, in short: that they measure what they say, and that nothing is lost. How long something
takes is theirs alone to judge, on a machine that does nothing else."""
import json
import subprocess
import sys
import unittest

from harness import BUILD, ROOT, DaemonCase, environment, sanitized

CROWD = BUILD / "tests/bench/bench_crowd"
SOAK = ROOT / "tests/bench/soak.py"
LONG_S = 600  # for some seconds, on a machine that does something else


class TestLoad(DaemonCase):
    def bench(self, *command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONG_S, cwd=ROOT,
                              env=environment(DWELL_BUILD=str(BUILD)))
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return json.loads(done.stdout)

    @unittest.skipIf(sanitized(), "benches are not linked with a sanitizer")
    def test_load_of_a_crowd_hides_no_record(self):
        subprocess.run(["make", "-s", "--no-print-directory", f"BUILD={BUILD}",
                        str(CROWD)], check=True, cwd=ROOT, timeout=LONG_S)
        result = self.bench(CROWD, "300", "60", "20", "40")
        self.assertEqual([result[key] for key in ("bench", "slow", "floods", "probes")], ["crowd", 60, 20, 40])
        self.assertGreaterEqual(result["connections"], 300)
        for figure in ("flood_mb_a_second", "lag_max_ms", "p99_ratio"):
            self.assertGreater(result[figure], 0, figure)

    def test_load_that_comes_and_goes_is_accounted_for(self):
        result = self.bench(sys.executable, SOAK, "--minutes", "0.1", "--rate", "20000", "--connections", "16")
        for key in ("unaccounted", "lost", "rejected", "waiting"):
            self.assertEqual(result[key], 0, key)
        self.assertGreaterEqual(result["connections_in_all"], 16)
        self.assertGreater(result["sent"], 0)
        self.assertEqual(result["reloads_done"], result["reloads"])
        self.assertGreaterEqual(result["scrapes"], 4)  # of four that wait a second before each
        self.assertLess(result["failed_scrapes"], result["scrapes"])


if __name__ == "__main__":
    unittest.main()
