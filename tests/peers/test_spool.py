"""What the daemon keeps on the disk while a real OpenTelemetry Collector is away, and that the Collector gets it: over
restarts, kill -9, damaged files, a full disk."""
import os
import pathlib
import subprocess
import unittest

from harness import until
from test_otlp import OtlpCase

HEADER_BYTES = 48  # of a file (daemon/io/export/spool_file.h)


class SpoolCase(OtlpCase):
    signal = "traces"

    def setUp(self):
        super().setUp()
        self.collector = self.start_collector()
        self.spool = self.directory() / "spool"
        self.sent = []

    def start_spooling(self, **options):
        return self.start_daemon(self.collector, **{
            "spool_directory": str(self.spool), "spool_after_ms": 200, "schedule_delay_ms": 50, "max_batch": 50,
            **options})

    def give(self, daemon, count, **more):
        """So many spans with names in their order."""
        records = [self.span(f"{len(self.sent) + number:06}", **more) for number in range(count)]
        self.sent += records
        self.send(daemon, *records)

    def account(self, daemon):
        """Of the signal, after a look at the sum."""
        account = daemon.status()["export"][self.signal]
        self.assertEqual(account["accepted"], sum(account["dropped"].values()) + sum(
            account[name] for name in ("exported", "waiting", "in_flight", "spooled")), account)
        return account

    def until_account(self, daemon, **wanted):
        until(lambda: {name: self.account(daemon)[name] for name in wanted} == wanted,
              f"{wanted} in {self.account(daemon)}")
        return self.account(daemon)

    def files(self, ending=""):
        return sorted(self.spool.glob(f"*.{self.signal}{ending}"))

    def arrived(self):
        return [span["name"] for span in self.collector.spans()]

    def must_all_arrive(self):
        """Each of them once, and as they were."""
        self.must_arrive(self.collector, self.sent)


