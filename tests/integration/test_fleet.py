"""A fleet: eight daemons scraped by one Prometheus, and quantiles of all their values together."""
import math
import random
import shutil
import unittest

from harness import DaemonCase, until
from prometheus import Prometheus

DAEMONS = 8
SAMPLES = 2500  # of each
QUANTILES = (0.5, 0.9, 0.95, 0.99)
LATENCY = "acgs2_model_inference_latency_seconds"
NATIVE = f"sum({LATENCY})"
CLASSIC = f"sum by (le) ({LATENCY}_bucket)"


@unittest.skipUnless(shutil.which("prometheus"), "Prometheus is not installed (package prometheus)")
class TestFleet(DaemonCase):
    def watch(self, daemons, *features):
        prometheus = Prometheus(self.directory(), [daemon.http_address for daemon in daemons], *features)
        self.addCleanup(prometheus.stop)
        return prometheus

    def quantile(self, prometheus, q, histogram, count, wanted):
        """At a moment at which all are there: on a busy machine the scrape of one may fail."""
        expression = f"histogram_quantile({q}, {histogram}) and on() ({count} == {wanted})"
        return until(lambda: list(prometheus.query(expression).values()), expression)[0]

    def test_fleet_quantiles_of_all_values_together(self):
        seed = random.randrange(2 ** 32)
        print(f"seed {seed}", end=" ", flush=True)
        chance = random.Random(seed)
        daemons = [self.start() for _ in range(DAEMONS)]
        values = []
        for number, daemon in enumerate(daemons):
            # Each serves a model of its own speed: no single daemon knows the fleet's quantiles.
            own = [chance.lognormvariate(math.log(4 + 3 * number), 0.5) for _ in range(SAMPLES)]
            values += own
            self.assertEqual(daemon.send(*({"model_name": "m", "execution_time_ms": value} for value in own)), [])
        native = self.watch(daemons, "native-histograms")
        classic = self.watch(daemons)
        values.sort()
        print(f"\n  {'quantile':>10} {'exact':>10} {'native':>10} {'error':>8} {'classic':>10} {'error':>8}")
        for q in QUANTILES:
            exact = values[math.ceil(q * len(values)) - 1] / 1e3
            by_native = self.quantile(native, q, NATIVE, f"histogram_count({NATIVE})", len(values))
            by_classic = self.quantile(classic, q, CLASSIC, f"sum({LATENCY}_count)", len(values))
            print(f"  {q:>10} {exact:>10.5f} {by_native:>10.5f} {by_native / exact - 1:>8.2%}"
                  f" {by_classic:>10.5f} {by_classic / exact - 1:>8.2%}", flush=True)
            self.assertLess(abs(by_native / exact - 1), 0.01)
            self.assertLess(abs(by_classic / exact - 1), 4)  # the buckets around are a factor of 5 apart


if __name__ == "__main__":
    unittest.main()
