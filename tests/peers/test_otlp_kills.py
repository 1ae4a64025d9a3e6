"""What a sudden end leaves behind: of the Collector, of clients with open spans, and of several services at once."""
import collections
import shutil
import tempfile
import threading
import unittest

import span_driver
from harness import until
from span_driver import SpanDriver
from test_otlp import CODES, OTHERS, OtlpCase

IN_BATCH = 50  # spans of one request, so that many requests are on the way
AT_ONCE = 20  # spans that are sent together
KILLS = 3


class KillCase(OtlpCase):
    def account(self, daemon):
        """Of traces, with the sum of what was dropped; it must balance, at this and every moment."""
        account = daemon.status()["export"]["traces"]
        dropped = sum(account["dropped"].values())
        self.assertEqual(account["accepted"], account["exported"] + account["waiting"] + account["in_flight"] + dropped)
        return account

    def wait_settled(self, daemon):
        """Nothing waits any more."""
        until(lambda: (account := self.account(daemon))["waiting"] + account["in_flight"] == 0, "all has gone out")
        return self.account(daemon)


class TestCollectorKilled(KillCase):
    def send_until(self, over, daemon, sent):
        with daemon.peer() as peer:
            while not over.is_set():
                records = [self.span(f"span {len(sent) + number}") for number in range(AT_ONCE)]
                peer.records(*records)
                peer.flush()
                sent += [record["span_id"] for record in records]

    def test_kills_of_the_collector_in_the_midst_of_it(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector, schedule_delay_ms=1, max_batch=IN_BATCH)
        sent, over = [], threading.Event()
        sender = threading.Thread(target=self.send_until, args=(over, daemon, sent))
        sender.start()
        try:
            for _ in range(KILLS):
                before = collector.span_count()
                until(lambda: collector.span_count() > before, "it takes spans")
                collector.kill()
                count = len(sent)
                until(lambda: len(sent) > count, "spans are sent meanwhile")
                self.account(daemon)
                collector.restart()
            before = collector.span_count()
            until(lambda: collector.span_count() > before, "it takes spans again")
        finally:
            over.set()
            sender.join()
        account = self.wait_settled(daemon)
        self.assertGreaterEqual(account["retries"], 1)
        dropped = sum(account["dropped"].values())
        self.assertEqual((account["accepted"], account["exported"]), (len(sent), len(sent) - dropped))
        arrived = collections.Counter(span["span_id"] for span in collector.spans())
        self.assertEqual(len(arrived), account["exported"])
        self.assertLessEqual(set(arrived), set(sent))
        # Of the request that was on the way at a kill nobody knows whether it was taken: it is sent again.
        again = sum(arrived.values()) - len(arrived)
        self.assertLessEqual(again, KILLS * IN_BATCH)

    def test_kills_of_the_collector_with_a_queue_that_fills(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector, schedule_delay_ms=1, max_queue_spans=100)
        self.send(daemon, self.span("before"))
        self.wait_settled(daemon)
        collector.kill()
        for count, dropped in ((100, 0), (1, 1), (200, 201)):
            self.send(daemon, *(self.span("meanwhile") for _ in range(count)))
            self.assertEqual(self.account(daemon)["dropped"]["queue_full"], dropped)
        collector.restart()
        until(lambda: self.account(daemon)["exported"] == 101, "what was kept has gone out")
        self.send(daemon, self.span("after"))
        self.wait_settled(daemon)
        self.assertEqual(collections.Counter(self.names(collector)), {"before": 1, "meanwhile": 100, "after": 1})

    def test_kills_of_the_collector_that_last_too_long(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector, schedule_delay_ms=1, retry_timeout_ms=1)
        collector.kill()
        self.send(daemon, self.span("lost"))
        account = self.wait_settled(daemon)
        self.assertEqual({reason: count for reason, count in account["dropped"].items() if count}, {"timeout": 1})
        collector.restart()

        def one_more():
            self.send(daemon, self.span("after"))
            return self.wait_settled(daemon)["exported"] > 0

        until(one_more, "it is reached again")
        self.assertEqual(set(self.names(collector)), {"after"})

    def test_kills_of_the_collector_that_nobody_ends(self):
        """The daemon ends without it, and says how many did not go out."""
        collector = self.start_collector()
        daemon = self.start_daemon(collector, schedule_delay_ms=1, sets={"shutdown.timeout_ms": 200})
        collector.kill()
        self.send(daemon, *(self.span() for _ in range(7)))
        daemon.stop()
        self.assertRegex("\n".join(daemon.log), r"\b7 spans\b")
        self.assertEqual(collector.spans(), [])


