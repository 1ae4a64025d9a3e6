"""The Node client: its own tests against the daemon, file by file, and its types under TypeScript."""
import json
import os
import pathlib
import shutil
import subprocess
import unittest

from harness import BUILD, ROOT, DaemonCase, environment
from peer import need_program

PACKAGE = ROOT / "client" / "node"
MODULES = pathlib.Path(os.environ.get("DWELL_BUILD", "build")).resolve() / "peers-node" / "node_modules"
RUN_S = 900  # some tests start processes, on a machine that does something else
NODE_MIN = 18


class TestClientNode(DaemonCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.node = need_program("node", "nodejs")
        version = subprocess.run([cls.node, "--version"], capture_output=True, text=True, check=True).stdout
        if int(version.lstrip("v").split(".")[0]) < NODE_MIN:
            raise unittest.SkipTest(f"node is {version.strip()}, the client is for {NODE_MIN} and later")

    def must_run(self, *command, cwd):
        ran = subprocess.run(command, cwd=cwd, env=environment(DWELL_BUILD=str(BUILD)),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             text=True, timeout=RUN_S)
        self.assertEqual(ran.returncode, 0, ran.stdout)
        return ran.stdout

    def test_its_own_tests_pass(self):
        files = sorted(path.name for path in (PACKAGE / "test").glob("*.test.js"))
        self.assertIn("daemon.test.js", files)
        for name in files:
            with self.subTest(name):
                said = self.must_run(self.node, "--test", f"test/{name}", cwd=PACKAGE)
                self.assertNotIn("DWELL_BUILD names no directory", said)  # none may do without the daemon

    def test_the_package_is_whole(self):
        npm = need_program("npm", "npm")
        packed, = json.loads(self.must_run(npm, "pack", "--dry-run", "--json", "--silent", cwd=PACKAGE))
        files = {file["path"] for file in packed["files"]}
        wanted = {"package.json", "README.md", "index.js", "index.mjs", "index.d.ts", "index.d.mts"}
        wanted |= {f"lib/{path.name}" for path in (PACKAGE / "lib").glob("*.js")}
        self.assertEqual(files, wanted)

    def test_types_are_strict(self):
        compiler = MODULES / ".bin" / "tsc"
        if not compiler.exists() or not (MODULES / "@types" / "node").is_dir():
            self.skipTest("typescript and @types/node could not be installed from npm")
        place = self.directory()
        (place / "node_modules").mkdir()
        (place / "node_modules" / "dwell").symlink_to(PACKAGE)
        (place / "node_modules" / "@types").symlink_to(MODULES / "@types")
        shutil.copy(PACKAGE / "test" / "types.ts", place / "types.mts")
        self.must_run(str(compiler), "--strict", "--noEmit", "--module", "nodenext", "--target", "es2022",
                      "--lib", "es2023", "--types", "node", "types.mts", cwd=place)


if __name__ == "__main__":
    unittest.main()
