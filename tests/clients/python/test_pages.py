"""The pages of the package: every name that they tell of is there, and their programs run."""
import re
import unittest

from client_case import PACKAGE, ClientCase

import dwell

README = (PACKAGE / "README.md").read_text()
MIGRATION = (PACKAGE / "MIGRATION.md").read_text()


class Pages(ClientCase):
    def must_have(self, names):
        for name in names:
            owner, _, member = name.partition(".")
            self.assertTrue(hasattr(dwell, owner), name)
            self.assertTrue(not member or hasattr(getattr(dwell, owner), member), name)
            self.assertIn(owner, dwell.__all__)

    def test_every_name_of_the_reference_is_there(self):
        table = README.split("## Names by task")[1].split("\n## ")[0]
        cells = [line.split("|")[2] for line in table.splitlines() if line.startswith("| ")][1:]
        names = [name for cell in cells for name in re.findall(r"`([A-Za-z_][\w.]*)`", cell)]
        self.assertGreater(len(names), 60)
        self.must_have(name for name in names if name not in ("get_all_metrics", "generate_report", "reset"))

    def test_every_name_of_the_new_import_lines_is_there(self):
        lines = re.findall(r"^\+from dwell import (.*)$", MIGRATION, re.M)
        self.assertEqual(len(lines), 5)
        self.must_have(name for line in lines for name in line.split(", "))

    def test_its_programs_run(self):
        programs = re.findall(r"```python\n(.*?)```", README, re.S)
        self.assertEqual(len(programs), 4)
        for program in programs[1:]:  # for a web service, a handler and an SDK, which other tests have
            compile(program, "README.md", "exec")
        out = self.must_run(programs[0])
        self.assertIn("MODEL PROFILING REPORT", out)
        self.assertIn('http_requests_total{method="GET",endpoint="/cart",service="shop",status="200"} 1', out)
        self.assertIn('cache_hits_total{cache_name="carts",operation="get"} 1', out)


if __name__ == "__main__":
    unittest.main()
