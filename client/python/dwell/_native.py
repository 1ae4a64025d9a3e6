"""Finds the extension (_speed.c), which does the hot parts in C. `speed` is None where it was not built, in
subinterpreters, and with DWELL_PYTHON_PURE=1: then the same is done in Python."""
import importlib
import os
from typing import Any


def _find() -> Any:
    if os.environ.get("DWELL_PYTHON_PURE") == "1":
        return None
    try:
        return importlib.import_module("._speed", __package__)
    except ImportError:
        return None


speed = _find()
