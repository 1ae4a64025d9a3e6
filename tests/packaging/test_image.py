"""The Dockerfile, carried out by hand, and the manifest for Kubernetes."""
import json
import pathlib
import shutil
import subprocess
import sys
import time
import unittest

import clean_root
import image
from clean_root import ROOT, end

PACKAGING = ROOT / "config" / "packaging"
WHY_NOT = clean_root.why_not()

sys.path.insert(0, str(ROOT / "tests" / "integration"))
from harness import Peer, until  # noqa: E402


@unittest.skipIf(WHY_NOT, WHY_NOT)
class TestImage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.image = image.Image((PACKAGING / "Dockerfile").read_text())
        cls.addClassCleanup(cls.image.close)

    def test_image_runs_and_is_healthy(self):
        sockets = self.image.root.path / "run/dwell/sockets"
        daemon = self.image.start("--set", "http.listen=127.0.0.1:0")
        until(lambda: (sockets / "admin.sock").exists(), "it listens")
        with Peer(sockets / "ingest.sock") as peer:
            self.assertEqual(peer.records({"model_name": "m", "execution_time_ms": 1}).end().lines(), [])
        self.image.run(*self.image.healthcheck)
        self.assertIn("stopped", end(daemon))
        self.assertNotEqual(self.image.run(*self.image.healthcheck, check=False), "")

    def test_image_can_export(self):
        self.assertIn("libgrpc", self.image.run("sh", "-c", "ldd /usr/lib/*/dwell/dwell_otlp.so"))
        self.assertNotIn("not found", self.image.run("sh", "-c", "ldd /usr/lib/*/dwell/*.so"))

    def test_image_is_not_of_root(self):
        self.assertEqual(self.image.run("id", "-u").strip(), "9847")
        self.assertEqual(self.image.said["port"], 9847)


if __name__ == "__main__":
    unittest.main()
