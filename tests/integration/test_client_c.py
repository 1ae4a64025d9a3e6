"""libdwell as an application gets it: compiled, linked and installed, against the real daemon, which
comes and goes meanwhile."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from harness import BUILD, OPENMETRICS, ROOT, WAIT_S, DaemonCase, environment, sanitized, sanitizer, until

HEADER = ROOT / "client" / "dwell.h"
DRIVER = pathlib.Path(__file__).with_name("client_driver.c")
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
OK, TIMEOUT, UNCONFIRMED = 0, -1, -2
FLUSH = f"flush {1000 * WAIT_S}"


def compile_c(*arguments, compiler="cc"):
    more = [f"-fsanitize={sanitizer()}"] if sanitized() else []
    done = subprocess.run([compiler, *STRICT, *more, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


class Driver:
    """The running client_driver."""

    def __init__(self, program, directory, **env):
        self.process = subprocess.Popen([program], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, env=environment(DWELL_DIR=str(directory), **env))

    def tell(self, line):
        """Without the answer, which is to be taken by `answer`."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def do(self, line):
        self.tell(line)
        return self.answer()

    def answer(self):
        return json.loads(self.process.stdout.readline().replace("done", "true"))

    def end(self):
        if not self.process.stdin.closed:
            _, complaints = self.process.communicate(timeout=WAIT_S)
            assert self.process.returncode == 0 and complaints == "", complaints


class TestClientHeader(unittest.TestCase):
    def check(self, compiler, *arguments):
        if shutil.which(compiler) is None:
            self.skipTest(f"{compiler} is not installed")
        with tempfile.TemporaryDirectory() as directory:
            source = pathlib.Path(directory) / "header.c"
            source.write_text('#include "dwell.h"\n#include "dwell_bench.h"\nint main(void);\nint main(void) { dwell_close(dwell_open(0)); return 0; }\n')
            compile_c(f"-I{HEADER.parent}", "-fsyntax-only", *arguments, source, compiler=compiler)

    def test_client_c_header_is_c99(self):
        for standard in ("c99", "c11", "c17"):
            self.check("cc", f"-std={standard}", "-pedantic-errors", "-Wconversion", "-Wshadow", "-Wstrict-prototypes")

    def test_client_c_header_is_cxx(self):
        for standard in ("c++11", "c++20"):
            self.check("g++", "-x", "c++", f"-std={standard}", "-pedantic-errors")

    def test_client_c_symbols_are_the_listed_ones(self):
        shown = subprocess.run(["nm", "-D", "--defined-only", BUILD / "libdwell.so"], capture_output=True, text=True, check=True)
        symbols = sorted(line.split()[-1].split("@")[0] for line in shown.stdout.splitlines())
        listed = (ROOT / "client" / "dwell.sym").read_text().split()
        self.assertEqual(symbols, sorted(listed))
        text = HEADER.read_text() + (HEADER.parent / "dwell_bench.h").read_text()
        declared = re.findall(r"(?m)^DWELL_API .*?\b(dwell_\w+)\(", text)
        self.assertEqual(sorted(declared), sorted(listed))

    def test_client_c_static_library_hides_the_rest(self):
        shown = subprocess.run(["nm", "-g", "--defined-only", BUILD / "libdwell.a"], capture_output=True, text=True, check=True)
        names = [line.split()[-1] for line in shown.stdout.splitlines() if len(line.split()) == 3]
        self.assertEqual([name for name in names if not name.startswith(("dwell_", "__odr_asan"))], [])

    def test_client_c_needs_libc_only(self):
        shown = subprocess.run(["readelf", "-d", BUILD / "libdwell.so"], capture_output=True, text=True, check=True)
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", shown.stdout)
        self.assertEqual([name for name in needed if not re.match(r"lib(c|pthread|asan|ubsan|tsan)\.so|ld-linux", name)], [])
        self.assertIn("[libdwell.so.0]", shown.stdout)


