"""What goes in through both sockets in both formats, and what the daemon answers and counts."""
import itertools
import json
import os
import socket
import struct
import time
import unittest

import wire
from harness import HASH, OPENMETRICS, DaemonCase, Peer, until

FULL = {
    "model_name": "m", "execution_time_ms": 10.0, "cpu_percent_before": 5.0, "cpu_percent_during": 80.0,
    "memory_mb_before": 100.0, "memory_mb_after": 128.5, "error": True, "queue_ms": 2.5, "batch_size": 8.0,
    "device": "cuda:0", "trace_id": "0123456789abcdef" * 2, "span_id": "fedcba9876543210", "user_ms": 4.0,
    "system_ms": 2.0, "runqueue_ms": 1.0, "minor_faults": 0.0, "major_faults": 0.0, "voluntary_switches": 3.0,
    "bytes_moved": 1e6, "flops": 2e9, "threads": 1.0, "process_cpu_ms": 6.5, "involuntary_switches": 2.0,
    "disk_bytes": 4096.0, "thread_id": 4711,
}
STAMP_NS = 1709204400250000000
ID = bytes(range(16))


def sample(name="m", ms=5.0, **more):
    return {"model_name": name, "execution_time_ms": ms, **more}


def binary(name="m", ms=5.0, **more):
    return wire.sample(model_name=name, execution_time_ms=ms, **more)


class IngestCase(DaemonCase):
    def send_frames(self, daemon, *batches):
        """Frames over a connection of their own; returns the replies."""
        return wire.read_replies(daemon.send_raw(wire.MAGIC + b"".join(map(wire.frame, batches))))

    def must_count(self, daemon, accepted, **rejected):
        self.assertEqual((daemon.accepted(), daemon.rejected()), (accepted, rejected))

    def must_answer(self, daemon, text, reason, error=None, line=1):
        """One line in, one line of error out."""
        answer, = [json.loads(line) for line in daemon.send_raw(text).splitlines()]
        self.assertEqual((answer["reason"], answer["line"]), (reason, line), answer)
        if error is not None:
            self.assertEqual(answer["error"], error)


