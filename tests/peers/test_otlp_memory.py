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


class TestMemory(OtlpCase):
    def exchange(self, tls, **options):
        """A span that is refused, sent again, packed, to a host that has a name; then the end, in order."""
        certificates = self.certificates_class(self.directory())
        receiver = self.start_receiver(server=certificates.server if tls else None)
        receiver.script("traces", self.receiver.Answer("UNAVAILABLE", "busy", retry_s=0.1))
        record = self.span(attributes={"text": "größe", "numbers": [1, 2.5]},
                           events=[{"name": "e", "time_unix_nano": 1}], status={"code": "error", "message": "no"})
        daemon = self.start(sets={
            "otlp.endpoint": receiver.endpoint.replace("127.0.0.1", "localhost"), "otlp.compression": "gzip",
            "otlp.schedule_delay_ms": 10, "otlp.headers": {"x-key": "secret"},
            **({"otlp.certificate": str(certificates.ca.certificate)} if tls else {})}, **options)
        self.send(daemon, record)
        until(lambda: receiver.span_count() == 1, "it has come", 3 * WAIT_S)
        self.must_arrive(receiver, [record])
        self.assertEqual(daemon.status()["export"]["traces"]["loaded"], 1)
        daemon.stop()

    def test_memory_under_valgrind(self):
        valgrind = need_program("valgrind", "valgrind")
        for tls in (False, True):
            with self.subTest(tls=tls):
                log = self.directory() / "valgrind"
                try:
                    self.exchange(tls, wrapper=[
                        valgrind, "--leak-check=full", "--errors-for-leak-kinds=definite,indirect,possible",
                        f"--error-exitcode={FOUND}", f"--suppressions={HERE}/valgrind.supp", f"--log-file={log}"])
                finally:
                    said = log.read_text()
                self.assertIn("ERROR SUMMARY: 0 errors", said)

    def test_memory_under_asan(self):
        if not ASAN.exists():
            self.skipTest("there is no build with AddressSanitizer: make asan")
        self.assertIn(b"__asan_init", ASAN.read_bytes())
        for tls in (False, True):
            with self.subTest(tls=tls):
                self.exchange(tls, program=ASAN, env={
                    "LSAN_OPTIONS": f"suppressions={HERE}/lsan.supp:print_suppressions=0",
                    "ASAN_OPTIONS": f"{os.environ.get('ASAN_OPTIONS', '')}:detect_leaks=1"})


if __name__ == "__main__":
    unittest.main()
