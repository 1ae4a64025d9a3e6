"""Starting and ending: arguments, configuration, exit statuses, the directory and its sockets, signals."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import tempfile
import time
import unittest

import wire
from harness import HASH, ROOT, WAIT_S, Daemon, DaemonCase, Peer, run, until

SOCKETS = ("ingest.sock", "ingest.dgram", "query.sock", "admin.sock")
IS_ROOT = os.geteuid() == 0

USAGE, UNAVAILABLE, CANNOT_CREATE, CONFIGURATION = 64, 69, 73, 78


def sample(name="m", ms=5.0, **more):
    return {"model_name": name, "execution_time_ms": ms, **more}


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


class StartCase(DaemonCase):
    def must_fail(self, status, *arguments, says=(), env=None, **options):
        """Ends at once with that status, and says why in one line for each reason."""
        ended = run(*arguments, env=env, **options)
        self.assertEqual(ended.returncode, status, ended.stderr)
        for pattern in says:
            self.assertRegex(ended.stderr, pattern)
        return ended.stderr

    def must_not_start(self, status, directory, *sets, says=()):
        arguments = ["--set", "http.listen=127.0.0.1:0", "--set", f"ingest.directory={directory}"]
        for setting in sets:
            arguments += ["--set", setting]
        return self.must_fail(status, *arguments, says=says)


class TestDaemonArguments(StartCase):
    def test_daemon_version_and_help(self):
        self.assertRegex(run("--version").stdout, r"^dwelld \d+\.\d+\.\d+\n$")
        shown = run("--help")
        self.assertEqual((shown.returncode, shown.stderr), (0, ""))
        for word in ("--config", "--set", "--check-config", "--print-config", "http.listen", "78"):
            self.assertIn(word, shown.stdout)

    def test_daemon_begins_no_tls(self):
        self.assertEqual(run("--version", env={"GNUTLS_DEBUG_LEVEL": "3"}).stderr, "")  # it would say so

    def test_daemon_help_comes_before_mistakes(self):
        self.assertEqual(run("--bogus", "--help").returncode, 0)

    def test_daemon_wrong_arguments(self):
        for arguments in (["--bogus"], ["file"], ["--set"], ["--set", "x"], ["--config"], ["--config", "a", "--config", "b"],
                          ["--version", "--check-config"], ["--versio"], [""]):
            self.must_fail(USAGE, *arguments, says=[r"usage: dwelld", r"--help"])

    def test_daemon_all_wrong_arguments_at_once(self):
        self.must_fail(USAGE, "--one", "two", says=["--one", "two"])


class TestDaemonConfiguration(StartCase):
    def write(self, text):
        path = self.directory() / "dwelld.json"
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return path

    def test_daemon_configuration_errors_all_at_once(self):
        path = self.write({"http": {"listn": "x"}, "ingest": {"mode": 9, "max_line_bytes": 1}, "log": {"level": "loud"},
                           "profiling": {"max_models": "many"}})
        told = self.must_fail(CONFIGURATION, "--check-config", "--config", path, "--set", "budgets.total_ms=-1", says=[
            r"(?m)^http\.listn: .*http\.listen", r'(?m)^ingest\.mode: expects .*, got 9',
            r"(?m)^ingest\.max_line_bytes: expects .* 256 .*, got 1", r'(?m)^log\.level: expects .*, got "loud"',
            r'(?m)^profiling\.max_models: expects .*, got "many"', r"(?m)^budgets\.total_ms: expects .*, got -1 .*--set"])
        self.assertEqual(len(told.splitlines()), 6)

    def test_daemon_configuration_errors_end_the_start_too(self):
        self.must_fail(CONFIGURATION, "--set", "http.listen=foo", says=[r"http\.listen: expects .*, got \"foo\""])
        self.must_fail(CONFIGURATION, says=["DWELL_HTTP_LISTEN"], env={"DWELL_HTTP_LISTEN": "zzz"})

    def test_daemon_syntax_errors_have_line_and_column(self):
        self.must_fail(CONFIGURATION, "--check-config", "--config", self.write('{\n  "http": {,}\n}'), says=[r"dwelld\.json:2:\d+: "])
        self.must_fail(CONFIGURATION, "--check-config", "--config", self.write(""), says=[r"dwelld\.json"])
        self.must_fail(CONFIGURATION, "--check-config", "--config", self.write("[]"), says=[r"dwelld\.json"])

    def test_daemon_configuration_file_must_be_readable(self):
        directory = self.directory()
        for path in (directory / "missing.json", directory, "/dev/zero"):
            self.must_fail(CONFIGURATION, "--config", path, says=[re.escape(str(path))])

    def test_daemon_declared_families_are_checked_with_the_configuration(self):
        path = self.directory() / "families.json"
        path.write_text('{"families": [{"name": "a b", "type": "gauge", "help": "A."}, {"name": "up_total"}]}')
        chosen = "--set", f"metrics.families_file={path}"
        for action in (["--check-config"], ["--print-config"], []):
            told = self.must_fail(CONFIGURATION, *action, *chosen, says=[
                r"(?m)^families\[0\]\.name: expects .*, got \"a b\" \(.*families\.json\)$",
                r"(?m)^families\[1\]\.type: expects .*, got nothing", r"(?m)^families\[1\]\.help: "])
            self.assertEqual(len(told.splitlines()), 3)
        path.write_text('{"families": [\n  {,}]}')
        self.must_fail(CONFIGURATION, "--check-config", *chosen, says=[r"families\.json:2:\d+: is not JSON"])
        path.write_text(" " * (1 << 20) + "{}")
        self.must_fail(CONFIGURATION, "--check-config", *chosen, says=[r"families\.json: expects at most 1048576 bytes"])
        for path in (self.directory() / "missing.json", self.directory(), "/dev/zero"):
            self.must_fail(CONFIGURATION, "--set", f"metrics.families_file={path}", says=[re.escape(str(path))])

    def test_daemon_declared_families_may_not_have_names_of_its_own(self):
        path = self.directory() / "families.json"
        for name in ("acgs2_model_x", "acgs2_span_duration_seconds"):
            path.write_text(json.dumps({"families": [{"name": name, "type": "gauge", "help": "A."}]}))
            self.must_not_start(CONFIGURATION, self.directory(), f"metrics.families_file={path}",
                                says=[f"the metric family {name} cannot be declared"])

    def test_daemon_shipped_families_are_the_built_in_ones(self):
        path = ROOT / "config" / "families.json"
        self.assertEqual(run("--check-config", "--set", f"metrics.families_file={path}").returncode, 0)

    def test_daemon_shipped_configuration_is_the_built_in_one(self):
        path = ROOT / "config" / "dwelld.json"
        self.assertEqual(run("--check-config", "--config", path).returncode, 0)
        built_in = json.loads(run("--print-config").stdout)
        self.assertEqual(json.loads(path.read_text()), built_in)
        self.assertEqual(json.loads(run("--print-config", "--config", path).stdout), built_in)

    def test_daemon_printed_configuration_can_be_read_again(self):
        sets = ["service.name=größe \"x\"", 'profiling.label_keys=["a","b"]', "ingest.mode=0600", "http.listen=[::1]:0",
                "profiling.latency_gpu_threshold_ms=0.1", "ingest.allowed_uids=[0,4294967294]", "budgets.layers=[]",
                'service.attributes={"a.b":"c\\\\n"}']
        arguments = [word for setting in sets for word in ("--set", setting)]
        printed = run("--print-config", *arguments).stdout
        self.assertEqual(json.loads(printed)["profiling"]["label_keys"], ["a", "b"])
        self.assertEqual(run("--print-config", "--config", self.write(printed)).stdout, printed)

    def test_daemon_configuration_sources_by_strength(self):
        path = self.write({"service": {"version": "file"}})
        env = {"DWELL_SERVICE_VERSION": "environment"}
        for arguments, environment, wanted in (([], {}, "2.0.0"), (["--config", path], {}, "file"),
                                               (["--config", path], env, "environment"),
                                               (["--config", path, "--set", "service.version=set"], env, "set"),
                                               (["--config", path], {"DWELL_SERVICE_VERSION": ""}, "file")):
            printed = json.loads(run("--print-config", *arguments, env=environment).stdout)
            self.assertEqual(printed["service"]["version"], wanted)

    def test_daemon_secrets_are_never_printed(self):
        secret = "s3cr3t"
        for arguments, env in ((["--set", 'otlp.headers={"key":"%s"}' % secret], {}),
                               ([], {"OTEL_EXPORTER_OTLP_HEADERS": f"key={secret}"}),
                               (["--set", "otlp.headers=" + secret], {}), (["--set", 'otlp.headers=["%s"]' % secret], {}),
                               (["--set", 'otlp.headers={"key":["%s"]}' % secret], {})):
            for action in ("--print-config", "--check-config"):
                ended = run(action, *arguments, env=env)
                self.assertNotIn(secret, ended.stdout + ended.stderr)

    def test_daemon_reserved_label_keys(self):
        for key in ("model_name", "le", "q", "quantile", "__x", "a b", "", "0a", "device"):
            self.must_fail(CONFIGURATION, "--check-config", "--set", f'profiling.label_keys=["{key}"]',
                           says=[r"profiling\.label_keys\[0\]: expects"])


class TestDaemonAddress(StartCase):
    def test_daemon_port_zero_is_told(self):
        daemon = self.start()
        self.assertNotEqual(daemon.address[1], 0)
        self.assertEqual(daemon.status()["http_address"], daemon.http_address)
        self.assertEqual(daemon.get("/healthz").json, {"status": "ok"})

    def test_daemon_chosen_port(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.assertEqual(self.start(listen=f"127.0.0.1:{port}").address, ("127.0.0.1", port))

    @unittest.skipUnless(has_ipv6(), "this machine has no IPv6")
    def test_daemon_ipv6(self):
        daemon = self.start(listen="[::1]:0")
        self.assertRegex(daemon.http_address, r"^\[::1\]:\d+$")
        self.assertEqual(daemon.get("/healthz").status, 200)

    def test_daemon_address_in_use(self):
        first = self.start()
        directory = self.directory() / "d"
        self.must_fail(UNAVAILABLE, "--set", f"http.listen={first.http_address}", "--set", f"ingest.directory={directory}",
                       says=["http.listen.*in use"])
        self.assertFalse(directory.exists())

    def test_daemon_status_tells_where_it_is(self):
        daemon = self.start()
        status = daemon.status()
        self.assertEqual(status["sockets"], {"ingest": str(daemon.directory / "ingest.sock"),
                                             "datagram": str(daemon.directory / "ingest.dgram"),
                                             "query": str(daemon.directory / "query.sock"),
                                             "admin": str(daemon.directory / "admin.sock")})
        self.assertEqual(status["version"], run("--version").stdout.split()[1])
        self.assertGreater(status["rss_bytes"], 100000)
        self.assertEqual(status["limits"]["ingest.max_line_bytes"], 65536)


class TestDaemonDirectory(StartCase):
    def test_daemon_directory_is_found_in_order(self):
        base = self.directory()
        env = {"DWELL_DIR": str(base / "dwell"), "RUNTIME_DIRECTORY": f"{base}/runtime:{base}/second",
               "XDG_RUNTIME_DIR": str(base / "xdg")}
        (base / "xdg").mkdir()
        for unset, wanted in ((None, "dwell"), ("DWELL_DIR", "runtime"), ("RUNTIME_DIRECTORY", "xdg/dwell")):
            env.pop(unset, None)
            daemon = self.start(env=env, place=False)
            self.assertEqual(daemon.directory, base / wanted)
            self.assertEqual(daemon.send(sample()), [])
            daemon.stop()
        configured = self.start(env=env, directory=base / "configured")
        self.assertEqual(configured.directory, base / "configured")

    @unittest.skipUnless(IS_ROOT, "only root can be somebody else")
    def test_daemon_directory_without_any_variable(self):
        directory = pathlib.Path("/tmp/dwell-54321")
        shutil.rmtree(directory, ignore_errors=True)
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        daemon = self.start(place=False, user=54321, group=54321, extra_groups=[])
        self.assertEqual(daemon.directory, directory)
        self.assertEqual(daemon.send(sample()), [])

    def test_daemon_directory_and_sockets_have_their_modes(self):
        old = os.umask(0)
        self.addCleanup(os.umask, old)
        for umask in (0, 0o077):
            os.umask(umask)
            daemon = self.start()
            os.umask(0)
            modes = {name: stat.S_IMODE((daemon.directory / name).lstat().st_mode) for name in SOCKETS + ("dwelld.lock",)}
            self.assertEqual(stat.S_IMODE(daemon.directory.stat().st_mode) & ~0o700, 0)
            self.assertEqual(modes, {"ingest.sock": 0o660, "ingest.dgram": 0o660, "query.sock": 0o660, "admin.sock": 0o600,
                                     "dwelld.lock": 0o600})
            daemon.stop()

    def test_daemon_socket_mode_can_be_chosen(self):
        daemon = self.start(sets={"ingest.mode": "0606"})
        modes = [stat.S_IMODE((daemon.directory / name).lstat().st_mode) for name in SOCKETS]
        self.assertEqual(modes, [0o606, 0o606, 0o606, 0o600])

    @unittest.skipUnless(IS_ROOT, "only root can give files away")
    def test_daemon_group_gets_the_sockets_but_not_admin(self):
        daemon = self.start(sets={"ingest.group": "54321"})
        groups = {name: (daemon.directory / name).lstat().st_gid for name in SOCKETS}
        self.assertEqual(groups, {"ingest.sock": 54321, "ingest.dgram": 54321, "query.sock": 54321, "admin.sock": os.getegid()})
        there = daemon.directory.stat()
        self.assertEqual((there.st_gid, stat.S_IMODE(there.st_mode)), (54321, 0o750))
        self.must_not_start(CANNOT_CREATE, self.directory() / "d", "ingest.group=no-such-group", says=["no-such-group"])

    def test_daemon_two_in_one_directory(self):
        first = self.start()
        told = self.must_not_start(UNAVAILABLE, first.directory, says=["another dwelld"])
        self.assertIn(f"process {first.pid}", told)
        self.assertEqual(first.send(sample()), [])
        self.assertEqual(first.get("/healthz", door="query").status, 200)

    def test_daemon_directory_prepared_by_somebody_else(self):
        base = self.directory()
        (base / "target").mkdir(mode=0o700)
        (base / "link").symlink_to(base / "target")
        (base / "file").write_text("mine")
        self.must_not_start(CANNOT_CREATE, base / "link", says=["not a directory"])
        self.must_not_start(CANNOT_CREATE, base / "file", says=["not a directory"])
        self.must_not_start(CANNOT_CREATE, base / "a" / "b", says=["cannot make"])
        for mode in (0o777, 0o770, 0o755, 0o1700, 0o600, 0o500):
            (base / f"{mode:o}").mkdir()
            (base / f"{mode:o}").chmod(mode)
            self.must_not_start(CANNOT_CREATE, base / f"{mode:o}", says=[f"mode 0*{mode:o}", "chmod 0700"])
        self.assertEqual(os.listdir(base / "target"), [])
        self.assertEqual((base / "file").read_text(), "mine")
        for mode in (0o700, 0o710, 0o750):
            (base / f"good-{mode:o}").mkdir()
            (base / f"good-{mode:o}").chmod(mode)
            self.start(directory=base / f"good-{mode:o}").stop()

    @unittest.skipUnless(IS_ROOT, "only root can give a directory away")
    def test_daemon_directory_of_another_owner(self):
        base = self.directory() / "d"
        base.mkdir(mode=0o700)
        os.chown(base, 54321, 54321)
        self.must_not_start(CANNOT_CREATE, base, says=["belongs to user 54321"])
        self.assertEqual(os.listdir(base), [])

    def test_daemon_foreign_files_stay(self):
        for name in SOCKETS:
            base = self.directory() / "d"
            base.mkdir(mode=0o700)
            path = base / name
            path.write_text("precious")
            self.must_not_start(CANNOT_CREATE, base, says=[f"{name}: is in the way"])
            self.assertEqual(path.read_text(), "precious")
            path.unlink()
            path.symlink_to("/nowhere")
            self.must_not_start(CANNOT_CREATE, base, says=[f"{name}: is in the way"])
            self.assertTrue(path.is_symlink())
            path.unlink()
            path.mkdir()
            self.must_not_start(CANNOT_CREATE, base, says=[f"{name}: is in the way"])
            # What the failed starts had made already is gone again.
            self.assertEqual(sorted(os.listdir(base)), sorted(["dwelld.lock", name]))
            path.rmdir()
            self.start(directory=base).stop()

    def test_daemon_lock_that_is_no_file_of_ours(self):
        base = self.directory() / "d"
        base.mkdir(mode=0o700)
        (base / "target").write_text("precious")
        (base / "dwelld.lock").symlink_to(base / "target")
        self.must_not_start(CANNOT_CREATE, base, says=["dwelld.lock"])
        self.assertEqual((base / "target").read_text(), "precious")

    def test_daemon_somebody_else_listens_in_the_directory(self):
        base = self.directory() / "d"
        base.mkdir(mode=0o700)
        for name, kind in (("ingest.sock", socket.SOCK_STREAM), ("ingest.dgram", socket.SOCK_DGRAM)):
            with socket.socket(socket.AF_UNIX, kind) as other:
                other.bind(str(base / name))
                if kind == socket.SOCK_STREAM:
                    other.listen(5)
                self.must_not_start(UNAVAILABLE, base, says=[f"{name}: somebody is listening"])
                self.assertTrue((base / name).is_socket())
            (base / name).unlink()

    def test_daemon_stale_sockets_are_replaced(self):
        directory = self.directory() / "d"
        first = self.start(directory=directory)
        first.send_signal(signal.SIGKILL)
        self.assertEqual(first.wait(), -signal.SIGKILL)
        first.stopped = True
        first.kill()
        self.assertEqual(sorted(os.listdir(directory)), sorted(SOCKETS + ("dwelld.lock",)))
        second = self.start(directory=directory)
        self.assertEqual(second.send(sample()), [])
        second.datagram(json.dumps(sample()))
        until(lambda: second.accepted() == 2, "the datagram counts")
        self.assertEqual(second.reset(), 1)

    def test_daemon_leaves_only_the_lock_behind(self):
        daemon = self.start(directory=self.directory() / "d")
        daemon.stop()
        self.assertEqual(os.listdir(daemon.directory), ["dwelld.lock"])

    def test_daemon_unlinks_only_its_own_sockets(self):
        daemon = self.start(directory=self.directory() / "d")
        path = daemon.directory / "ingest.sock"
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            daemon.stop()
            self.assertEqual(sorted(os.listdir(daemon.directory)), ["dwelld.lock", "ingest.sock"])

    def test_daemon_directory_path_of_the_greatest_length(self):
        base = self.directory()
        longest = base / ("x" * (94 - len(str(base)) - 1))
        daemon = self.start(directory=longest)
        self.assertEqual(daemon.send(sample()), [])
        daemon.datagram(json.dumps(sample()))
        until(lambda: daemon.accepted() == 2, "the datagram counts")
        daemon.stop()
        self.must_not_start(CONFIGURATION, f"{longest}y", says=["ingest.directory"])
        self.must_fail(CANNOT_CREATE, "--set", "http.listen=127.0.0.1:0", env={"DWELL_DIR": f"{longest}{'y' * 20}"},
                       says=["longer than"])


class TestDaemonAccess(StartCase):
    def must_be_refused(self, daemon):
        with daemon.peer() as peer:
            self.assertEqual(peer.line()["reason"], "not_allowed")
            self.assertIsNone(peer.line())
        daemon.datagram(json.dumps(sample()))
        until(lambda: daemon.metrics()["dwelld_datagrams_total"] == 1, "the datagram was read")
        self.assertEqual(daemon.rejected(), {"not_allowed": 1})
        self.assertEqual(daemon.metrics()["dwelld_connections_refused_total"], 1)
        self.assertEqual(daemon.models(), {})

    def test_daemon_refuses_users_that_are_not_listed(self):
        self.must_be_refused(self.start(sets={"ingest.allowed_uids": [os.getuid() + 1]}))

    def test_daemon_refuses_groups_that_are_not_listed(self):
        self.must_be_refused(self.start(sets={"ingest.allowed_gids": [os.getgid() + 1]}))

    def test_daemon_takes_users_and_groups_that_are_listed(self):
        for sets in ({"ingest.allowed_uids": [4294967294, os.getuid()]}, {"ingest.allowed_gids": [os.getgid()]},
                     {"ingest.allowed_uids": [os.getuid() + 1], "ingest.allowed_gids": [os.getgid()]}):
            daemon = self.start(sets=sets)
            self.assertEqual(daemon.send(sample()), [])
            daemon.datagram(json.dumps(sample()))
            until(lambda: daemon.accepted() == 2, "both count")

    @unittest.skipUnless(IS_ROOT, "only root can be somebody else")
    def test_daemon_knows_who_is_behind_a_datagram(self):
        daemon = self.start(sets={"ingest.allowed_uids": [54321]})
        daemon.datagram(json.dumps(sample("root")))
        pid = os.fork()
        if pid == 0:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.connect(str(daemon.directory / "ingest.dgram"))
                os.setresuid(54321, 54321, 54321)
                sender.send(json.dumps(sample("other")).encode())
                os._exit(0)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        until(lambda: daemon.metrics()["dwelld_datagrams_total"] == 2, "both were read")
        self.assertEqual(set(daemon.models()), {"other"})


class TestDaemonEnd(StartCase):
    def test_daemon_ends_in_order_by_either_signal(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            daemon = self.start()
            daemon.send(sample())
            daemon.stop(number)
            self.assertRegex(daemon.log[-1], "stopped$")

    def test_daemon_takes_what_was_sent_before_the_signal(self):
        """All that a client could send before counts: on connections, also ones not yet accepted."""
        daemon = self.start()
        stack = self.enterContext(contextlib.ExitStack())
        old, frames = (stack.enter_context(daemon.peer()) for _ in range(2))
        self.assertEqual(old.flush(), 0)
        frames.send(wire.MAGIC + wire.frame(wire.batch(flush=True)))
        self.assertEqual(wire.read_replies(frames.exactly(6)), [{"flushed": 0}])
        daemon.send_signal(signal.SIGSTOP)
        until(lambda: pathlib.Path(f"/proc/{daemon.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T", "it is stopped")
        old.records(*[sample()] * 1000, {"type": "flush"}).send(json.dumps({"model_name": "unterminated and bad"}))
        frames.send(wire.frame(wire.batch([wire.sample(model_name="m", execution_time_ms=1.0)] * 1000, flush=True)))
        new = [stack.enter_context(daemon.peer()).records(sample(), {"type": "flush"}) for _ in range(100)]
        daemon.send_signal(signal.SIGTERM)
        daemon.send_signal(signal.SIGCONT)
        self.assertEqual(old.line(), {"flushed": 1000})
        self.assertEqual(old.line()["reason"], "missing_key")
        self.assertIsNone(old.line())
        self.assertEqual(wire.read_replies(frames.rest()), [{"flushed": 1000}])
        for peer in new:
            self.assertEqual(peer.lines(), [{"flushed": 1}])
        daemon.stop()

    def test_daemon_does_not_wait_for_silent_peers(self):
        daemon = self.start()
        with daemon.peer() as silent, daemon.peer() as half, contextlib.closing(daemon.raw_http(b"GET /met")):
            silent.records(sample())
            self.assertEqual(silent.flush(), 1)
            half.send("{")
            daemon.stop()
            self.assertEqual(silent.rest(), b"")

    def deaf_peer(self, daemon):
        """One that does not read, with answers waiting for it."""
        peer = daemon.peer()
        self.addCleanup(peer.close)
        peer.send("{}\n" * 50000)
        until(lambda: daemon.rejected().get("missing_key") == 50000, "all was read")
        self.assertGreater(daemon.metrics()["dwelld_lost_replies_total"], 0)
        return peer

    def test_daemon_does_not_wait_long_for_deaf_peers(self):
        daemon = self.start(sets={"shutdown.timeout_ms": 200})
        self.deaf_peer(daemon)
        daemon.stop()
        daemon.wait_log("did not take their last answers")

    def test_daemon_second_signal_ends_it_at_once(self):
        daemon = self.start(sets={"shutdown.timeout_ms": 600000})  # longer than stop waits
        self.deaf_peer(daemon)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait_log("stopping")
        daemon.stop(signal.SIGINT)
        daemon.wait_log("did not take their last answers")

    def test_daemon_signals_without_end_still_end_it_well(self):
        daemon = self.start()
        with contextlib.suppress(ProcessLookupError):
            while daemon.process.poll() is None:
                daemon.send_signal(signal.SIGTERM)
        daemon.stop()

    def test_daemon_ends_under_load(self):
        daemon = self.start()
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(OSError), daemon.peer() as peer:
                while True:
                    peer.records(*[sample()] * 500)
            os._exit(0)
        try:
            until(lambda: daemon.accepted() > 1000, "the load is there")
            daemon.stop()
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def test_daemon_survives_a_log_that_nobody_reads(self):
        """Standard error may be closed; that is no reason to end."""
        daemon = self.start()
        reader, writer = os.pipe()
        os.close(reader)
        other = self.directory() / "d"
        pid = os.posix_spawn(daemon.process.args[0], [daemon.process.args[0], "--set", "http.listen=127.0.0.1:0", "--set",
                                                      f"ingest.directory={other}"], os.environ,
                             file_actions=[(os.POSIX_SPAWN_DUP2, writer, 2)])
        os.close(writer)
        try:
            until(lambda: (other / "admin.sock").exists(), "it has started")
            with Peer(other / "ingest.sock") as peer:
                peer.send("{}\n")
                self.assertEqual(peer.line()["reason"], "missing_key")
        finally:
            os.kill(pid, signal.SIGTERM)
            self.assertEqual(os.waitpid(pid, 0)[1], 0)


if __name__ == "__main__":
    unittest.main()