class TestIngestFields(IngestCase):
    """Each field of a sample, by NDJSON and by frames, stream and datagram: the same result."""

    def must_show_everything(self, daemon, via):
        model, = daemon.get("/api/v1/models?name=m").json["models"]
        self.assertEqual(model["labels"], {"device": "cuda:0", "region": "eu"}, via)
        self.assertEqual((model["sample_count"], model["errors"]), (1, 1))
        self.assertEqual(model["latency"], {**dict.fromkeys(
            ("p50_ms", "p90_ms", "p95_ms", "p99_ms", "p999_ms", "mean_ms", "min_ms", "max_ms"), 10.0), "std_ms": 0.0})
        self.assertEqual(model["cpu"], {"avg_percent": 80.0, "peak_percent": 80.0})
        self.assertEqual(model["memory"], {"avg_mb": 128.5, "peak_mb": 128.5})
        self.assertEqual(model["time"], {"user_ms": 4.0, "system_ms": 2.0, "fault_ms": 0.0, "runqueue_ms": 1.0,
                                         "blocked_ms": 3.0, "inferences": 1, "wall_ms": 10.0})
        self.assertEqual((model["analysis"]["bottleneck_type"], model["analysis"]["reason"]),
                         ("unknown", "the only sample is an error"))
        self.assertIsNone(model["analysis"]["gpu_decision"])
        metrics = daemon.metrics(OPENMETRICS)
        labels = {"model_name": "m", "device": "cuda:0", "region": "eu"}
        self.assertEqual(metrics.get("acgs2_model_cpu_percent", **labels), 80)
        self.assertEqual(metrics.get("acgs2_model_queue_seconds_sum", **labels), 0.0025)
        self.assertEqual(metrics.get("acgs2_model_batch_size_sum", **labels), 8)
        self.assertEqual(metrics.get("acgs2_model_time_seconds_total", state="blocked", **labels), 0.003)
        exemplar, = metrics.exemplars.values()
        self.assertEqual(exemplar, ({"trace_id": FULL["trace_id"], "span_id": FULL["span_id"]}, 0.01, 1709204400.25))

    def test_ingest_takes_every_field(self):
        line = json.dumps({**FULL, "labels": {"region": "eu", "other": "x"}, "timestamp": "2024-02-29T11:00:00.25Z"})
        content = wire.batch([wire.sample(**FULL, labels={"region": "eu", "other": "x"}, timestamp_unix_nano=STAMP_NS)])
        ways = {
            "NDJSON stream": lambda daemon: daemon.send_raw(line),
            "NDJSON datagram": lambda daemon: daemon.datagram(line),
            "frame": lambda daemon: daemon.send_raw(wire.MAGIC + wire.frame(content)),
            "batch datagram": lambda daemon: daemon.datagram(wire.MAGIC + content),
        }
        for via, send in ways.items():
            with self.subTest(via=via):
                daemon = self.start(sets={"profiling.label_keys": ["region"]})
                send(daemon)
                until(lambda: daemon.accepted() == 1, "the sample counts")
                self.must_show_everything(daemon, via)
                self.assertEqual(daemon.metrics()["dwelld_unknown_keys_total"], 0)

    def test_ingest_least_sample(self):
        for via in ("NDJSON", "frame"):
            daemon = self.start()
            if via == "NDJSON":
                daemon.send(sample())
            else:
                self.send_frames(daemon, wire.batch([binary()]))
            model = daemon.models()["m"]
            self.assertEqual(model["labels"], {})
            self.assertEqual((model["cpu"], model["memory"]), ({"avg_percent": None, "peak_percent": None},
                                                               {"avg_mb": None, "peak_mb": None}))
            self.assertEqual((model["analysis"]["bottleneck_type"], model["analysis"]["rule"]), ("unknown", "no_cpu"))
            self.assertEqual(model["time"]["inferences"], 0)
            self.assertIsNone(model["time"]["user_ms"])

    def test_ingest_no_cpu_is_not_zero_cpu(self):
        daemon = self.start()
        self.send_frames(daemon, wire.batch([binary("none"), binary("zero", cpu_percent_during=0.0)]))
        daemon.send(sample("null", cpu_percent_during=None), sample("nought", cpu_percent_during=0))
        rules = {name: model["analysis"]["rule"] for name, model in daemon.models().items()}
        self.assertEqual(rules, {"none": "no_cpu", "null": "no_cpu", "zero": "io_low_cpu", "nought": "io_low_cpu"})

    def test_ingest_error_may_be_true_or_text(self):
        daemon = self.start()
        daemon.send(sample(error=True), sample(error="out of memory"), sample(error=False), sample(error=None), sample())
        self.send_frames(daemon, wire.batch([binary(error=1), binary(error_text="boom"), binary(error=0), binary()]))
        self.assertEqual((daemon.models()["m"]["errors"], daemon.models()["m"]["sample_count"]), (4, 9))

    def test_ingest_names_by_string_table(self):
        daemon = self.start()
        samples = [wire.sample(model_ref=ref, execution_time_ms=2.0) for ref in (1, 2, 2, 3)]
        self.assertEqual(self.send_frames(daemon, wire.batch(samples, strings=["a", "b", "c"]),
                                          wire.batch(samples[:2], strings=["c", "a"])), [])
        self.assertEqual({name: model["sample_count"] for name, model in daemon.models().items()}, {"a": 2, "b": 2, "c": 2})

    def test_ingest_number_texts(self):
        """64-bit integers may be texts; figures may not."""
        daemon = self.start()
        hello = {"type": "hello", "pid": "4294967296", "client_id": ID.hex(), "sequence": "18446744073709551614"}
        self.assertEqual(daemon.send(hello), [])
        self.must_answer(daemon, json.dumps(sample(ms="5")), "wrong_type")


