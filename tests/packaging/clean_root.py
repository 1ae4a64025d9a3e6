"""Roots with nothing in them but what Debian calls essential, and apt: where packages are tried.

The first is made by mmdebstrap and kept as a tar archive in build/roots, which `make clean` removes. Commands run in
namespaces of their own, so that nothing that they start outlives them.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "roots"
SOURCES = pathlib.Path("/etc/apt/sources.list.d/debian.sources")
STEP_S = 1200  # the longest installs compilers and builds everything

_ENTER = r"""
mount --make-rprivate /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom; do : > dev/$device; mount --bind /dev/$device dev/$device; done
ln -s /proc/self/fd dev/fd
shift
exec chroot "$@"
"""


def codename():
    return re.search(r"^VERSION_CODENAME=(\w+)$", pathlib.Path("/etc/os-release").read_text(), re.M).group(1)


def why_not():
    """Why there can be no such root here; "" when there can."""
    if os.geteuid() != 0:
        return "only root can make another root"
    for tool in ("mmdebstrap", "unshare", "dpkg"):
        if not shutil.which(tool):
            return f"there is no {tool} here"
    if not SOURCES.exists():
        return f"there is no {SOURCES}, which says where packages are"
    return ""


def archive():
    """The essential system of this machine's release, made when it is not there."""
    path = CACHE / f"{codename()}.tar"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new.tar")
        subprocess.run(["mmdebstrap", "--mode=root", "--variant=apt", "--quiet", "--dpkgopt=force-unsafe-io", codename(), fresh, SOURCES], check=True,
                       timeout=STEP_S, stdin=subprocess.DEVNULL)
        fresh.rename(path)
    return path


class CleanRoot:
    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="dwell-root-"))
        subprocess.run(["tar", "-xpf", archive(), "-C", self.path], check=True, timeout=STEP_S)
        shutil.copy("/etc/resolv.conf", self.path / "etc/resolv.conf")
        self.path.chmod(0o755)

    def command(self, *words, user=""):
        enter = ["unshare", "-mpiu", "--fork", "--kill-child", "sh", "-euc", _ENTER, "enter", self.path]
        return [*map(str, enter), *([f"--userspec={user}"] if user else []), str(self.path), *map(str, words)]

    def run(self, *words, user="", check=True, **environment):
        """What a command prints, with nothing of this machine in its environment."""
        done = subprocess.run(self.command(*words, user=user), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=STEP_S,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8",
                                   "HOME": "/", **environment})
        assert not check or done.returncode == 0, f"{words}: status {done.returncode}\n{done.stdout}"
        return done.stdout

    def start(self, *words, user="", **environment):
        return subprocess.Popen(self.command(*words, user=user), text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, start_new_session=True,
                                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment})

    def files(self):
        """All that is there, but for what the system writes about itself."""
        found = set()
        for directory, names, files in os.walk(self.path):
            inside = "/" + os.path.relpath(directory, self.path)
            names[:] = [name for name in names if f"{inside}/{name}" not in ("/./proc", "/./sys", "/./dev")]
            found.update(os.path.normpath(f"{inside}/{name}") for name in names + files)
        return {name for name in found if not re.match(r"/(var/(lib/(dpkg|apt|systemd/deb)|cache|log)|etc/.*-$)", name)}

    def close(self):
        shutil.rmtree(self.path, ignore_errors=True)


def end(process):
    """Ends what `start` began, in order; its output."""
    child = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child[0]), signal.SIGTERM)
    return process.communicate(timeout=60)[0]
