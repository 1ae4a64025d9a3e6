"""The metric objects: their table, what they record, what they refuse, and what the daemon then shows."""
import asyncio
import gzip
import json
import math
import sys
import threading
import unittest
from unittest import mock

from client_case import ROOT
from metrics_case import MetricsCase

import dwell
from dwell import _family, _part, exposition, metrics

from exposition import Exposition


class Table(unittest.TestCase):
    def test_names_labels_buckets_and_aggregations_are_those_of_the_daemons_file(self):
        declared = json.loads((ROOT / "config/families.json").read_text())["families"]
        self.assertEqual(len(metrics.FAMILIES), 17)
        for family, wanted in zip(metrics.FAMILIES, declared):
            labels = [] if wanted["type"] == "info" else wanted["labels"]
            self.assertEqual((family.name, family.kind, list(family.labelnames), list(family.buckets),
                              family.aggregation, family.documentation),
                             (wanted["name"], wanted["type"], labels, wanted.get("buckets", []),
                              wanted.get("aggregation"), wanted["help"]))

    def test_all_are_at_the_top_level_by_their_old_names(self):
        for name in ("HTTP_REQUEST_DURATION", "HTTP_REQUESTS_TOTAL", "HTTP_REQUESTS_IN_PROGRESS",
                     "CONSTITUTIONAL_VALIDATIONS_TOTAL", "CONSTITUTIONAL_VIOLATIONS_TOTAL",
                     "CONSTITUTIONAL_VALIDATION_DURATION", "MESSAGE_PROCESSING_DURATION", "MESSAGES_TOTAL",
                     "MESSAGE_QUEUE_DEPTH",
                     "CACHE_HITS_TOTAL", "CACHE_MISSES_TOTAL", "CACHE_SIZE", "SERVICE_INFO",
                     "WORKFLOW_EXECUTION_DURATION", "WORKFLOW_EXECUTIONS_TOTAL", "WORKFLOW_STEP_DURATION",
                     "WORKFLOW_STEP_RETRIES_TOTAL"):
            self.assertIn(getattr(dwell, name), metrics.FAMILIES)
        self.assertIs(dwell.PROMETHEUS_AVAILABLE, True)


class Declarations(unittest.TestCase):
    def setUp(self):
        patch = mock.patch.dict(_family._families)
        patch.start()
        self.addCleanup(patch.stop)

    def must_conflict(self, kind, *arguments, **named):
        with self.assertRaisesRegex(ValueError, "is declared as a "):
            kind(*arguments, **named)

    def test_a_second_declaration_is_the_same_family(self):
        first = dwell.Counter("jobs_total", "Jobs.", ["kind"])
        self.assertIs(dwell.Counter("jobs_total", "Other words.", ("kind",)), first)
        self.assertIs(dwell.Counter("jobs", "", ["kind"]), first)
        self.assertIs(dwell.Counter("total", "", ["kind"], subsystem="jobs"), first)
        self.assertIs(dwell.Counter("http_requests", "", ["method", "endpoint", "service", "status"]),
                      dwell.HTTP_REQUESTS_TOTAL)

    def test_a_conflicting_one_is_a_clear_error(self):
        dwell.Counter("jobs", "", ["kind"])
        dwell.Gauge("depth", "", ["queue"], aggregation="max")
        dwell.Histogram("took", "", buckets=[1, 2])
        self.must_conflict(dwell.Gauge, "jobs", "", ["kind"])
        self.must_conflict(dwell.Counter, "jobs", "", [])
        self.must_conflict(dwell.Counter, "jobs", "", ["other"])
        self.must_conflict(dwell.Counter, "jobs", "", ["kind"], unit="bytes")
        self.must_conflict(dwell.Gauge, "depth", "", ["queue"], aggregation="min")
        self.must_conflict(dwell.Histogram, "took", "", buckets=[1, 2, 3])
        self.must_conflict(dwell.Counter, "http_requests_total", "", ["method"])

    def test_a_declaration_that_means_nothing_is_an_error(self):
        for wrong in ({"labelnames": "kind"}, {"labelnames": ["a", "a"]}, {"labelnames": [""]},
                      {"labelnames": [f"l{number}" for number in range(_family.LABELS_MAX + 1)]}):
            with self.assertRaises(ValueError):
                dwell.Counter("x", "", **wrong)
        with self.assertRaises(ValueError):
            dwell.Counter("")
        with self.assertRaises(ValueError):
            dwell.Gauge("x", aggregation="mean")
        self.assertEqual(dwell.Gauge("y", multiprocess_mode="livesum").aggregation, "sum")

    def test_the_last_family_is_remembered_and_one_over_is_its_own(self):
        kept = _family.FAMILIES_MAX - len(_family._families)
        for number in range(kept):
            dwell.Counter(f"f{number}")
        self.assertEqual(len(_family._families), _family.FAMILIES_MAX)
        self.assertIs(dwell.Counter(f"f{kept - 1}"), dwell.Counter(f"f{kept - 1}"))
        self.assertIsNot(dwell.Counter("over", "", ["a"]), dwell.Counter("over", "", ["a"]))
        self.assertEqual(len(_family._families), _family.FAMILIES_MAX)


