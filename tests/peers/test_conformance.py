"""Every client against the files that say what bytes a client makes: see tests/clients/conformance.py."""
import sys

from harness import ROOT

sys.path.insert(0, str(ROOT / "tests/clients"))

from conformance import C, Facts, Go, Node, Python  # noqa: E402,F401  (these are the tests)
