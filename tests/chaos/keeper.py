"""A client that asks for acknowledgements: it keeps each batch until the daemon has it in its journal, and sends what
it keeps again after a reconnect, with the numbers that it had.

    1. hello          asks, and says the number of the oldest batch that is kept
    2. kept           batches go out again, byte by byte; then new ones, WINDOW of them in all
    3. acknowledged   all below that number is the daemon's: confirmed, and kept no longer

What can fail: as with any client (client.py). A daemon without a journal acknowledges nothing: `end` says so.
"""
import wire
from client import CALLS, Client


class Keeper(Client):
    def __init__(self, path, number):
        super().__init__(path, number)
        self.frames = []  # those of self.waiting
        self.heads = []   # and their heads

    def _hello(self):
        for batch in self.waiting:
            batch[2] = self.life
        head = self.heads[0] if self.heads else self._head()
        hello = wire.hello(client="chaos-keeper/1", acknowledge=1)
        return wire.frame(wire.batch(hello_message=hello, **head)) + b"".join(self.frames)

    def _forget_connection(self):
        """What was not acknowledged is sent again on the next one."""

    def _wrote(self, batch, frame, head):
        super()._wrote(batch, frame, head)
        self.frames.append(frame)
        self.heads.append(head)

    def _take_answer(self, reply):
        below = reply.get("acknowledged", 0)
        while self.waiting and self.heads[0]["first_sequence"] + CALLS <= below:
            self._confirm()
            del self.frames[0], self.heads[0]
