"""The tool against the real daemon: every command, what it prints, and its exit status; against a server that
misbehaves; and `top` in a terminal of its own."""
import contextlib
import fcntl
import http.server
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import socketserver
import struct
import subprocess
import termios
import threading
import time
import unittest

from harness import BUILD, DWELLD, HASH, ROOT, WAIT_S, Daemon, DaemonCase, environment, sanitizer, until

DWELL = BUILD / "dwell"
DATA = ROOT / "tests/data/cli"

COMPUTE = {"model_name": "matrix", "execution_time_ms": 12.5, "cpu_percent_during": 99}
WAITING = {"model_name": "remote", "execution_time_ms": 20, "cpu_percent_during": 2}
EVIL = {"model_name": "evil\n\x1b[2J\u202e日本", "execution_time_ms": 5}


def tool_environment(**more):
    more.setdefault("LC_ALL", "C.UTF-8")
    clean = environment(**more)
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        if name not in more:
            clean.pop(name, None)
    return clean


def dwell(*arguments, env=None, stdin=None, **options):
    """Runs the tool in a pipe."""
    feed = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    return subprocess.run([DWELL, *map(str, arguments)], env=tool_environment(**(env or {})), capture_output=True,
                          encoding="utf-8", timeout=3 * WAIT_S, check=False, **feed, **options)


class ToolCase(DaemonCase):
    def must(self, status, *arguments, **options):
        """What the tool prints, with this exit status."""
        done = dwell(*arguments, **options)
        self.assertEqual(done.returncode, status, f"{arguments}: {done.stdout}{done.stderr}")
        self.assertNotRegex(done.stdout + done.stderr, r"Sanitizer|runtime error")
        if status == 0:
            self.assertEqual(done.stderr, "")
        return done.stdout if status == 0 else done.stdout + done.stderr

    def start_with(self, *samples, **options):
        daemon = self.start(**options)
        self.assertEqual(daemon.send(*samples), [])
        return daemon


