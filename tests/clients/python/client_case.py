"""What the tests of the Python client share: the package and the harness on the path, a daemon, a client of its own."""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
PACKAGE = pathlib.Path(os.environ.get("DWELL_PYTHON_PACKAGE", ROOT / "client/python"))  # built, or as it is
HERE = pathlib.Path(__file__).resolve().parent
PATH = f"{PACKAGE}{os.pathsep}{HERE}"  # that programs find the package by, and `patient`
sys.path.insert(0, str(PACKAGE))
sys.path.append(str(ROOT / "tests/integration"))  # last: it has tests of the same names

import patient  # noqa: E402,F401
from harness import WAIT_S, Daemon, DaemonCase, environment, until  # noqa: E402,F401

from dwell._client import Client  # noqa: E402


class ClientCase(DaemonCase):
    """A test with a daemon, and with clients that are closed at its end."""

    sets = {}

    def setUp(self):
        self.daemon = self.start(sets=self.sets)

    def client(self, **options):
        options.setdefault("directory", str(self.daemon.directory))
        client = Client(**options)
        self.addCleanup(client.close)
        return client

    def ledger(self):
        """What the daemon has of Python clients: sent, accepted, rejected, dropped, lost."""
        metrics = self.daemon.metrics()
        return {term: int(metrics.get(f"dwelld_client_{term}_total", 0, client="dwell-python/0.1.0"))
                for term in ("sent", "accepted", "rejected", "dropped", "lost")}

    def must_run(self, code, status=0, hurried=False, **environ):
        """Runs a program of its own beside the daemon; returns what it printed. It is patient unless it is hurried."""
        paths = {"PYTHONPATH": PATH, "DWELL_DIR": str(self.daemon.directory)}
        done = subprocess.run([sys.executable, "-B", "-c", code if hurried else f"import patient\n{code}"],
                              capture_output=True, text=True, timeout=3 * WAIT_S, check=False,
                              env=environment(**{**paths, **environ}))
        self.assertEqual((done.returncode, done.stderr), (status, ""))
        return done.stdout
