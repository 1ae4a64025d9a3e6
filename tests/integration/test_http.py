"""Who may ask over HTTP, and how much: hosts, pages of elsewhere, ceilings of requests and connections at the limit and
one over, clients that are never done."""
import contextlib
import json
import time
import unittest

from harness import WAIT_S, Answer, DaemonCase, run, until

EVIL = "evil.example"
OURS = {"http.allowed_hosts": ["dwell.example", "Metrics.Svc."]}
ADMIN_ONLY = (("POST", "/api/v1/reset"), ("POST", "/api/v1/reset?name=m"))
READ_ONLY = ("/metrics", "/healthz", "/readyz", "/report", "/api/v1/models", "/api/v1/decision", "/api/v1/budgets", "/api/v1/status")


class HttpCase(DaemonCase):
    def ask(self, daemon, head, door="tcp"):
        """The answer to a request as it stands, which has no body; None when there is none."""
        with contextlib.closing(daemon.raw_http(head.encode("latin-1"), door)) as sock:
            sock.settimeout(WAIT_S)
            got = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := sock.recv(65536):
                    got += piece
        if not got:
            return None
        lines, _, body = got.partition(b"\r\n\r\n")
        first, *rest = lines.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in rest)
        return Answer(int(first.split()[1]), headers, body)

    def status(self, daemon, target, *headers, version="1.1", door="tcp"):
        lines = "".join(f"{line}\r\n" for line in (*headers, "Connection: close"))
        return self.ask(daemon, f"GET {target} HTTP/{version}\r\n{lines}\r\n", door).status


class TestHosts(HttpCase):
    def test_host_decides_over_the_network(self):
        daemon = self.start(sets=OURS)
        for host, status in (("127.0.0.1", 200), ("127.0.0.1:1", 200), (daemon.http_address, 200), ("10.244.7.3:9847", 200),
                             ("[::1]:9847", 200), ("localhost", 200), ("LOCALHOST.:80", 200), ("dwell.example", 200),
                             ("DWELL.example.:8080", 200), ("metrics.svc", 200), (EVIL, 421), (f"{EVIL}:9847", 421),
                             ("dwell.example.evil.example", 421), ("127.0.0.1.evil.example", 421), ("127.1", 421), ("dwelld", 421),
                             ("", 400), ("a b", 400), ("user@localhost", 400), ("localhost:x", 400), ("localhost:65536", 400),
                             ("::1", 400), ("[::1", 400), ("localhost, evil.example", 400), ("l\xf6cal", 400)):
            with self.subTest(host=host):
                self.assertEqual(self.status(daemon, "/metrics", f"Host: {host}"), status)
        self.assertEqual(daemon.metrics()["dwelld_http_foreign_hosts_total"], 6)
        self.assertEqual(daemon.status()["counters"]["http_foreign_hosts_total"], 6)
        daemon.wait_log(rf"warning refused an HTTP request for the host {EVIL}, which is none of http\.allowed_hosts$")

    def test_host_that_is_foreign_is_told_what_to_do(self):
        daemon = self.start()
        answer = daemon.get("/metrics", Host=EVIL)
        self.assertEqual((answer.status, answer.headers["Content-Type"]), (421, "application/json"))
        self.assertEqual(list(answer.json), ["error"])
        self.assertIn("http.allowed_hosts", answer.json["error"])
        for target in (*READ_ONLY, "/nowhere", "/%zz"):
            self.assertEqual(daemon.get(target, Host=EVIL).status, 421, target)
        self.assertEqual(daemon.request("POST", "/api/v1/reset", {"Host": EVIL}).status, 421)

    def test_host_there_must_be_one(self):
        daemon = self.start()
        for status, headers, version in ((400, (), "1.1"), (200, (), "1.0"), (421, (f"Host: {EVIL}",), "1.0"),
                                         (400, ("Host: localhost", f"Host: {EVIL}"), "1.1"), (400, (f"Host: {EVIL}", "host: localhost"), "1.1"),
                                         (400, ("Host: localhost", "Host: localhost"), "1.0"), (200, ("hOsT: localhost",), "1.1"),
                                         (421, (f"Host: {EVIL}", "X-Forwarded-Host: localhost"), "1.1")):
            with self.subTest(headers=headers, version=version):
                self.assertEqual(self.status(daemon, "/healthz", *headers, version=version), status)

    def test_host_in_the_target_counts_too(self):
        daemon = self.start(sets=OURS)
        for target, host, status in (("http://localhost/healthz", "localhost", 200), ("HTTP://dwell.example:80/healthz?x=1", "localhost", 200),
                                     (f"http://{EVIL}/healthz", "localhost", 421), ("http://localhost/healthz", EVIL, 421),
                                     ("http:///healthz", "localhost", 400), ("http://user@localhost/healthz", "localhost", 400),
                                     ("http://localhost", "localhost", 404), ("https://localhost/healthz", "localhost", 404),
                                     ("*", "localhost", 404)):
            with self.subTest(target=target, host=host):
                self.assertEqual(self.status(daemon, target, f"Host: {host}"), status)
        self.assertEqual(self.status(daemon, f"http://{EVIL}/healthz", version="1.0"), 421)

    def test_host_is_no_matter_on_unix_sockets(self):
        daemon = self.start()
        for door in ("query", "admin"):
            for headers in ((), (f"Host: {EVIL}",), ("Host: localhost", f"Host: {EVIL}"), ("Host: a b",)):
                self.assertEqual(self.status(daemon, "/healthz", *headers, door=door), 200, (door, headers))
            self.assertEqual(self.status(daemon, f"http://{EVIL}/healthz", door=door), 200)
        self.assertEqual(daemon.metrics()["dwelld_http_foreign_hosts_total"], 0)

    def test_host_names_are_checked(self):
        for bad in ('["a b"]', '["localhost:80"]', '[".x"]', '[""]', '["x","x"]', '[1]', '"x"', '["[::1]"]', json.dumps(["x" * 254])):
            ended = run("--check-config", "--set", f"http.allowed_hosts={bad}")
            self.assertEqual(ended.returncode, 78, bad)
            self.assertIn("http.allowed_hosts", ended.stderr)
        for good in ("[]", '["x"]', json.dumps(["x" * 253]), json.dumps([f"h{i}" for i in range(64)])):
            self.assertEqual(run("--check-config", "--set", f"http.allowed_hosts={good}").returncode, 0, good)
        self.assertEqual(run("--check-config", "--set", "http.allowed_hosts=" + json.dumps([f"h{i}" for i in range(65)])).returncode, 78)


