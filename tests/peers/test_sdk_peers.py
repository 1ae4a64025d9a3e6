"""What others compare themselves with is right itself: the Python SDK's verdicts on trace ids, and the headers that
it writes and reads."""
import fractions
import math
import random
import unittest

from peer import need


class SdkCase(unittest.TestCase):
    def setUp(self):
        self.seed = random.randrange(2 ** 32)
        self.random = random.Random(self.seed)


class TestSampler(SdkCase):
    def setUp(self):
        super().setUp()
        self.sampler = need("sampler")

    def test_sampler_bound_is_the_rate_of_all_low_halves(self):
        for rate in self.sampler.RATES + self.sampler.TIES:
            with self.subTest(rate=rate):
                exact = fractions.Fraction(rate) * 2 ** 64
                self.assertEqual(self.sampler.bound(rate), round(exact))
        self.assertEqual([self.sampler.bound(rate) for rate in (0.0, 0.25, 0.5, 1.0)], [0, 2 ** 62, 2 ** 63, 2 ** 64])
        self.assertEqual([self.sampler.bound(rate) for rate in self.sampler.TIES], [0, 2, 2, 4])
        for wrong in (-1e-9, 1.0000001):
            with self.assertRaises(ValueError):
                self.sampler.bound(wrong)

    def test_sampler_verdicts_at_the_edges(self):
        for rate in self.sampler.RATES + self.sampler.TIES:
            with self.subTest(rate=rate, seed=self.seed):
                bound = self.sampler.bound(rate)
                ids = self.sampler.edge_ids(self.random, rate)
                self.assertEqual(len(ids), len(set(ids)))
                self.assertNotIn(0, ids)
                lows = {trace_id % 2 ** 64 for trace_id in ids}
                self.assertLessEqual({low for low in (bound - 1, bound, bound + 1) if 0 <= low < 2 ** 64}, lows)
                self.assertEqual(self.sampler.verdicts(rate, ids), [trace_id % 2 ** 64 < bound for trace_id in ids])

    def test_sampler_verdicts_on_random_ids(self):
        ids = self.sampler.random_ids(self.random, 10000)
        self.assertEqual(len(set(ids)), 10000)
        last = [False] * len(ids)
        for rate in sorted(self.sampler.RATES):
            verdicts = self.sampler.verdicts(rate, ids)
            # Six deviations of a share among 10,000.
            self.assertAlmostEqual(sum(verdicts) / len(ids), rate, delta=6 * math.sqrt(rate * (1 - rate) / len(ids)) + 1e-4,
                                   msg=f"seed {self.seed}")
            # What a low rate samples a higher one samples too.
            self.assertTrue(all(now or not before for before, now in zip(last, verdicts)))
            last = verdicts
        self.assertEqual({len(self.sampler.hexadecimal(trace_id)) for trace_id in [1, *ids]}, {32})


class TestPropagation(SdkCase):
    def setUp(self):
        super().setUp()
        self.propagation = need("propagation")

    def draw(self, **more):
        return self.propagation.Parent(f"{self.random.randrange(1, 2 ** 128):032x}",
                                       f"{self.random.randrange(1, 2 ** 64):016x}", **more)

    def test_propagation_headers_that_are_written(self):
        for sampled, flag in ((True, "1"), (False, "0")):
            parent = self.draw(sampled=sampled)
            trace_id, span_id = parent.trace_id, parent.span_id
            self.assertEqual(self.propagation.inject("tracecontext", parent),
                             {"traceparent": f"00-{trace_id}-{span_id}-0{flag}"})
            self.assertEqual(self.propagation.inject("b3", parent), {"b3": f"{trace_id}-{span_id}-{flag}"})
            self.assertEqual(self.propagation.inject("b3multi", parent),
                             {"x-b3-traceid": trace_id, "x-b3-spanid": span_id, "x-b3-sampled": flag})
        headers = self.propagation.inject("tracecontext", self.draw(trace_state="a=1,b=2"))
        self.assertEqual(headers["tracestate"], "a=1,b=2")

    def test_propagation_headers_come_back(self):
        for name in self.propagation.FORMATS:
            for sampled in (True, False):
                parent = self.draw(sampled=sampled)
                self.assertEqual(self.propagation.extract(name, self.propagation.inject(name, parent)), parent)

    def test_propagation_of_cases(self):
        read = {name: [self.propagation.extract(name, headers) for headers in cases]
                for name, cases in self.propagation.CASES.items()}
        self.assertEqual({name: "".join("-" if parent is None else "s" if parent.sampled else "n" for parent in parents)
                          for name, parents in read.items()},
                         {"tracecontext": "snssss---------", "b3": "snsssss---s-", "b3multi": "snsss----"})
        self.assertEqual(read["tracecontext"][3].trace_state, "a=1,b=2")
        same = self.propagation.Parent(self.propagation.TRACE, self.propagation.SPAN)
        short = self.propagation.Parent(16 * "0" + self.propagation.TRACE[16:], self.propagation.SPAN)
        self.assertEqual((read["b3"][6], read["b3"][10], read["b3"][5], read["b3multi"][4]), (same, same, short, short))


if __name__ == "__main__":
    unittest.main()
