"""The Debian packages, installed into a root that has nothing else."""
import shutil
import subprocess
import sys
import unittest

import clean_root
from clean_root import ROOT, CleanRoot, end

BUILT = ROOT / "build" / "deb"
WHY_NOT = clean_root.why_not()

sys.path.insert(0, str(ROOT / "tests" / "integration"))
from harness import Peer, until  # noqa: E402


def packages():
    found = {path.name.split("_")[0]: path for path in BUILT.glob("*.deb")}
    assert set(found) == {"dwell", "libdwell0", "libdwell-dev"}, f"make deb made {sorted(found)}"
    return found


def field(path, name):
    return subprocess.run(["dpkg-deb", "--field", path, name], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class TestPackagesAsTheyAre(unittest.TestCase):
    def test_packages_take_little(self):
        """The daemon and the tool need what they link; gRPC only who exports."""
        dwell = packages()["dwell"]
        self.assertNotIn("grpc", field(dwell, "Depends"))
        self.assertIn("libgrpc", field(dwell, "Recommends"))
        for library in ("libc6", "libuv1", "libmicrohttpd12", "libjansson4", "libdeflate0", "libcurl4", "libncursesw6"):
            self.assertIn(library, field(dwell, "Depends"))
        self.assertNotIn("libsystemd", field(dwell, "Depends"))

    @unittest.skipUnless(shutil.which("lintian"), "there is no lintian here")
    def test_packages_please_lintian(self):
        done = subprocess.run(["lintian", "--fail-on=error,warning", "--suppress-tags=initial-upload-closes-no-bugs",
                               *packages().values()], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, ""))


@unittest.skipIf(WHY_NOT, WHY_NOT)
class TestPackagesInstalled(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.root = CleanRoot()
        self.addCleanup(self.root.close)
        self.root.run("apt-get", "update")

    def install(self, *names):
        for name in names:
            shutil.copy(packages()[name], self.root.path / "tmp")
        self.root.run("apt-get", "install", "-y", "--no-install-recommends", *(f"/tmp/{packages()[name].name}" for name in names))

    def test_packages_daemon_runs_as_its_user(self):
        self.install("dwell")
        self.root.run("sh", "-c", "install -d -o dwell -g dwell -m 0750 /run/dwell")
        daemon = self.root.start("dwelld", "--config", "/etc/dwell/dwelld.json", "--set", "http.listen=127.0.0.1:0", user="dwell:dwell",
                                 RUNTIME_DIRECTORY="/run/dwell")
        until(lambda: (self.root.path / "run/dwell/admin.sock").exists(), "it listens")
        with Peer(self.root.path / "run/dwell/ingest.sock") as peer:
            self.assertEqual(peer.records({"model_name": "m", "execution_time_ms": 1}).end().lines(), [])
        self.assertIn("── m ──", self.root.run("dwell", "report", DWELL_DIR="/run/dwell"))
        self.assertIn("stopped", end(daemon))

    def test_packages_remove_what_they_brought(self):
        before = self.root.files()
        self.install("dwell", "libdwell0", "libdwell-dev")
        self.root.run("apt-get", "purge", "-y", "--autoremove", "dwell", "libdwell0", "libdwell-dev")
        left = {name for name in self.root.files() - before if not name.startswith("/tmp/")}
        self.assertEqual(left, set())


if __name__ == "__main__":
    unittest.main()
