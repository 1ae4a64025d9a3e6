"""A WSGI application that counts its requests with the Python client, for gunicorn. Its configuration is
middleware_conf.py."""
import dwell
import patient  # noqa: F401  (a worker has as long for its end as it takes)

# Where the application is loaded before the fork, the parent has a client and a thread then.
dwell.set_service_info("shop", "1.0")
dwell.client().flush()


def plain(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/fail":
        raise RuntimeError("as it should")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return (part for part in (b"o", b"k\n")) if path == "/parts" else [b"ok\n"]


app = dwell.MetricsMiddleware(plain, "shop")
