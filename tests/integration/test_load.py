"""The benches under load, in short: that they measure what they say, and that nothing is lost. How long something
takes is theirs alone to judge, on a machine that does nothing else."""
import json
import os
import subprocess
import unittest

from harness import BUILD, ROOT, DaemonCase, environment, sanitized

CROWD = BUILD / "tests/bench/bench_crowd"
LONG_S = 120  # for some seconds, on a machine that does something else


class TestLoad(DaemonCase):
    def bench(self, *command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONG_S, cwd=ROOT,
                              env=environment(DWELL_BUILD=str(BUILD)))
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return json.loads(done.stdout)

    @unittest.skipIf(sanitized(), "benches are not linked with a sanitizer")
    def test_load_of_a_crowd_hides_no_record(self):
        subprocess.run(["make", "-s", "--no-print-directory", f"BUILD={os.environ.get('DWELL_BUILD', 'build')}",
                        os.path.relpath(CROWD, ROOT)], check=True, cwd=ROOT, timeout=LONG_S)
        result = self.bench(CROWD, "300", "60", "20", "40")
        self.assertEqual([result[key] for key in ("bench", "slow", "floods", "probes")], ["crowd", 60, 20, 40])
        self.assertGreaterEqual(result["connections"], 300)
        self.assertGreater(result["flood_mb_a_second"], 1)
        self.assertLess(result["lag_max_ms"], 250)
        self.assertGreater(result["p99_ratio"], 0)


if __name__ == "__main__":
    unittest.main()
