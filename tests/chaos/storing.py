"""Faults of what outlives the daemon: the state file and its disk."""
import signal

import processes
from disk import disk_of_its_own, fill
from harness import until


def options(world):
    return {"sets": {"state.file": world.base / "state", "state.interval_ms": 100}}


def journal_options(world):
    return {"sets": {**options(world)["sets"], "journal.directory": world.base / "journal"}}


def small_disk(world):
    """The state has a disk of its own, seen by the daemon only."""
    place = world.base / "disk"
    return {"sets": {"state.file": place / "state", "state.interval_ms": 100}, "wrapper": disk_of_its_own(place)}


def saves(world):
    return world.daemon.metrics()["dwelld_state_saves_total"]


def failures(world):
    return world.daemon.metrics()["dwelld_state_save_failures_total"]


def restart(world):
    """Everything goes on: figures.forgotten is to be 0."""
    processes.terminate(world)
    assert world.daemon.metrics()["dwelld_state_damaged_files_total"] == 0


def spoil_state(world):
    """Between two daemons the file is cut, or a bit of it is another."""
    world.daemon.send_signal(signal.SIGTERM)
    assert world.daemon.wait() == 0, world.daemon.log
    state = world.base / "state"
    content = bytearray(state.read_bytes())
    at = world.random.randrange(len(content))
    if world.random.random() < 0.5:
        content[at] ^= 1 << world.random.randrange(8)
    else:
        del content[at:]
    state.write_bytes(content)
    world.over()
    world.restart()
    world.daemon.wait_log(r"set aside as .*/state\.damaged")
    assert (world.base / "state.damaged").read_bytes() == content
    until(lambda: saves(world) > 0, "the next state is saved")


def fill_disk(world):
    until(lambda: saves(world) > 0, "there is a good one")
    disk = f"/proc/{world.daemon.pid}/root{world.base}/disk"
    good = f"{disk}/state"
    with fill(f"{disk}/ballast"):
        before = failures(world)
        until(lambda: failures(world) > before, "a save has failed")
        with open(good, "rb") as file:
            kept = file.read()
        world.go_on()
        before = failures(world)
        until(lambda: failures(world) > before, "another save has failed")
        with open(good, "rb") as file:
            assert file.read() == kept, "the last good file is not what it was"
    world.over()
    before = saves(world)
    until(lambda: saves(world) > before, "the state is saved again")
