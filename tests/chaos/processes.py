"""Faults of the daemon's own process and place."""
import shutil
import signal
import time

from harness import until


def kill(world):
    world.daemon.send_signal(signal.SIGKILL)
    world.over()
    assert world.daemon.wait() == -signal.SIGKILL
    world.restart()


def terminate(world):
    world.daemon.send_signal(signal.SIGTERM)
    world.over()
    assert world.daemon.wait() == 0, world.daemon.log
    world.restart()


def pause(world):
    uptime_s = world.daemon.status()["uptime_seconds"]
    world.daemon.send_signal(signal.SIGSTOP)
    time.sleep(world.pause_s)  # the fault itself
    world.daemon.send_signal(signal.SIGCONT)
    world.over()
    assert world.daemon.status()["uptime_seconds"] >= uptime_s + world.pause_s


def lose_directory(world):
    shutil.rmtree(world.directory)
    world.go_on()
    assert world.daemon.get("/healthz").status == 200
    until(lambda: world.daemon.metrics()["dwelld_connections"] == len(world.clients), "all are connected still")
    terminate(world)
