"""The middleware, by calling it as servers do: what is counted, under which labels, and what passes
through."""
import asyncio
import io
import types
import unittest
from wsgiref.util import FileWrapper

from metrics_case import MetricsCase

import dwell
from dwell import middleware


class MiddlewareCase(MetricsCase):
    def must_count(self, statuses, method="GET", endpoint="/", service="shop"):
        """{status: requests} of one endpoint, as many durations, and nothing in progress."""
        labels = {"method": method, "endpoint": endpoint, "service": service}
        self.must_show(*(("http_requests_total", {**labels, "status": status}, count)
                         for status, count in statuses.items()),
                       ("http_request_duration_seconds_count", labels, sum(statuses.values())))
        running = self.daemon.metrics().series("http_requests_in_progress")
        self.assertEqual({value for _, value in running}, {0})

    def must_have_counted(self, count):
        """So many requests in all, and nothing rejected or dropped."""
        self.assertTrue(self.own.flush(20))
        shown = self.daemon.metrics()
        self.assertEqual(sum(value for _, value in shown.series("http_requests_total")), count)
        self.assertEqual({value for _, value in shown.series("http_requests_in_progress")},
                         {0} if count else set())
        self.must_balance(4 * count)


class Asgi(MiddlewareCase):
    def call(self, app, path="/", method="GET", kind="http", **more):
        """One request; what was sent."""
        sent = []

        async def send(message):
            sent.append(message)

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        asyncio.run(app({"type": kind, "method": method, "path": path, "headers": [], **more}, receive,
                        send))
        return sent

    @staticmethod
    def answering(status):
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"ok"})
        return app

    def test_answers_are_counted_by_status_and_pass_through(self):
        for status in (200, 418, 200):
            sent = self.call(dwell.MetricsMiddleware(self.answering(status), "shop"))
            self.assertEqual([message["type"] for message in sent],
                             ["http.response.start", "http.response.body"])
        self.must_count({"200": 2, "418": 1})
        self.must_have_counted(3)

    def test_a_request_is_in_progress_until_its_answer_is_complete(self):
        seen = []

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            self.assertTrue(self.own.flush(20))
            seen.append({labels["endpoint"]: value for labels, value in
                         self.daemon.metrics().series("http_requests_in_progress")})

        counted = dwell.MetricsMiddleware(app, "shop")
        for _ in range(2):
            self.call(counted)
        self.assertEqual(seen, [{middleware.OTHER: 1}, {middleware.OTHER: 0, "/": 1}])
        self.must_show(("http_requests_in_progress", {"method": "GET", "endpoint": "/", "service": "shop"},
                        0))
        self.must_have_counted(2)

    def test_exceptions_are_500_cancellations_499_and_both_pass_on(self):
        for error, status in ((KeyError("no"), "500"), (asyncio.CancelledError(), "499"),
                              (SystemExit(), "500")):
            async def app(scope, receive, send):
                await send({"type": "http.response.start", "status": 200, "headers": []})
                raise error

            with self.assertRaises(type(error)):
                self.call(dwell.MetricsMiddleware(app, f"s{status}"))
        self.must_count({"500": 2}, service="s500")
        self.must_count({"499": 1}, service="s499")

    def test_an_application_that_says_nothing_or_nonsense_is_a_500(self):
        async def silent(scope, receive, send):
            pass

        for app in (silent, *map(self.answering, (0, 99, 600, "x", None, [], 10**400))):
            self.call(dwell.MetricsMiddleware(app, "shop"))
        self.must_show(("http_requests_total", {"method": "GET", "endpoint": "/", "service": "shop",
                                                "status": "500"},
                        8))

    def test_lifespan_and_websockets_pass_through(self):
        for kind in ("lifespan", "websocket"):
            self.assertEqual(len(self.call(dwell.MetricsMiddleware(self.answering(200), "shop"),
                                           kind=kind)), 2)
        self.must_have_counted(0)

    def test_one_inside_another_counts_once(self):
        inner = dwell.MetricsMiddleware(self.answering(200), "inner")
        self.call(dwell.MetricsMiddleware(inner, "outer"))
        self.must_count({"200": 1}, service="outer")
        self.must_have_counted(1)

    def test_methods_and_endpoints_are_bounded(self):
        app = dwell.MetricsMiddleware(self.answering(200), "shop")
        for number in range(middleware.ENDPOINTS_MAX + 2):
            self.call(app, f"/{number}")
        self.call(app, "/0", method="BREW")
        self.must_count({"200": 1}, endpoint=f"/{middleware.ENDPOINTS_MAX - 1}")
        self.must_count({"200": 2}, endpoint=middleware.OTHER)
        self.must_count({"200": 1}, endpoint="/0", method=middleware.OTHER)
        self.call(dwell.MetricsMiddleware(self.answering(200), "long"), "/" + "x" * 300)
        self.must_count({"200": 1}, endpoint="/" + "x" * (middleware.ENDPOINT_CHARACTERS - 1),
                        service="long")
        self.assertEqual(self.daemon.rejected(), {})

    def test_an_endpoint_of_ones_own_and_one_that_raises(self):
        self.call(dwell.MetricsMiddleware(self.answering(200), "shop", lambda scope: scope["path"][:2]),
                  "/abc")
        self.must_count({"200": 1}, endpoint="/a")
        sent = self.call(dwell.MetricsMiddleware(self.answering(200), "shop", lambda scope: scope["none"]),
                         "/abc")
        self.assertEqual(len(sent), 2)
        self.must_balance(4 + 1, dropped=1)

    def test_the_route_is_the_endpoint_where_the_framework_says_it(self):
        def handler():
            pass

        class Handler:
            pass

        static = object()
        for path, said, endpoint in (
                ("/items/1", {"endpoint": handler, "path_params": {"item": "1"}}, "/items/{item}"),
                ("/items/22", {"endpoint": Handler, "path_params": {"item": 22}}, "/items/{item}"),
                ("/v1/items/1", {"endpoint": handler, "path_params": {"item": "1"}}, "/v1/items/{item}"),
                ("/a/a/b", {"endpoint": handler, "path_params": {"x": "a", "y": "b"}}, "/a/{x}/{y}"),
                ("/11/1", {"endpoint": handler, "path_params": {"x": "11", "y": "1"}}, "/{x}/{y}"),
                ("/f/a/b.txt", {"endpoint": handler, "path_params": {"file": "a/b"}}, "/f/{file}.txt"),
                ("/f/x", {"endpoint": handler, "path_params": {"none": "", "gone": "zz"}}, "/f/x"),
                ("/plain", {"path_params": {}}, "/plain"),
                ("/static/a.css", {"endpoint": static, "path_params": {}, "root_path": "/static"},
                 "/static/*"),
                ("/called", {"endpoint": static, "path_params": {}}, "/called"),
                ("/wp-admin.php", {"app": static}, middleware.UNMATCHED)):
            async def app(scope, receive, send):
                scope.update(said)
                await send({"type": "http.response.start", "status": 200, "headers": []})

            with self.subTest(path):
                self.call(dwell.MetricsMiddleware(app, path), path)
                self.must_count({"200": 1}, endpoint=endpoint, service=path)

    def test_paths_that_nothing_answers_make_no_endpoints(self):
        counted = dwell.MetricsMiddleware(self.answering(404), "shop")
        for path in ("/.env", "/wp-admin.php"):
            self.call(counted, path)
        self.call(dwell.MetricsMiddleware(self.answering(405), "shop"), "/")
        self.must_count({"404": 2, "405": 1}, endpoint=middleware.UNMATCHED)
        self.assertEqual((counted._endpoints, counted._known), ({}, {}))

    def test_up_to_the_ceiling_paths_are_remembered_and_one_over_begins_anew(self):
        counted = dwell.AsgiMetricsMiddleware(None, "shop")
        for number in range(middleware.PATHS_MAX):
            counted._learn("GET", f"/{number}", {}, 200)
        self.assertEqual(len(counted._known), middleware.PATHS_MAX)
        self.assertLessEqual(len(counted._requests), middleware.ENDPOINTS_MAX + 1)
        counted._learn("GET", "/one over", {}, 200)
        self.assertEqual(len(counted._known), 1)
        counted._learn("GET", "/" + "x" * middleware.ENDPOINT_CHARACTERS, {}, 200)
        counted._learn("BREW", "/", {}, 200)
        self.assertEqual(len(counted._known), 1)


