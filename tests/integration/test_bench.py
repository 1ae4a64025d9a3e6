"""dwell bench over real workers, good and bad, over HTTP, and in a terminal; dwell_bench_run from a C
program; and a model of scikit-learn. Times are the machine's own: what is judged is what must hold however
busy it is."""
import contextlib
import http.server
import itertools
import json
import os
import pathlib
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import unittest

from harness import BUILD, DWELLD, ROOT, WAIT_S, Daemon, DaemonCase, environment, sanitized, sanitizer, until

DWELL = BUILD / "dwell"
TAKES_S = 45
PYTHON = "/usr/bin/python3"  # Debian's, which may have scikit-learn
DRIVER = pathlib.Path(__file__).with_name("bench_driver.c")
LONG_S = 300  # what a run may take on a machine that does ten other things

KEEP, EVALUATE = 0, 1
STARVED_PERCENT = 5  # of the time that somebody waited for a CPU; a quarter of what the daemon lets pass
USAGE, DATAERR, NOINPUT, UNAVAILABLE, CANTCREAT, PROTOCOL, INTERRUPTED = 64, 65, 66, 69, 73, 76, 130

# Works for MS of CPU time on each line.
BUSY = """
import sys, time
for line in sys.stdin:
    end = time.process_time() + MS / 1e3
    while time.process_time() < end:
        pass
    print("done", flush=True)
"""

# Waits for MS on each line, with select as a network client would.
WAITS = """
import select, sys
for line in sys.stdin:
    select.select([], [], [], MS / 1e3)
    print("done", flush=True)
"""

# Answers 25 lines, then does as it is told.
ENDS = """
import os, signal, sys
for number, line in enumerate(sys.stdin):
    if number == 25:
        END
    print("done", flush=True)
"""


def python(script, **values):
    for name, value in values.items():
        script = script.replace(name, str(value))
    return [PYTHON, "-c", script]


def bench(*arguments, env=None, **options):
    """Runs it in a pipe, with no daemon to be found but one that is named."""
    with tempfile.TemporaryDirectory(prefix="dwell-test-") as runtime:
        clean = environment(XDG_RUNTIME_DIR=runtime, LC_ALL="C.UTF-8", TMPDIR=runtime, **(env or {}))
        done = subprocess.run([DWELL, "bench", *map(str, arguments)], env=clean, capture_output=True, text=True,
                              timeout=LONG_S, stdin=subprocess.DEVNULL, check=False, **options)
        left = os.listdir(runtime)
        assert left == [], f"it left {left} behind"
        assert not re.search(r"Sanitizer|runtime error:", done.stderr), done.stderr
        return done


