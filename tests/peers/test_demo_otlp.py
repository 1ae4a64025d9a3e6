"""make demo-otlp in a pipe, as a script would run it; what it shows is in the README; and what it will not show."""
import dataclasses
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from collector_process import PROGRAM
from harness import BUILD, ROOT, cpu_of_children, environment

DEMO = ROOT / "tests" / "demo"
DEMO_S = 60
BUSY = 3  # so many times longer it takes on a machine that does something else
FIGURE = re.compile(r"\b[0-9a-f]{32}\b|\d[\d,.]*")

sys.path.append(str(DEMO))
import demo_otlp  # noqa: E402  (it lies there)
from otlp_json import Event, ExponentialHistogram, Span  # noqa: E402


def shape(line):
    """A line without its figures and bars, and the width of its columns."""
    return re.sub(r"[\s█]+", " ", FIGURE.sub("#", line)).strip()


def run_demo(**variables):
    return subprocess.run(["/usr/bin/python3", DEMO / "demo_otlp.py"], cwd=ROOT, stdin=subprocess.DEVNULL,
                          env=environment(LC_ALL="C.UTF-8", **variables), capture_output=True, text=True,
                          timeout=2 * BUSY * DEMO_S, check=False)


class TestDemo(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        if not PROGRAM.exists():
            raise unittest.SkipTest("the OpenTelemetry Collector could not be built from its Go modules")
        cls.place = tempfile.mkdtemp(prefix="dwell-test-")
        cls.addClassCleanup(shutil.rmtree, cls.place, ignore_errors=True)
        build = os.environ.get("DWELL_BUILD", "build")  # as make knows it
        subprocess.run(["make", "--no-print-directory", f"BUILD={build}", f"{build}/tests/demo/traced"], cwd=ROOT,
                       stdout=subprocess.DEVNULL, check=True)
        begin, cpu = time.monotonic(), cpu_of_children()
        cls.done = run_demo(DWELL_BUILD=str(BUILD), TMPDIR=cls.place)
        cls.seconds, cls.cpu_seconds = time.monotonic() - begin, cpu_of_children() - cpu

    def test_demo_succeeds_within_a_minute(self):
        self.assertEqual((self.done.returncode, self.done.stderr), (0, ""), self.done.stdout)
        self.assertLess(self.cpu_seconds, DEMO_S)
        self.assertLess(self.seconds, BUSY * DEMO_S)

    def test_demo_shows_the_trace(self):
        for shown in ("└─ ask model-server", "ERROR", "· exception", "MemoryError: a batch of 64", "at forward (net.c:141)",
                      "constitutional.hash = cdd01ef066bc6cf2 on each of 8 spans and 2 resources"):
            self.assertIn(shown, self.done.stdout)

    def test_demo_shows_the_exponential_histogram(self):
        bars = re.findall(r"^ +[\d.]+ to +[\d.]+ ms +(\d+)", self.done.stdout, re.M)
        told, = re.findall(r"an exponential histogram of (\d+) inferences", self.done.stdout)
        sent, = re.findall(r"and (\d+) inferences, from Python", self.done.stdout)
        self.assertEqual((sum(map(int, bars)), told), (int(sent), sent))

    def test_demo_is_plain_in_a_pipe(self):
        self.assertNotRegex(self.done.stdout, r"[\x1b\r]")

    def test_demo_leaves_nothing(self):
        self.assertEqual(os.listdir(self.place), [])
        with open("/proc/net/unix", encoding="utf-8", errors="replace") as sockets:
            self.assertNotIn(self.place, sockets.read())

    def test_demo_is_where_what_the_readme_shows_comes_from(self):
        readme = (ROOT / "README.md").read_text()
        excerpt = re.search(r"^```text\n(Trace .*?)^```", readme, re.M | re.S).group(1)
        self.assertEqual([line for line in map(shape, excerpt.splitlines())
                          if line not in {shape(line) for line in self.done.stdout.splitlines()}], [])


class TestDemoFails(unittest.TestCase):
    """Whatever is not there ends it, and is named."""

    def setUp(self):
        resources = [{"service.name": name, demo_otlp.HASH_KEY: demo_otlp.HASH} for name in ("a", "b")]
        exception = Event("exception", {"exception.type": "T", "exception.message": "m", demo_otlp.STACK: "s"})

        def span(number, parent, resource, *events):
            return Span(f"span {number}", str(number), parent, "internal", number, number + 1, False, "",
                        {demo_otlp.HASH_KEY: demo_otlp.HASH}, list(events), resource)

        self.spans = [span(1, "", resources[0]), span(2, "1", resources[1], exception), span(3, "2", resources[1])]

    def must_fail(self, spans, fact, count=3):
        with self.assertRaisesRegex(demo_otlp.Failed, fact):
            demo_otlp.check_trace(spans, {"spans": count})

    def test_demo_finds_what_is_wrong_with_a_trace(self):
        first, second, third = self.spans
        change = dataclasses.replace
        demo_otlp.check_trace(self.spans, {"spans": 3})
        self.must_fail(self.spans, "has 4 spans", 4)
        self.must_fail([first, second, second], "has 3 spans")
        self.must_fail([first, second, change(third, parent_id="9")], "one tree")
        self.must_fail([first, second, change(third, parent_id="")], "one tree")
        self.must_fail([first, second, change(third, attributes={})], "bears the hash")
        self.must_fail([change(first, resource={"service.name": "a"}), second, third], "bears the hash")
        self.must_fail([change(span, resource=first.resource) for span in self.spans], "two services")
        self.must_fail([first, change(second, events=[]), third], "one exception")
        self.must_fail([first, change(second, events=[Event("exception", {"exception.type": "T"})]), third], "one exception")

    def test_demo_finds_what_is_wrong_with_a_histogram(self):
        good = ExponentialHistogram({"constitutional_hash": demo_otlp.HASH}, 3, 0.5, 3, -7, [1, 0, 2])
        demo_otlp.check_histogram(good, {"inferences": 3})
        for change, fact in (({"count": 4}, "3 inferences"), ({"counts": [1, 0, 1]}, "in a bucket"),
                             ({"attributes": {}}, "bears the hash")):
            with self.assertRaisesRegex(demo_otlp.Failed, fact):
                demo_otlp.check_histogram(dataclasses.replace(good, **change), {"inferences": 3})

    def test_demo_lowers_the_scale_of_a_histogram(self):
        fine = ExponentialHistogram({}, 6, 0.5, 1, -3, [1, 0, 2, 3])  # (2^-1.5, 2^-1] … (2^0, 2^0.5]
        self.assertEqual(fine.lower(0).buckets(), [(0.25, 0.5, 1), (0.5, 1.0, 2), (1.0, 2.0, 3)])
        self.assertEqual(fine.lower(-1).buckets(), [(0.25, 1.0, 3), (1.0, 4.0, 3)])
        self.assertEqual(fine.lower(1), fine)

    def test_demo_does_not_wait_for_ever(self):
        before, demo_otlp.ARRIVAL_SECONDS = demo_otlp.ARRIVAL_SECONDS, 0.05
        try:
            with self.assertRaisesRegex(demo_otlp.Failed, "the Collector has 2 of 3 spans"):
                demo_otlp.wait(demo_otlp.Screen(io.StringIO()), "3 spans", lambda: (None, 2))
        finally:
            demo_otlp.ARRIVAL_SECONDS = before

    def test_demo_says_what_is_missing(self):
        with tempfile.TemporaryDirectory() as place:
            done = run_demo(DWELL_BUILD=place)
        self.assertEqual(done.returncode, 1)
        self.assertIn("peers-go/collector: building it needs Go", done.stdout)


if __name__ == "__main__":
    unittest.main()
