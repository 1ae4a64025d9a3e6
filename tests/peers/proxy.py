"""Stands between a client and a server of HTTP/2 and breaks what goes on there, as networks do.

It never asks what is in a message. Without TLS it knows where frames begin, to put one of its own between them.
"""
import contextlib
import queue
import selectors
import socket
import struct
import threading

PREFACE = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
HEADER = 9  # length 3, type 1, flags 1, stream 4
HEADERS, RST_STREAM = 1, 3
CANCEL = 8
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: a close is a reset


def _frames(pending):
    """Takes whole frames off a bytearray: [(type, stream, bytes)]."""
    taken = []
    while len(pending) >= HEADER:
        length = int.from_bytes(pending[:3], "big")
        if len(pending) < HEADER + length:
            break
        stream = int.from_bytes(pending[5:HEADER], "big") & 0x7FFFFFFF
        taken.append((pending[3], stream, bytes(pending[:HEADER + length])))
        del pending[:HEADER + length]
    return taken


def _reset_frame(stream, code):
    return (4).to_bytes(3, "big") + bytes([RST_STREAM, 0]) + struct.pack(">II", stream, code)


class _Connection:
    """All of it is done on a thread of its own, which `order` tells what to do."""

    def __init__(self, client, target, has_frames):
        self._client = client
        self._server = socket.create_connection(("127.0.0.1", target))
        self.name = self._server.getsockname()[1]  # what the server sees
        self._has_frames = has_frames
        self._from_client, self._from_server = bytearray(), bytearray()
        self._preface = PREFACE
        self._stream = 0  # the client's last
        self._orders = queue.SimpleQueue()
        self._bell, self._ring = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def order(self, what, *arguments):
        self._orders.put((what, arguments))
        with contextlib.suppress(OSError):  # it has ended
            self._ring.send(b"!")

    def join(self):
        self._thread.join()

    def _run(self):
        selector = selectors.DefaultSelector()
        passes = {self._client: self._to_server, self._server: self._to_client, self._bell: self._obey}
        for source in passes:
            selector.register(source, selectors.EVENT_READ)
        try:
            while True:
                for key, _ in selector.select():
                    data = key.fileobj.recv(65536)
                    if not data:
                        return
                    passes[key.fileobj](data)
        except OSError:
            pass  # somebody has hung up, or we have
        finally:
            selector.close()
            for one in (self._client, self._server, self._bell, self._ring):
                one.close()

    def _to_server(self, data):
        if self._has_frames:
            preface, rest = data[:self._preface], data[self._preface:]
            self._preface -= len(preface)
            self._from_client += rest
            frames = _frames(self._from_client)
            self._stream = max([self._stream, *(stream for kind, stream, _ in frames if kind == HEADERS)])
            data = preface + b"".join(frame for _, _, frame in frames)
        self._server.sendall(data)

    def _to_client(self, data):
        if self._has_frames:
            self._from_server += data
            data = b"".join(frame for _, _, frame in _frames(self._from_server))
        self._client.sendall(data)

    def _obey(self, _):
        while not self._orders.empty():
            what, arguments = self._orders.get()
            what(*arguments)

    # --- orders ---

    def reset(self):
        """The client's connection is reset."""
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        raise ConnectionResetError

    def reset_stream(self, code):
        """The client's last stream is reset with an error code of HTTP/2, and its connection stays."""
        self._client.sendall(_reset_frame(self._stream, code))
        self._server.sendall(_reset_frame(self._stream, CANCEL))


class Proxy:
    """Listens on a free port and passes connections on to the target, a port of this machine."""

    def __init__(self, target, has_frames):
        self._target = target
        self._has_frames = has_frames
        self._lock = threading.Lock()
        self._connections = []
        self.accepted = 0  # connections so far
        self._listener = None
        self.port = 0
        self.listen()

    def listen(self):
        """Again on the same port, after `leave`."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                listener.close()
                return
            with self._lock:
                if listener is not self._listener:
                    client.close()
                    continue
                self.accepted += 1
                try:
                    self._connections.append(_Connection(client, self._target, self._has_frames))
                except OSError:
                    client.close()  # the target is not there

    def find(self, name):
        """The connection that the server sees coming from this port."""
        with self._lock:
            return next(one for one in self._connections if one.name == name)

    def leave(self):
        """Nobody listens any more, and all connections are reset."""
        with self._lock:
            listener, self._listener = self._listener, None
            connections, self._connections = self._connections, []
        if listener:
            listener.shutdown(socket.SHUT_RDWR)  # accept returns
        for connection in connections:
            connection.order(connection.reset)
        for connection in connections:
            connection.join()
