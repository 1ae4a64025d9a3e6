"""What an inference used of its thread: CPU time, page faults, switches, disk; and how often that may be
asked.

Happy path:
    1. a `Meter` has the share of a model's inference time that readings may cost, 1 % by default
    2. `due_ns` of inferences pay for one reading; whoever keeps the account (profiler.py) then calls
       `begin`
    3. `end` gives what was used since as fields of a sample, and `learn` what the reading was seen to cost

The thread's CPU time is its clock's, which is exact; getrusage only says how it splits into user and
system. The clock comes first: reading it brings up to date what the others show.

What can fail: an inference that goes on in another thread, or beyond a fork, or whose task let others run
on the thread meanwhile, gets no evidence, since the thread's CPU time is not its own. Files of /proc that
cannot be opened are left out. Greenlets (gevent) cannot be told from their thread: use `none` with them.

Threads: any. What belongs to one thread is in a threading.local.
"""
import os
import sys
import threading
import time
import weakref
from typing import Any, Dict, NamedTuple, Optional, Tuple

try:
    import resource
except ImportError:  # not on this system, or not in a subinterpreter
    resource = None  # type: ignore[assignment]

NONE, CPU, FULL = "none", "cpu", "full"
LEVELS = (NONE, CPU, FULL)
PERCENT = 1.0         # of a model's inference time, at most
COST_MARGIN = 1.25    # what an inference pays of what was seen of a reading: it also finds caches colder
COST_OUTLIER = 4      # a reading during which another thread ran says no more than this many usual ones
COST_WEIGHT = 8       # readings that the smoothed cost goes back to
CALIBRATIONS = 5      # readings with nothing between them, before the first real one
DISK_BLOCK_BYTES = 512  # that getrusage counts in
SCHEDSTATS_MAX = 128  # descriptors, one a thread; a process may often have no more than 1024
MIB = 1024 * 1024
NEVER_NS = 2**63 - 1  # 292 years, and what C can hold

_readable = hasattr(resource, "RUSAGE_THREAD")
_page_bytes = resource.getpagesize() if _readable else 0
_generation = 0  # forks of ours; what was opened before one is the parent's


def _forked() -> None:
    global _generation
    _generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def level_of(given: Optional[str]) -> str:
    """The level that is asked for by argument, else by DWELL_EVIDENCE; what is none of them is `cpu`. `none`
    where the system does not tell."""
    if not _readable:
        return NONE
    asked = given if given is not None else os.environ.get("DWELL_EVIDENCE")
    return asked if asked in LEVELS else CPU


def percent_of(given: Optional[float]) -> float:
    """More than 0, at most 100; what is not is the default."""
    try:
        percent = float(given if given is not None else os.environ.get("DWELL_EVIDENCE_PERCENT", PERCENT))
    except (TypeError, ValueError, OverflowError):
        return PERCENT
    return min(percent, 100.0) if percent > 0 else PERCENT


# ---- files of /proc ----

class _File:
    """A file that is kept open. Its lines look like "1234 5678 90", and the second number is what is asked
    for."""

    def __init__(self, path: str) -> None:
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            pass  # it is left out

    def second_number(self) -> Optional[int]:
        try:
            return int(os.pread(self._fd, 128, 0).split()[1])
        except (OSError, ValueError, IndexError):
            return None

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)


_schedstats: "weakref.WeakSet[_File]" = weakref.WeakSet()
_statm: Tuple[int, Optional[_File]] = (-1, None)


def memory_mb() -> Optional[float]:
    """Resident memory of this process."""
    global _statm
    if _statm[0] != _generation:
        _statm = (_generation, _File("/proc/self/statm"))
    file = _statm[1]
    pages = file.second_number() if file is not None else None
    return None if pages is None else pages * _page_bytes / MIB


