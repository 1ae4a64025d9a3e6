"""SIGHUP: what a new configuration changes is seen from outside, option by option; what cannot change is named; a bad
one changes nothing. No connection is cut by it and no record is lost."""
import contextlib
import json
import os
import re
import signal
import socket
import stat
import threading
import unittest

import wire
from harness import HASH, DaemonCase, sanitized, until

IS_ROOT = os.geteuid() == 0
STRANGER = 54321  # a user and a group that nobody has


def sample(name="m", ms=5.0, **more):
    return {"model_name": name, "execution_time_ms": ms, **more}


def padded(length):
    """A sample as a line of so many bytes, without its newline."""
    start, end = '{"model_name":"m","execution_time_ms":1,"x":"', '"}'
    return start + "x" * (length - len(start) - len(end)) + end


def padded_batch(length):
    """A batch of that many bytes that holds one sample; the rest is an unknown field."""
    content = wire.batch([wire.sample(model_name="m", execution_time_ms=1.0)])
    rest = length - len(content)
    sizes = [size for size in range(1, 5) if len(wire.varint(rest - size - 2)) == size]
    return content + wire.field_bytes(100, b"x" * (rest - sizes[0] - 2))


class ReloadCase(DaemonCase):
    def setUp(self):
        self.path = self.directory() / "dwelld.json"
        self.write({})

    def write(self, configuration):
        self.path.write_text(configuration if isinstance(configuration, str) else json.dumps(configuration))

    def begin(self, configuration, **options):
        """A daemon with that configuration, and a client that will be there all the time."""
        self.write(configuration)
        daemon = self.start("--config", self.path, **options)
        self.bystander = daemon.peer()
        self.addCleanup(self.bystander.close)
        self.bystander.records({"type": "hello", "service_name": "bystander", "constitutional_hash": HASH})
        self.sent = 0
        self.stay(daemon)
        return daemon

    def stay(self, daemon):
        """The client's connection is the one it was, and each of its records counts once."""
        self.bystander.records({"type": "counter", "name": "stays", "value": 1})
        self.sent += 1
        self.assertEqual(self.bystander.flush(), self.sent)
        self.assertEqual(daemon.metrics()["stays_total"], self.sent)

    def reload(self, daemon, configuration, outcome="applied"):
        """What the daemon says of it, line by line."""
        self.write(configuration)
        before = daemon.status()["reloads"]
        daemon.send_signal(signal.SIGHUP)

        def ended():
            reloads = daemon.status()["reloads"]
            return reloads if sum(count(reloads)) > sum(count(before)) else None

        def count(reloads):
            return [reloads[word] for word in ("applied", "needs_restart", "refused")]

        reloads = until(ended, "it was reloaded")
        self.assertEqual(reloads["last"]["outcome"], outcome, reloads)
        self.assertEqual(reloads[outcome], before[outcome] + 1)
        self.assertEqual(daemon.metrics().get("dwelld_reloads_total", outcome=outcome), reloads[outcome])
        return reloads["last"]["messages"]

    def must_reload(self, daemon, configuration):
        """All of it is in force, and nobody was disturbed."""
        self.assertEqual(self.reload(daemon, configuration), [])
        self.stay(daemon)