def processes_with(word):
    """Ids of processes in whose arguments the word is; zombies have none."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]


class BenchCase(DaemonCase):
    def result(self, *arguments, status=None, **options):
        """The JSON of a run."""
        done = bench("--json", *arguments, **options)
        if status is not None:
            self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def must_fail(self, status, sentence, *arguments, **options):
        done = bench("--quiet", *arguments, **options)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        self.assertRegex(done.stderr, sentence)
        self.assertEqual(done.stderr.count("dwell: "), 1, done.stderr)
        return done

    def must_be_sound(self, result, samples, concurrency):
        """What holds of every result."""
        for stage in ("sequential", "concurrent"):
            load = result["latency"][stage]
            self.assertEqual((load["requests"], load["errors"]), (samples, 0))
            ranks = [load[key] for key in ("min_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "p999_ms", "max_ms")]
            self.assertEqual(ranks, sorted(ranks))
            self.assertLessEqual(load["min_ms"], load["mean_ms"])
            self.assertLessEqual(load["mean_ms"], load["max_ms"])
            self.assertGreater(load["elapsed_ms"], 0)
        throughput = result["throughput"]
        sequential = result["latency"]["sequential"]
        self.assertAlmostEqual(throughput["sequential_rps"] * sequential["mean_ms"], 1000, places=3)
        self.assertAlmostEqual(throughput["concurrency_scaling"],
                               throughput["concurrent_rps"] / throughput["sequential_rps"], places=6)
        self.assertEqual(result["benchmark_info"]["concurrency"], concurrency)
        [row] = result["gpu_decision_matrix"]
        for key in ("p50_ms", "p90_ms", "p95_ms", "p99_ms"):
            self.assertEqual(row[key], sequential[key])
        overall = result["summary"]["overall_recommendation"]
        self.assertEqual(overall, "EVALUATE_GPU" if row["gpu_decision"] == "yes" else "KEEP_CPU")
        return row


class TestWorkers(BenchCase):
    def test_bench_of_an_echo(self):
        result = self.result("--samples", 50, "-c", 3, "-w", 2, "--no-daemon", "--", "cat")
        row = self.must_be_sound(result, 50, 3)
        self.assertEqual(result["benchmark_info"]["command"], ["cat"])
        self.assertEqual((row["model_name"], row["decided_by"]), ("cat", "thresholds"))
        self.assertTrue(result["benchmark_info"]["complete"])
        self.assertGreater(row["memory_mb"], 0)
        self.assertGreaterEqual(row["memory_mb_peak"], row["memory_mb"])

    def test_bench_of_one_worker_has_no_concurrent_load(self):
        result = self.result("--samples", 5, "-c", 1, "-w", 0, "--no-daemon", "--", "cat")
        self.must_be_sound(result, 5, 1)
        self.assertEqual(result["latency"]["concurrent"], result["latency"]["sequential"])

    def test_bench_reads_the_cpu_time_of_each_request(self):
        result = self.result("--samples", 40, "-c", 2, "-w", 3, "--no-daemon", "--", *python(BUSY, MS=5))
        row = self.must_be_sound(result, 40, 2)
        self.assertLess(row["runqueue_percent"], 100)
        # 5 ms are what the worker itself counted; some more are reading, writing and starting to count, on a slow machine.
        self.assertGreater(row["cpu_ms"], 4.9)
        self.assertLess(row["cpu_ms"], 9.9)

    def test_bench_of_a_worker_that_waits_reads_next_to_nothing(self):
        result = self.result("--samples", 20, "-c", 2, "-w", 3, "--no-daemon", "--", *python(WAITS, MS=40), status=KEEP)
        row = self.must_be_sound(result, 20, 2)
        self.assertEqual((row["bottleneck_type"], row["rule"], row["gpu_decision"]), ("io_bound", "io_low_cpu", "no"))
        self.assertLess(row["cpu_ms"], 8)
        self.assertGreaterEqual(result["latency"]["sequential"]["min_ms"], 40)

    def test_bench_asks_the_lines_of_a_file_in_a_circle(self):
        directory = self.directory()
        (directory / "in").write_text("a\nb\n\nlast")
        self.result("--samples", 7, "-c", 1, "-w", 0, "--no-daemon", "--input", directory / "in", "--",
                    "sh", "-c", f"while IFS= read -r x; do echo \"$x\" >> {directory}/seen; echo; done")
        self.assertEqual((directory / "seen").read_text(), "a\nb\n\nlast\na\nb\n\n")

    def test_bench_asks_numbers_without_a_file(self):
        directory = self.directory()
        self.result("--samples", 3, "-c", 1, "-w", 2, "--no-daemon", "--",
                    "sh", "-c", f"while read -r x; do echo \"$x\" >> {directory}/seen; echo; done")
        self.assertEqual((directory / "seen").read_text().split(), ["0", "1", "0", "1", "2"])

    def test_bench_takes_long_lines_up_to_the_limit(self):
        longest = 1 << 20
        script = "import sys\nfor line in sys.stdin: print('x' * SIZE, flush=True)"
        result = self.result("--samples", 3, "-c", 1, "-w", 0, "--no-daemon", "--", *python(script, SIZE=longest))
        self.assertEqual(result["latency"]["sequential"]["requests"], 3)
        self.must_fail(PROTOCOL, f"a line of more than {longest} bytes", "--no-daemon", "--", *python(script, SIZE=longest + 1))

    def test_bench_sends_lines_longer_than_a_pipe(self):
        path = self.directory() / "in"
        path.write_text("x" * 1000000 + "\n")
        result = self.result("--samples", 3, "-c", 2, "-w", 1, "--no-daemon", "--input", path, "--",
                             *python("import sys\nfor line in sys.stdin: print(len(line), flush=True)"))
        self.must_be_sound(result, 3, 2)

    def test_bench_writes_the_result_to_a_file(self):
        path = self.directory() / "result.json"
        done = bench("--samples", 5, "-c", 2, "-w", 1, "--no-daemon", "--output", path, "--", "cat")
        self.assertIn(("KEEP_CPU", "EVALUATE_GPU")[done.returncode], done.stdout)
        self.must_be_sound(json.loads(path.read_text()), 5, 2)
        self.must_fail(CANTCREAT, "/nowhere/x: No such file", "--samples", 5, "--no-daemon", "-o", "/nowhere/x", "--", "cat")

    def test_bench_in_a_pipe_says_how_far_it_is_in_lines(self):
        done = bench("--samples", 8, "-c", 2, "-w", 4, "--no-daemon", "--", "cat")
        told = re.findall(r"^(\S+) +(\d+) %  \S+/s", done.stderr, re.M)
        self.assertEqual(told, [(stage, part) for stage in ("warm-up", "sequential", "concurrent")
                                for part in ("25", "50", "75", "100")])
        self.assertEqual(bench("-q", "--samples", 8, "--no-daemon", "--", "cat").stderr, "")


class TestBadWorkers(BenchCase):
    def test_bench_says_what_cannot_be_run(self):
        directory = self.directory()
        plain = directory / "plain"
        plain.write_text("no program")
        self.must_fail(UNAVAILABLE, "cannot run /nonexistent: No such file", "--", "/nonexistent")
        self.must_fail(UNAVAILABLE, "cannot run no-such-model: No such file", "--", "no-such-model")
        self.must_fail(UNAVAILABLE, f"cannot run {plain}: Permission denied", "--", plain)
        self.must_fail(UNAVAILABLE, f"cannot run {directory}: Permission denied", "--", directory)
        self.must_fail(USAGE, "expects -- and a command, or --url")
        self.must_fail(USAGE, "--samples: expects a whole number", "--samples", 0, "--", "cat")
        self.must_fail(USAGE, "--concurrency: expects a whole number", "--concurrency", 257, "--", "cat")
        self.must_fail(NOINPUT, "/nonexistent: No such file", "--input", "/nonexistent", "--", "cat")
        self.must_fail(DATAERR, "/dev/null: it is empty", "--input", "/dev/null", "--", "cat")

    def test_bench_of_a_worker_that_ends_at_once(self):
        for script, sentence in (("exit 3", "ended with status 3 before it had answered anything"),
                                 ("kill -SEGV $$", r"was killed by signal 11 \(Segmentation fault\)")):
            done = self.must_fail(UNAVAILABLE, sentence, "--no-daemon", "--", "sh", "-c", script)
            self.assertEqual(done.stdout, "")

    def test_bench_of_a_worker_that_ends_in_the_middle_shows_what_there_is(self):
        for end, sentence in (("sys.exit(4)", "worker 0 ended with status 4 in request 26"),
                              ("os.kill(os.getpid(), signal.SIGKILL)", r"worker 0 was killed by signal 9 \(Killed\) in request 26"),
                              ("os.close(1); sys.stdin.read()", "worker 0 has closed its standard input or output in request 26")):
            done = self.must_fail(UNAVAILABLE, sentence, "--no-daemon", "-w", 5, "--json", "--", *python(ENDS, END=end))
            result = json.loads(done.stdout)
            self.assertEqual(result["latency"]["sequential"]["requests"], 20)
            self.assertEqual(result["latency"]["concurrent"]["requests"], 0)
            self.assertIsNone(result["throughput"]["concurrency_scaling"])
            self.assertFalse(result["benchmark_info"]["complete"])
            self.assertRegex(result["benchmark_info"]["problem"], sentence)

    def test_bench_of_a_worker_that_hangs(self):
        patience = ("--start-timeout", 0.3, "--timeout", 0.3, "--no-daemon")
        self.must_fail(UNAVAILABLE, r"did not answer request 1 in 0.3 s\. Does it write", *patience, "--", "sh", "-c", "cat > /dev/null")
        self.must_give_up("in {} s: 7 bytes came, but no newline", "--start-timeout",
                          "sh", "-c", "read x; printf partial; cat > /dev/null")
        self.must_give_up("did not answer request 26 in {} s", "--timeout", *python(ENDS, END="sys.stdin.read()"))
        # One that is stopped, and ignores what can be ignored.
        self.must_fail(UNAVAILABLE, "did not answer", *patience, "--", "sh", "-c", "trap '' TERM INT HUP; kill -STOP $$")

    def must_give_up(self, sentence, option, *worker):
        """After a short time; after a longer one where the machine is too busy for what comes before."""
        for seconds in (0.3, 3, 30):
            done = bench("--quiet", option, seconds, "--no-daemon", "-w", 5, "--", *worker)
            if sentence.format(seconds) in done.stderr:
                break
        self.assertEqual(done.returncode, UNAVAILABLE, done.stdout + done.stderr)
        self.assertIn(sentence.format(seconds), done.stderr)

    def test_bench_of_a_worker_that_does_not_read(self):
        path = self.directory() / "in"
        path.write_text("x" * 1000000)
        self.must_fail(UNAVAILABLE, "did not answer request 1", "--start-timeout", 0.3, "--no-daemon", "--input", path, "--",
                       *python("import signal; signal.pause()"))

    def test_bench_of_a_worker_that_floods(self):
        self.must_fail(PROTOCOL, "a line of more than 1048576 bytes", "--no-daemon", "--", "cat", "/dev/zero")
        self.must_fail(PROTOCOL, "more than one line", "--no-daemon", "--", "yes")

    def test_bench_of_a_worker_with_several_lines(self):
        self.must_fail(PROTOCOL, r"worker \d answered request 1 with more than one line", "--no-daemon", "--",
                       "sh", "-c", "while read x; do printf 'a\\nb\\n'; done")
        self.must_fail(PROTOCOL, "more than one line", "--no-daemon", "--", "sh", "-c", "echo Loading; exec cat")

    def test_bench_leaves_nothing_behind(self):
        word = f"left-behind-{os.getpid()}-{id(self)}"
        helpers = "\n".join([
            f"{PYTHON} -c 'import signal; signal.pause()' {word} </dev/null >/dev/null &",
            f"setsid {PYTHON} -c 'import signal; signal.pause()' {word} </dev/null >/dev/null &",
            f"(setsid {PYTHON} -c 'import signal; signal.pause()' {word} </dev/null >/dev/null &)",
            "exec cat"])
        done = bench("--samples", 5, "-c", 2, "-w", 1, "--no-daemon", "--", "sh", "-c", helpers)
        self.assertIn(done.returncode, (KEEP, EVALUATE), done.stderr)
        until(lambda: processes_with(word) == [], "no helper is left")


class Running:
    """A run in the background, whose standard error is read line by line."""

    def __init__(self, *arguments):
        self.place = tempfile.TemporaryDirectory(prefix="dwell-test-")
        clean = environment(XDG_RUNTIME_DIR=self.place.name, LC_ALL="C.UTF-8", TMPDIR=self.place.name)
        self.process = subprocess.Popen([DWELL, "bench", *map(str, arguments)], env=clean, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def wait_for(self, pattern):
        for line in self.process.stderr:
            if re.search(pattern, line):
                return
        raise AssertionError(f"it ended without {pattern}")

    def end(self):
        out, err = self.process.communicate(timeout=LONG_S)
        self.place.cleanup()
        return out, err


class TestEnds(BenchCase):
    def start_run(self, *arguments):
        running = Running(*arguments)
        self.addCleanup(running.process.kill)
        return running

    def test_bench_ended_by_a_signal_shows_what_there_is(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            word = f"ended-{number}-{os.getpid()}"
            running = self.start_run("--samples", 1000000, "-w", 4, "-c", 2, "--json", "--no-daemon", "--",
                                     *python("import sys\nfor at, line in enumerate(sys.stdin):\n"
                                             "    if at == 500: sys.stdin.read()\n    print(flush=True)"), word)
            running.wait_for("^warm-up +100 %")
            running.process.send_signal(number)
            out, err = running.end()
            self.assertEqual(running.process.returncode, 128 + number, err)
            if out:  # else it had not measured anything yet
                result = json.loads(out)
                self.assertFalse(result["benchmark_info"]["complete"])
                self.assertGreater(result["latency"]["sequential"]["requests"], 0)
            self.assertRegex(err, "dwell: ended by")
            until(lambda word=word: processes_with(word) == [], "no worker is left")

    def test_bench_that_is_killed_takes_its_workers_along(self):
        word = f"orphan-{os.getpid()}"
        running = self.start_run("-w", 4, "-c", 3, "--no-daemon", "--", PYTHON, "-c",
                                 "import sys\nfor at, line in enumerate(sys.stdin):\n"
                                 "    if at == 4: import signal; signal.pause()\n    print(flush=True)", word)
        running.wait_for("^warm-up +100 %")
        self.assertEqual(len(processes_with(word)), 4)  # the tool itself, too
        running.process.kill()
        running.process.wait(WAIT_S)
        until(lambda: processes_with(word) == [], "no worker is left")
        running.end()

    def test_bench_that_is_killed_takes_its_daemon_along(self):
        running = self.start_run("-w", 4, "-c", 1, "--", PYTHON, "-c",
                                 "import sys\nfor at, line in enumerate(sys.stdin):\n"
                                 "    if at == 4: import signal; signal.pause()\n    print(flush=True)")
        running.wait_for("^warm-up +100 %")
        [directory] = [name for name in os.listdir(running.place.name) if name.startswith("dwell-bench-")]
        self.assertNotEqual(processes_with(directory), [])
        running.process.kill()
        running.process.wait(WAIT_S)
        until(lambda: processes_with(directory) == [], "no daemon is left")
        running.end()


class TestDaemon(BenchCase):
    def test_bench_samples_are_at_the_daemon_that_is_there(self):
        daemon = self.start()
        result = self.result("--samples", 30, "-c", 2, "-w", 4, "--model", "näme/1", "--dir", daemon.directory, "--", *python(BUSY, MS=2))
        row = self.must_be_sound(result, 30, 2)
        self.assertEqual(row["decided_by"], "daemon")
        self.assertEqual(result["benchmark_info"]["daemon"], "found")
        self.assertEqual(result["benchmark_info"]["samples_sent"], 30)
        model = daemon.models()["näme/1"]
        self.assertEqual(model["sample_count"], 30)
        self.assertEqual(model["analysis"]["bottleneck_type"], row["bottleneck_type"])
        self.assertAlmostEqual(model["latency"]["mean_ms"], row["mean_ms"], places=6)
        self.assertAlmostEqual(model["cpu"]["avg_percent"], row["cpu_percent"], places=6)
        self.assertEqual(daemon.rejected(), {})
        time = model["time"]
        self.assertEqual(time["inferences"], 30)
        self.assertGreater(time["user_ms"] + time["system_ms"], 55)
        self.assertTrue(all(time[key] >= 0 for key in time))

    def test_bench_waits_until_the_evidence_is_judged(self):
        daemon = self.start()
        models = itertools.count()

        def judged():
            """The model and its rule; None where a busy machine kept the daemon from its evidence for as long as is waited."""
            model = f"m{next(models)}"
            result = self.result("--samples", 25, "-c", 1, "--model", model, "--dir", daemon.directory, "--", *python(BUSY, MS=3))
            rule = self.must_be_sound(result, 25, 1)["rule"]
            by_thresholds = rule in ("latency_floor", "no_cpu", "compute", "io_low_cpu", "moderate", "insufficient")
            return None if by_thresholds else (model, rule)
        model, rule = until(judged, "it goes by evidence")
        until(lambda: daemon.models()[model]["analysis"]["rule"] == rule, "the daemon says the same afterwards")

    def test_bench_is_found_as_clients_find_it(self):
        daemon = self.start()
        result = self.result("--samples", 5, "--", "cat", env={"DWELL_DIR": str(daemon.directory)})
        self.assertEqual(result["benchmark_info"]["daemon"], "found")
        self.assertEqual(daemon.sample_count("cat"), 5)

    def test_bench_decides_as_the_daemon_does(self):
        # With such limits only who waits for a CPU gets no yes, as on a busy machine some do.
        limits = {"profiling.cpu_io_threshold_percent": 0.0001, "profiling.cpu_compute_threshold_percent": 0.001,
                  "profiling.latency_gpu_threshold_ms": 0.000001}
        if self.has_option("profiling.classifier"):
            limits["profiling.classifier"] = "thresholds"
        daemon = self.start(sets=limits)
        done = bench("--json", "--samples", 20, "-c", 2, "--dir", daemon.directory, "--", *python(BUSY, MS=2))
        row = self.must_be_sound(json.loads(done.stdout), 20, 2)
        analysis = daemon.models()["python3"]["analysis"]
        for key in ("bottleneck_type", "rule", "gpu_decision"):
            self.assertEqual(row[key], analysis[key])
        self.assertEqual((row["bottleneck_type"], row["rule"]), ("compute_bound", "compute"))
        has_waited = row["runqueue_percent"] > STARVED_PERCENT
        self.assertIn(row["gpu_decision"], ("yes", "insufficient") if has_waited else ("yes",))
        self.assertEqual(done.returncode, EVALUATE if row["gpu_decision"] == "yes" else KEEP, done.stdout)

    def has_option(self, name):
        return name in subprocess.run([DWELLD, "--help"], capture_output=True, text=True, check=True).stdout

    def test_bench_starts_a_daemon_when_there_is_none(self):
        result = self.result("--samples", 5, "--", "cat")
        self.assertEqual(result["benchmark_info"]["daemon"], "started")
        self.assertEqual(result["gpu_decision_matrix"][0]["decided_by"], "daemon")

    def test_bench_can_leave_the_daemon_alone(self):
        daemon = self.start()
        env = {"DWELL_DIR": str(daemon.directory), "DWELL_SERVICE_NAME": "", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
        result = self.result("--samples", 5, "--start-daemon", "--", "cat", env=env)
        self.assertEqual(result["benchmark_info"]["daemon"], "started")
        result = self.result("--samples", 5, "--no-daemon", "--", "cat", env=env)
        self.assertEqual(result["benchmark_info"]["daemon"], "none")
        self.assertEqual(daemon.models(), {})

    def test_bench_goes_on_when_no_daemon_can_be_started(self):
        place = self.directory()
        (place / "dwell").write_bytes(DWELL.read_bytes())
        (place / "dwell").chmod(0o755)
        (place / "dwelld").write_text("#!/bin/sh\necho 'out of order' >&2\nexit 78\n")
        (place / "dwelld").chmod(0o755)
        done = subprocess.run([place / "dwell", "bench", "-q", "--samples", "5", "--", "cat"], capture_output=True, text=True, timeout=LONG_S,
                              env=environment(XDG_RUNTIME_DIR=str(place), TMPDIR=str(place)), stdin=subprocess.DEVNULL, check=False)
        self.assertIn(done.returncode, (KEEP, EVALUATE), done.stderr)
        self.assertRegex(re.sub(r"\s+", " ", done.stdout), "CPU thresholds alone, without a daemon: cannot start dwelld: out of order")
        self.assertEqual(sorted(os.listdir(place)), ["dwell", "dwelld"])

    def test_bench_goes_on_when_the_daemon_goes_away(self):
        daemon = self.start()
        result = self.result("--samples", 5, "-c", 1, "-w", 1, "--dir", daemon.directory, "--",
                             *python(f"import os, sys\nfor at, line in enumerate(sys.stdin):\n"
                                     f"    if at == 3: os.kill({daemon.pid}, 15)\n    print(flush=True)"))
        daemon.wait()
        self.assertEqual(result["latency"]["sequential"]["requests"], 5)


class FakeDaemon:
    """An ingest.sock that notes who connects and what is said, and answers a flush as it is told."""

    def __init__(self, directory, answer):
        self.peer_pid, self.lines = None, []
        self.answer = answer
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(directory / "ingest.sock"))
        self.listener.listen(8)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            peer, _ = self.listener.accept()
            pid, _, _ = struct.unpack("iii", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            with peer, peer.makefile("r") as lines:
                if first := lines.readline():  # others only look whether somebody listens
                    self.peer_pid = pid
                    self.lines.append(json.loads(first))
                    self.talk(peer, lines)
                    return

    def talk(self, peer, lines):
        for line in lines:
            self.lines.append(json.loads(line))
            if self.lines[-1].get("type") == "flush":
                peer.sendall(self.answer.encode())
                return

    def samples(self):
        return [line for line in self.lines if "type" not in line]

    def close(self):
        self.listener.close()


class TestSamples(BenchCase):
    def fake(self, answer='{"flushed": 5}\n'):
        directory = self.directory()
        fake = FakeDaemon(directory, answer)
        self.addCleanup(fake.close)
        return fake, directory

    def problem(self, result):
        row = result["gpu_decision_matrix"][0]
        self.assertEqual(row["decided_by"], "thresholds")
        return result["benchmark_info"]["daemon_problem"]

    def test_bench_samples_come_from_the_worker_itself(self):
        fake, directory = self.fake()
        result = self.result("--samples", 5, "-c", 3, "-w", 2, "-m", "m", "--dir", directory, "--", "cat")
        samples = fake.samples()
        self.assertEqual(len(samples), 5)
        self.assertEqual({sample["thread_id"] for sample in samples}, {fake.peer_pid})
        self.assertEqual({sample["model_name"] for sample in samples}, {"m"})
        for sample in samples:
            self.assertLessEqual(sample["user_ms"] + sample["system_ms"] + sample["runqueue_ms"], sample["execution_time_ms"] + 1e-9)
            for key in ("cpu_percent_during", "process_cpu_ms", "memory_mb_before", "memory_mb_after", "minor_faults", "major_faults",
                        "voluntary_switches", "involuntary_switches", "threads"):
                self.assertGreaterEqual(sample[key], 0, key)
        self.assertEqual(fake.lines[0]["constitutional_hash"], "cdd01ef066bc6cf2")
        self.assertIn("query.sock", self.problem(result))  # which this one has not

    def test_bench_says_its_hash(self):
        fake, directory = self.fake()
        bench("-q", "--samples", 5, "--dir", directory, "--", "cat", env={"CONSTITUTIONAL_HASH": "abc"})
        self.assertEqual(fake.lines[0]["constitutional_hash"], "abc")

    def test_bench_whose_samples_are_rejected_decides_itself(self):
        _, directory = self.fake('{"error": "this model is not wanted", "reason": "bad_name", "line": 2}\n{"flushed": 4}\n')
        result = self.result("--samples", 5, "--dir", directory, "--", "cat")
        self.assertIn("the daemon rejects samples: this model is not wanted", self.problem(result))

    def test_bench_whose_samples_are_not_confirmed_decides_itself(self):
        for answer in ("", "{}\n", "no json\n", "x" * 100000):
            _, directory = self.fake(answer)
            result = self.result("--samples", 5, "--dir", directory, "--", "cat")
            self.assertEqual(self.problem(result), "the daemon did not confirm the samples")


class Model(http.server.BaseHTTPRequestHandler):
    """A model behind HTTP; server.answer decides."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(b"")

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body):
        with self.server.lock:
            self.server.seen.append((self.command, self.path, body, self.headers.get("Content-Type")))
            status = self.server.answer(len(self.server.seen))
        self.send_response(status)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"yes")

    def log_message(self, *_):
        pass


