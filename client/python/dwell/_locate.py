"""Where the daemon's sockets are, by the rule of proto/WIRE.md ("Sockets"). Looked up anew at every attempt to
connect, since the daemon may come later. What cannot be looked at is not there."""
from __future__ import annotations

import os
import stat


def disabled() -> bool:
    return os.environ.get("DWELL_DISABLED") == "1"


def directory(given: str | None = None) -> str | None:
    """The directory of the daemon's sockets, or None where there is none."""
    named = given or os.environ.get("DWELL_DIR")
    if named:
        return named
    own = f"/tmp/dwell-{os.geteuid()}"
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    for place in ((os.path.join(runtime, "dwell") if runtime else None), "/run/dwell", own):
        if place and _has_socket(place) and (place != own or _is_ours(place)):
            return place
    return None


def _has_socket(place: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(os.path.join(place, "ingest.sock")).st_mode)
    except (OSError, ValueError):
        return False


def _is_ours(place: str) -> bool:
    """Anybody can make a directory in /tmp."""
    try:
        found = os.lstat(place)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
