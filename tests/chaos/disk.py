"""A small disk of the daemon's own, which can be filled."""
import contextlib
import os
import subprocess

DISK = "1m"


def _private_mounts():
    """The command that gives a command mounts of its own."""
    return ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-U", "-r", "-m"]


def hindrance():
    tried = subprocess.run([*_private_mounts(), "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"no mounts of its own: {tried.stderr.strip()}"


def disk_of_its_own(place):
    """The command that starts a daemon which has one at `place`; others see it under /proc/PID/root."""
    place.mkdir(mode=0o700)
    script = f'mount -t tmpfs -o size={DISK},mode=700 none "$0" && exec "$@"'
    return [*_private_mounts(), "sh", "-c", script, place]


@contextlib.contextmanager
def fill(ballast):
    """Until the end of the block there is no room beside the file `ballast`."""
    with open(ballast, "wb", buffering=0) as file:
        with contextlib.suppress(OSError):  # it is full
            while file.write(bytes(4096)):
                pass
    yield
    os.unlink(ballast)