class TestReload(ReloadCase):
    def test_reload_tells_when_and_what_came_of_it(self):
        daemon = self.begin({})
        self.assertEqual(daemon.status()["reloads"], {"applied": 0, "needs_restart": 0, "refused": 0, "last": None})
        self.assertEqual(daemon.metrics().series("dwelld_last_reload_timestamp_seconds"), [])
        self.must_reload(daemon, {"log": {"level": "debug"}, "shutdown": {"timeout_ms": 9000}})
        daemon.wait_log(r"configuration reloaded; changed: log\.level, shutdown\.timeout_ms$")
        when = daemon.status()["reloads"]["last"]["unix_seconds"]
        self.assertAlmostEqual(when, self.path.stat().st_mtime, delta=60)
        self.assertEqual(daemon.metrics()["dwelld_last_reload_timestamp_seconds"], when)
        self.must_reload(daemon, {"log": {"level": "debug"}, "shutdown": {"timeout_ms": 9000}})
        daemon.wait_log(r"configuration reloaded; changed: nothing$")

    def test_reload_is_refused_whole(self):
        daemon = self.begin({"profiling": {"latency_gpu_threshold_ms": 0}})
        daemon.send(sample(cpu_percent_during=40))
        better = {"cpu_compute_threshold_percent": 30, "latency_gpu_threshold_ms": 0}
        for broken, says in (({"profiling": better, "log": {"level": "loud"}, "ingest": {"mode": 9}}, [r"log\.level: expects", r"ingest\.mode: expects"]),
                             ({"profiling": better, "ingest": {"group": "no such group"}}, ["no group"]),
                             ({"profiling": {**better, "cpu_io_threshold_percent": 31}}, ["cpu_io_threshold_percent: expects at most"]),
                             ({"profiling": better, "metrics": {"families_file": "/nowhere"}}, ["/nowhere: No such file"]),
                             ("{", ["dwelld.json:1:"]), ("[]", ["dwelld.json"])):
            with self.subTest(broken=broken):
                seen = len(daemon.log)
                messages = self.reload(daemon, broken, "refused")
                self.assertEqual(len(messages), len(says), messages)
                for pattern in says:
                    self.assertTrue(any(re.search(pattern, message) for message in messages), messages)
                    daemon.wait_log(f"error .*{pattern}", after=seen)
                daemon.wait_log("refused as a whole, the old one stays in force$", after=seen)
                self.assertEqual(daemon.models()["m"]["analysis"]["bottleneck_type"], "unknown")
                self.stay(daemon)
        self.path.unlink()
        daemon.send_signal(signal.SIGHUP)
        until(lambda: daemon.status()["reloads"]["refused"] == 7, "that it is missing was noticed")
        self.must_reload(daemon, {"profiling": better})
        self.assertEqual(daemon.models()["m"]["analysis"]["bottleneck_type"], "compute_bound")

    def test_reload_names_what_needs_a_restart_each_time(self):
        daemon = self.begin({"log": {"level": "info"}})
        address = daemon.http_address
        changed = {"http": {"listen": "127.0.0.1:1"}, "service": {"name": "other"}, "log": {"level": "debug"},
                   "otlp": {"headers": {"key": "s3cr3t"}}}
        for _ in range(2):
            messages = self.reload(daemon, changed, "needs_restart")
            self.assertEqual(messages, [
                'service.name: needs a restart, as the service is known by it to whoever got data already (still "acgs2-agent-bus")',
                'otlp.headers: needs a restart, as the exporters run with it'])
        # http.listen is told on the command line, which is stronger than the file.
        daemon.wait_log("changed: log.level")
        self.assertEqual(daemon.status()["http_address"], address)
        self.stay(daemon)
        self.must_reload(daemon, {})
        self.assertFalse([line for line in daemon.log if "s3cr3t" in line])

    def test_reload_many_at_once_are_few(self):
        daemon = self.begin({})
        for _ in range(200):
            daemon.send_signal(signal.SIGHUP)
        self.write({"profiling": {"max_models": 7}})
        daemon.send_signal(signal.SIGHUP)
        until(lambda: any("changed: profiling.max_models" in line for line in daemon.log), "the last one counts")
        self.assertLess(daemon.status()["reloads"]["applied"], 202)
        self.stay(daemon)

    def test_reload_while_it_stops_changes_nothing(self):
        daemon = self.begin({})
        for _ in range(20):
            daemon.send_signal(signal.SIGHUP)
        daemon.send_signal(signal.SIGTERM)
        for _ in range(20):
            with contextlib.suppress(ProcessLookupError):
                daemon.send_signal(signal.SIGHUP)
        daemon.stop()

    def test_reload_takes_no_memory_and_no_descriptors(self):
        names = [f"name-{i}" for i in range(64)]
        daemon = self.begin({})
        self.reload(daemon, {"ingest": {"statsd_samples": names}})
        self.reload(daemon, {})
        descriptors, resident = daemon.steady_descriptors(), daemon.resident_kb()
        for _ in range(50):
            self.reload(daemon, {"ingest": {"statsd_samples": names}})
            self.reload(daemon, {})
        until(lambda: daemon.descriptors() <= descriptors, "there are no more of them")
        if not sanitized():
            self.assertLess(daemon.resident_kb() - resident, 1024)