class TestPages(HttpCase):
    """What a browser asks for on behalf of a page of elsewhere it must not be able to show to it."""

    def test_pages_of_elsewhere_get_no_leave(self):
        daemon = self.start()
        for headers in ({"Origin": f"http://{EVIL}"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"},
                        {"Origin": f"http://{EVIL}", "Access-Control-Request-Method": "GET"}):
            for method in ("GET", "HEAD", "OPTIONS", "POST"):
                for target in ("/metrics", "/api/v1/status", "/nowhere"):
                    answer = daemon.request(method, target, headers)
                    self.assertFalse([name for name in answer.headers if name.lower().startswith("access-control-")], answer.headers)
                    self.assertEqual(answer.headers["Cross-Origin-Resource-Policy"], "same-origin")
                    self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
                    self.assertNotEqual(answer.status, 204)

    def test_there_is_no_directory(self):
        daemon = self.start()
        for target in ("/", "/api", "/api/", "/api/v1", "/api/v1/", "/api/v1/models/", "/../../etc/passwd", "/index.html"):
            answer = daemon.get(target)
            self.assertEqual(answer.status, 404, target)
            self.assertRegex(answer.json["error"], "^no such path; there are /report, ", target)

    def test_admin_actions_are_on_admin_sock_alone(self):
        daemon = self.start()
        daemon.send({"model_name": "m", "execution_time_ms": 1})
        for method, target in ADMIN_ONLY:
            for door in ("tcp", "query"):
                for verb in (method, "GET", "PUT", "OPTIONS"):
                    answer = daemon.request(verb, target, door=door)
                    self.assertEqual((answer.status, answer.json), (404, {"error": "only by admin.sock"}), (verb, target, door))
            self.assertEqual(self.ask(daemon, f"{method} http://localhost{target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").status, 404)
        self.assertEqual(set(daemon.models()), {"m"})
        self.assertEqual(daemon.request("POST", "/api/v1/reset", door="admin").json, {"reset": 1})
        self.assertEqual(daemon.models(), {})


class TestCeilings(HttpCase):
    def test_bodies(self):
        daemon = self.start()
        for length, status in ((0, 200), (4096, 200), (4097, 413), (1 << 62, 413)):
            head = f"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
            answer = self.ask(daemon, head + "x" * min(length, 4096))
            self.assertEqual(answer.status, status, length)
        # Of chunks nobody knows how many there will be: one over is the end.
        def chunked(length):
            return self.ask(daemon, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                            f"{length:x}\r\n" + "x" * length + "\r\n0\r\n\r\n")
        self.assertEqual(chunked(4096).status, 200)
        self.assertIsNone(chunked(4097))

    def test_heads(self):
        """All of a request's head fits the memory of a connection, or it is refused with one of the statuses that say so."""
        daemon = self.start()

        def answer(length):
            start = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: "
            got = self.ask(daemon, start + "y" * (length - len(start) - 4) + "\r\n\r\n")
            return got and got.status
        fits, too_long = 4096, 65536
        self.assertEqual(answer(fits), 200)
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            fits, too_long = (middle, too_long) if answer(middle) == 200 else (fits, middle)
        self.assertIn(answer(too_long), (431, 414, 413, None))
        self.assertTrue(8192 < fits < 16384, fits)  # io/http.c: CONNECTION_MEMORY
        self.assertEqual(answer(fits), 200)

    def test_connections_at_the_ceiling_and_one_over(self):
        daemon = self.start(sets={"http.max_connections": 3})
        for door in ("tcp", "query", "admin"):
            with self.subTest(door), contextlib.ExitStack() as stack:
                held = [stack.enter_context(contextlib.closing(daemon.raw_http(b"", door))) for _ in range(3)]
                for sock in held:
                    sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    self.assertIn(b" 200 ", sock.recv(4096))
                refused = self.ask(daemon, "", door)
                self.assertEqual((refused.status, refused.headers["Content-Type"]), (503, "application/json"))
                self.assertIn("http.max_connections", refused.json["error"])
                other = "admin" if door != "admin" else "query"
                self.assertEqual(daemon.get("/healthz", door=other).status, 200)
                held[0].close()

                def is_free(door=door):
                    with contextlib.suppress(OSError):
                        return daemon.get("/healthz", door=door).status == 200
                until(is_free, "there is room for one")
        self.assertGreaterEqual(daemon.metrics()["dwelld_http_connections_refused_total"], 3)

    def test_flood_of_connections_leaves_the_daemon_alive(self):
        daemon = self.start(sets={"http.max_connections": 2})
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(contextlib.closing(daemon.raw_http(b"GET"))) for _ in range(300)]
            self.assertEqual(daemon.get("/healthz", door="query").status, 200)
            until(lambda: daemon.metrics(door="query")["dwelld_http_connections_refused_total"] >= 298, "all others were refused")
            until(lambda: daemon.descriptors() < 60, "and nothing is left of them")
            self.assertEqual(len(held), 300)

    def test_silent_clients_are_closed(self):
        daemon = self.start(sets={"http.timeout_ms": 1000})
        with contextlib.closing(daemon.raw_http(b"GET /healthz HTTP/1.1\r\n")) as sock:
            sock.settimeout(WAIT_S)
            with contextlib.suppress(ConnectionResetError):
                while sock.recv(4096):
                    pass

    def test_clients_that_are_never_done_are_cut_off(self):
        """A byte now and then is progress, but not for ever: neither of a request nor of an answer."""
        daemon = self.start(sets={"http.timeout_ms": 600000, "http.request_timeout_ms": 1000})
        daemon.send(*({"model_name": f"a model with a long name, number {i}", "execution_time_ms": 1} for i in range(900)))
        with contextlib.closing(daemon.raw_http(b"GET /healthz HTTP/1.1\r\nX: ")) as talker, \
                contextlib.closing(daemon.raw_http(b"GET /api/v1/models HTTP/1.1\r\nHost: x\r\n\r\n" * 20, "query")) as reader:
            def is_cut(step):
                with contextlib.suppress(ConnectionError):
                    step()
                    return False
                return True
            until(lambda: is_cut(lambda: talker.sendall(b"y")), "the talker is cut off")
            # On a busy machine a request of ours may be slow as well.
            until(lambda: daemon.metrics(door="admin")["dwelld_http_slow_connections_total"] >= 2, "and so is who does not read")
            with contextlib.suppress(ConnectionError):
                while reader.recv(65536):
                    pass

    def test_clients_that_are_done_in_time_may_come_again_and_again(self):
        daemon = self.start(sets={"http.timeout_ms": 600000, "http.request_timeout_ms": 1000})

        def serves_for_longer():
            """On one connection; False where a busy machine has made one request of it slow."""
            began = time.monotonic()
            with contextlib.closing(daemon.raw_http(b"")) as sock, contextlib.suppress(ConnectionError):
                while time.monotonic() - began < 1.6:
                    sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    if b" 200 " not in sock.recv(4096):
                        return False
                return True
            return False
        until(serves_for_longer, "a connection older than that still serves")