class Kept(unittest.TestCase):
    def setUp(self):
        _family._let_go()
        self.family = dwell.CACHE_HITS_TOTAL

    def kept(self):
        return sum(len(family._series) for family in metrics.FAMILIES)

    def test_a_series_is_found_again_however_its_labels_are_given(self):
        series = self.family.labels("c", "get")
        self.assertIs(self.family.labels(cache_name="c", operation="get"), series)
        self.assertIs(self.family.labels(operation="get", cache_name="c"), series)

    def test_up_to_the_ceiling_all_are_kept_and_one_over_begins_anew(self):
        _family._let_go()
        next_free = _family.SERIES_MAX - 1  # one is about to be kept after _let_go
        series = [self.family.labels("c", str(number)) for number in range(next_free)]
        self.assertEqual(self.kept(), next_free)
        self.assertIs(self.family.labels("c", "0"), series[0])
        dwell.CACHE_MISSES_TOTAL.labels("c", "one over")
        self.assertEqual(self.kept(), 1)
        self.assertIsNot(self.family.labels("c", "0"), series[0])

    def test_long_label_values_are_not_kept(self):
        for length, kept in ((_family.KEPT_CHARACTERS - 1, 1), (_family.KEPT_CHARACTERS, 1)):
            self.family.labels("c", "x" * length)
            self.assertEqual(self.kept(), kept)

    def test_values_that_are_equal_and_read_differently_are_different_series(self):
        shown = [self.family.labels("c", value)._shape[1]["operation"]
                 for value in (1, True, 1.0, "1", None)]
        self.assertEqual(shown, ["1", "True", "1.0", "1", "None"])


