"""The applications of python_gunicorn.py: one WSGI application, as it is, and with the metrics of two
libraries. VARIANT says which: plain, dwell, prometheus. Each counts a request's method, endpoint, status
and seconds, and those in progress."""
import os
import time

VARIANT = os.environ["VARIANT"]


def plain(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
    return [b"ok\n"]


def with_dwell():
    import dwell
    metrics, counted = dwell.make_wsgi_app(), dwell.MetricsMiddleware(plain, "bench")

    def app(environ, start_response):
        return (metrics if environ["PATH_INFO"] == "/metrics" else counted)(environ, start_response)
    return app


def with_prometheus():
    """As its documentation says for gunicorn: one file a process and type, which a scrape adds up."""
    import prometheus_client
    from prometheus_client import multiprocess
    names = ["method", "endpoint", "service"]
    requests = prometheus_client.Counter("http_requests_total", "", [*names, "status"])
    seconds = prometheus_client.Histogram("http_request_duration_seconds", "", names, buckets=(
        0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10))
    running = prometheus_client.Gauge("http_requests_in_progress", "", names, multiprocess_mode="livesum")

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/metrics":
            registry = prometheus_client.CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
            start_response("200 OK", [("Content-Type", prometheus_client.CONTENT_TYPE_LATEST)])
            return [prometheus_client.generate_latest(registry)]
        said = []

        def start(status, headers, *rest):
            said.append(status)
            return start_response(status, headers, *rest)

        labels = environ["REQUEST_METHOD"], environ["PATH_INFO"], "bench"
        running.labels(*labels).inc()
        began = time.perf_counter()
        body = plain(environ, start)
        seconds.labels(*labels).observe(time.perf_counter() - began)
        requests.labels(*labels, said[0][:3]).inc()
        running.labels(*labels).dec()
        return body
    return app


app = {"plain": lambda: plain, "dwell": with_dwell, "prometheus": with_prometheus}[VARIANT]()