def send_stream(path, number, stop, progress, ret_sent):
    """Numbered records without a pause until told to stop; how many it are, and were then."""
    client_id = bytes([number]) * 16
    records = wire.batch([wire.sample(model_ref=1, execution_time_ms=2.0)] * 100, strings=[f"model-{number}"])
    sequence = 0
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(wire.MAGIC + wire.frame(wire.batch(hello_message=wire.hello(client=f"test-{number}/1"),
                                                         client_id=client_id, first_sequence=0)))
        while not stop.is_set():
            sock.sendall(wire.frame(wire.batch(client_id=client_id, first_sequence=sequence) + records))
            sequence += 100
            progress[number] = sequence
        sock.sendall(wire.frame(wire.batch(client_id=client_id, first_sequence=sequence, goodbye=sequence)))
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b"", "the daemon had something to complain about"
    ret_sent[number] = sequence


class TestReloadUnderLoad(ReloadCase):
    RELOADS = 60

    def test_reload_loses_no_record(self):
        """Four clients send all the time while ceilings go up and down, and sometimes the file is broken."""
        daemon = self.begin({})
        stop, progress, sent = threading.Event(), dict.fromkeys(range(1, 5), 0), {}
        senders = [threading.Thread(target=send_stream, args=(str(daemon.ingest), number, stop, progress, sent)) for number in progress]
        for sender in senders:
            sender.start()
        small = {"ingest": {"max_frame_bytes": 65536, "max_line_bytes": 256, "max_connections": 1, "mode": "0600", "idle_timeout_ms": 60000},
                 "profiling": {"max_models": 1, "classifier": "thresholds"}, "metrics": {"max_series": 1, "max_series_per_family": 1}}
        turn = 0
        while all(sender.is_alive() for sender in senders) and (
                turn < self.RELOADS or min(progress.values()) <= 100 * self.RELOADS):
            self.reload(daemon, *((small,), ({},), ("{", "refused"))[turn % 3])
            turn += 1
        stop.set()
        for sender in senders:
            sender.join()
        self.stay(daemon)
        self.assertEqual(len(sent), 4)
        ledger = daemon.status()["ledger"]
        ledger["rejected"] = sum(ledger["rejected"].values())
        self.assertEqual(ledger, {"sent": sum(sent.values()), "accepted": sum(sent.values()), "rejected": 0, "dropped": 0, "lost": 0,
                                  "unledgered": self.sent})
        self.assertEqual(daemon.metrics()["dwelld_connections_refused_total"], 0)


