"""What the tests of spans, metrics and budgets share: the process's client is one that keeps what it is given, beside
a daemon that must take all of it."""
import logging
import threading

from client_case import WAIT_S, ClientCase, until
from records import read_record

import dwell
from dwell import _client

HASH = "cdd01ef066bc6cf2"


class Keeping(_client.Client):
    """A client that also keeps its records."""

    def __init__(self, **options):
        super().__init__(**options)
        self.kept = []

    def put(self, record):
        self.kept.append(record)
        return super().put(record)


class Log(logging.Handler):
    """Keeps the lines of a logger."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(f"{record.levelname} {record.getMessage()}")


class TelemetryCase(ClientCase):
    rejected = 0  # records that the daemon is to reject

    def setUp(self):
        super().setUp()
        self.use(Keeping(directory=str(self.daemon.directory)))
        self.log = Log()
        logger = logging.getLogger("dwell")
        logger.addHandler(self.log)
        self.addCleanup(setattr, logger, "propagate", logger.propagate)
        logger.propagate = False
        self.addCleanup(logger.removeHandler, self.log)

    def use(self, client):
        """Makes it the one of this process."""
        before, _client._default = _client._default, client
        self.dwell = client
        self.addCleanup(setattr, _client, "_default", before)
        self.addCleanup(client.close)

    def tearDown(self):
        """All that was recorded has arrived, to the unit."""
        if self.dwell.closed:
            return
        self.assertTrue(self.dwell.flush(WAIT_S), self.dwell.stats())
        sent, dropped = self.dwell.stats()["sent"], self.dwell.stats()["dropped"]
        self.assertEqual(sent - dropped, len(self.dwell.kept))
        self.assertEqual(self.ledger(), {"sent": sent, "accepted": sent - dropped - self.rejected, "dropped": dropped,
                                         "rejected": self.rejected, "lost": 0}, self.daemon.rejected())

    def records(self, kind):
        """The records of a kind, in the order of the calls."""
        return [record for name, record in map(read_record, self.dwell.kept) if name == kind]

    def spans(self):
        return self.records("span")

    def span(self):
        """The only one."""
        (span,) = self.spans()
        return span

    def in_thread(self, function):
        """What it returns on a thread of its own, or raises there."""
        result = []

        def run():
            try:
                result.append((function(), None))
            except BaseException as error:
                result.append((None, error))
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        value, error = result[0]
        if error is not None:
            raise error
        return value


class Unprintable:
    """Nothing can be said of it."""

    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class Hostile(Unprintable):
    """Nothing can be asked of it either."""

    def __getattribute__(self, name):
        raise RuntimeError(name)

    def __bool__(self):
        raise RuntimeError("neither")

    __eq__ = __hash__ = __len__ = __iter__ = __bool__


class UnprintableError(Exception):
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


__all__ = ["HASH", "Hostile", "Keeping", "Log", "TelemetryCase", "Unprintable", "UnprintableError", "WAIT_S", "dwell", "until"]
