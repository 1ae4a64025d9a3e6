"""Real inferences: ONNX Runtime runs a small network, and every run is sent as a sample."""
import json
import math
import os
import pathlib
import statistics
import time
import unittest

from harness import DaemonCase, until
from peer import need

RUNS = 200
WIDTH = 256
LAYERS = 6
ERROR = 0.0028


class TestOnnxRuntime(DaemonCase):
    def setUp(self):
        self.numpy = need("numpy")
        self.onnx = need("onnx")
        self.runtime = need("onnxruntime")

    def network(self):
        """A stack of matrix products with a nonlinearity after each."""
        helper, tensor = self.onnx.helper, self.onnx.TensorProto
        draw = self.numpy.random.default_rng(1)
        nodes, weights, last = [], [], "input"
        for layer in range(LAYERS):
            weight = draw.standard_normal((WIDTH, WIDTH), dtype=self.numpy.float32) / math.sqrt(WIDTH)
            weights.append(self.onnx.numpy_helper.from_array(weight, f"weight{layer}"))
            nodes.append(helper.make_node("MatMul", [last, f"weight{layer}"], [f"product{layer}"]))
            nodes.append(helper.make_node("Relu", [f"product{layer}"], [f"layer{layer}"]))
            last = f"layer{layer}"
        graph = helper.make_graph(nodes, "stack", [helper.make_tensor_value_info("input", tensor.FLOAT, ["batch", WIDTH])],
                                  [helper.make_tensor_value_info(last, tensor.FLOAT, ["batch", WIDTH])], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        self.onnx.checker.check_model(model)
        return model.SerializeToString()

    def session(self):
        options = self.runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(self.directory() / "profile")
        return self.runtime.InferenceSession(self.network(), options, providers=["CPUExecutionProvider"])

    def test_onnxruntime_inferences_as_samples(self):
        daemon = self.start()
        session = self.session()
        draw = self.numpy.random.default_rng(2)
        records = []
        with daemon.peer() as peer:
            peer.records({"type": "hello", "service_name": "onnx", "pid": os.getpid(), "client": "test/1"})
            for run in range(RUNS):
                batch = 32
                inputs = draw.standard_normal((batch, WIDTH), dtype=self.numpy.float32)
                wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
                output, = session.run(None, {"input": inputs})
                cpu, wall = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
                self.assertEqual(output.shape, (batch, WIDTH))
                record = {"model_name": "onnx/stack", "execution_time_ms": wall / 1e6, "cpu_percent_during": 100 * cpu / wall,
                          "batch_size": batch, "user_ms": min(cpu, wall) / 1e6, "system_ms": 0}
                peer.records(record)
                records.append(record)
            self.assertEqual(peer.flush(), RUNS)

        model = daemon.models()["onnx/stack"]
        times = [record["execution_time_ms"] for record in records]
        self.assertEqual(model["sample_count"], RUNS)
        for key, q in (("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99)):
            exact = self.numpy.quantile(times, q, method="inverted_cdf")
            self.assertLessEqual(abs(model["latency"][key] - exact), ERROR * exact, key)
        self.assertAlmostEqual(model["cpu"]["avg_percent"], self.numpy.mean([record["cpu_percent_during"] for record in records]))
        self.must_be_computing(daemon, sum(record["user_ms"] for record in records) / sum(times))
        self.assertEqual(daemon.metrics().get("acgs2_model_batch_size_sum", model_name="onnx/stack"), 32 * RUNS)
        self.must_agree_with_the_profile(session, times)

    def must_be_computing(self, daemon, cpu_share):
        """What has the CPU all the time computes, or nothing tells that it does not wait for memory."""
        def judged():
            analysis = daemon.models()["onnx/stack"]["analysis"]
            return analysis if analysis["rule"] != "insufficient" else None
        analysis = until(judged, "it is judged by its evidence")
        if cpu_share > 0.9:
            self.assertIn((analysis["bottleneck_type"], analysis["rule"]),
                          {("compute_bound", "evidence"), ("unknown", "cpu"), ("unknown", "starved")}, analysis)

    def must_agree_with_the_profile(self, session, times):
        """The runtime's own account of the same runs: inside of ours, and most of it."""
        events = json.loads(pathlib.Path(session.end_profiling()).read_text())
        own = [event["dur"] / 1000 for event in events if event["name"] == "model_run"]
        self.assertEqual(len(own), RUNS)
        self.assertLessEqual(sum(own), sum(times) * 1.001)
        self.assertGreater(statistics.median(own), statistics.median(times) * 0.3)  # whatever stood still between them


if __name__ == "__main__":
    unittest.main()