class TestReloadIngest(ReloadCase):
    def test_reload_enforce_hash(self):
        daemon = self.begin({})
        with daemon.peer() as peer:
            peer.records(sample())
            self.assertEqual(peer.flush(), 1)
            self.must_reload(daemon, {"service": {"enforce_hash": True}})
            self.assertEqual(peer.records(sample()).line()["reason"], "no_hello")
            self.must_reload(daemon, {})
            peer.records(sample())
            self.assertEqual(peer.flush(), 2)

    def test_reload_who_may_send(self):
        for key, mine in (("allowed_uids", os.getuid()), ("allowed_gids", os.getgid())):
            with self.subTest(key):
                self.write({"ingest": {key: [mine]}})
                daemon = self.start("--config", self.path)
                peer = daemon.peer().records(sample())
                self.assertEqual(peer.flush(), 1)
                self.reload(daemon, {"ingest": {key: [STRANGER]}})
                self.assertEqual(peer.line()["reason"], "not_allowed")
                self.assertIsNone(peer.line())
                peer.close()
                with daemon.peer() as late:
                    self.assertEqual(late.line()["reason"], "not_allowed")
                daemon.datagram(json.dumps(sample()))
                until(lambda daemon=daemon: daemon.rejected() == {"not_allowed": 2}, "the datagram was refused, too")
                self.reload(daemon, {"ingest": {key: [STRANGER, mine]}})
                self.assertEqual(daemon.send(sample()), [])
                self.assertEqual(daemon.accepted(), 2)

    def test_reload_line_ceiling(self):
        daemon = self.begin({})
        with daemon.peer() as peer:
            before = daemon.metrics()["dwelld_received_bytes_total"]
            peer.send(padded(1000)[:300])  # a line that has begun may end under its old ceiling
            until(lambda: daemon.metrics()["dwelld_received_bytes_total"] == before + 300, "it has begun")
            self.must_reload(daemon, {"ingest": {"max_line_bytes": 256}})
            peer.send(padded(1000)[300:] + "\n" + padded(256) + "\n")
            self.assertEqual(peer.flush(), 2)
            peer.send(padded(257) + "\n")
            self.assertEqual(peer.line()["reason"], "too_long")
            self.must_reload(daemon, {"ingest": {"max_line_bytes": 100000}})
            peer.send(padded(100000) + "\n")
            self.assertEqual(peer.flush(), 3)
            peer.send(padded(100001) + "\n")
            self.assertEqual(peer.line()["reason"], "too_long")

    def test_reload_statsd_lines(self):
        daemon = self.begin({})
        with daemon.peer() as peer:
            peer.send(f"{'a' * 200}:1|c\n{'b' * 300}")
            until(lambda: daemon.metrics().series(f"{'a' * 200}_total"), "the first counts")
            self.must_reload(daemon, {"ingest": {"max_line_bytes": 256}})
            peer.send(f"{'b' * 20}:1|c\nc:1|c|#{'c' * 250}\n{'d' * 10}:1|c\n").end()
            self.assertEqual(peer.rest(), b"")
        self.assertEqual(daemon.rejected().get("too_long"), 1)
        self.assertEqual(daemon.metrics()[f"{'d' * 10}_total"], 1)

    def test_reload_frame_ceiling(self):
        daemon = self.begin({})
        begun = wire.frame(padded_batch(50000))
        said = wire.MAGIC + wire.frame(padded_batch(2000)) + begun[:20000]
        before = daemon.metrics()["dwelld_received_bytes_total"]
        with daemon.peer() as peer:
            peer.send(said)
            until(lambda: daemon.metrics()["dwelld_received_bytes_total"] == before + len(said), "the second has begun")
            self.assertEqual(daemon.sample_count("m"), 1, "the first frame counts")
            self.must_reload(daemon, {"ingest": {"max_frame_bytes": 1024}})
            peer.send(begun[20000:] + wire.frame(padded_batch(1024)))
            until(lambda: daemon.sample_count("m") == 3, "what had begun, and what fits")
            with contextlib.suppress(BrokenPipeError):
                peer.send(wire.frame(padded_batch(1025)))
            self.assertEqual([reply["reason"] for reply in wire.read_replies(peer.rest())], ["too_long"])
        daemon.datagram(wire.MAGIC + padded_batch(1025))
        until(lambda: daemon.rejected().get("too_long") == 2, "the datagram is too long, too")
        self.must_reload(daemon, {"ingest": {"max_frame_bytes": 3000000}})
        with daemon.peer() as peer:
            self.assertEqual(peer.send(wire.MAGIC + wire.frame(padded_batch(3000000))).end().rest(), b"")
        daemon.datagram(wire.MAGIC + padded_batch(100000))
        until(lambda: daemon.sample_count("m") == 5, "all that fits")

    def test_reload_connections(self):
        daemon = self.begin({"ingest": {"max_connections": 3}})
        first, second = daemon.peer().records(sample()), daemon.peer().records(sample())
        self.addCleanup(first.close)
        self.assertEqual((first.flush(), second.flush()), (1, 1))
        self.must_reload(daemon, {"ingest": {"max_connections": 2}})
        second.records(sample())
        self.assertEqual(second.flush(), 2)  # what is there stays
        with daemon.peer() as third:
            self.assertEqual(third.line()["reason"], "limit_reached")
        second.close()
        until(lambda: daemon.metrics()["dwelld_connections"] == 2, "one is gone")
        with daemon.peer() as third:
            self.assertEqual(third.line()["reason"], "limit_reached")
        self.must_reload(daemon, {"ingest": {"max_connections": 3}})
        with daemon.peer() as third:
            self.assertEqual(third.records(sample()).flush(), 1)

    def test_reload_idle_timeout(self):
        daemon = self.begin({})
        silent = daemon.peer().records(sample())
        self.addCleanup(silent.close)
        self.assertEqual(silent.flush(), 1)
        self.reload(daemon, {"ingest": {"idle_timeout_ms": 50}})
        self.assertIsNone(silent.line())
        self.assertIsNone(self.bystander.line())
        self.assertEqual(self.reload(daemon, {}), [])
        late = daemon.peer().records(sample())
        self.addCleanup(late.close)
        self.assertEqual(late.flush(), 1)
        self.assertEqual(daemon.metrics()["dwelld_connections"], 1)

    def test_reload_statsd_samples(self):
        daemon = self.begin({"ingest": {"statsd_samples": ["inference"]}})
        with daemon.peer() as peer:
            peer.send("guess:5|ms|#model:a\n")
            until(lambda: daemon.metrics().series("guess_seconds_count"), "it is a metric")
            self.must_reload(daemon, {"ingest": {"statsd_samples": ["guess"]}})
            peer.send("guess:5|ms|#model:b\ninference:5|ms|#model:c\n")
            until(lambda: daemon.metrics().series("inference_seconds_count"), "that is a metric now")
            daemon.datagram("guess:5|ms|#model:b\n")
            until(lambda: daemon.sample_count("b") == 2, "and this is a sample")
            self.assertEqual(set(daemon.models()), {"b"})

    def test_reload_mode(self):
        daemon = self.begin({})

        def modes():
            return {name: stat.S_IMODE((daemon.directory / name).stat().st_mode)
                    for name in ("ingest.sock", "ingest.dgram", "query.sock", "admin.sock")}
        self.assertEqual(modes(), {"ingest.sock": 0o660, "ingest.dgram": 0o660, "query.sock": 0o660, "admin.sock": 0o600})
        self.must_reload(daemon, {"ingest": {"mode": "0622"}})
        self.assertEqual(modes(), {"ingest.sock": 0o622, "ingest.dgram": 0o622, "query.sock": 0o622, "admin.sock": 0o600})
        # A file that somebody put in the place of a socket is not ours to open up.
        (daemon.directory / "query.sock").rename(daemon.base / "query.sock")
        (daemon.directory / "query.sock").touch(0o400)
        self.must_reload(daemon, {"ingest": {"mode": "0666"}})
        self.assertEqual(modes(), {"ingest.sock": 0o666, "ingest.dgram": 0o666, "query.sock": 0o400, "admin.sock": 0o600})

    @unittest.skipUnless(IS_ROOT, "only root can give to any group")
    def test_reload_group(self):
        daemon = self.begin({}, extra_groups=[STRANGER])  # without capabilities it can give to its own groups

        def groups():
            return [(daemon.directory / name).stat().st_gid for name in ("", "ingest.sock", "ingest.dgram", "query.sock", "admin.sock")]
        mine = os.getegid()
        self.assertEqual(groups(), [mine] * 5)
        self.must_reload(daemon, {"ingest": {"group": str(STRANGER)}})
        self.assertEqual(groups(), [STRANGER] * 4 + [mine])
        self.assertEqual(stat.S_IMODE(daemon.directory.stat().st_mode), 0o750)
        self.must_reload(daemon, {})
        self.assertEqual(groups(), [mine] * 5)
        self.assertEqual(stat.S_IMODE(daemon.directory.stat().st_mode), 0o700)

    @unittest.skipUnless(IS_ROOT, "only root can become somebody who may give nothing away")
    def test_reload_group_that_is_not_ours_to_give(self):
        base = self.directory()
        os.chmod(base, 0o777)
        self.write({})
        os.chmod(self.path, 0o644)
        os.chmod(self.path.parent, 0o755)
        daemon = self.start("--config", self.path, directory=base / "d", user=STRANGER, group=STRANGER, extra_groups=[])
        messages = self.reload(daemon, {"ingest": {"group": "0", "mode": "0666"}, "profiling": {"max_models": 1}}, "refused")
        self.assertRegex(messages[0], "cannot be given to group 0: Operation not permitted$")
        for name in ("ingest.sock", "ingest.dgram", "query.sock"):
            state = (daemon.directory / name).stat()
            self.assertEqual((stat.S_IMODE(state.st_mode), state.st_gid), (0o660, STRANGER))
        self.assertEqual(stat.S_IMODE(daemon.directory.stat().st_mode), 0o700)
        daemon.send(sample("a"), sample("b"))
        self.assertEqual(set(daemon.models()), {"a", "b"})


