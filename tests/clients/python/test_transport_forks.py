"""Processes that fork, and processes that end: each is a client of its own, and what it recorded arrives or is
accounted for."""
import os
import signal
import subprocess
import sys
import threading
import unittest

from client_case import PATH, WAIT_S, ClientCase, environment, until

from dwell import _wire

EXIT_S, EXIT_MARGIN_S = 3, 14  # of clients one after the other eight would take longer than both

# Of a program that records by the client of its process.
HEAD = """
import patient
import os, signal, sys, threading, time
import dwell, dwell._wire as w
plain = w.Plain("m")
def record(count):
    client = dwell.client()
    for _ in range(count):
        client.put(plain.pack(plain.head, 1.0))
"""

# Of one whose children are made by multiprocessing; they import it again.
MULTI = HEAD + """
import multiprocessing
def work(count):
    record(count)
if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    {parent}
    children = [context.Process(target=work, args=(1000,)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0, child.exitcode
"""

POOL = HEAD + """
import multiprocessing
def work(number):
    record(1)
    return number
if __name__ == "__main__":
    pool = multiprocessing.get_context(sys.argv[1]).Pool(3)
    assert sorted(pool.map(work, range(1000))) == list(range(1000))
    pool.close()
    pool.join()
"""


class Processes(ClientCase):
    def record(self, client, count, model="m"):
        plain = _wire.Plain(model)
        for _ in range(count):
            client.put(plain.pack(plain.head, 1.5))

    def must_balance(self, sent, dropped=0):
        until(lambda: self.ledger()["sent"] == sent, "every process has said how much it sent")
        self.assertEqual(self.ledger(), {"sent": sent, "accepted": sent - dropped, "rejected": 0, "dropped": dropped,
                                         "lost": 0})

    def must_end_well(self, *children):
        for child in children:
            self.assertEqual(os.waitpid(child, 0)[1], 0)

    def fork(self, work):
        """Runs work in a child, which ends with 0 if it gives true."""
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if work() else 1
            finally:
                os._exit(status)
        return child

    def must_run_file(self, text, *arguments):
        path = self.directory() / "program.py"
        path.write_text(text)
        # From 3.12 on Python says of every fork beside a thread that it may go wrong.
        quiet = ["-W", "ignore:This process:DeprecationWarning"]
        done = subprocess.run([sys.executable, "-B", *quiet, path, *arguments], capture_output=True, text=True,
                              timeout=3 * WAIT_S, check=False,
                              env=environment(PYTHONPATH=PATH, DWELL_DIR=str(self.daemon.directory)))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout


class Forks(Processes):
    def test_in_mid_buffer(self):
        """What the parent had not sent stays with it; the child has its own."""
        client = self.client()
        client._pumping.acquire()  # nothing is sent before the fork
        self.record(client, 10)
        child = self.fork(lambda: (self.record(client, 3, "child"), client.close(WAIT_S))[1])
        client._pumping.release()
        self.must_end_well(child)
        self.assertTrue(client.flush(WAIT_S))
        self.assertEqual((self.daemon.sample_count("m"), self.daemon.sample_count("child")), (10, 3))
        self.must_balance(13)

    def test_from_a_thread_while_others_record(self):
        client = self.client()
        stop, statuses = threading.Event(), []

        def go_on():
            while not stop.is_set():
                self.record(client, 10)

        def forks():
            for _ in range(10):
                child = self.fork(lambda: (self.record(client, 5, "child"), client.close(WAIT_S))[1])
                statuses.append(os.waitpid(child, 0)[1])

        threads = [threading.Thread(target=work) for work in (go_on, go_on, forks)]
        for thread in threads:
            thread.start()
        threads[2].join(3 * WAIT_S)
        stop.set()
        for thread in threads:
            thread.join(WAIT_S)
        self.assertEqual(statuses, [0] * 10)
        self.assertTrue(client.flush(WAIT_S))
        self.assertEqual(self.daemon.sample_count("child"), 50)
        stats = client.stats()
        self.must_balance(stats["sent"] + 50, stats["dropped"])

    def test_while_a_flush_waits(self):
        client = self.client()
        self.assertTrue(client.flush(WAIT_S))
        self.daemon.send_signal(signal.SIGSTOP)
        self.addCleanup(self.daemon.send_signal, signal.SIGCONT)
        self.record(client, 3)
        result = []
        waits = threading.Thread(target=lambda: result.append(client.flush(WAIT_S)))
        waits.start()
        until(lambda: client._asked, "the flush is on its way")
        child = self.fork(lambda: (self.record(client, 2, "child"), client.close(WAIT_S))[1])
        self.daemon.send_signal(signal.SIGCONT)
        self.must_end_well(child)
        waits.join(WAIT_S)
        self.assertEqual(result, [True])
        self.must_balance(5)

    def test_a_closed_client_stays_closed(self):
        client = self.client()
        self.record(client, 1)
        client.close(WAIT_S)
        self.must_end_well(self.fork(lambda: not client.put(b"x") and not client.flush() and client.close()))

    def test_a_child_of_a_child(self):
        client = self.client()
        self.record(client, 1)

        def grandchild():
            self.record(client, 1)
            return client.close(WAIT_S)

        def child():
            self.record(client, 1)
            return os.waitpid(self.fork(grandchild), 0)[1] == 0 and client.close(WAIT_S)

        self.must_end_well(self.fork(child))
        self.assertTrue(client.flush(WAIT_S))
        self.must_balance(3)

    def test_preload(self):
        """As gunicorn does: the application is there, and has recorded, before the workers are forked."""
        self.must_run_file(HEAD + """
record(10)
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        record(1000)
        sys.exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
record(10)
""")
        self.must_balance(4020)

    def test_a_signal_handler_that_forks(self):
        self.must_run_file(HEAD + """
def fork(*_):
    child = os.fork()
    if child == 0:
        record(5)
        dwell.client().close(20)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
signal.signal(signal.SIGUSR1, fork)
record(100)
os.kill(os.getpid(), signal.SIGUSR1)
record(100)
""")
        self.must_balance(205)


