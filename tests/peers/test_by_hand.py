"""The README's programs in other languages, all of them: see tests/clients/by_hand.py."""
import sys

from harness import ROOT

sys.path.insert(0, str(ROOT / "tests/clients"))

from by_hand import ByHand  # noqa: E402,F401  (these are the tests)
