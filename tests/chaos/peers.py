"""Faults of clients and scrapers."""
import socket

from harness import until

CUTS = 5
CONNECTS = 1000
SCRAPERS = 16
MODELS = 400  # with which an answer is larger than what sockets hold


def confirmed_batches(world, client, count):
    """So many more of a client's batches are sent and confirmed."""
    wanted = client.confirmed + count

    def ticked():
        client.tick()
        return client.confirmed >= wanted
    until(ticked, "the victim's batches are confirmed")


def cut_frames(world):
    victim = world.victim()
    for _ in range(CUTS):
        confirmed_batches(world, victim, 2)
        victim.cut(world.random.random())
    confirmed_batches(world, victim, 2)
    assert world.daemon.rejected() == {"bad_frame": CUTS}, world.daemon.rejected()


def send_garbage(world):
    victim = world.victim()
    for _ in range(CUTS):
        confirmed_batches(world, victim, 2)
        # Its first four bytes are a length that no frame may have.
        victim.spoil(world.random.randbytes(3) + b"\xff" + world.random.randbytes(world.random.randrange(200)))
        world.daemon.send_raw(world.random.randbytes(1 + world.random.randrange(200)))
    confirmed_batches(world, victim, 2)
    assert sum(world.daemon.rejected().values()) >= CUTS, world.daemon.rejected()


def connect_often(world):
    idle = world.daemon.descriptors()
    for _ in range(CONNECTS):
        with world.daemon.peer():
            pass
    until(lambda: world.daemon.metrics()["dwelld_connections"] == len(world.clients), "they are all closed")
    until(lambda: world.daemon.descriptors() <= idle, "no descriptor is left")


def stop_reading_answers(world):
    world.daemon.send(*({"model_name": f"model-{number}", "execution_time_ms": 1} for number in range(MODELS)))
    for _ in range(SCRAPERS):
        sock = world.daemon.raw_http(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "tcp")
        world.on_exit(sock.close)
        assert sock.recv(1, socket.MSG_PEEK) == b"H"  # the answer has begun
