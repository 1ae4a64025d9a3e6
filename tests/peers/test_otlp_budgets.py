"""Layers that were over their time budget, as a real OpenTelemetry Collector has read it from their traces."""
import time
import unittest

import span_driver
from harness import until
from test_otlp import START, OtlpCase

LIMIT = 100  # events in a second


class TestBudgetEvents(OtlpCase):
    def budget(self, layer, elapsed_ms, span=None, **more):
        """A record of a layer, within a span or not."""
        ids = {key: span[key] for key in ("trace_id", "span_id")} if span else {}
        return {"type": "budget", "layer": layer, "elapsed_ms": elapsed_ms, **ids, **more}

    def events(self, peer, count):
        """Spans with an event of a budget, once so many spans have come."""
        until(lambda: peer.span_count() >= count, f"{count} spans have come")
        self.assertEqual(peer.span_count(), count)
        return [span for span in peer.spans() if span["name"] == "budget.exceeded"]

    def counted(self, daemon):
        metrics = daemon.metrics()
        return (metrics["dwelld_budget_events_total"], metrics["dwelld_budget_events_suppressed_total"])

    def test_otlp_budget_that_is_exceeded_is_an_event_below_its_span(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector)
        span = self.span("POST /v1/infer")
        self.send(daemon, self.budget("layer3_policy", 10, span), self.budget("layer3_policy", 99),
                  self.budget("layer3_policy", 12.5, span, operation="größe", request_id="r-17",
                              timestamp="2026-11-28T00:00:00Z"), span)
        event, = self.events(collector, 2)
        self.assertEqual((event["trace_id"], event["parent_span_id"]), (span["trace_id"], span["span_id"]))
        self.assertNotEqual(event["span_id"], span["span_id"])
        at = 1_795_824_000 * 10 ** 9
        self.assertEqual((event["start_time_unix_nano"], event["end_time_unix_nano"]), (at, at))
        self.must_equal([{key: one[key] for key in ("name", "time_unix_nano", "attributes")} for one in event["events"]],
                        [{"name": "budget.exceeded", "time_unix_nano": at, "attributes": {
                            "layer": "layer3_policy", "budget_ms": 10.0, "elapsed_ms": 12.5, "operation": "größe",
                            "request_id": "r-17"}}])
        self.assertIn("constitutional.hash", event["attributes"])
        self.assertEqual(self.counted(daemon), (1, 0))
        until(lambda: daemon.status()["export"]["traces"]["exported"] == 2, "both are accounted for")

    def test_otlp_budget_events_go_the_way_of_their_trace(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector, sample_rate=0, keep_errors=True)
        lost, decided, failed = self.span("lost"), self.span("decided", sampled=True), self.span(
            "failed", status={"code": "error"})
        self.send(daemon, *(self.budget("total", 51, span, operation=span["name"],
                                        **({"sampled": True} if "sampled" in span else {}))
                            for span in (lost, decided, failed)), lost, decided, failed)
        events = self.events(collector, 4)
        self.assertEqual(sorted(event["events"][0]["attributes"]["operation"] for event in events), ["decided", "failed"])
        self.assertEqual(self.counted(daemon), (3, 0))  # that of the lost one is held until its trace is given up

    def test_otlp_budget_events_are_limited(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector)
        span = self.span()
        records = 3 * LIMIT
        begun = time.monotonic()
        self.send(daemon, *(self.budget("layer1_validation", 6, span) for _ in range(records)))
        made, suppressed = self.counted(daemon)
        self.assertEqual(made + suppressed, records)
        seconds = 2 + int(time.monotonic() - begun)  # that they came in: usually one, or both sides of its end
        self.assertTrue(LIMIT <= made <= seconds * LIMIT, (made, seconds))
        self.assertEqual(len(self.events(collector, int(made))), made)
        self.assertEqual(daemon.get("/api/v1/budgets").json["layers"]["layer1_validation"]["exceeded_count"], records)

    def test_otlp_budget_events_of_the_client(self):
        collector = self.start_collector()
        daemon = self.start_daemon(collector)
        driver = span_driver.SpanDriver(span_driver.build(self.directory()), daemon.directory)
        self.addCleanup(driver.kill)
        driver.do("layer", "outside", 6)
        driver.do("start", 0, "request", "none", "")
        driver.do("layer", "check", 6)
        driver.do("layer", "check", 6)
        driver.do("end", 0)
        driver.flush()
        events = self.events(collector, 3)
        request, = (span for span in collector.spans() if span["name"] == "request")
        self.assertEqual(len(events), 2)
        for event in events:
            self.assertEqual((event["trace_id"], event["parent_span_id"]), (request["trace_id"], request["span_id"]))
            self.assertTrue(request["start_time_unix_nano"] < event["start_time_unix_nano"] < request["end_time_unix_nano"])
            self.assertEqual(event["events"][0]["attributes"]["operation"], "check")
            self.assertEqual(event["resource"]["service.name"], request["resource"]["service.name"])


if __name__ == "__main__":
    unittest.main()