class TestReloadModels(ReloadCase):
    def test_reload_thresholds_and_log(self):
        daemon = self.begin({})
        daemon.send(sample(cpu_percent_during=40))

        def bottleneck():
            return daemon.models()["m"]["analysis"]["bottleneck_type"]
        self.assertEqual(bottleneck(), "unknown")
        self.must_reload(daemon, {"profiling": {"cpu_compute_threshold_percent": 30}})
        self.assertEqual(bottleneck(), "compute_bound")
        self.assertEqual(daemon.metrics().get("acgs2_model_bottleneck", model_name="m", bottleneck="compute_bound"), 1)
        self.must_reload(daemon, {"profiling": {"latency_gpu_threshold_ms": 9}, "log": {"format": "json"}})
        self.assertEqual(bottleneck(), "io_bound")
        last = json.loads(daemon.wait_log(r"^\{.*configuration reloaded.*").group())
        self.assertEqual((last["constitutional_hash"], last["level"]), (HASH, "info"))
        self.must_reload(daemon, {"log": {"level": "error"}})
        self.assertEqual(bottleneck(), "unknown")
        lines = len(daemon.log)
        daemon.send_raw("{}\n")
        daemon.stop()
        self.assertEqual(len(daemon.log), lines)

    def test_reload_models(self):
        daemon = self.begin({"profiling": {"max_models": 1}})
        daemon.send(sample("a"), sample("b"))
        self.assertEqual(set(daemon.models()), {"a", "(overflow)"})
        self.must_reload(daemon, {"profiling": {"max_models": 500}})
        daemon.send(*(sample(f"c{i}") for i in range(499)), sample("a"), sample("d"))
        self.assertEqual(len(daemon.models()), 501)
        self.assertEqual((daemon.sample_count("a"), daemon.sample_count("(overflow)")), (2, 2))
        self.must_reload(daemon, {"profiling": {"max_models": 1}})
        daemon.send(sample("c498"), sample("e"))
        self.assertEqual((daemon.sample_count("c498"), daemon.sample_count("(overflow)")), (2, 3))

    def test_reload_classifier(self):
        busy = {"model_name": "busy", "execution_time_ms": 10, "user_ms": 9.75, "system_ms": 0, "runqueue_ms": 0}
        daemon = self.begin({"profiling": {"classifier": "thresholds", "round_ms": 250, "probe": "off"}})

        def rule():
            return daemon.models()["busy"]["analysis"]["rule"]
        daemon.send(*[busy] * 40)
        self.assertEqual(rule(), "no_cpu")
        self.must_reload(daemon, {"profiling": {"round_ms": 250, "probe": "off"}})

        def judged():
            daemon.send(*[busy] * 40)
            return rule() == "cpu"
        until(judged, "evidence decides")
        self.must_reload(daemon, {"profiling": {"classifier": "thresholds", "round_ms": 250, "probe": "off"}})
        self.assertEqual(rule(), "no_cpu")

    def test_reload_series(self):
        daemon = self.begin({})

        def count(name):
            return {"type": "counter", "name": "jobs", "value": 1, "attributes": {"name": name}}

        def names():
            return {labels.get("name") for labels, _ in daemon.metrics().series("jobs_total")}
        declared = int(daemon.metrics()["dwelld_metric_series"])
        self.must_reload(daemon, {"metrics": {"max_series": declared + 1, "max_series_per_family": 2}})
        daemon.send(count("a"), count("b"))
        self.assertEqual(len(names()), 2)
        self.assertNotIn("b", names())
        self.must_reload(daemon, {"metrics": {"max_series": declared + 3, "max_series_per_family": 2}})
        daemon.send(count("b"), count("c"))
        self.assertEqual({"a", "b"} & names(), {"a", "b"})
        self.assertNotIn("c", names())
        self.must_reload(daemon, {"metrics": {"max_series": declared + 3, "max_series_per_family": 3}})
        daemon.send(count("c"))
        self.assertIn("c", names())
        self.must_reload(daemon, {"metrics": {"max_series": 1, "max_series_per_family": 1}})
        daemon.send(count("c"), count("d"))
        self.assertEqual({"a", "b", "c", "d"} & names(), {"a", "b", "c"})
        self.assertEqual(daemon.metrics().get("jobs_total", name="c"), 2)

    def test_reload_label_bytes(self):
        daemon = self.begin({})
        long = {"type": "counter", "name": "jobs", "value": 1, "attributes": {"name": "x" * 100}}
        daemon.send(long)
        self.must_reload(daemon, {"metrics": {"max_label_bytes": 16}})
        daemon.send({**long, "attributes": {"name": "y" * 16}}, {**long, "attributes": {"name": "y" * 17}})
        self.assertEqual(daemon.metrics().get("jobs_total", name="y" * 16), 1)
        self.assertEqual(daemon.metrics().get("jobs_total", name="x" * 100), 1)
        self.assertEqual(daemon.metrics()["dwelld_overflow_records_total"], 1)

    def test_reload_set_values(self):
        daemon = self.begin({"metrics": {"max_set_values": 1}})
        daemon.send_raw("users:a|s\nusers:b|s\n")
        self.assertEqual(daemon.rejected(), {"limit_reached": 1})
        self.must_reload(daemon, {"metrics": {"max_set_values": 2}})
        daemon.send_raw("users:b|s\nusers:c|s\n")
        self.assertEqual(daemon.rejected(), {"limit_reached": 2})
        self.assertEqual(daemon.metrics()["dwelld_set_values"], 2)

    def test_reload_budgets(self):
        daemon = self.begin({"budgets": {"total_ms": 50, "layers": [{"layer": "a", "budget_ms": 10}, {"layer": "b", "budget_ms": 10}]}})

        def spend(layer, ms):
            return {"type": "budget", "layer": layer, "elapsed_ms": ms}

        def layers():
            return {name: (layer["budget_ms"], layer["count"], layer["exceeded_count"])
                    for name, layer in daemon.get("/api/v1/budgets").json["layers"].items()}
        daemon.send(spend("a", 15), spend("b", 15), spend("c", 15))
        self.assertEqual(layers(), {"a": (10, 1, 1), "b": (10, 1, 1), "c": (None, 1, 0)})
        self.must_reload(daemon, {"budgets": {"total_ms": 40, "objective": 0.5, "layers": [
            {"layer": "a", "budget_share": 0.5}, {"layer": "c", "budget_ms": 10}, {"layer": "d", "budget_ms": 1}]}})
        budgets = daemon.get("/api/v1/budgets").json
        self.assertEqual((budgets["total_budget_ms"], budgets["objective"]), (40, 0.5))
        daemon.send(spend("a", 15), spend("b", 15), spend("c", 15), spend("total", 45))
        self.assertEqual(layers(), {"a": (20, 2, 1), "b": (None, 2, 1), "c": (10, 2, 1), "d": (1, 0, 0)})
        metrics = daemon.metrics()
        self.assertEqual({labels["layer"]: value for labels, value in metrics.series("acgs2_budget_exceeded_total")},
                         {"total": 1, "a": 1, "b": 1, "c": 1, "d": 0})
        self.assertEqual(metrics.get("acgs2_budget_requests_total", layer="c"), 1)
        self.assertEqual(metrics["acgs2_budget_objective_ratio"], 0.5)

    def test_reload_budgets_without_room(self):
        daemon = self.begin({})
        for turn in range(10):
            layers = [{"layer": f"{turn}-{i}", "budget_ms": 1} for i in range(30)]
            self.write({"budgets": {"layers": layers}, "profiling": {"max_models": turn + 1}})
            before = daemon.status()["reloads"]
            daemon.send_signal(signal.SIGHUP)
            after = until(lambda before=before: (lambda now: now if now != before else None)(daemon.status()["reloads"]), "it was read")
            if after["refused"]:
                break
        self.assertRegex(after["last"]["messages"][0], "^budgets.layers: there is no room for more layers")
        self.assertEqual(daemon.status()["limits"]["profiling.max_models"], turn)
        self.stay(daemon)

    def test_reload_families(self):
        file = self.directory() / "families.json"

        def declare(*families):
            file.write_text(json.dumps({"families": [{"help": "Helps.", **family} for family in families]}))
        configuration = {"metrics": {"families_file": str(file)}}
        jobs, size = {"name": "jobs_total", "type": "counter"}, {"name": "size", "type": "gauge"}
        declare(jobs)
        daemon = self.begin(configuration)
        file.write_text(json.dumps(json.loads(file.read_text()), indent=4))
        self.must_reload(daemon, configuration)
        declare(jobs, size)
        self.must_reload(daemon, configuration)
        daemon.wait_log("configuration reloaded; changed: 1 metric families$")
        self.assertEqual(daemon.metrics()["size"], 0)
        daemon.send({"type": "counter", "name": "jobs", "value": 3}, {"type": "gauge", "name": "size", "value": 7},
                    {"type": "counter", "name": "early", "value": 1})
        line = "metrics.families_file: "
        declare({**jobs, "help": "Jobs that ended."})
        self.assertEqual(self.reload(daemon, configuration, "needs_restart"),
                         [f"{line}jobs: needs a restart for other help; it is as it was", f"{line}size: needs a restart to go; it stays"])
        self.assertEqual((daemon.metrics()["size"], daemon.metrics()["jobs_total"]), (7, 3))
        self.assertIn("# HELP jobs_total Helps.", daemon.get("/metrics").text)
        declare(jobs, size, {"name": "early_total", "type": "counter"}, {"name": "late", "type": "gauge"})
        self.assertEqual(self.reload(daemon, configuration, "needs_restart"),
                         [f"{line}early: needs a restart, as metrics of such a name are there already"])
        self.assertEqual(daemon.metrics()["late"], 0)
        for families, says in (((jobs, {**size, "type": "histogram", "buckets": [1]}),
                                f"{line}size: cannot become of another type while it is there"),
                               ((jobs, size, {"name": "acgs2_model_x", "type": "gauge"}, {"name": "never", "type": "gauge"}),
                                f"{line}acgs2_model_x: is a name of the daemon's own")):
            declare(*families)
            self.assertEqual(self.reload(daemon, configuration, "refused"), [says])
            self.assertEqual(daemon.metrics().series("never"), [])
        file.write_text("{")
        self.assertRegex(self.reload(daemon, configuration, "refused")[0], r"families\.json:1:\d+: is not JSON")
        declare(jobs, size, {"name": "late", "type": "gauge"})
        self.must_reload(daemon, configuration)
        self.assertEqual(daemon.metrics()["size"], 7)

    def test_reload_sampling(self):
        """Nobody listens at the endpoint: what is not sampled is counted before it would go there."""
        otlp = {"otlp": {"endpoint": "http://127.0.0.1:1", "metrics": False}, "shutdown": {"timeout_ms": 100}}
        daemon = self.begin(otlp)

        def span(number, **more):
            return {"type": "span", "name": "work", "trace_id": f"{number:032x}", "span_id": f"{number:016x}",
                    "start_time_unix_nano": 1, "end_time_unix_nano": 2, **more}

        def dropped():
            return daemon.status()["export"]["traces"]["dropped"]["not_sampled"]
        daemon.send(span(1))
        self.assertEqual(dropped(), 0)
        self.must_reload(daemon, {"otlp": {**otlp["otlp"], "sample_rate": 0}, **{"shutdown": otlp["shutdown"]}})
        daemon.send(span(2))
        self.assertEqual(dropped(), 1)
        self.must_reload(daemon, {"otlp": {**otlp["otlp"], "sample_rate": 0, "keep_errors": True}, "shutdown": otlp["shutdown"]})
        daemon.send(span(3, status={"code": "error"}), span(4))
        self.assertEqual(dropped(), 1)
        self.assertEqual(daemon.status()["export"]["traces"]["held"], 1)

    def test_reload_time_to_stop(self):
        daemon = self.begin({})
        self.must_reload(daemon, {"shutdown": {"timeout_ms": 1234}})
        daemon.stop()
        daemon.wait_log("stopping, within 1234 ms")


if __name__ == "__main__":
    unittest.main()