class TestIngestFlow(IngestCase):
    def test_ingest_close_means_applied(self):
        daemon = self.start()
        for count in range(1, 30):
            daemon.send(*[sample()] * 100)
            self.assertEqual(daemon.models()["m"]["sample_count"], count * 100)

    def test_ingest_flush_counts_what_was_applied(self):
        daemon = self.start()
        with daemon.peer() as peer:
            self.assertEqual(peer.flush(), 0)
            peer.records(*[sample()] * 7)
            self.assertEqual(peer.flush(), 7)
            peer.records({"model_name": "m"}, sample(), sample())
            self.assertEqual(peer.line()["reason"], "missing_key")
            self.assertEqual(peer.flush(), 9)
            self.assertEqual(daemon.models()["m"]["sample_count"], 9)

    def test_ingest_flush_of_frames(self):
        daemon = self.start()
        with daemon.peer() as peer:
            peer.send(wire.MAGIC + wire.frame(wire.batch([binary()] * 3, flush=True)))
            self.assertEqual(wire.read_replies(peer.exactly(6)), [{"flushed": 3}])
            peer.send(wire.frame(b"") + wire.frame(wire.batch(flush=True)))
            self.assertEqual(wire.read_replies(peer.exactly(6)), [{"flushed": 3}])
            peer.send(wire.frame(wire.batch([binary()] * 300, flush=True)))
            self.assertEqual(wire.read_replies(peer.exactly(7)), [{"flushed": 303}])
            self.assertEqual(peer.end().rest(), b"")

    def test_ingest_goodbye_and_hello_are_no_records(self):
        daemon = self.start()
        self.assertEqual(daemon.send({"type": "hello", "service_name": "s", "service_version": "1", "pid": os.getpid(),
                                      "constitutional_hash": HASH, "client": "test/1"}, sample(), {"type": "goodbye"}), [])
        self.send_frames(daemon, wire.batch([binary()], hello_message=wire.hello(
            service_name="s", service_version="1", pid=1, constitutional_hash=HASH, client="test/1"), goodbye=1))
        self.must_count(daemon, 2)

    def test_ingest_unterminated_last_line_is_a_line(self):
        daemon = self.start()
        self.assertEqual(daemon.send_raw(json.dumps(sample())), b"")
        self.assertEqual(daemon.send_raw(json.dumps(sample()) + "\n" + json.dumps(sample())), b"")
        self.must_answer(daemon, '{"model_name"', "bad_syntax")
        self.must_count(daemon, 3, bad_syntax=1)

    def test_ingest_blank_lines_and_carriage_returns(self):
        daemon = self.start()
        line = json.dumps(sample())
        self.assertEqual(daemon.send_raw(f"\n\r\n  \n{line}\r\n\n\t{line} \r\n \n"), b"")
        self.must_count(daemon, 2)

    def test_ingest_nothing_at_all(self):
        daemon = self.start()
        for data in ("", "\n", " ", "\n\n\n\n\n", "DWL1"):
            self.assertEqual(daemon.send_raw(data), b"", repr(data))
        self.must_count(daemon, 0)

    def test_ingest_peers_split_bytes_anywhere(self):
        daemon = self.start()
        line = ('{"model_name": "größe", "execution_time_ms": 12.5}\n{"model_name": "größe", "labels": {"a": "\\u00e9"}, '
                '"execution_time_ms": 1e1}\n').encode()
        frames = wire.MAGIC + wire.frame(wire.batch([binary("größe", 12.5)])) + wire.frame(wire.batch([binary("größe", 10.0)]))
        for data in (line, frames):
            before = daemon.accepted()
            for at in range(1, len(data)):
                with daemon.peer() as peer:
                    peer.send(data[:at]).send(data[at:])
                    self.assertEqual(peer.end().rest(), b"")
            self.assertEqual(daemon.accepted() - before, 2 * (len(data) - 1))
        self.must_count(daemon, 2 * (len(line) + len(frames) - 2))
        self.assertEqual(set(daemon.models()), {"größe"})

    def test_ingest_byte_by_byte_with_turns_of_the_loop_between(self):
        daemon = self.start()
        data = wire.MAGIC + wire.frame(wire.batch([binary()])) + wire.frame(wire.batch([binary()]))
        with daemon.peer() as peer:
            for count, byte in enumerate(data, 1):
                peer.send(bytes([byte]))
                # Another connection's answer shows that the loop has seen this byte.
                if count % 8 == 0:
                    daemon.get("/readyz")
            self.assertEqual(peer.end().rest(), b"")
        self.must_count(daemon, 2)

    def test_ingest_many_peers_at_once(self):
        daemon = self.start()
        peers = [daemon.peer() for _ in range(50)]
        for turn in range(10):
            for number, peer in enumerate(peers):
                peer.records(sample(f"m{number % 5}"))
        for peer in peers:
            self.assertEqual(peer.end().rest(), b"")
            peer.close()
        self.assertEqual({model["sample_count"] for model in daemon.models().values()}, {100})

    def test_ingest_datagrams_hold_several_records(self):
        daemon = self.start()
        line = json.dumps(sample())
        daemon.datagram(line + "\n" + line + "\n" + line)
        daemon.datagram(wire.MAGIC + wire.batch([binary()] * 4))
        daemon.datagram(wire.MAGIC)
        daemon.datagram(" \n " + line + "\n")
        until(lambda: daemon.metrics()["dwelld_datagrams_total"] == 4, "four datagrams")
        self.must_count(daemon, 8)

    def test_ingest_datagrams_that_are_bad(self):
        daemon = self.start()
        for data in ("GET / HTTP/1.1\r\n", "[{}]", b"\x80\x00\x00\x00", b"DWL2xxxx"):
            daemon.datagram(data)
        daemon.datagram("")
        daemon.datagram(wire.MAGIC + b"\xff\xff\xff")
        daemon.datagram("{broken")
        daemon.datagram(wire.MAGIC + wire.batch([binary(), wire.sample(execution_time_ms=1.0), binary()]))
        until(lambda: daemon.metrics()["dwelld_datagrams_total"] == 8, "eight datagrams")
        self.must_count(daemon, 2, unknown_format=4, bad_frame=1, bad_syntax=1, missing_key=1)

    def test_ingest_received_bytes_are_counted(self):
        daemon = self.start()
        data = json.dumps(sample()) + "\n"
        daemon.send_raw(data)
        daemon.datagram(data)
        until(lambda: daemon.metrics()["dwelld_received_bytes_total"] == 2 * len(data), "both were counted")


