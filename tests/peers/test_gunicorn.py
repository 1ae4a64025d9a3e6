"""A gunicorn application with four workers that recycle: totals stay right, gauges end with their worker."""
import concurrent.futures
import http.client
import os
import pathlib
import re
import subprocess
import sys
import threading

from harness import DaemonCase, until
from peer import need

HERE = pathlib.Path(__file__).resolve().parent
WORKERS = 4
CLIENTS = 4
RECYCLES = 50
LABELS = {"method": "GET", "endpoint": "/", "service": "shop"}


class TestGunicorn(DaemonCase):
    def start_gunicorn(self, daemon, recycled):
        environment = {**os.environ, "DWELL_SOCKET": str(daemon.ingest), "RECYCLED": str(recycled)}
        server = subprocess.Popen([sys.executable, "-B", "-m", "gunicorn", "--config", "gunicorn_conf.py"],
                                  cwd=HERE, env=environment, stderr=subprocess.PIPE, text=True)
        self.addCleanup(server.stderr.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.terminate)
        for line in server.stderr:
            if found := re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", line):
                threading.Thread(target=server.stderr.read, daemon=True).start()
                return server, int(found.group(1))
        raise AssertionError("gunicorn did not start")

    def request(self, port):
        """A worker that is about to end may hang up on a connection: no request was answered then."""
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request("GET", "/")
                answer = connection.getresponse()
                self.assertEqual((answer.status, answer.read()), (200, b"ok\n"))
                connection.close()
                return
            except (ConnectionError, http.client.BadStatusLine):
                continue

    @staticmethod
    def with_all_up(metrics):
        """These metrics if each worker is there once, in the sum and by itself; the last requests may have ended one."""
        up = [value for _, value in metrics.series("shop_worker_up")]
        return metrics if metrics.get("shop_workers") == WORKERS and up == [1] * WORKERS else None

    def test_gunicorn_totals_are_right_while_workers_recycle(self):
        need("gunicorn")
        daemon = self.start()
        recycled = self.directory() / "recycled"
        recycled.touch()
        server, port = self.start_gunicorn(daemon, recycled)
        sent = [0] * CLIENTS

        def run(number):
            while recycled.stat().st_size < RECYCLES:
                self.request(port)
                sent[number] += 1

        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(run, range(CLIENTS)))  # with what one of them raised
        metrics = until(lambda: self.with_all_up(daemon.metrics()), "ended workers are gone, their successors there")
        until(lambda: daemon.metrics().get("http_requests_total", status="200", **LABELS) >= sum(sent), "all are counted")
        metrics = until(lambda: self.with_all_up(daemon.metrics()), "no worker has ended meanwhile")
        counted = metrics.get("http_requests_total", status="200", **LABELS)
        print(f"\n  {'recycled':>10} {'requests':>10} {'counter':>10} {'difference':>10}\n"
              f"  {recycled.stat().st_size:>10} {sum(sent):>10} {counted:>10.0f} {counted - sum(sent):>10.0f}", flush=True)
        self.assertEqual(counted, sum(sent))
        self.assertEqual(metrics.get("http_request_duration_seconds_count", **LABELS), sum(sent))
        self.assertEqual(metrics.get("http_requests_in_progress", **LABELS), 0)
        self.assertEqual(daemon.rejected(), {})
        server.terminate()
        server.wait()
        until(lambda: daemon.metrics().get("shop_workers") == 0, "no worker is left")
        self.assertEqual(daemon.metrics().series("shop_worker_up"), [])
        self.assertEqual(daemon.metrics().get("http_requests_total", status="200", **LABELS), counted)
