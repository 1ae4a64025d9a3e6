"""What samples tell of their threads: right figures, only of their own, and no more often than is paid
for."""
import asyncio
import contextlib
import os
import resource
import struct
import threading
import time
import unittest
import unittest.mock
import weakref

from client_case import ClientCase, until

from dwell import _evidence, _wire
from dwell import profiler as module
from dwell.profiler import ModelProfiler

CPU_FIELDS = {1, 3, 4, 14, 17, 18, 20, 21, 22, 27, 28, 29}
FULL_FIELDS = CPU_FIELDS | {5, 19, 26}


def burn(ms):
    """Uses CPU time of this thread."""
    end = time.thread_time_ns() + ms * 1_000_000
    while time.thread_time_ns() < end:
        pass


def fields_of(record):
    """The fields of one sample, in order: [(number, value)]."""
    def block(data, at):
        while at < len(data):
            key, at = _wire.read_varint(data, at)
            if key & 7 == 1:
                raw, at = data[at:at + 8], at + 8
                value = struct.unpack("<Q" if key >> 3 == 14 else "<d", raw)[0]
            elif key & 7 == 2:
                length, at = _wire.read_varint(data, at)
                value, at = data[at:at + length], at + length
            else:
                value, at = _wire.read_varint(data, at)
            yield key >> 3, value
    [(number, data)] = block(record, 0)
    assert number == 8, "no sample"
    return list(block(data, 0))


@contextlib.contextmanager
def put_in_place(owner, name, value):
    saved = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield value
    finally:
        setattr(owner, name, saved)


class EvidenceCase(ClientCase):
    def profiler(self, **options):
        """A profiler whose samples with more than a time are kept in `records`."""
        client = self.client()
        self.records = []
        send = client.put

        def put(record):
            self.records.append(fields_of(record))
            return send(record)
        client.put = put
        return ModelProfiler(client=client, **options)

    def the_one(self):
        [fields] = self.records
        return dict(fields)


class Figures(EvidenceCase):
    def test_a_reading_has_these_fields_in_this_order(self):
        for level, numbers in (("cpu", CPU_FIELDS), ("full", FULL_FIELDS)):
            profiler = self.profiler(evidence=level)
            with profiler.track("m"):
                pass
            [fields] = self.records
            self.assertEqual([number for number, _ in fields], sorted(numbers), level)

    def test_cpu_time_is_that_of_the_thread(self):
        profiler = self.profiler(evidence="full")
        stop = threading.Event()
        neighbour = threading.Thread(target=lambda: [None for _ in iter(stop.is_set, True)])
        neighbour.start()
        was_ns = time.thread_time_ns()
        with profiler.track("m"):
            burn(20)
        used_ms = (time.thread_time_ns() - was_ns) / 1e6
        stop.set()
        neighbour.join()
        got = self.the_one()
        cpu_ms = got[17] + got[18]
        self.assertTrue(20 <= cpu_ms <= used_ms, (cpu_ms, used_ms))
        self.assertAlmostEqual(got[4], 100 * cpu_ms / got[3], places=6)
        self.assertGreaterEqual(got[26], cpu_ms)  # of the process
        self.assertLessEqual(got[19] + cpu_ms, got[3] + 1e-6)
        self.assertEqual(got[29], threading.get_native_id())

    def test_waiting_is_no_cpu_time(self):
        profiler = self.profiler(evidence="cpu")
        was_ns = time.thread_time_ns()
        with profiler.track("m"):
            threading.Event().wait(0.02)
        used_ms = (time.thread_time_ns() - was_ns) / 1e6
        got = self.the_one()
        self.assertGreaterEqual(got[3], 20)
        self.assertLessEqual(got[17] + got[18], used_ms)
        self.assertGreaterEqual(got[22], 1)  # it let others run

    def test_page_faults_are_counted(self):
        profiler = self.profiler(evidence="cpu")
        with profiler.track("m"):
            memory = bytearray(64 << 20)  # beyond what the allocator keeps
            memory[::4096] = b"x" * len(range(0, len(memory), 4096))
        self.assertGreaterEqual(self.the_one()[20], 16)

    def test_time_stamps_are_those_of_the_end(self):
        profiler = self.profiler(evidence="cpu")
        with profiler.track("m"):
            threading.Event().wait(0.01)
            begin = time.time_ns()
        self.assertTrue(begin <= self.the_one()[14] <= time.time_ns())

    def test_memory_is_resident_memory(self):
        mib = _evidence.memory_mb()
        with open("/proc/self/status", encoding="ascii") as file:
            status = dict(line.split(":", 1) for line in file)
        self.assertAlmostEqual(mib, int(status["VmRSS"].split()[0]) / 1024, delta=8)

    def test_a_failed_inference_has_evidence_too(self):
        profiler = self.profiler(evidence="cpu")
        with self.assertRaises(OSError), profiler.track("m"):
            raise OSError
        self.assertEqual([number for number, _ in self.records[0]], sorted(CPU_FIELDS | {8}))

    def test_what_the_caller_knows_wins(self):
        profiler = self.profiler(evidence="cpu")
        with profiler.track("m", cpu_percent_during=400.0, threads=4):
            pass
        got = self.the_one()
        self.assertEqual((got[4], got[25]), (400.0, 4.0))

    def test_the_daemon_takes_all_of_it(self):
        profiler = self.profiler(evidence="full", evidence_percent=100)
        for _ in range(3):
            with profiler.track("m"):
                burn(2)
        profile = profiler.get_metrics("m")
        self.assertTrue(profile.avg_memory_mb > 1 and 0 < profile.avg_cpu_percent <= 100, profile)
        used = self.daemon.models()["m"]["time"]
        count = used["inferences"]  # one of 2 ms pays for the next, on a machine that is idle
        self.assertTrue(1 <= count <= 3, used)
        self.assertGreaterEqual(used["user_ms"] + used["system_ms"] + used["fault_ms"], 2 * count)
        self.assertEqual(self.ledger()["rejected"], 0)


