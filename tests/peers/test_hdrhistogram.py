"""Quantiles beside those of an HDR histogram and of an exact sort, over distributions of several shapes."""
import random
import unittest

import wire
from harness import DaemonCase
from peer import need

COUNT = 20000
QUANTILES = {"p50_ms": 0.5, "p90_ms": 0.9, "p95_ms": 0.95, "p99_ms": 0.99, "p999_ms": 0.999}
ERROR = 0.0028
HDR_DIGITS = 4
HDR_ERROR = 10.0 ** -HDR_DIGITS
NS_PER_MS = 10 ** 6


class TestHdrHistogram(DaemonCase):
    def setUp(self):
        self.hdr = need("hdrh.histogram").HdrHistogram
        self.numpy = need("numpy")
        self.seed = random.randrange(2 ** 32)
        self.random = random.Random(self.seed)
        print(f"seed {self.seed} ", end="", flush=True)

    def distributions(self):
        """Milliseconds, in whole nanoseconds as the HDR histogram has them."""
        one = self.random
        shapes = {
            "lognormal": lambda: one.lognormvariate(1.4, 0.5),
            "wide-lognormal": lambda: one.lognormvariate(1.0, 3.0),
            "pareto": lambda: 1.1 * one.paretovariate(1.2),
            "bimodal": lambda: one.gauss(2, 0.1) if one.random() < 0.8 else one.gauss(30, 2),
            "exponential": lambda: one.expovariate(0.2),
            "uniform": lambda: one.uniform(0.5, 1.5),
            "constant": lambda: 7.0,
        }
        for name, draw in shapes.items():
            yield name, [max(1, round(draw() * NS_PER_MS)) / NS_PER_MS for _ in range(COUNT)]

    def test_hdrhistogram_quantiles_agree(self):
        daemon = self.start()
        drawn = dict(self.distributions())
        for name, times in drawn.items():
            samples = [wire.sample(model_name=name, execution_time_ms=time) for time in times]
            self.assertEqual(daemon.send_raw(wire.MAGIC + b"".join(
                wire.frame(wire.batch(samples[at:at + 1000])) for at in range(0, COUNT, 1000))), b"")
        models = daemon.models()
        for name, times in drawn.items():
            peer = self.hdr(1, 10 ** 15, HDR_DIGITS)
            for time in times:
                self.assertTrue(peer.record_value(round(time * NS_PER_MS)))
            exact = self.numpy.quantile(times, list(QUANTILES.values()), method="inverted_cdf")
            for (key, q), rank in zip(QUANTILES.items(), exact):
                with self.subTest(shape=name, quantile=key, seed=self.seed):
                    got = models[name]["latency"][key]
                    theirs = peer.get_value_at_percentile(100 * q) / NS_PER_MS
                    self.assertLessEqual(abs(got - rank), ERROR * rank)
                    self.assertLessEqual(abs(got - theirs), (ERROR + 2 * HDR_ERROR) * theirs)
            self.assertEqual(models[name]["sample_count"], COUNT)
            self.assertAlmostEqual(models[name]["latency"]["mean_ms"], float(self.numpy.mean(times)),
                                   delta=1e-9 * max(times))


if __name__ == "__main__":
    unittest.main()