class TestUrl(BenchCase):
    def serve(self, answer=lambda number: 200):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
        server.daemon_threads = True
        server.answer, server.seen, server.lock = answer, [], threading.Lock()
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        server.url = f"http://127.0.0.1:{server.server_address[1]}/v1/infer"
        return server

    def test_bench_of_a_url_gets(self):
        server = self.serve()
        result = self.result("--samples", 20, "-c", 3, "-w", 2, "--no-daemon", "--url", server.url)
        row = self.must_be_sound(result, 20, 3)
        self.assertEqual(len(server.seen), 2 * 3 + 20 + 20)
        self.assertEqual({seen[:3] for seen in server.seen}, {("GET", "/v1/infer", b"")})
        self.assertEqual(result["benchmark_info"]["url"], server.url)
        self.assertEqual(row["model_name"], server.url.removeprefix("http://"))
        self.assertIsNone(row["cpu_percent"])

    def test_bench_of_a_url_posts_data_and_files_and_lines(self):
        path = self.directory() / "body"
        path.write_text("one\ntwo\n")
        for arguments, bodies, kind in (
                (("--data", '{"x": 1}'), {b'{"x": 1}'}, "application/json"),
                (("--data", f"@{path}", "--content-type", "text/plain"), {b"one\ntwo\n"}, "text/plain"),
                (("--input", path), {b"one", b"two"}, "application/json")):
            server = self.serve()
            self.must_be_sound(self.result("--samples", 5, "-c", 2, "-w", 1, "--no-daemon", "--url", server.url, *arguments), 5, 2)
            self.assertEqual({seen[0] for seen in server.seen}, {"POST"})
            self.assertEqual({seen[2] for seen in server.seen}, bodies)
            self.assertEqual({seen[3] for seen in server.seen}, {kind})

    def test_bench_of_a_url_counts_what_fails(self):
        server = self.serve(lambda number: 500 if number % 5 == 0 else 201 if number % 5 == 1 else 200)
        result = self.result("--samples", 20, "-c", 1, "-w", 0, "--no-daemon", "--url", server.url)
        load = result["latency"]["sequential"]
        self.assertEqual((load["requests"], load["errors"]), (16, 4))
        self.assertTrue(result["benchmark_info"]["complete"])

    def test_bench_of_a_url_that_does_not_answer(self):
        self.must_fail(UNAVAILABLE, "the answer has status 503", "--samples", 5, "--no-daemon", "--url", self.serve(lambda number: 503).url)
        self.must_fail(UNAVAILABLE, "the answer has status 302", "--samples", 5, "--no-daemon", "--url", self.serve(lambda number: 302).url)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            self.must_fail(UNAVAILABLE, f"{url}: .*onnect", "--samples", 5, "--no-daemon", "--url", url)
            listener.listen(64)
            self.must_fail(UNAVAILABLE, f"{url}: no answer in 0.2 s", "--samples", 2, "-c", 1, "-w", 0, "--start-timeout", 0.2, "--timeout", 0.2,
                           "--no-daemon", "--url", url)
        self.must_fail(UNAVAILABLE, "file", "--samples", 5, "--no-daemon", "--url", "file:///etc/passwd")

    def test_bench_of_a_url_samples_are_at_the_daemon(self):
        daemon = self.start()
        server = self.serve(lambda number: 500 if number == 3 else 200)
        result = self.result("--samples", 10, "-c", 1, "-w", 0, "--model", "remote", "--dir", daemon.directory, "--url", server.url)
        self.assertEqual(result["gpu_decision_matrix"][0]["decided_by"], "daemon")
        model = daemon.models()["remote"]
        self.assertEqual((model["sample_count"], model["errors"]), (10, 1))
        self.assertIsNone(model["cpu"]["avg_percent"])

    def test_bench_of_a_url_that_nobody_answers_leaves_no_model(self):
        daemon = self.start()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))  # and does not listen
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            self.must_fail(UNAVAILABLE, f"{url}: .*onnect", "--samples", 5, "-w", 0, "--dir", daemon.directory, "--url", url)
        self.assertEqual(daemon.models(), {})

    def test_bench_of_a_url_reads_the_cpu_of_a_process(self):
        server = self.serve()
        result = self.result("--samples", 30, "-c", 1, "--no-daemon", "--url", server.url, "--pid", os.getpid())
        row = self.must_be_sound(result, 30, 1)
        self.assertGreater(row["cpu_ms"], 0)
        self.assertGreater(row["memory_mb"], 1)
        self.must_fail(UNAVAILABLE, "there is no process 4194304", "--no-daemon", "--url", server.url, "--pid", 4194304)