class Others(EvidenceCase):
    """Inferences that a thread's figures say nothing about."""

    def must_have_evidence(self, *expected):
        self.assertEqual([4 in dict(fields) for fields in self.records], list(expected))

    def test_a_task_that_let_others_run_has_none(self):
        async def infer(profiler, name, pause):
            with profiler.track(name):
                if pause is not None:
                    await asyncio.sleep(pause)

        async def main(profiler):
            await infer(profiler, "a", 0)
            await infer(profiler, "b", 0.001)
            await asyncio.gather(infer(profiler, "c", 0.001), infer(profiler, "d", 0))
        profiler = self.profiler(evidence="cpu")
        asyncio.run(main(profiler))
        self.must_have_evidence(False, False, False, False)

    def test_a_task_that_did_not_has_it(self):
        async def infer(profiler):
            async def inner():
                return 1
            with profiler.track("m"):
                return await inner()
        profiler = self.profiler(evidence="cpu")
        self.assertEqual(asyncio.run(infer(profiler)), 1)
        self.must_have_evidence(True)

    def test_one_that_ends_in_another_thread_has_none(self):
        profiler = self.profiler(evidence="cpu")
        tracking = profiler.track("m")
        with tracking:
            pass
        self.must_have_evidence(True)
        profiler = self.profiler(evidence="cpu")
        tracking = profiler.track("m")
        tracking.__enter__()
        thread = threading.Thread(target=tracking.__exit__, args=(None, None, None))
        thread.start()
        thread.join()
        self.must_have_evidence(False)

    def test_one_that_goes_on_beyond_a_fork_has_none_there(self):
        profiler = self.profiler(evidence="full")
        with profiler.track("m"):
            child = os.fork()
        if child == 0:
            with profiler.track("other"):
                pass
            ended, other = dict(self.records[0]), dict(self.records[1])
            os._exit(0 if 4 not in ended and other[29] == threading.get_native_id() and 19 in other else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.must_have_evidence(True)

    def test_a_loop_that_is_closed_is_no_error(self):
        profiler = self.profiler(evidence="cpu")
        loop = asyncio.new_event_loop()
        loop.close()
        with put_in_place(_evidence, "_running_loop", lambda: loop), profiler.track("m"):
            pass
        self.must_have_evidence(False)


class Budget(EvidenceCase):
    def test_one_under_what_is_due_has_no_evidence(self):
        profiler = self.profiler(evidence="cpu")
        profiler._models._meter.learn = lambda cost_ns: None
        model = profiler._models["m"]
        for since_ns, count in ((10**15 - 1, 0), (10**15, 1)):
            model.since_ns, model.due_ns = since_ns, 10**15
            with profiler.track("m"):
                pass
            self.assertEqual(len(self.records), count)

    @unittest.skipIf(module._speed, "the clock of the extension cannot be set")
    def test_a_reading_is_paid_for_before_it_is_taken(self):
        """On a clock of its own: inferences of 1 ms, readings of 10 µs, of which 1 % pays for one in 1.25
        ms."""
        clock, cpu_clock = [0], [0]

        def now():
            clock[0] += 5_000
            return clock[0]

        def cpu_now():
            cpu_clock[0] += 5_000
            clock[0] += 3_000_000  # and time passes, since others have their turn
            return cpu_clock[0]
        for percent, taken in ((1, 51), (0.5, 34), (100, 101)):
            profiler = self.profiler(evidence="cpu", evidence_percent=percent)
            meter = profiler._models._meter
            meter.cost_ns = 10_000
            with put_in_place(module, "_now_ns", now), put_in_place(module, "_cpu_ns", cpu_now):
                for _ in range(101):
                    with profiler.track(f"m{percent}"):
                        clock[0] += 990_000
            self.assertEqual(len(self.records), taken, percent)
            self.assertEqual(meter.cost_ns, 10_000)
            self.assertEqual(profiler.get_metrics(f"m{percent}").sample_count, 101)

    def test_models_have_accounts_of_their_own(self):
        profiler = self.profiler(evidence="cpu")
        meter = profiler._models._meter
        meter.learn = lambda cost_ns: setattr(meter, "due_ns", _evidence.NEVER_NS)  # however long a block takes
        for _ in range(3):
            for name in ("a", "b"):
                with profiler.track(name):
                    pass
        self.assertEqual([dict(fields)[1] for fields in self.records], [b"a", b"b"])

    def test_what_is_not_kept_has_no_evidence(self):
        profiler = self.profiler(evidence="cpu")
        for name in (1, "x" * 600, ("a",)):
            with profiler.track(name):
                pass
        self.assertTrue(all(4 not in dict(fields) for fields in self.records))

    def test_none_takes_none(self):
        profiler = self.profiler(evidence="none")
        with profiler.track("m"):
            burn(1)
        self.assertEqual(self.records, [])
        self.assertEqual(profiler.get_metrics("m").sample_count, 1)

    def test_cost_is_known_before_the_first_reading_counts(self):
        meter = _evidence.Meter("cpu", 1)
        least_ns = min(self.usages_take_ns() for _ in range(50))
        meter.begin()
        self.assertGreaterEqual(meter.cost_ns, least_ns)  # a reading has two of them, and more
        self.assertEqual(meter.due_ns, int(meter.cost_ns * 125))

    @staticmethod
    def usages_take_ns():
        begun_ns = time.perf_counter_ns()
        resource.getrusage(resource.RUSAGE_THREAD)
        return time.perf_counter_ns() - begun_ns

    def test_cost_is_smoothed_and_an_outlier_bounded(self):
        meter = _evidence.Meter("cpu", 1)
        meter.learn(800)
        self.assertEqual((meter.cost_ns, meter.due_ns), (800, 100_000))
        meter.learn(1600)
        self.assertEqual(meter.cost_ns, 900)
        meter.learn(10**12)
        self.assertEqual(meter.cost_ns, (900 * 7 + 3600) // 8)
        for _ in range(100):
            meter.learn(0)
        self.assertEqual(meter.cost_ns, 1)  # never for nothing

    def test_a_system_that_does_not_tell_has_none(self):
        with put_in_place(_evidence, "_readable", False):
            self.assertEqual((_evidence.level_of("full"), _evidence.Meter().due_ns), ("none", _evidence.NEVER_NS))

    def test_options(self):
        for given, environ, level in ((None, {}, "cpu"), (None, {"DWELL_EVIDENCE": "full"}, "full"),
                                      (None, {"DWELL_EVIDENCE": "none"}, "none"), (None, {"DWELL_EVIDENCE": ""}, "cpu"),
                                      (None, {"DWELL_EVIDENCE": "FULL"}, "cpu"), ("none", {"DWELL_EVIDENCE": "full"}, "none"),
                                      ("most", {}, "cpu"), (5, {}, "cpu")):
            with unittest.mock.patch.dict(os.environ, environ):
                self.assertEqual(_evidence.Meter(given).level, level, (given, environ))
        for given, environ, percent in ((None, "", 1), (None, "5", 5), (None, "0.1", 0.1), (None, "0", 1), (None, "-1", 1),
                                        (None, "nan", 1), (None, "100", 100), (None, "100.1", 100), (None, "x", 1),
                                        (2, "5", 2), ("3", "", 3), (0, "5", 1), ([], "5", 1), (10**400, "", 1)):
            with unittest.mock.patch.dict(os.environ, {"DWELL_EVIDENCE_PERCENT": environ}):
                self.assertEqual(_evidence.percent_of(given), percent, (given, environ))


class Files(EvidenceCase):
    def test_files_of_threads_are_closed_with_them(self):
        profiler = self.profiler(evidence="full")
        count = lambda: len(os.listdir("/proc/self/fd"))  # noqa: E731

        def work():
            with profiler.track("m"):
                pass
        work()
        self.assertTrue(profiler.client.flush(20))  # the connection is there
        before = count()
        for _ in range(5):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        until(lambda: count() <= before, "they are closed")

    def test_the_last_file_is_kept_and_one_over_is_not_opened(self):
        meter = _evidence.Meter("full")
        known = []

        def work():
            known.append(meter.begin().runqueue_ns is not None)
            ready.wait(20)
            leave.wait(20)
        with put_in_place(_evidence, "SCHEDSTATS_MAX", 2), put_in_place(_evidence, "_schedstats", weakref.WeakSet()):
            for _ in range(3):
                ready, leave = threading.Barrier(2), threading.Event()
                thread = threading.Thread(target=work)
                thread.start()
                self.addCleanup(thread.join)
                self.addCleanup(leave.set)
                ready.wait(20)
        self.assertEqual(known, [True, True, False])

    def test_a_file_that_says_nothing_is_left_out(self):
        place = self.directory()
        for text, number in (("12 34 56\n", 34), ("12\n", None), ("", None), ("a b", None), ("1 2", 2)):
            (place / "f").write_text(text)
            self.assertEqual(_evidence._File(str(place / "f")).second_number(), number, text)
        self.assertIsNone(_evidence._File(str(place / "none")).second_number())


if __name__ == "__main__":
    unittest.main()