class TestIngestFormat(IngestCase):
    """Choosing the format from the first bytes."""

    def must_refuse(self, daemon, data):
        with daemon.peer() as peer:
            peer.send(data)
            answer = peer.line()
            self.assertEqual(answer["reason"], "unknown_format", data)
            self.assertNotIn("line", answer)
            self.assertIsNone(peer.line())

    def test_ingest_format_refused_with_one_line(self):
        daemon = self.start()
        refused = ["GET /metrics HTTP/1.1\r\n", "POST", "[1]\n", "\ufeff{}", b"DWL2", b"\xff\xfe{x", b"\x80\x80\x80\x80",
                   "  [ "]
        for data in refused:
            with self.subTest(data=data):
                self.must_refuse(daemon, data)
        self.must_count(daemon, 0, unknown_format=len(refused))

    def test_ingest_format_of_an_http_client_is_told(self):
        """Whoever opens the ingest socket with an HTTP client reads why it does not work."""
        daemon = self.start()
        self.assertIn(b"unknown_format", daemon.send_raw("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"))

    def test_ingest_format_is_for_the_whole_life(self):
        daemon = self.start()
        frame = wire.MAGIC + wire.frame(wire.batch([binary()]))
        answers = daemon.send_raw(json.dumps(sample()).encode() + b"\n" + frame + b"\n" + json.dumps(sample()).encode())
        self.assertEqual({json.loads(line)["reason"] for line in answers.splitlines()}, {"bad_syntax"})
        self.assertEqual(daemon.accepted(), 2)

    def test_ingest_format_is_chosen_after_a_second(self):
        daemon = self.start()
        for start, after, wanted in (("{", '"model_name":"m","execution_time_ms":1}\n{"type":"flush"}\n', {"flushed": 1}),
                                     ("[1]", "", {"reason": "unknown_format"})):
            with self.subTest(start=start), daemon.peer() as peer:
                began = time.monotonic()
                peer.send(start)
                if wanted.get("reason"):
                    self.assertEqual(peer.line()["reason"], wanted["reason"])
                    self.assertGreater(time.monotonic() - began, 0.9)
                    self.assertIsNone(peer.line())
                else:
                    peer.send(after)
                    self.assertEqual(peer.line(), wanted)

    def test_ingest_format_half_chosen_then_the_end(self):
        daemon = self.start()
        for data, reason in (("{", "bad_syntax"), ("[1]", "unknown_format"), ("{}", "missing_key")):
            answer, = [json.loads(line) for line in daemon.send_raw(data).splitlines()]
            self.assertEqual(answer["reason"], reason)

    def test_ingest_format_not_hurried_by_silence(self):
        """A peer that has said nothing may take its time."""
        daemon = self.start()
        with daemon.peer() as silent, daemon.peer() as clock:
            clock.send("[1]")
            clock.rest()  # a second has passed
            silent.records(sample())
            self.assertEqual(silent.flush(), 1)


