"""The export as a daemon has it: its module, its account, what it says and what it keeps to itself."""
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

from harness import BUILD, DWELLD, ROOT, Daemon, environment, run

MODULES = ["dwell_otlp.so", "dwell_otlp_insecure.so"]
NOBODY = "http://127.0.0.1:1"
LONG_MS = 600000  # longer than the harness waits for anything
FIGURES = {"endpoint", "failing_seconds", "loaded", "accepted", "exported", "held", "waiting", "in_flight", "capacity", "bytes", "capacity_bytes", "failures",
           "retries", "splits", "garbled_responses", "dropped", "spooled", "recovered", "spool_works", "spool_files",
           "spool_bytes", "spool_limit_bytes", "spool_damaged_files", "spool_failures"}


class ExportCase(unittest.TestCase):
    def start(self, *arguments, **options):
        """One whose last export, which nobody takes, does not last long."""
        options["sets"] = {"shutdown.timeout_ms": 500, **options.get("sets", {})}
        daemon = Daemon(*arguments, **options)
        self.addCleanup(daemon.kill)
        return daemon

    def directory(self):
        path = pathlib.Path(tempfile.mkdtemp(prefix="dwell-test-"))
        self.addCleanup(shutil.rmtree, path)
        return path

    def libraries(self, daemon):
        """Names of the gRPC libraries that are in its memory."""
        maps = pathlib.Path(f"/proc/{daemon.pid}/maps").read_text(encoding="utf-8")
        return {pathlib.Path(line.split()[-1]).name.split(".so")[0] for line in maps.splitlines() if "grpc" in line or "dwell_otlp" in line}