class TestCommands(ToolCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.daemon = Daemon(sets={"profiling.label_keys": ["tier"]})
        cls.addClassCleanup(cls.daemon.stop)
        cls.daemon.send({"model_name": "m"}, COMPUTE, COMPUTE, WAITING, EVIL, {**WAITING, "model_name": "a/b ..?#%", "error": True},
                        {"type": "budget", "layer": "layer1_validation", "elapsed_ms": 5.5},
                        {"type": "budget", "layer": "total", "elapsed_ms": 20})

    def ask(self, *arguments, status=0, **options):
        return self.must(status, *arguments, "--dir", self.daemon.directory, **options)

    def test_status(self):
        text = self.ask("status")
        self.assertIn(f"http://{self.daemon.http_address}", text)
        self.assertIn(str(self.daemon.ingest), text)
        self.assertRegex(text, r"(?m)^models +4 of at most 1,000$")
        self.assertRegex(text, r"(?m)^records +7 accepted, 1 rejected \(missing_key 1\)$")

    def test_models(self):
        lines = self.ask("models").splitlines()
        self.assertEqual(lines[0].split(),
                         ["MODEL", "RATE", "P50", "P99", "CPU", "ERRORS", "VERDICT", "WHY", "GPU"])
        self.assertEqual([line.split("  ")[0] for line in lines[1:]],
                         ["a/b ..?#%", r"evil\n\x1b[2J\u202e日本", "matrix", "remote"])
        self.assertRegex(lines[3], r"12\.5 ms +99\.0 % +0 +compute_bound +compute +yes$")
        self.assertNotRegex("\n".join(lines), r"[\t\x1b]")

    def test_models_queue_is_shown_where_it_is_told(self):
        daemon = self.start_with({**COMPUTE, "queue_ms": 2.5}, WAITING)
        lines = self.must(0, "models", "--dir", daemon.directory).splitlines()
        self.assertIn("QUEUE", lines[0])
        self.assertIn("2.50 ms", lines[1])
        self.assertNotIn("QUEUE", self.ask("models"))

    def test_models_sorted_and_named(self):
        lines = self.ask("models", "--sort", "cpu").splitlines()
        self.assertTrue(lines[1].startswith("matrix"))
        self.assertEqual(self.ask("models", "--names").splitlines(), ["a/b ..?#%", "matrix", "remote"])

    def test_report_is_the_daemons(self):
        got, wanted = self.ask("report"), self.daemon.get("/report").text
        self.assertEqual(got.splitlines()[2:], wanted.splitlines()[2:])

    def test_explain(self):
        text = self.ask("explain", "matrix")
        self.assertIn("Bound by computing (rule compute): mean CPU 99 % is above 50 %.", text)
        self.assertIn("WHAT WOULD CHANGE IT", text)
        self.assertIn("No sample had evidence", text)
        self.assertIn("a/b ..?#%", self.ask("explain", "a/b ..?#%"))
        self.assertIn(r"evil\n\x1b[2J", self.ask("explain", EVIL["model_name"]))

    def test_explain_of_nothing(self):
        self.assertEqual(self.ask("explain", "nobody", status=1),
                         "dwell: there is no model nobody, or no sample since its reset\n")
        self.assertEqual(self.ask("explain", "matirx", "--json", status=1),
                         "dwell: there is no model matirx (did you mean matrix?), or no sample since its reset\n")

    def test_explain_of_several_of_a_name(self):
        """The name as models shows it is one that explain takes; so it is where there is no UTF-8."""
        daemon = self.start_with({**COMPUTE, "model_name": "m"}, {**WAITING, "model_name": "m", "device": "cuda:0"},
                                 {**WAITING, "model_name": "m", "labels": {"tier": "a\\bé"}}, {**WAITING, "model_name": "m {"},
                                 sets={"profiling.label_keys": ["tier"]})
        where = "--dir", daemon.directory
        text = self.must(0, "explain", "m", *where)
        self.assertIn("Bound by computing", text)
        self.assertTrue(text.endswith('\nThere are also:\n  m {tier="a\\\\bé"}\n  m {device="cuda:0"}\n'), text)
        for locale in ("C", "C.UTF-8"):
            titles = [line.split("  ")[0] for line in self.must(0, "models", *where, env={"LC_ALL": locale}).splitlines()[1:]]
            self.assertEqual(len(titles), 4)
            for title in titles:
                with self.subTest(title=title):
                    self.assertEqual(self.must(0, "explain", title, *where, env={"LC_ALL": locale}).split("  ")[0], title)
        model = json.loads(self.must(0, "explain", 'm {device="cuda:0"}', "--json", "--all", *where))
        self.assertEqual((model["labels"], model["window"]), ({"device": "cuda:0"}, "all"))
        self.assertIn('m {device="cuda:0"}  ', self.must(1, "decision", *where))
        self.assertEqual(self.must(64, "reset", 'm {device="cuda:0"}', *where),
                         "dwell: reset takes all models of a name, whatever their labels: dwell reset m\n")
        self.assertEqual(self.must(0, "reset", "m", *where), "3 models begin anew.\n")

    def test_budgets(self):
        text = self.ask("budgets")
        self.assertRegex(text, r"(?m)^layer1_validation +5\.00 ms +5\.50 ms ")
        self.assertIn("The whole request: 20.0 ms of 50.0 ms, 30.0 ms left.", text)

    def test_top_once(self):
        lines = self.ask("top", "--once", "--sort", "p99").splitlines()
        self.assertRegex(lines[0], r"^records \d.*/s  lost 0  rejected 1  memory .*  up \d.*  dwelld \d")
        self.assertEqual(lines[1], "4 models by p99")
        self.assertEqual([line.split()[0] for line in lines[3:]], ["a/b", "remote", "matrix", "evil\\n\\x1b[2J\\u202e日本"])
        self.assertEqual(self.ask("top", "--once", "--filter", "RIX").splitlines()[1], "/RIX  1 of 4 models by rate")

    def test_json_is_the_answer_as_it_is(self):
        for arguments, path in ((["status"], "/api/v1/status"), (["models"], "/api/v1/models"),
                                (["models", "--all"], "/api/v1/models?window=all"),
                                (["budgets"], "/api/v1/budgets"), (["report"], "/api/v1/models"),
                                (["top", "--once"], "/api/v1/models"),
                                (["explain", "matrix"], "/api/v1/models/matrix")):
            with self.subTest(command=arguments):
                got = json.loads(self.ask(*arguments, "--json"))
                wanted = self.daemon.get(path).json
                if arguments == ["status"]:
                    self.assertEqual(got["ledger"], wanted["ledger"])
                else:
                    self.assertEqual(got, wanted)

    def test_url(self):
        text = self.must(0, "models", "--url", f"http://{self.daemon.http_address}/")
        self.assertIn("matrix", text)
        self.assertIn("matrix", self.must(0, "models", "--url", self.daemon.http_address))
        self.assertIn("admin.sock alone", self.must(64, "reset", "--url", "http://x"))
        self.assertIn("ingest.sock alone", self.must(64, "send", "--url", "http://x"))

    def test_environment_names_the_directory(self):
        self.assertIn("matrix", self.must(0, "models", env={"DWELL_DIR": str(self.daemon.directory)}))
        runtime = self.directory()
        (runtime / "dwell").symlink_to(self.daemon.directory)
        self.assertIn("matrix", self.must(0, "models", env={"XDG_RUNTIME_DIR": str(runtime)}))

    def test_names_are_ascii_without_utf8(self):
        text = self.ask("models", env={"LC_ALL": "C"})
        self.assertIn(r"evil\n\x1b[2J\u202e\u65e5\u672c", text)
        for command in (["report"], ["top", "--once"], ["explain", "matrix"], ["budgets"], ["status"]):
            self.assertTrue(self.ask(*command, env={"LC_ALL": "C"}).isascii(), command)

    def test_color(self):
        self.assertNotIn("\x1b", self.ask("models"))
        self.assertIn("\x1b[", self.ask("models", "--color", "always"))
        self.assertIn("\x1b[", self.ask("models", "--color", "always", env={"NO_COLOR": "1"}))

    def test_columns(self):
        for columns in (20, 80, 200):
            for command in ("models", "top", "budgets"):
                arguments = [command, "--once"] if command == "top" else [command]
                for line in self.ask(*arguments, env={"COLUMNS": str(columns)}).splitlines():
                    wide = sum(character > "\u2fff" for character in line)
                    self.assertLessEqual(len(line) + wide, columns, line)


class TestChanges(ToolCase):
    """Commands that change something, each with a daemon of its own."""

    def test_send_arguments(self):
        daemon = self.start(sets={"profiling.label_keys": ["tier"]})
        said = self.must(0, "send", "m", "12.5", "7.5", "cpu_percent_during=80", "labels.tier=gold", "error=out of patience",
                         "--dir", daemon.directory)
        self.assertEqual(said, "2 records accepted.\n")
        model = daemon.models()["m"]
        self.assertEqual((model["sample_count"], model["errors"], model["labels"], model["cpu"]["avg_percent"]),
                         (2, 2, {"tier": "gold"}, 80))
        self.assertEqual(daemon.metrics().get("dwelld_unknown_keys_total"), 0)

    def test_send_lines(self):
        daemon = self.start()
        lines = [json.dumps(COMPUTE), "", '{"model_name":"x"}', "no JSON", json.dumps(WAITING),
                 '{"type":"counter","name":"jobs","value":3}',
                 '{"type":"budget","layer":"layer1_validation","elapsed_ms":5}',
                 '{"type":"span","name":"s","trace_id":"%032x","span_id":"%016x","start_time_unix_nano":"1",'
                 '"end_time_unix_nano":"2"}' % (1, 1)]
        said = self.must(1, "send", "--dir", daemon.directory, stdin="\n".join(lines))  # the last line is not terminated
        self.assertEqual(said.splitlines(), [
            "5 records accepted, 2 rejected.",
            'dwell: line 3: missing "execution_time_ms" (missing_key)',
            "dwell: line 4: the line is no JSON object (bad_syntax)"])
        self.assertEqual(daemon.metrics().get("jobs_total"), 3)

    def test_send_tells_the_lines_of_its_input(self):
        daemon = self.start()
        bad = {1, 63, 64, 65, 66, 128, 129, 1000}
        lines = ["{}" if line in bad else json.dumps(COMPUTE) for line in range(1, 1001)]
        said = self.must(1, "send", "--dir", daemon.directory, stdin="\n".join(lines))
        self.assertEqual({int(line) for line in re.findall(r"(?m)^dwell: line ([\d,]+)", said.replace("1,000", "1000"))}, bad)

    def test_send_json_gives_the_answers(self):
        daemon = self.start()
        done = dwell("send", "--json", "--dir", daemon.directory, stdin='{"model_name":"x"}\n' + json.dumps(COMPUTE))
        self.assertEqual(done.returncode, 1)
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual(answers[0]["reason"], "missing_key")
        self.assertEqual(answers[1], {"flushed": 1})

    def test_send_nothing(self):
        daemon = self.start()
        self.assertEqual(self.must(0, "send", "--dir", daemon.directory, stdin=""), "0 records accepted.\n")

    def test_send_much(self):
        """More than sockets and buffers hold, with as many rejections: neither side waits for the other."""
        daemon = self.start()
        line = json.dumps(COMPUTE) + "\n"
        count = 30000
        done = dwell("send", "--json", "--dir", daemon.directory, stdin=(line + '{"model_name":3}\n') * count)
        answers = done.stdout.splitlines()
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(json.loads(answers[-1]), {"flushed": count})
        self.assertEqual([json.loads(line)["reason"] for line in answers[:-1]], ["wrong_type"] * count)
        self.assertEqual(daemon.models()["matrix"]["sample_count"], count)

    def test_send_takes_json_alone(self):
        daemon = self.start()
        for text in ("foo:1|c\n", "\n \tfoo:1|c\n" + json.dumps(COMPUTE), "[" + json.dumps(COMPUTE) + "]", "\0"):
            with self.subTest(text=text):
                self.assertRegex(self.must(65, "send", "--dir", daemon.directory, stdin=text),
                                 r"^dwell: send: expects a JSON object on each line\. Lines of StatsD .* ingest\.sock")
        self.assertEqual(self.must(0, "send", "--dir", daemon.directory, stdin="\n \r\n\t" + json.dumps(COMPUTE)),
                         "1 record accepted.\n")
        self.assertEqual(daemon.metrics().get("dwelld_records_rejected_total", 0), 0)

    def test_send_names_the_hash(self):
        daemon = self.start(sets={"service.enforce_hash": True})
        self.assertEqual(self.must(0, "send", "m", "1", "--dir", daemon.directory), "1 record accepted.\n")
        self.assertIn("(hash_mismatch)", self.must(1, "send", "m", "1", "--hash", "other", "--dir", daemon.directory))
        self.assertIn("(hash_mismatch)", self.must(1, "send", "m", "1", "--dir", daemon.directory,
                                                   env={"CONSTITUTIONAL_HASH": "other"}))
        self.assertEqual(self.must(0, "send", "m", "1", "--hash", HASH, "--dir", daemon.directory,
                                   env={"CONSTITUTIONAL_HASH": "other"}), "1 record accepted.\n")

    def test_send_is_off_when_clients_are(self):
        daemon = self.start()
        done = dwell("send", "--dir", daemon.directory, stdin="x" * 100000, env={"DWELL_DISABLED": "1"})
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertEqual(daemon.models(), {})

    def test_send_says_what_is_wrong_with_arguments(self):
        self.assertIn("got no time", self.must(64, "send", "m"))
        self.assertIn("got fast", self.must(64, "send", "m", "fast"))
        self.assertEqual(self.must(64, "send", "m", "12", "cpu_percent_durin=3"),
                         "dwell: send: there is no key cpu_percent_durin (did you mean cpu_percent_during?)\n")

    def test_reset(self):
        daemon = self.start_with(COMPUTE, WAITING)
        where = "--dir", daemon.directory
        self.assertEqual(self.must(0, "reset", "matrix", *where), "1 model begins anew.\n")
        self.assertEqual(list(daemon.models()), ["remote"])
        self.assertEqual(self.must(1, "reset", "nobody", *where),
                         "dwell: there is no model nobody, or no sample since its reset\n")
        self.assertEqual(json.loads(self.must(0, "reset", "--json", *where)), {"reset": 1})
        self.assertEqual(self.must(0, "models", *where), "No model has sent a sample.\n")

    def test_check_config(self):
        alone = "The built-in defaults and the environment are good; no file was named.\n"
        self.assertEqual(self.must(0, "check-config"), alone)
        file = self.directory() / "dwelld.json"
        file.write_text("{}")
        self.assertEqual(self.must(0, "check-config", file), "The configuration is good.\n")
        file.write_text('{"http": {"listne": 1}}')
        self.assertIn("http.listne: is not an option", self.must(78, "check-config", file))
        self.assertEqual(json.loads(self.must(0, "check-config", "--json")), {"good": True, "status": 0, "problems": []})
        refused = json.loads(self.must(78, "check-config", "--json", file))
        self.assertEqual((refused["good"], refused["status"], len(refused["problems"])), (False, 78, 1))
        self.assertIn("http.listne: is not an option", refused["problems"][0])
        copy = self.directory() / "dwell"
        shutil.copy(DWELL, copy)
        done = subprocess.run([copy, "check-config"], env=tool_environment(PATH=str(BUILD)), capture_output=True,
                              text=True, timeout=WAIT_S, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, alone))
        done = subprocess.run([copy, "check-config"], env=tool_environment(PATH="/nonexistent"), capture_output=True,
                              text=True, timeout=WAIT_S, check=False)
        self.assertEqual(done.returncode, 69)
        self.assertIn("neither beside this program nor in PATH", done.stderr)
        done = subprocess.run([copy, "check-config", "--json"], env=tool_environment(PATH="/nonexistent"),
                              capture_output=True, text=True, timeout=WAIT_S, check=False)
        self.assertEqual((done.returncode, done.stdout), (69, ""))
        self.assertIn("neither beside this program nor in PATH", done.stderr)


