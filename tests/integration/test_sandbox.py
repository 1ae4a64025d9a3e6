"""What the daemon has taken away from itself, as the kernel says it of its threads; and that it still does all it should.
That no test of any module needs a system call which is refused, the harness sees to: it would be in the log."""
import os
import pathlib
import re
import shutil
import signal
import unittest

from harness import DaemonCase, run, sanitized, until

IS_ROOT = os.geteuid() == 0
SETPCAP = 1 << 8
QUICK = {"profiling.round_ms": 250}
ON = {"sandbox.seccomp": "on", "sandbox.landlock": "on"}
UNAVAILABLE = 69


def has_landlock():
    """By name, as nothing else says it: the symbol of its system call."""
    return re.search(r"\bsys_landlock_restrict_self\b|__x64_sys_landlock_restrict_self\b",
                     pathlib.Path("/proc/kallsyms").read_text()) is not None


def thread_facts(pid):
    """[{field: value}] of /proc/PID/task/*/status; what a thread that ends meanwhile has is left out."""
    facts = []
    for path in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (path / "status").read_text()
        except OSError:
            continue
        facts.append(dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line))
    return facts


def capabilities(facts):
    return [int(facts[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")]


def own_capabilities():
    return int(next(facts for facts in thread_facts(os.getpid()))["CapEff"], 16)


class SandboxCase(DaemonCase):
    def wait_threads(self, daemon, holds, what):
        """What the kernel says of its threads, once it holds: the probe's takes a moment to begin."""
        def look():
            facts = thread_facts(daemon.pid)
            return facts if facts and holds(facts) else None
        return until(look, what)

    def must_have_none(self, facts, bounding=True):
        self.assertEqual(capabilities(facts), [0, 0, 0, 0])
        if bounding and own_capabilities() & SETPCAP:
            self.assertEqual(int(facts["CapBnd"], 16), 0)


@unittest.skipIf(sanitized(), "a sanitizer's report executes a program and traces threads")
class TestSandbox(SandboxCase):
    def test_sandbox_holds_for_every_thread(self):
        daemon = self.start()
        threads = self.wait_threads(daemon, lambda all: all_narrow(all), "the probe's thread has its filter")
        for facts in threads:
            self.assertEqual((facts["NoNewPrivs"], facts["Seccomp"]), ("1", "2"))
        loop = next(facts for facts in threads if facts["Pid"] == str(daemon.pid))
        self.must_have_none(loop)
        probes = [facts for facts in threads if facts["Seccomp_filters"] == "2"]
        self.assertEqual(len(probes), 1)
        for facts in threads:
            if facts is not probes[0]:
                self.must_have_none(facts)
        self.assertEqual(int(probes[0]["CapEff"], 16) & ~own_capabilities(), 0)

    def test_sandbox_leaves_the_probe_no_capabilities_where_it_is_told_so(self):
        daemon = self.start(sets={"sandbox.probe_capabilities": False})
        for facts in self.wait_threads(daemon, all_narrow, "the probe's thread has its filter"):
            self.must_have_none(facts)

    def test_sandbox_without_a_probe_has_no_exception(self):
        daemon = self.start(sets={"profiling.probe": "off"})
        threads = thread_facts(daemon.pid)
        self.assertEqual([facts["Seccomp_filters"] for facts in threads], ["1"] * len(threads))
        for facts in threads:
            self.must_have_none(facts)
        said = daemon.status()["sandbox"]
        self.assertEqual((said["capabilities"], said["system_calls"]), ("none", "filtered"))
        self.assertNotIn("probe", said["files_and_ports"])

    def test_sandbox_is_told(self):
        daemon = self.start()
        said = daemon.status()["sandbox"]
        self.assertEqual(said["new_privileges"], "none")
        self.assertEqual(said["capabilities"], "none, but for the probe's" if own_capabilities() else "none")
        self.assertEqual(said["system_calls"], "filtered")
        self.assertRegex(said["files_and_ports"], "^confined" if has_landlock() else "^off: the kernel has no Landlock")
        line = daemon.wait_log(r"sandbox: new privileges: (.*); capabilities: (.*); system calls: (.*); files and ports: (.*)$")
        self.assertEqual(list(line.groups()), list(said.values()))

    def test_sandbox_that_is_off(self):
        daemon = self.start(sets={"sandbox.seccomp": "off", "sandbox.landlock": "off"})
        for facts in self.wait_threads(daemon, lambda all: all, "there are threads"):
            self.assertEqual((facts["NoNewPrivs"], facts["Seccomp"]), ("1", "0"))
        said = daemon.status()["sandbox"]
        self.assertEqual((said["system_calls"], said["files_and_ports"]), ("off", "off"))

    @unittest.skipUnless(has_landlock(), "this kernel has no Landlock")
    def test_sandbox_that_must_be_had(self):
        said = self.start(sets=ON).status()["sandbox"]
        self.assertEqual(said["system_calls"], "filtered")
        self.assertRegex(said["files_and_ports"], "^confined")

    def test_sandbox_refuses_nothing_that_a_day_takes(self):
        """All kinds of input and output, evidence for the probe, a scrape of each form, an end."""
        daemon = self.start(sets={**ON, **QUICK} if has_landlock() else QUICK)
        daemon.send({"model_name": "m", "execution_time_ms": 5, "user_ms": 4, "system_ms": 0, "thread_id": os.getpid()},
                    {"type": "hello", "service_name": "s", "pid": os.getpid()})
        daemon.datagram('{"model_name": "m", "execution_time_ms": 5}')
        for target in ("/metrics", "/report", "/api/v1/models", "/api/v1/status", "/api/v1/decision", "/readyz"):
            self.assertEqual(daemon.get(target).status, 200)
        until(lambda: daemon.metrics()["dwelld_probe_looks_total"] > 0, "the probe looks")
        self.assertEqual(daemon.reset(), 1)
        self.assertEqual(daemon.metrics()["dwelld_denied_calls_total"], 0)
        daemon.stop()
        self.assertNotIn("cannot be had", "\n".join(daemon.log))

    def test_sandbox_removes_sockets_at_the_end(self):
        place = self.directory()
        daemon = self.start(directory=place / "d")
        daemon.stop()
        self.assertEqual(os.listdir(place / "d"), ["dwelld.lock"])


@unittest.skipIf(sanitized(), "a sanitizer's report executes a program and traces threads")
@unittest.skipUnless(has_landlock(), "this kernel has no Landlock")
class TestSandboxFiles(SandboxCase):
    def reload(self, daemon, pattern):
        before = len(daemon.log)
        daemon.send_signal(signal.SIGHUP)
        return daemon.wait_log(pattern, after=before)

    def test_sandbox_reads_a_configuration_that_was_put_in_place_of_another(self):
        place = self.directory()
        file = place / "dwelld.json"
        file.write_text("{}")
        daemon = self.start("--config", str(file))
        (place / "new").write_text('{"log": {"level": "debug"}}')
        os.rename(place / "new", file)
        self.reload(daemon, "SIGHUP: configuration reloaded")

    def test_sandbox_reads_a_configuration_as_kubernetes_mounts_it(self):
        place = self.directory()
        for version in ("first", "second"):
            (place / version).mkdir()
            (place / version / "dwelld.json").write_text("{}")
        (place / "data").symlink_to("first")
        (place / "dwelld.json").symlink_to("data/dwelld.json")
        daemon = self.start("--config", str(place / "dwelld.json"))
        (place / "fresh").symlink_to("second")
        os.rename(place / "fresh", place / "data")
        shutil.rmtree(place / "first")
        self.reload(daemon, "SIGHUP: configuration reloaded")

    def test_sandbox_reads_nothing_elsewhere(self):
        place = self.directory()
        elsewhere = self.directory() / "families.json"
        elsewhere.write_text('{"families": []}')
        file = place / "dwelld.json"
        file.write_text("{}")
        daemon = self.start("--config", str(file))
        file.write_text('{"metrics": {"families_file": "%s"}}' % elsewhere)
        self.reload(daemon, "families.json: Permission denied")
        file.write_text("{}")
        self.reload(daemon, "SIGHUP: configuration reloaded")

    def test_sandbox_makes_the_spool_before_it_shuts_the_door(self):
        spool = self.directory() / "spool"
        daemon = self.start(sets={"otlp.endpoint": "http://127.0.0.1:1", "otlp.spool_directory": spool, **ON})
        until(lambda: daemon.status()["export"]["traces"]["spool_works"], "the spool works")


@unittest.skipUnless(sanitized(), "this daemon has no sanitizer")
class TestSandboxOfSanitizers(SandboxCase):
    def test_sandbox_gives_way_to_a_sanitizer(self):
        said = self.start().status()["sandbox"]
        self.assertEqual(said["system_calls"], "off: built with a sanitizer")
        self.assertEqual(said["files_and_ports"], "off: built with a sanitizer")


@unittest.skipIf(sanitized(), "a sanitizer's report executes a program and traces threads")
class TestSandboxRefused(DaemonCase):
    @unittest.skipIf(has_landlock(), "this kernel has Landlock")
    def test_sandbox_that_cannot_be_had_ends_the_start(self):
        place = self.directory()
        ended = run("--set", "http.listen=127.0.0.1:0", "--set", f"ingest.directory={place / 'd'}",
                    "--set", "sandbox.landlock=on")
        self.assertEqual(ended.returncode, UNAVAILABLE)
        self.assertRegex(ended.stderr, "sandbox.landlock: the kernel has no Landlock")


def all_narrow(threads):
    return any(facts["Seccomp_filters"] == "2" for facts in threads)


if __name__ == "__main__":
    unittest.main()