class Wsgi(MiddlewareCase):
    def call(self, app, path="/", method="GET", close=True, take=None, **more):
        """One request as a server runs it; the parts of its body."""
        said = []

        def start_response(status, headers, *rest):
            said.append((status, headers, *rest))
            return "write"

        body = app({"REQUEST_METHOD": method, "PATH_INFO": path, **more}, start_response)
        try:
            parts = [part for part, _ in zip(body, range(take) if take is not None else iter(int, 1))]
        finally:
            if close and hasattr(body, "close"):
                body.close()
        self.said = said
        return parts

    @staticmethod
    def answering(status, body=(b"ok",)):
        def app(environ, start_response):
            start_response(status, [("Content-Type", "text/plain")])
            return body
        return app

    def test_answers_are_counted_by_status_and_pass_through(self):
        for status in ("200 OK", "418 I'm a teapot", "200 OK"):
            self.assertEqual(self.call(dwell.MetricsMiddleware(self.answering(status), "shop")), [b"ok"])
            self.assertEqual(self.said, [(status, [("Content-Type", "text/plain")])])
        self.must_count({"200": 2, "418": 1})
        self.must_have_counted(3)

    def test_lists_tuples_and_files_stay_what_they_are(self):
        for body in ([b"a", b"b"], (b"a",), FileWrapper(io.BytesIO(b"abc"))):
            app = dwell.MetricsMiddleware(self.answering("200 OK", body), "shop")
            self.assertIs(app({"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.file_wrapper": FileWrapper},
                              lambda *said: None), body)
        self.must_count({"200": 3})

    def test_a_body_that_is_made_on_the_way_ends_with_its_last_part(self):
        def parts():
            yield b"a"
            self.must_show(("http_requests_in_progress", running, 1))
            yield b"b"

        running = {"method": "GET", "endpoint": middleware.OTHER, "service": "shop"}
        app = dwell.MetricsMiddleware(self.answering("201 Created", parts()), "shop")
        self.assertEqual(self.call(app, close=False), [b"a", b"b"])
        self.must_show(("http_requests_in_progress", running, 0))
        self.must_count({"201": 1})

    def test_a_body_closed_before_its_end_is_a_client_that_went_away_and_is_closed(self):
        class Body:
            closed = 0

            def __iter__(self):
                return iter([b"a", b"b", b"c"])

            def close(self):
                self.closed += 1

        body, whole = Body(), Body()
        self.assertEqual(self.call(dwell.MetricsMiddleware(self.answering("200 OK", body), "shop"), take=1),
                         [b"a"])
        self.assertEqual(self.call(dwell.MetricsMiddleware(self.answering("200 OK", whole), "shop")),
                         [b"a", b"b", b"c"])
        self.assertEqual((body.closed, whole.closed), (1, 1))
        self.must_count({"499": 1, "200": 1})

    def test_exceptions_in_the_application_and_in_its_body_are_500_and_pass_on(self):
        def raising(environ, start_response):
            raise KeyError("no")

        def parts():
            yield b"a"
            raise KeyError("no")

        for app in (raising, self.answering("200 OK", parts())):
            with self.assertRaises(KeyError):
                self.call(dwell.MetricsMiddleware(app, "shop"))
        self.must_count({"500": 2})

    def test_an_application_that_is_a_generator_says_its_status_late(self):
        def app(environ, start_response):
            start_response("202 Accepted", [])
            yield b"ok"

        self.assertEqual(self.call(dwell.MetricsMiddleware(app, "shop")), [b"ok"])
        self.must_count({"202": 1})

    def test_a_status_that_is_corrected_counts_as_the_last_one_and_write_is_the_servers(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            write = start_response("503 Service Unavailable", [], exc_info=(None, None, None))
            return [write.encode()]

        self.assertEqual(self.call(dwell.MetricsMiddleware(app, "shop")), [b"write"])
        self.assertEqual([len(said) for said in self.said], [2, 3])
        self.must_count({"503": 1})

    def test_paths_are_whole_and_as_the_client_wrote_them(self):
        self.call(dwell.MetricsMiddleware(self.answering("200 OK"), "shop"),
                  "/größe/数".encode().decode("latin-1"), SCRIPT_NAME="/app")
        self.must_count({"200": 1}, endpoint="/app/größe/数")
        self.call(dwell.MetricsMiddleware(self.answering("200 OK"), "shop"), "/\xff")
        self.must_count({"200": 1}, endpoint="/\ufffd")

    def test_the_route_is_flasks_where_it_says_one_while_it_answers(self):
        rule = types.SimpleNamespace(rule="/items/<int:item>")
        for found, endpoint in ((rule, "/items/<int:item>"), (None, middleware.UNMATCHED)):
            def app(environ, start_response):
                environ["werkzeug.request"] = types.SimpleNamespace(url_rule=found)
                start_response("200 OK", [])
                environ["werkzeug.request"] = None
                return [b"ok"]

            self.call(dwell.MetricsMiddleware(app, "shop"), "/items/1")
            self.must_count({"200": 1}, endpoint=endpoint)

    def test_one_inside_another_counts_once(self):
        inner = dwell.MetricsMiddleware(self.answering("200 OK"), "inner")
        self.call(dwell.MetricsMiddleware(inner, "outer"))
        self.must_count({"200": 1}, service="outer")
        self.must_have_counted(1)

    def test_without_a_daemon_requests_are_served(self):
        self.daemon.stop()
        self.assertEqual(self.call(dwell.MetricsMiddleware(self.answering("200 OK"), "shop")), [b"ok"])


class Instrumented(MiddlewareCase):
    def test_each_kind_of_application_gets_its_own(self):
        async def asgi(scope, receive, send):
            pass

        class Asgi:
            async def __call__(self, scope, receive, send):
                pass

        def wsgi(environ, start_response):
            return []

        for app, kind in ((asgi, dwell.AsgiMetricsMiddleware), (Asgi(), dwell.AsgiMetricsMiddleware),
                          (wsgi, dwell.WsgiMetricsMiddleware), (object(), dwell.WsgiMetricsMiddleware)):
            self.assertIs(type(dwell.instrument_app(app, "shop")), kind)
            self.assertIs(type(dwell.MetricsMiddleware(app, service_name="shop")), kind)

    def test_starlettes_kind_gets_a_middleware_and_flasks_another_application(self):
        added = []
        starlette = types.SimpleNamespace(
            add_middleware=lambda kind, **options: added.append((kind, options)))
        self.assertIs(dwell.instrument_app(starlette, "shop"), starlette)
        self.assertEqual(added, [(dwell.AsgiMetricsMiddleware, {"service_name": "shop", "endpoint": None})])
        flask = types.SimpleNamespace(wsgi_app=lambda environ, start_response: [b"ok"])
        self.assertIs(dwell.instrument_app(flask, "shop"), flask)
        self.assertEqual(list(flask.wsgi_app({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None)),
                         [b"ok"])
        self.must_count({"500": 1})  # it has not said a status


if __name__ == "__main__":
    unittest.main()
