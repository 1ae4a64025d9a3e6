"""Faults of who reads the log."""
import fcntl
import re
import signal

from harness import until

RELOADS = 100  # each a line of 90 bytes or more
PIPE_BYTES = 4096


def talk(world):
    """Has the daemon write more than a pipe holds, and goes on meanwhile."""
    for _ in range(RELOADS):
        world.daemon.send_signal(signal.SIGHUP)
        assert world.daemon.get("/healthz").status == 200
        world.daemon.status()  # by the loop: it is done with the signal
    world.go_on()


def close(world):
    world.daemon.stop_reading()
    world.daemon.send_signal(signal.SIGHUP)  # the line at which reading ends
    world.daemon.close_log()
    talk(world)


def told(world):
    """How many lines the log says that it lost."""
    found = (re.search(r"warning (\d+) lines of this log are lost", line) for line in list(world.daemon.log))
    return sum(int(match.group(1)) for match in found if match)


def lost(world):
    return int(world.daemon.metrics()["dwelld_log_lines_lost_total"])


def fill(world):
    daemon = world.daemon
    pipe = daemon.stop_reading()
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    daemon.send_signal(signal.SIGHUP)  # the line at which reading ends
    talk(world)
    assert lost(world) > 0, "the pipe has taken everything"
    daemon.read_again()
    world.over()

    def told_all():
        daemon.send_signal(signal.SIGHUP)  # a line that tells, once there is room for it
        return told(world) == lost(world)
    until(told_all, "the log says what it lost")