class Multiprocessing(Processes):
    def test_children_of_every_kind(self):
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method=method):
                before = self.ledger()["sent"]
                self.must_run_file(MULTI.replace("{parent}", "record(10)"), method)
                self.must_balance(before + 3010)

    def test_a_client_that_the_import_has_made(self):
        """The module's own records are made in each child that imports it."""
        for method, imports in (("fork", 1), ("spawn", 4), ("forkserver", 4)):
            with self.subTest(method=method):
                before = self.ledger()["sent"]
                self.must_run_file(MULTI.replace("import multiprocessing", "import multiprocessing\nrecord(1)")
                                   .replace("{parent}", ""), method)
                self.must_balance(before + 3000 + imports)

    def test_pools(self):
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method=method):
                before = self.ledger()["sent"]
                self.must_run_file(POOL, method)
                self.must_balance(before + 1000)


class Exits(Processes):
    def must_exit(self, code, status=0, **environ):
        """Returns how long the end took, in seconds."""
        end = "import atexit\natexit.register(lambda: print(time.monotonic() - begun))\n"  # called last, as it is first here
        return float(self.must_run(end + HEAD + "begun = time.monotonic()\n" + code, status, **environ) or 0)

    def test_ends_of_every_kind_send_what_waits(self):
        for code, count, status in (
                ("record(5)", 5, 0),
                ("record(5)\nsys.exit(3)", 5, 3),
                ("record(20000)", 20000, 0),
                ("t = threading.Thread(target=record, args=(5,)); t.start()", 5, 0),
                ("import atexit\natexit.register(record, 5)", 5, 0),
                ("import atexit\nrecord(1)\natexit.register(record, 5)", 6, 0),
                ("a, b = dwell.Client(), dwell.Client()\nfor c in (a, b):\n c.put(plain.pack(plain.head, 1.0))", 2, 0)):
            with self.subTest(code):
                before = self.ledger()["sent"]
                self.must_exit(code, status)
                self.must_balance(before + count)

    def test_an_exit_without_a_daemon_does_not_wait(self):
        self.assertLess(self.must_exit("record(5)", DWELL_DIR=str(self.directory())), WAIT_S / 2)  # it might wait for WAIT_S

    def test_an_exit_beside_a_daemon_that_hangs_takes_a_second_at_most(self):
        """The second is a longer one here."""
        self.daemon.send_signal(signal.SIGSTOP)
        self.addCleanup(self.daemon.send_signal, signal.SIGCONT)
        for code in ("record(5)", "record(100000)",
                     "cs = [dwell.Client() for _ in range(8)]\nfor c in cs: c.put(plain.pack(plain.head, 1.0))"):
            with self.subTest(code):
                took_s = self.must_exit(f"{code}\ndwell._client.EXIT_S, begun = {EXIT_S}, time.monotonic()")
                self.assertLess(took_s, EXIT_S + EXIT_MARGIN_S)

    def test_a_thread_that_records_at_the_end_is_no_hindrance(self):
        self.must_exit("begun = threading.Semaphore(0)\n"
                       "def go():\n record(1)\n begun.release()\n while True: record(1)\n"
                       "for _ in range(3): threading.Thread(target=go, daemon=True).start()\nrecord(10)\n"
                       "for _ in range(3): begun.acquire()\n"
                       "dwell.client().flush()\nbegun = time.monotonic()")
        ledger = self.ledger()
        self.assertEqual(ledger["sent"], ledger["accepted"] + ledger["dropped"])
        self.assertGreater(ledger["accepted"], 10)

    def test_an_exit_without_exit_loses_what_waits_and_nothing_else(self):
        self.must_exit("record(5)\ndwell.client().flush()\nrecord(5)\nos._exit(0)")
        ledger = self.ledger()
        self.assertTrue(5 <= ledger["accepted"] <= 10, ledger)
        self.assertEqual((ledger["sent"], ledger["lost"]), (ledger["accepted"], 0))

    def test_an_exception_and_an_interrupt(self):
        for code, status in (("record(5)\nos.kill(os.getpid(), signal.SIGINT)", -signal.SIGINT),
                             ("record(5)\nraise SystemExit(4)", 4)):
            with self.subTest(code):
                before = self.ledger()["sent"]
                done = subprocess.run([sys.executable, "-B", "-c", HEAD + code], capture_output=True, text=True,
                                      timeout=3 * WAIT_S, check=False,
                                      env=environment(PYTHONPATH=PATH, DWELL_DIR=str(self.daemon.directory)))
                self.assertEqual(done.returncode, status)
                self.must_balance(before + 5)


if __name__ == "__main__":
    unittest.main()