class TestTerminal(BenchCase):
    def screen(self, *arguments, columns=80, stop=None):
        """Everything that a terminal gets, with both streams on it."""
        pid, terminal = pty.fork()
        if pid == 0:
            with tempfile.TemporaryDirectory(prefix="dwell-test-") as runtime:
                env = environment(XDG_RUNTIME_DIR=runtime, TMPDIR=runtime, LC_ALL="C.UTF-8", TERM="xterm", COLUMNS=str(columns))
                os.execve(DWELL, ["dwell", "bench", *map(str, arguments)], env)
        shown = b""
        while True:
            ready, _, _ = select.select([terminal], [], [], LONG_S)
            self.assertTrue(ready, shown)
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # the end of a terminal
                piece = b""
            if not piece:
                break
            shown += piece
            if stop is not None and re.search(stop, shown):
                os.write(terminal, b"\x03")
                stop = None
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
        return shown.decode(), os.waitstatus_to_exitcode(status)

    def test_bench_draws_a_bar_that_goes_away(self):
        shown, status = self.screen("--samples", 50, "-c", 2, "-w", 2, "--no-daemon", "--", "cat")
        self.assertIn(status, (KEEP, EVALUATE))
        bars = re.findall(r"\r(\S+) +\[(#*)(-*)\] +(\d+) %  \S+/s", shown)
        self.assertEqual({bar[0] for bar in bars}, {"warm-up", "sequential", "concurrent"})
        self.assertIn(("sequential", "#" * 30, "", "100"), bars)
        self.assertRegex(shown, r"\r\x1b\[Kcat: 50 requests")
        self.assertIn("\x1b[", shown.split("LOAD")[1])  # colours

    def test_bench_fits_a_narrow_terminal(self):
        shown, _ = self.screen("--samples", 20, "-c", 2, "-w", 2, "--no-daemon", "--", "cat", columns=20)
        for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;]*[mK]", "", shown)):
            self.assertLessEqual(len(line), 20, line)

    def test_bench_on_a_terminal_ends_by_its_key(self):
        shown, status = self.screen("-w", 4, "-c", 2, "--samples", 10, "--no-daemon", "--",
                                    *python("import sys\nfor at, line in enumerate(sys.stdin):\n"
                                            "    if at == 9: sys.stdin.read()\n    print(flush=True)"),
                                    stop=rb"warm-up +\[#+\] +100")
        self.assertEqual(status, INTERRUPTED)
        self.assertIn("dwell: ended by Ctrl-C", shown)


