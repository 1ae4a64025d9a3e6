"""The daemon with its module, watched by those who see every byte: valgrind, and AddressSanitizer with its leak checker."""
import os
import pathlib
import unittest

from harness import ROOT, WAIT_S, until
from peer import need_program
from test_otlp import OtlpCase

HERE = pathlib.Path(__file__).resolve().parent
ASAN = ROOT / "build" / "asan" / "dwelld"
FOUND = 99  # valgrind's exit status
END_S = WAIT_S - 10  # that the end may take: a handshake takes seconds for who is watched


class TestMemory(OtlpCase):
    def start_watched(self, receiver, tls, options, **sets):
        return self.start(sets={
            "otlp.endpoint": receiver.endpoint.replace("127.0.0.1", "localhost"), "otlp.compression": "gzip",
            "otlp.headers": {"x-key": "secret"},
            **({"otlp.certificate": str(self.certificates.ca.certificate)} if tls else {}), **sets}, **options)

    def exchange(self, tls, options):
        """A span that is refused, sent again, packed, to a host that has a name; then the end, in order."""
        receiver = self.start_receiver(server=self.certificates.server if tls else None)
        receiver.script("traces", self.receiver.Answer("UNAVAILABLE", "busy", retry_s=0.1))
        record = self.span(attributes={"text": "größe", "numbers": [1, 2.5]},
                           events=[{"name": "e", "time_unix_nano": 1}], status={"code": "error", "message": "no"})
        daemon = self.start_watched(receiver, tls, options, **{"otlp.schedule_delay_ms": 10})
        self.send(daemon, record)
        until(lambda: receiver.span_count() == 1, "it has come", 3 * WAIT_S)
        self.must_arrive(receiver, [record])
        self.assertEqual(daemon.status()["export"]["traces"]["loaded"], 1)
        daemon.stop()

    def exchange_at_the_end(self, tls, options):
        """A span that nobody sends before the daemon ends: what was connected just now is given up at once."""
        receiver = self.start_receiver(server=self.certificates.server if tls else None)
        record = self.span()
        daemon = self.start_watched(receiver, tls, options, **{"otlp.schedule_delay_ms": 86400000,
                                                               "shutdown.timeout_ms": 1000 * END_S})
        self.send(daemon, record)
        daemon.stop()
        self.must_arrive(receiver, [record])

    def watch(self, options):
        """`options` makes those of a daemon that is watched; it must find nothing."""
        self.certificates = self.certificates_class(self.directory())
        for exchange in (self.exchange, self.exchange_at_the_end):
            for tls in (False, True):
                with self.subTest(exchange=exchange.__name__, tls=tls):
                    exchange(tls, options())

    def test_memory_under_valgrind(self):
        valgrind = need_program("valgrind", "valgrind")
        logs = []

        def options():
            logs.append(self.directory() / "valgrind")
            return {"wrapper": [
                valgrind, "--leak-check=full", "--errors-for-leak-kinds=definite,indirect,possible",
                f"--error-exitcode={FOUND}", f"--suppressions={HERE}/valgrind.supp", f"--log-file={logs[-1]}"]}

        self.watch(options)
        self.assertEqual(len(logs), 4)
        for log in logs:
            said = log.read_text()
            self.assertIn("ERROR SUMMARY: 0 errors", said, said)

    def test_memory_under_asan(self):
        if not ASAN.exists():
            self.skipTest("there is no build with AddressSanitizer: make asan")
        self.assertIn(b"__asan_init", ASAN.read_bytes())
        self.watch(lambda: {"program": ASAN, "env": {
            "LSAN_OPTIONS": f"suppressions={HERE}/lsan.supp:print_suppressions=0",
            "ASAN_OPTIONS": f"{os.environ.get('ASAN_OPTIONS', '')}:detect_leaks=1"}})


if __name__ == "__main__":
    unittest.main()
