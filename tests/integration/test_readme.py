"""What the README says is so: every command in it is run, in order, against a daemon started by its
own command, and its tables are compared with the daemon.

A fence says what a block is:
    ```sh           run; a ```text right after it is what it prints. A line … stands for any
                    lines, … within a line for any text
    ```sh daemon    run in the background, as the reader's first terminal
    ```sh make      targets of the makefile, of which this test is a part: asked for, not run
    ```python, ```c a file, named by the comment in its first line
    ```ruby, ```rust, ```java   the same; tests/clients/by_hand.py runs it where its language is
"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

from harness import BUILD, ROOT, WAIT_S, DaemonCase, environment, run, sanitized, until

PACKAGING = ROOT / "config/packaging"
README = (ROOT / "README.md").read_text()
TAKES_S = 130
BLOCK_S = 600  # the longest block compiles something, on a machine that does something else
FENCE = re.compile(r"^```(\w+)(?: (\w+))?\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.M | re.S)
ADDRESS = "localhost:9847"

EVERYTHING = {
    "model_name": "full", "execution_time_ms": 12.5, "cpu_percent_before": 1,
    "cpu_percent_during": 80, "memory_mb_before": 10, "memory_mb_after": 20,
    "error": "out of patience", "labels": {"tier": "gold"}, "timestamp": "2026-01-31T12:00:00Z",
    "device": "cpu", "batch_size": 4, "queue_ms": 1.5,
    "trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331",
    "user_ms": 5, "system_ms": 1, "runqueue_ms": 1, "minor_faults": 2, "major_faults": 0,
    "voluntary_switches": 1, "bytes_moved": 100, "flops": 1000, "threads": 1,
    "process_cpu_ms": 6, "involuntary_switches": 1, "disk_bytes": 4096, "thread_id": 4711,
}


def section(title):
    """The text below a heading, up to the next of the same or a higher level."""
    match = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,6}} |\Z)", README, re.M | re.S)
    assert match, f"README.md has no section {title}"
    return match.group(2)


def table(text):
    """Rows of cells, heads and rules left out."""
    lines = [line.strip("|") for line in text.splitlines() if line.startswith("|")]
    heads = {at + step for at, line in enumerate(lines) if line.startswith("---") for step in (-1, 0)}
    return [[cell.strip() for cell in line.split("|")]
            for at, line in enumerate(lines) if at not in heads]


def code(text):
    return re.findall(r"`([^`]+)`", text)


def anchors(text, level="#{1,6}"):
    """What links to headings end with, as GitHub makes it of their words."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    titles = re.findall(rf"^{level} (.+)$", text, re.M)
    return [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def pattern(shown):
    """What a documented output matches."""
    lines = []
    for line in shown.splitlines():
        if line == "…":
            lines.append(r"(?:.*\n)*?")
        else:
            lines.append(".*".join(re.escape(part) for part in line.split("…")) + r"\n")
    return re.compile("".join(lines))


@unittest.skipIf(sanitized(), "a reader's program is not linked with a sanitizer")
class TestReadme(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        """A directory that looks like the repository, for what the blocks write."""
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="dwell-readme-"))
        self.addCleanup(shutil.rmtree, self.place, ignore_errors=True)
        for entry in ROOT.iterdir():
            if entry.name not in ("build", ".git"):
                (self.place / entry.name).symlink_to(entry)
        (self.place / "build").symlink_to(BUILD)
        runtime = self.place / "runtime"
        runtime.mkdir(mode=0o700)
        self.environment = environment(XDG_RUNTIME_DIR=str(runtime), LC_ALL="C.UTF-8")
        for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "PKG_CONFIG_PATH"):
            self.environment.pop(name, None)
        # make knows objects by the name under which they were built.
        self.environment["BUILD"] = "build" if BUILD == ROOT / "build" else str(BUILD)
        self.exports = []
        self.address = None

    def shell(self, script, **options):
        """The command that runs a block, with what earlier blocks exported."""
        script = "\n".join(["set -e", *self.exports, script])
        return dict(args=["bash", "-c", script], cwd=self.place, env=self.environment,
                    stdin=subprocess.DEVNULL, **options)

    def start_daemon(self, script):
        """`make run` with a port of the kernel's choice."""
        script = script.replace("make run", "exec make run ARGS='--set http.listen=127.0.0.1:0'")
        log = self.place / "daemon.log"
        with open(log, "wb") as file:
            process = subprocess.Popen(**self.shell(script, stdout=file, stderr=file))

        def where():
            if process.poll() is not None:
                raise AssertionError(log.read_text())
            return re.search(r"metrics at http://(\S+)/metrics", log.read_text())

        try:
            self.address = until(where, "the daemon is ready", BLOCK_S).group(1)
        except BaseException:
            process.kill()
            process.wait()
            raise
        # The process that holds the lock is the daemon; make is its parent and hands on its status.
        pid = int((self.place / "runtime/dwell/dwelld.lock").read_text())

        def stop():
            os.kill(pid, signal.SIGTERM)
            self.assertEqual(process.wait(WAIT_S), 0, log.read_text())

        self.addCleanup(stop)

    def run_block(self, script, shown):
        done = subprocess.run(**self.shell(script.replace(ADDRESS, self.address), encoding="utf-8",
                                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                           timeout=BLOCK_S))
        if shown is not None:
            self.assertTrue(pattern(shown).fullmatch(done.stdout),
                            f"{script}\nis to print:\n{shown}\nprinted:\n{done.stdout}")
        elif done.returncode != 0:
            self.fail(f"{script}\nstatus {done.returncode}:\n{done.stdout}")
        self.exports += [line for line in script.splitlines() if line.startswith("export ")]

    def ask_make(self, script):
        for line in script.splitlines():
            with self.subTest(command=line):
                line = line.replace("make", "make -n --no-print-directory", 1)
                done = subprocess.run(**self.shell(line, capture_output=True, text=True,
                                                   timeout=BLOCK_S))
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_readme_commands_do_what_it_says(self):
        for language, tag, text, shown in FENCE.findall(README):
            shown = shown or None
            if (language, tag) == ("sh", "daemon"):
                self.start_daemon(text)
            elif (language, tag) == ("sh", "make"):
                self.ask_make(text)
            elif language == "sh":
                self.run_block(text, shown)
            elif language in ("python", "c", "ruby", "rust", "java"):
                name = re.match(r"(?:#|/\*|//) (\w+\.\w+)", text).group(1)
                (self.place / name).write_text(text)
            else:
                self.assertEqual(language, "text", "a block that nobody runs")

    def test_readme_links_lead_somewhere(self):
        for path, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]+))?\)", README):
            with self.subTest(path=path, anchor=anchor):
                self.assertTrue((ROOT / path).exists())
                if anchor:
                    self.assertIn(anchor, anchors((ROOT / (path or "README.md")).read_text()))

    def test_readme_contents_name_every_chapter(self):
        contents = README.partition("\n## ")[0]
        self.assertEqual(set(anchors(README, "##")) - set(re.findall(r"\]\(#([^)]+)\)", contents)), set())