class TestIngestAnswers(IngestCase):
    def test_ingest_answers_name_key_reason_and_line(self):
        daemon = self.start()
        cases = [
            ('{"modle_name":"m","execution_time_ms":1}', "missing_key",
             'missing "model_name" (did you mean it by "modle_name"?)'),
            ('{"model_name":"m"}', "missing_key", 'missing "execution_time_ms"'),
            ('{"model_name":5,"execution_time_ms":1}', "wrong_type", None),
            ('{"model_name":"","execution_time_ms":1}', "bad_name", None),
            ('{"model_name":"m","execution_time_ms":-1}', "out_of_range", None),
            ('{"model_name":"m","execution_time_ms":1,"execution_time_ms":2}', "duplicate_key", None),
            ('{"type":"sampel"}', "unknown_type", 'unknown type "sampel" (did you mean "sample"?)'),
            ('{"type":"budget","layer":"total","elapsed_ms":-1}', "out_of_range", None),
            ('{"type":"counter","name":"c"}', "missing_key", 'missing "value"'),
            ('{"type":"gauge","name":"g","value":1,"delta":1}', "duplicate_key", None),
            ('{"type":"info","name":"i","attributes":{"a":1.5}}', "wrong_type", None),
            ('{"model_name":"m","execution_time_ms":1,"labels":{"a":1}}', "wrong_type", None),
            ('{"model_name":"m","execution_time_ms":1,"trace_id":"xyz"}', "out_of_range", None),
            ('{"model_name":"m","execution_time_ms":1,"timestamp":"yesterday"}', "out_of_range", None),
            ("nonsense", "bad_syntax", None), ("[]", "bad_syntax", None), ('{"a":1}}', "bad_syntax", None),
        ]
        for text, reason, error in cases:
            with self.subTest(text=text):
                self.must_answer(daemon, "{}\n".replace("{}", json.dumps(sample())) + text, reason, error, line=2)
        self.assertEqual(daemon.accepted(), len(cases))
        self.assertEqual(sum(daemon.rejected().values()), len(cases))

    def test_ingest_answers_come_in_order_and_good_lines_go_on(self):
        daemon = self.start()
        records = [sample() if i % 3 else {"model_name": "m"} for i in range(30)]
        answers = daemon.send(*records)
        self.assertEqual([answer["line"] for answer in answers], [i + 1 for i in range(30) if i % 3 == 0])
        self.must_count(daemon, 20, missing_key=10)

    def test_ingest_answers_to_a_burst_are_complete(self):
        """More than the daemon itself keeps for a peer, and less than the peer's socket takes."""
        daemon = self.start()
        self.assertEqual([answer["line"] for answer in daemon.send(*[{"model_name": "m"}] * 1500)], list(range(1, 1501)))
        self.assertEqual(daemon.metrics()["dwelld_lost_replies_total"], 0)

    def test_ingest_answers_while_the_peer_goes_on_sending(self):
        daemon = self.start()
        with daemon.peer() as peer:
            for number in range(1, 200):
                peer.records({"model_name": "m"})
                self.assertEqual(peer.line()["line"], number)

    def test_ingest_bad_record_in_a_frame_is_rejected_alone(self):
        daemon = self.start()
        bad = [wire.sample(execution_time_ms=1.0), wire.sample(model_name="m"), binary(""), binary(ms=-1.0),
               binary(ms=float("nan")), binary(ms=float("inf")), wire.sample(model_ref=9, execution_time_ms=1.0),
               binary("x" * 257), binary(b"\xff"), binary(b"a\0b"), binary(labels={"": "x"})]
        self.assertEqual(self.send_frames(daemon, wire.batch(itertools.chain(*([content, binary()] for content in bad)))), [])
        self.assertEqual(daemon.models()["m"]["sample_count"], len(bad))
        self.assertEqual(sum(daemon.rejected().values()), len(bad))

    def test_ingest_broken_frame_ends_the_connection(self):
        daemon = self.start()
        for broken in (b"\xff", b"\x00", b"\x43", wire.tag(8, wire.VARINT) + b"\x01", wire.tag(8, wire.BYTES) + b"\x7f",
                       wire.batch([binary()]) + wire.field_varint(2, 1)):
            replies = self.send_frames(daemon, wire.batch([binary()]), broken, wire.batch([binary("late")]))
            self.assertEqual([reply.get("reason") for reply in replies], ["bad_frame"])
        self.assertNotIn("late", daemon.models())
        self.assertEqual(daemon.rejected(), {"bad_frame": 6})

    def test_ingest_unknown_keys_are_ignored_counted_told_once(self):
        daemon = self.start()
        self.assertEqual(daemon.send(sample(host="a", zone="b"), sample(host="a")), [])
        with_unknown = wire.field_varint(30, 5) + wire.field_bytes(31, b"x")
        self.send_frames(daemon, wire.batch([binary() + with_unknown]) + wire.field_varint(100, 1))
        metrics = daemon.metrics()
        self.assertEqual(metrics["dwelld_unknown_keys_total"], 6)
        self.assertEqual(daemon.accepted(), 3)
        daemon.stop()
        told = [line for line in daemon.log if "unknown key" in line]
        self.assertEqual(len(told), 2)
        self.assertIn("unknown key host", told[0])