class TestSpool(SpoolCase):
    def test_spool_of_a_life_without_a_collector(self):
        self.collector.kill()
        daemon = self.start_spooling()
        self.give(daemon, 500)
        self.until_account(daemon, spooled=500)
        self.give(daemon, 120)
        daemon.stop()
        self.assertGreaterEqual(len(self.files()), 620 // 50)
        self.assertEqual(self.arrived(), [])

        self.collector.restart()
        daemon = self.start_spooling()
        account = self.until_account(daemon, exported=620, spooled=0)
        self.assertEqual((account["recovered"], account["accepted"], account["spool_files"]), (620, 620, 0))
        self.must_all_arrive()
        self.assertEqual(self.arrived(), sorted(self.arrived()))  # the oldest first
        self.assertEqual(self.files(), [])
        metrics = daemon.metrics()
        self.assertEqual(metrics.get("dwelld_export_recovered_total", signal="traces"), 620)
        self.assertEqual(metrics.get("dwelld_export_spooled", signal="traces"), 0)
        self.assertEqual(metrics.get("dwelld_export_spool_works", signal="traces"), 1)

    def test_spool_over_an_outage_in_one_life(self):
        daemon = self.start_spooling(max_queue_spans=200)
        self.give(daemon, 10)
        self.until_account(daemon, exported=10)
        self.collector.kill()
        for _ in range(20):  # far more than the queue holds
            self.give(daemon, 100)
            self.until_account(daemon, waiting=0, in_flight=0, spooled=len(self.sent) - 10)
        self.collector.restart()
        self.give(daemon, 10)
        account = self.until_account(daemon, exported=2020)
        self.assertEqual(sum(account["dropped"].values()), 0)
        self.must_all_arrive()
        self.assertEqual(self.arrived(), sorted(self.arrived()))
        daemon.wait_log("spans go to the spool")
        daemon.wait_log("the spool is empty")

    def test_spool_of_a_daemon_that_was_killed(self):
        self.collector.kill()
        daemon = self.start_spooling()
        self.give(daemon, 500)
        self.until_account(daemon, spooled=500)
        daemon.kill()
        self.collector.restart()
        daemon = self.start_spooling()
        self.until_account(daemon, exported=500, recovered=500)
        self.must_all_arrive()

    def test_spool_of_a_daemon_that_was_killed_while_it_wrote(self):
        self.collector.kill()
        told = 0
        for _ in range(5):
            daemon = self.start_spooling(max_batch=5)
            until(lambda: self.account(daemon)["recovered"] >= told, "what was on the disk is found")
            self.give(daemon, 500)
            until(lambda: self.account(daemon)["spooled"] > told, "some are on the disk")
            told = self.account(daemon)["spooled"]
            daemon.kill()
        self.collector.restart()
        daemon = self.start_spooling()
        until(lambda: self.account(daemon)["recovered"] >= told, "what was on the disk is found")
        account = self.until_account(daemon, spooled=0)
        self.assertEqual(account["exported"], account["recovered"])
        self.assertEqual(account["spool_damaged_files"], 0)
        self.assertEqual(len(self.collector.spans()), account["exported"])
        self.assertEqual(len(set(self.arrived())), account["exported"])

    def test_spool_sets_a_damaged_file_aside(self):
        self.collector.kill()
        daemon = self.start_spooling()
        self.give(daemon, 200)
        self.until_account(daemon, spooled=200)
        daemon.stop()
        files = self.files()
        bad, headless = files[1], files[2]
        counts = {path: int.from_bytes(path.read_bytes()[16:24], "little") for path in files}
        self.assertEqual(sum(counts.values()), 200)
        for path, at in ((bad, HEADER_BYTES + 10), (headless, 0)):
            content = bytearray(path.read_bytes())
            content[at] ^= 0xFF
            path.write_bytes(content)
        (self.spool / "README").write_text("mine")

        self.collector.restart()
        daemon = self.start_spooling()
        good = 200 - counts[bad] - counts[headless]
        account = self.until_account(daemon, exported=good, spooled=0)
        self.assertEqual(account["dropped"]["damaged"], counts[bad])
        self.assertEqual(account["recovered"], 200 - counts[headless])  # nobody knows how many those were
        self.assertEqual(account["spool_damaged_files"], 2)
        self.assertEqual(len(self.arrived()), good)
        self.assertEqual(len(set(self.arrived())), good)
        self.assertEqual([path.name for path in self.files(".damaged")], [f"{bad.name}.damaged",
                                                                         f"{headless.name}.damaged"])
        self.assertEqual((self.spool / "README").read_text(), "mine")
        daemon.wait_log("1 entries that are not dwelld's.*README")

    def test_spool_gives_up_its_oldest_files(self):
        self.collector.kill()
        daemon = self.start_spooling(spool_max_bytes=65536)
        self.give(daemon, 1000, attributes={"text": 100 * "x"})
        account = self.until_account(daemon, waiting=0, in_flight=0)
        given_up = account["dropped"]["spool_full"]
        self.assertGreater(given_up, 0)
        self.assertLessEqual(account["spool_bytes"], 65536)
        self.assertLessEqual(sum(path.stat().st_size for path in self.files()), 65536)
        daemon.wait_log("is full; .* is given up")
        self.collector.restart()
        self.until_account(daemon, exported=1000 - given_up, spooled=0)
        self.sent = self.sent[given_up:]  # what is newer is there
        self.must_all_arrive()

    def test_spool_without_room_on_the_disk(self):
        self.spool.mkdir(0o700)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k,mode=0700", "none", self.spool],
                          stderr=subprocess.DEVNULL, check=False).returncode != 0:
            raise unittest.SkipTest("nobody but root may mount a small disk")
        self.addCleanup(subprocess.run, ["umount", "--lazy", self.spool], check=True)
        self.collector.kill()
        daemon = self.start_spooling()
        self.give(daemon, 1000, attributes={"text": 100 * "x"})
        until(lambda: self.account(daemon)["spool_failures"] > 0, "the disk is full")
        account = self.account(daemon)
        self.assertGreater(account["spooled"], 0)
        self.assertGreater(account["waiting"] + account["in_flight"], 0)
        self.assertEqual(account["spool_works"], 0)
        daemon.wait_log("No space left on device")
        self.assertEqual(self.files(".tmp"), [])
        self.collector.restart()
        self.until_account(daemon, exported=1000)
        self.must_all_arrive()

    def test_spool_that_is_for_others(self):
        self.spool.mkdir()
        self.spool.chmod(0o755)
        daemon = self.start_spooling()
        daemon.wait_log("there is no spool: .* has mode 0755, expected 0700")
        self.give(daemon, 10)
        self.must_all_arrive()
        self.assertEqual(self.account(daemon)["spool_works"], 0)

    def test_spool_is_for_one_daemon(self):
        first = self.start_spooling()
        until(lambda: self.account(first)["spool_works"], "it has its spool")
        second = self.start_spooling()
        second.wait_log("another dwelld has this spool")
        self.give(second, 10)
        self.must_all_arrive()
        first.kill()
        third = self.start_spooling()
        until(lambda: self.account(third)["spool_works"], "it has the spool now")

    def test_spool_is_readable_by_its_owner_alone(self):
        self.collector.kill()
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        daemon = self.start_spooling()
        self.give(daemon, 10)
        self.until_account(daemon, spooled=10)
        self.assertEqual(self.spool.stat().st_mode & 0o7777, 0o700)
        for path in pathlib.Path(self.spool).iterdir():
            self.assertEqual(path.stat().st_mode & 0o7777, 0o600, path)