class TestWords(ToolCase):
    def test_help(self):
        text = self.must(0, "--help")
        named = re.findall(r"(?m)^  ([a-z-]+)  ", text)
        self.assertEqual(named[:3], ["status", "models", "report"])
        for command in named:
            self.assertTrue(self.must(0, command, "--help").startswith(f"usage: dwell {command}"))
        self.assertRegex(self.must(0, "--version"), r"^dwell \d+\.\d+\.\d+\n$")

    def test_wrong_words(self):
        self.assertEqual(self.must(64, "staus"), "dwell: there is no command staus (did you mean status?). See dwell --help\n")
        self.assertIn("expects a command", self.must(64))
        self.assertIn("See dwell top --help", self.must(64, "top", "--onc"))

    def test_full_disk(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([DWELL, "--help"], env=tool_environment(), stdout=full, stderr=subprocess.PIPE,
                                  text=True, timeout=WAIT_S, check=False)
        self.assertEqual(done.returncode, 74)
        self.assertIn("cannot write", done.stderr)

    def complete(self, *words, path=BUILD):
        """What Tab offers behind these words in bash."""
        script = """
            source "$1"; shift
            COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
            _dwell dwell "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            printf '%s\\n' "${COMPREPLY[@]}"
        """
        done = subprocess.run(["bash", "-c", script, "bash", ROOT / "client/cli/dwell.bash-completion", "dwell", *words],
                              env=tool_environment(PATH=f"{path}:{os.environ['PATH']}", DWELL_DIR=self.where),
                              capture_output=True, text=True, timeout=WAIT_S, check=True)
        self.assertEqual(done.stderr, "")
        return done.stdout.split("\n")[:-1]

    def test_completion_for_bash(self):
        self.where = str(self.start_with(COMPUTE, WAITING, EVIL).directory)
        self.assertEqual(self.complete("st"), ["status"])
        self.assertIn("top", self.complete(""))
        self.assertEqual(self.complete("top", "--so"), ["--sort"])
        self.assertEqual(self.complete("top", "--sort", "v"), ["verdict"])
        self.assertEqual(self.complete("--color", "a"), ["auto", "always"])
        self.assertEqual(self.complete("explain", ""), ["matrix", "remote"])
        self.assertEqual(self.complete("reset", "rem"), ["remote"])

    def test_completions_for_zsh_and_fish_are_sound(self):
        for shell, name in (("zsh", "_dwell"), ("fish", "dwell.fish")):
            with self.subTest(shell=shell):
                if shutil.which(shell) is None:
                    self.skipTest(f"there is no {shell}")
                done = subprocess.run([shell, "-n", ROOT / "client/cli" / name], capture_output=True, text=True,
                                      timeout=WAIT_S, check=False)
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_completion_for_fish(self):
        if shutil.which("fish") is None:
            self.skipTest("there is no fish")
        script = f"source {ROOT}/client/cli/dwell.fish; complete -C 'dwell top --s'; complete -C 'dwell dec'"
        done = subprocess.run(["fish", "--no-config", "-c", script], env=tool_environment(HOME=str(self.directory())),
                              capture_output=True, text=True, timeout=WAIT_S, check=True)
        self.assertEqual([line.split("\t")[0] for line in done.stdout.splitlines()], ["--sort", "decision"])

    def test_manual_is_sound(self):
        done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", ROOT / "client/cli/dwell.1"],
                              env=tool_environment(MANWIDTH="80", MANPAGER="cat"), capture_output=True, text=True,
                              timeout=WAIT_S, check=True)
        self.assertEqual(done.stderr, "")
        for word in ("EXIT STATUS", "explain MODEL", "--interval SECONDS"):
            self.assertIn(word, done.stdout)
        # An example that is pasted is one command.
        examples = re.findall(r"(?m)^\.Dl (.*)$", (ROOT / "client/cli/dwell.1").read_text())
        self.assertTrue(examples)
        for example in examples:
            self.assertIn(example.replace("\\-", "-"), done.stdout)
        self.assertNotIn("?.", done.stdout)

    def test_manual_knows_every_exit_status(self):
        told = set(re.findall(r"(?m)^\.It (\d+)$", (ROOT / "client/cli/dwell.1").read_text()))
        self.assertEqual(told, {"0", "1", "64", "65", "66", "69", "71", "73", "74", "76", "77", "78"})