class TestClient(DaemonCase):
    @classmethod
    def setUpClass(cls):
        cls.base = tempfile.mkdtemp(prefix="dwell-test-")
        cls.addClassCleanup(shutil.rmtree, cls.base)
        cls.program = f"{cls.base}/driver"
        compile_c("-std=c99", "-O1", f"-I{HEADER.parent}", DRIVER, "-o", cls.program, BUILD / "libdwell.a", "-pthread")

    def drive(self, directory, **env):
        driver = Driver(self.program, directory, **env)
        self.addCleanup(driver.end)
        return driver

    def must_have(self, driver, **wanted):
        stats = driver.do("stats")
        self.assertEqual({key: stats[key] for key in wanted}, wanted)

    def ledger(self, daemon):
        ledger = daemon.status()["ledger"]
        ledger["rejected"] = sum(ledger["rejected"].values())
        return ledger

    def test_client_c_records_show_after_a_flush(self):
        daemon = self.start()
        driver = self.drive(daemon.directory)
        driver.do("track m 1000 3")
        driver.do("track other 10 0")
        self.assertEqual(driver.do(FLUSH), OK)
        models = daemon.models()
        self.assertEqual((models["m"]["sample_count"], models["m"]["errors"]), (1000, 3))
        self.assertEqual(models["other"]["sample_count"], 10)
        self.must_have(driver, recorded=1010, sent=1010, dropped=0, unconfirmed=0, connections=1, connected=True)
        self.assertEqual(driver.do("close"), OK)
        self.assertEqual(self.ledger(daemon), {"sent": 1010, "accepted": 1010, "rejected": 0, "dropped": 0, "lost": 0,
                                               "unledgered": 0})
        client, = {labels["client"] for labels, _ in daemon.metrics().series("dwelld_client_sent_total")} - {"unknown"}
        self.assertRegex(client, r"^libdwell/\d")

    def test_client_c_records_show_without_a_flush(self):
        daemon = self.start()
        driver = self.drive(daemon.directory)
        driver.do("track m 10 0")
        until(lambda: daemon.models().get("m", {}).get("sample_count") == 10, "the library's own thread sends them")

    def test_client_c_sends_every_field(self):
        daemon = self.start(sets={"profiling.label_keys": ["region"]})
        driver = self.drive(daemon.directory)
        driver.do("full")
        self.assertEqual(driver.do(FLUSH), OK)
        model = daemon.models()["full"]
        self.assertEqual(model["labels"], {"device": "cuda:0", "region": "eu"})
        self.assertEqual((model["sample_count"], model["errors"], model["latency"]["p50_ms"]), (1, 1, 10))
        self.assertEqual((model["cpu"]["avg_percent"], model["memory"]["avg_mb"]), (80, 128.5))
        self.assertEqual(model["time"], {"user_ms": 4.0, "system_ms": 2.0, "fault_ms": 0.0, "runqueue_ms": 1.0,
                                         "blocked_ms": 3.0, "inferences": 1, "wall_ms": 10.0})
        metrics = daemon.metrics(OPENMETRICS)
        labels = {"model_name": "full", "device": "cuda:0", "region": "eu"}
        self.assertEqual(metrics.get("acgs2_model_queue_seconds_sum", **labels), 0.0025)
        self.assertEqual(metrics.get("acgs2_model_batch_size_sum", **labels), 8)
        exemplar, = metrics.exemplars.values()
        self.assertEqual(exemplar, ({"trace_id": "010203" + "00" * 13, "span_id": "09" + "00" * 7}, 0.01, 1709204400.25))
        self.assertEqual(metrics["dwelld_unknown_keys_total"], 0)

    def test_client_c_sends_metrics_whose_parts_end_with_it(self):
        daemon = self.start()
        driver = self.drive(daemon.directory)
        driver.do("metrics 1000")
        self.assertEqual(driver.do(FLUSH), OK)
        metrics = daemon.metrics(OPENMETRICS)
        self.assertEqual(metrics.get("driver_calls_total", path="/v1"), 2000)
        self.assertEqual(metrics.get("driver_busy", path="/v1"), 2)
        self.assertEqual(metrics.get("driver_time_seconds_sum", path="/v1"), 0.002)
        (labels, value, _), = metrics.exemplars.values()
        self.assertEqual((labels, value), ({"trace_id": "010203" + "00" * 13}, 0.002))
        self.assertEqual((daemon.rejected(), metrics["dwelld_processes"]), ({}, 1))
        driver.end()
        until(lambda: daemon.metrics().get("driver_busy", path="/v1") == 0, "its part is gone")
        self.assertEqual(daemon.metrics().get("driver_calls_total", path="/v1"), 2000)
        until(lambda: daemon.metrics()["dwelld_processes"] == 0, "so is the process")

    def test_client_c_sends_what_layers_took(self):
        daemon = self.start()
        if daemon.get("/api/v1/budgets").status == 404:
            self.skipTest("this daemon takes no budgets")
        driver = self.drive(daemon.directory)
        driver.do("budget 3 6")
        self.assertEqual(driver.do(FLUSH), OK)
        budgets = daemon.get("/api/v1/budgets").json
        layer = budgets["layers"]["layer1_validation"]
        # Of one request, which was three times in the layer and is over its budget once.
        self.assertEqual((layer["count"], layer["exceeded_count"], layer["soft_limit_exceeded_count"]), (1, 1, 1))
        self.assertGreater(layer["elapsed_ms"], 18)
        self.assertEqual(daemon.metrics().get("acgs2_budget_elapsed_seconds_count", layer="layer1_validation"), 3)
        self.assertGreaterEqual(budgets["total_elapsed_ms"], 18)
        self.assertAlmostEqual(layer["share_of_total"], layer["elapsed_ms"] / budgets["total_elapsed_ms"], 3)
        self.must_have(driver, recorded=4, sent=4, dropped=0)
        ledger = self.ledger(daemon)
        self.assertEqual((ledger["accepted"], ledger["rejected"], ledger["lost"]), (4, 0, 0))
        self.assertEqual(daemon.metrics()["dwelld_unknown_keys_total"], 0)

    def test_client_c_takes_evidence_of_computing(self):
        daemon = self.start()
        driver = self.drive(daemon.directory)
        driver.do("spin m 20 5")
        self.assertEqual(driver.do(FLUSH), OK)
        model = daemon.models()["m"]
        self.assertGreater(model["time"]["inferences"], 0)
        time = model["time"]
        shares = sum(time[state] for state in ("user_ms", "system_ms", "fault_ms", "runqueue_ms", "blocked_ms"))
        self.assertAlmostEqual(shares, time["wall_ms"], delta=0.01 * time["wall_ms"])
        self.assertGreater(model["cpu"]["peak_percent"], 0)
        self.assertGreaterEqual(model["latency"]["min_ms"], 5)

    def test_client_c_survives_a_daemon_that_is_killed(self):
        directory = self.directory() / "d"
        first = self.start(directory=directory)
        driver = self.drive(directory)
        driver.do("track m 500 0")
        self.assertEqual(driver.do(FLUSH), OK)
        first.send_signal(signal.SIGKILL)
        first.wait()
        first.kill()
        driver.do("track m 200 0")
        second = self.start(directory=directory)
        driver.do("track m 300 0")
        until(lambda: driver.do("flush 1000") == OK, "the second daemon has everything")
        stats = driver.do("stats")
        self.assertEqual((stats["recorded"], stats["dropped"]), (1000, 0))
        self.assertGreaterEqual(stats["connections"], 2)
        # Every record that is not there is one whose fate the library calls unconfirmed.
        self.assertGreaterEqual(second.models()["m"]["sample_count"], 500 - stats["unconfirmed"])
        self.assertEqual(self.ledger(second)["rejected"], 0)

    def test_client_c_loses_nothing_when_the_daemon_restarts_in_order(self):
        directory = self.directory() / "d"
        driver = self.drive(directory)
        seen = 0
        for turn in range(3):
            daemon = self.start(directory=directory)
            driver.do("track m 1000 0")
            until(lambda: driver.do("flush 1000") == OK, "all is there")
            ledger = self.ledger(daemon)
            self.assertEqual((ledger["lost"], ledger["rejected"], ledger["dropped"]), (0, 0, 0))
            seen += daemon.models()["m"]["sample_count"]
            daemon.stop()
        self.assertEqual(seen, 3000)
        self.must_have(driver, recorded=3000, sent=3000, dropped=0)

    def test_client_c_before_there_is_a_daemon(self):
        directory = self.directory() / "d"
        driver = self.drive(directory)
        driver.do("track m 100 0")
        self.assertEqual(driver.do("flush 50"), TIMEOUT)
        self.must_have(driver, recorded=100, sent=0, dropped=0, connected=False)
        daemon = self.start(directory=directory)
        until(lambda: driver.do("flush 1000") == OK, "what waited is there")
        self.assertEqual(daemon.models()["m"]["sample_count"], 100)

    def test_client_c_drops_are_told_once_there_is_a_daemon(self):
        directory = self.directory() / "d"
        driver = self.drive(directory)
        driver.do("track m 100000 0")
        dropped = driver.do("stats")["dropped"]
        self.assertGreater(dropped, 0)
        daemon = self.start(directory=directory)
        until(lambda: driver.do("flush 1000") == OK, "what was kept is there")
        self.assertEqual(self.ledger(daemon), {"sent": 100000, "accepted": 100000 - dropped, "rejected": 0, "dropped": dropped,
                                               "lost": 0, "unledgered": 0})
        told = {labels["client"]: value for labels, value in daemon.metrics().series("dwelld_client_dropped_total") if value}
        self.assertEqual(list(told.values()), [dropped])
        self.assertRegex(*told, "^libdwell/")

    def test_client_c_without_a_daemon_ends_at_once(self):
        driver = self.drive(self.directory())
        driver.do("track m 100 0")
        began = time.monotonic()
        self.assertIn(driver.do("close"), (TIMEOUT, UNCONFIRMED))
        self.assertLess(time.monotonic() - began, WAIT_S / 2)  # close_timeout_ms is a minute

    def test_client_c_disabled(self):
        daemon = self.start()
        driver = self.drive(daemon.directory, DWELL_DISABLED="1")
        driver.do("track m 100 0")
        driver.do("full")
        self.assertEqual(driver.do("flush 1000"), OK)
        self.must_have(driver, recorded=0, sent=0, dropped=0)
        self.assertEqual(driver.do("close"), OK)
        self.assertEqual(daemon.metrics()["dwelld_connections_accepted_total"], 0)

    @unittest.skipIf(sanitizer() == "thread", "ThreadSanitizer takes no threads after a fork")
    def test_client_c_forked_children_are_clients_of_their_own(self):
        daemon = self.start()
        driver = self.drive(daemon.directory)
        driver.do("track parent 100 0")
        for turn in range(5):
            self.assertEqual(driver.do("fork child 20"), 0)
            driver.do("track parent 100 0")
        self.assertEqual(driver.do(FLUSH), OK)
        models = daemon.models()
        self.assertEqual((models["parent"]["sample_count"], models["child"]["sample_count"]), (600, 100))
        ledger = self.ledger(daemon)
        self.assertEqual((ledger["sent"], ledger["accepted"], ledger["lost"]), (700, 700, 0))

    def test_client_c_many_processes_agree_with_the_ledger(self):
        daemon = self.start()
        drivers = [self.drive(daemon.directory) for _ in range(4)]
        for driver in drivers:
            driver.do("track m 50000 5")
        sent = dropped = 0
        for driver in drivers:
            self.assertEqual(driver.do(FLUSH), OK)
            stats = driver.do("stats")
            self.assertEqual(driver.do("close"), OK)
            self.assertEqual(stats["recorded"], stats["sent"] + stats["dropped"])
            sent += stats["recorded"]
            dropped += stats["dropped"]
        self.assertEqual(self.ledger(daemon), {"sent": sent, "accepted": sent - dropped, "rejected": 0, "dropped": dropped,
                                               "lost": 0, "unledgered": 0})


