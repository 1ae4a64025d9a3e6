"""The shipped Prometheus rules, as Debian's promtool sees them, and the names in them, as the daemon
shows them.

Its Prometheus, 2.42, takes no native histograms in tests of rules: expressions for them are read, and
only those for classic ones are tried.
"""
import re
import shutil
import subprocess
import unittest

from harness import ROOT, WAIT_S, DaemonCase

RULES = ROOT / "config/prometheus"
CASES = ROOT / "tests/data/prometheus"
SAMPLE = {"model_name": "m", "execution_time_ms": 5, "cpu_percent_during": 80}


def alerts():
    """{name: the text of its rule}"""
    parts = re.split(r"^ *- (?:alert|record): (\S+)\n", (RULES / "alerts.yml").read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


@unittest.skipUnless(shutil.which("promtool"), "promtool is not installed (package prometheus)")
class TestRules(unittest.TestCase):
    def promtool(self, *arguments):
        done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=WAIT_S, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_rules_are_sound(self):
        self.promtool("check", "rules", "--lint=all", "--lint-fatal", RULES / "rules.yml", RULES / "alerts.yml")

    def test_rules_record_and_fire_as_they_should(self):
        for path in sorted(CASES.glob("*.yml")):
            with self.subTest(cases=path.name):
                self.promtool("test", "rules", path)

    def test_rules_scrape_configuration_is_sound(self):
        self.promtool("check", "config", "--syntax-only", RULES / "scrape.yml")


class TestRuleTexts(DaemonCase):
    def test_rules_every_alert_has_a_case_that_fires_and_one_that_does_not(self):
        cases = re.findall(r"alertname: (\S+)\n +eval_time: \S+\n +exp_alerts:( \[\])?",
                           (CASES / "alerts.yml").read_text())
        wanted = {(name, silent) for name in alerts() for silent in ("", " []")}
        self.assertEqual(set(cases), wanted)

    def test_rules_every_alert_says_what_to_do(self):
        self.assertTrue(alerts())
        for name, text in alerts().items():
            with self.subTest(alert=name):
                self.assertRegex(text, r"severity: (critical|warning|info)\n")
                self.assertRegex(text, r'summary: ".+"\n')
                self.assertRegex(text, r"description: >-\n(?: {12}\S.*\n){2}")

    def test_rules_use_names_that_the_daemon_shows(self):
        text = "".join((RULES / name).read_text() for name in ("rules.yml", "alerts.yml"))
        text = re.sub(r"^ *#.*$", "", text, flags=re.M)
        used = set(re.findall(r"\b((?:acgs2_|dwelld_)\w+)", text))
        used = {re.sub(r"_(bucket|count)$", "", name) for name in used}
        self.assertGreater(len(used), 8)
        daemon = self.start(sets={"otlp.endpoint": "http://127.0.0.1:1", "shutdown.timeout_ms": 500})
        daemon.send(SAMPLE)
        shown = set(re.findall(r"^# TYPE (\S+) ", daemon.get("/metrics").text, re.M))
        self.assertEqual(used - shown, set())


if __name__ == "__main__":
    unittest.main()
