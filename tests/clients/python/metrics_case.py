"""What the tests of metrics share: `dwell.client()` is one of the test's own daemon."""
from unittest import mock

from client_case import ClientCase, environment

from dwell import _client, _family, _part


class MetricsCase(ClientCase):
    def setUp(self):
        super().setUp()
        self.use(mock.patch.dict("os.environ", environment(DWELL_DIR=str(self.daemon.directory)),
                                 clear=True))
        self.own = self.client()
        self.use(mock.patch.object(_client, "_default", self.own))
        self.use(mock.patch.dict(_family._families))  # what a test declares goes with it
        self.use(mock.patch.dict(_part._parts, clear=True))  # as in a process of its own
        _family._let_go()

    def use(self, patch):
        patch.start()
        self.addCleanup(patch.stop)

    def must_show(self, *expected):
        """Each (name, labels, value) is on /metrics once all is flushed."""
        self.assertTrue(self.own.flush(20))
        shown = self.daemon.metrics()
        for name, labels, value in expected:
            self.assertEqual((name, shown.get(name, **labels)), (name, value))

    def must_balance(self, sent, dropped=0, rejected=0):
        self.assertTrue(self.own.flush(20))
        self.assertEqual(self.ledger(), {"sent": sent, "accepted": sent - dropped - rejected,
                                         "rejected": rejected, "dropped": dropped, "lost": 0})
