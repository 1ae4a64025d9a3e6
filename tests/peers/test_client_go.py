"""The Go client: its form, its tests under the race detector and against the daemon, what it allocates, and
its fuzz targets for a moment each."""
import subprocess
import unittest

from harness import BUILD, ROOT, environment
from peer import need_program

CLIENT = ROOT / "client/go"
BENCH = ROOT / "tests/bench/clients/go"
FUZZ_TIME = "10000x"  # executions: where it is a time, its end may be an error on a slow machine
WAIT_S = 900  # the race detector's first build takes minutes on a small machine


class TestClientGo(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.go = need_program("go", "golang-go")

    def must_run(self, *command, where=CLIENT, **more):
        """Runs to a good end, and gives what it printed."""
        done = subprocess.run(command, cwd=where, env=environment(DWELL_BUILD=str(BUILD), **more),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=WAIT_S)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_form(self):
        gofmt = need_program("gofmt", "golang-go")
        self.assertEqual(self.must_run(gofmt, "-l", str(CLIENT), str(BENCH)), "")
        for where in (CLIENT, BENCH):
            self.must_run(self.go, "vet", "./...", where=where)

    def test_no_dependencies(self):
        modules = self.must_run(self.go, "list", "-m", "all").split()
        self.assertEqual(modules, ["github.com/dwell/dwell/client/go"])

    def test_under_the_race_detector(self):
        if self.must_run(self.go, "env", "CGO_ENABLED").strip() != "1":
            self.skipTest("the race detector needs cgo")
        self.must_run(self.go, "test", "-count=1", "-race", "./...")

    def test_as_it_is_used(self):
        """Without the race detector, what recording allocates is tested, too."""
        said = self.must_run(self.go, "test", "-count=1", "-v", "-run", "Allocation|Daemon|Golden", ".")
        self.assertNotIn("--- SKIP", said)
        self.assertIn("--- PASS: TestNoAllocation", said)
        self.assertIn("--- PASS: TestDaemonShowsAllKinds", said)

    def test_fuzz_targets(self):
        for target in ("FuzzRecords", "FuzzExtract", "FuzzReplies"):
            self.must_run(self.go, "test", "-run", "-", "-fuzz", f"^{target}$", "-fuzztime", FUZZ_TIME, ".")


if __name__ == "__main__":
    unittest.main()
