"""The Python client as a package: its types, its wheel, and its tests on every Python that can be had."""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys

from harness import BUILD, ROOT, DaemonCase, environment
from peer import need

PACKAGE = ROOT / "client/python"
TESTS = ROOT / "tests/clients/python"
OLDEST, NEWEST = (3, 9), (3, 14)
TAKES_S = 340
PARTS = 2       # of a suite, side by side; they mostly wait
AT_ONCE = 4     # parts
SUITE_S = 3600  # of one Python, on a machine that does something else
PYTEST = {(3, 9): "8.4.2"}  # the last ones for an old Python; else the one that is installed here


def version(python):
    """(3, 9) and the like; None where it is none of ours."""
    done = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True,
                          text=True,
                          check=False)
    found = tuple(map(int, done.stdout.split())) if done.returncode == 0 else None
    return found if found and OLDEST <= found <= NEWEST else None


def pythons():
    """{version: path}: this one, those on PATH and those of pyenv; of each version the first."""
    names = [f"python3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]
    places = [sys.executable, *filter(None, map(shutil.which, ["python3", *names]))]
    places += sorted(map(str, pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
                         .glob("versions/*/bin/python")))
    found = {}
    for place in places:
        one = version(place)
        if one is not None:
            found.setdefault(one, place)
    return found


class Package(DaemonCase):
    def must_run(self, *command, **options):
        """Runs to its end and well; what it printed."""
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False,
                              **options)
        self.assertEqual(done.returncode, 0, f"{command}:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def test_mypy_finds_nothing_in_its_strict_mode(self):
        need("mypy")
        out = self.must_run(sys.executable, "-m", "mypy", "--strict", "--python-version", "3.10",
                            "--cache-dir",
                            self.directory(), PACKAGE / "dwell")
        self.assertRegex(out, r"no issues found in \d+ source files")

    def test_users_of_the_package_see_its_types(self):
        need("mypy")
        program = self.directory() / "program.py"
        program.write_text("import dwell\n"
                           "reveal_type(dwell.HTTP_REQUESTS_TOTAL.labels('GET', '/', 's', '200').inc)\n"
                           "@dwell.track_request_metrics('s', '/')\n"
                           "def handle(number: int) -> str:\n    return str(number)\n"
                           "reveal_type(handle)\n")
        out = self.must_run(sys.executable, "-m", "mypy", "--strict", "--follow-imports", "silent",
                            "--cache-dir",
                            self.directory(), program, env={**os.environ, "MYPYPATH": str(PACKAGE)})
        for revealed in ("def (amount: int | float =, exemplar: ", "def (number: int) -> str"):
            self.assertIn(f'Revealed type is "{revealed}', out.replace("builtins.", ""))

    def test_a_wheel_is_built_installed_and_imported_without_anything_else(self):
        need("pip")
        place = self.directory()
        sources = place / "sources"
        shutil.copytree(PACKAGE, sources, ignore=shutil.ignore_patterns("__pycache__", "build",
                                                                        "*.egg-info"))
        self.must_run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", place,
                      sources)
        wheel, = place.glob("*.whl")
        self.must_run(sys.executable, "-m", "venv", place / "fresh")
        python = place / "fresh/bin/python"
        self.must_run(python, "-m", "pip", "install", "--quiet", "--no-index", wheel)
        daemon = self.start()
        out = self.must_run(python, "-c", "import dwell, os\n"
                            "dwell.Counter('jobs').inc()\n"
                            "files = os.listdir(os.path.dirname(dwell.__file__))\n"
                            "print(dwell.__version__, 'py.typed' in files, dwell.client().flush(20))",
                            cwd=place, env=environment(DWELL_DIR=str(daemon.directory)))
        version = re.search(r'VERSION = "(.*)"', (PACKAGE / "dwell/_version.py").read_text()).group(1)
        self.assertEqual(out.split(), [version, "True", "True"])
        self.assertEqual(daemon.metrics()["jobs_total"], 1)

    def test_its_tests_pass_on_every_python(self):
        """On this one `make check` has run them, so it has a turn only where there is no other."""
        newest = need("pytest").__version__
        found = pythons()
        others = {one: python for one, python in found.items() if one != sys.version_info[:2]} or found
        testers = {one: self.with_pytest(python, PYTEST.get(one, newest)) for one, python in sorted(others.items())}
        modules = sorted(TESTS.glob("test_*.py"))
        parts = [(one, modules[i::PARTS]) for one in testers for i in range(PARTS)]
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            outs = list(pool.map(lambda part: self.run_part(testers[part[0]], part[1]), parts))
        for (one, _), out in zip(parts, outs):
            with self.subTest(python=one):
                self.assertRegex(out.splitlines()[-1], r"^\W*\d+ passed(?!.*(failed|error))", out)
            print(f"  Python {'.'.join(map(str, one))}: {out.splitlines()[-1].strip('= ')}", flush=True)

    @staticmethod
    def run_part(tester, modules):
        done = subprocess.run([tester, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", *modules],
                              env={**os.environ, "DWELL_BUILD": str(BUILD)}, timeout=SUITE_S, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.stdout or "nothing was said"

    def with_pytest(self, python, wanted):
        """A fresh environment of another Python; without it that Python is skipped, and says so."""
        place = self.directory()
        self.must_run(python, "-m", "venv", place / "fresh")
        fresh = place / "fresh/bin/python"
        done = subprocess.run([fresh, "-m", "pip", "install", "--quiet", "--only-binary", ":all:",
                               f"pytest=={wanted}"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.skipTest(f"pytest {wanted} for {python} cannot be had: {done.stderr.splitlines()[-1:]}")
        return fresh