class TestIngestLedger(IngestCase):
    def terms(self, daemon):
        ledger = daemon.status()["ledger"]
        rejected = sum(ledger["rejected"].values())
        self.assertEqual(ledger["sent"], ledger["accepted"] + rejected + ledger["dropped"] + ledger["lost"])
        return ledger["sent"], ledger["accepted"], rejected, ledger["dropped"], ledger["lost"], ledger["unledgered"]

    def test_ingest_ledger_of_ndjson(self):
        daemon = self.start()
        daemon.send({"type": "hello", "client": "lib/1", "client_id": ID.hex()}, sample(), {"model_name": "m"}, sample(),
                    {"type": "flush", "sequence": 5, "dropped": 1}, sample(), {"type": "goodbye", "sequence": 8, "dropped": 3})
        # 0 accepted, 1 rejected, 2 accepted, 3 and 4 missing (one dropped), 5 accepted, 6 and 7 dropped
        self.assertEqual(self.terms(daemon), (8, 3, 1, 3, 1, 0))
        metrics = daemon.metrics()
        for term, value in (("sent", 8), ("accepted", 3), ("rejected", 1), ("dropped", 3), ("lost", 1)):
            self.assertEqual(metrics.get(f"dwelld_client_{term}_total", client="lib/1"), value)

    def test_ingest_ledger_of_frames(self):
        daemon = self.start()
        head = {"client_id": ID}
        self.send_frames(daemon, wire.batch([binary()] * 10, first_sequence=0, hello_message=None, **head),
                         wire.batch([binary()] * 10, first_sequence=15, dropped=2, **head),
                         wire.batch([wire.sample()] * 5, first_sequence=25, **head), wire.batch(goodbye=31, **head))
        # 10 and 10 accepted, 5 missing (2 dropped), 5 rejected, the last one lost
        self.assertEqual(self.terms(daemon), (31, 20, 5, 2, 4, 0))

    def test_ingest_ledger_goes_over_connections_and_sockets(self):
        daemon = self.start()
        for first in (0, 10, 20):
            self.send_frames(daemon, wire.batch([binary()] * 10, client_id=ID, first_sequence=first))
        daemon.datagram(wire.MAGIC + wire.batch([binary()] * 5, client_id=ID, first_sequence=32))
        until(lambda: daemon.accepted() == 35, "the datagram counts")
        self.assertEqual(self.terms(daemon), (37, 35, 0, 0, 2, 0))

    def test_ingest_ledger_repeated_batch_is_not_counted_twice(self):
        daemon = self.start()
        batch = wire.batch([binary()] * 10, client_id=ID, first_sequence=0)
        self.send_frames(daemon, batch, batch)
        self.assertEqual(self.terms(daemon), (10, 10, 0, 0, 0, 10))
        self.assertEqual(daemon.accepted(), 20)

    def test_ingest_ledger_met_in_the_middle_brings_only_its_drops(self):
        daemon = self.start()
        self.send_frames(daemon, wire.batch([binary()] * 10, client_id=ID, first_sequence=1000, dropped=5),
                         wire.batch([binary()], client_id=ID, first_sequence=1010, dropped=5))
        self.assertEqual(self.terms(daemon), (16, 11, 0, 5, 0, 0))

    def test_ingest_ledger_hello_in_the_first_batch_says_whose_numbers_these_are(self):
        daemon = self.start()
        self.send_frames(daemon, wire.batch([binary()] * 2, client_id=ID, first_sequence=7, dropped=7,
                                            hello_message=wire.hello(client="lib/2")))
        self.assertEqual(self.terms(daemon), (9, 2, 0, 7, 0, 0))
        metrics = daemon.metrics()
        for term, value in (("sent", 9), ("accepted", 2), ("dropped", 7)):
            self.assertEqual(metrics.get(f"dwelld_client_{term}_total", client="lib/2"), value)
            self.assertEqual(metrics.get(f"dwelld_client_{term}_total", client="unknown", default=0), 0)

    def test_ingest_records_without_numbers_are_unledgered(self):
        daemon = self.start()
        daemon.send(sample(), sample(), {"model_name": "m"})
        self.send_frames(daemon, wire.batch([binary()]))
        self.assertEqual(self.terms(daemon)[0], 0)
        self.assertEqual(daemon.metrics()["dwelld_unledgered_records_total"], 4)