class TestReloadHttp(HttpCase):
    def reload(self, daemon, path, configuration):
        path.write_text(json.dumps(configuration))
        before = daemon.status()["reloads"]["applied"]
        daemon.send_signal(1)
        until(lambda: daemon.status()["reloads"]["applied"] > before, "it is reloaded")

    def begin(self, configuration):
        path = self.directory() / "dwelld.json"
        path.write_text(json.dumps(configuration))
        return self.start("--config", path), path

    def test_reload_of_hosts(self):
        def ask(sock, host):
            sock.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            return int(sock.recv(4096).split()[1])
        daemon, path = self.begin({"http": {"allowed_hosts": ["a.example"]}})
        with contextlib.closing(daemon.raw_http(b"")) as one, contextlib.closing(daemon.raw_http(b"")) as other:
            self.assertEqual((ask(one, "a.example"), ask(other, "a.example")), (200, 200))
            self.reload(daemon, path, {"http": {"allowed_hosts": ["b.example"]}})
            self.assertEqual((ask(one, "b.example"), ask(other, "a.example")), (200, 421))
            self.reload(daemon, path, {})
            self.assertEqual(ask(one, "b.example"), 421)

    def test_reload_of_timeouts(self):
        daemon, path = self.begin({"http": {"timeout_ms": 600000, "request_timeout_ms": 600000}})
        with contextlib.closing(daemon.raw_http(b"GET /")) as silent:
            silent.settimeout(WAIT_S)
            self.assertEqual(daemon.status()["limits"]["http.timeout_ms"], 600000)
            self.reload(daemon, path, {"http": {"timeout_ms": 1000, "request_timeout_ms": 600000}})
            with contextlib.suppress(ConnectionResetError):
                while silent.recv(4096):
                    pass
        self.assertEqual(daemon.metrics()["dwelld_http_slow_connections_total"], 0)
        self.reload(daemon, path, {"http": {"timeout_ms": 600000, "request_timeout_ms": 600000}})
        with contextlib.closing(daemon.raw_http(b"GET /")) as silent:
            silent.settimeout(WAIT_S)
            self.reload(daemon, path, {"http": {"timeout_ms": 600000, "request_timeout_ms": 1000}})
            with contextlib.suppress(ConnectionResetError):
                while silent.recv(4096):
                    pass
        self.assertGreaterEqual(daemon.metrics()["dwelld_http_slow_connections_total"], 1)

    def test_reload_of_connections(self):
        daemon, path = self.begin({"http": {"max_connections": 3}})
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(contextlib.closing(daemon.raw_http(b""))) for _ in range(2)]

            def ask(sock):
                sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return int(sock.recv(4096).split()[1])
            self.assertEqual([ask(sock) for sock in held], [200, 200])

            def reload(most):
                path.write_text(json.dumps({"http": {"max_connections": most}}))
                daemon.send_signal(1)
                until(lambda: daemon.get("/api/v1/status", door="admin").json["limits"]["http.max_connections"] == most, "it is reloaded")
            reload(1)
            self.assertEqual([ask(sock) for sock in held], [200, 200])  # what is there stays
            self.assertEqual(self.ask(daemon, "").status, 503)
            reload(3)
            self.assertEqual(daemon.get("/healthz").status, 200)

    def test_reload_of_what_is_shown(self):
        daemon, path = self.begin({})
        daemon.send({"model_name": "m", "execution_time_ms": 1})
        self.assertIn("ACGS-2", daemon.get("/report").text)
        self.assertNotIn("constitutional_hash", daemon.get("/metrics").text.split("acgs2_model_inference_total{", 1)[1].split("\n")[0])
        created = "acgs2_budget_elapsed_seconds_created{"
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        self.assertNotIn(created, daemon.request("GET", "/metrics", accept).text)
        self.reload(daemon, path, {"service": {"display_name": "Löwe"}, "metrics": {"constitutional_hash_label": True, "created_series": True}})
        self.assertIn("Löwe", daemon.get("/report").text)
        self.assertIn("constitutional_hash", daemon.get("/metrics").text.split("acgs2_model_inference_total{", 1)[1].split("\n")[0])
        self.assertIn(created, daemon.request("GET", "/metrics", accept).text)
        self.assertEqual(daemon.status()["limits"]["profiling.max_models"], 1000)
        self.reload(daemon, path, {"profiling": {"max_models": 7}})
        self.assertNotIn(created, daemon.request("GET", "/metrics", accept).text)
        self.assertEqual(daemon.status()["limits"]["profiling.max_models"], 7)


if __name__ == "__main__":
    unittest.main()
