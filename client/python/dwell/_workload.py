"""Models for who has none at hand: work of the standard library, each bound by something else.

    hashing    computes, without the interpreter's lock
    sorting    computes, with it
    sleeping   waits, as for an answer of somebody else
    reading    reads a file that the page cache was told to forget

Each call is some milliseconds. `reading` keeps one file of READ_BYTES, which has no name and goes with the
process. What can fail: the file, where there is no place for one; OSError.
"""
import hashlib
import os
import random
import tempfile
import threading
import time
from typing import IO, Any, Callable, Dict, Optional

HASH_BYTES = 4 << 20
SORT_COUNT = 20_000
SLEEP_S = 0.005
READ_BYTES = 4 << 20

_input = bytes(HASH_BYTES)
_numbers = [random.Random(1).random() for _ in range(SORT_COUNT)]
_file: Optional[IO[bytes]] = None
_file_lock = threading.Lock()


def hashing() -> Any:
    return hashlib.sha256(_input).digest()


def sorting() -> Any:
    return sorted(_numbers)[SORT_COUNT // 2]


def sleeping() -> Any:
    time.sleep(SLEEP_S)
    return SLEEP_S


def reading() -> Any:
    descriptor = _descriptor()
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    return len(os.pread(descriptor, READ_BYTES, 0))


def _descriptor() -> int:
    global _file
    with _file_lock:
        if _file is None:
            file = tempfile.TemporaryFile()
            file.write(bytes(READ_BYTES))
            file.flush()
            os.fsync(file.fileno())  # dirty pages are not forgotten
            _file = file
        return _file.fileno()


MODELS: Dict[str, Callable[[], Any]] = {"hashing": hashing, "sorting": sorting, "sleeping": sleeping,
                                        "reading": reading}