class TestLibrary(unittest.TestCase):
    def test_bench_run_from_c(self):
        with tempfile.TemporaryDirectory(prefix="dwell-test-") as place:
            program = f"{place}/driver"
            more = [f"-fsanitize={sanitizer()}"] if sanitized() else []
            subprocess.run(["cc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", *more, f"-I{ROOT / 'client'}",
                            DRIVER, "-o", program, BUILD / "libdwell.a", "-pthread"], check=True, timeout=120)
            daemon = Daemon()
            try:
                done = subprocess.run([program, daemon.directory], capture_output=True, text=True, timeout=LONG_S, check=False)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                result = json.loads(done.stdout)
                model = daemon.models()["driver"]
            finally:
                daemon.stop()
        self.assertEqual(result["calls"], 3 * 4 + 50 + 50)
        self.assertEqual(result["requests"], 50)
        self.assertEqual(result["workers"], 3)
        self.assertGreater(result["cpu_percent"], 0)
        self.assertIn(result["gpu_decision"], ("yes", "insufficient", "no"))
        self.assertEqual(model["sample_count"], 50)


def has_sklearn():
    return subprocess.run([PYTHON, "-c", "import sklearn"], capture_output=True, check=False).returncode == 0


class TestDigits(BenchCase):
    @unittest.skipUnless(has_sklearn(), "needs python3-sklearn")
    def test_bench_of_the_digits_models_decides(self):
        result = self.result("--samples", 40, "-c", 2, "-w", 5, "--", PYTHON, "tests/demo/digits.py", cwd=ROOT)
        row = self.must_be_sound(result, 40, 2)
        self.assertEqual(row["model_name"], "digits.py")
        self.assertEqual(row["decided_by"], "daemon")
        self.assertIn(row["gpu_decision"], ("yes", "no", "insufficient"))
        self.assertGreater(row["cpu_ms"], 0.5)
        self.assertGreater(row["memory_mb"], 30)

    def test_digits_says_what_is_missing(self):
        done = subprocess.run([PYTHON, "-c", "import sys; sys.modules['sklearn'] = None; sys.argv = ['digits.py']; "
                               "exec(open('tests/demo/digits.py').read())"], cwd=ROOT, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=WAIT_S, check=False)
        self.assertEqual(done.returncode, UNAVAILABLE)
        self.assertIn("apt install python3-sklearn", done.stderr)


if __name__ == "__main__":
    unittest.main()
