"""Builds the package with its extension into a directory, for tests and benches, as strictly as our own C is built."""
import os
import pathlib
import shutil
import subprocess
import sysconfig

SOURCE = pathlib.Path(__file__).resolve().parents[3] / "client/python/dwell"
STRICT = ["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O2", "-Wall", "-Wextra", "-Werror"]


def missing():
    """Why it cannot be built here; "" when it can."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "it is not for free-threaded builds"
    if shutil.which("cc") is None:
        return "no C compiler"
    if not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")):
        return "no headers of this Python"
    return ""


def build(place):
    """Puts `dwell` into the directory. AssertionError with what the compiler said when it does not build."""
    package = pathlib.Path(place) / "dwell"
    shutil.copytree(SOURCE, package)
    done = subprocess.run(["cc", *STRICT, "-shared", "-fPIC", "-isystem", sysconfig.get_paths()["include"], "-o",
                           package / ("_speed" + sysconfig.get_config_var("EXT_SUFFIX")), package / "_speed.c"],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
