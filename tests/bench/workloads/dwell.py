"""libdwell by ctypes, as far as an inference needs it: the evidence is the library's own.

begin and end keep the interpreter's lock: to let go of it and to ask for it again would be a wait that
the workload does not have.
"""
import ctypes
import os

BUILD = os.environ.get("DWELL_BUILD", "build")
EVIDENCE = {"cpu": 2, "full": 3}
OK = 0


class Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("directory", ctypes.c_char_p), ("service_name", ctypes.c_char_p),
                ("service_version", ctypes.c_char_p), ("constitutional_hash", ctypes.c_char_p),
                ("evidence", ctypes.c_int), ("evidence_percent", ctypes.c_double)]


class Stats(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("recorded", ctypes.c_uint64), ("sent", ctypes.c_uint64),
                ("dropped", ctypes.c_uint64)]


Track = ctypes.c_uint64 * 16


class Dwell:
    """A handle for the daemon of one directory."""

    def __init__(self, directory, evidence):
        path = os.path.join(os.path.abspath(BUILD), "libdwell.so")
        self.library, self.locked = ctypes.CDLL(path), ctypes.PyDLL(path)
        self.library.dwell_open.restype = self.library.dwell_model.restype = ctypes.c_void_p
        options = Options(size=ctypes.sizeof(Options), directory=directory.encode(), service_name=b"workload",
                          evidence=EVIDENCE[evidence])
        self.handle = ctypes.c_void_p(self.library.dwell_open(ctypes.byref(options)))
        if not self.handle:
            raise RuntimeError(f"no handle for {directory}")
        self.track, self.model = Track(), None

    def choose(self, model):
        self.model = ctypes.c_void_p(self.library.dwell_model(self.handle, model.encode()))

    def begin(self):
        self.locked.dwell_track_begin(self.track, self.model)

    def end(self):
        self.locked.dwell_track_end(self.track, ctypes.c_bool(False))

    def flush(self, timeout_ms):
        stats = Stats(size=ctypes.sizeof(Stats))
        flushed = self.library.dwell_flush(self.handle, timeout_ms)
        self.library.dwell_stats(self.handle, ctypes.byref(stats))
        if flushed != OK or stats.dropped:
            raise RuntimeError(f"a daemon did not take every sample (flush {flushed}, dropped {stats.dropped})")