class TestReadmeTables(DaemonCase):
    def test_readme_names_every_key_of_a_sample(self):
        rows = table(section("Sending samples"))
        named = {key for row in rows for key in code(row[0]) if not key.startswith("ingest.")}
        self.assertEqual(named, set(EVERYTHING))
        daemon = self.start(sets={"profiling.label_keys": ["tier"]})
        self.assertEqual(daemon.send(EVERYTHING), [])
        self.assertEqual(daemon.metrics().get("dwelld_unknown_keys_total"), 0)

    def test_readme_names_every_reason(self):
        listed = re.search(r"^Reasons: (.*?)\n\n", section("Sending samples"), re.M | re.S).group(1)
        daemon = self.start()
        self.assertEqual(code(listed), list(daemon.status()["ledger"]["rejected"]))

    def test_readme_names_every_family(self):
        named = [name for row in table(section("Metrics")) for name in code(row[0])]
        self.assertEqual(len(named), len(set(named)))
        daemon = self.start(sets={"otlp.endpoint": "http://127.0.0.1:1", "shutdown.timeout_ms": 100})
        self.assertEqual(daemon.send(EVERYTHING), [])
        families = re.findall(r"^# TYPE (\S+) ", daemon.get("/metrics").text, re.M)
        self.assertEqual(sorted(named), sorted(families))

    def test_readme_names_every_key_of_a_family(self):
        named = [code(row[0])[0] for row in table(section("Declaring families"))]
        gauge = {"name": "g_bytes", "type": "gauge", "help": "G.", "labels": ["l"], "unit": "bytes",
                 "values": {"l": ["v"]}, "aggregation": "max", "expire_seconds": 60}
        histogram = {"name": "h", "type": "histogram", "help": "H.", "buckets": [1], "native": True}
        self.assertEqual(set(named), {*gauge, *histogram})
        path = self.directory() / "families.json"
        path.write_text(json.dumps({"families": [gauge, histogram]}))
        done = run("--check-config", "--set", f"metrics.families_file={path}")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_readme_names_every_endpoint(self):
        daemon = self.start()
        self.assertEqual(daemon.send(EVERYTHING), [])
        for row in table(section("Asking")):
            method, path = code(row[0])[0].split()
            with self.subTest(endpoint=path):
                path = path.replace("NAME", "full")
                self.assertEqual(daemon.request(method, path, door="admin").status, 200)
                for door in ("tcp", "query"):
                    status = daemon.request(method, path, door=door).status
                    self.assertEqual(status, 404 if "admin.sock" in row[1] else 200)

    def test_readme_names_every_rule(self):
        samples = {
            "latency_floor": {"execution_time_ms": 0.5, "cpu_percent_during": 100},
            "no_cpu": {"execution_time_ms": 5},
            "compute": {"execution_time_ms": 5, "cpu_percent_during": 50.1},
            "io_low_cpu": {"execution_time_ms": 5, "cpu_percent_during": 19.9},
            "moderate": {"execution_time_ms": 5, "cpu_percent_during": 50},
        }
        daemon = self.start()
        daemon.send(*({"model_name": rule, **sample} for rule, sample in samples.items()))
        rows = table(section("Verdicts"))
        self.assertEqual([code(row[0])[0] for row in rows], list(samples))
        for row in rows:
            analysis = daemon.models()[code(row[0])[0]]["analysis"]
            found = [analysis[key] for key in ("rule", "bottleneck_type", "gpu_decision")]
            self.assertEqual(found, [code(row[0])[0], row[2], row[3]])

    def test_readme_names_every_rule_of_evidence(self):
        known = {"user_ms": 0.25, "system_ms": 0, "runqueue_ms": 0, "disk_bytes": 0}
        samples = {
            "evidence": {**known, "disk_bytes": 4096},
            "mixed": {**known, "user_ms": 4.5, "disk_bytes": 4096},
            "starved": {**known, "runqueue_ms": 9.5},
            "insufficient": None,  # takes a whole window
            "lock": None,  # takes a process that waits for one
            "cpu": {**known, "user_ms": 9.75},
            "wait": known,
        }
        rows = table(section("Verdicts by evidence"))
        self.assertEqual([code(row[0])[0] for row in rows], list(samples))
        daemon = self.start(sets={"profiling.round_ms": 250, "profiling.probe": "off"})
        daemon.send(*({"model_name": rule, "execution_time_ms": 10, **sample}
                      for rule, sample in samples.items() if sample for _ in range(30)))
        for row in rows:
            rule = code(row[0])[0]
            if samples[rule]:
                with self.subTest(rule):
                    until(lambda rule=rule: daemon.models()[rule]["analysis"]["rule"] == rule, f"it is {rule}")
                    self.assertIn(daemon.models()[rule]["analysis"]["bottleneck_type"], row[2])

    def test_readme_names_the_sockets(self):
        daemon = self.start()
        named = {}
        for row in table(section("Directory")):
            for name in code(row[0]):
                named[name] = int(row[1], 8)
        found = {entry.name: entry.lstat().st_mode & 0o7777 for entry in daemon.directory.iterdir()}
        self.assertEqual(named, found)

    def test_readme_limits_have_the_defaults(self):
        limits = self.start().status()["limits"]
        told = dict(re.findall(r"`([a-z]+\.[a-z_]+)`: (\d+)", section("Limits")))
        self.assertTrue(told)
        for path, number in told.items():
            self.assertEqual(limits[path], int(number), path)

    def test_readme_exit_statuses(self):
        told = {int(row[0]) for row in table(section("Running it")) if row[0].isdigit()}
        daemon = self.start()
        taken = f"ingest.directory={daemon.directory}"
        unfit = self.directory() / "file"
        unfit.write_text("")
        port = "--set", "http.listen=127.0.0.1:0"
        found = {
            run("--nonsense").returncode,
            run("--set", "http.port=1").returncode,
            run("--set", taken, *port).returncode,
            run("--set", f"ingest.directory={unfit}", *port).returncode,
            daemon.stop().process.returncode,
        }
        self.assertEqual(found, told)