@unittest.skipIf(sanitized(), "an instrumented build is not one to install")
class TestClientInstalled(DaemonCase):
    @classmethod
    def setUpClass(cls):
        cls.stage = pathlib.Path(tempfile.mkdtemp(prefix="dwell-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.stage)
        cls.make("install")
        cls.tree = cls.stage / "opt" / "dwell"

    @classmethod
    def make(cls, target):
        clean = {name: value for name, value in environment().items() if not name.startswith(("MAKE", "MFLAGS"))}
        done = subprocess.run(["make", "-C", ROOT, target, f"BUILD={os.environ.get('DWELL_BUILD', 'build')}",
                               f"DESTDIR={cls.stage}", "PREFIX=/opt/dwell"], capture_output=True, text=True, timeout=300, env=clean)
        assert done.returncode == 0, done.stderr

    def pkg_config(self, *arguments):
        done = subprocess.run(["pkg-config", *arguments, "dwell"], capture_output=True, text=True, env=environment(
            PKG_CONFIG_PATH=str(self.tree / "lib" / "pkgconfig"), PKG_CONFIG_SYSROOT_DIR=str(self.stage)))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.split()

    def must_drive(self, program, **env):
        daemon = self.start()
        driver = Driver(program, daemon.directory, **env)
        self.addCleanup(driver.end)
        driver.do("track m 10 0")
        self.assertEqual(driver.do(FLUSH), OK)
        self.assertEqual(daemon.models()["m"]["sample_count"], 10)

    def test_client_c_links_by_pkg_config(self):
        self.assertRegex(self.pkg_config("--modversion")[0], r"^\d+\.\d+\.\d+$")
        program = self.stage / "shared"
        compile_c("-std=c99", *self.pkg_config("--cflags"), DRIVER, "-o", program, *self.pkg_config("--libs"))
        self.must_drive(program, LD_LIBRARY_PATH=str(self.tree / "lib"))

    def test_client_c_links_statically_by_pkg_config(self):
        program = self.stage / "static"
        compile_c("-std=c99", *self.pkg_config("--cflags"), DRIVER, "-o", program, "-Wl,-Bstatic",
                  *(word for word in self.pkg_config("--static", "--libs") if word != "-pthread"), "-Wl,-Bdynamic", "-pthread")
        self.must_drive(program)

    def test_client_c_installed_daemon_runs(self):
        done = subprocess.run([self.tree / "bin" / "dwelld", "--version"], capture_output=True, text=True)
        self.assertRegex(done.stdout, r"^dwelld \d")

    def test_client_c_uninstall_leaves_no_file(self):
        self.make("uninstall")
        self.addCleanup(self.make, "install")
        self.assertEqual([path for path in self.tree.rglob("*") if not path.is_dir()], [])


if __name__ == "__main__":
    unittest.main()
