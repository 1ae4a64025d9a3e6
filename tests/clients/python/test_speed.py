"""The extension: it builds without a warning, is used where it is there, and passes what the package in Python does."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from client_case import HERE, WAIT_S, ClientCase
from extension import build, missing

SUITES = ["test_profiler.Blocks", "test_profiler.Decorators", "test_profiler.Questions", "test_profiler.Without",
          "test_evidence", "test_hosts", "test_sending"]


@unittest.skipIf(missing(), missing())
class Speed(ClientCase):
    @classmethod
    def setUpClass(cls):
        cls.place = pathlib.Path(tempfile.mkdtemp(prefix="dwell-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.place, ignore_errors=True)
        build(cls.place)

    def must_run(self, code, status=0, **environ):
        return super().must_run(code, status, **{"PYTHONPATH": f"{self.place}{os.pathsep}{HERE}", **environ})

    def test_it_is_used_unless_told_not_to(self):
        code = ("import dwell\np = dwell.get_global_profiler()\n"
                "for _ in range(2):\n    with p.track('m') as inference: pass\n"
                "print(type(inference).__module__)")
        self.assertEqual(self.must_run(code, DWELL_EVIDENCE="none"), "dwell._speed\n")
        self.assertEqual(self.must_run(code, DWELL_EVIDENCE="none", DWELL_PYTHON_PURE="1"), "dwell.profiler\n")
        self.assertEqual(self.daemon.sample_count("m"), 4)

    def test_the_package_in_python_s_tests_pass_with_it(self):
        done = subprocess.run([sys.executable, "-B", "-m", "unittest", *SUITES], capture_output=True, text=True,
                              check=False, timeout=20 * WAIT_S, cwd=HERE,
                              env={**os.environ, "DWELL_PYTHON_PACKAGE": str(self.place)})
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stderr, r"Ran [1-9]\d+ tests")
        self.assertIn("skipped=1", done.stderr)  # the one with a clock of its own, which says that it was used

    def test_records_are_the_same_bytes(self):
        code = ("from dwell._client import Client\nfrom dwell.profiler import ModelProfiler, _Tracking\n"
                "import dwell._speed, struct\n"
                "client = Client()\n"
                "p = ModelProfiler(client=client, evidence='none')\n"
                "client.room = lambda places: True\n"  # nobody sends them
                "def record(tracking, error=None):\n"
                "    tracking.__enter__()\n"
                "    assert tracking.__exit__(error, None, None) is None\n"
                "    return client.pending.pop()\n"
                "for name in ('m', 'x' * 120, '模型'):\n"
                "    for error in (None, OSError, GeneratorExit):\n"
                "        p.track(name)\n"
                "        python = _Tracking()\n"
                "        python.model = p._models[name]\n"
                "        native = p.track(name)\n"
                "        assert type(native) is dwell._speed.Inference\n"
                "        a, b = record(native, error), record(python, error)\n"
                "        at = len(p._models[name].head)\n"
                "        assert (a[:at], a[at + 8:]) == (b[:at], b[at + 8:]), (a, b)\n"
                "        for each in (a, b):\n"
                "            assert 0 < struct.unpack('<d', each[at:at + 8])[0] < 1e6\n")
        self.must_run(code)

    def test_nothing_is_kept_and_nothing_is_raised(self):
        code = ("import sys, dwell\nfrom dwell import _speed\n"
                "p = dwell.ModelProfiler(evidence='none')\n"
                "p.client.room = lambda places: True\n"  # no thread, which would have references
                "with p.track('m'): pass\n"
                "def counts(): return [sys.getrefcount(each) for each in "
                "(p._models['m'], _speed.Inference, p.client, p._models, p)]\n"
                "before = counts()\n"
                "for number in range(1000):\n"
                "    with p.track('m'): pass\n"
                "    try:\n"
                "        with p.track('m'): raise KeyError\n"
                "    except KeyError: pass\n"
                "assert counts() == before, (before, counts())\n"
                "del p.client.room\n"
                "odd = _speed.Inference()\n"
                "with odd: pass\n"
                "_speed.Inference().__exit__()\n"
                "for wrong in ((), (1,), (b'', b'', 1, 2, 3, 4), ('', b'', 1, 2, 3, 4, 5)):\n"
                "    try: _speed.Account(*wrong)\n"
                "    except TypeError: continue\n"
                "    raise AssertionError(wrong)\n"
                "bare = _speed.Account.__new__(_speed.Account)\n"
                "bare.since_ns, bare.due_ns = 0, 1\n"
                "dict.__setitem__(p._models, 'bare', bare)\n"
                "for wrong in ((), (1, 2), (1, 2, 3)):\n"
                "    try: p.track(*wrong)\n"
                "    except TypeError: continue\n"
                "    raise AssertionError(wrong)\n"
                "class Mine(dwell.ModelProfiler):\n"
                "    def track(self, name, **more): return super().track(name + '!', **more)\n"
                "with Mine(evidence='none').track('mine'): pass\n"
                "assert p.get_metrics('mine!').sample_count == 1\n"
                "print(p.get_metrics('m').sample_count, p.get_metrics('m').errors)")
        self.assertEqual(self.must_run(code), "2001 1000\n")

    def test_take_gives_records_and_their_bytes(self):
        code = ("import collections\nfrom dwell import _client, _speed\n"
                "assert _speed.STEP_MASK == _client.STEP_MASK\n"
                "def take(items, count):\n"
                "    pending = collections.deque(items)\n"
                "    return *_speed.take(pending.popleft, count), len(pending)\n"
                "for items, count, want in (([], 0, ([], 0, 0)), ([b'ab', b'', b'c'], 3, ([b'ab', b'c'], 3, 0)),\n"
                "                           ([b'ab', b'c'], 1, ([b'ab'], 2, 1)), ([b'', b''], 2, ([], 0, 0)),\n"
                "                           ([b'a'], 5, ([b'a'], 1, 0)), ([b'a', 5, b'b'], 3, ([b'a'], 1, 1))):\n"
                "    assert take(items, count) == want, (items, count)\n"
                "for wrong in ((), (1,), (len, -1), (len, 'x')):\n"
                "    try: _speed.take(*wrong)\n"
                "    except TypeError: continue\n"
                "    raise AssertionError(wrong)\n")
        self.must_run(code)

    def test_what_the_client_raises_is_counted_as_dropped(self):
        code = ("import dwell\np = dwell.ModelProfiler(evidence='none')\n"
                "client = p.client\n"
                "def room(places): raise OSError\n"
                "client.room = room\n"
                "for name in ('a', 'b'):\n"
                "    p.track(name)\n"
                "    with p.track(name): pass\n"
                "print(client.stats()['dropped'], len(client.pending))")
        self.assertEqual(self.must_run(code), "2 0\n")

    def test_an_interrupt_is_the_application_s(self):
        code = ("import dwell\n"
                "from dwell import profiler\n"
                "def interrupt(*_): raise KeyboardInterrupt\n"
                "def leave(*_): raise SystemExit\n"
                "def must_raise(kind, block, *error):\n"
                "    try: block(*error)\n"
                "    except kind: return\n"
                "    raise AssertionError(kind)\n"
                "def one(error=None):\n"
                "    with p.track('m'):\n"
                "        if error is not None: raise error\n"
                "p = dwell.ModelProfiler(evidence='none')\n"
                "p.track('m')\n"                       # it has an account from here on
                "p.client.room = interrupt\n"
                "p._models.clear()\n"
                "p.track('m')\n"
                "must_raise(KeyboardInterrupt, one)\n"  # at the end of a block
                "must_raise(KeyboardInterrupt, one, KeyError())\n"
                "p.client.drop = leave\n"              # what came first counts
                "must_raise(KeyboardInterrupt, one)\n"
                "del p.client.drop\n"
                "p.client.away = True\n"
                "must_raise(KeyboardInterrupt, p.track, 'other')\n"  # without a daemon
                "p.client.away = False\n"
                "profiler._is_error = leave\n"
                "p._models.clear()\n"
                "del p.client.room\n"
                "p.track('m')\n"
                "p.client.pending.append(b'')\n"
                "must_raise(SystemExit, one, KeyError())\n"
                "p.client.pending.clear()\n")
        for pure in ("", "1"):
            with self.subTest(pure=pure):
                self.must_run(code, DWELL_PYTHON_PURE=pure)


if __name__ == "__main__":
    unittest.main()