class TestMetricSpool(SpoolCase):
    """The same for data points: a counter is added to while the Collector is away, each time a snapshot later."""
    signal = "metrics"
    steps = (1, 2, 3, 4, 5)
    # What the Collector is told of these, without repetitions.
    told = {"cumulative": [1, 3, 6, 10, 15], "delta": [1, 2, 3, 4, 5], "lowmemory": [1, 2, 3, 4, 5]}

    def start_counting(self, temporality, **options):
        return self.start_spooling(metrics=True, traces=False, temporality=temporality, **options)

    def add(self, daemon, value):
        self.send(daemon, {"type": "counter", "name": "jobs", "value": value})

    def miss(self, daemon):
        """All steps, each in a file before the next one is made."""
        for value in self.steps:
            self.add(daemon, value)
            # The first new one may be of a snapshot that was taken before.
            before = self.account(daemon)["spool_files"]
            until(lambda: self.account(daemon)["spool_files"] >= before + 2, "a snapshot with it is on the disk")
        return self.account(daemon)

    def points(self):
        return [point for metric in self.collector.metrics("acgs2.acgs2-agent-bus.jobs") for point in metric["points"]]

    def must_be_told(self, temporality, *later):
        """The steps and what is told later: nothing is missing, and nothing comes twice or too late."""
        wanted = [*self.told[temporality], *later]

        def values():
            got = [point["value"] for point in self.points()]
            # Cumulative ones are told by each snapshot; deltas only when there is something to tell.
            return got if temporality != "cumulative" else [
                value for number, value in enumerate(got) if number == 0 or value != got[number - 1]]

        until(lambda: len(values()) >= len(wanted), f"{wanted} have come")
        self.assertEqual(values(), wanted)
        times = [point["time_unix_nano"] for point in self.points()]
        self.assertEqual(times, sorted(set(times)))
        starts = [point["start_time_unix_nano"] for point in self.points()]
        self.assertEqual(starts, sorted(starts))
        if temporality != "cumulative":
            for start, before in zip(starts[1:], times):
                self.assertGreaterEqual(start, before)

    def for_each_temporality(self, test):
        for temporality in self.told:
            with self.subTest(temporality=temporality):
                self.spool = self.directory() / "spool"
                self.collector = self.start_collector()
                self.collector.kill()
                test(temporality)
                self.collector.stop()

    def test_spool_of_metrics_over_an_outage_in_one_life(self):
        def test(temporality):
            daemon = self.start_counting(temporality)
            self.miss(daemon)
            self.assertEqual(self.points(), [])
            self.collector.restart()
            self.add(daemon, 7)
            self.must_be_told(temporality, 22 if temporality == "cumulative" else 7)
            until(lambda: self.account(daemon)["spool_files"] == 0, "the spool is empty")
            self.assertEqual(sum(self.account(daemon)["dropped"].values()), 0)
            daemon.wait_log("data points go to the spool")
            daemon.stop()

        self.for_each_temporality(test)

    def test_spool_of_metrics_over_a_restart(self):
        def test(temporality):
            daemon = self.start_counting(temporality)
            self.miss(daemon)
            daemon.stop()
            self.assertGreaterEqual(len(self.files()), 2 * len(self.steps))
            counts = sum(int.from_bytes(path.read_bytes()[16:24], "little") for path in self.files())
            self.collector.restart()
            daemon = self.start_counting(temporality)
            until(lambda: self.account(daemon)["recovered"] == counts, "the files are found")
            self.must_be_told(temporality)
            self.add(daemon, 7)
            self.must_be_told(temporality, 7)
            self.assertEqual(sum(self.account(daemon)["dropped"].values()), 0)
            self.assertEqual(self.files(), [])
            daemon.stop()

        self.for_each_temporality(test)

    def test_spool_of_metrics_has_the_last_snapshot(self):
        def test(temporality):
            daemon = self.start_counting(temporality, metric_interval_ms=86400000)
            self.add(daemon, 7)
            daemon.stop()
            self.assertEqual(len(self.files()), 1)
            self.collector.restart()
            daemon = self.start_counting(temporality, metric_interval_ms=86400000)
            until(lambda: self.account(daemon)["exported"] > 0, "the file is sent")
            until(self.points, "the point has come")
            self.assertEqual([point["value"] for point in self.points()], [7])
            daemon.stop()

        self.for_each_temporality(test)

    def test_spool_of_metrics_of_a_daemon_that_was_killed(self):
        def test(temporality):
            daemon = self.start_counting(temporality)
            spooled = self.miss(daemon)["spooled"]
            daemon.kill()
            self.collector.restart()
            daemon = self.start_counting(temporality)
            until(lambda: self.account(daemon)["recovered"] >= spooled, "the files are found")
            self.must_be_told(temporality)
            self.assertEqual(self.account(daemon)["spool_damaged_files"], 0)
            daemon.stop()

        self.for_each_temporality(test)

    def test_spool_of_both_signals_in_one_directory(self):
        self.collector.kill()
        daemon = self.start_spooling(metrics=True)
        self.give(daemon, 100)
        self.miss(daemon)
        daemon.stop()
        self.assertNotEqual(self.files(), [])
        self.assertNotEqual(list(self.spool.glob("*.traces")), [])
        self.collector.restart()
        self.start_spooling(metrics=True)
        self.must_all_arrive()
        self.must_be_told("cumulative")
