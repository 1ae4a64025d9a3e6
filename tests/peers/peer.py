"""Gets a peer or skips the test that needs it."""
import importlib
import shutil
import unittest


def need(module):
    """The module, imported; without it the test is skipped, and says so."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise unittest.SkipTest(f"{module} cannot be had: {error}") from None


def need_program(name, package):
    path = shutil.which(name)
    if path is None:
        raise unittest.SkipTest(f"{name} is not installed (package {package})")
    return path
