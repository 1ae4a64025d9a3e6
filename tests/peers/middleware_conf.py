"""gunicorn's configuration for middleware_app: workers that end after a few requests. RECYCLED is a file to
which each worker that ends adds a byte; PRELOAD says whether the application is loaded before the fork."""
import os

bind = "127.0.0.1:0"
workers = 4
max_requests = 20
max_requests_jitter = 5
preload_app = os.environ["PRELOAD"] == "1"
worker_class = os.environ.get("WORKER_CLASS", "sync")
threads = 4 if worker_class == "gthread" else 1
loglevel = "info"
wsgi_app = "middleware_app:app"


def worker_exit(server, worker):
    with open(os.environ["RECYCLED"], "ab") as file:
        file.write(b".")
