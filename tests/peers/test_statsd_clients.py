"""Client libraries of StatsD and DogStatsD, as services use them: hot-shots (Node), datadog and statsd
(Python). What they sent is what /metrics says."""
import json
import math
import os
import pathlib
import subprocess

from harness import WAIT_S, DaemonCase, until
from peer import need, need_program

HERE = pathlib.Path(__file__).resolve().parent
COUNT = 200


class TestStatsdClients(DaemonCase):
    def must_be(self, daemon, wanted):
        """Datagrams have no answer: the last figure to arrive is waited for."""
        def differences():
            metrics = daemon.metrics()
            got = {key: metrics.get(key[0], **dict(key[1:])) for key in wanted}
            return {key: value for key, value in got.items()
                    if value is None or not math.isclose(value, wanted[key], rel_tol=1e-9)}
        try:
            until(lambda: not differences(), "all has arrived")
        finally:
            self.assertEqual(differences(), {})
        self.assertEqual(daemon.rejected(), {})

    def test_datadog_over_datagrams(self):
        need("datadog")
        from datadog.dogstatsd import DogStatsd
        daemon = self.start()
        client = DogStatsd(socket_path=str(daemon.directory / "ingest.dgram"), constant_tags=["env:test"],
                           disable_telemetry=True, socket_timeout=WAIT_S)  # by itself it drops what does not go at once
        for i in range(COUNT):
            client.increment("py.requests", tags=["code:200"])
            client.gauge("py.depth", i)
            client.timing("py.latency", 250, tags=["path:/v1"])
            client.histogram("py.size", 10)
            client.distribution("py.spread", 2.5)
            client.timing("inference", 5, tags=["model:dd-model"])
            client.set("py.users", f"user:{i % 50}")
            client.set("py.ids", i // 2)
            client.flush()
        client.event("deploy", "it was done")
        client.service_check("alive", 0)
        client.flush()
        self.must_be(daemon, {
            ("py_requests_total", ("code", "200"), ("env", "test")): COUNT,
            ("py_depth", ("env", "test")): COUNT - 1,
            ("py_latency_seconds_count", ("env", "test"), ("path", "/v1")): COUNT,
            ("py_latency_seconds_sum", ("env", "test"), ("path", "/v1")): 0.25 * COUNT,
            ("py_size_count", ("env", "test")): COUNT,
            ("py_spread_sum", ("env", "test")): 2.5 * COUNT,
            ("py_users", ("env", "test")): 50,
            ("py_ids", ("env", "test")): COUNT // 2,
            ("acgs2_model_inference_total", ("model_name", "dd-model")): COUNT,
            ("dwelld_statsd_events_total",): 1,
            ("dwelld_statsd_checks_total",): 1,
        })

    def test_datadog_sampled_stands_for_all(self):
        need("datadog")
        from datadog.dogstatsd import DogStatsd
        daemon = self.start()
        client = DogStatsd(socket_path=str(daemon.directory / "ingest.dgram"), disable_telemetry=True,
                           socket_timeout=WAIT_S)
        for _ in range(20 * COUNT):
            client.increment("py.sampled", sample_rate=0.1)
        client.flush()
        # The library draws lots, and each record that it sends stands for ten.
        until(lambda: daemon.accepted() > COUNT, "as much as is likely was drawn")
        metrics = daemon.metrics()
        self.assertEqual(metrics["py_sampled_total"], 10 * metrics.get("dwelld_records_total", outcome="accepted", reason=""))

    def test_statsd_over_a_stream(self):
        need("statsd")
        from statsd import UnixSocketStatsClient
        daemon = self.start()
        client = UnixSocketStatsClient(socket_path=str(daemon.ingest), prefix="app")
        with client.pipeline() as batch:
            for i in range(COUNT):
                batch.incr("jobs")
                batch.timing("wait", 20)
                batch.set("users", f"user {i % 50}")
        client.gauge("depth", 5)
        client.gauge("depth", 2, delta=True)
        client.gauge("depth", -3, delta=True)
        client.close()
        self.must_be(daemon, {
            ("app_jobs_total",): COUNT,
            ("app_wait_seconds_count",): COUNT,
            ("app_wait_seconds_sum",): 0.02 * COUNT,
            ("app_depth",): 4,
            ("app_users",): 50,
        })

    def test_hot_shots_over_datagrams(self):
        node = need_program("node", "nodejs")
        modules = pathlib.Path(os.environ.get("DWELL_BUILD", "build")).resolve() / "peers-node" / "node_modules"
        if not (modules / "unix-dgram" / "build").is_dir():
            self.skipTest("hot-shots and unix-dgram could not be installed from npm")
        daemon = self.start()
        ran = subprocess.run([node, str(HERE / "hot_shots.js"), str(daemon.directory / "ingest.dgram"), str(COUNT)],
                             env={**os.environ, "NODE_PATH": str(modules)}, capture_output=True, text=True, timeout=3 * WAIT_S)
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        self.assertEqual(json.loads(ran.stdout), [])
        self.must_be(daemon, {
            ("node_requests_total", ("code", "200"), ("env", "test")): COUNT,
            ("node_latency_seconds_count", ("env", "test"), ("path", "/v1")): COUNT,
            ("node_depth", ("env", "test")): COUNT - 1,
            ("node_size_sum", ("env", "test")): sum(range(COUNT)),
            ("node_users", ("env", "test"), ("plan", "free")): 50,
            ("node_ids", ("env", "test")): COUNT // 2,
            ("acgs2_model_inference_total", ("model_name", "node-model")): COUNT,
        })
