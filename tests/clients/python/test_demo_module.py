"""python -m dwell.demo: with a daemon, without one, and where to look for it."""
import os
import subprocess
import sys
import unittest

from client_case import PATH, WAIT_S, ClientCase, environment

from dwell import _workload
from dwell.demo import CALLS


class DemoModule(ClientCase):
    def must_exit(self, status, *arguments, begin=("-m", "dwell.demo"), **environ):
        paths = {"PYTHONPATH": PATH, "DWELL_DIR": str(self.daemon.directory)}
        done = subprocess.run([sys.executable, "-B", *begin, *arguments],
                              capture_output=True, text=True, check=False, timeout=3 * WAIT_S, env=environment(**{**paths, **environ}))
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done

    def test_it_ends_with_a_report_of_all_models(self):
        done = self.must_exit(0, begin=("-c", "import patient, sys; from dwell import demo; sys.exit(demo.main())"))
        self.assertIn("MODEL PROFILING REPORT", done.stdout)
        self.assertIn(f"{4 * CALLS} samples recorded, 0 dropped", done.stdout)
        self.assertEqual(done.stderr, "")
        models = self.daemon.models()
        self.assertEqual({name: model["sample_count"] for name, model in models.items()},
                         dict.fromkeys(_workload.MODELS, CALLS))
        self.assertIn(models["sleeping"]["analysis"]["bottleneck_type"], ("io_bound", "unknown"))  # it may be starved
        self.assertEqual(models["hashing"]["errors"], 0)

    def test_without_a_daemon_it_says_how_to_start_one(self):
        nowhere = str(self.directory())
        done = self.must_exit(69, DWELL_DIR=nowhere, PATH=nowhere)
        self.assertEqual(done.stdout, "")
        self.assertIn(nowhere, done.stderr)
        self.assertIn("in another terminal:\n\n    make run ", done.stderr)
        program = os.path.join(nowhere, "dwelld")
        os.symlink("/bin/true", program)
        self.assertIn(f"    {program}\n", self.must_exit(69, DWELL_DIR=nowhere, PATH=nowhere).stderr)

    def test_help_runs_nothing(self):
        done = self.must_exit(0, "--help")
        self.assertIn("usage: python -m dwell.demo [-h]", done.stdout)
        self.assertEqual(self.daemon.models(), {})
        self.assertIn("--nonsense", self.must_exit(2, "--nonsense").stderr)

    def test_disabled_it_says_so(self):
        self.assertIn("DWELL_DISABLED=1 is set", self.must_exit(69, DWELL_DISABLED="1").stderr)


class Workload(unittest.TestCase):
    def test_models_give_answers(self):
        for name, model in _workload.MODELS.items():
            self.assertTrue(model(), name)


if __name__ == "__main__":
    unittest.main()
