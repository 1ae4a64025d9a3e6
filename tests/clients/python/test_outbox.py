"""Frames on their way, and what comes back: pure, every state of both."""
import unittest

import client_case  # noqa: F401  (finds the package)

from dwell import _wire
from dwell._outbox import Outbox

FRAMES = [(b"aaaa", ["a"], None), (b"bb", ["b", "c"], "t1"), (b"ccc", [], "t2")]


def filled(written=0, before=b"XX"):
    outbox = Outbox()
    outbox.fill(FRAMES, before)
    return outbox, outbox.advance(written)


class TestOutbox(unittest.TestCase):
    def test_frames_are_whole_when_their_last_byte_is_written(self):
        for written, whole, begun in ((0, 0, False), (1, 0, True), (5, 0, True), (6, 1, False), (7, 1, True),
                                      (8, 2, False), (10, 2, True), (11, 3, False)):
            with self.subTest(written=written):
                outbox, done = filled(written)
                self.assertEqual(done, [frame[1:] for frame in FRAMES[:whole]])
                self.assertEqual((outbox.begun, bool(outbox)), (begun, whole < 3))
                self.assertEqual(bytes(outbox.rest()), b"XXaaaabbccc"[written:])
                self.assertEqual(len(outbox), (3, 2, 0, 0)[whole])

    def test_what_is_not_whole_comes_back_in_order(self):
        for written, records, tickets in ((0, ["a", "b", "c"], ["t1", "t2"]), (5, ["a", "b", "c"], ["t1", "t2"]),
                                          (6, ["b", "c"], ["t1", "t2"]), (8, [], ["t2"]), (11, [], [])):
            with self.subTest(written=written):
                outbox, _ = filled(written)
                self.assertEqual(outbox.take_back(), (records, tickets))
                self.assertEqual((bool(outbox), bytes(outbox.rest()), outbox.begun), (False, b"", False))

    def test_a_frame_that_is_begun_can_be_kept(self):
        for written, rest, records in ((0, b"", ["a", "b", "c"]), (1, b"Xaaaa", ["b", "c"]), (6, b"", ["b", "c"]),
                                       (7, b"b", []), (8, b"", []), (9, b"cc", [])):
            with self.subTest(written=written):
                outbox, _ = filled(written)
                self.assertEqual(outbox.take_back(keep_begun=True)[0], records)
                self.assertEqual(bytes(outbox.rest()), rest)
                self.assertEqual(len(outbox.advance(len(rest))), 1 if rest else 0)
                self.assertFalse(outbox)

    def test_an_empty_one_gives_nothing(self):
        outbox = Outbox()
        outbox.fill([])
        self.assertEqual((bool(outbox), outbox.advance(0), outbox.take_back(True)), (False, [], ([], [])))


class TestReplies(unittest.TestCase):
    def must_read(self, data, flushed, broken=False, error=None, line=False):
        """In every split into two."""
        for at in range(len(data) + 1):
            replies = _wire.Replies()
            got = replies.feed(data[:at]) + replies.feed(data[at:])
            self.assertEqual((got, replies.broken, replies.line), (flushed, broken, line), (data, at))
            if error is not None:
                self.assertIn(error, replies.error)

    def test_replies(self):
        for data, flushed, more in (
                (b"", [], {}),
                (b"\0\0\0\0", [], {}),
                (b"\x02\0\0\0\x08\x03", [3], {}),
                (b"\x02\0\0\0\x08\x03\x03\0\0\0\x08\x80\x01", [3, 128], {}),
                (b"\x04\0\0\0\x10\x07\x08\x03", [3], {}),                     # an acknowledgement, not known
                (b"\x05\0\0\0\x1a\x03bad", [], {"error": "bad"}),
                (b"\x0b\0\0\0\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", [2**64 - 1], {}),
                (b"\x0c\0\0\0\x08" + b"\xff" * 10 + b"\x01", [], {"broken": True}),
                (b"\x01\0\0\0\x08", [], {"broken": True}),                    # a number that is cut off
                (b"\x03\0\0\0\x1a\x05b", [], {"broken": True}),               # a text that is cut off
                (b"\x02\0\0\0\x0b\x0c", [], {"broken": True}),                # a group
                (b"\x01\0\x01\0" + b"\0", [], {"broken": True}),              # 64 kB and one
                (b"HTTP/1.1 400", [], {"broken": True, "error": "HTTP"}),
                (b'{"error": "x"', [], {"broken": True, "line": True})):
            with self.subTest(data):
                self.must_read(data, flushed, **more)

    def test_the_longest_reply_is_waited_for(self):
        replies = _wire.Replies()
        self.assertEqual(replies.feed((64 * 1024).to_bytes(4, "little") + b"\x12\xfc\xff\x03" + bytes(65531)), [])
        self.assertFalse(replies.broken)
        self.assertEqual(replies.feed(b"\0" + b"\x02\0\0\0\x08\x03"), [3])


if __name__ == "__main__":
    unittest.main()
