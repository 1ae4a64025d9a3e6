"""Batches written by Google's protobuf library from proto/dwell.proto, and replies that it reads."""
import random
import struct
import unittest

from harness import DaemonCase
from peer import proto_classes

FIGURES = ("cpu_percent_during", "memory_mb_after", "cpu_percent_before", "memory_mb_before", "queue_ms", "batch_size",
           "user_ms", "system_ms", "runqueue_ms", "minor_faults", "major_faults", "voluntary_switches", "bytes_moved",
           "flops", "threads", "process_cpu_ms", "involuntary_switches", "disk_bytes")


class TestProtobuf(DaemonCase):
    def setUp(self):
        classes = proto_classes("dwell.proto", self.directory())
        self.batch_class, self.reply_class, self.metric_class = (
            classes(f"dwell.{name}") for name in ("Batch", "Reply", "Metric"))
        self.seed = random.randrange(2 ** 32)
        self.random = random.Random(self.seed)
        print(f"seed {self.seed} ", end="", flush=True)

    def replies(self, data):
        found = []
        while data:
            length, = struct.unpack_from("<I", data)
            found.append(self.reply_class.FromString(data[4:4 + length]))
            data = data[4 + length:]
        return found

    def draw_batch(self):
        one = self.random
        batch = self.batch_class(strings=[f"table-{i}" for i in range(5)])
        for _ in range(one.randrange(200)):
            sample = batch.sample.add(execution_time_ms=one.lognormvariate(1, 1))
            if one.random() < 0.5:
                sample.model_ref = one.randrange(1, 6)
            else:
                sample.model_name = f"inline-{one.randrange(5)}"
            for figure in FIGURES:
                if one.random() < 0.3:
                    setattr(sample, figure, one.uniform(0, 100))
            if one.random() < 0.3:
                sample.error_text = "größe"
            if one.random() < 0.3:
                sample.error = one.random() < 0.5
            if one.random() < 0.3:
                sample.trace_id, sample.span_id = one.randbytes(16), one.randbytes(8)
            if one.random() < 0.2:
                sample.device = "cpu"
            if one.random() < 0.3:
                sample.thread_id = one.randrange(1, 2 ** 31)
            for number in range(one.randrange(4)):
                sample.label.add(key=f"k{number}", value="v" * one.randrange(200))
            sample.timestamp_unix_nano = one.randrange(2 ** 63)
        batch.flush.add()
        return batch

    def test_protobuf_batches_are_understood(self):
        daemon = self.start()
        batches = [self.draw_batch() for _ in range(50)]
        data = b"DWL1" + b"".join(struct.pack("<I", batch.ByteSize()) + batch.SerializeToString() for batch in batches)
        flushed = [reply.flushed for reply in self.replies(daemon.send_raw(data))]
        sums = [sum(len(batch.sample) for batch in batches[:end]) for end in range(1, len(batches) + 1)]
        self.assertEqual(flushed, sums)
        self.assertEqual(daemon.rejected(), {})
        self.assertEqual(daemon.metrics()["dwelld_unknown_keys_total"], 0)
        wanted = {}
        for batch in batches:
            for sample in batch.sample:
                name = batch.strings[sample.model_ref - 1] if sample.HasField("model_ref") else sample.model_name
                failed = sample.error or sample.HasField("error_text")
                wanted.setdefault((name, sample.device), []).append((sample.execution_time_ms, failed))
        got = {(model["model_name"], model["labels"].get("device", "")): model
               for model in daemon.get("/api/v1/models").json["models"]}
        self.assertEqual(set(got), set(wanted))
        for key, samples in wanted.items():
            with self.subTest(model=key, seed=self.seed):
                self.assertEqual((got[key]["sample_count"], got[key]["errors"]),
                                 (len(samples), sum(failed for _, failed in samples)))
                self.assertEqual(got[key]["latency"]["max_ms"], max(time for time, _ in samples))

    def draw_metric(self, batch, totals):
        """One metric as any client might send it; all of them are sound. A name has one type and aggregation."""
        one = self.random
        op = one.choice((self.metric_class.COUNT, self.metric_class.SET, self.metric_class.ADD,
                         self.metric_class.OBSERVE, self.metric_class.INFO))
        word = self.metric_class.Op.Name(op).lower()
        metric = batch.metric.add(op=op)
        if one.random() < 0.5:
            metric.name_ref = op  # of the table, which has the ops' words
            metric.name = "not this one"
        else:
            metric.name = f"peer.{word}"
        if op != self.metric_class.INFO:
            metric.value = one.uniform(0 if op == self.metric_class.COUNT else -100, 100)
        labels = {}
        for number in range(one.randrange(op == self.metric_class.INFO, 5)):
            attribute = metric.attribute.add(key=f"k{number}", value="größe")
            labels[f"k{number}"] = "größe"
            if one.random() < 0.3:
                attribute.value_ref = one.randrange(1, 6)
                labels[f"k{number}"] = batch.strings[attribute.value_ref - 1]
        if op in (self.metric_class.COUNT, self.metric_class.OBSERVE) and one.random() < 0.3:
            metric.trace_id, metric.span_id = one.randbytes(16), one.randbytes(8)
        if op == self.metric_class.OBSERVE and one.random() < 0.3:
            metric.weight = one.randrange(1, 10 ** 9)
        if one.random() < 0.3:
            metric.timestamp_unix_nano = one.randrange(2 ** 63)
        key = frozenset(labels.items())
        if op == self.metric_class.COUNT:
            totals[("peer_count_total", key)] = totals.get(("peer_count_total", key), 0) + metric.value
        elif op == self.metric_class.OBSERVE:
            weight = metric.weight or 1
            totals[("peer_observe_count", key)] = totals.get(("peer_observe_count", key), 0) + weight
        elif op == self.metric_class.SET:
            totals[("peer_set", key)] = metric.value
        elif op == self.metric_class.ADD:
            totals[("peer_add", key)] = totals.get(("peer_add", key), 0) + metric.value
        else:
            totals[("peer_info", key)] = 1

    def test_protobuf_metrics_are_understood(self):
        daemon = self.start()
        words = [f"peer.{self.metric_class.Op.Name(op).lower()}" for op in range(1, 6)]
        batches = [self.batch_class(strings=words) for _ in range(20)]
        totals = {}
        for batch in batches:
            for _ in range(self.random.randrange(100)):
                self.draw_metric(batch, totals)
        self.assertEqual(daemon.send_raw(b"DWL1" + b"".join(
            struct.pack("<I", batch.ByteSize()) + batch.SerializeToString() for batch in batches)), b"")
        metrics = daemon.metrics()
        self.assertEqual(daemon.rejected(), {})
        self.assertEqual(metrics["dwelld_unknown_keys_total"], 0)
        for key, total in totals.items():
            self.assertAlmostEqual(metrics.values[key], total, places=6)

    def test_protobuf_reads_what_refuses_a_frame(self):
        daemon = self.start()
        reply, = self.replies(daemon.send_raw(b"DWL1" + struct.pack("<I", 3) + b"\xff\xff\xff"))
        self.assertEqual(reply.reason, "bad_frame")
        self.assertTrue(reply.error)

    def test_protobuf_ledger_fields(self):
        daemon = self.start()
        # In a batch of its own: the library writes fields by number, and a hello has a higher one than a sample.
        hello = self.batch_class()
        hello.hello.add(client="peer/1", service_name="s", pid=2 ** 40)
        batch = self.batch_class(client_id=bytes(range(16)), first_sequence=7, dropped=3, constitutional_hash="other")
        batch.sample.add(model_name="m", execution_time_ms=1)
        batch.goodbye.add(sequence=8)
        self.assertEqual(daemon.send_raw(b"DWL1" + b"".join(
            struct.pack("<I", one.ByteSize()) + one.SerializeToString() for one in (hello, batch))), b"")
        ledger = daemon.status()["ledger"]
        self.assertEqual((ledger["sent"], ledger["accepted"], ledger["dropped"], ledger["lost"]), (4, 1, 3, 0))
        self.assertEqual(daemon.metrics().get("dwelld_client_sent_total", client="peer/1"), 4)


if __name__ == "__main__":
    unittest.main()