class TestIngestGovernance(IngestCase):
    OTHER = "0123456789abcdef"

    def test_ingest_violation_is_counted_and_logged_but_taken(self):
        daemon = self.start()
        answers = daemon.send({"type": "hello", "service_name": "billing", "constitutional_hash": self.OTHER}, sample())
        self.assertEqual(answers, [])
        metrics = daemon.metrics()
        self.assertEqual(metrics.get("constitutional_violations_total", service="billing", violation_type="hash_mismatch"), 1)
        self.must_count(daemon, 1)
        daemon.wait_log("billing.*constitutional hash differs")

    def test_ingest_enforced_hash(self):
        daemon = self.start(sets={"service.enforce_hash": True})
        reasons = [answer["reason"] for answer in daemon.send(sample(), {"type": "hello", "constitutional_hash": self.OTHER},
                                                              sample(), {"type": "hello", "constitutional_hash": HASH},
                                                              sample())]
        self.assertEqual(reasons, ["no_hello", "hash_mismatch"])
        self.must_count(daemon, 1, no_hello=1, hash_mismatch=1)

    def test_ingest_enforced_hash_of_datagrams(self):
        daemon = self.start(sets={"service.enforce_hash": True})
        for constitutional_hash in (None, self.OTHER, HASH):
            daemon.datagram(wire.MAGIC + wire.batch([binary()], constitutional_hash=constitutional_hash))
        until(lambda: daemon.metrics()["dwelld_datagrams_total"] == 3, "three datagrams")
        self.must_count(daemon, 1, no_hello=1, hash_mismatch=1)

    def test_ingest_enforced_hash_of_frames(self):
        daemon = self.start(sets={"service.enforce_hash": True})
        self.send_frames(daemon, wire.batch([binary()]),
                         wire.batch([binary()], hello_message=wire.hello(constitutional_hash=self.OTHER)),
                         wire.batch([binary()], hello_message=wire.hello(constitutional_hash=HASH)), wire.batch([binary()]))
        self.must_count(daemon, 2, no_hello=1, hash_mismatch=1)


