"""Requests through the Python client's middleware, under servers that people use: counted to the unit over
all workers, those that were recycled included."""
import concurrent.futures
import http.client
import os
import pathlib
import re
import subprocess
import sys
import threading

from harness import ROOT, DaemonCase, environment, until
from peer import need

HERE = pathlib.Path(__file__).resolve().parent
CLIENTS = 4
RECYCLES = 20

REQUESTS = (
    ("/", "GET", 200), ("/", "GET", 200), ("/items/1", "GET", 200), ("/items/2", "GET", 200),
    ("/items/404", "GET", 404), ("/items/x", "GET", 422), ("/fail", "GET", 500), ("/stream", "GET", 200),
    ("/orders/7", "POST", 200), ("/orders/7", "GET", 405), ("/inner/a", "GET", 200),
    ("/inner/b", "GET", 200), ("/wp-admin.php", "GET", 404))

# And what they are counted as, with one for /metrics.
COUNTED = {
    ("GET", "/", "200"): 2, ("GET", "/items/{item_id}", "200"): 2, ("GET", "/items/{item_id}", "404"): 1,
    ("GET", "/items/{item_id}", "422"): 1, ("GET", "/fail", "500"): 1, ("GET", "/stream", "200"): 1,
    ("POST", "/orders/{order}", "200"): 1, ("GET", "/orders/{order}", "405"): 1,
    ("GET", "/inner/{name}", "200"): 2, ("GET", "(unmatched)", "404"): 1, ("GET", "/metrics", "200"): 1}


class ServerCase(DaemonCase):
    def setUp(self):
        self.daemon = self.start()

    def serve(self, *command, announced, **environ):
        """Starts a server; returns it and its port."""
        paths = (ROOT / "client/python", ROOT / "tests/clients/python")  # of the package, and of `patient`
        found_at = {"DWELL_DIR": str(self.daemon.directory), "PYTHONPATH": os.pathsep.join(map(str, paths))}
        server = subprocess.Popen([sys.executable, "-B", "-m", *command], cwd=HERE, text=True,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  env=environment(**found_at, **environ))
        self.addCleanup(server.stderr.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        log = []
        for line in server.stderr:
            log.append(line)
            if found := re.search(announced, line):
                threading.Thread(target=server.stderr.read, daemon=True).start()
                return server, int(found.group(1))
        raise AssertionError("the server did not start:\n" + "".join(log))

    def request(self, port, path="/", method="GET"):
        """The status and body of the answer. A worker that is about to end may hang up: nothing was
        answered then."""
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request(method, path)
                answer = connection.getresponse()
                body = answer.read()
                connection.close()
                return answer.status, body
            except (ConnectionError, http.client.BadStatusLine):
                continue

    @staticmethod
    def counted(shown):
        return {(labels["method"], labels["endpoint"], labels["status"]): value
                for labels, value in shown.series("http_requests_total") if labels["service"] == "shop"}

    def must_have_counted(self, requests):
        """{(method, endpoint, status): requests} and nothing else; the ledger closes, and no request goes
        on."""
        shown = self.daemon.metrics()
        self.assertEqual(self.counted(shown), requests)
        self.assertEqual(sum(value for _, value in shown.series("http_request_duration_seconds_count")),
                         sum(requests.values()))
        self.assertEqual({value for _, value in shown.series("http_requests_in_progress")} - {0}, set())
        ledger = {term: shown.get(f"dwelld_client_{term}_total", 0, client="dwell-python/0.1.0")
                  for term in ("sent", "accepted", "rejected", "dropped", "lost")}
        self.assertEqual({**ledger, "sent": 0, "accepted": 0},
                         {"sent": 0, "accepted": 0, "rejected": 0, "dropped": 0, "lost": 0})
        self.assertEqual(ledger["sent"], ledger["accepted"])
        self.assertGreaterEqual(ledger["sent"], 4 * sum(requests.values()))


class Uvicorn(ServerCase):
    def run_uvicorn(self, *options):
        need("fastapi")
        need("uvicorn")
        server, port = self.serve("uvicorn", "fastapi_app:app", "--port", "0", *options,
                                  announced=r"running on http://127\.0\.0\.1:(\d+)")
        for path, method, status in REQUESTS:
            self.assertEqual(self.request(port, path, method)[0], status, path)
        status, body = self.request(port, "/metrics")
        self.assertEqual((status, b"# HELP http_requests_total " in body), (200, True))
        until(lambda: self.counted(self.daemon.metrics()) == COUNTED, "all are counted")
        server.terminate()
        server.wait()
        self.must_have_counted(COUNTED)
        self.assertEqual(self.daemon.metrics().get("messages_total", message_type="order", priority="high",
                                                   status="success"), 1)

    def test_fastapi_under_uvicorn(self):
        self.run_uvicorn()

    def test_fastapi_under_uvicorn_with_workers(self):
        self.run_uvicorn("--workers", "2")


class Gunicorn(ServerCase):
    def run_gunicorn(self, **environ):
        need("gunicorn")
        recycled = self.directory() / "recycled"
        recycled.touch()
        server, port = self.serve("gunicorn", "--config", "middleware_conf.py", RECYCLED=str(recycled),
                                  announced=r"Listening at: http://127\.0\.0\.1:(\d+)", **environ)
        paths = (("/", 200), ("/parts", 200), ("/fail", 500))
        sent = {path: [0] * CLIENTS for path, _ in paths}

        def run(number):
            while recycled.stat().st_size < RECYCLES:
                for path, status in paths:
                    self.assertEqual(self.request(port, path)[0], status)
                    sent[path][number] += 1

        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(run, range(CLIENTS)))  # with what one of them raised
        server.terminate()
        server.wait()
        self.must_have_counted({("GET", path, str(status)): sum(sent[path]) for path, status in paths})

    def test_flask(self):
        need("gunicorn")
        need("flask")
        server, port = self.serve("gunicorn", "--bind", "127.0.0.1:0", "flask_app:app",
                                  announced=r"Listening at: http://127\.0\.0\.1:(\d+)")
        for path, status in (("/items/1", 200), ("/items/2", 200), ("/items/1", 200), ("/items/x", 404),
                             ("/fail", 500), ("/static/none.css", 404)):
            self.assertEqual(self.request(port, path)[0], status, path)
        server.terminate()
        server.wait()
        self.must_have_counted({("GET", "/items/<int:item>", "200"): 3, ("GET", "(unmatched)", "404"): 1,
                                ("GET", "/fail", "500"): 1, ("GET", "/static/<path:filename>", "404"): 1})

    def test_gunicorn(self):
        self.run_gunicorn(PRELOAD="0")

    def test_gunicorn_that_loads_before_it_forks(self):
        self.run_gunicorn(PRELOAD="1")

    def test_gunicorn_with_threads(self):
        self.run_gunicorn(PRELOAD="1", WORKER_CLASS="gthread")