class Recording(MetricsCase):
    def test_every_operation_of_every_kind_arrives(self):
        request = {"method": "GET", "endpoint": "/", "service": "s"}
        dwell.HTTP_REQUESTS_TOTAL.labels(**request, status=200).inc()
        dwell.HTTP_REQUESTS_TOTAL.labels("GET", "/", "s", "200").inc(2.5)
        dwell.HTTP_REQUESTS_IN_PROGRESS.labels(**request).inc()
        dwell.HTTP_REQUESTS_IN_PROGRESS.labels(**request).inc(3)
        dwell.HTTP_REQUESTS_IN_PROGRESS.labels(**request).dec()
        dwell.HTTP_REQUEST_DURATION.labels(**request).observe(0.03)
        dwell.CACHE_SIZE.labels("c").set(4096)
        dwell.MESSAGE_QUEUE_DEPTH.labels("q", "high").set(float("nan"))
        dwell.SERVICE_INFO.info({"service_name": "s", "version": 2, "constitutional_hash": "h",
                                 "start_time": "t"})
        self.must_balance(9)
        self.must_show(("http_requests_total", {**request, "status": "200"}, 3.5),
                       ("http_requests_in_progress", request, 3),
                       ("http_request_duration_seconds_count", request, 1),
                       ("http_request_duration_seconds_sum", request, 0.03),
                       ("http_request_duration_seconds_bucket", {**request, "le": "0.025"}, 0),
                       ("http_request_duration_seconds_bucket", {**request, "le": "0.05"}, 1),
                       ("cache_size_bytes", {"cache_name": "c"}, 4096),
                       ("acgs2_service_info", {"service_name": "s", "version": "2",
                                               "constitutional_hash": "h",
                                               "start_time": "t"}, 1))
        self.assertTrue(math.isnan(self.daemon.metrics().get("message_queue_depth", queue_name="q",
                                                             priority="high")))

    def test_families_of_ones_own_arrive(self):
        dwell.Counter("jobs", "Jobs.").inc()
        dwell.Gauge("depth", "", ["q"]).labels("a").set(3)
        dwell.Gauge("level", "", aggregation="max").set(5)
        dwell.Gauge("running").inc()
        dwell.Gauge("running").dec()
        dwell.Histogram("took", unit="ms").observe(250)
        dwell.Info("build").info({"commit": "3f2a91c"})
        self.must_balance(7)
        self.must_show(("jobs_total", {}, 1), ("depth", {"q": "a"}, 3), ("level", {}, 5),
                       ("running", {}, 0),
                       ("took_seconds_sum", {}, 0.25), ("build_info", {"commit": "3f2a91c"}, 1))

    def test_an_exemplar_is_shown_and_a_wrong_one_is_left_out(self):
        ids = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}
        counter = dwell.Counter("jobs", "", ["kind"])
        counter.labels("a").inc(1, ids)
        for wrong in ({"trace_id": "zz"}, {"trace_id": 7}, {"other": "x"}, {"trace_id": "00"}):
            counter.labels("b").inc(1, exemplar=wrong)
        dwell.Histogram("took").observe(1, exemplar=ids)
        self.must_balance(6)
        shown = self.daemon.metrics("application/openmetrics-text; version=1.0.0").exemplars
        self.assertEqual(shown[("jobs_total", frozenset({("kind", "a")}))][0], ids)
        self.assertNotIn(("jobs_total", frozenset({("kind", "b")})), shown)

    def test_names_of_every_script_arrive_as_they_are(self):
        for value in ("größe", "数", "مرحبا", "🤖🚀", "a\nb", 'q"\\', "", "\u202e", "x" * 256):
            dwell.CACHE_HITS_TOTAL.labels(value, "get").inc()
            self.must_show(("cache_hits_total", {"cache_name": value, "operation": "get"}, 1))

    def test_what_cannot_be_recorded_is_counted_and_never_raised(self):
        class Bad:
            def __str__(self):
                raise RuntimeError("no text")

        hits, duration = dwell.CACHE_HITS_TOTAL, dwell.HTTP_REQUEST_DURATION
        good = hits.labels("c", "get")
        observed = duration.labels("GET", "/", "s")
        dropped = [
            lambda: good.inc("1"), lambda: good.inc(None), lambda: good.inc([]), lambda: good.inc(1j),
            lambda: good.inc(10**400), lambda: good.inc("1", {"trace_id": "00" * 16}),
            lambda: observed.observe("fast"), lambda: dwell.CACHE_SIZE.labels("c").set(object()),
            lambda: dwell.CACHE_SIZE.labels("c").dec("1"),
            lambda: hits.labels("c").inc(), lambda: hits.labels().inc(),
            lambda: hits.labels("c", "get", "x").inc(),
            lambda: hits.labels(cache_name="c").inc(), lambda: hits.labels(cache_name="c", other="x").inc(),
            lambda: hits.labels("c", cache_name="c", operation="x").inc(),
            lambda: hits.labels("c", Bad()).inc(),
            lambda: hits.labels(cache_name=Bad(), operation="x").inc(),
            lambda: hits.inc(), lambda: hits.labels("c").inc(1, {"trace_id": "00" * 16}),
            lambda: duration.observe(1),
            lambda: dwell.CACHE_SIZE.set(1), lambda: dwell.CACHE_SIZE.labels().inc(),
            lambda: dwell.Counter("plain").labels("x").inc(), lambda: dwell.SERVICE_INFO.info(None),
            lambda: dwell.SERVICE_INFO.info({"version": Bad()}),
            lambda: dwell.SERVICE_INFO.labels("x").info({})]
        rejected = [
            lambda: good.inc(-1), lambda: good.inc(float("nan")), lambda: good.inc(float("inf")),
            lambda: good.inc(1e301),
            lambda: observed.observe(float("nan")), lambda: observed.observe(float("-inf")),
            lambda: hits.labels("\0", "get").inc(), lambda: hits.labels("x" * 5000, "get").inc(),
            lambda: dwell.SERVICE_INFO.info({"version": "1"}), lambda: dwell.SERVICE_INFO.info({})]
        accepted = [lambda: good.inc(True), lambda: good.inc(0), lambda: good.inc(1e300),
                    lambda: good.inc(-0.0),
                    lambda: good.inc(1, exemplar=7),
                    lambda: dwell.CACHE_SIZE.labels("c").set(float("inf")),
                    lambda: hits.labels("\ud800", "x").inc()]
        with self.assertLogs("dwell", "ERROR") as logged:
            for call in dropped:
                before = self.own.stats()["dropped"]
                self.assertIsNone(call())
                self.assertEqual(self.own.stats()["dropped"], before + 1)
        for call in rejected + accepted:
            self.assertIsNone(call())
        self.must_balance(len(dropped) + len(rejected) + len(accepted), len(dropped), len(rejected))
        self.assertEqual(len(logged.output),
                         len({line.split("]")[1].split(" ")[1] for line in logged.output}))
        self.assertRegex(logged.output[0], r"\[cdd01ef066bc6cf2\] cache_hits_total has the labels ")

    def test_threads_lose_nothing(self):
        counter, threads, each = dwell.CACHE_HITS_TOTAL, 4, 2000

        def work(number):
            for step in range(each):
                counter.labels(f"c{(number + step) % 7}", "get").inc()

        running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        self.must_balance(threads * each)
        shown = self.daemon.metrics()
        self.assertEqual(sum(value for _, value in shown.series("cache_hits_total")), threads * each)

    def test_the_script_of_the_old_system_leads_to_its_exposition(self):
        by_name = {family.name: family for family in metrics.FAMILIES}
        golden = ROOT / "tests/data/golden"
        for update in json.loads((golden / "exposition_script.json").read_text())["updates"]:
            family = by_name.get(update["family"])
            if family is not None:
                series = family.labels(**update["labels"]) if update["labels"] else family
                value = update.get("value", 1)
                getattr(series, update["op"])(value if update["op"] == "info" else float(value))
        self.assertTrue(self.own.flush(20))
        shown, compared = self.daemon.metrics(), 0
        for (name, labels), value in Exposition((golden / "exposition.txt").read_text()).values.items():
            if not name.startswith("acgs2_model_") and not name.endswith("_created"):
                got = shown.values.get((name, labels), math.inf if math.isnan(value) else math.nan)
                both_nan = math.isnan(got) and math.isnan(value)
                self.assertTrue(both_nan or math.isclose(got, value, rel_tol=1e-9),
                                f"{name} {set(labels)}: {got} and not {value}")
                compared += 1
        self.assertGreater(compared, 500)
        self.assertEqual(self.ledger()["dropped"], 0)


