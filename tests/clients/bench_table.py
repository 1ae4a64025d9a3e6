"""The table that ends `make bench-clients`: what it makes of the lines that benches print."""
import contextlib
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
SCRIPT = HERE.parent / "bench/clients/compare.py"
sys.path.insert(0, str(SCRIPT.parent))

import compare  # noqa: E402  (it lies beside the benches)

OVER = "over its limit"


class BenchTable(unittest.TestCase):
    maxDiff = None

    def must_show(self, line, *rows, client="python"):
        self.assertEqual(compare.rows({"bench": "b", **line}, client), list(rows))

    def test_lines_of_one_figure(self):
        for line, row in (
                ({"what": "track none", "ns": 2345, "ratio": 12.34, "limit_ns": 3000},
                 ("python", "track none", "2.35 us", "12.3", "3 us", "")),
                ({"what": "at", "ns": 3000, "limit_ns": 3000}, ("python", "at", "3 us", "", "3 us", "")),
                ({"what": "over", "ns": 3001, "limit_ns": 3000}, ("python", "over", "3 us", "", "3 us", OVER)),
                ({"what": "w", "ns": 1, "client": "go"}, ("go", "w", "1 ns", "", "", "")),
                ({"ns": 2e6}, ("python", "b", "2 ms", "", "", "")),
                ({"what": "web", "ns": 5e5, "ratio": 0.98, "ratio_to": "plain", "limit_ratio": 0.97},
                 ("python", "web", "500 us", "0.98 of plain", "0.97 times", "")),
                ({"what": "web", "ns": 5e5, "ratio": 0.96, "limit_ratio": 0.97},
                 ("python", "web", "500 us", "0.96", "0.97 times", OVER)),
                ({"what": "old", "skipped": "no psutil"}, ("python", "old", "", "", "", "skipped: no psutil")),
                ({"what": "counts", "threads": 4}, ("python", "b counts", "", "", "", ""))):
            with self.subTest(line):
                self.must_show(line, row)

    def test_lines_of_several(self):
        self.must_show({"sample_ns": 150.4, "sample_ratio": 3.0, "sample_ns_limit": 200, "span_ns": 900, "calls": 5},
                       ("go", "sample", "150 ns", "3", "200 ns", ""), ("go", "span", "900 ns", "", "", ""), client="go")
        self.must_show({"none_ns": 60, "none_ratio": 1.6, "none_ratio_limit": 1.5},
                       ("c", "none", "60 ns", "1.6", "1.5 times", OVER), client="c")
        self.must_show({"way": "cpu", "p50_us": 5.5, "p50_us_limit": 5.0, "ratio": 40.0, "p99_us": 9, "pair_us": 0.1,
                        "python": "3.11.2"},
                       ("python", "cpu p50", "5.5 us", "40", "5 us", OVER), ("python", "cpu p99", "9 us", "", "", ""))

    def test_whose_a_bench_is(self):
        for bench, client in (("python_track", "python"), ("client_go", "go"), ("node_client", "node"),
                              ("client", "c")):
            self.assertEqual(compare.whose(bench), client)

    def test_units(self):
        for ns, text in ((0.5, "0.5 ns"), (999, "999 ns"), (999.5, "1 us"), (1234, "1.23 us"), (999499, "999 us"),
                         (1e6, "1 ms"), (1.5e9, "1.5e+03 ms")):
            self.assertEqual(compare.shown(ns), text)

    def test_the_table_of_files(self):
        lines = [{"bench": "python_track", "client": "python", "what": "track none", "ns": 2345, "ratio": 12.3,
                  "limit_ns": 3000}, {"bench": "go", "what": "sample", "ns": 201, "ratio": 4, "limit_ns": 200}]
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
            file.flush()
            done = subprocess.run([sys.executable, "-B", SCRIPT, file.name], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.splitlines(), [
            "client  what            p50  ratio   limit",
            "----------------------------------------------------------",
            "python  track none  2.35 us  12.3     3 us",
            "go      sample       201 ns  4      200 ns  over its limit"])

    def test_a_bench_that_fails_says_nothing_or_is_not_there_shows(self):
        for code, good, cell in (("print('{\"bench\":\"b\",\"what\":\"w\",\"ns\":1}')", True, ""),
                                 ("print('{\"bench\":\"b\",\"what\":\"w\",\"ns\":1}'); raise SystemExit(1)", False,
                                  "exit status 1, 1 figures"),
                                 ("pass", False, "exit status 0, 0 figures")):
            with self.subTest(code):
                with contextlib.redirect_stdout(io.StringIO()):
                    found, well = compare.run("python", [sys.executable, "-c", code], HERE, sys.executable)
                self.assertEqual((well, found[-1][-1]), (good, cell))
        found, well = compare.run("go", ["no-such-go", "run"], HERE, "no-such-go")
        self.assertEqual((well, found[0][-1]), (True, "skipped: no-such-go is not there"))


if __name__ == "__main__":
    unittest.main()
