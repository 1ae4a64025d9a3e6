"""Runs tests/peers/test_*.py and closes with one line that says how many passed, failed and were
skipped. The exit status is 1 when one failed, or one was skipped and REQUIRE_PEERS=1."""
import os
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]


class Result(unittest.TextTestResult):
    passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1


def main():
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its complaints are in the errors that it returns
    suite = unittest.defaultTestLoader.discover(str(HERE), pattern="test_*.py")
    result = unittest.TextTestRunner(sys.stdout, resultclass=Result, verbosity=2).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    skipped = len(result.skipped)
    required = os.environ.get("REQUIRE_PEERS") == "1"
    if skipped and required:
        print(f"REQUIRE_PEERS=1: {skipped} skipped tests count as failures")
    print(f"{result.passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or (skipped and required) or result.passed + failed + skipped == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
