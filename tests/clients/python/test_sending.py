"""How the client's thread sends: many frames in one write, each sent once, flushes beside constant
recording."""
import contextlib
import os
import socket
import threading
import time
import unittest
import unittest.mock

from client_case import WAIT_S, ClientCase, until

from dwell import _client, _link, _query, _wire


def frames_in(data):
    """Whole frames behind the magic, as (first_sequence, dropped, records, length) each; what is cut is
    left."""
    assert data[:4] == _wire.MAGIC
    at, found = 4, []
    while at + 4 <= len(data):
        length = int.from_bytes(data[at:at + 4], "little")
        body = data[at + 4:at + 4 + length]
        if len(body) < length:
            break
        found.append((*head_of(body), length))
        at += 4 + length
    return found


def head_of(body):
    at, numbers, records = 0, {}, 0
    while at < len(body):
        key, at = _wire.read_varint(body, at)
        value, at = _wire.read_varint(body, at)
        if key & 7 == 2:
            at += value
        numbers[key >> 3] = value
        records += key >> 3 == 8
    return numbers[2], numbers[3], records


class Sending(ClientCase):
    def setUp(self):
        super().setUp()
        self.plain = _wire.Plain("m")

    def put(self, client, count):
        for _ in range(count):
            client.put(self.plain.pack(self.plain.head, 1.5))

    def listen(self, place=None):
        """A socket that a client takes for the daemon's, and its directory."""
        place = place or self.directory()
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(str(place / "ingest.sock"))
        listener.listen()
        listener.settimeout(WAIT_S)
        return listener, place

    def receive(self, connection, enough, begun=False):
        """Reads until `enough` says of the frames that it is. `begun`: the four bytes of the format came before."""
        data = _wire.MAGIC if begun else b""
        connection.settimeout(WAIT_S)
        while not (len(data) > 4 and enough(frames_in(data))):
            got = connection.recv(65536)
            assert got, "the client closed"
            data += got
        return frames_in(data)

    def test_frames_are_full_and_never_more(self):
        listener, place = self.listen()
        client = self.client(directory=str(place))
        with client._pumping:  # they go out together
            self.put(client, 20000)
        frames = self.receive(listener.accept()[0], lambda frames: sum(frame[2] for frame in frames) == 20000)
        self.assertEqual(frames[0][:3], (0, 0, 0))  # the hello
        at = 0
        for first, dropped, records, length in frames[1:]:
            self.assertEqual((first, dropped), (at, 0))
            self.assertLessEqual(4 + length, _client.FRAME_BYTES)
            at += records
        self.assertLess(len(frames), 20)

    def test_a_record_larger_than_a_frame_goes_alone(self):
        listener, place = self.listen()
        client = self.client(directory=str(place))
        large = _wire.metric("x", _wire.INFO, attributes={f"k{i}": "v" * 10000 for i in range(30)})
        for record in (self.plain.pack(self.plain.head, 1.5), large, self.plain.pack(self.plain.head, 1.5)):
            self.assertTrue(client.put(record))
        frames = self.receive(listener.accept()[0], lambda frames: len(frames) > 3 or sum(f[2] for f in frames) == 2)
        self.assertEqual([frame[:3] for frame in frames[1:]], [(0, 0, 1), (1, 0, 0), (2, 0, 1)])

    @unittest.mock.patch.object(_link, "LIVED_S", 3600)  # so that the second daemon is always asked first
    def test_what_was_written_whole_is_not_sent_again(self):
        place = self.directory()
        client = self.client(directory=str(place))
        self.put(client, 60000)
        listener, _ = self.listen(place)
        with listener.accept()[0] as first:  # it gets all but the first of them in one write, and reads a part
            read = self.receive(first, lambda frames: len(frames) >= 6)
        with listener.accept()[0] as second:
            second.sendall(b"\x02\0\0\0\x08\0")  # the answer to the flush behind the hello
            frames = self.receive(second, lambda frames: frames[-1][0] + frames[-1][2] == 60000)
        at = frames[0][0]
        self.assertGreaterEqual(at, read[-1][0] + read[-1][2])
        for first_sequence, dropped, records, _ in frames:
            self.assertEqual((first_sequence, dropped), (at, 0))
            at += records
        until(lambda: client.stats()["waiting"] == 0, "it knows that all is written")
        self.assertEqual(client.stats(), {**client.stats(), "sent": 60000, "dropped": 0})

    def test_a_flush_does_not_wait_for_others_to_pause(self):
        client = self.client()
        stop = threading.Event()

        def work():
            while not stop.is_set():
                self.put(client, 100)
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            other = _wire.Plain("other")
            for count in range(1, 4):
                until(lambda: client.put(other.pack(other.head, 1.5)), "there is room")
                self.assertTrue(client.flush())
                self.assertEqual(self.daemon.sample_count("other"), count)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertTrue(client.flush())
        stats = client.stats()
        self.assertEqual(stats["waiting"], 0)
        self.plain = other
        self.put(client, 1)  # what was dropped is told with the next batch
        self.assertTrue(client.flush())
        ledger = self.ledger()
        self.assertEqual(ledger, {"sent": stats["sent"] + 1, "accepted": stats["sent"] + 1 - stats["dropped"],
                                  "rejected": 0, "dropped": stats["dropped"], "lost": 0})

    def test_a_daemon_that_starts_again_gets_what_was_recorded_meanwhile(self):
        place = self.directory() / "d"
        first = self.start(directory=place)
        client = self.client(directory=str(place))
        self.put(client, 10)
        self.assertTrue(client.flush())
        first.stop()
        self.put(client, 20)
        again = self.start(directory=place)
        until(lambda: again.sample_count("m") == 20, "the 20 are there")
        self.assertTrue(client.flush())
        self.daemon = again
        self.assertEqual(self.ledger(), {"sent": 20, "accepted": 20, "rejected": 0, "dropped": 0, "lost": 0})

    def test_a_name_whose_text_raises_is_not_said(self):
        class Unprintable:
            def __str__(self):
                raise ValueError("no text")
        client = self.client(service_name=Unprintable())
        self.put(client, 3)
        self.assertTrue(client.flush())
        client.describe(service_name=Unprintable())
        self.put(client, 1)
        self.assertTrue(client.flush())
        self.assertEqual(client.about["service_name"], None)
        self.assertEqual(self.ledger(), {"sent": 4, "accepted": 4, "rejected": 0, "dropped": 0, "lost": 0})

    def test_what_goes_wrong_in_the_thread_costs_its_records_and_not_the_thread(self):
        client = self.client()
        with unittest.mock.patch.object(_wire, "frame", side_effect=ValueError("a fault of ours")):
            self.put(client, 3)
            self.assertFalse(client.flush())
            until(lambda: client.stats()["dropped"] == 3, "all are given up")
            self.assertEqual(client.stats(), {**client.stats(), "sent": 3, "waiting": 0,
                                              "error": "ValueError: a fault of ours"})
        until(client.flush, "it goes on")
        self.put(client, 1)
        self.assertTrue(client.flush())
        self.assertEqual(self.ledger(), {"sent": 4, "accepted": 1, "rejected": 0, "dropped": 3, "lost": 0})

    def test_a_child_of_a_closed_client_is_closed(self):
        client = self.client()
        self.put(client, 1)
        self.assertTrue(client.close(WAIT_S))
        child = os.fork()
        if child == 0:
            self.put(client, 1)
            os._exit(0 if client.closed and client._thread is None else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)

    def test_an_answer_that_trickles_is_given_up_in_time(self):
        listener, place = self.listen()
        (place / "ingest.sock").rename(place / "query.sock")

        def trickle():
            with listener.accept()[0] as peer, contextlib.suppress(OSError):
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while True:
                    peer.sendall(b" ")
                    ended.wait(0.01)
        ended = threading.Event()
        thread = threading.Thread(target=trickle)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(ended.set)
        begun = time.monotonic()
        with unittest.mock.patch.object(_query, "TIMEOUT_S", 0.2):
            self.assertIsNone(_query.ask("/report", directory=str(place)))
        self.assertLess(time.monotonic() - begun, WAIT_S / 2)

    def test_a_daemon_that_does_not_read_is_waited_for(self):
        listener, place = self.listen()
        client = self.client(directory=str(place), keep_s=0.2)
        self.put(client, 60000)  # more than a socket holds
        connection = listener.accept()[0]
        until(lambda: client.away, "it is given up")
        frames = self.receive(connection, lambda frames: frames)
        self.assertEqual(frames[0][:3], (0, 0, 0))

        connection.setblocking(False)

        def read_on():
            with contextlib.suppress(BlockingIOError):
                connection.recv(65536)
            return not client.away
        until(read_on, "it goes on")
        self.assertGreater(client.stats()["dropped"], 0)


if __name__ == "__main__":
    unittest.main()