class TestClientsKilled(KillCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        base = tempfile.mkdtemp(prefix="dwell-test-")
        cls.addClassCleanup(shutil.rmtree, base)
        cls.program = span_driver.build(base)

    def drive(self, daemon, **options):
        driver = SpanDriver(self.program, daemon.directory, **options)
        self.addCleanup(driver.end)
        return driver

    def must_be_cut_off(self, span, why, message):
        self.assertEqual(span["status"], {"code": CODES["error"], "message": message})
        self.assertEqual(span["attributes"]["dwell.cut_off"], why)
        self.assertGreaterEqual(span["end_time_unix_nano"], span["start_time_unix_nano"])

    def test_kills_of_a_client_with_open_spans(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector)
        driver = self.drive(daemon)
        driver.start(0, "request", how="halves")
        driver.start(1, "model", how="halves")
        driver.start(2, "ended")
        driver.do("end", 2)
        contexts = [driver.do("context", number) for number in range(3)]
        driver.flush()
        driver.kill()
        spans = {span["name"]: span for span in collector.wait_spans(3)}
        self.assertEqual(sorted(spans), ["ended", "model", "request"])
        for name, context in zip(("request", "model", "ended"), contexts):
            self.assertEqual((spans[name]["trace_id"], spans[name]["span_id"]), (context["trace_id"], context["span_id"]))
        self.assertEqual([spans[name]["parent_span_id"] for name in ("request", "model", "ended")],
                         ["", contexts[0]["span_id"], contexts[1]["span_id"]])
        for name in ("request", "model"):
            self.must_be_cut_off(spans[name], "process_ended", "the process ended before the span did")
        self.assertEqual(spans["ended"]["status"]["code"], CODES["unset"])
        self.assertNotIn("dwell.cut_off", spans["ended"]["attributes"])
        self.wait_settled(daemon)
        self.assertEqual(len(collector.spans()), 3)

    def test_kills_of_many_clients(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector)
        drivers = [self.drive(daemon) for _ in range(8)]
        for driver in drivers:
            for number in range(64):
                driver.start(number, f"span {number}", "none", "halves")
            driver.flush()
        self.assertEqual(daemon.metrics()["dwelld_open_spans"], 8 * 64)
        for driver in drivers:
            driver.kill()
        spans = collector.wait_spans(8 * 64)
        self.assertEqual(len({span["span_id"] for span in spans}), 8 * 64)
        self.assertEqual({span["attributes"].get("dwell.cut_off") for span in spans}, {"process_ended"})
        self.assertEqual(daemon.metrics()["dwelld_open_spans"], 0)

    def test_kills_of_the_daemon_in_order_cut_off_what_is_open(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector)
        driver = self.drive(daemon)
        driver.start(0, "open", how="halves")
        driver.flush()
        daemon.stop()
        span, = collector.spans()
        self.must_be_cut_off(span, "daemon_stopped", "dwelld was stopped before the span ended")

    def test_kills_by_the_ceiling_of_open_spans(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector, sets={"ingest.max_open_spans": 1})
        driver = self.drive(daemon)
        driver.start(0, "oldest", how="halves")
        driver.start(1, "newest", how="halves")
        driver.do("end", 1)
        driver.flush()
        spans = {span["name"]: span for span in collector.wait_spans(2)}
        self.must_be_cut_off(spans["oldest"], "ceiling_reached", "too many spans were open, and this one was the oldest")
        self.assertNotIn("dwell.cut_off", spans["newest"]["attributes"])

    def test_kills_among_services_leave_each_its_resource(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector)
        drivers = {service: self.drive(daemon, service=service) for service in ("shop", "größe")}
        for service, driver in drivers.items():
            driver.start(0, f"open of {service}", how="halves")
            driver.start(1, f"whole of {service}")
            driver.do("end", 1)
            driver.flush()
        drivers["shop"].kill()
        drivers["größe"].do("end", 0)
        drivers["größe"].flush()
        spans = collector.wait_spans(4)
        self.assertEqual(len(spans), 4)
        for span in spans:
            service = span["name"].split()[-1]
            self.must_equal(span["resource"], {**OTHERS, "service.name": service})
            self.assertEqual("dwell.cut_off" in span["attributes"], span["name"] == "open of shop")


if __name__ == "__main__":
    unittest.main()
