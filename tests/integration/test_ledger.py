"""Nothing is lost and nothing is forgotten: several processes send as fast as they can, some of what
they send is bad, some they say they dropped, and in the end the sums agree to the unit.

DWELL_LEDGER_SAMPLES: calls of each of the four processes.
"""
import multiprocessing
import os
import socket
import unittest

import wire
from harness import DaemonCase

PROCESSES = 4
CALLS = int(os.environ.get("DWELL_LEDGER_SAMPLES", "2500000"))
IN_BATCH = 1000
BAD_IN_BATCH = 3  # of these, records without a name
DROPPED_AFTER = 5  # batches, the client gives one up


def send_all(path, number):
    """One client: its records are encoded once, only the head of each batch differs."""
    good = [wire.sample(model_ref=1 + i % 10, execution_time_ms=1.0 + i % 97) for i in range(IN_BATCH - BAD_IN_BATCH)]
    bad = [wire.sample(execution_time_ms=1.0)] * BAD_IN_BATCH
    names = [f"model-{number}-{i}" for i in range(10)]
    records = wire.batch(good + bad, strings=names)
    client_id = bytes([number]) * 16
    dropped = sequence = 0
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(wire.MAGIC + wire.frame(wire.batch(hello_message=wire.hello(client=f"test-{number}/1"),
                                                         client_id=client_id, first_sequence=0)))
        for batch in range(CALLS // IN_BATCH):
            if batch % DROPPED_AFTER == DROPPED_AFTER - 1:
                dropped += IN_BATCH
            else:
                head = wire.batch(client_id=client_id, first_sequence=sequence, dropped=dropped)
                sock.sendall(wire.frame(head + records))
            sequence += IN_BATCH
        head = wire.batch(client_id=client_id, first_sequence=sequence, dropped=dropped, goodbye=sequence)
        sock.sendall(wire.frame(head))
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b"", "the daemon had something to complain about"


class TestLedger(DaemonCase):
    def test_ledger_agrees_to_the_unit(self):
        daemon = self.start()
        senders = [multiprocessing.get_context("fork").Process(target=send_all, args=(str(daemon.ingest), number))
                   for number in range(PROCESSES)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
            self.assertEqual(sender.exitcode, 0)

        batches = CALLS // IN_BATCH
        dropped = batches // DROPPED_AFTER
        sent_by_one = {"sent": batches * IN_BATCH, "accepted": (batches - dropped) * (IN_BATCH - BAD_IN_BATCH),
                       "rejected": (batches - dropped) * BAD_IN_BATCH, "dropped": dropped * IN_BATCH, "lost": 0}
        metrics = daemon.metrics()
        for number in range(PROCESSES):
            for term, value in sent_by_one.items():
                self.assertEqual(metrics.get(f"dwelld_client_{term}_total", client=f"test-{number}/1"), value, term)
        ledger = daemon.status()["ledger"]
        ledger["rejected"] = sum(ledger["rejected"].values())
        self.assertEqual(ledger, {"unledgered": 0, **{term: PROCESSES * value for term, value in sent_by_one.items()}})
        self.assertEqual(ledger["sent"], ledger["accepted"] + ledger["rejected"] + ledger["dropped"] + ledger["lost"])
        counted = metrics.series("acgs2_model_inference_total")
        self.assertEqual(sum(value for _, value in counted), ledger["accepted"])
        self.assertEqual(len(counted), 10 * PROCESSES)


if __name__ == "__main__":
    unittest.main()
