"""The demo, in a pipe as a script would run it, and the report that it and the README show."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from harness import BUILD, ROOT, cpu_of_children, environment

RUNS_ALONE = True  # models whose verdicts go by what the machine does
PYTHON = "/usr/bin/python3"  # Debian's, which has scikit-learn
DEMO_S = 60
LONG_S = 600  # for that, on a machine that does something else
TRIES = 5
STARVED = re.compile("it had no CPU for|Is the machine very busy")  # so it says: another try then
FIGURE = re.compile(r"\d[\d,]*(?:\.\d+)?(?: (?:ns|µs|ms|s)\b)?")


def shape(line):
    """A line of the report without its figures, units of time and the width of its rules."""
    return re.sub(r"\s+", " ", re.sub("─+", "─", FIGURE.sub("#", line))).strip()


def has_sklearn():
    return subprocess.run([PYTHON, "-c", "import sklearn"], capture_output=True,
                          check=False).returncode == 0


def run_demo(**variables):
    return subprocess.run([PYTHON, "tests/demo/demo.py"], cwd=ROOT, stdin=subprocess.DEVNULL,
                          env=environment(LC_ALL="C.UTF-8", **variables), capture_output=True,
                          text=True, timeout=LONG_S, check=False)


@unittest.skipUnless(has_sklearn(), "needs python3-sklearn")
class TestDemo(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.mkdtemp(prefix="dwell-test-")
        cls.addClassCleanup(shutil.rmtree, cls.place, ignore_errors=True)
        build = os.environ.get("DWELL_BUILD", "build")  # as make knows it
        subprocess.run(["make", "--no-print-directory", f"BUILD={build}",
                        f"{build}/tests/demo/matrix"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        for _ in range(TRIES):
            begin = cpu_of_children()
            cls.done = run_demo(DWELL_BUILD=str(BUILD), TMPDIR=cls.place)
            cls.seconds = cpu_of_children() - begin
            if not STARVED.search(cls.done.stdout):
                break

    def test_demo_succeeds_within_a_minute(self):
        self.assertEqual(self.done.returncode, 0, self.done.stdout + self.done.stderr)
        self.assertEqual(self.done.stderr, "")
        self.assertLess(self.seconds, DEMO_S)

    def test_demo_gives_the_right_verdicts(self):
        verdicts = dict(re.findall(r"^── (\S+) ─+ (\w+) ──$", self.done.stdout, re.M))
        self.assertEqual(set(verdicts), {"digits-forest", "digits-logistic", "matrix-product",
                                         "remote-model"})
        self.assertEqual(verdicts["matrix-product"], "compute_bound")
        self.assertEqual(verdicts["remote-model"], "io_bound")

    def test_demo_is_plain_in_a_pipe(self):
        self.assertNotRegex(self.done.stdout, r"[\x1b\r]")

    def test_demo_leaves_nothing(self):
        self.assertEqual(os.listdir(self.place), [])
        with open("/proc/net/unix", encoding="utf-8", errors="replace") as sockets:
            self.assertNotIn(self.place, sockets.read())

    def test_demo_is_where_the_report_in_the_readme_comes_from(self):
        readme = (ROOT / "README.md").read_text()
        excerpt = re.search(r"^```text\n(── .*?)^```", readme, re.M | re.S).group(1)
        if STARVED.search(self.done.stdout):  # still: then nothing is said of a GPU
            excerpt = re.sub(r"^  GPU .*?^  advice .*?\n", "", excerpt, count=1, flags=re.M | re.S)
        # by which evidence a verdict was reached hangs on what the machine does, too
        shapes, wanted = ({re.sub("^(verdict .*?):.*", r"\1", shape(line)) for line in text.splitlines()}
                          for text in (self.done.stdout, excerpt))
        self.assertLessEqual(wanted - {""}, shapes)

    def test_demo_is_where_the_picture_in_the_readme_comes_from(self):
        readme = (ROOT / "README.md").read_text()
        picture = re.search(r"^On the models of `make demo`:\n\n```text\n(.*?)^```", readme, re.M | re.S).group(1)
        shown = self.done.stdout.partition("dwell top --once\n\n")[2].partition("\n\n")[0].splitlines()
        self.assertEqual([shape(line) for line in picture.splitlines()[:3]], [shape(line) for line in shown[:3]])
        for model in ("matrix-product", "remote-model"):
            # but for the last word: what a GPU would cost hangs on the rate
            found = [[shape(line).rsplit(" ", 1)[0] for line in lines if line.startswith(model)]
                     for lines in (picture.splitlines(), shown)]
            self.assertEqual(found[0], found[1])
        rates = [float(re.split(r"  +", line)[1].removesuffix("/s").replace(",", "")) for line in shown[3:]]
        self.assertEqual(rates, sorted(rates, reverse=True))


class TestDemoFails(unittest.TestCase):
    def test_demo_says_what_is_missing(self):
        done = run_demo(DWELL_BUILD="/nonexistent")
        self.assertEqual(done.returncode, 1)
        self.assertIn("there is no /nonexistent/dwelld", done.stdout)


if __name__ == "__main__":
    unittest.main()