# --- daemons that are not there, or not what they seem ---------------------------------------------


class Server:
    """Answers on query.sock with what it is told: {path: JSON text, bytes, or a function of the path}."""

    def __init__(self, directory, answers):
        self.answers = answers
        self.asked = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                answer = outer.answers.get(self.path, outer.answers.get("*"))
                answer = answer(self.path) if callable(answer) else answer
                status, body = (404, b'{"error":"no such path"}') if answer is None else (200, answer)
                if isinstance(body, tuple):
                    status, body = body
                if body == b"HANG UP":
                    self.close_connection = True
                    return
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def address_string(self):
                return "unix"

            def log_message(self, *_):
                pass

        class Unix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self.server = Unix(str(directory / "query.sock"), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(WAIT_S)


class TestTrouble(ToolCase):
    def serve(self, answers):
        directory = self.directory()
        server = Server(directory, answers)
        self.addCleanup(server.close)
        return directory

    def test_no_daemon_anywhere(self):
        runtime = self.directory()
        said = self.must(69, "status", env={"XDG_RUNTIME_DIR": str(runtime)})
        self.assertIn(f"there is no ingest.sock in {runtime}/dwell, /run/dwell or /tmp/dwell-{os.getuid()}", said)
        self.assertIn("Start dwelld", said)

    def test_no_daemon_there(self):
        place = self.directory()
        for command in (["status"], ["top"], ["top", "--once"], ["send", "m", "1"], ["explain", "m"]):
            if command == ["top"]:
                continue  # without a terminal it says another thing
            said = self.must(69, *command, "--dir", place)
            self.assertIn("there is no daemon", said)
            self.assertIn(str(place), said)
        self.assertIn("no daemon answers at http://127.0.0.1:1", self.must(69, "status", "--url", "http://127.0.0.1:1"))
        self.assertIn("is no address", self.must(64, "status", "--url", "gopher://x"))

    def test_a_daemon_that_has_ended(self):
        place = self.directory()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(place / "query.sock"))
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(place / "ingest.sock"))
        self.assertIn("nobody listens", self.must(69, "status", "--dir", place))
        self.assertIn("nobody listens", self.must(69, "send", "m", "1", "--dir", place))

    @unittest.skipIf(os.getuid() != 0, "somebody else is needed")
    def test_a_socket_that_may_not_be_opened(self):
        daemon = self.start()
        self.assertEqual(daemon.directory.stat().st_mode & 0o777, 0o700)
        places = self.directory()
        places.chmod(0o755)
        tool = places / "dwell"
        shutil.copy(DWELL, tool)
        for command in (["status"], ["send", "m", "1"]):
            done = subprocess.run([tool, *command, "--dir", daemon.directory], env=tool_environment(), user=65534,
                                  group=65534, extra_groups=[], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=WAIT_S, check=False)
            self.assertEqual(done.returncode, 77, done.stderr)
            self.assertIn("you may not open it", done.stderr)

    def test_an_older_daemon(self):
        place = self.serve({})
        said = self.must(76, "decision", "--dir", place)
        self.assertIn("this daemon has no /api/v1/decision: it is older than this tool", said)

    def test_answers_that_are_none(self):
        place = self.serve({"/api/v1/status": b"<html>", "/api/v1/models": b'{"models":3}', "/report": b"\x1b[2Jx\xff\n",
                            "/api/v1/budgets": (503, b'{"error":"the loop does not answer"}')})
        self.assertIn("no JSON that a dwelld gives", self.must(76, "status", "--dir", place))
        self.assertIn("no list of models", self.must(76, "models", "--dir", place))
        self.assertEqual(self.must(0, "report", "--dir", place), "\\x1b[2Jx\\xff\n")
        self.assertIn("answers 503: the loop does not answer", self.must(69, "budgets", "--dir", place))

    def test_no_answer_in_time(self):
        place = self.directory()
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(place / "query.sock"))
            silent.listen()
            self.assertIn("no answer in 0.2 s", self.must(69, "status", "--dir", place, "--timeout", "0.2"))
        with socket.socket(socket.AF_UNIX) as silent:
            silent.bind(str(place / "ingest.sock"))
            silent.listen()
            self.assertIn("nothing for 0.2 s", self.must(69, "send", "m", "1", "--dir", place, "--timeout", "0.2"))

    def test_a_daemon_that_hangs_up(self):
        place = self.serve({"*": b"HANG UP"})
        self.assertIn("hung up", self.must(69, "status", "--dir", place))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place / "ingest.sock"))
            listener.listen()
            closer = threading.Thread(target=lambda: listener.accept()[0].close())
            closer.start()
            self.assertIn("before it confirmed", self.must(69, "send", "m", "1", "--dir", place))
            closer.join(WAIT_S)

    def test_an_answer_at_the_ceiling_and_one_over(self):
        ceiling = 64 << 20
        head, tail = b'{"version":"', b'"}'
        full = head + b"x" * (ceiling - len(head) - len(tail)) + tail
        place = self.serve({"/api/v1/status": lambda _: full, "/api/v1/budgets": lambda _: full + b"\n"})
        where = "--json", "--dir", place, "--timeout", 2 * WAIT_S
        done = dwell("status", *where)
        self.assertEqual((done.returncode, len(done.stdout)), (0, ceiling))
        self.assertIn("longer than 64 MB", self.must(76, "budgets", *where))

    def test_decision(self):
        answer = (DATA / "decision.json").read_bytes()
        place = self.serve({"/api/v1/decision": answer})
        done = dwell("decision", "--dir", place)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertTrue(done.stdout.startswith("EVALUATE_GPU\n"))
        done = dwell("decision", "--json", "--dir", place)
        self.assertEqual((done.returncode, done.stdout.encode()), (1, answer))
        keep = json.dumps({**json.loads(answer), "overall_recommendation": "KEEP_CPU"}).encode()
        place = self.serve({"/api/v1/decision": keep})
        self.assertTrue(self.must(0, "decision", "--dir", place).startswith("KEEP_CPU\n"))


