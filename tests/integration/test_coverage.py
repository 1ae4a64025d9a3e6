"""The arithmetic of `make coverage` on counts that are known; the real ones take a build of their own."""
import sys
import unittest

from harness import ROOT

sys.path.insert(0, str(ROOT / "tests/unit"))
import coverage  # noqa: E402


def lines(run, of):
    return {number: int(number < run) for number in range(of)}


class TestCoverage(unittest.TestCase):
    def test_coverage_fails_below_its_least(self):
        for run, short in ((94, ["daemon/wire: 94.0 % of its lines are run, 95 % must be"]), (95, []), (100, [])):
            with self.subTest(run=run):
                self.assertEqual(coverage.report({"daemon/wire/a.c": lines(run, 100), "daemon/io/b.c": lines(0, 10)})[1], short)

    def test_coverage_adds_up_by_directory_and_leaves_headers_out(self):
        found = {"daemon/wire/a.c": lines(20, 20), "daemon/wire/b.c": lines(0, 1), "daemon/wire/b.h": lines(0, 500),
                 "daemon/io/export/c.c": lines(1, 2), "daemon/main.c": lines(3, 4)}
        table, _ = coverage.report(found)
        self.assertEqual([line.split() for line in table.splitlines()], [
            ["directory", "lines", "run", "percent"], ["daemon", "4", "3", "75.0"], ["daemon/io/export", "2", "1", "50.0"],
            ["daemon/wire", "21", "20", "95.2"], ["all", "27", "24", "88.9"]])

    def test_coverage_lists_what_is_not_run(self):
        self.assertEqual(coverage.not_run(lines(2, 5)), "2, 3, 4")


if __name__ == "__main__":
    unittest.main()
