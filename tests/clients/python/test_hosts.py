"""Where the client has to live: forks, signal handlers, subinterpreters, and interpreters that end meanwhile."""
import unittest

from client_case import ClientCase

BEGIN = '''
import os, signal, sys, threading, time
import dwell
p = dwell.ModelProfiler(evidence="none")
def work(name, count):
    for _ in range(count):
        with p.track(name): pass
'''

SUBINTERPRETER = '''
import importlib, dwell
assert dwell._part.is_kept
for name in ("_interpreters", "_xxsubinterpreters"):
    try: interpreters = importlib.import_module(name); break
    except ImportError: pass
code = """
import sys
sys.path[:] = %r
import patient, dwell
p = dwell.ModelProfiler(evidence="none")
for _ in range(3):
    with p.track("inner"): pass
assert type(p.track("inner")).__module__ == "dwell.profiler"
assert not dwell._part.is_kept
assert dwell.client().flush(20)
""" % (sys.path,)
if sys.version_info < (3, 12):  # which refuse to end an interpreter with threads; later ones end the client's
    code += "assert dwell.client().close(20); [thread.join() for thread in [dwell.client()._thread] if thread]"
for isolated in (False, True):
    if sys.version_info >= (3, 13): inner = interpreters.create("isolated" if isolated else "legacy")
    else: inner = interpreters.create(isolated=isolated)
    run = getattr(interpreters, "exec", interpreters.run_string)
    failed = run(inner, code)
    assert failed is None, failed
    interpreters.destroy(inner)
work("outer", 2)
'''

WORKER = '''
import patient, dwell
def infer(number):
    with dwell.get_global_profiler().track("pool"):
        return number
'''


class Hosts(ClientCase):
    def must_count(self, code, status=0, **counts):
        """Runs a program; then the daemon has as many samples of these models, and the ledger is even."""
        self.must_run(BEGIN + code, status, PYTHONWARNINGS="ignore::DeprecationWarning")
        found = {name: model["sample_count"] for name, model in self.daemon.models().items()}
        self.assertEqual({name: found.get(name) for name in counts}, counts)
        total = sum(found.values())
        self.assertEqual(self.ledger(), {"sent": total, "accepted": total, "rejected": 0, "dropped": 0, "lost": 0})

    def test_the_end_of_the_interpreter_sends_what_threads_recorded(self):
        self.must_count('''
threads = [threading.Thread(target=work, args=("m", 500)) for _ in range(4)]
for thread in threads: thread.start()
work("main", 10)
''', m=2000, main=10)

    def test_an_exception_that_ends_the_program_keeps_its_samples(self):
        self.must_count("work('m', 3)\nsys.exit(7)\n", status=7, m=3)

    def test_threads_that_go_on_at_the_end_do_not_hinder_it(self):
        self.must_run(BEGIN + '''
begun = threading.Event()
def forever():
    while True:
        work("m", 100)
        begun.set()
for _ in range(2): threading.Thread(target=forever, daemon=True).start()
begun.wait()
dwell.client().flush(20)
''')
        self.assertGreaterEqual(self.daemon.sample_count("m"), 1)
        self.assertEqual(self.ledger()["lost"], 0)

    def test_signal_handlers_record_in_the_middle_of_recording(self):
        self.must_count('''
import itertools
rounds = 0
turns = itertools.count()  # atomic: a handler may be interrupted by the next signal
def handle(number, frame):
    if next(turns) < 200:
        with p.track("handler"): pass
def handled(): return int(repr(turns)[6:-1])
signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
end = time.monotonic() + 120
while (handled() < 200 or rounds < 100) and time.monotonic() < end:
    work("free", 10)
    if rounds < 100:
        rounds += 1
        work("m", 10)
        with p.track("odd", batch_size=1): pass
    else: time.sleep(0.001)
signal.setitimer(signal.ITIMER_REAL, 0)
''', handler=200, m=1000, odd=100)

    def test_children_of_a_fork_are_clients_of_their_own(self):
        self.must_count('''
work("parent", 5)
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        work("child", 4)
        sys.exit(0)  # with what an exit does
    children.append(child)
for child in children: assert os.waitpid(child, 0)[1] == 0
work("parent", 5)
''', parent=10, child=12)

    def test_a_fork_while_others_record_and_the_thread_sends(self):
        self.must_count('''
stop = threading.Event()
def record():
    while not stop.is_set():
        if len(dwell.client().pending) < 10000: work("busy", 10)  # whoever stands still, there is room for all
        stop.wait(0.0001)
threads = [threading.Thread(target=record) for _ in range(2)]
for thread in threads: thread.start()
for _ in range(10):
    child = os.fork()
    if child == 0:
        work("child", 3)
        os._exit(0 if dwell.client().close(20) else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for thread in threads: thread.join()
''', child=30)

    def test_processes_of_multiprocessing_send_before_they_end(self):
        place = self.directory()
        (place / "worker_of_test.py").write_text(WORKER)
        self.must_count(f'''
sys.path.insert(0, {str(place)!r})
import multiprocessing, worker_of_test
for method in ("fork", "forkserver", "spawn"):
    context = multiprocessing.get_context(method)
    workers = [context.Process(target=worker_of_test.infer, args=(number,)) for number in range(3)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0], (method, workers)
''', pool=9)

    def test_subinterpreters_have_clients_of_their_own(self):
        self.must_count(SUBINTERPRETER, inner=6, outer=2)


if __name__ == "__main__":
    unittest.main()
