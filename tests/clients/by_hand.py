"""The programs of README.md, "From any language": each as it stands there, run as its first line says, against a real
daemon. A language that is not installed is a visible skip."""
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

from harness import ROOT, WAIT_S, DaemonCase, environment  # noqa: E402

RUN_S = 6 * WAIT_S  # a compiler that starts beside something else

# The first line: "# hand.rb: ruby hand.rb"
FENCE = re.compile(r"^```\w+\n(?:#|//) (\w+\.\w+): ([^\n]+)\n(.*?)^```$", re.M | re.S)
SECTION = re.compile(r"^### From any language\n(.*?)(?=^#{2,3} )", re.M | re.S)
PACKAGES = {"nc": "netcat-openbsd", "ruby": "ruby", "rustc": "rustc", "java": "default-jdk-headless", "sh": "dash"}


def programs():
    """{file: (command, text)}"""
    section = SECTION.search((ROOT / "README.md").read_text()).group(1)
    return {name: (command, text) for name, command, text in FENCE.findall(section)}


class ByHand(DaemonCase):
    def must_send(self, name, model, *needed):
        for program in needed:
            if shutil.which(program) is None:
                self.skipTest(f"{program} is not installed (package {PACKAGES[program]})")
        command, text = programs()[name]
        place = self.directory()
        (place / name).write_text(text)
        (place / "README.md").write_text("to be read\n")
        daemon = self.start()
        done = subprocess.run(["sh", "-c", command], cwd=place, capture_output=True, text=True, timeout=RUN_S,
                              check=False, env=environment(DWELL_DIR=str(daemon.directory)))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout.splitlines()[-1:], ["refused: nothing"])
        found = daemon.models()[model]
        self.assertEqual((found["sample_count"], found["errors"]), (1, 0))
        self.assertGreater(found["latency"]["max_ms"], 0)

    def test_every_program_of_the_readme_is_run(self):
        self.assertEqual(sorted(programs()), ["Hand.java", "hand.rb", "hand.rs", "hand.sh"])

    def test_shell(self):
        self.must_send("hand.sh", "shell", "nc")

    def test_ruby(self):
        self.must_send("hand.rb", "ruby", "ruby")

    def test_rust(self):
        self.must_send("hand.rs", "rust", "rustc")

    def test_java(self):
        self.must_send("Hand.java", "java", "java")


if __name__ == "__main__":
    unittest.main()
