"""In the daemon's place: takes connections, answers with what it is told to, and keeps what it was sent."""
import socket
import sys
import threading

from client_case import ROOT, WAIT_S, until

sys.path.insert(0, str(ROOT / "tests/clients"))

import batch  # noqa: E402


class FakeDaemon:
    """`answer` is sent to each connection once its first bytes are there; `hold` keeps the connection open after it,
    else it ends. Without `accepts` connections stay in the backlog."""

    def __init__(self, directory, answer=b"", hold=False, backlog=16, accepts=True):
        self.sent = []  # of each connection, the bytes
        self.open = 0   # connections now
        self._answer = answer
        self._hold = hold
        self._path = directory / "ingest.sock"
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(self._path))
        self._socket.listen(backlog)
        self._threads = [threading.Thread(target=self._accept, daemon=True)] if accepts else []
        for thread in self._threads:
            thread.start()

    def _accept(self):
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return  # it has ended
            self.open += 1
            self.sent.append(b"")
            self._serve(peer, len(self.sent) - 1)
            self.open -= 1

    def _serve(self, peer, at):
        with peer:
            peer.settimeout(WAIT_S)
            try:
                self.sent[at] += peer.recv(65536)
                peer.sendall(self._answer)
                while self._hold:
                    got = peer.recv(1 << 20)
                    if not got:
                        return
                    self.sent[at] += got
            except OSError:
                pass  # the client has gone, which it may

    def batches(self, connection=-1):
        """What one connection brought, frame by frame."""
        data = self.sent[connection]
        assert data[:4] == batch.MAGIC, data[:4]
        return batch.frames(data[4:])[0]

    def wait_end(self):
        """All of a connection has come, and it has ended."""
        until(lambda: self.sent and not self.open, "a connection has come and ended")

    def end(self):
        """Makes room for another one."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._path.unlink()
        for thread in self._threads:
            thread.join(WAIT_S)
