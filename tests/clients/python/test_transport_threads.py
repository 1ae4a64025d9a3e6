"""Threads, signal handlers and subinterpreters that record at once."""
import itertools
import os
import subprocess
import sys
import threading
import unittest

from client_case import PATH, WAIT_S, ClientCase, environment, until

from dwell import _client, _wire

COUNT = 50000


def interpreters():
    """The module of subinterpreters, by what it is called in this version; None without."""
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            return __import__(name)
        except ImportError:
            continue
    return None


class Threads(ClientCase):
    def must_balance(self, client):
        self.assertTrue(client.flush(WAIT_S))
        stats, ledger = client.stats(), self.ledger()
        self.assertEqual((stats["waiting"], stats["sent"], stats["dropped"]), (0, ledger["sent"], ledger["dropped"]))
        self.assertEqual((ledger["rejected"], ledger["lost"]), (0, 0))
        self.assertEqual(ledger["sent"], ledger["accepted"] + ledger["dropped"])
        return stats

    def run_threads(self, count, work):
        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(6 * WAIT_S)
            self.assertFalse(thread.is_alive())

    def test_eight_threads_as_fast_as_they_can(self):
        """More than can be sent: what does not fit is dropped, at once, and counted to the unit."""
        client, plain, most = self.client(), _wire.Plain("m"), []

        def record():
            for number in range(COUNT):
                client.put(plain.pack(plain.head, 1.5))
                if number & 1023 == 0:
                    most.append(len(client.pending))

        self.run_threads(8, record)
        stats = self.must_balance(client)
        self.assertEqual(stats["sent"], 8 * COUNT)
        self.assertEqual(self.daemon.sample_count("m"), 8 * COUNT - stats["dropped"])
        # A step whenever one of them is interrupted in the midst of it, until the thread has looked: some ten, or fewer.
        self.assertLessEqual(max(most), _client.PLACES + 32 * (_client.STEP_MASK + 1))

    def test_threads_at_the_pace_of_inferences_lose_nothing(self):
        """Each waits for its own records now and then, as one does that has something else to do."""
        client, plain = self.client(), _wire.Plain("m")

        def record():
            for number in range(COUNT):
                if number % 2000 == 0:
                    until(lambda: len(client.pending) < _client.PLACES // 2, "others had their turn")
                client.put(plain.pack(plain.head, 1.5))

        self.run_threads(8, record)
        stats = self.must_balance(client)
        self.assertEqual((stats["sent"], stats["dropped"]), (8 * COUNT, 0))

    def test_records_of_all_sizes_from_all_threads(self):
        client = self.client()

        def record():
            for number in range(300):
                client.put(_wire.sample("m", 1, error_text="x" * (number * 37 % 9000)))

        self.run_threads(8, record)
        self.assertEqual(self.must_balance(client)["sent"], 2400)

    def test_flushes_of_many_threads_see_their_own_records(self):
        client, numbers, wrong = self.client(), itertools.count(), []

        def record():
            name = f"t{next(numbers)}"
            plain = _wire.Plain(name)
            for number in range(1, 11):
                client.put(plain.pack(plain.head, 1.0))
                if not client.flush(WAIT_S) or self.daemon.sample_count(name) != number:
                    wrong.append((name, number))

        self.run_threads(8, record)
        self.assertEqual(wrong, [])
        self.must_balance(client)

    def test_records_of_a_thread_stay_in_order(self):
        client, numbers = self.client(), itertools.count()

        def record():
            name = f"ordered_{next(numbers)}"
            for number in range(5001):
                client.put(_wire.metric(name, _wire.SET, number))

        self.run_threads(4, record)
        stats = self.must_balance(client)
        self.assertEqual(stats["dropped"], 0)
        metrics = self.daemon.metrics()
        self.assertEqual([metrics.get(f"ordered_{number}") for number in range(4)], [5000] * 4)

    def test_the_client_of_a_process_is_one(self):
        code = ("import dwell, threading\nfound, go = [], threading.Barrier(16)\n"
                "def get():\n go.wait(); found.append(dwell.client())\n"
                "threads = [threading.Thread(target=get) for _ in range(16)]\n"
                "for t in threads: t.start()\nfor t in threads: t.join()\nprint(len(set(map(id, found))))")
        self.assertEqual(self.must_run(code), "1\n")

    def test_the_first_record_while_another_thread_imports_multiprocessing(self):
        code = ("import sys, types, dwell\n"
                "sys.modules['multiprocessing.util'] = types.ModuleType('multiprocessing.util')\n"
                "@dwell.metered()\n"
                "def work(): return 7\n"
                "print(work(), dwell.client().flush(20))")
        self.assertEqual(self.must_run(code), "7 True\n")
        self.assertEqual(self.daemon.metrics().get("work_calls_total", success="true"), 1)


class Signals(ClientCase):
    def test_handlers_that_record_while_the_main_thread_records(self):
        code = """
import signal, dwell, dwell._wire as w
plain, handled = w.Plain("m"), []
def record(*_):
    handled.append(1)  # handlers interrupt one another: += would lose some
    dwell.client().put(plain.pack(plain.head, 1.0))
    if len(handled) % 50 == 0:
        dwell.client().flush(0.001)
    if len(handled) >= 1000:
        signal.setitimer(signal.ITIMER_REAL, 0)
signal.signal(signal.SIGALRM, record)
signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
count = 0
while len(handled) < 1000:
    dwell.client().put(plain.pack(plain.head, 1.0))
    count += 1
    if count % 1000 == 0:
        dwell.client().flush(20)
assert dwell.client().flush(20)
print(count + len(handled))
"""
        count = int(self.must_run(code))
        until(lambda: self.ledger()["sent"] == count, "the goodbye has come")
        self.assertEqual(self.ledger(), {"sent": count, "accepted": count, "rejected": 0, "dropped": 0, "lost": 0})

    def test_the_sending_thread_takes_no_signals_away(self):
        code = """
import os, signal, dwell, dwell._wire as w
plain, seen = w.Plain("m"), []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
dwell.client().put(plain.pack(plain.head, 1.0))
for _ in range(100):
    os.kill(os.getpid(), signal.SIGUSR1)
print(len(seen), dwell.client().flush(20))
"""
        self.assertEqual(self.must_run(code), "100 True\n")


@unittest.skipIf(interpreters() is None, "this Python has no module of subinterpreters")
class Subinterpreters(ClientCase):
    CODE = f"""
import sys
sys.path[:0] = {PATH.split(os.pathsep)!r}
import patient, dwell, dwell._wire as w
plain = w.Plain("m")
for _ in range(100):
    dwell.client().put(plain.pack(plain.head, 1.0))
"""

    def must_record(self, create, more=""):
        """Three of them, one after the other; each ends, with its thread, and has sent what it recorded."""
        if self.run_in_three(create, "import datetime").returncode < 0:
            self.skipTest("this Python itself crashes when datetime is imported in several of them")
        before = self.ledger()["sent"]
        done = self.run_in_three(create, self.CODE + more, DWELL_DIR=str(self.daemon.directory))
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "done\n", ""))
        until(lambda: self.ledger()["sent"] == before + 300, "all three have said goodbye")
        self.assertEqual(self.ledger(), {"sent": before + 300, "accepted": before + 300, "rejected": 0, "dropped": 0,
                                         "lost": 0})

    @staticmethod
    def run_in_three(create, code, **environ):
        code = f"""
import {interpreters().__name__} as interpreters
for _ in range(3):
    one = {create}
    interpreters.run_string(one, {code!r})
    interpreters.destroy(one)
print("done")
"""
        return subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, timeout=3 * WAIT_S,
                              check=False, env=environment(**environ))

    def test_isolated_ones(self):
        self.must_record("interpreters.create()")

    def test_those_that_share_more(self):
        """They are not destroyed while they have threads, so they close their client."""
        legacy = "'legacy'" if sys.version_info >= (3, 13) else "isolated=False"
        self.must_record(f"interpreters.create({legacy})", "assert dwell.client().close(20)\n")


if __name__ == "__main__":
    unittest.main()