# --- in a terminal ---------------------------------------------------------------------------------


class Terminal:
    """The tool in a pseudo-terminal, and what its screen shows. The terminal is the console of Linux, all of which
    pyte understands."""

    def __init__(self, *arguments, columns=80, rows=24, env=None, term="linux"):
        import pyte

        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.process = subprocess.Popen([DWELL, *map(str, arguments)], stdin=slave, stdout=slave, stderr=slave,
                                        env=tool_environment(TERM=term, **(env or {})), start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)

    def resize(self, columns, rows):
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds=0.05):
        """Takes what it has written; False at the end."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.raw += data
        self.stream.feed(data)
        return data != b""

    @property
    def lines(self):
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self):
        return "\n".join(self.lines).rstrip("\n")

    def press(self, keys):
        os.write(self.master, keys.encode())

    def wait_for(self, predicate, what):
        def look():
            self.read()
            return predicate(self)

        try:
            return until(look, what)
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.text}") from None

    def end(self):
        """Waits for the end and gives the exit status."""
        while self.read(1):
            pass
        return self.process.wait(WAIT_S)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


def has_pyte():
    try:
        import pyte  # noqa: F401
    except ImportError:
        return False
    return True


@unittest.skipUnless(has_pyte(), "needs python3-pyte")
class TestTerminal(ToolCase):
    def setUp(self):
        """A server whose clock is the requests: rates are the same however fast the machine is."""
        self.place = self.directory()
        self.models = json.loads((DATA / "models.json").read_text())
        self.status = json.loads((DATA / "status.json").read_text())
        self.status["uptime_seconds"] = 100000  # told in hours: the same for the whole test
        self.round = 0
        self.server = None
        self.serve()

    def serve(self):
        self.server = Server(self.place, {"*": self.answer})
        self.addCleanup(self.stop)

    def stop(self):
        if self.server is not None:
            self.server.close()
            self.server = None
            (self.place / "query.sock").unlink()

    def answer(self, path):
        if path == "/api/v1/status":
            self.round += 1
            self.status["uptime_seconds"] += 2
            self.status["records"]["accepted"] += 200
            return json.dumps(self.status).encode()
        if path == "/api/v1/models?window=all":
            totals = {"models": [{**model, "sample_count": model["sample_count"] + 100 * (at + 1) * self.round}
                                 for at, model in enumerate(self.models["models"])]}
            return json.dumps(totals).encode()
        if path == "/api/v1/models":
            return json.dumps(self.models).encode()
        if path == "/api/v1/models/matrix-product":
            return json.dumps(self.models["models"][2]).encode()
        if path == "/report":
            return REPORT.encode()
        return None

    def open(self, *arguments, **options):
        terminal = Terminal(*arguments, "--dir", self.place, **options)
        self.addCleanup(terminal.close)
        return terminal

    def top(self, *arguments, **options):
        return self.open("top", "--interval", "0.1", *arguments, **options)

    def must_become(self, terminal, name):
        """The screen becomes what the file has."""
        path = DATA / f"{name}.screen"
        wanted = path.read_text().rstrip("\n") if path.exists() else None
        try:
            terminal.wait_for(lambda t: t.text == wanted, f"the screen is {name}")
        except AssertionError:
            (BUILD / f"{name}.screen").write_text(terminal.text + "\n")
            raise

    def must_end(self, terminal, status=0):
        self.assertEqual(terminal.end(), status)
        self.assertGreater(terminal.raw.rfind(b"\x1b[?25h"), terminal.raw.rfind(b"\x1b[?25l"))  # the cursor is back
        self.assertNotIn(b"Sanitizer", terminal.raw)

    def test_top_at_20_80_and_200_columns(self):
        for columns in (20, 80, 200):
            with self.subTest(columns=columns):
                terminal = self.top(columns=columns, rows=12)
                self.must_become(terminal, f"live_{columns}")
                terminal.press("q")
                self.must_end(terminal)

    def test_top_resizes(self):
        terminal = self.top(columns=80, rows=12)
        self.must_become(terminal, "live_80")
        terminal.resize(20, 12)
        self.must_become(terminal, "live_20")
        terminal.resize(200, 12)
        self.must_become(terminal, "live_200")
        for columns, rows in ((4, 3), (1, 1), (80, 1), (1, 24), (300, 100), (80, 12)):
            terminal.resize(columns, rows)
            terminal.read(0.2)
        self.must_become(terminal, "live_80")
        terminal.press("q")
        self.must_end(terminal)

    def test_top_without_utf8(self):
        terminal = self.top(columns=80, rows=12, env={"LC_ALL": "C"})
        self.must_become(terminal, "live_ascii")
        self.assertTrue(terminal.raw.isascii())
        terminal.press("q")
        self.must_end(terminal)

    def names(self, terminal):
        """The first words of the table's rows."""
        lines = terminal.lines
        head = next((at for at, line in enumerate(lines) if line.startswith("MODEL")), len(lines))
        return [line.split()[0][:4] for line in lines[head + 1:-1] if line]

    def must_show(self, terminal, *names):
        terminal.wait_for(lambda t: self.names(t) == list(names), f"the rows are {names}")

    def test_top_keys(self):
        terminal = self.top(columns=80, rows=12)
        self.must_show(terminal, "text", "slee", "remo", "matr", "impa", "digi")  # by the rates of setUp
        terminal.press("n")
        self.must_show(terminal, "digi", "impa", "matr", "remo", "slee", "text")
        terminal.press("n")
        self.must_show(terminal, "text", "slee", "remo", "matr", "impa", "digi")
        terminal.press("l")
        self.must_show(terminal, "slee", "text", "impa", "digi", "remo", "matr")
        terminal.press("c")
        self.must_show(terminal, "matr", "digi", "text", "remo", "slee", "impa")
        terminal.press("v")
        self.must_show(terminal, "matr", "text", "remo", "slee", "digi", "impa")
        terminal.press("r")
        self.must_show(terminal, "text", "slee", "remo", "matr", "impa", "digi")
        terminal.press("/RE\x7fe")
        self.must_show(terminal, "text", "remo", "impa", "digi")
        terminal.press("m")
        self.must_show(terminal, "text", "remo")
        terminal.press("\r")
        terminal.wait_for(lambda t: "/Rem  2 of 6 models" in t.text, "the filter is told")
        terminal.press("\x1b")
        self.must_show(terminal, "text", "slee", "remo", "matr", "impa", "digi")
        terminal.press("q")
        self.must_end(terminal)

    def test_top_explains_the_selected_model(self):
        terminal = self.top(columns=80, rows=12)
        self.must_show(terminal, "text", "slee", "remo", "matr", "impa", "digi")
        terminal.press("\x1b[B\x1b[B\x1b[B\r")
        terminal.wait_for(lambda t: t.lines[0].startswith("matrix-product") and "q back" in t.lines[-1], "the explanation")
        until(lambda: "/api/v1/models/matrix-product" in self.server.asked, "its own answer is asked for")
        terminal.wait_for(lambda t: "SHARES" in t.text, "all of it")
        terminal.press("\x1b[B" * 4)
        terminal.wait_for(lambda t: not t.lines[0].startswith("matrix"), "it scrolls")
        terminal.press("\x1b[6~" * 20)
        terminal.wait_for(lambda t: t.lines[-2].endswith("14.2 times faster."), "the end, and no further")
        terminal.press("\x1b[1~")
        terminal.resize(10, 6)  # where no paragraph fits: lines are cut, not run into one another
        terminal.wait_for(lambda t: t.lines[1] == "compute_bo", "it is cut")
        terminal.resize(80, 12)
        terminal.press("q")
        self.must_show(terminal, "text", "slee", "remo", "matr", "impa", "digi")
        terminal.press("q")
        self.must_end(terminal)

    def test_top_keeps_the_selection_when_rows_move(self):
        terminal = self.top(columns=80, rows=12)
        self.must_show(terminal, "text", "slee", "remo", "matr", "impa", "digi")
        terminal.press("\x1b[B")
        terminal.wait_for(lambda t: self.selected(t).startswith("sleeper"), "the second row is selected")
        terminal.press("n")
        terminal.wait_for(lambda t: self.names(t)[:1] == ["digi"] and self.selected(t).startswith("sleeper"), "it is selected still")
        terminal.press("q")
        self.must_end(terminal)

    def selected(self, terminal):
        """The line that is shown in reverse."""
        for y in range(terminal.screen.lines):
            if terminal.screen.buffer[y][0].reverse:
                return terminal.screen.display[y]
        return ""

    def test_top_scrolls(self):
        terminal = self.top(columns=80, rows=7)  # three rows of six
        self.must_show(terminal, "text", "slee", "remo")
        terminal.press("\x1b[B" * 4)
        self.must_show(terminal, "remo", "matr", "impa")
        terminal.press("\x1b[4~")
        self.must_show(terminal, "matr", "impa", "digi")
        terminal.press("\x1b[1~")
        self.must_show(terminal, "text", "slee", "remo")
        terminal.press("q")
        self.must_end(terminal)

    def test_top_colours(self):
        terminal = self.top(columns=80, rows=12)
        self.must_show(terminal, "text", "slee", "remo", "matr", "impa", "digi")
        terminal.wait_for(lambda t: "compute" in t.lines[6], "the row of matrix-product is whole")
        at = terminal.lines[6].index("compute")
        terminal.wait_for(lambda t: t.screen.buffer[6][at].fg in ("brown", "yellow"), "its verdict has a colour")
        terminal.press("q")
        self.must_end(terminal)
        for options in ({"env": {"NO_COLOR": "1"}}, {"term": "vt100"}):
            plain = self.top(columns=80, rows=12, **options)
            plain.wait_for(lambda t: "compute" in t.lines[6], "the row of matrix-product is whole")
            self.assertEqual(plain.screen.buffer[6][at].fg, "default")
            plain.press("q")
            self.assertEqual(plain.end(), 0)

    def test_top_when_the_daemon_goes_and_comes(self):
        terminal = self.top(columns=120, rows=12)
        self.must_show(terminal, "text", "slee", "remo", "matr", "impa", "digi")
        self.stop()
        terminal.wait_for(lambda t: re.match(r"no daemon since \d\d:\d\d:\d\d \(\d+ s\): .*there is no daemon", t.lines[1]),
                          "it is told")
        self.assertEqual(self.names(terminal), ["text", "slee", "remo", "matr", "impa", "digi"])  # the last that was known
        self.status["uptime_seconds"], self.status["records"]["accepted"] = 0, 0  # another daemon
        self.round = 0
        self.serve()
        terminal.wait_for(lambda t: t.lines[1] == "6 models by rate", "it is back")
        terminal.press("q")
        self.must_end(terminal)

    def test_top_when_the_daemon_hangs(self):
        """The keys work while an answer is awaited."""
        release = threading.Event()
        self.addCleanup(release.set)
        terminal = self.top("--timeout", "3600", columns=80, rows=12)
        self.must_show(terminal, "text", "slee", "remo", "matr", "impa", "digi")
        self.server.answers = {"*": lambda _: release.wait(WAIT_S) and None}
        terminal.press("n")
        self.must_show(terminal, "digi", "impa", "matr", "remo", "slee", "text")
        terminal.press("q")
        self.must_end(terminal)

    def test_top_ends_by_signals(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            terminal = self.top(columns=80, rows=12)
            self.must_show(terminal, "text", "slee", "remo", "matr", "impa", "digi")
            terminal.process.send_signal(number)
            self.must_end(terminal)

    def test_top_without_a_terminal_proposes_once(self):
        self.assertIn("dwell top --once", self.must(64, "top", "--dir", self.place))
        # ncurses keeps what it has begun with.
        terminal = self.open("top", term="no-such-terminal", env={"ASAN_OPTIONS": "detect_leaks=0"})
        self.assertEqual(terminal.end(), 69)
        self.assertIn("dwell top --once", terminal.text)
        self.assertIn("--json goes with --once", self.must(64, "top", "--json", "--dir", self.place))

    def test_top_once_is_one_screen_of_a_terminal(self):
        terminal = self.open("top", "--once", columns=80, rows=8)
        self.assertEqual(terminal.end(), 0)
        self.assertEqual(terminal.lines[6], "… and 3 more: --filter, or into a pipe")
        self.assertEqual(terminal.lines[7], "")

    def test_report_at_20_80_and_200_columns(self):
        for columns in (20, 80, 200):
            with self.subTest(columns=columns):
                terminal = self.open("report", columns=columns, rows=40)
                self.assertEqual(terminal.end(), 0)
                self.must_become(terminal, f"report_{columns}")

    def test_report_without_utf8(self):
        terminal = self.open("report", columns=80, rows=40, env={"LC_ALL": "C"})
        self.assertEqual(terminal.end(), 0)
        self.assertTrue(terminal.raw.isascii())
        self.must_become(terminal, "report_ascii")


REPORT = pathlib.Path(ROOT / "tests/data/render/report.txt").read_text()


class TestLinks(unittest.TestCase):
    def test_daemon_has_nothing_of_the_tool(self):
        if sanitizer():
            self.skipTest("what is linked is another matter with a sanitizer")
        needed = subprocess.run(["objdump", "-p", DWELLD], capture_output=True, text=True, check=True).stdout
        self.assertNotRegex(needed, r"NEEDED +lib(curl|ncurses|tinfo)")


if __name__ == "__main__":
    unittest.main()