class TestIngestModels(IngestCase):
    def test_ingest_label_sets_are_models_of_their_own(self):
        daemon = self.start(sets={"profiling.label_keys": ["region"]})
        daemon.send(sample(labels={"region": "eu"}), sample(labels={"region": "us"}), sample(), sample(labels={"zone": "a"}),
                    sample(device="cpu"), sample(labels={"region": ""}))
        listed = daemon.get("/api/v1/models?name=m").json["models"]
        found = sorted((json.dumps(model["labels"], sort_keys=True), model["sample_count"]) for model in listed)
        self.assertEqual(found, [('{"device": "cpu"}', 1), ('{"region": "eu"}', 1), ('{"region": "us"}', 1), ("{}", 3)])

    def test_ingest_reset_answers_404_until_the_next_sample(self):
        daemon = self.start()
        daemon.send(sample("a"), sample("b"))
        self.assertEqual(daemon.reset("/api/v1/reset?name=a"), 1)
        self.assertEqual(daemon.get("/api/v1/models/a").status, 404)
        self.assertEqual(daemon.get("/api/v1/models/b").status, 200)
        daemon.send(sample("a", 7))
        self.assertEqual(daemon.get("/api/v1/models/a").json["latency"]["mean_ms"], 7)
        self.assertEqual(daemon.get("/api/v1/models/a?window=all").json["sample_count"], 1)
        self.assertEqual(daemon.reset(), 2)
        self.assertEqual(daemon.reset(), 0)
        self.assertEqual(daemon.reset("/api/v1/reset?name=nobody"), 0)

    def test_ingest_names_of_every_kind_can_be_asked_for(self):
        daemon = self.start()
        names = ["a b", "a+b", "a%b", "a/b", "?x=y&z#", "größe", "🙂", "new\nline", "\x01", "..", "x" * 256, '"', "="]
        daemon.send(*(sample(name, i + 1) for i, name in enumerate(names)))
        for i, name in enumerate(names):
            escaped = "".join(f"%{byte:02x}" for byte in name.encode())
            with self.subTest(name=name):
                self.assertEqual(daemon.get(f"/api/v1/models/{escaped}").json["model_name"], name)
                found, = daemon.get(f"/api/v1/models?name={escaped}").json["models"]
                self.assertEqual((found["model_name"], found["latency"]["mean_ms"]), (name, i + 1))


if __name__ == "__main__":
    unittest.main()
