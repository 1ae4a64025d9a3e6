"""Who uses the CPUs of this machine: all, and of them this process with its descendants."""
import contextlib
import os
import pathlib


def cpu_seconds():
    """All that ran since the start of the machine."""
    ticks = [int(number) for number in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def tree_seconds():
    """CPU time of this process and all of its descendants: those that live, and those that were waited for."""
    stats, children = {}, {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # some end meanwhile
            fields = path.read_text().rpartition(")")[2].split()
            pid = int(path.parent.name)
            stats[pid] = sum(int(field) for field in fields[11:15])
            children.setdefault(int(fields[1]), []).append(pid)
    total, left = 0, [os.getpid()]
    while left:
        pid = left.pop()
        total += stats.get(pid, 0)
        left += children.get(pid, [])
    return total / os.sysconf("SC_CLK_TCK")