class _Here(threading.local):
    """Of one thread."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.generation = _generation
        self.thread_id = threading.get_native_id()
        self.schedstat: Optional[_File] = None
        self.schedstat_tried = False

    def runqueue_ns(self) -> Optional[int]:
        """How long the thread was ready without a CPU, ever."""
        if not self.schedstat_tried:
            self.schedstat_tried = True
            if len(_schedstats) < SCHEDSTATS_MAX:
                self.schedstat = _File("/proc/thread-self/schedstat")
                _schedstats.add(self.schedstat)
        return self.schedstat.second_number() if self.schedstat is not None else None


_here = _Here()


# ---- the event loop ----

class _Watch:
    """Whether the event loop of this thread has run since: it calls in order, so a task that lets it run is
    not resumed before this is called."""
    __slots__ = ("ran", "_handle")

    def __init__(self, loop: Any) -> None:
        self.ran = False
        self._handle = loop.call_soon(self._run)

    def _run(self) -> None:
        self.ran = True

    def over(self) -> bool:
        self._handle.cancel()
        return self.ran


def _running_loop() -> Any:
    events = sys.modules.get("asyncio.events")  # who has not imported it has no loop
    return events._get_running_loop() if events is not None else None


# ---- readings ----

class Reading(NamedTuple):
    generation: int
    thread_id: int
    watch: Optional[_Watch]
    usage: Any
    runqueue_ns: Optional[int]
    process_ns: int
    cpu_ns: int


class Meter:
    """Of one profiler: what is read, and what it costs."""

    def __init__(self, level: Optional[str] = None, percent: Optional[float] = None) -> None:
        self.level = level_of(level)
        self._full = self.level == FULL
        self._factor = COST_MARGIN * 100 / percent_of(percent)
        self.cost_ns = 0
        self.due_ns = 0 if self.level != NONE else NEVER_NS

    def begin(self) -> Optional[Reading]:
        """What the thread has used until now. None: nothing can be said about it. Raises what asyncio
        may."""
        if self.cost_ns == 0:
            self._calibrate()
        loop = _running_loop()
        return self._begin(_Watch(loop) if loop is not None else None)

    def _begin(self, watch: Optional[_Watch]) -> Reading:
        here = _here
        if here.generation != _generation:
            here.renew()
        time.thread_time_ns()
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        runqueue_ns = here.runqueue_ns() if self._full else None
        process_ns = time.process_time_ns() if self._full else 0
        return Reading(_generation, here.thread_id, watch, usage, runqueue_ns, process_ns,
                       time.thread_time_ns())

    def end(self, before: Reading, wall_ns: int) -> Optional[Dict[str, Any]]:
        """What the inference used, of `wall_ns` > 0, as fields of a sample. None: that cannot be known."""
        cpu_ns = time.thread_time_ns() - before.cpu_ns
        process_ns = time.process_time_ns() - before.process_ns if self._full else 0
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        ended_unix_nano = time.time_ns()
        interleaved = before.watch is not None and before.watch.over()
        here = _here
        if interleaved or before.generation != _generation or before.thread_id != here.thread_id:
            return None
        was = before.usage
        cpu_ns = min(max(cpu_ns, 0), wall_ns)
        user_s, system_s = max(usage.ru_utime - was.ru_utime, 0.0), max(usage.ru_stime - was.ru_stime, 0.0)
        system_share = system_s / (user_s + system_s) if user_s + system_s > 0 else 0.0
        cpu_ms = cpu_ns / 1e6
        fields: Dict[str, Any] = {
            "cpu_percent_during": 100.0 * cpu_ns / wall_ns,
            "timestamp_unix_nano": ended_unix_nano,
            "user_ms": cpu_ms * (1 - system_share),
            "system_ms": cpu_ms * system_share,
            "minor_faults": usage.ru_minflt - was.ru_minflt,
            "major_faults": usage.ru_majflt - was.ru_majflt,
            "voluntary_switches": usage.ru_nvcsw - was.ru_nvcsw,
            "involuntary_switches": usage.ru_nivcsw - was.ru_nivcsw,
            "disk_bytes": DISK_BLOCK_BYTES * (usage.ru_inblock - was.ru_inblock +
                                              usage.ru_oublock - was.ru_oublock),
            "thread_id": here.thread_id}
        if self._full:
            now_ns = here.runqueue_ns()
            if now_ns is not None and before.runqueue_ns is not None:
                waited_ns = max(now_ns - before.runqueue_ns, 0)
                fields["runqueue_ms"] = min(waited_ns, wall_ns - cpu_ns) / 1e6
            fields["process_cpu_ms"] = max(process_ns, cpu_ns) / 1e6
            fields["memory_mb_after"] = memory_mb()
        return fields

    def _calibrate(self) -> None:
        costs = []
        for _ in range(CALIBRATIONS):
            begun_ns = time.thread_time_ns()
            self.end(self._begin(None), 1)
            costs.append(time.thread_time_ns() - begun_ns)
        self.learn(min(costs))  # what is more was somebody else's

    def learn(self, cost_ns: int) -> None:
        """What a reading was just seen to cost, at both of its ends, of CPU time."""
        if self.cost_ns == 0:
            self.cost_ns = max(cost_ns, 1)
        else:
            seen_ns = min(cost_ns, COST_OUTLIER * self.cost_ns)
            self.cost_ns = max((self.cost_ns * (COST_WEIGHT - 1) + seen_ns) // COST_WEIGHT, 1)
        self.due_ns = min(int(self.cost_ns * self._factor), NEVER_NS)