class TestExportModule(ExportCase):
    def test_export_loads_nothing_without_an_endpoint(self):
        daemon = self.start()
        self.assertEqual(self.libraries(daemon), set())
        self.assertEqual(daemon.status()["export"], {})
        self.assertNotIn("dwelld_export_", daemon.get("/metrics").text)
        daemon.stop()

    def test_export_loads_nothing_when_it_is_switched_off(self):
        for sets in ({"otlp.traces": False, "otlp.metrics": False}, {"otlp.endpoint": ""}):
            daemon = self.start(sets={"otlp.endpoint": NOBODY, **sets})
            self.assertEqual(self.libraries(daemon), set())
            daemon.stop()
        daemon = self.start(env={"OTEL_EXPORTER_OTLP_ENDPOINT": NOBODY, "OTEL_SDK_DISABLED": "true"})
        self.assertEqual(self.libraries(daemon), set())
        daemon.stop()

    def test_export_has_no_tls_in_memory_where_none_is_wanted(self):
        daemon = self.start(sets={"otlp.endpoint": NOBODY})
        self.assertEqual(self.libraries(daemon), {"dwell_otlp_insecure", "libgrpc_unsecure"})
        daemon.stop()
        daemon = self.start(env={"OTEL_EXPORTER_OTLP_ENDPOINT": "https://127.0.0.1:1"})
        self.assertEqual(self.libraries(daemon), {"dwell_otlp", "libgrpc"})
        daemon.stop()

    def test_export_has_one_module_for_both_signals(self):
        secure = NOBODY.replace("http", "https")
        for name in ("otlp.traces_endpoint", "otlp.metrics_endpoint"):
            daemon = self.start(sets={"otlp.endpoint": NOBODY, name: secure})
            self.assertEqual(self.libraries(daemon), {"dwell_otlp", "libgrpc"})
            self.assertEqual([one["loaded"] for one in daemon.status()["export"].values()], [1, 1])
            daemon.stop()

    def test_export_without_tls_goes_on_where_the_module_with_it_is_missing(self):
        directory = self.directory()
        shutil.copy(BUILD / "dwell_otlp_insecure.so", directory)
        daemon = self.start(sets={"otlp.endpoint": NOBODY, "otlp.metrics_endpoint": NOBODY.replace("http", "https"),
                                  "otlp.module_directory": directory})
        daemon.wait_log(r"error export to https://127\.0\.0\.1:1: nothing can be exported: dwell_otlp\.so cannot be opened")
        self.assertEqual({name: one["loaded"] for name, one in daemon.status()["export"].items()}, {"traces": 1, "metrics": 0})
        daemon.stop()

    def test_export_without_its_module_leaves_the_daemon_as_it_is(self):
        daemon = self.start(sets={"otlp.endpoint": NOBODY, "otlp.module_directory": self.directory()})
        daemon.wait_log(r"error export to http://127\.0\.0\.1:1: nothing can be exported: .*libgrpc29")
        self.assertEqual(daemon.send({"model_name": "m", "execution_time_ms": 1}), [])
        for name in ("traces", "metrics"):
            self.assertEqual(daemon.status()["export"][name]["loaded"], 0)
            self.assertEqual(daemon.metrics().get("dwelld_export_module_loaded", signal=name), 0)
        daemon.stop()

    def test_export_finds_its_module_where_make_install_puts_it(self):
        base = self.directory()
        (base / "bin").mkdir()
        (base / "lib" / "dwell").mkdir(parents=True)
        shutil.copy(DWELLD, base / "bin" / "dwelld")
        for name in MODULES:
            shutil.copy(BUILD / name, base / "lib" / "dwell" / name)
        done = subprocess.Popen([base / "bin" / "dwelld", "--set", "http.listen=127.0.0.1:0", "--set", f"otlp.endpoint={NOBODY}",
                                 "--set", f"ingest.directory={base / 'd'}"], env=environment(), stderr=subprocess.PIPE, text=True)
        try:
            lines = []
            for line in done.stderr:
                lines.append(line)
                if "metrics at" in line:
                    break
            maps = pathlib.Path(f"/proc/{done.pid}/maps").read_text(encoding="utf-8")
            self.assertIn(str(base / "lib" / "dwell" / "dwell_otlp_insecure.so"), maps, lines)
        finally:
            done.send_signal(signal.SIGTERM)
            done.stderr.read()
            done.stderr.close()
            self.assertEqual(done.wait(), 0)

    def test_export_is_installed_and_uninstalled(self):
        base = self.directory()
        options = ["make", "-s", f"BUILD={BUILD}", f"DESTDIR={base}", "PREFIX=/usr"]
        made = [base / "usr/lib/dwell" / name for name in MODULES]
        for target, there in (("install", True), ("uninstall", False)):
            rules = subprocess.run([*options, "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
            self.assertTrue(all(name in rules for name in MODULES), rules)
            if BUILD == ROOT / "build":  # with other flags it would be built anew
                subprocess.run([*options, target], cwd=ROOT, capture_output=True, check=True)
                self.assertEqual([path.exists() for path in made], [there] * len(made))


class TestExportAccount(ExportCase):
    def test_export_tells_its_account(self):
        daemon = self.start(sets={"otlp.endpoint": NOBODY, "otlp.max_queue_spans": 77})
        export = daemon.status()["export"]
        self.assertEqual(list(export), ["traces", "metrics"])
        traces, metrics = export["traces"], export["metrics"]
        self.assertEqual((set(traces), set(metrics)), (FIGURES, FIGURES))
        self.assertEqual((metrics["loaded"], metrics["accepted"], metrics["capacity_bytes"]), (1, 0, 67108864))
        self.assertEqual((traces["loaded"], traces["capacity"], traces["accepted"]), (1, 77, 0))
        metrics = daemon.metrics()
        self.assertEqual(metrics.get("dwelld_export_queue_capacity", signal="traces"), 77)
        self.assertEqual(metrics.get("dwelld_export_accepted_total", signal="traces"), 0)
        self.assertEqual(metrics.get("dwelld_export_dropped_total", signal="traces", reason="shutdown"), 0)
        daemon.stop()

    def test_export_ends_at_once_when_there_is_nothing_to_send(self):
        with socket.socket() as silent:  # takes connections and never says a word
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            silent = f"http://127.0.0.1:{silent.getsockname()[1]}"
            daemon = self.start(sets={"otlp.endpoint": silent, "otlp.metrics": False, "shutdown.timeout_ms": LONG_MS})
            daemon.stop()  # which does not wait so long

    def test_export_of_metrics_tries_until_the_end(self):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            daemon = self.start(sets={"otlp.endpoint": f"http://127.0.0.1:{silent.getsockname()[1]}", "otlp.traces": False,
                                      "otlp.timeout_ms": LONG_MS, "otlp.metric_timeout_ms": LONG_MS})
            self.assertEqual(list(daemon.status()["export"]), ["metrics"])
            daemon.stop()  # as shutdown.timeout_ms has it, and no call
            daemon.wait_log(r"warning export to .*: \d+ data points could not be sent before the end and are lost")


class TestExportSecrets(ExportCase):
    def test_export_never_tells_its_headers(self):
        path = self.directory() / "headers"
        path.write_text("authorization=s3cr3t\n", encoding="utf-8")
        daemon = self.start(sets={"otlp.endpoint": NOBODY, "otlp.headers": {"x-key": "s3cr3t"}, "otlp.headers_file": path})
        self.assertEqual(daemon.status()["export"]["traces"]["loaded"], 1)
        self.assertNotIn("s3cr3t", daemon.get("/api/v1/status").text)
        daemon.stop()
        self.assertNotIn("s3cr3t", "\n".join(daemon.log))
        printed = run("--print-config", "--set", 'otlp.traces_headers={"a": "s3cr3t"}', "--set", "otlp.headers_file=/x")
        self.assertNotIn("s3cr3t", printed.stdout + printed.stderr)

    def test_export_tells_which_headers_it_cannot_send(self):
        daemon = self.start(sets={"otlp.endpoint": NOBODY, "otlp.headers": {"a b": "s3cr3t"}})
        daemon.wait_log(r"error export to http://127\.0\.0\.1:1: cannot be opened: otlp\.headers hold what gRPC does not take")
        self.assertEqual(daemon.status()["export"]["traces"]["loaded"], 0)
        daemon.stop()
        self.assertNotIn("s3cr3t", "\n".join(daemon.log))

    def test_export_goes_on_without_a_file_that_is_not_there(self):
        for name in ("otlp.headers_file", "otlp.certificate"):
            daemon = self.start(sets={"otlp.endpoint": "https://127.0.0.1:1", name: "/nowhere"})
            daemon.wait_log(rf"error export to https://127\.0\.0\.1:1: nothing can be exported: {name}: /nowhere: No such file")
            self.assertEqual(daemon.status()["export"]["traces"]["loaded"], 0)
            daemon.stop()


if __name__ == "__main__":
    unittest.main()