class Parts(MetricsCase):
    """What processes add to a gauge that is a sum."""
    labels = {"method": "GET", "endpoint": "/", "service": "s"}

    def setUp(self):
        self.place = self.directory()
        super().setUp()
        self.running = self.gauge()

    def start(self, **options):
        return super().start(directory=self.place, **options)

    def gauge(self):
        _family._let_go()  # it is another object from now on
        return dwell.HTTP_REQUESTS_IN_PROGRESS.labels(**self.labels)

    def must_be(self, value):
        self.must_show(("http_requests_in_progress", self.labels, value))

    def begin_anew(self):
        self.assertTrue(self.own.flush(20))
        self.daemon.stop()
        self.assertFalse(self.own.flush())
        self.daemon = self.start()

    def test_what_ends_at_another_daemon_is_not_below_zero(self):
        tracked = dwell.track_request_metrics("s", "/")

        async def app(scope, receive, send):
            self.begin_anew()

        asgi = dwell.AsgiMetricsMiddleware(app, "s", lambda scope: "/")
        for call in (tracked(self.begin_anew),
                     lambda: asyncio.run(asgi({"type": "http", "method": "GET", "path": "/"}, None, None)),
                     lambda: (self.running.inc(), self.begin_anew(), self.running.dec())):
            call()
            self.must_be(0)

    def test_a_change_that_was_dropped_comes_with_the_next(self):
        with mock.patch.object(self.own, "put", lambda _: self.own.drop()):
            self.running.inc(2)
        self.running.inc()
        self.must_be(3)

    def test_it_is_one_however_it_is_asked_for(self):
        self.running.inc(2)
        self.gauge().inc()
        self.running.dec(0.5)
        self.must_be(2.5)
        self.gauge().set(7)
        self.running.inc(True)
        self.must_be(8)

    def test_changes_are_added_up_and_parts_have_a_ceiling(self):
        units, changes = _part.UNITS_MAX, _part.CHANGES_MAX
        for _ in range(units + 10):
            self.running.inc()
        for _ in range(changes + 10):
            self.running.inc(0.5)
        (part,) = _part._parts.values()
        self.assertLessEqual((len(part.units), len(part.changes)), (units, changes))
        self.must_be(units + 10 + (changes + 10) / 2)
        for _ in range(units + 10):
            self.running.dec()
        self.must_be((changes + 10) / 2)
        self.assertLessEqual(len(part.changes), changes)
        with mock.patch.object(_part, "PARTS_MAX", 1):
            other = dwell.HTTP_REQUESTS_IN_PROGRESS.labels("PUT", "/", "s")
            other.inc(2)
            other.dec()
            self.must_show(("http_requests_in_progress", {**self.labels, "method": "PUT"}, 1))
        self.assertEqual(len(_part._parts), 1)

    def test_what_is_out_of_range_is_the_daemons_to_reject(self):
        self.running.inc()
        for amount in (math.nan, math.inf, 1e301):
            self.running.inc(amount)
        for amount in ("1", None, 10**400):
            self.running.inc(amount)
        self.must_be(1)
        self.must_balance(7, dropped=3, rejected=3)

    def test_the_last_record_of_many_threads_holds(self):
        before = sys.getswitchinterval()
        self.addCleanup(sys.setswitchinterval, before)
        sys.setswitchinterval(1e-6)

        def work():
            for _ in range(500):
                self.running.inc()
                self.running.dec()

        threads = [threading.Thread(target=work) for _ in range(4)]
        self.running.inc()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.must_be(1)

    def test_processes_add_up_and_each_begins_at_nothing(self):
        code = """
import os, dwell
end, begun = os.pipe(), os.pipe()
def work():
    running = dwell.HTTP_REQUESTS_IN_PROGRESS.labels("GET", "/", "s")
    for _ in range(2): running.inc()
    running.dec()
@dwell.track_request_metrics("s", "/")
def fork():
    return os.fork()
dwell.HTTP_REQUESTS_IN_PROGRESS.labels("GET", "/", "s").inc(4)
dwell.client().flush(20)
children = []
while len(children) < 3 and 0 not in children:
    children.append(fork())
if 0 in children:
    os.close(end[1])
    work()
    dwell.client().flush(20)
    os.write(begun[1], b"x")
    os.read(end[0], 1)
    os._exit(0)
for _ in range(3): os.read(begun[0], 1)
dwell.client().flush(20)
import dwell._query as q
def shown():
    lines = str(q.ask("/metrics")[2], "utf-8").splitlines()
    return [line.rsplit(" ", 1)[1] for line in lines if line.startswith("http_requests_in_progress{")]
print(*shown())
os.close(end[1])
for child in children: os.waitpid(child, 0)
"""
        self.assertEqual(self.must_run(code, PYTHONWARNINGS="ignore"), "7\n")


