"""A machine of its own in namespaces: systemd as process 1, on a copy of this root that is thrown away.

    1. unshare gives a process 1 with mounts, control groups, network and IPC of its own
    2. an overlay shows this machine's root, and takes what is written; /run, /tmp, /dev, /proc and /sys are new, and
       settings of the kernel cannot be written to
    3. what is to be installed is, and the process becomes systemd, which knows our units and a few empty targets

What can fail: no root, no overlay, no control group that may be divided. `why_not` says which.
"""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from harness import DWELLD, ROOT, WAIT_S, environment, until

_TARGETS = ("basic", "sysinit", "sockets", "shutdown", "umount", "final", "exit", "multi-user", "network", "local-fs", "paths",
            "timers", "slices", "emergency", "reboot", "poweroff", "halt", "kexec")

# Process 1 until it becomes systemd. $1: a directory for it; $2: the control group; $3: what to install, a shell script.
_BOOT = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/new" "$1/work" "$1/root" "$1/units"
mount -t overlay -o "lowerdir=/,upperdir=$1/new,workdir=$1/work" overlay "$1/root"
cd "$1/root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mount -o remount,bind,ro dev
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p run/units
for target in $TARGETS; do printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' "$target" > "run/units/$target.target"; done
sh -euc "$3"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=dwell SYSTEMD_UNIT_PATH=/run/units SYSTEMD_LOG_TARGET=console \
    chroot . /lib/systemd/systemd --system --unit=multi-user.target --show-status=no --log-level=notice
"""

# In the root that it will have, before it has it.
_INSTALL = r"""
install -m755 "$DWELLD" usr/bin/dwelld
for module in "${DWELLD%/*}"/dwell_otlp*.so; do
    [ ! -e "$module" ] || install -m644 "$module" usr/bin
done
cp "$ROOT/systemd/dwelld.service" "$ROOT/systemd/dwelld@.service" "$ROOT/systemd/dwelld.socket" run/units
for service in dwelld.service dwelld@.service; do
    mkdir "run/units/$service.d"
    printf '[Service]\nStandardError=append:/run/%%N.log\n' > "run/units/$service.d/log.conf"
done
systemd-sysusers --root=. "$ROOT/systemd/sysusers.conf"
systemd-tmpfiles --create --root=. "$ROOT/systemd/tmpfiles.conf"
mkdir -p etc/dwell
echo '{}' > etc/dwell/dwelld.json
"""


class Machine:
    def __init__(self):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="dwell-machine-"))
        self.group = _control_group() / f"dwell-test-{os.getpid()}"
        self.group.mkdir()
        self.log = open(self.base / "log", "w+")
        boot = self.base / "boot"
        boot.mkdir()
        script = 'echo $$ > "$2/cgroup.procs"; exec unshare -mpiuCn --fork --kill-child sh -c "$4" boot "$@"'
        self.process = subprocess.Popen(
            ["sh", "-c", script, "boot", boot, self.group, _INSTALL, _BOOT], stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=subprocess.STDOUT, env=environment(TARGETS=" ".join(_TARGETS), DWELLD=str(DWELLD), ROOT=str(ROOT)))
        try:
            self.init = until(self._find_init, "systemd is process 1")
            until(self._is_running, "it has booted")
        except BaseException:
            self.close()
            raise

    def said(self):
        return (self.base / "log").read_text()

    def _find_init(self):
        assert self.process.poll() is None, self.said()
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            with contextlib.suppress(OSError):
                if pathlib.Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    return int(child)
        return None

    def _is_running(self):
        assert self.process.poll() is None, self.said()
        return self.call("systemctl", "is-system-running", check=False) in ("running", "degraded")

    def call(self, *command, check=True):
        """What a command in the machine prints."""
        done = subprocess.run(["nsenter", f"--target={self.init}", "--all", "--root", "--wd", *map(str, command)], text=True,
                              env=environment(SYSTEMD_PAGER="", SYSTEMD_COLORS="0"), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=WAIT_S)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}\n{self.said()}"
        return done.stdout.strip()

    def path(self, inside):
        """A path of the machine's as it is seen from here, sockets included."""
        return pathlib.Path(f"/proc/{self.init}/root{inside}")

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(WAIT_S)
        self.log.close()
        until(self._remove_group, "its control groups are empty")
        shutil.rmtree(self.base, ignore_errors=True)

    def _remove_group(self):
        for path, _, _ in os.walk(self.group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        return not self.group.exists()


def _control_group():
    """Where a group can be made: the unified hierarchy, alone or beside the old one."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.split()[0] == "cgroup2":
            return pathlib.Path(fields.split()[4])
    return None


def why_not():
    """Why there can be no such machine here; "" when there can."""
    if os.geteuid() != 0:
        return "only root can make namespaces and mounts"
    for tool in ("unshare", "nsenter", "systemctl", "/lib/systemd/systemd"):
        if not shutil.which(tool):
            return f"there is no {tool} here"
    group = _control_group()
    if group is None:
        return "there is no unified hierarchy of control groups"
    tried = subprocess.run(["unshare", "-mpiuCn", "--fork", "sh", "-c", _PROBE], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, timeout=WAIT_S, env=environment())
    return "" if tried.returncode == 0 else f"no machine can be made here: {tried.stdout.strip()}"


_PROBE = r"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/new /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/new,workdir=/mnt/work overlay /mnt/root
mount -t proc proc /mnt/root/proc
mount -t sysfs sysfs /mnt/root/sys
mount -t cgroup2 cgroup2 /mnt/root/sys/fs/cgroup
"""
