"""Questions to the daemon: an answer, or None in time, whoever sits on the socket."""
import contextlib
import os
import signal
import socket
import threading
import time
import tracemalloc
import unittest
import unittest.mock

from client_case import WAIT_S, ClientCase

from dwell import _query

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


class Query(ClientCase):
    def serve(self, pieces, gap_s=0.0):
        """A place where each connection to query.sock is answered by these pieces, over and over if there is a gap."""
        place = self.directory()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(place / "query.sock"))
        listener.listen()
        ended = threading.Event()

        def work():
            with contextlib.suppress(OSError), listener.accept()[0] as peer:
                peer.recv(65536)
                for piece in pieces:
                    peer.sendall(piece)
                while gap_s and not ended.wait(gap_s):
                    peer.sendall(b" ")

        thread = threading.Thread(target=work)
        thread.start()
        self.addCleanup(listener.close)
        self.addCleanup(thread.join, WAIT_S)
        self.addCleanup(listener.shutdown, socket.SHUT_RDWR)
        self.addCleanup(ended.set)
        return str(place)

    def test_a_daemon_answers(self):
        place = str(self.daemon.directory)
        status, _, body = _query.ask("/metrics", directory=place)
        self.assertEqual((status, b"dwelld_" in body), (200, True))
        self.assertEqual(_query.ask_json("/api/v1/models", directory=place), {"models": []})
        self.assertIsNone(_query.ask_json("/report", directory=place))
        self.assertIsNone(_query.ask_json("/api/v1/models/" + _query.quote("a/b ü"), directory=place))
        self.assertEqual(_query.ask("/nothing", directory=place)[0], 404)

    def test_whoever_else_sits_there(self):
        for pieces in ([], [b"\xff" * 100], [b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncut"], [b"\r\n" * 500],
                       [HEAD[:20]], [b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000],
                       [b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70000]):
            with self.subTest(pieces=pieces[:1] and pieces[0][:30]):
                self.assertIsNone(_query.ask("/report", directory=self.serve(pieces)))
        self.assertIsNone(_query.ask_json("/x", directory=self.serve([HEAD, b"[1, 2"])))
        self.assertEqual(_query.ask_json("/x", directory=self.serve([HEAD, b"[1,2]"])), [1, 2])

    def test_an_answer_at_the_ceiling_and_one_over(self):
        for most, got in ((5, b"[1,2]"), (4, None)):
            with self.subTest(most=most), unittest.mock.patch.object(_query, "ANSWER_MAX", most):
                answer = _query.ask("/x", directory=self.serve([HEAD, b"[1,2]"]))
                self.assertEqual(answer and answer[2], got)

    def test_an_answer_takes_memory_for_what_is_in_it(self):
        place = str(self.daemon.directory)
        self.assertEqual(_query.ask("/api/v1/status", directory=place)[0], 200)  # what is imported is not counted
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.assertEqual(_query.ask("/api/v1/status", directory=place)[0], 200)
        self.assertLess(tracemalloc.get_traced_memory()[1], 1 << 20)

    def test_answers_that_do_not_end_or_come(self):
        with unittest.mock.patch.object(_query, "TIMEOUT_S", 0.2):
            for pieces, gap_s in (([HEAD.replace(b"5", b"1000000")], 0.01), ([b"HTTP/1.1 200"], 0.01)):
                begun = time.monotonic()
                self.assertIsNone(_query.ask("/report", directory=self.serve(pieces, gap_s)))
                self.assertLess(time.monotonic() - begun, WAIT_S / 4)
            self.daemon.send_signal(signal.SIGSTOP)
            self.addCleanup(self.daemon.send_signal, signal.SIGCONT)
            self.assertIsNone(_query.ask("/report", directory=str(self.daemon.directory)))

    def test_places_where_nobody_is(self):
        plain = self.directory()
        (plain / "query.sock").write_text("")
        for place in (self.directory(), plain, "/does/not/exist", "x" * 200, "a\0b"):
            with self.subTest(place):
                self.assertIsNone(_query.ask("/report", directory=str(place)))

    def test_disabled(self):
        with unittest.mock.patch.dict(os.environ, {"DWELL_DISABLED": "1"}):
            self.assertIsNone(_query.ask("/metrics", directory=str(self.daemon.directory)))


if __name__ == "__main__":
    unittest.main()