class Endpoints(MetricsCase):
    def test_help_lines_are_there_before_anything_was_recorded_and_records_at_once(self):
        text = dwell.get_metrics()
        for family in metrics.FAMILIES:
            self.assertIn(f"# HELP {family.name} ".encode(), text)
        dwell.CACHE_HITS_TOTAL.labels("c", "get").inc()
        self.assertIn(b'cache_hits_total{cache_name="c",operation="get"} 1', dwell.get_metrics())
        self.assertEqual(dwell.get_metrics_content_type(),
                         self.daemon.get("/metrics").headers["Content-Type"])

    def test_service_info_is_one_series_however_often_it_is_said(self):
        dwell.set_service_info("api", "2.1")
        dwell.set_service_info("api", "2.1", constitutional_hash=dwell.metrics.CONSTITUTIONAL_HASH)
        self.must_balance(2)
        found = [labels for labels, _ in self.daemon.metrics().series("acgs2_service_info")
                 if labels["service_name"] == "api"]
        self.assertEqual([(labels["version"], labels["constitutional_hash"]) for labels in found],
                         [("2.1", "cdd01ef066bc6cf2")])

    def test_the_endpoint_answers_without_fastapi(self):
        with mock.patch.dict("sys.modules", {"starlette.responses": None}):
            answer = asyncio.run(dwell.create_metrics_endpoint()())
        self.assertEqual((answer.status_code, answer.media_type), (200, exposition.CONTENT_TYPE))
        self.assertIn(b"# HELP http_requests_total ", answer.body)
        sent = []

        async def send(message):
            sent.append(message)

        asyncio.run(answer({"type": "http"}, None, send))
        self.assertEqual((sent[0]["status"], sent[1]["body"]), (200, answer.body))

    def ask_wsgi(self, **headers):
        said = []
        body = b"".join(dwell.make_wsgi_app()({"REQUEST_METHOD": "GET", **headers},
                                              lambda *status: said.append(status)))
        return said[0][0], dict(said[0][1]), body

    def ask_asgi(self, **headers):
        sent = []

        async def send(message):
            sent.append(message)

        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        asyncio.run(dwell.make_asgi_app()({"type": "http", "headers": pairs}, None, send))
        names = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return sent[0]["status"], names, sent[1]["body"]

    def test_wsgi_and_asgi_hand_on_what_the_daemon_says_in_the_format_that_was_asked_for(self):
        status, headers, body = self.ask_wsgi(HTTP_ACCEPT="application/openmetrics-text; version=1.0.0",
                                              HTTP_ACCEPT_ENCODING="gzip")
        self.assertEqual((status, headers["Content-Encoding"]), ("200 OK", "gzip"))
        self.assertTrue(gzip.decompress(body).endswith(b"# EOF\n"))
        self.assertEqual(int(headers["Content-Length"]), len(body))
        status, headers, body = self.ask_asgi(Accept="application/openmetrics-text; version=1.0.0")
        self.assertEqual((status, headers["content-type"].split(";")[0]),
                         (200, "application/openmetrics-text"))
        self.assertTrue(body.endswith(b"# EOF\n"))

    def test_without_a_daemon_there_are_families_without_values_and_the_status_says_so(self):
        self.daemon.stop()
        status, _, body = self.ask_wsgi()
        self.assertEqual(status, "503 Service Unavailable")
        self.assertEqual(self.ask_asgi()[0], 503)
        self.assertEqual(asyncio.run(dwell.create_metrics_endpoint()()).status_code, 503)
        self.assertEqual(dwell.get_metrics(), body)
        text = body.decode()
        for family in metrics.FAMILIES:
            self.assertIn(f"# HELP {family.name} ", text)
        self.assertEqual([line for line in text.splitlines() if not line.startswith("#")], [])

    def test_disabled_it_costs_nothing_and_shows_nothing(self):
        out = self.must_run("import dwell, threading\ndwell.CACHE_HITS_TOTAL.labels('c', 'get').inc()\n"
                            "dwell.set_service_info('s', '1')\n"
                            "print(dwell.get_metrics()[:10], threading.active_count(),\n"
                            "      dwell.client().flush(), dwell.PROMETHEUS_AVAILABLE)",
                            DWELL_DISABLED="1")
        self.assertEqual(out, "b'# There is' 1 False False\n")
        self.must_balance(0)


if __name__ == "__main__":
    unittest.main()
