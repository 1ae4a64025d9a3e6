"""StatsD and DogStatsD over both sockets: what real clients send, and what becomes of it."""
import time
import unittest

from harness import DaemonCase, until


def payload(lines):
    """As Datadog's clients frame it on a stream."""
    data = lines.encode() if isinstance(lines, str) else lines
    return len(data).to_bytes(4, "little") + data


class StatsdCase(DaemonCase):
    def must_count(self, daemon, accepted, **rejected):
        self.assertEqual((daemon.accepted(), daemon.rejected()), (accepted, rejected))

    def latency(self, daemon, name):
        return daemon.models()[name]["latency"]


class TestStatsdStream(StatsdCase):
    def test_statsd_line_is_a_sample(self):
        daemon = self.start()
        self.assertEqual(daemon.send_raw("inference:12.5|ms|#model:m\n"), b"")
        self.must_count(daemon, 1)
        self.assertEqual(self.latency(daemon, "m")["mean_ms"], 12.5)

    def test_statsd_line_needs_no_newline_at_the_end(self):
        daemon = self.start()
        daemon.send_raw("model.inference:1|h|#model_name:m\r\n\ninference:3|d|#model:m")
        self.assertEqual(self.latency(daemon, "m")["mean_ms"], 2)

    def test_statsd_tags_are_device_and_labels(self):
        daemon = self.start(sets={"profiling.label_keys": ["region"]})
        daemon.send_raw("inference:1|ms|#region:eu,device:cuda:0,model:m,other:x\n")
        model, = daemon.get("/api/v1/models").json["models"]
        self.assertEqual(model["labels"], {"device": "cuda:0", "region": "eu"})

    def test_statsd_sampled_line_counts_as_so_many(self):
        daemon = self.start()
        daemon.send_raw("inference:5|ms|@0.1|#model:m\n" + "inference:5|ms|@0.3|#model:n\n" * 3)
        self.assertEqual({name: model["sample_count"] for name, model in daemon.models().items()}, {"m": 10, "n": 10})
        self.must_count(daemon, 4)
        metrics = daemon.metrics()
        self.assertEqual(metrics.get("acgs2_model_inference_total", model_name="m"), 10)
        self.assertEqual(metrics.get("acgs2_model_inference_latency_seconds_bucket", model_name="m", le="0.005"), 10)

    def test_statsd_packed_values_are_samples_each(self):
        daemon = self.start()
        daemon.send_raw("inference:1:2:3|ms|#model:m\n")
        self.assertEqual(daemon.sample_count("m"), 3)

    def test_statsd_names_of_samples_are_configured(self):
        daemon = self.start(sets={"ingest.statsd_samples": ["api.predict"]})
        daemon.send_raw("api.predict:1|ms|#model:m\ninference:1|ms|#model:n\n")
        self.assertEqual(set(daemon.models()), {"m"})

    def test_statsd_byte_by_byte_with_turns_of_the_loop_between(self):
        for data in (b"inference:1|ms|#model:m\n", payload("inference:1|ms|#model:m")):
            daemon = self.start()
            with daemon.peer() as peer:
                for count, byte in enumerate(data, 1):
                    peer.send(bytes([byte]))
                    if count % 8 == 0:
                        daemon.get("/readyz")
                self.assertEqual(peer.end().rest(), b"")
            self.assertEqual(daemon.sample_count("m"), 1)

    def test_statsd_bad_lines_are_counted_and_logged_and_not_answered(self):
        daemon = self.start()
        lines = "hello\nx\n\ninference:-1|ms|#model:m\na:|s\na:1|x\n:1|c\ninference:1|ms|#model:m\n"
        self.assertEqual(daemon.send_raw(lines), b"")
        self.must_count(daemon, 1, bad_syntax=2, out_of_range=1, unknown_type=1, bad_name=2)
        daemon.wait_log(r"rejected a record of process \d+, user \d+: a value lies outside its range: value, line 4$")

    def test_statsd_short_garbage_waits_for_its_second(self):
        daemon = self.start()
        with daemon.peer() as peer:
            began = time.monotonic()
            peer.send("x\n")
            until(lambda: daemon.rejected() == {"bad_syntax": 1}, "it is a bad line")
            self.assertGreater(time.monotonic() - began, 0.9)
            peer.send("inference:1|ms|#model:m\n").end()
            self.assertEqual(peer.rest(), b"")
        self.must_count(daemon, 1, bad_syntax=1)

    def test_statsd_events_and_checks_are_counted(self):
        daemon = self.start()
        daemon.send_raw("_e{1,1}:a|b|#x:y\n_sc|db|0\n_sc|db|1|m:text\n")
        daemon.datagram("_e{1,1}:a|b")
        until(lambda: daemon.metrics()["dwelld_statsd_events_total"] == 2, "both events")
        self.assertEqual(daemon.metrics()["dwelld_statsd_checks_total"], 2)
        self.must_count(daemon, 0)

    def test_statsd_long_line_is_rejected_alone(self):
        daemon = self.start(sets={"ingest.max_line_bytes": 256})
        good = "inference:1|ms|#model:m"
        daemon.send_raw(good + "|" + "x" * (256 - 1 - len(good)) + "\n" + good + "|" + "x" * (256 - len(good)) + "\n" + good)
        self.must_count(daemon, 2, too_long=1)

    def test_statsd_cannot_say_hello(self):
        daemon = self.start(sets={"service.enforce_hash": True})
        daemon.send_raw("inference:1|ms|#model:m\n")
        self.must_count(daemon, 0, no_hello=1)


