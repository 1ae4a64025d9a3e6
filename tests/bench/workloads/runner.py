"""One workload as a process: starts it, says when a round begins, takes what it says at its end.

What belongs to the machine and not to the program happens here, once it is prepared (`setting` of a workload):

    nice      a low priority, by which it gets 3 % of a CPU beside one hog for each: not the lowest, for a round is
              to have some inferences
    idle      the policy that runs when nobody else wants to, beside them too
    quota:N   a control group that gives it N % of one CPU; needs version 1 or 2 of them, and the right to
              make one
"""
import contextlib
import json
import os
import pathlib
import select
import subprocess
import time

PERIOD_US = 100000
NICE = 15
READY_S = 120  # to prepare: files are written, models are trained


class Skipped(Exception):
    """The machine cannot run it."""


class Failed(Exception):
    """It did not do what it should."""


class Hogs:
    """Processes that always want a CPU."""

    def __init__(self, binary, count):
        self.processes = [subprocess.Popen([binary, "--hog"], stdin=subprocess.DEVNULL) for _ in range(count)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()


class Quota:
    """A control group of its own for one process."""

    def __init__(self, pid, percent):
        quota = str(PERIOD_US * percent // 100)
        self.home, self.group = self.make(pid)
        try:
            if (self.group / "cpu.max").exists():
                (self.group / "cpu.max").write_text(f"{quota} {PERIOD_US}")
            else:
                (self.group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (self.group / "cpu.cfs_quota_us").write_text(quota)
            (self.group / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            self.group.rmdir()
            raise Skipped(f"no quota for a control group: {error}") from None
        self.pid = pid

    @staticmethod
    def make(pid):
        """Where the process is, and a new group in it."""
        said = Skipped("no control groups that could be made")
        for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            root = pathlib.Path("/sys/fs/cgroup") / ("cpu" if controllers else "")
            for home in (root / path.lstrip("/"), root):
                group = home / f"dwell-workload-{pid}"
                try:
                    group.mkdir()
                except OSError as error:
                    said = Skipped(f"no control group: {error}")
                    continue
                if (group / "cpu.max").exists() or (group / "cpu.cfs_quota_us").exists():
                    return home, group
                group.rmdir()
        raise said

    def close(self):
        with contextlib.suppress(OSError):  # it may have ended
            (self.home / "cgroup.procs").write_text(str(self.pid))
        for _ in range(200):
            try:
                self.group.rmdir()
                return
            except OSError:
                time.sleep(0.01)  # until the last process has gone


class Runner:
    def __init__(self, workload, seconds, rounds, watchers, directory, hog):
        self.workload = workload
        command = [*workload["command"], workload["name"], workload["name"], str(seconds), str(rounds), *watchers]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=directory)
        self.pending = b""
        self.stack = contextlib.ExitStack()
        self.seconds = seconds
        try:
            line = self.line(READY_S)
            if line.startswith("skipped: "):
                raise Skipped(line.removeprefix("skipped: "))
            if line != "ready":
                raise Failed(f"{workload['name']} said {line!r} instead of ready")
            self.set(workload.get("setting"), hog)
        except BaseException:
            self.__exit__()
            raise

    def set(self, setting, hog):
        pid = self.process.pid
        if setting in ("nice", "idle"):
            self.stack.enter_context(Hogs(hog, os.cpu_count()))
        if setting == "nice":
            os.setpriority(os.PRIO_PROCESS, pid, NICE)
        elif setting == "idle":
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
        elif setting and setting.startswith("quota:"):
            self.stack.callback(Quota(pid, int(setting.removeprefix("quota:"))).close)

    def line(self, seconds):
        """The next line; "" at the end."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self.pending:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise Failed(f"{self.workload['name']} says nothing for {seconds:.0f} s")
            got = os.read(self.process.stdout.fileno(), 65536)
            if not got:
                return ""
            self.pending += got
        line, self.pending = self.pending.split(b"\n", 1)
        return line.decode()

    def round(self):
        """Runs one, and gives what the process has measured of it."""
        try:
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"{self.workload['name']} ended with status {self.process.wait()}") from None
        line = self.line(4 * self.seconds + 60)  # starved ones take long
        if not line.startswith("{"):
            raise Failed(f"{self.workload['name']} said {line!r}, status {self.process.poll()}")
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.stack.close()