class TestManual(unittest.TestCase):
    """The man page and the completion know what the daemon knows."""

    def setUp(self):
        text = run("--help").stdout
        self.flags = set(re.findall(r"^  (?:-[a-zA-Z], )?(--[a-z-]+)", text, re.M))
        self.options = re.findall(r"^  ([a-z]+\.[a-z_]+)$", text, re.M)
        self.assertTrue(self.flags and self.options)

    def test_manual_names_every_option(self):
        page = (PACKAGING / "dwelld.8").read_text().replace(r"\-", "-")
        self.assertEqual({"-" + flag for flag in re.findall(r"\bFl (-[a-z-]+)", page)}, self.flags)
        self.assertEqual(re.findall(r"^\.It Cm ([a-z]+\.[a-z_]+)$", page, re.M), self.options)

    def test_manual_is_sound(self):
        done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", PACKAGING / "dwelld.8"],
                              env=environment(MANWIDTH="80", LC_ALL="C.UTF-8", MANPAGER="cat"),
                              capture_output=True, text=True, timeout=WAIT_S, check=True)
        self.assertEqual(done.stderr, "")
        self.assertIn("EXIT STATUS", done.stdout)

    def complete(self, *words):
        """What Tab offers behind these words, split as the shell splits them."""
        script = """
            source "$1"; shift
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
            _dwelld dwelld "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            printf '%s\\n' "${COMPREPLY[@]}"
        """
        done = subprocess.run(["bash", "-c", script, "bash", PACKAGING / "dwelld.bash-completion",
                               "dwelld", *words],
                              capture_output=True, text=True, timeout=WAIT_S, check=True)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_completion_knows_every_option(self):
        self.assertEqual(set(self.complete("-")), self.flags)
        self.assertEqual(self.complete("--set", ""),
                         [option + "=" for option in sorted(self.options)])
        self.assertEqual(self.complete("--set", "http.l"), ["http.listen="])
        self.assertEqual(self.complete("--set", "log.level", "=", "w"), ["warning"])
        self.assertEqual(self.complete("--set", "otlp.traces", "="), ["true", "false"])
        self.assertEqual(self.complete("--set", "http.listen", "=", ""), [])


if __name__ == "__main__":
    unittest.main()
