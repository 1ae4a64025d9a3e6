"""kill -9 at random moments under load: what clients of libdwell that ask for acknowledgements recorded is there in the
end, every record once, and the ledger closes to the unit after each kill.

DWELL_KILLS: how many, 10. DWELL_SEED: of the moments. Prints a table.
"""
import os
import random
import shutil
import tempfile
import time
import unittest

from harness import BUILD, DaemonCase, until
from test_client_c import DRIVER, FLUSH, HEADER, OK, Driver, compile_c

KILLS = int(os.environ.get("DWELL_KILLS", "10"))
SEED = int(os.environ.get("DWELL_SEED", str(random.randrange(1 << 32))))
PER_MS = (2, 20)  # inferences of each client; every start reads all that was there before
LIFE_MS = 100  # that a daemon lives for, at the most, by what a client records in that time
ON_ITS_WAY_S = 0.002  # a flush takes some of it
ASKS = {"DRIVER_ACKNOWLEDGE": "1"}


class TestKill(DaemonCase):
    @classmethod
    def setUpClass(cls):
        base = tempfile.mkdtemp(prefix="dwell-test-")
        cls.addClassCleanup(shutil.rmtree, base)
        cls.program = f"{base}/driver"
        compile_c("-std=c99", "-O1", f"-I{HEADER.parent}", DRIVER, "-o", cls.program, BUILD / "libdwell.a", "-pthread")

    def setUp(self):
        self.base = self.directory()

    def begin(self, **sets):
        return self.start(directory=self.base / "d", sets={"journal.directory": self.base / "journal", "journal.max_bytes": 1 << 30, **sets})

    def kill(self, daemon):
        daemon.process.kill()
        daemon.process.wait()
        daemon.stopped = True
        self.addCleanup(daemon.kill)

    def drive(self, **env):
        driver = Driver(self.program, self.base / "d", **env)
        self.addCleanup(driver.end)
        return driver

    def ledger(self, daemon):
        ledger = daemon.status()["ledger"]
        ledger["rejected"] = sum(ledger["rejected"].values())
        self.assertEqual(ledger["sent"], ledger["accepted"] + ledger["rejected"] + ledger["dropped"] + ledger["lost"])
        return ledger

    def test_kill_loses_nothing_and_counts_nothing_twice(self):
        self.must_lose_nothing({})

    def test_kill_loses_nothing_while_states_make_room_in_the_journal(self):
        daemon = self.must_lose_nothing({"state.file": self.base / "state", "state.interval_ms": 100,
                                         "journal.max_bytes": 16 << 20})
        client = self.drive(**ASKS)
        client.do("track late 10000 0")
        self.assertEqual(client.do(FLUSH), OK)
        until(lambda: list((self.base / "journal").glob("*.journal")) == [], "what a state has is removed from the journal")
        self.assertEqual(daemon.sample_count("late"), 10000)

    def must_lose_nothing(self, sets):
        moments = random.Random(SEED)
        daemon = self.begin(**sets)
        clients = [self.drive(**ASKS) for _ in PER_MS]
        for number, client in enumerate(clients):
            client.do(f"storm m{number} {PER_MS[number]}")
        slowest_ms = 0
        for _ in range(KILLS):
            number = moments.randrange(len(clients))
            moment = clients[number].do("stats")["recorded"] + moments.randrange(PER_MS[number] * LIFE_MS)
            until(lambda: clients[number].do("stats")["recorded"] >= moment, f"a moment to kill, seed {SEED}")
            for client in clients:
                client.tell(FLUSH)  # so that something is on its way
            time.sleep(moments.uniform(0, ON_ITS_WAY_S))  # the moment itself
            self.kill(daemon)
            began = time.monotonic()
            daemon = self.begin(**sets)
            for client in clients:
                self.assertEqual(client.answer(), OK, f"seed {SEED}")
            slowest_ms = max(slowest_ms, (time.monotonic() - began) * 1000)
            self.assertEqual(self.ledger(daemon)["lost"], 0, f"seed {SEED}")
        for client in clients:
            client.do("calm")
            self.assertEqual(client.do(FLUSH), OK)
            until(lambda: (lambda stats: stats["acknowledged"] == stats["sent"])(client.do("stats")), "all is acknowledged")
        stats = [client.do("stats") for client in clients]
        self.assertEqual([client.do("close") for client in clients], [OK] * len(clients))

        recorded, dropped, resent = (sum(one[term] for one in stats) for term in ("recorded", "dropped", "resent"))
        ledger = self.ledger(daemon)
        counted = sum(model["sample_count"] for model in daemon.models(window="all").values())
        lost = recorded - dropped - ledger["accepted"]
        print(f"\n{'kills':>6} {'sent':>9} {'accepted':>9} {'dropped':>8} {'lost':>5} {'twice':>6} {'resent':>8} {'slowest ms':>11}   seed\n"
              f"{KILLS:6} {ledger['sent']:9} {ledger['accepted']:9} {ledger['dropped']:8} {max(lost, 0):5} {max(-lost, 0):6} {resent:8}"
              f" {slowest_ms:11.0f}   {SEED}", flush=True)
        self.assertEqual(ledger, {"sent": recorded, "accepted": recorded - dropped, "rejected": 0, "dropped": dropped, "lost": 0,
                                  "unledgered": 0}, f"seed {SEED}")
        self.assertEqual(counted, ledger["accepted"], f"seed {SEED}")
        self.assertEqual([one["unconfirmed"] for one in stats], [0] * len(clients))
        return daemon

    def test_kill_without_acknowledgements_shows_what_is_lost(self):
        daemon = self.begin()
        client = self.drive()
        client.do("track m 1000 0")
        self.assertEqual(client.do(FLUSH), OK)
        self.kill(daemon)
        daemon = self.begin()
        client.do("track m 500 0")
        self.assertEqual(client.do(FLUSH), OK)
        ledger = self.ledger(daemon)
        self.assertEqual((ledger["accepted"], ledger["dropped"]), (500, 0))
        self.assertEqual(client.do("stats")["acknowledged"], 0)

    def test_kill_with_no_journal_all_is_as_without(self):
        daemon = self.start(directory=self.base / "d")
        client = self.drive(**ASKS)
        client.do("track m 1000 0")
        self.assertEqual(client.do(FLUSH), OK)
        self.assertEqual(daemon.sample_count("m"), 1000)
        stats = client.do("stats")
        self.assertEqual((stats["sent"], stats["acknowledged"], stats["unconfirmed"]), (1000, 0, 0))
        self.assertEqual(client.do("close"), OK)
        self.assertEqual(self.ledger(daemon)["lost"], 0)


if __name__ == "__main__":
    unittest.main()
