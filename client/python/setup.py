"""Builds _speed.c as well, where there is a compiler; without it the package does the same in Python."""
import sysconfig

from setuptools import Extension, setup

free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))  # the extension leans on the lock
setup(ext_modules=[] if free_threaded else [
    Extension("dwell._speed", ["dwell/_speed.c"], extra_compile_args=["-O2", "-std=c11"], optional=True)])