class TestStatsdSets(StatsdCase):
    def test_statsd_set_is_one_for_all_senders(self):
        daemon = self.start()
        daemon.send_raw("users:alice|s\nusers:bob|s\nusers:alice|s|@0.5\nusers:alice|s|#plan:free\n")
        daemon.send_raw(payload("users:bob|s\nusers:http://x:80/|s"))
        daemon.datagram("users:1:2|s\nusers:1|s\nusers:größe|s")
        until(lambda: daemon.accepted() == 9, "all has arrived")
        self.must_count(daemon, 9)
        for accept in (None, "application/openmetrics-text;version=1.0.0"):
            metrics = daemon.metrics(accept)
            self.assertEqual(metrics.get("users"), 6)
            self.assertEqual(metrics.get("users", plan="free"), 1)
            self.assertEqual(metrics.types["users"], "gauge")
        self.assertEqual(metrics["dwelld_set_values"], 7)

    def test_statsd_set_is_no_gauge(self):
        daemon = self.start()
        daemon.send_raw("users:alice|s\nusers:1|g\ndepth:1|g\ndepth:1|s\n")
        self.must_count(daemon, 2, name_conflict=2)

    def test_statsd_set_values_leave_though_nothing_comes(self):
        daemon = self.start(sets={"profiling.window_seconds": 6})
        began = time.monotonic()
        daemon.send_raw("".join(f"users:{i}|s\n" for i in range(1000)))
        until(lambda: daemon.metrics().get("users") == 0, "the window has passed")
        self.assertGreater(time.monotonic() - began, 5)
        until(lambda: daemon.metrics()["dwelld_set_values"] == 0, "they are dropped")
        self.must_count(daemon, 1000)

    def test_statsd_set_values_have_a_ceiling(self):
        daemon = self.start(sets={"metrics.max_set_values": 3})
        daemon.send_raw("users:a|s\nusers:b|s\nothers:a|s\n")
        daemon.send_raw("users:c|s\nothers:b|s\nthird:a|s\nusers:a|s\n")
        self.must_count(daemon, 4, limit_reached=3)
        metrics = daemon.metrics()
        self.assertEqual((metrics.get("users"), metrics.get("others"), metrics.get("third")), (2, 1, None))

    def test_statsd_set_of_many_costs_what_is_said(self):
        many = 400000
        daemon = self.start(sets={"metrics.max_set_values": many})
        before = daemon.metrics()["dwelld_resident_memory_bytes"]
        daemon.send_raw("".join(f"users:visitor-{i}|s\n" for i in range(many + 1)))
        self.must_count(daemon, many, limit_reached=1)
        metrics = daemon.metrics()
        self.assertEqual(metrics.get("users"), many)
        self.assertLess((metrics["dwelld_resident_memory_bytes"] - before) / many, 40)


class TestStatsdPayloads(StatsdCase):
    def test_statsd_payloads_with_lengths(self):
        daemon = self.start()
        line = "inference:1|ms|#model:m"
        data = payload(line) + payload(f"{line}\n{line}\n") + payload("") + payload(f"{line}\n{line}")
        self.assertEqual(daemon.send_raw(data), b"")
        self.assertEqual(daemon.sample_count("m"), 5)

    def test_statsd_lengths_that_look_like_another_format(self):
        """123 begins with the byte of {, 10 with a newline, 2625 with A and a newline."""
        line = "inference:1|ms|#model:m,x:"
        for length in (10, 13, 32, 91, 123, 128, 2570, 2625, 2683):
            with self.subTest(length=length):
                daemon = self.start()
                is_line = length > len(line)
                daemon.send_raw(payload(line + "," * (length - len(line)) if is_line else "\n" * length) + payload(line))
                self.must_count(daemon, 1 + is_line)

    def test_statsd_payload_above_the_ceiling_ends_the_connection(self):
        daemon = self.start(sets={"ingest.max_frame_bytes": 1024})
        line = "inference:1|ms|#model:m\n"
        with daemon.peer() as peer:
            peer.send(payload(line) + payload(line + "\n" * (1024 - len(line))) + (1025).to_bytes(4, "little"))
            self.assertEqual(peer.rest(), b"")
        self.must_count(daemon, 2, too_long=1)

    def test_statsd_payload_cut_off_counts_its_whole_lines(self):
        daemon = self.start()
        line = "inference:1|ms|#model:m\n"
        self.assertEqual(daemon.send_raw(payload(2 * line + "more")[:-2]), b"")
        self.must_count(daemon, 2, bad_frame=1)
        daemon.wait_log(r"ended the connection of process \d+")


class TestStatsdDatagrams(StatsdCase):
    def test_statsd_datagram_holds_lines(self):
        daemon = self.start()
        daemon.datagram("inference:1|ms|#model:m\ninference:2|ms|#model:m\ninference:3|ms|#model:m")
        until(lambda: daemon.sample_count("m") == 3, "all three count")

    def test_statsd_datagrams_carry_what_is_left_of_a_weight(self):
        daemon = self.start()
        for _ in range(30):
            daemon.datagram("inference:5|ms|@0.3|#model:m")
        until(lambda: daemon.accepted() == 30, "all were read")
        self.assertEqual(daemon.sample_count("m"), 100)

    def test_statsd_datagram_with_bad_lines(self):
        daemon = self.start()
        daemon.datagram("a:x|c\ninference:1|ms|#model:m\na:1|y\n")
        until(lambda: daemon.accepted() == 1, "the good one counts")
        self.must_count(daemon, 1, bad_syntax=1, unknown_type=1)
        daemon.wait_log(r"rejected a datagram's record of process \d+, user \d+: .*: value, line 1$")


if __name__ == "__main__":
    unittest.main()
